/**
 * A counter: visits of pages, counted by any number of processes at once.
 *
 * `INCR` reads, adds and writes in one step on the server, so nobody needs a lock. Use it for counts that many add to and
 * few read; for a count of *different* visitors see `PFADD`, for a limit see `rate-limiter.ts`.
 *
 * An increment is not repeatable, and it is sent at most once. When its connection breaks, nobody can know whether it
 * counted, and the error says so: `delivery: "unknown"`. So the count is at least what was acknowledged, and at most that and
 * the unknown ones. What was not sent is repeated (`retry: { for: "unsent" }`). If each visit must count exactly once, give
 * it an id and remember the ids, as `transfer.ts` does.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/counter.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Effect, Schema } from "effect"

const key = (page: string) => `example:visits:${page}`

const Count = Schema.NullOr(Schema.FiniteFromString)

/** Counts a visit and gives the new count. */
export const visit = (page: string) => Redis.command(Commands.incr(key(page)), { retry: { for: "unsent" } })

/** Counts a visit if that is possible, and says what is known: a page need not fail because it was not counted. */
export const tryVisit = (page: string) =>
  Effect.match(visit(page), {
    onSuccess: () => "counted" as const,
    onFailure: ({ reason }) =>
      "delivery" in reason && reason.delivery === "unknown" ? ("perhaps" as const) : ("not counted" as const)
  })

/** The counts of several pages, read at one moment. */
export const visits = (pages: ReadonlyArray<string>) =>
  Redis.command(Commands.mget(pages.map(key)), { schema: Schema.Array(Count) }).pipe(
    Effect.map((counts) => counts.map((count) => count ?? 0))
  )

/** The count so far, which starts over from 0: no visit is lost or counted twice in between. */
export const take = (page: string) =>
  Effect.map(Redis.command(Commands.getdel(key(page)), { schema: Count }), (count) => count ?? 0)

export const program = Effect.gen(function* () {
  yield* take("home")
  yield* take("about")
  yield* Effect.all(Effect.replicate(visit("home"), 1000), { concurrency: "unbounded" })
  yield* visit("about")
  return yield* visits(["home", "about", "nowhere"])
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
