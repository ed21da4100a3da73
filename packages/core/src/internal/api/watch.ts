/**
 * `Redis.watch`: optimistic locking on a lease, again on a conflict.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Any, Replies } from "../../Command.ts"
import type { Calls } from "../../Redis.ts"
import { isRedisError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type * as Resp from "../../Resp.ts"
import { inTurn } from "./command.ts"
import { use, type Key } from "./use.ts"

/** As often as it takes, with a pause that grows and differs between the contenders. */
const watchSchedule = Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("100 millis")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 20 })
)

/** While the keys are on their way to another node of a cluster, which is no conflict: for as long as a call may take. */
const movingSchedule = (timeoutMillis: number) =>
  Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("50 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ duration: Math.min(timeoutMillis, LONGEST_MILLIS) })
  )

const LONGEST_MILLIS = 60_000

/** Nothing has run, and the leased connection is at the wrong node by now. */
const isMoving = (error: unknown): boolean => isRedisError(error) && error.reason._tag === "ClusterError"

export const makeWatch = <Self>(tag: Key<Self>): Calls<Self>["watch"] => {
  function watch<const Cs extends ReadonlyArray<Any>, E, R>(
    keys: ReadonlyArray<Resp.Argument>,
    body: Effect.Effect<Cs, E, R>,
    options?: { readonly schedule?: Schedule.Schedule<unknown, E | RedisError> | undefined }
  ): Effect.Effect<Replies<Cs>, E | RedisError, Self | Exclude<R, Self>>
  function watch<E, R>(
    keys: ReadonlyArray<Resp.Argument>,
    body: Effect.Effect<ReadonlyArray<Any>, E, R>,
    options?: { readonly schedule?: Schedule.Schedule<unknown, E | RedisError> | undefined }
  ): Effect.Effect<unknown, E | RedisError, Self | Exclude<R, Self>> {
    const attempt = Effect.scoped(
      Effect.gen(function* () {
        const lease = yield* use(tag, (service) => service.lease({ route: keys[0] }))
        yield* lease.command(["WATCH", ...keys])
        const commands = yield* Effect.provideService(body, tag, lease)
        if (commands.length === 0) return []
        return yield* inTurn(commands, false, (words) => lease.transaction(words))
      })
    )
    const settled = use(tag, ({ timeoutMillis }) =>
      Effect.retry(attempt, { schedule: movingSchedule(timeoutMillis), while: isMoving })
    )
    const isConflict = (error: unknown): boolean => isRedisError(error) && error.reason._tag === "WatchConflict"
    return Effect.retry(settled, {
      schedule: options?.schedule ?? watchSchedule,
      while: isConflict
    })
  }
  return watch
}
