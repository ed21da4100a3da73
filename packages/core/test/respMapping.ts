/**
 * What a `Reply` must be for a `Frame`, written down once more and independently of the builders, and a deep comparison
 * that is stricter than `assert.deepStrictEqual` (it tells `-0` from `0`, and the order of maps and sets).
 */
import * as Resp from "@relive/core/Resp"
import { inspect } from "node:util"

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
      const pairs = frame.pairs.map(([key, value]): [Resp.Reply, Resp.Reply] => [replyOf(key, bytes), replyOf(value, bytes)])
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

/** A text that is equal for two values exactly when they are. */
export const shown = (value: unknown): string =>
  inspect(value, {
    depth: null,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Infinity,
    compact: true,
    getters: false
  })
