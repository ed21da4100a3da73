/**
 * The pace of the fibers: which of them may make a call now. All together stay under a rate. A kind that is far ahead waits
 * for those that are behind, as long as enough is done in all, so that slow kinds are not drowned. And those that dial a
 * connection for each call get little more than their share: dials cost more than all the rest, and would leave no time for it.
 */
import * as Effect from "effect/Effect"
import { kinds, type Book, type Kind } from "./Book.ts"
import { enough, rate } from "./Settings.ts"

/** Above the share that is asked for, to have something in hand. */
const share = enough.sharePerKind * 1.8

const dear: ReadonlySet<Kind> = new Set(["lease", "watch"])

const PAUSE_MILLIS = 4

export class Pace {
  private readonly book: Book
  private ended = false

  constructor(book: Book) {
    this.book = book
  }

  /** No more calls. */
  end(): void {
    this.ended = true
  }

  /** Waits for the next turn of a kind; `false` when the run is over. */
  readonly turn = (kind: Kind): Effect.Effect<boolean> =>
    Effect.gen({ self: this }, function* () {
      while (!this.ended && !this.mayGo(kind)) yield* Effect.sleep(PAUSE_MILLIS)
      return !this.ended
    })

  private mayGo(kind: Kind): boolean {
    const { commands } = this.book
    const seconds = this.book.history.now() / 1_000
    if (commands > rate.most * (seconds + 0.05)) return false
    if (commands < 1_000) return true
    if (dear.has(kind)) return this.isBehind(kind)
    if (commands < rate.least * seconds) return true
    return this.isBehind(kind) || !kinds.some((other) => this.isBehind(other))
  }

  private isBehind(kind: Kind): boolean {
    return (this.book.submitted.get(kind) ?? 0) < this.book.commands * share
  }
}
