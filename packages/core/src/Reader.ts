/**
 * Readers of replies: how the value of a `Command` comes out of what the server sent.
 *
 * A reader looks at what arrived and never asks for the protocol: a relation may come as a map, as a flat list or as a list of
 * pairs, a number as a number or as text, a set as a set or as a list. For whatever else comes it throws a
 * `Resp.DecodeError` (`mismatch` makes one), which fails the command that it belongs to and no other. Its message names
 * kinds, never values.
 *
 * Most are put together from small ones:
 *
 * ```ts
 * import { Command, Reader } from "@relive/core"
 *
 * const members = Reader.pairs(Reader.text, Reader.double)
 * const best = (key: string) => Command.make(["ZRANGE", key, 0, 9, "REV", "WITHSCORES"], members)
 * ```
 *
 * They are plain functions: no schema, no fiber, no allocation but the value.
 *
 * @since 0.1.0
 */
import * as Resp from "./Resp.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Reads a reply, in both modes of decoding. What it cannot read it refuses by throwing a `Resp.DecodeError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reader<out A, out B = A> {
  /** A reply whose strings are text. */
  readonly text: (reply: Resp.Reply) => A
  /** A reply of `decode: "bytes"`: strings are `Uint8Array`, maps arrays of pairs, sets arrays. */
  readonly bytes: (reply: Resp.Reply) => B
  /** A single command's text reply is its value as it comes, and need not be read. */
  readonly asIs?: true | undefined
}

/**
 * Names that are data, and their values. It has no prototype, since `__proto__` and `constructor` are names like any others:
 * ask `Object.hasOwn(record, name)`.
 *
 * @category models
 * @since 0.1.0
 */
export type Rec<A> = Readonly<Record<string, A>>

/**
 * A relation as bytes: pairs, in the server's order.
 *
 * @category models
 * @since 0.1.0
 */
export type PairsBytes<A = Uint8Array> = ReadonlyArray<readonly [name: Uint8Array, value: A]>

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * The value of a reply, or why it cannot be read.
 *
 * @category running
 * @since 0.1.0
 */
export const read: {
  <A>(reader: Reader<A, unknown>, reply: Resp.Reply, mode: "text"): A | Resp.DecodeError
  <B>(reader: Reader<unknown, B>, reply: Resp.Reply, mode: "bytes"): B | Resp.DecodeError
  <A, B>(reader: Reader<A, B>, reply: Resp.Reply, mode: "text" | "bytes"): A | B | Resp.DecodeError
} = <A, B>(reader: Reader<A, B>, reply: Resp.Reply, mode: "text" | "bytes"): A | B | Resp.DecodeError => {
  try {
    return reader[mode](reply)
  } catch (error) {
    if (error instanceof Resp.DecodeError) return error
    throw error
  }
}

/**
 * The same reader for replies that need none: a single command's text reply is its value as it comes. For text, and lists
 * of text.
 *
 * @category combinators
 * @since 0.1.0
 */
export const asIs = <A, B>(reader: Reader<A, B>): Reader<A, B> => ({ ...reader, asIs: true })

const kindOf = (found: Resp.Reply): string => {
  if (found === null) return "null"
  if (typeof found !== "object") return `a ${typeof found}`
  if (found instanceof Uint8Array) return "bytes"
  if (found instanceof Resp.ReplyError) return "an error"
  if (Array.isArray(found)) return `an array of ${found.length}`
  return found instanceof Map ? "a map" : "a set"
}

/**
 * Refuses a reply: throws the `Resp.DecodeError` that says what was expected and what kind of thing came.
 *
 * @category running
 * @since 0.1.0
 */
export const mismatch = (expected: string, found: Resp.Reply): never => {
  throw new Resp.DecodeError("shape", `${expected} was expected, and ${kindOf(found)} came`)
}

// -----------------------------------------------------------------------------
// Single values
// -----------------------------------------------------------------------------

const encoder = new TextEncoder()

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const decodeText = (bytes: Uint8Array): string => {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new Resp.DecodeError("utf8", 'its text is not UTF-8: ask for it with `decode: "bytes"`')
  }
}

const readText = (found: Resp.Reply): string => {
  if (typeof found === "string") return found
  return found instanceof Uint8Array ? decodeText(found) : mismatch("text", found)
}

const readBytes = (found: Resp.Reply): Uint8Array => {
  if (found instanceof Uint8Array) return found
  return typeof found === "string" ? encoder.encode(found) : mismatch("text", found)
}

/**
 * The reply as it came.
 *
 * @category readers
 * @since 0.1.0
 */
export const plain: Reader<Resp.Reply> = { text: (found) => found, bytes: (found) => found }

/**
 * Text; `Uint8Array` in bytes mode.
 *
 * @category readers
 * @since 0.1.0
 */
export const text: Reader<string, Uint8Array> = { text: readText, bytes: readBytes }

/**
 * Text that is text in both modes: what the server itself names, never data.
 *
 * @category readers
 * @since 0.1.0
 */
export const word: Reader<string> = { text: readText, bytes: readText }

const isIntegerText = (found: string): boolean => /^[+-]?\d+$/.test(found)

const readInteger = (found: Resp.Reply): number => {
  if (typeof found === "number" && Number.isInteger(found)) return found
  if (typeof found === "bigint") {
    throw new Resp.DecodeError(
      "integer",
      "it holds an integer beyond 2^53, which a number cannot hold exactly; Command.asBigInt reads it"
    )
  }
  if (typeof found === "string" && isIntegerText(found)) return readInteger(smallest(BigInt(found)))
  if (found instanceof Uint8Array) return readInteger(decodeText(found))
  return mismatch("an integer", found)
}

const smallest = (found: bigint): number | bigint => {
  const number = Number(found)
  return Number.isSafeInteger(number) ? number : found
}

/**
 * An integer, also as text. One that no number holds exactly is refused rather than rounded: see `Command.asBigInt`.
 *
 * @category readers
 * @since 0.1.0
 */
export const integer: Reader<number> = { text: readInteger, bytes: readInteger }

const readBigInteger = (found: Resp.Reply): number | bigint => {
  if (typeof found === "bigint") return found
  if (typeof found === "string" && isIntegerText(found)) return smallest(BigInt(found))
  if (found instanceof Uint8Array) return readBigInteger(decodeText(found))
  return readInteger(found)
}

/**
 * An integer of any size: a number when it is safe, else a `bigint`.
 *
 * @category readers
 * @since 0.1.0
 */
export const bigInteger: Reader<number | bigint> = { text: readBigInteger, bytes: readBigInteger }

const doubles: ReadonlyMap<string, number> = new Map([
  ["inf", Infinity],
  ["+inf", Infinity],
  ["-inf", -Infinity],
  ["nan", NaN],
  ["-nan", NaN]
])

const readDouble = (found: Resp.Reply): number => {
  if (typeof found === "number") return found
  if (typeof found === "bigint") return Number(found)
  if (found instanceof Uint8Array) return readDouble(decodeText(found))
  if (typeof found !== "string") return mismatch("a number", found)
  const number = found.trim() === "" ? NaN : Number(found)
  if (!Number.isNaN(number)) return number
  return doubles.get(found.toLowerCase()) ?? mismatch("a number", found)
}

/**
 * A double, also as text.
 *
 * @category readers
 * @since 0.1.0
 */
export const double: Reader<number> = { text: readDouble, bytes: readDouble }

const readBoolean = (found: Resp.Reply): boolean => {
  if (typeof found === "boolean") return found
  if (found === 0 || found === 1) return found === 1
  return mismatch("a boolean", found)
}

/**
 * A boolean, also as 0 or 1.
 *
 * @category readers
 * @since 0.1.0
 */
export const boolean: Reader<boolean> = { text: readBoolean, bytes: readBoolean }

/**
 * One of these words or integers.
 *
 * @category readers
 * @since 0.1.0
 */
export const literal = <const A extends string | number>(...values: ReadonlyArray<A>): Reader<A> => {
  const read = (found: Resp.Reply): A => {
    const plainFound = found instanceof Uint8Array ? decodeText(found) : found
    const value = values.find((known) => known === plainFound)
    return value ?? mismatch(values.join(" or "), found)
  }
  return { text: read, bytes: read }
}

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * `null`, or what the reader reads.
 *
 * @category combinators
 * @since 0.1.0
 */
export const nullable = <A, B>(reader: Reader<A, B>): Reader<A | null, B | null> => ({
  text: (found) => (found === null ? null : reader.text(found)),
  bytes: (found) => (found === null ? null : reader.bytes(found))
})

/**
 * Either of them: the first one that can read it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const either = <A, B, C, D>(first: Reader<A, B>, second: Reader<C, D>): Reader<A | C, B | D> => {
  return {
    text: (found) => {
      const value = read(first, found, "text")
      return value instanceof Resp.DecodeError ? second.text(found) : value
    },
    bytes: (found) => {
      const value = read(first, found, "bytes")
      return value instanceof Resp.DecodeError ? second.bytes(found) : value
    }
  }
}

/**
 * An error of the server in its place, where a command reports each element by itself.
 *
 * @category combinators
 * @since 0.1.0
 */
export const orError = <A, B>(reader: Reader<A, B>): Reader<A | Resp.ReplyError, B | Resp.ReplyError> => ({
  text: (found) => (found instanceof Resp.ReplyError ? found : reader.text(found)),
  bytes: (found) => (found instanceof Resp.ReplyError ? found : reader.bytes(found))
})

/**
 * Changes what is read.
 *
 * @category combinators
 * @since 0.1.0
 */
export const map = <A, B, C, D>(
  reader: Reader<A, B>,
  toText: (value: A) => C,
  toBytes: (value: B) => D
): Reader<C, D> => ({
  text: (found) => toText(reader.text(found)),
  bytes: (found) => toBytes(reader.bytes(found))
})

/**
 * A reader that is made when it is first needed: for what contains itself.
 *
 * @category combinators
 * @since 0.1.0
 */
export const lazy = <A, B>(make: () => Reader<A, B>): Reader<A, B> => ({
  text: (found) => make().text(found),
  bytes: (found) => make().bytes(found)
})

const isArray = (found: Resp.Reply): found is Resp.ReplyArray => Array.isArray(found)

/** The elements of an array or a set. */
const itemsOf = (found: Resp.Reply, expected: string): ReadonlyArray<Resp.Reply> => {
  if (isArray(found)) return found
  return found instanceof Set ? [...found] : mismatch(expected, found)
}

/**
 * An array, or a set, as an array.
 *
 * @category combinators
 * @since 0.1.0
 */
export const list = <A, B>(item: Reader<A, B>): Reader<ReadonlyArray<A>, ReadonlyArray<B>> => ({
  text: (found) => itemsOf(found, "an array").map((element) => item.text(element)),
  bytes: (found) => itemsOf(found, "an array").map((element) => item.bytes(element))
})

/**
 * A set of distinct elements, also as an array; in bytes mode an array, since bytes have no equality.
 *
 * @category combinators
 * @since 0.1.0
 */
export const set = <A, B>(item: Reader<A, B>): Reader<ReadonlySet<A>, ReadonlyArray<B>> => ({
  text: (found) => new Set(itemsOf(found, "a set").map((element) => item.text(element))),
  bytes: (found) => itemsOf(found, "a set").map((element) => item.bytes(element))
})

const arrayOf = (found: Resp.Reply, length: number): ReadonlyArray<Resp.Reply> =>
  isArray(found) && found.length >= length ? found : mismatch(`an array of ${length}`, found)

/**
 * An array of two.
 *
 * @category combinators
 * @since 0.1.0
 */
export const pair = <A, B, C, D>(
  first: Reader<A, B>,
  second: Reader<C, D>
): Reader<readonly [A, C], readonly [B, D]> => ({
  text: (found) => {
    const [one, two] = arrayOf(found, 2)
    return [first.text(one), second.text(two)]
  },
  bytes: (found) => {
    const [one, two] = arrayOf(found, 2)
    return [first.bytes(one), second.bytes(two)]
  }
})

/**
 * An array of three.
 *
 * @category combinators
 * @since 0.1.0
 */
export const triple = <A, B, C, D, E, F>(
  first: Reader<A, B>,
  second: Reader<C, D>,
  third: Reader<E, F>
): Reader<readonly [A, C, E], readonly [B, D, F]> => ({
  text: (found) => {
    const [one, two, three] = arrayOf(found, 3)
    return [first.text(one), second.text(two), third.text(three)]
  },
  bytes: (found) => {
    const [one, two, three] = arrayOf(found, 3)
    return [first.bytes(one), second.bytes(two), third.bytes(three)]
  }
})

/**
 * An array of four.
 *
 * @category combinators
 * @since 0.1.0
 */
export const quadruple = <A, B, C, D, E, F, G, H>(
  first: Reader<A, B>,
  second: Reader<C, D>,
  third: Reader<E, F>,
  fourth: Reader<G, H>
): Reader<readonly [A, C, E, G], readonly [B, D, F, H]> => ({
  text: (found) => {
    const [one, two, three, four] = arrayOf(found, 4)
    return [first.text(one), second.text(two), third.text(three), fourth.text(four)]
  },
  bytes: (found) => {
    const [one, two, three, four] = arrayOf(found, 4)
    return [first.bytes(one), second.bytes(two), third.bytes(three), fourth.bytes(four)]
  }
})

// -----------------------------------------------------------------------------
// Relations
// -----------------------------------------------------------------------------

const isPair = (found: Resp.Reply): found is readonly [Resp.Reply, Resp.Reply] & Resp.ReplyArray =>
  isArray(found) && found.length === 2

/** The pairs of a relation, in whatever form it came: a map, a list of pairs, or a flat list. */
const pairsOf = (found: Resp.Reply, expected: string): ReadonlyArray<readonly [Resp.Reply, Resp.Reply]> => {
  if (found instanceof Map) return [...found]
  if (!isArray(found)) return mismatch(expected, found)
  if (isArray(found[0])) return found.every(isPair) ? found.filter(isPair) : mismatch(expected, found)
  if (found.length % 2 !== 0) return mismatch(expected, found)
  return Array.from({ length: found.length / 2 }, (_, index) => [found[2 * index], found[2 * index + 1]] as const)
}

/**
 * Pairs in any form (a map, pairs, a flat list) as a list, whose order and repeated names are kept.
 *
 * @category combinators
 * @since 0.1.0
 */
export const pairs = <A, B, C, D>(
  first: Reader<A, B>,
  second: Reader<C, D>
): Reader<ReadonlyArray<readonly [A, C]>, ReadonlyArray<readonly [B, D]>> => ({
  text: (found) => pairsOf(found, "an array of pairs").map(([one, two]) => [first.text(one), second.text(two)]),
  bytes: (found) => pairsOf(found, "an array of pairs").map(([one, two]) => [first.bytes(one), second.bytes(two)])
})

/** The name of a field: integers are names, too. */
const nameOf = (found: Resp.Reply): string =>
  typeof found === "number" || typeof found === "bigint" ? String(found) : readText(found)

const nameBytes = (found: Resp.Reply): Uint8Array =>
  typeof found === "number" || typeof found === "bigint" ? encoder.encode(String(found)) : readBytes(found)

/** No prototype: `__proto__` and `constructor` are names like any others. */
const emptyRecord = <A>(): Record<string, A> => Object.create(null)

/**
 * Names that are data, and values. The last of equal names wins. In bytes mode pairs, in the order of the server.
 *
 * @category combinators
 * @since 0.1.0
 */
export const record = <A, B>(value: Reader<A, B>): Reader<Rec<A>, PairsBytes<B>> => ({
  text: (found) => {
    const result = emptyRecord<A>()
    if (found instanceof Map) {
      for (const [name, item] of found) result[nameOf(name)] = value.text(item)
      return result
    }
    for (const [name, item] of pairsOf(found, "a map")) result[nameOf(name)] = value.text(item)
    return result
  },
  bytes: (found) => pairsOf(found, "a map").map(([name, item]) => [nameBytes(name), value.bytes(item)])
})

type Fields = Readonly<Record<string, Reader<unknown, unknown>>>

/**
 * The result of a `struct` that is read as text.
 *
 * @category models
 * @since 0.1.0
 */
export type TextOf<F extends Fields> = {
  readonly [N in keyof F]: F[N] extends Reader<infer A, infer _B> ? A : never
} & {
  readonly [name: string]: unknown
}

/**
 * The result of a `struct` that is read as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type BytesOf<F extends Fields> = {
  readonly [N in keyof F]: F[N] extends Reader<infer _A, infer B> ? B : never
} & {
  readonly [name: string]: unknown
}

/**
 * Fields that are fixed, by their names on the server. What newer servers add is there as it came.
 *
 * @category combinators
 * @since 0.1.0
 */
export const struct = <const F extends Fields>(fields: F): Reader<TextOf<F>, BytesOf<F>> => {
  const read = (found: Resp.Reply, mode: "text" | "bytes"): Record<string, unknown> => {
    const result = emptyRecord<unknown>()
    for (const [key, value] of pairsOf(found, "a map")) {
      const name = nameOf(key)
      const field = Object.hasOwn(fields, name) ? fields[name] : plain
      result[name] = field[mode](value)
    }
    return result
  }
  return { text: (found) => read(found, "text") as TextOf<F>, bytes: (found) => read(found, "bytes") as BytesOf<F> }
}
