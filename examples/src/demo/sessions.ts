/**
 * The connection's sessions as the demo sees them in its events: which state it is in, and how many sessions ended that
 * had been ready. A fault counts only when it ended one.
 */
import { Redis, type RedisService } from "@relive/core"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"

export interface Sessions {
  /** The connection is ready. */
  readonly ready: boolean
  /** The number of ready sessions that have ended. */
  readonly ended: number
}

export type SessionsRef = SubscriptionRef.SubscriptionRef<Sessions>

/** Follows the connection until the scope closes. */
export const follow: Effect.Effect<SessionsRef, never, RedisService | Scope.Scope> = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make<Sessions>({ ready: false, ended: 0 })
  yield* Redis.events.pipe(
    Stream.runForEach((change) =>
      SubscriptionRef.update(ref, ({ ended }) => ({
        ready: change.state === "ready",
        ended: change.previous === "ready" ? ended + 1 : ended
      }))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  // It may have become ready before the events were listened to.
  const { state } = yield* Redis.status
  if (state === "ready") yield* SubscriptionRef.update(ref, (sessions) => ({ ...sessions, ready: true }))
  return ref
})

/** Waits until what is known fits; `false` when that takes longer than `millis`. */
export const until = (
  ref: SessionsRef,
  millis: number,
  fits: (sessions: Sessions) => boolean
): Effect.Effect<boolean> =>
  SubscriptionRef.changes(ref).pipe(
    Stream.filter(fits),
    Stream.take(1),
    Stream.runDrain,
    Effect.timeoutOption(millis),
    Effect.map((found) => found._tag === "Some")
  )
