/**
 * Cache-aside: read from Redis, and on a miss load from the source and leave the result in Redis for a while.
 *
 * For what is read much more often than it changes and may be a little old: an update deletes the entry, and a load that
 * was under way at that moment can put the old value back, so the time to live is the bound on how old a result gets.
 *
 * The cache is never why a read fails: an entry of an older shape is a miss, and so is a Redis that does not reply
 * within 100 ms. Callers that miss the same key at the same time share one load. That holds within one process; each
 * process may load once, and where even that is too much, load under the lock of `lock.ts`.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/cache-aside.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Cache, Console, Effect, Schema } from "effect"

const User = Schema.Struct({ id: Schema.Int, name: Schema.String })
type User = typeof User.Type

const UserJson = Schema.fromJsonString(User)

const key = (id: number) => `example:user:${id}`

/** `null` on a miss. */
const read = (id: number) =>
  Redis.command(Commands.get(key(id)), { schema: Schema.NullOr(UserJson), timeout: "100 millis" }).pipe(
    Effect.catchTag("RedisError", (error) =>
      Effect.as(Effect.logWarning(`Not read from the cache: ${error.message}`), null)
    )
  )

const write = (user: User) =>
  Schema.encodeEffect(UserJson)(user).pipe(
    Effect.flatMap((json) => Redis.command(Commands.set(key(user.id), json, { ex: 60 }), { timeout: "100 millis" })),
    Effect.catchTag("RedisError", (error) => Effect.logWarning(`Not written to the cache: ${error.message}`)),
    Effect.orDie
  )

/** Users, cached in front of `load`. */
export const makeUsers = Effect.fnUntraced(function* <E, R>(load: (id: number) => Effect.Effect<User, E, R>) {
  // Keeps nothing (its time to live is zero): it only lets those who wait for the same user wait for the same lookup.
  const lookups = yield* Cache.make({
    capacity: Number.POSITIVE_INFINITY,
    timeToLive: 0,
    lookup: (id: number) =>
      Effect.flatMap(read(id), (found) => (found === null ? Effect.tap(load(id), write) : Effect.succeed(found)))
  })
  return {
    get: (id: number) => Cache.get(lookups, id),
    /** To be called after a user was changed at the source. A failure means that readers may see the old one for a minute. */
    changed: (id: number) => Redis.command(Commands.del(key(id)), { retry: { for: "any" } })
  }
})

export const program = Effect.gen(function* () {
  let loads = 0
  const users = yield* makeUsers((id) =>
    Effect.delay(
      Effect.sync(() => ({ id, name: `user ${id}, load ${++loads}` })),
      "20 millis" // The database is slow.
    )
  )
  yield* users.changed(7)
  yield* Effect.all(Effect.replicate(users.get(7), 100), { concurrency: "unbounded" })
  const cached = yield* users.get(7)
  yield* users.changed(7)
  const fresh = yield* users.get(7)
  return { cached: cached.name, fresh: fresh.name }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
