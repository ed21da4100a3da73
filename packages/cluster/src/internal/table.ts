/**
 * The owner of each slot: one look-up in an array of small integers. `A` stands for a node.
 *
 * A MOVED patches one slot at once. Patches outlive older views: a view that was asked for before a patch does not undo it.
 * (Another client lost minutes by such an undoing: valkey-glide#5769.)
 *
 * @internal
 */
import { SLOTS } from "./slots.ts"

const NOBODY = 0xffff

interface Patch<A> {
  readonly owner: A
  readonly at: number
}

export class SlotTable<A> {
  private readonly owners = new Uint16Array(SLOTS).fill(NOBODY)
  private places: Array<A> = []
  private readonly patches = new Map<number, Patch<A>>()
  /** Patches that the view in force has undone, and said otherwise. */
  private readonly undone = new Map<number, A>()
  /** The number of slots that have an owner. */
  covered = 0

  /** The owner of a slot; `undefined` when nobody is known to have it. */
  ownerOf(slot: number): A | undefined {
    return this.places[this.owners[slot] ?? NOBODY]
  }

  /** A server says now that another node has this slot. */
  patch(slot: number, owner: A, now: number): void {
    this.patches.set(slot, { owner, at: now })
    this.put(slot, owner)
  }

  /** Whether the view in force has undone a patch that said the same of this slot. */
  wasUndone(slot: number, owner: A): boolean {
    return this.undone.get(slot) === owner
  }

  /** Puts a whole view in force that was asked for at `askedAt`. Returns how many slots have another owner now. */
  replace(ranges: Iterable<readonly [from: number, to: number, owner: A]>, askedAt: number): number {
    const before = this.owners.slice()
    const placesBefore = this.places
    this.owners.fill(NOBODY)
    this.places = []
    this.covered = 0
    this.undone.clear()
    for (const [from, to, owner] of ranges) {
      const index = this.indexOf(owner)
      this.owners.fill(index, from, to + 1)
      this.covered += to - from + 1
    }
    for (const [slot, { at, owner }] of this.patches) {
      if (at > askedAt) {
        this.put(slot, owner)
        continue
      }
      this.patches.delete(slot)
      if (this.ownerOf(slot) !== owner) this.undone.set(slot, owner)
    }
    let moved = 0
    for (let slot = 0; slot < SLOTS; slot++) {
      if (placesBefore[before[slot] ?? NOBODY] !== this.ownerOf(slot)) moved++
    }
    return moved
  }

  /** Whether it has any slot. */
  owns(owner: A): boolean {
    const index = this.places.indexOf(owner)
    return index >= 0 && this.owners.includes(index)
  }

  /** All that have a slot. */
  get ownersNow(): ReadonlyArray<A> {
    return this.places.filter((owner) => this.owns(owner))
  }

  /** The ranges of an owner. */
  rangesOf(owner: A): ReadonlyArray<readonly [from: number, to: number]> {
    const ranges: Array<readonly [number, number]> = []
    let from = -1
    for (let slot = 0; slot <= SLOTS; slot++) {
      const has = slot < SLOTS && this.ownerOf(slot) === owner
      if (has && from < 0) from = slot
      if (!has && from >= 0) {
        ranges.push([from, slot - 1])
        from = -1
      }
    }
    return ranges
  }

  private put(slot: number, owner: A): void {
    if (this.owners[slot] === NOBODY) this.covered++
    this.owners[slot] = this.indexOf(owner)
  }

  private indexOf(owner: A): number {
    const index = this.places.indexOf(owner)
    return index >= 0 ? index : this.places.push(owner) - 1
  }
}
