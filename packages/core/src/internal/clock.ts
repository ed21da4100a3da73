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

/** Whether it is the real one, and not one that a test moves. */
export const isLive = (clock: Clock.Clock): boolean => clock === liveClock

/**
 * Whole milliseconds, rounded down, on the clock's monotonic scale: the same for all connections of a program. The live
 * clock is read past its `bigint`, which costs half; small integers cost no memory in a call.
 */
export const monotonicMillis = (clock: Clock.Clock): number =>
  Math.floor(clock === liveClock ? preciseMillis() : Number(clock.monotonicTimeNanosUnsafe()) / 1e6)

/** The longest that the option `timeout` takes, in milliseconds. */
const longest = 2 ** 31 - 1

/** The deadline of what takes several steps: one for all of them. */
export class Budget {
  private readonly clock: Clock.Clock
  private readonly deadline: number

  /** In milliseconds from now on, or from `start`; `Infinity` for no limit. */
  constructor(clock: Clock.Clock, millis: number, start: number = monotonicMillis(clock)) {
    this.clock = clock
    this.deadline = start + millis
  }

  /** The time left, in milliseconds; not above 0 when it is over. */
  get left(): number {
    return this.deadline - monotonicMillis(this.clock)
  }

  /** The time left, as the option `timeout`: above zero, so that the call itself finds that it is over. */
  get option(): number | "infinite" {
    return timeoutOption(this.left)
  }
}

/** Milliseconds as the option `timeout`. */
export const timeoutOption = (millis: number): number | "infinite" =>
  millis > longest ? "infinite" : Math.max(millis, 1)
