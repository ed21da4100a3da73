/**
 * Replies as plain data, in the shapes that node-redis gives: for code that was written for another client.
 *
 * `Redis.command` gives replies as the protocol has them: a `Map` for a map, a `Set` for a set, and over RESP2 the flat arrays
 * of that protocol. Here a map is a plain object, a set an array, an integer a number, a score a number, and all of it is the
 * same whatever protocol the connection speaks. `Promises` and `@relive/persistence` use it.
 *
 * The shapes are those of node-redis 6 over RESP3, which a differential test compares on one server.
 *
 * @since 0.1.0
 */
import { ReplyError } from "./Resp.ts"
import type { Argument, Reply } from "./Resp.ts"
import { shapeOf } from "./internal/commands/shapes.ts"

/**
 * A reply as plain data. An element may be a server's error, as in the reply of `EXEC`.
 *
 * A `bigint` is a number outside of 64 bits, which no command of the server itself gives. A `Uint8Array` comes from calls
 * with `decode: "bytes"` alone.
 *
 * @category models
 * @since 0.1.0
 */
export type PlainReply =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | ReplyError
  | ReadonlyArray<PlainReply>
  | { readonly [key: string]: PlainReply }

const int64 = 2n ** 63n

const isArray = (reply: object): reply is ReadonlyArray<Reply> => Array.isArray(reply)

const keyOf = (key: Reply): string => (key instanceof Uint8Array ? new TextDecoder().decode(key) : String(key))

/**
 * The reply as plain data, whatever command it is of: a `Map` becomes an object, a `Set` an array, an integer above 2^53 the
 * nearest number. What RESP2 gives flat stays flat: see `fromReply`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const plain = (reply: Reply): PlainReply => {
  if (typeof reply === "bigint") return reply >= -int64 && reply < int64 ? Number(reply) : reply
  if (typeof reply !== "object" || reply === null) return reply
  if (reply instanceof Uint8Array || reply instanceof ReplyError) return reply
  if (isArray(reply)) return reply.map(plain)
  if (!("get" in reply)) return Array.from(reply, plain)
  return Object.fromEntries(Array.from(reply, ([key, value]) => [keyOf(key), plain(value)]))
}

/**
 * The reply of a command as plain data, the same over both protocols: what RESP2 gives as a flat array or as a text (the
 * fields of `HGETALL`, the scores of `ZRANGE … WITHSCORES`) gets the shape that RESP3 has for it.
 *
 * Costs nothing for texts and numbers of commands whose replies are the same over both.
 *
 * ```ts
 * import { PlainReply, Redis } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const command = ["HGETALL", "user:1"]
 * const user = Effect.map(Redis.command(command), (reply) => PlainReply.fromReply(command, reply))
 * ```
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromReply = (command: ReadonlyArray<Argument>, reply: Reply): PlainReply => {
  if (typeof reply === "number" || reply === null) return reply
  const shape = shapeOf(command)
  if (shape === undefined) return typeof reply === "string" ? reply : plain(reply)
  return shape(plain(reply), command)
}
