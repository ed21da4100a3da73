/** Random choices that replay from a seed (Marsaglia's xorshift, 32 bits, behind a mixing of the seed). */

export interface Seeded {
  /** From 0 up to, but not including, 1. */
  readonly next: () => number
  /** From `min` to `max`, both included. */
  readonly integer: (min: number, max: number) => number
  /** True this often. */
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(items: readonly [A, ...ReadonlyArray<A>]) => A
}

export const make = (...seeds: ReadonlyArray<number>): Seeded => {
  let state = 0x9e3779b9
  for (const seed of seeds) state = Math.imul(state ^ seed, 0x85ebca6b) ^ (state >>> 13)
  if (state === 0) state = 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 0x1_0000_0000
  }
  // Seeds that lie close together start alike.
  for (let i = 0; i < 8; i++) next()
  const integer = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    integer,
    chance: (probability) => next() < probability,
    pick: (items) => items[integer(0, items.length - 1)] ?? items[0]
  }
}
