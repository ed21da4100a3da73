/**
 * The time of a process.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"

/** The monotonic time in milliseconds. */
export const nowMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
