/**
 * The monotonic clock, as whole and as fractional milliseconds.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import { performance } from "node:perf_hooks"

/**
 * Milliseconds with fractions, to measure what something costs; for deadlines see `monotonicMillis`. (The global `performance`
 * is a getter in Node, which costs as much as the clock itself.)
 */
export const preciseMillis = (): number => performance.now()

/** The clock that is in force where none was provided. */
const liveClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

/**
 * Whole milliseconds, rounded down, on the clock's monotonic scale: the same for all connections of a program. The live
 * clock is read past its `bigint`, which costs half; small integers cost no memory in a call.
 */
export const monotonicMillis = (clock: Clock.Clock): number =>
  Math.floor(clock === liveClock ? preciseMillis() : Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
