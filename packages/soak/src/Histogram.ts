/** Durations in buckets that grow by 2 %: a quantile of any number of them, in little memory. */

const factor = Math.log(1.02)
const SMALLEST_MILLIS = 0.01

export class Histogram {
  private readonly buckets: Array<number> = []
  private count = 0

  add(millis: number): void {
    const bucket = Math.max(0, Math.round(Math.log(Math.max(millis, SMALLEST_MILLIS) / SMALLEST_MILLIS) / factor))
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1
    this.count++
  }

  /** The duration that `share` of all are not above, in milliseconds; 0 when there are none. */
  quantile(share: number): number {
    let left = this.count * share
    let last = 0
    for (let bucket = 0; bucket < this.buckets.length; bucket++) {
      const here = this.buckets[bucket] ?? 0
      if (here === 0) continue
      last = bucket
      left -= here
      if (left <= 0) break
    }
    return this.count === 0 ? 0 : SMALLEST_MILLIS * Math.exp(last * factor)
  }
}
