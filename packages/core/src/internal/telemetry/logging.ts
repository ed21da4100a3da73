/**
 * The log of a connection: one line for each change worth knowing.
 *
 * - ready for the first time: debug; ready again: info, with how long it was away
 * - lost, or not reached, or refused: error, with the cause in a word or two
 *
 * An outage is told once, again when its cause changes, and after that once a minute. A connection that flaps tells five
 * outages in ten seconds; the others are counted in the next line, and the last one is told when the ten seconds are over, if
 * it still holds. A line that says "reconnected" always follows one that said "disconnected".
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Endpoint } from "../../RedisOptions.ts"
import type { StatusChange } from "../../RedisService.ts"

const AGAIN_MILLIS = 60_000
const WINDOW_MILLIS = 10_000
const LINES_PER_WINDOW = 5

/** Says one line. */
export type Log = (line: Effect.Effect<void>) => void

/** A connection, as it is when a line is said of it. */
export interface Subject {
  readonly address: string
  /** `undefined` before it was found. */
  readonly endpoint: Endpoint | undefined
}

interface Outage {
  readonly since: number
  /** The last line about it, and its time. */
  said: string | undefined
  saidAt: number
  attempts: number
}

const seconds = (millis: number): string => `${(millis / 1000).toFixed(millis < 10_000 ? 1 : 0)} s`

export class StateLog {
  private readonly subject: Subject
  private readonly log: Log
  private readonly who: string
  private outage: Outage | undefined = undefined
  private wasReady = false
  private windowStart = -Infinity
  private linesInWindow = 0
  private unsaid = 0
  /** A change that is not said yet, and holds. */
  private owed: StatusChange | undefined = undefined
  /** Told when `look` is to be called, in milliseconds. */
  onOwed: (at: number) => void = () => {}

  /** `name` is the connection's, if it has one. */
  constructor(subject: Subject, name: string | undefined, log: Log) {
    this.subject = subject
    this.log = log
    this.who = name === undefined ? "Connection" : `Connection "${name}"`
  }

  private get annotations(): Record<string, unknown> {
    const { address, endpoint } = this.subject
    return endpoint?._tag === "Tcp"
      ? { "server.address": endpoint.host, "server.port": endpoint.port }
      : { "server.address": endpoint?.path ?? address }
  }

  /** To be told of every change, with the time in milliseconds. */
  changed(change: StatusChange, now: number): void {
    if (change.state === "ready") this.up(now)
    else if (change.state === "backoff" || change.state === "failed") this.down(change, now)
    else if (change.state === "closed") this.closed()
  }

  private closed(): void {
    this.owed = undefined
    this.say(Effect.logDebug(`${this.who} to Redis at ${this.subject.address} closed`))
  }

  /** Says what was held back and still holds. Returns when to look again, or `Infinity`. */
  look(now: number): number {
    const { owed } = this
    if (owed === undefined) return Infinity
    const due = this.windowStart + WINDOW_MILLIS
    if (now < due) return due
    this.down(owed, now)
    return Infinity
  }

  private up(now: number): void {
    const { outage, who } = this
    this.owed = undefined
    const { address } = this.subject
    const what = this.wasReady ? "reconnected" : "connected"
    this.outage = undefined
    this.wasReady = true
    if (outage === undefined) this.say(Effect.logDebug(`${who} ${what} to Redis at ${address}`))
    else if (outage.said !== undefined) {
      this.say(Effect.logInfo(`${who} ${what} to Redis at ${address} after ${seconds(now - outage.since)}`))
    }
  }

  private down(change: StatusChange, now: number): void {
    const reason = change.cause?.reason
    const [kind, detail] = reason?._tag === "ConnectionError" ? [reason.kind, reason.detail] : ["disconnected", ""]
    const outage = (this.outage ??= { since: now, said: undefined, saidAt: 0, attempts: 0 })
    const wasUp = change.previous === "ready" || change.previous === "draining"
    if (!wasUp && this.owed !== change) outage.attempts++
    const isKnown = outage.said === detail && now - outage.saidAt < AGAIN_MILLIS
    if (isKnown) return
    if (!this.maySpeak(now)) {
      this.unsaid++
      this.owed = change
      return this.onOwed(this.windowStart + WINDOW_MILLIS)
    }
    // It is told now, and not one of those before.
    if (this.owed === change) this.unsaid--
    this.owed = undefined
    const what = wasUp ? "disconnected from" : "failed to connect to"
    const known = outage.said === undefined ? "" : ` (${outage.attempts} attempts in ${seconds(now - outage.since)})`
    const next = change.state === "failed" ? "; calls fail until that has changed" : ""
    outage.said = detail
    outage.saidAt = now
    const line = `${this.who} ${what} Redis at ${this.subject.address}: ${detail}${next}${known}${this.takeUnsaid()}`
    this.say(Effect.annotateLogs(Effect.logError(line), { "error.type": kind }))
  }

  private maySpeak(now: number): boolean {
    if (now - this.windowStart >= WINDOW_MILLIS) {
      this.windowStart = now
      this.linesInWindow = 0
    }
    return ++this.linesInWindow <= LINES_PER_WINDOW
  }

  private takeUnsaid(): string {
    const unsaid = this.unsaid
    this.unsaid = 0
    return unsaid === 0 ? "" : ` (${unsaid} more failures before this one were not logged)`
  }

  private say(line: Effect.Effect<void>): void {
    this.log(Effect.annotateLogs(line, this.annotations))
  }
}
