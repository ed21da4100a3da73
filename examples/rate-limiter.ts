/**
 * A rate limiter: so many calls per time for each key (a user, an address), over all processes together.
 *
 * This is the generic cell rate algorithm: one number per key, the time at which the caller has used nothing up any
 * more. There is no window at whose edge twice as many get through, and a refusal says exactly when to come back. A
 * script reads and writes in one step, by the server's clock, so that callers and their clocks do not matter.
 *
 * The caller decides what to do when Redis does not reply: let every request through, or none.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/rate-limiter.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Duration, Effect, Schema } from "effect"

/** Too many calls: the next one is allowed in `retryAfterMillis`. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  retryAfterMillis: Schema.Number
}) {}

/** At most `calls` at once, and `calls` in each `per` in the long run. */
export interface Limit {
  readonly calls: number
  readonly per: Duration.Input
}

/** Answers 0, or after how many microseconds a call would be allowed. Times are microseconds. */
const admit = Redis.script(
  `
  local interval, calls = tonumber(ARGV[1]), tonumber(ARGV[2])
  local time = redis.call("TIME")
  local now = time[1] * 1000000 + time[2]
  local free = math.max(tonumber(redis.call("GET", KEYS[1]) or 0), now)
  local wait = free - now - interval * (calls - 1)
  if wait > 0 then return wait end
  redis.call("SET", KEYS[1], free + interval, "PX", math.ceil((free + interval - now) / 1000))
  return 0
`,
  { keys: ["limit"], arguments: Schema.Tuple([Schema.Int, Schema.Int]), reply: Schema.Int }
)

/** Fails with `RateLimited` if the key has used its calls up. Put it in front of what is limited. */
export const limit = Effect.fnUntraced(function* (key: string, { calls, per }: Limit) {
  const interval = Math.ceil((Duration.toMillis(per) * 1000) / calls)
  // A call that was perhaps counted is not repeated: it would count twice.
  const micros = yield* admit({ limit: `example:limit:${key}` }, [interval, calls], { retry: { for: "unsent" } })
  if (micros > 0) return yield* new RateLimited({ retryAfterMillis: Math.ceil(micros / 1000) })
})

/** Waits for its turn instead of failing. */
export const throttle = (key: string, options: Limit) => {
  const turn: ReturnType<typeof limit> = Effect.catchTag(limit(key, options), "RateLimited", (refusal) =>
    Effect.delay(turn, refusal.retryAfterMillis)
  )
  return turn
}

export const program = Effect.gen(function* () {
  yield* Commands.del("example:limit:ann")
  const call = limit("ann", { calls: 5, per: "1 minute" })
  const outcomes = yield* Effect.all(Effect.replicate(Effect.isSuccess(call), 20), { concurrency: "unbounded" })
  return { allowed: outcomes.filter((allowed) => allowed).length, of: outcomes.length }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
