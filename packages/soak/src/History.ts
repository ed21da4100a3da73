/**
 * The events of a run, as far back as a bounded memory reaches: faults, changes of state, and every call that did not go
 * well. It is what is shown with a broken law.
 */

export interface Event {
  /** Milliseconds since the start. */
  readonly at: number
  /** The connection it is about, or the server. */
  readonly where: string
  readonly what: string
  /** The first and the last id, when it is a call that did not go well. */
  readonly call?: readonly [first: number, last: number] | undefined
}

/** The part to show: a stretch of time, and the call in question. */
export interface Question {
  readonly from: number
  readonly to: number
  readonly where?: string | undefined
  readonly call?: number | undefined
}

const KEPT = 60_000
const KEPT_HOLD_UPS = 2_000
const SHOWN = 60
/** Calls that were made shortly before or after the one in question were next to it on the wire. */
const NEIGHBOURS = 15

const everywhere = new Set(["server", "soak"])

export class History {
  private readonly startedAt = performance.now()
  private readonly ring: Array<Event> = []
  private next = 0
  private readonly holdUps: Array<{ readonly at: number; readonly millis: number }> = []

  /** Milliseconds since the start. */
  now(): number {
    return performance.now() - this.startedAt
  }

  add(where: string, what: string, call?: readonly [first: number, last: number]): void {
    this.ring[this.next] = { at: this.now(), where, what, call }
    this.next = (this.next + 1) % KEPT
  }

  /** Our own event loop was held up until now: what was to happen meanwhile could not. */
  heldUp(millis: number): void {
    this.add("soak", `the event loop was held up for ${millis.toFixed(0)} ms`)
    this.holdUps.push({ at: this.now(), millis })
    if (this.holdUps.length > KEPT_HOLD_UPS) this.holdUps.shift()
  }

  /** For how long it was held up since then, in all. */
  heldUpSince(from: number): number {
    return this.holdUps.reduce((sum, { at, millis }) => (at >= from ? sum + millis : sum), 0)
  }

  /** The events that a question is about, oldest first; a long stretch loses its middle. */
  ask({ call, from, to, where }: Question): ReadonlyArray<string> {
    const concerns = (event: Event): boolean => {
      if (where !== undefined && event.where !== where && !everywhere.has(event.where)) return false
      if (event.call === undefined) return event.at >= from && event.at <= to
      return call !== undefined && event.call[0] <= call + NEIGHBOURS && event.call[1] >= call - NEIGHBOURS
    }
    const lines = [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)]
      .filter(concerns)
      .map(({ at, what, where }) => `${at.toFixed(0).padStart(8)} ms  ${where.padEnd(11)} ${what}`)
    if (lines.length <= SHOWN) return lines
    const half = SHOWN / 2
    return [...lines.slice(0, half), `${" ".repeat(12)}… ${lines.length - SHOWN} more …`, ...lines.slice(-half)]
  }
}
