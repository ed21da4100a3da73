/**
 * The view while things happen: takes a snapshot of the demo every now and then and shows it.
 */
import { Redis } from "@relive/core"
import type { Supervisor } from "@relive/otp"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Book } from "./book.ts"
import type { Struck } from "./faults.ts"
import { frame, oneLine, type Snapshot } from "./frame.ts"
import type { Logs } from "./logs.ts"
import type { Screen } from "./screen.ts"
import type { Settings } from "./settings.ts"

/** The sources of a view. */
export interface Subject {
  readonly settings: Settings
  readonly book: Book
  readonly logs: Logs
  readonly struck: ReadonlyArray<Struck>
  readonly tree: Effect.Effect<Supervisor.TreeNode>
}

const LIVE_MILLIS = 100
const LINE_MILLIS = 1000
const KEPT_RATES = 60

/** Calls per second, from one look to the next. */
class Rate {
  readonly rates: Array<number> = []
  private settled = 0
  private at: number

  constructor(now: number) {
    this.at = now
  }

  look(settled: number, now: number): number {
    const rate = now > this.at ? ((settled - this.settled) * 1000) / (now - this.at) : 0
    this.settled = settled
    this.at = now
    this.rates.push(rate)
    if (this.rates.length > KEPT_RATES) this.rates.shift()
    return rate
  }
}

/** Shows the subject until it is interrupted, and once more then: the last frame is the final state. */
export const show = Effect.fnUntraced(function* (subject: Subject, screen: Screen) {
  const startedAt = yield* Clock.currentTimeMillis
  const rate = new Rate(startedAt)
  const look = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const { book, logs, settings, struck } = subject
    const snapshot: Snapshot = {
      settings,
      elapsedMillis: now - startedAt,
      tree: yield* subject.tree,
      status: yield* Redis.status,
      counts: book.counts,
      waiting: book.waiting,
      rate: rate.look(book.counts.sent - book.waiting, now),
      rates: rate.rates,
      struck,
      logs: logs.lines
    }
    if (screen.live) screen.draw(frame(snapshot, screen.rows))
    else screen.print([oneLine(snapshot)])
  })
  yield* Effect.sleep(screen.live ? LIVE_MILLIS : LINE_MILLIS).pipe(
    Effect.andThen(look),
    Effect.forever,
    Effect.onInterrupt(() => look)
  )
})
