/**
 * The deadlines of one connection: one timer for all of its calls, asleep when nobody waits.
 *
 * A call carries its deadline and the latest moment at which its passing must be noticed (`wakeBy`). The timer is set for
 * the earliest `wakeBy`; a sweep then settles every call whose deadline has passed, so calls that end close together are
 * one wake-up. Never early: the sweep compares with the clock that the deadlines were made from.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillis } from "../clock.ts"

export class Deadlines {
  private readonly clock: Clock.Clock
  private readonly sweep: (now: number) => number
  private wakeAt = Infinity
  private rearm: (() => void) | undefined = undefined

  /** `sweep` settles what has expired at `now`, and answers the earliest `wakeBy` of what is left (or `Infinity`). */
  constructor(clock: Clock.Clock, sweep: (now: number) => number) {
    this.clock = clock
    this.sweep = sweep
  }

  /** To be told of every call that waits. */
  watch(wakeBy: number): void {
    if (wakeBy >= this.wakeAt) return
    this.wakeAt = wakeBy
    this.rearm?.()
  }

  /** Ends when a deadline earlier than the one armed for has come in. */
  private earlierThan(armedFor: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.wakeAt < armedFor) return resume(Effect.void)
      this.rearm = () => {
        this.rearm = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        this.rearm = undefined
      })
    })
  }

  private readonly step = Effect.suspend(() => {
    const armedFor = this.wakeAt
    if (armedFor === Infinity) return this.earlierThan(armedFor)
    const wait = armedFor - monotonicMillis(this.clock)
    if (wait > 0) return Effect.raceFirst(this.clock.sleep(Duration.millis(wait)), this.earlierThan(armedFor))
    this.wakeAt = Infinity
    const next = this.sweep(monotonicMillis(this.clock))
    if (next < this.wakeAt) this.wakeAt = next
    return Effect.void
  })

  /** Runs until it is interrupted. */
  readonly run: Effect.Effect<never> = Effect.forever(this.step, { disableYield: true })
}
