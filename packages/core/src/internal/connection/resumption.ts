/**
 * How the callers of a batch of replies are resumed: in one group, or in two, with a write behind each.
 *
 * With one group client and server take turns: each waits while the other works. With two, the server works on one while we
 * work on the other, at the price of one more write. A third saves nothing more, since two already keep the slower side busy.
 * So the only question is *one or two*, and it is asked of the *population*: the calls that had their replies just now, and those
 * still in flight. A batch that is a half already is not divided again, so whatever a write costs, there are never more
 * than two for a population.
 *
 * Which number is better depends on the machine and on what the callers do, so it is tried: every so often the other number
 * for a few populations, and what counts is the time per call that was spent on writing and on waiting. The callers' own
 * time is theirs. Two groups must win clearly, one also when it is no worse, and it takes two wins in a row. Each lost
 * trial makes the next one rarer. Where a write costs more than a population waits, two are not even tried.
 *
 * Pure, but for its state. All times are in milliseconds.
 *
 * @internal
 */

/** Populations from one trial to the next, at first; each lost trial doubles them. */
const EVERY = 16
const RAREST = 1024

/** Populations that a trial lasts. */
const TRIAL = 4

/** The callers' time, per call, that two groups must save. */
const MARGIN = 0.03

/** For fewer calls a second write cannot pay, and looking at the clock costs more than it could tell. */
export const SMALLEST_POPULATION = 8

type Groups = 1 | 2

export class Resumption {
  /** The number of groups while nothing is tried. */
  groups: Groups = 1
  /** How many are tried now. */
  private trial: Groups | undefined = undefined
  private every = EVERY
  /** The last trial was won: if this one is, too, the number changes. */
  private won = false
  /** The cost of a call before the trial. */
  private own = 0
  /** Since the layout changed. The first population still has the old one, and is not counted. */
  private populations = 0
  private calls = 0
  private waited = 0
  private wrote = 0
  private writes = 0
  private busy = 0

  /** The number of callers that are resumed before what they have submitted is written. */
  part(population: number): number {
    return (this.trial ?? this.groups) === 1 ? population : Math.ceil(population / 2)
  }

  /**
   * A batch had its replies: so many `calls` of a `population`. Before it nothing was to be done for `waited`. Its callers took
   * `busy`, and its `writes` took `wrote`.
   */
  learn(calls: number, population: number, waited: number, wrote: number, writes: number, busy: number): void {
    this.populations += calls / population
    if (this.populations <= 1) return
    this.calls += calls
    this.waited += waited
    this.wrote += wrote
    this.writes += writes
    this.busy += busy
    if (this.populations >= 1 + (this.trial === undefined ? this.every : TRIAL)) this.decide()
  }

  private decide(): void {
    const cost = (this.waited + this.wrote) / this.calls
    const { trial } = this
    if (trial === undefined) {
      this.own = cost
      if (this.groups === 2) this.trial = 1
      else if (this.waitsLongerThanItWrites()) this.trial = 2
    } else {
      const margin = (MARGIN * this.busy) / this.calls
      this.ended(trial, trial === 2 ? cost + margin < this.own : cost < this.own + margin)
    }
    this.forget()
  }

  private waitsLongerThanItWrites(): boolean {
    return this.waited / (this.populations - 1) > this.wrote / Math.max(1, this.writes)
  }

  private ended(trial: Groups, wins: boolean): void {
    this.trial = undefined
    this.every = wins ? EVERY : Math.min(RAREST, this.every * 2)
    if (wins && this.won) this.groups = trial
    this.won = wins && !this.won
  }

  private forget(): void {
    this.populations = 0
    this.calls = 0
    this.waited = 0
    this.wrote = 0
    this.writes = 0
    this.busy = 0
  }
}
