/**
 * The option `retry` of a call: further attempts within the one deadline of the call.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { RedisError } from "../RedisError.ts"
import type { CallOptions, RetryOptions } from "../RedisService.ts"
import { callTimeoutMillis, timeoutOption } from "./callOptions.ts"
import { monotonicMillis } from "./deadlines.ts"

/** Doubles from 50 ms, with jitter, at most a second apart. */
const defaultSchedule = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

/** May this failure be followed by another attempt? */
const mayRetry = (error: RedisError, how: RetryOptions["for"], repeatable: boolean): boolean => {
  if (error.isRetryable) return true
  if (how === "unsent" || (how === "readOnly" && !repeatable)) return false
  const { reason } = error
  if (reason._tag === "TimeoutError") return true
  return reason._tag === "ConnectionError" && !["shutdown", "closed", "handshake"].includes(reason.kind)
}

/**
 * Runs `attempt` until it succeeds, its failure may not be retried, the schedule ends, or the deadline has passed: then the
 * last failure stands.
 */
export const withRetry = <A, R>(
  retry: RetryOptions,
  options: CallOptions,
  inheritedMillis: number,
  repeatable: boolean,
  attempt: (options: CallOptions) => Effect.Effect<A, RedisError, R>
): Effect.Effect<A, RedisError, R> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const total = callTimeoutMillis(options, inheritedMillis)
    if (typeof total !== "number") return Effect.fail(total)
    const deadline = monotonicMillis(clock) + total
    const left = (): number => deadline - monotonicMillis(clock)
    const once = Effect.suspend(() => attempt({ ...options, retry: undefined, timeout: timeoutOption(left()) }))
    const schedule = retry.schedule ?? defaultSchedule
    const within = Schedule.while(
      schedule,
      ({ duration, input }) => mayRetry(input, retry.for, repeatable) && Duration.toMillis(duration) < left()
    )
    return Effect.retry(once, within)
  })
