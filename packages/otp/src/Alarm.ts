/**
 * A timer that can be brought forward: it looks at something at the time the last look named, or earlier when it is told
 * to. Asleep otherwise.
 *
 * It is what a process needs that owns many deadlines or retries: one timer for all of them, set for the earliest, instead
 * of a fiber or a timer for each.
 *
 * ```ts run
 * import { Alarm } from "@relive/otp"
 * import { Clock, Effect, Fiber } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const clock = yield* Clock.Clock
 *   const alarm = new Alarm.Alarm(() => clock.currentTimeMillisUnsafe())
 *   const due: Array<number> = []
 *   const sweep = (now: number) => {
 *     while ((due[0] ?? Infinity) <= now) due.shift()
 *     return due[0] ?? Infinity
 *   }
 *   const fiber = yield* Effect.forkChild(alarm.run(sweep))
 *   due.push(clock.currentTimeMillisUnsafe() + 20)
 *   alarm.ringBy(due[0] ?? Infinity)
 *   yield* Effect.sleep("100 millis")
 *   yield* Fiber.interrupt(fiber)
 *   return due.length
 * })
 *
 * console.log(await Effect.runPromise(program)) // 0
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * How an alarm waits.
 *
 * - `sleep`: waits that many milliseconds of the alarm's own clock (default: `Effect.sleep`)
 * - `timer`: in place of `sleep`, calls back once after that many milliseconds, and returns how to prevent that. An alarm that
 *   waits then holds one timer, and no fibers beside the one that runs it. To ring early is well, as the alarm looks at `now`.
 * - `beforeLook`: runs before each look, with how many milliseconds later it is than the alarm was set for. A program that
 *   was held up wakes late, and what happened meanwhile is to be taken in before something is ended for want of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AlarmOptions {
  readonly sleep?: ((millis: number) => Effect.Effect<void>) | undefined
  readonly timer?: ((millis: number, ring: () => void) => () => void) | undefined
  readonly beforeLook?: ((lateMillis: number) => Effect.Effect<void>) | undefined
}

/**
 * One timer. `now` is the clock that its times are of, in milliseconds.
 *
 * Only one fiber may `run` it. `ring` and `ringBy` are synchronous and may be called at any time, also before `run` and from
 * inside of a look: nothing that was rung for is lost.
 *
 * @since 0.1.0
 * @category models
 */
export class Alarm {
  private readonly now: () => number
  private readonly sleep: (millis: number) => Effect.Effect<void>
  private readonly timer: AlarmOptions["timer"]
  private readonly beforeLook: AlarmOptions["beforeLook"]
  private wakeAt = Infinity
  private rearm: (() => void) | undefined = undefined

  constructor(now: () => number, options: AlarmOptions = {}) {
    this.now = now
    this.sleep = options.sleep ?? ((millis) => Effect.sleep(millis))
    this.timer = options.timer
    this.beforeLook = options.beforeLook
  }

  /** Brings the next look forward to now. */
  ring(): void {
    this.ringBy(-Infinity)
  }

  /** Brings the next look forward to `time`, in milliseconds of `now`. A later time than the one it is set for is ignored. */
  ringBy(time: number): void {
    if (time >= this.wakeAt) return
    this.wakeAt = time
    this.rearm?.()
  }

  /**
   * Calls `look` with the time, never earlier than it was rung for, and sleeps until the time that `look` returns
   * (`Infinity`: until it is rung for). Runs until it is interrupted. A `look` that throws ends it with a defect.
   */
  run(look: (now: number) => number): Effect.Effect<never> {
    const lookNow = (): void => {
      this.wakeAt = Infinity
      this.ringBy(look(this.now()))
    }
    const step = Effect.suspend(() => {
      const armedFor = this.wakeAt
      const wait = armedFor - this.now()
      if (wait > 0) return this.timer === undefined ? this.asleep(armedFor, wait) : this.timed
      if (this.beforeLook === undefined) return Effect.sync(lookNow)
      // Rung for, it is not late.
      return Effect.map(this.beforeLook(armedFor === -Infinity ? 0 : -wait), lookNow)
    })
    return Effect.forever(step, { disableYield: true })
  }

  private asleep(armedFor: number, wait: number): Effect.Effect<void> {
    const earlier = this.earlierThan(armedFor)
    return armedFor === Infinity ? earlier : Effect.raceFirst(this.sleep(wait), earlier)
  }

  /** Ends when the time may have come. */
  private get timed(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      let cancel: (() => void) | undefined
      const done = () => {
        this.rearm = undefined
        resume(Effect.void)
      }
      this.rearm = () => {
        cancel?.()
        const wait = this.wakeAt - this.now()
        if (wait <= 0) return done()
        cancel = wait === Infinity ? undefined : this.timer?.(wait, done)
      }
      this.rearm()
      return Effect.sync(() => {
        this.rearm = undefined
        cancel?.()
      })
    })
  }

  /** Ends when a time earlier than the one armed for has come in. */
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
}
