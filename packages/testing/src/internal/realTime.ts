/**
 * Real time. The peers of this package are other processes: they do not follow a `TestClock`, so waiting for them must
 * not either, or every test under `it.effect` would hang.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

/** Waits for `millis` of real time, whatever the `Clock` in the context says. */
export const sleep = (millis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Milliseconds on the monotonic clock of the machine. */
export const now = (): number => performance.now()

/** Runs `effect`, giving up with `orElse` after `millis` of real time. */
export const timeoutOrElse = <A, E, R, A2, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  millis: number,
  orElse: () => Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> => Effect.raceFirst(effect, Effect.flatMap(sleep(millis), orElse))
