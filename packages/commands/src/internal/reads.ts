/**
 * Reading replies: small readers, put together for each command.
 *
 * They look at what arrived and never ask for the protocol: a relation may come as a map, as a flat list or as a list of
 * pairs, a number as a number or as text, a set as a set or as a list. Whatever else comes is a `DecodeError`, which they
 * throw among themselves; `reply` returns it to the outside.
 *
 * @internal
 */
import type * as Command from "@relive/core/Command"
import * as Resp from "@relive/core/Resp"
import type { Entry, EntryBytes, Rec } from "../Reply.ts"

/** A reader of a part of a reply. It throws a `DecodeError`. */
export interface Read<out A, out B = A> {
  readonly text: (reply: Resp.Reply) => A
  readonly bytes: (reply: Resp.Reply) => B
}

/** What a relation is in bytes mode, and wherever its order counts. */
export type Pairs<A> = ReadonlyArray<readonly [Uint8Array, A]>

// -----------------------------------------------------------------------------
// To and from the outside
// -----------------------------------------------------------------------------

const guarded =
  <A>(read: (reply: Resp.Reply) => A) =>
  (reply: Resp.Reply): A | Resp.DecodeError => {
    try {
      return read(reply)
    } catch (error) {
      if (error instanceof Resp.DecodeError) return error
      throw error
    }
  }

/** The reader of a command. */
export const reply = <A, B>(read: Read<A, B>): Command.Reader<A, B> => ({
  text: guarded(read.text),
  bytes: guarded(read.bytes)
})

/** The reader of a command whose text reply is its value as it comes. */
export const asIs = <A, B>(read: Read<A, B>): Command.Reader<A, B> => ({ ...reply(read), asIs: true })

const kindOf = (found: Resp.Reply): string => {
  if (found === null) return "null"
  if (typeof found !== "object") return `a ${typeof found}`
  if (found instanceof Uint8Array) return "bytes"
  if (found instanceof Resp.ReplyError) return "an error"
  if (Array.isArray(found)) return `an array of ${found.length}`
  return found instanceof Map ? "a map" : "a set"
}

const mismatch = (expected: string, found: Resp.Reply): never => {
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

/** The reply as it came. */
export const plain: Read<Resp.Reply> = { text: (found) => found, bytes: (found) => found }

export const text: Read<string, Uint8Array> = { text: readText, bytes: readBytes }

/** Text that is text in both modes: what the server itself names, never data. */
export const word: Read<string> = { text: readText, bytes: readText }

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

/** An integer, also as text. One that is no safe integer is refused rather than rounded. */
export const integer: Read<number> = { text: readInteger, bytes: readInteger }

const readBigInteger = (found: Resp.Reply): number | bigint => {
  if (typeof found === "bigint") return found
  if (typeof found === "string" && isIntegerText(found)) return smallest(BigInt(found))
  if (found instanceof Uint8Array) return readBigInteger(decodeText(found))
  return readInteger(found)
}

/** An integer that may be of any size: a number when it is safe, else a `bigint`. */
export const bigInteger: Read<number | bigint> = { text: readBigInteger, bytes: readBigInteger }

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
  const number = found === "" ? NaN : Number(found)
  if (!Number.isNaN(number)) return number
  return doubles.get(found.toLowerCase()) ?? mismatch("a number", found)
}

/** A double, also as text. */
export const double: Read<number> = { text: readDouble, bytes: readDouble }

const readBoolean = (found: Resp.Reply): boolean => {
  if (typeof found === "boolean") return found
  if (found === 0 || found === 1) return found === 1
  return mismatch("a boolean", found)
}

/** A boolean, also as 0 or 1. */
export const boolean: Read<boolean> = { text: readBoolean, bytes: readBoolean }

/** One of these words or integers. */
export const literal = <const A extends string | number>(...values: ReadonlyArray<A>): Read<A> => {
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

export const nullable = <A, B>(read: Read<A, B>): Read<A | null, B | null> => ({
  text: (found) => (found === null ? null : read.text(found)),
  bytes: (found) => (found === null ? null : read.bytes(found))
})

/** Either of them: the first one that can read it. */
export const either = <A, B, C, D>(first: Read<A, B>, second: Read<C, D>): Read<A | C, B | D> => {
  const firstText = guarded(first.text)
  const firstBytes = guarded(first.bytes)
  return {
    text: (found) => {
      const value = firstText(found)
      return value instanceof Resp.DecodeError ? second.text(found) : value
    },
    bytes: (found) => {
      const value = firstBytes(found)
      return value instanceof Resp.DecodeError ? second.bytes(found) : value
    }
  }
}

/** An error of the server in its place, where a command tells of each element by itself. */
export const orError = <A, B>(read: Read<A, B>): Read<A | Resp.ReplyError, B | Resp.ReplyError> => ({
  text: (found) => (found instanceof Resp.ReplyError ? found : read.text(found)),
  bytes: (found) => (found instanceof Resp.ReplyError ? found : read.bytes(found))
})

export const map = <A, B, C, D>(read: Read<A, B>, toText: (value: A) => C, toBytes: (value: B) => D): Read<C, D> => ({
  text: (found) => toText(read.text(found)),
  bytes: (found) => toBytes(read.bytes(found))
})

/** A reader that is made when it is first needed: for what contains itself. */
export const lazy = <A, B>(make: () => Read<A, B>): Read<A, B> => ({
  text: (found) => make().text(found),
  bytes: (found) => make().bytes(found)
})

const isArray = (found: Resp.Reply): found is Resp.ReplyArray => Array.isArray(found)

/** The elements of an array or a set. */
const itemsOf = (found: Resp.Reply, expected: string): ReadonlyArray<Resp.Reply> => {
  if (isArray(found)) return found
  return found instanceof Set ? [...found] : mismatch(expected, found)
}

export const list = <A, B>(item: Read<A, B>): Read<ReadonlyArray<A>, ReadonlyArray<B>> => ({
  text: (found) => itemsOf(found, "an array").map((element) => item.text(element)),
  bytes: (found) => itemsOf(found, "an array").map((element) => item.bytes(element))
})

/** A set of distinct elements; an array in bytes mode, since bytes have no equality. */
export const set = <A, B>(item: Read<A, B>): Read<ReadonlySet<A>, ReadonlyArray<B>> => ({
  text: (found) => new Set(itemsOf(found, "a set").map((element) => item.text(element))),
  bytes: (found) => itemsOf(found, "a set").map((element) => item.bytes(element))
})

const arrayOf = (found: Resp.Reply, length: number): ReadonlyArray<Resp.Reply> =>
  isArray(found) && found.length >= length ? found : mismatch(`an array of ${length}`, found)

export const pair = <A, B, C, D>(first: Read<A, B>, second: Read<C, D>): Read<readonly [A, C], readonly [B, D]> => ({
  text: (found) => {
    const [one, two] = arrayOf(found, 2)
    return [first.text(one), second.text(two)]
  },
  bytes: (found) => {
    const [one, two] = arrayOf(found, 2)
    return [first.bytes(one), second.bytes(two)]
  }
})

export const triple = <A, B, C, D, E, F>(
  first: Read<A, B>,
  second: Read<C, D>,
  third: Read<E, F>
): Read<readonly [A, C, E], readonly [B, D, F]> => ({
  text: (found) => {
    const [one, two, three] = arrayOf(found, 3)
    return [first.text(one), second.text(two), third.text(three)]
  },
  bytes: (found) => {
    const [one, two, three] = arrayOf(found, 3)
    return [first.bytes(one), second.bytes(two), third.bytes(three)]
  }
})

export const quadruple = <A, B, C, D, E, F, G, H>(
  first: Read<A, B>,
  second: Read<C, D>,
  third: Read<E, F>,
  fourth: Read<G, H>
): Read<readonly [A, C, E, G], readonly [B, D, F, H]> => ({
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

/** A list of pairs, whose order and repeated names are kept. */
export const pairs = <A, B, C, D>(
  first: Read<A, B>,
  second: Read<C, D>
): Read<ReadonlyArray<readonly [A, C]>, ReadonlyArray<readonly [B, D]>> => ({
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

/** Names that are data, and values. The last of equal names wins. In bytes mode pairs, in the server's order. */
export const record = <A, B>(value: Read<A, B>): Read<Rec<A>, Pairs<B>> => ({
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

type Fields = Readonly<Record<string, Read<unknown, unknown>>>

/** What a `struct` reads as text. */
export type TextOf<F extends Fields> = { readonly [N in keyof F]: F[N] extends Read<infer A, infer _B> ? A : never } & {
  readonly [name: string]: unknown
}

/** What a `struct` reads as bytes. */
export type BytesOf<F extends Fields> = {
  readonly [N in keyof F]: F[N] extends Read<infer _A, infer B> ? B : never
} & {
  readonly [name: string]: unknown
}

/** Fields that are fixed, by their names on the server. What newer servers add is there as it came. */
export const struct = <const F extends Fields>(fields: F): Read<TextOf<F>, BytesOf<F>> => {
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

// -----------------------------------------------------------------------------
// Sorted sets, geo, streams
// -----------------------------------------------------------------------------

/** Members with their scores: flat in RESP2, pairs in RESP3. */
export const scored = /* @__PURE__ */ pairs(text, double)

/** One member that was taken, or null: `[]` where there was none. */
export const popped: Read<readonly [string, number] | null, readonly [Uint8Array, number] | null> = /* @__PURE__ */ map(
  scored,
  (members) => members[0] ?? null,
  (members) => members[0] ?? null
)

export const position = /* @__PURE__ */ pair(double, double)

/** What stands in `[member, …]`, in the server's order. */
export const located = (
  distance: boolean,
  hash: boolean,
  coordinates: boolean
): Read<ReadonlyArray<unknown>, ReadonlyArray<unknown>> => {
  const parts: ReadonlyArray<Read<unknown, unknown>> = [
    text,
    ...(distance ? [double] : []),
    ...(hash ? [integer] : []),
    ...(coordinates ? [position] : [])
  ]
  return {
    text: (found) => parts.map((part, index) => part.text(arrayOf(found, parts.length)[index])),
    bytes: (found) => parts.map((part, index) => part.bytes(arrayOf(found, parts.length)[index]))
  }
}

const fieldPairs = /* @__PURE__ */ pairs(text, text)

const fieldRecord = /* @__PURE__ */ record(text)

const entryWith = <F>(fields: Read<F, EntryBytes[1]>): Read<readonly [id: string, fields: F], EntryBytes> => ({
  text: (found) => {
    const [id, values, ...rest] = arrayOf(found, 2)
    return extended([readText(id), fields.text(values)], rest)
  },
  bytes: (found) => {
    const [id, values, ...rest] = arrayOf(found, 2)
    return extended([readBytes(id), fields.bytes(values)], rest)
  }
})

/** Newer servers may say more of an entry: it follows as it came. */
const extended = <A extends ReadonlyArray<unknown>>(entry: A, rest: ReadonlyArray<Resp.Reply>): A => {
  if (rest.length === 0) return entry
  const all: ReadonlyArray<unknown> = [...entry, ...rest]
  return all as A
}

export const entry: Read<Entry, EntryBytes> = /* @__PURE__ */ entryWith(fieldRecord)

/** All pairs of an entry, in order. */
export const pairsEntry = /* @__PURE__ */ entryWith(fieldPairs)

/** The same, where an entry that was deleted meanwhile has `null` for its fields. */
export const maybeEntry = /* @__PURE__ */ maybeEntryWith(fieldRecord)

export const maybePairsEntry = /* @__PURE__ */ maybeEntryWith(fieldPairs)

function maybeEntryWith<F>(
  fields: Read<F, EntryBytes[1]>
): Read<readonly [id: string, fields: F | null], readonly [id: Uint8Array, fields: EntryBytes[1] | null]> {
  const values = nullable(fields)
  return {
    text: (found) => {
      const [id, items, ...rest] = arrayOf(found, 2)
      return extended([readText(id), values.text(items)], rest)
    },
    bytes: (found) => {
      const [id, items, ...rest] = arrayOf(found, 2)
      return extended([readBytes(id), values.bytes(items)], rest)
    }
  }
}

/** The first of a list that may be empty, or null. */
export const head = <A, B>(item: Read<A, B>): Read<A | null, B | null> => ({
  text: (found) => (found === null || (isArray(found) && found.length === 0) ? null : item.text(found)),
  bytes: (found) => (found === null || (isArray(found) && found.length === 0) ? null : item.bytes(found))
})
