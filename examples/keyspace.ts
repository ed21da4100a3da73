/**
 * Told when keys expire: sessions that have ended, without asking for each of them again and again.
 *
 * For what may be missed now and then: the server publishes a change once, to those subscribed then, and an expired key when it
 * finds it, which may be some time after. So what must happen is done by a sweep over the data as well, at the start and after
 * each `Gap`: here `sweep`, which is given what it is about.
 *
 * The server must be set up for it; the program says how, when it is not:
 *
 *     redis-cli CONFIG SET notify-keyspace-events Ex
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/keyspace.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Redis, RedisLive } from "@relive/core"
import { Console, Deferred, Effect, Fiber, Stream } from "effect"

const prefix = "example:session:"

/** Runs `ended` for each session that expires, and `sweep` whenever some may have been missed, first of all at the start. */
export const watchSessions = <E, R, E2, R2>(
  ended: (id: string) => Effect.Effect<unknown, E, R>,
  sweep: Effect.Effect<unknown, E2, R2>
) =>
  Redis.keyspace({ events: ["expired"] }).pipe(
    Stream.runForEach((event): Effect.Effect<unknown, E | E2, R | R2> => {
      if (event._tag === "KeyEvent")
        return event.key.startsWith(prefix) ? ended(event.key.slice(prefix.length)) : Effect.void
      // Changes between a gap and this are told; earlier ones are not.
      return event._tag === "Gap" && event.reason === "disconnected" ? Effect.void : sweep
    })
  )

export const program = Effect.gen(function* () {
  const subscribed = yield* Deferred.make<void>()
  const ended = yield* Deferred.make<string>()
  const watching = yield* Effect.forkChild(
    watchSessions((id) => Deferred.succeed(ended, id), Deferred.succeed(subscribed, undefined))
  )
  yield* Deferred.await(subscribed)
  yield* Redis.command(["SET", `${prefix}ann`, "…", "PX", 20])
  const id = yield* Deferred.await(ended)
  yield* Fiber.interrupt(watching)
  return { ended: id }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
