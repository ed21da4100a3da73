/**
 * Settles many calls without holding up the event loop: as many at once as fit into some milliseconds, the rest in later turns.
 *
 * A full mailbox whose deadlines pass together, the end of a session with thousands in flight, a close: each of them resumes
 * everybody who waits, and that runs their code. Few calls, which is the rule, are settled before `add` returns.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { settle } from "../call/call.ts"
import type { Call, Outcome } from "../call/call.ts"
import { preciseMillis } from "../clock.ts"
import { setImmediate } from "../turns.ts"

/** Calls that are to be settled: in no list any more, or over in the list where they are. */
export type Settlements = Array<readonly [Call, Outcome]>

/** The longest turn, in milliseconds, and the calls that are settled between two looks at the clock. */
const TURN_MILLIS = 8
const BETWEEN_LOOKS = 64

export class Settling {
  private pending: Settlements = []
  private at = 0
  private running = false
  private onDone: Array<() => void> = []

  /** All state must be final: this runs the code of callers. What was added before is settled before. */
  add(settlements: Settlements): void {
    if (settlements.length === 0) return
    if (this.pending.length === 0) this.pending = settlements
    else for (const settlement of settlements) this.pending.push(settlement)
    if (!this.running) this.turn()
  }

  /** Waits until nothing is left to settle. */
  get done(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.pending.length === 0) resume(Effect.void)
      else this.onDone.push(() => resume(Effect.void))
    })
  }

  private readonly turn = (): void => {
    this.running = true
    const start = preciseMillis()
    while (this.at < this.pending.length) {
      const next = this.pending[this.at++]
      if (next !== undefined) settle(next[0], next[1])
      if (this.at % BETWEEN_LOOKS === 0 && preciseMillis() - start > TURN_MILLIS) {
        setImmediate(this.turn)
        return
      }
    }
    this.running = false
    this.pending = []
    this.at = 0
    for (const done of this.onDone.splice(0)) done()
  }
}
