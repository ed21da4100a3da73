/**
 * Members with scores, places, and entries of streams.
 *
 * @internal
 */
import { double, integer, nullable, pair, pairs, type Reader, record, map, text } from "@relive/core/Reader"
import * as Resp from "@relive/core/Resp"
import type { Entry, EntryBytes } from "../Reply.ts"

const isArray = (found: Resp.Reply): found is Resp.ReplyArray => Array.isArray(found)

const arrayOf = (found: Resp.Reply, length: number): ReadonlyArray<Resp.Reply> => {
  if (isArray(found) && found.length >= length) return found
  throw new Resp.DecodeError("shape", `an array of at least ${length} was expected`)
}

// -----------------------------------------------------------------------------
// Sorted sets, geo, streams
// -----------------------------------------------------------------------------

/** Members with their scores: flat in RESP2, pairs in RESP3. */
export const scored = /* @__PURE__ */ pairs(text, double)

/** One member that was taken, or null: `[]` where there was none. */
export const popped: Reader<readonly [string, number] | null, readonly [Uint8Array, number] | null> =
  /* @__PURE__ */ map(
    scored,
    (members) => members[0] ?? null,
    (members) => members[0] ?? null
  )

export const position = /* @__PURE__ */ pair(double, double)

/** The elements of `[member, …]`, in the server's order. */
export const located = (
  distance: boolean,
  hash: boolean,
  coordinates: boolean
): Reader<ReadonlyArray<unknown>, ReadonlyArray<unknown>> => {
  const parts: ReadonlyArray<Reader<unknown, unknown>> = [
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

const entryWith = <F>(fields: Reader<F, EntryBytes[1]>): Reader<readonly [id: string, fields: F], EntryBytes> => ({
  text: (found) => {
    const [id, values, ...rest] = arrayOf(found, 2)
    return extended([text.text(id), fields.text(values)], rest)
  },
  bytes: (found) => {
    const [id, values, ...rest] = arrayOf(found, 2)
    return extended([text.bytes(id), fields.bytes(values)], rest)
  }
})

/** Newer servers may say more of an entry: it follows as it came. */
const extended = <A extends ReadonlyArray<unknown>>(entry: A, rest: ReadonlyArray<Resp.Reply>): A => {
  if (rest.length === 0) return entry
  const all: ReadonlyArray<unknown> = [...entry, ...rest]
  return all as A
}

export const entry: Reader<Entry, EntryBytes> = /* @__PURE__ */ entryWith(fieldRecord)

/** All pairs of an entry, in order. */
export const pairsEntry = /* @__PURE__ */ entryWith(fieldPairs)

/** The same, where an entry that was deleted meanwhile has `null` for its fields. */
export const maybeEntry = /* @__PURE__ */ maybeEntryWith(fieldRecord)

export const maybePairsEntry = /* @__PURE__ */ maybeEntryWith(fieldPairs)

function maybeEntryWith<F>(
  fields: Reader<F, EntryBytes[1]>
): Reader<readonly [id: string, fields: F | null], readonly [id: Uint8Array, fields: EntryBytes[1] | null]> {
  const values = nullable(fields)
  return {
    text: (found) => {
      const [id, items, ...rest] = arrayOf(found, 2)
      return extended([text.text(id), values.text(items)], rest)
    },
    bytes: (found) => {
      const [id, items, ...rest] = arrayOf(found, 2)
      return extended([text.bytes(id), values.bytes(items)], rest)
    }
  }
}

/** The first of a list that may be empty, or null. */
export const head = <A, B>(item: Reader<A, B>): Reader<A | null, B | null> => ({
  text: (found) => (found === null || (isArray(found) && found.length === 0) ? null : item.text(found)),
  bytes: (found) => (found === null || (isArray(found) && found.length === 0) ? null : item.bytes(found))
})
