/**
 * Arguments to words: what the generated functions share.
 *
 * Mistakes that no type can stop (an integer that is none, an empty list, two options that exclude each other) are noted
 * where they are found, and `make` makes a command of them that fails. Should that ever be missed, a `NaN` stands in the
 * words, which no encoder sends.
 *
 * @internal
 */
import * as Command from "@relive/core/Command"
import type { Reader } from "@relive/core/Reader"
import type * as Resp from "@relive/core/Resp"
import type { Int, OneOrMany, Relation, RedisKey, RedisValue, Streams, Vector } from "../Argument.ts"

/** The mistake in the arguments of the command that is being made. */
let problem: string | undefined

const note = (detail: string): void => {
  problem ??= detail
}

/** The command of these words, or one that fails because of them. */
export const make = <A, B>(args: ReadonlyArray<Resp.Argument>, reply: Reader<A, B>): Command.Command<A, B> =>
  problem === undefined ? Command.make(args, reply) : refused(args)

const refused = (args: ReadonlyArray<Resp.Argument>): Command.Command<never> => {
  const name = String(args[0])
  const detail = `${name}: ${problem}`
  problem = undefined
  return Command.fail(name, detail)
}

/** An integer, exactly as it was meant. */
export const int = (value: Int, name: string): Int => {
  if (Number.isSafeInteger(value) || typeof value === "bigint") return value
  note(`\`${name}\` must be a safe integer or a bigint`)
  return NaN
}

/** 1 for an option that is given, else 0. */
export const given = (value: unknown): 0 | 1 => (value === undefined ? 0 : 1)

export const exclusive = (names: string): void => note(`at most one of ${names} can be given`)

export const missing = (argument: string, names: string): void => note(`\`${argument}\` needs exactly one of ${names}`)

const isMany = <A>(values: OneOrMany<A>): values is ReadonlyArray<A> => Array.isArray(values)

/** One or several as an array. */
export const several = <A>(values: OneOrMany<A>, name: string): ReadonlyArray<A> => {
  const all = isMany(values) ? values : [values]
  if (all.length === 0) note(`\`${name}\` must not be empty`)
  return all
}

/** The same where none at all is allowed. */
export const maybeSeveral = <A>(values: OneOrMany<A> | undefined): ReadonlyArray<A> =>
  values === undefined ? [] : isMany(values) ? values : [values]

const isNested = <T extends ReadonlyArray<unknown>>(values: OneOrMany<T>): values is ReadonlyArray<T> =>
  values.length === 0 || Array.isArray(values[0])

/** One tuple or several as an array. */
export const tuples = <T extends ReadonlyArray<unknown>>(values: OneOrMany<T>, name: string): ReadonlyArray<T> => {
  const all = isNested(values) ? values : [values]
  if (all.length === 0) note(`\`${name}\` must not be empty`)
  return all
}

/** Appends one or several values. */
export const push = (args: Array<Resp.Argument>, values: OneOrMany<Resp.Argument>, name: string): void => {
  if (!isMany(values)) args.push(values)
  else if (values.length === 0) note(`\`${name}\` must not be empty`)
  else for (const value of values) args.push(value)
}

/** Appends values, their number before them. */
export const pushCounted = (args: Array<Resp.Argument>, values: ReadonlyArray<Resp.Argument>): void => {
  args.push(values.length)
  for (const value of values) args.push(value)
}

/** Writes the number of the words that follow it into its place. */
export const countWords = (args: Array<Resp.Argument>, place: number): void => {
  args[place] = args.length - place - 1
}

const isMap = <K, V>(relation: Relation<K, V>): relation is ReadonlyMap<K, V> => relation instanceof Map

const isPairs = <K, V>(relation: Relation<K, V>): relation is ReadonlyArray<readonly [K, V]> => Array.isArray(relation)

/** Names and values as pairs. */
export const entries = <K, V>(relation: Relation<K, V>): ReadonlyArray<readonly [K | string, V]> => {
  if (isPairs(relation)) return relation
  return isMap(relation) ? [...relation] : Object.entries(relation)
}

/** The same, of which there must be one. */
export const someEntries = <K, V>(relation: Relation<K, V>, name: string): ReadonlyArray<readonly [K | string, V]> => {
  const all = entries(relation)
  if (all.length === 0) note(`\`${name}\` must not be empty`)
  return all
}

/** Keys first, ids afterwards. */
export const pushStreams = (args: Array<Resp.Argument>, streams: Streams, name: string): void => {
  const all = someEntries<RedisKey, RedisValue>(streams, name)
  for (const [key] of all) args.push(key)
  for (const [, id] of all) args.push(id)
}

const isNumbers = (vector: Vector): vector is ReadonlyArray<number> => Array.isArray(vector)

/** As text for plain numbers, else the bytes that they are in memory. */
export const pushVector = (args: Array<Resp.Argument>, vector: Vector): void => {
  if (isNumbers(vector)) args.push("VALUES", vector.length, ...vector)
  else args.push("FP32", new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength))
}
