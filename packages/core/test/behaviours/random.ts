/** Random numbers from a seed, so that a failure can be run again. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed | 0
  }

  /** From [0, 1). Mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 up to, but not including, `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(...items: readonly [A, ...ReadonlyArray<A>]): A {
    return items[this.below(items.length)] ?? items[0]
  }

  /** Up to `longest` characters of all planes, none of them half a surrogate pair. */
  text(longest: number): string {
    return Array.from({ length: this.below(longest + 1) }, () => {
      const point = this.below(this.pick(0x80, 0x800, 0x10000, 0x110000))
      return String.fromCodePoint(point >= 0xd800 && point < 0xe000 ? 0xe9 : point)
    }).join("")
  }
}
