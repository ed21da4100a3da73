/**
 * The items that one queue must hold, from the side of those who push and pop: an item that was pushed for sure must come
 * out or be left at the end. Only a pop whose reply was lost may have taken one along; each such pop is an excuse for one item.
 */

/** A pop whose connection is gone cannot take anything any more after this: no fault holds bytes up for so long. */
const EXCUSE_MILLIS = 15_000

/** A pop that is under way. */
export interface Pop {
  readonly startedAt: number
  /** The items that were there for sure when it was made. */
  readonly before: ReadonlyArray<number>
  readonly pushesBefore: number
}

export class Stock {
  /** Pushed for sure, and not popped. */
  private readonly there = new Set<number>()
  /** Popped before their push was known to have worked. */
  private readonly early = new Set<number>()
  /** When pops were made that may each have taken an item along. */
  private excuses: Array<number> = []
  private pushesBegun = 0
  private pushesUnderWay = 0

  /** A push is about to be made. */
  pushes(): void {
    this.pushesBegun++
    this.pushesUnderWay++
  }

  /** It has settled; `id` is its item if it was acknowledged. */
  pushed(id: number | undefined): void {
    this.pushesUnderWay--
    // It may be popped already, by a pop beside it.
    if (id !== undefined && !this.early.delete(id)) this.there.add(id)
  }

  /** A pop is about to be made. */
  pops(now: number): Pop {
    return { startedAt: now, before: [...this.there], pushesBefore: this.pushesBegun - this.pushesUnderWay }
  }

  /** An item came out. */
  popped(id: number): void {
    if (!this.there.delete(id)) this.early.add(id)
  }

  /**
   * Nothing can have been in the queue since the pop was made: neither was anything there, nor was anything pushed beside it.
   * One that is given up then takes nothing along; otherwise the reply may have been on its way.
   */
  wasEmptySince(pop: Pop): boolean {
    return pop.before.length === 0 && pop.pushesBefore === this.pushesBegun
  }

  /** The reply of this pop was lost, perhaps with an item. */
  mayHaveTaken(pop: Pop): void {
    this.excuses.push(pop.startedAt)
  }

  /** The items that are there for sure. */
  get items(): ReadonlyArray<number> {
    return [...this.there]
  }

  /** It was found outside of a pop. */
  found(id: number): void {
    this.there.delete(id)
  }

  /**
   * These are not in the queue any more. Returns those that a pop may have taken along; for the others there is no
   * excuse, and they are lost.
   */
  excused(missing: ReadonlyArray<number>, now: number): ReadonlyArray<number> {
    this.excuses = this.excuses.filter((at) => at > now - EXCUSE_MILLIS)
    const gone = missing.filter((id) => this.there.delete(id))
    return gone.slice(0, this.excuses.splice(0, gone.length).length)
  }
}
