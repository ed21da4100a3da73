/**
 * The neutral form of values in the records, and how a value of ours is compared with it.
 */
import * as Resp from "@relive/core/Resp"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [name: string]: Json }

export const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

const isTagged = (value: Json, tag: string): value is { readonly [name: string]: Json } =>
  typeof value === "object" && value !== null && !isList(value) && tag in value

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const bytesToNeutral = (bytes: Uint8Array): Json => {
  try {
    return decoder.decode(bytes)
  } catch {
    return { $bytes: Buffer.from(bytes).toString("hex") }
  }
}

const numberToNeutral = (value: number): Json => {
  if (Object.is(value, -0)) return { $double: "-0" }
  if (Number.isFinite(value)) return value
  return { $double: Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf" }
}

/** A value of ours. `undefined` is none, wherever it stands. */
export const toNeutral = (value: unknown): Json => {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value
  if (typeof value === "number") return numberToNeutral(value)
  if (typeof value === "bigint") return { $bigint: String(value) }
  if (value instanceof Uint8Array) return bytesToNeutral(value)
  if (value instanceof Resp.ReplyError) return { $error: { code: value.code, message: value.message } }
  if (value instanceof Resp.DecodeError) return { $decodeError: value.message }
  if (Array.isArray(value)) return value.map(toNeutral)
  if (value instanceof Set) return { $set: [...value].map(toNeutral) }
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [toNeutral(key), toNeutral(item)]) }
  if (typeof value === "object") return { $map: Object.entries(value).map(([key, item]) => [key, toNeutral(item)]) }
  throw new Error(`A value that is none: ${String(value)}`)
}

const list = (value: Json | undefined): ReadonlyArray<Json> | undefined => (isList(value) ? value : undefined)

/** The elements of a relation: of a map, or (`loose`) of a list of pairs. */
const pairsIn = (value: Json, loose: boolean): ReadonlyArray<readonly [Json, Json]> | undefined => {
  const all = isTagged(value, "$map")
    ? list(value.$map)
    : isTagged(value, "$pairs")
      ? list(value.$pairs)
      : loose
        ? list(value)
        : undefined
  return all?.every((item) => isList(item) && item.length === 2)
    ? all.map((item): readonly [Json, Json] => {
        const [key, entry] = list(item) ?? []
        return [key, entry]
      })
    : undefined
}

const keyOf = (value: Json): string => (typeof value === "object" ? JSON.stringify(value) : String(value))

/** Without order: each of the one is one of the other. */
const sameBag = (left: ReadonlyArray<Json>, right: ReadonlyArray<Json>, loose: boolean): boolean => {
  if (left.length !== right.length) return false
  const rest = [...right]
  return left.every((item) => {
    const at = rest.findIndex((other) => matches(item, other, loose))
    if (at !== -1) rest.splice(at, 1)
    return at !== -1
  })
}

const sameMap = (
  expected: ReadonlyArray<readonly [Json, Json]>,
  found: ReadonlyArray<readonly [Json, Json]>,
  loose: boolean
): boolean => {
  const byName = new Map(found.map(([key, value]) => [keyOf(key), value]))
  const wanted = new Map(expected.map(([key, value]) => [keyOf(key), value]))
  return (
    byName.size === wanted.size &&
    [...wanted].every(([name, value]) => {
      const other = byName.get(name)
      return other !== undefined && matches(value, other, loose)
    })
  )
}

/**
 * Is this value what the record expects? `loose` is bytes mode: maps and sets are arrays there.
 */
export const matches = (expected: Json, found: Json, loose = false): boolean => {
  if (isTagged(expected, "$map")) {
    const pairs = pairsIn(found, loose)
    return pairs !== undefined && sameMap(pairsIn(expected, false) ?? [], pairs, loose)
  }
  if (isTagged(expected, "$pairs")) {
    const wanted = pairsIn(expected, false) ?? []
    // A record keeps the last of equal names; a list keeps all.
    if (isTagged(found, "$map")) return sameMap(wanted, pairsIn(found, false) ?? [], loose)
    const pairs = pairsIn(found, true)
    return (
      pairs !== undefined &&
      pairs.length === wanted.length &&
      wanted.every(
        ([key, value], index) => matches(key, pairs[index][0], loose) && matches(value, pairs[index][1], loose)
      )
    )
  }
  if (isTagged(expected, "$set")) {
    const items = isTagged(found, "$set") ? list(found.$set) : loose ? list(found) : undefined
    return items !== undefined && sameBag(list(expected.$set) ?? [], items, loose)
  }
  if (isTagged(expected, "$error")) {
    if (!isTagged(found, "$error")) return false
    const [wanted, given] = [expected.$error, found.$error]
    if (!isTagged(wanted, "code") || !isTagged(given, "code")) return false
    return wanted.code === given.code && String(wanted.message).startsWith(String(given.message))
  }
  if (isTagged(expected, "$bigint")) return isTagged(found, "$bigint") && found.$bigint === expected.$bigint
  if (isList(expected)) {
    const items = list(found) ?? (loose && isTagged(found, "$set") ? list(found.$set) : undefined)
    return (
      items !== undefined &&
      items.length === expected.length &&
      expected.every((item, index) => matches(item, items[index], loose))
    )
  }
  return JSON.stringify(expected) === JSON.stringify(found)
}

// -----------------------------------------------------------------------------
// Content, whatever its shape
// -----------------------------------------------------------------------------

const leaf = (value: Json): string => {
  if (typeof value === "boolean") return value ? "1" : "0"
  if (isTagged(value, "$double")) return String(value.$double)
  if (isTagged(value, "$bigint")) return String(value.$bigint)
  if (isTagged(value, "$bytes")) return `bytes ${String(value.$bytes)}`
  const text = String(value)
  const number = text.trim() === "" ? NaN : Number(text)
  return Number.isNaN(number) ? text : String(number)
}

const tags = ["$double", "$bigint", "$bytes", "$date"]

/** All single values, with or without the names of maps. */
export const leaves = (value: Json, names: boolean): ReadonlyArray<string> => {
  if (isList(value)) return value.flatMap((item) => leaves(item, names))
  if (typeof value !== "object" || value === null || tags.some((tag) => tag in value)) return [leaf(value)]
  if ("$set" in value) return leaves(value.$set, names)
  if ("$error" in value) return ["error"]
  const pairs = pairsIn(value, false) ?? Object.entries(value)
  return pairs.flatMap(([key, item]) => [...(names ? [leaf(key)] : []), ...leaves(item, names)])
}

/** Do two values hold the same, whatever their shapes? */
export const sameContent = (left: Json, right: Json): boolean => {
  const bag = (value: Json, names: boolean) => leaves(value, names).toSorted().join("\0")
  return [true, false].some((mine) => [true, false].some((theirs) => bag(left, mine) === bag(right, theirs)))
}
