/**
 * Something that is looked after now and then: at a time that was agreed, or as soon as it is rung for. Asleep otherwise.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

export class Alarm {
  private readonly now: () => number
  private wakeAt = Infinity
  private rearm: (() => void) | undefined = undefined

  constructor(now: () => number) {
    this.now = now
  }

  /** Look now. */
  ring(): void {
    this.ringBy(-Infinity)
  }

  /** Look at this time at the latest, in milliseconds of `now`. */
  ringBy(time: number): void {
    if (time >= this.wakeAt) return
    this.wakeAt = time
    this.rearm?.()
  }

  /** Looks, and looks again when the last look said so or it is rung for. Runs until it is interrupted. */
  run(look: (now: number) => number): Effect.Effect<never> {
    const step = Effect.suspend(() => {
      const armedFor = this.wakeAt
      if (armedFor === Infinity) return this.earlierThan(armedFor)
      const wait = armedFor - this.now()
      if (wait > 0) return Effect.raceFirst(Effect.sleep(wait), this.earlierThan(armedFor))
      this.wakeAt = Infinity
      this.ringBy(look(this.now()))
      return Effect.void
    })
    return Effect.forever(step)
  }

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
