/**
 * The option `retry` of a call: further attempts within the one deadline of the call.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions, RetryOptions } from "../../RedisService.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { Budget } from "../clock.ts"

/** Doubles from 50 ms, with jitter, at most a second apart. */
const defaultSchedule = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

/** Whether another attempt may follow this failure. */
const mayRetry = (error: RedisError, how: RetryOptions["for"], repeatable: boolean): boolean => {
  // The watch is gone: its caller starts over (`Redis.watch`).
  if (error.reason._tag === "WatchConflict") return false
  if (error.isRetryable) return true
  if (how === "unsent" || (how === "readOnly" && !repeatable)) return false
  const { reason } = error
  if (reason._tag === "TimeoutError") return true
  return reason._tag === "ConnectionError" && !["shutdown", "closed", "handshake"].includes(reason.kind)
}

const deliveryOf = ({ reason }: RedisError): "unsent" | "unknown" | undefined =>
  "delivery" in reason ? reason.delivery : undefined

/** Whether this failure says that the call has not run. */
const saysNotRun = (error: RedisError): boolean => error.isRetryable || deliveryOf(error) === "unsent"

/**
 * Runs `attempt` until it succeeds, its failure may not be retried, the schedule ends, or the deadline has passed: then the
 * last failure stands; but when that one did not run, and an earlier one may have, the earlier one does: the call may
 * have run.
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
    const budget = new Budget(clock, total)
    let mayHaveRun: RedisError | undefined
    const once = Effect.suspend(() => attempt({ ...options, retry: undefined, timeout: budget.option })).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (deliveryOf(error) === "unknown") mayHaveRun = error
        })
      )
    )
    const schedule = retry.schedule ?? defaultSchedule
    const within = Schedule.while(
      schedule,
      ({ duration, input }) => mayRetry(input, retry.for, repeatable) && Duration.toMillis(duration) < budget.left
    )
    return Effect.mapError(Effect.retry(once, within), (last) => (saysNotRun(last) ? (mayHaveRun ?? last) : last))
  })
