/**
 * The deadlines of one connection: one alarm for all of its calls, asleep when nobody waits.
 *
 * A call carries its deadline and the latest moment at which its passing must be noticed (`wakeBy`). The alarm is set for
 * the earliest `wakeBy`; a sweep then settles every call whose deadline has passed, so calls that end close together are
 * one wake-up. Never early: the sweep compares with the clock that the deadlines were made from. Never before the socket was
 * read: a reply that came in time belongs to its caller, also when this program was held up meanwhile.
 *
 * @internal
 */
import { Alarm } from "@relive/otp/Alarm"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { isLive, monotonicMillis } from "../clock.ts"
import { liveTimer, readFirst } from "../turns.ts"
import type { Received } from "../turns.ts"

export class Deadlines {
  private readonly alarm: Alarm
  /** Runs until it is interrupted. */
  readonly run: Effect.Effect<never>

  /**
   * `sweep` settles what has expired at `now`, and returns the earliest `wakeBy` of what is left (or `Infinity`); `received`
   * changes with each read of the socket.
   */
  constructor(clock: Clock.Clock, sweep: (now: number) => number, received: Received) {
    this.alarm = new Alarm(() => monotonicMillis(clock), {
      ...(isLive(clock) ? { timer: liveTimer } : { sleep: (millis) => clock.sleep(Duration.millis(millis)) }),
      beforeLook: (late) => readFirst(clock, late, received)
    })
    this.run = this.alarm.run(sweep)
  }

  /** To be told of every call that waits. */
  watch(wakeBy: number): void {
    this.alarm.ringBy(wakeBy)
  }
}
