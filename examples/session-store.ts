/**
 * A session store in bytes: what a web server remembers of a visitor, in a compact binary form, until the visitor stays away.
 *
 * Arguments may be `Uint8Array`, and `decode: "bytes"` gives replies as `Uint8Array`; a value that is not UTF-8 text, such
 * as packed, compressed or encrypted data, is read in no other way. A schema may then take the bytes apart.
 *
 * Use it for state that may be lost with the server and is needed on each request. Reading a session prolongs it in the same
 * step (`GETEX`), and a session that was written by an older program and cannot be read is none.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/session-store.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Effect, Schema } from "effect"
import { SchemaBinary } from "effect/encoding"
import { randomBytes } from "node:crypto"

export const Session = Schema.Struct({
  user: Schema.String,
  roles: Schema.Array(Schema.String),
  /** Against forged requests. */
  secret: Schema.Uint8Array
})
export type Session = typeof Session.Type

const Packed = SchemaBinary.toCodec(Session)

const key = (id: string) => `example:session:${id}`

/** Half an hour, in seconds, from the last request. */
export const lifetime = 30 * 60

/** Saves a session under its id, and prolongs it. */
export const save = (id: string, session: Session) =>
  Schema.encodeEffect(Packed)(session).pipe(
    Effect.orDie,
    Effect.flatMap((bytes) => Redis.command(Commands.set(key(id), bytes, { ex: lifetime }), { retry: { for: "any" } })),
    Effect.asVoid
  )

/** A new session; its id, for the cookie, cannot be guessed. */
export const create = Effect.fnUntraced(function* (session: Session) {
  const id = randomBytes(24).toString("base64url")
  yield* save(id, session)
  return id
})

/** The session, prolonged by reading it; `null` when there is none (any more), or none that we understand. */
export const load = (id: string) =>
  Redis.command(Commands.getex(key(id), { ex: lifetime }), {
    decode: "bytes",
    schema: Schema.NullOr(Packed),
    retry: { for: "any" }
  }).pipe(Effect.catchReason("RedisError", "DecodeError", () => Effect.succeed(null)))

/** Ends a session. A failure means that it may still be there: tell the visitor that logging out did not work. */
export const destroy = (id: string) => Effect.asVoid(Redis.command(Commands.unlink(key(id)), { retry: { for: "any" } }))

export const program = Effect.gen(function* () {
  const id = yield* create({ user: "ann", roles: ["admin"], secret: new Uint8Array([0, 255, 128, 10]) })
  const found = yield* load(id)
  yield* destroy(id)
  return { found, destroyed: yield* load(id) }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
