/**
 * Times within a period: the restarts a supervisor counts.
 *
 * @internal
 */
export class Window {
  private times: Array<number> = []
  private head = 0

  /** Adds `now` and returns how many times lie in `[now - period, now]`. */
  add(now: number, period: number): number {
    const { times } = this
    times.push(now)
    while ((times[this.head] ?? now) < now - period) this.head++
    if (this.head > 32 && this.head * 2 > times.length) {
      this.times = times.slice(this.head)
      this.head = 0
    }
    return this.times.length - this.head
  }
}
