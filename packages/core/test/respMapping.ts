/**
 * What a `Reply` must be for a `Frame`, written down once more and independently of the builders, and a deep comparison
 * that is stricter than `assert.deepStrictEqual` (it tells `-0` from `0`, and the order of maps and sets).
 */
import * as Resp from "@relive/core/Resp"

/** Frames of strings in bytes mode hold bytes already, so only maps and sets depend on the mode here. */
export const replyOf = (frame: Resp.Frame, bytes: boolean): Resp.Reply => {
  switch (frame._tag) {
    case "SimpleString":
    case "Integer":
    case "BulkString":
    case "Double":
    case "Boolean":
    case "VerbatimString":
    case "BigNumber":
      return frame.value
    case "SimpleError":
    case "BlobError":
      return Resp.ReplyError.fromText(frame.value)
    case "Null":
      return null
    case "Array":
      return frame.items.map((item) => replyOf(item, bytes))
    case "Set": {
      const items = frame.items.map((item) => replyOf(item, bytes))
      return bytes ? items : new Set(items)
    }
    case "Map": {
      const pairs = frame.pairs.map(([key, value]): [Resp.Reply, Resp.Reply] => [
        replyOf(key, bytes),
        replyOf(value, bytes)
      ])
      return bytes ? pairs : new Map(pairs)
    }
  }
}

/** What the reply decoder must put out where the frame decoder put out this. */
export const decodedReplyOf = (decoded: Resp.Decoded<Resp.Frame>, bytes: boolean): Resp.Decoded<Resp.Reply> => {
  if (decoded instanceof Resp.ReplyFailure) return decoded
  if (!(decoded instanceof Resp.Push)) return replyOf(decoded, bytes)
  return new Resp.Push(
    decoded.data.map((item) => replyOf(item, bytes)),
    decoded.failure
  )
}

/**
 * A text that is equal for two values exactly when they are, kinds, order and the sign of zero included. (Quicker than
 * `util.inspect`, which takes long over bytes.)
 */
export const shown = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value)
  if (value instanceof Uint8Array) {
    return `${Object.getPrototypeOf(value).constructor.name}<${Buffer.from(value.buffer, value.byteOffset, value.length).toString("hex")}>`
  }
  if (Array.isArray(value)) return `[${value.map(shown).join(", ")}]`
  if (value instanceof Map)
    return `Map{${Array.from(value, ([key, item]) => `${shown(key)} => ${shown(item)}`).join(", ")}}`
  if (value instanceof Set) return `Set{${Array.from(value, shown).join(", ")}}`
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "null"
  return `${name}{${fields
    .map(([key, field]) => `${key}: ${shown(field)}`)
    .sort()
    .join(", ")}}`
}

/** Are two values equal in all that `shown` shows? (A hundred times quicker where they are.) */
export const alike = (a: unknown, b: unknown): boolean => {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return Object.is(a, b)
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  if (Array.isArray(a) && Array.isArray(b)) return listsAlike(a, b)
  if (a instanceof Map && b instanceof Map)
    return listsAlike([...a.keys(), ...a.values()], [...b.keys(), ...b.values()])
  if (a instanceof Set && b instanceof Set) return listsAlike([...a], [...b])
  const [left, right] = [Object.entries(a).filter(isSet), Object.entries(b).filter(isSet)]
  return left.length === right.length && left.every(([key, value]) => alike(value, Reflect.get(b, key)))
}

const isSet = ([, value]: readonly [string, unknown]): boolean => value !== undefined

const listsAlike = (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): boolean =>
  a.length === b.length && a.every((item, index) => alike(item, b[index]))
