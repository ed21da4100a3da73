/**
 * Limits of time that a program which stood still does not use up: a process that was frozen, a loop that was held up.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A timer that is later than this was held up by something; less is usual. */
const LATE_MILLIS = 50

/**
 * Waits for `effect`, at most `millis`. When its timer wakes late the time that was lost is given once more, up to `millis`:
 * the process that is waited for could not go on meanwhile either.
 */
export const awaitAwake = <A>(effect: Effect.Effect<A>, millis: number): Effect.Effect<void> => {
  const over = Effect.flatMap(Clock.Clock, (clock) => {
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const due = now() + millis
    return Effect.flatMap(Effect.sleep(millis), () => {
      const late = now() - due
      return late > LATE_MILLIS ? Effect.sleep(Math.min(late, millis)) : Effect.void
    })
  })
  return Effect.raceFirst(Effect.asVoid(effect), over)
}
