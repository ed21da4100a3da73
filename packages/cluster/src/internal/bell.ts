/**
 * Something to wait for that can be rung from anywhere, synchronously. What was rung while nobody waited is not lost.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

export class Bell {
  private rung = false
  private resume: (() => void) | undefined = undefined

  ring(): void {
    this.rung = true
    this.resume?.()
  }

  /** Waits until it is rung, or for that many milliseconds. One fiber at a time. */
  wait(millis: number): Effect.Effect<void> {
    const rung = Effect.callback<void>((resume) => {
      const done = () => {
        this.rung = false
        this.resume = undefined
        resume(Effect.void)
      }
      if (this.rung) return done()
      this.resume = done
      return Effect.sync(() => {
        this.resume = undefined
      })
    })
    return millis === Infinity ? rung : Effect.raceFirst(Effect.sleep(Math.max(0, millis)), rung)
  }
}
