/**
 * When to ask which nodes for the map of the cluster: a pure machine. Its owner tells it what happens, asks when it says so,
 * and sleeps until `wakeAt`.
 *
 * ```
 *   trigger                               first                 then
 *   ─────────────────────────────────────────────────────────────────────────────────────────────────────
 *   moved, uncovered, stranger            100 ms, collecting    at most one a second
 *   session ended, node silent, down      at once (0–10 ms)     100, 200, 400, 500 ms until it is served again
 *   periodic                              every 30 s ± 20 %, skipped when one ran less ago
 *   none yet (discovering)                at once               100 ms doubling to 3 s
 * ```
 *
 * One at a time, and one more if a trigger came meanwhile: a failure is noticed at once, and there is no storm.
 *
 * @internal
 */

export type RefreshReason =
  | "start"
  | "moved"
  | "stranger"
  | "uncovered"
  | "session-ended"
  | "silent"
  | "down"
  | "periodic"
  | "asked"

/** The nodes to ask: how many at once, and which one first, if the reason names one. */
export interface Ask {
  readonly reason: RefreshReason
  readonly nodes: number
  readonly prefer: string | undefined
}

export interface RefresherOptions {
  /** `Infinity` for never. */
  readonly everyMillis: number
  /** At most one refresh in this time while only redirects come. */
  readonly spacingMillis: number
}

const COLLECT_MILLIS = 100
const URGENT_JITTER_MILLIS = 10
const URGENT_FIRST_MILLIS = 100
const URGENT_CAP_MILLIS = 500
const START_CAP_MILLIS = 3000

/** The time after the last urgent refresh at which a failure is a new one. */
const URGENT_FORGOTTEN_MILLIS = 2000

/** The number of nodes asked when a failure is noticed: one of them may be cut off. Then it is one at a time. */
const URGENT_NODES = 2

const isUrgent = (reason: RefreshReason): boolean =>
  reason === "session-ended" || reason === "silent" || reason === "down"

export class Refresher {
  private readonly options: RefresherOptions
  private readonly random: () => number
  private pending: { reason: RefreshReason; prefer: string | undefined; dueAt: number } | undefined = undefined
  private asking = false
  private known = false
  private failed = 0
  private lastAskedAt = -Infinity
  private lastUrgentAt = -Infinity
  private urgentTries = 0
  private nextPeriodicAt = Infinity
  private contradicted = false

  constructor(options: RefresherOptions, random: () => number) {
    this.options = options
    this.random = random
  }

  /** Something happened that the map may not show. `prefer` is the node that knows. */
  trigger(reason: RefreshReason, now: number, prefer?: string): void {
    const dueAt = this.dueAt(reason, now)
    const pending = this.pending
    if (pending === undefined || dueAt < pending.dueAt) {
      this.pending = { reason, prefer: prefer ?? pending?.prefer, dueAt }
    } else if (prefer !== undefined) pending.prefer = prefer
  }

  /** Calls are served again: what was failing has been replaced, so the map is asked for at once. */
  recovered(now: number): void {
    this.urgentTries = 0
    this.lastUrgentAt = -Infinity
    this.trigger("down", now)
  }

  /** A MOVED says otherwise than a view that was just adopted: the next ones are asked of several nodes. */
  contradict(): void {
    this.contradicted = true
  }

  private dueAt(reason: RefreshReason, now: number): number {
    if (reason === "start" || reason === "asked") return now
    if (!isUrgent(reason)) return Math.max(now + COLLECT_MILLIS, this.lastAskedAt + this.options.spacingMillis)
    if (now - this.lastUrgentAt > URGENT_FORGOTTEN_MILLIS) this.urgentTries = 0
    const jitter = this.random() * URGENT_JITTER_MILLIS
    return Math.max(now + jitter, this.lastUrgentAt + this.urgentDelay)
  }

  /** The pause after the last urgent refresh before the next may come. */
  private get urgentDelay(): number {
    if (this.urgentTries === 0) return 0
    return Math.min(URGENT_FIRST_MILLIS * 2 ** Math.min(this.urgentTries - 1, 10), URGENT_CAP_MILLIS)
  }

  /** When to call `take` next. */
  get wakeAt(): number {
    if (this.asking) return Infinity
    return Math.min(this.pending?.dueAt ?? Infinity, this.nextPeriodicAt)
  }

  /** Returns the nodes to ask now, if any: from then on it is under way until `done`. */
  take(now: number): Ask | undefined {
    if (this.asking) return undefined
    let pending = this.pending
    if (pending === undefined || pending.dueAt > now) {
      if (this.nextPeriodicAt > now) return undefined
      pending = { reason: "periodic", prefer: undefined, dueAt: now }
    } else this.pending = undefined
    this.asking = true
    this.lastAskedAt = now
    const urgent = isUrgent(pending.reason)
    if (urgent) {
      this.lastUrgentAt = now
      this.urgentTries++
    }
    const nodes = this.contradicted ? 3 : urgent && this.urgentTries === 1 ? URGENT_NODES : 1
    this.contradicted = false
    return { reason: pending.reason, nodes, prefer: pending.prefer }
  }

  /**
   * It has ended. `failed`: no view could be had, or none was believed. `unserved`: slots are without a node that serves
   * them, so it is asked again soon.
   */
  done(now: number, failed: boolean, unserved: boolean): void {
    this.asking = false
    this.known ||= !failed
    this.failed = failed ? this.failed + 1 : 0
    this.nextPeriodicAt = now + this.options.everyMillis * (0.8 + 0.4 * this.random())
    if (!this.known || (failed && !unserved)) {
      const wait = Math.min(URGENT_FIRST_MILLIS * 2 ** Math.min(this.failed - 1, 10), START_CAP_MILLIS)
      this.pending ??= { reason: "start", prefer: undefined, dueAt: now + wait * (0.8 + 0.2 * this.random()) }
    } else if (unserved) this.trigger("down", now)
  }
}
