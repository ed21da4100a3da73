/**
 * The progress of a scan over a cluster, and the node that it walks next: a pure machine.
 *
 * A walk is `SCAN` over one node, from its first page to its last. With each page the node says, in one transaction, which
 * slots it has: so it is known for each page which of the node's keys clients could reach there at that moment.
 *
 * ```
 *   on all pages of a walk over A                      then slot s is
 *   ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 *   A owned it, and it was not open                    walked: a key that exists all the time was there on each page
 *   at last it was open from A to B, and stayed so     half walked: what was not seen is at B by now, and stays there
 *   B took it from A (or did not, but A still offers   walked, if it was half walked from A to B before, and A says
 *   it to B), or has it by now                         after the walk that it never had it back meanwhile
 *   anything else                                      not walked: the next walk is over its owner at that time
 * ```
 *
 * A slot that stays open for ever, since nobody ends a resharding, is walked at both its ends like this. Keys of an open slot
 * move in one direction alone. For the direction to change, the slot must change its owner and come back, and a node that
 * takes a slot takes a new config epoch: so the mark and the epoch together say that the direction has not changed.
 *
 * @internal
 */
import type { Address } from "../ClusterTopology.ts"
import { readEndpoint } from "./addresses.ts"
import { SLOTS } from "./slots.ts"

// ------------------------------------------------------------------------------------------------ what a node says

/** The relation of a node to a slot. */
const NONE = 0
const OWNED = 1
/** It owns the slot, and hands its keys to another node. */
const LEAVING = 2
/** Another node owns the slot, and hands its keys to this one. */
const ARRIVING = 3

/** A node's own word on its slots. */
export interface OwnSlots {
  readonly id: string
  /** Its config epoch: another one when it has taken slots from a node with a higher one. */
  readonly epoch: number
  /** For each slot `NONE`, `OWNED`, `LEAVING` or `ARRIVING`. */
  readonly states: Uint8Array
  /** The ids of the nodes to which slots are leaving. */
  readonly targets: ReadonlyMap<number, string>
  /** The line that this was read from, without what changes with time. */
  readonly line: string
}

const myself = /^(\S+) \S+ (?:\S+,)?myself(?:,\S+)? \S+ \S+ \S+ (.*)$/m

/** Reads `CLUSTER NODES`; `before`, if nothing has changed since. `undefined`: no such reply. */
export const readOwnSlots = (text: string, before?: OwnSlots | undefined): OwnSlots | undefined => {
  const found = myself.exec(text)
  const [, id = "", line = ""] = found ?? []
  if (found === null) return undefined
  if (before?.line === line && before.id === id) return before
  const [epoch = "", , ...ranges] = line.trim().split(" ")
  const states = new Uint8Array(SLOTS)
  const targets = new Map<number, string>()
  const open: Array<readonly [slot: number, sign: string, node: string]> = []
  for (const range of ranges) {
    const [, slot, sign = "", node = ""] = /^\[(\d+)-([<>])-(\S+)\]$/.exec(range) ?? []
    if (slot !== undefined) open.push([Number(slot), sign, node])
    else {
      const [from = 0, to = from] = range.split("-").map(Number)
      states.fill(OWNED, from, to + 1)
    }
  }
  // A mark that does not fit is a relic: an owner takes nothing in, and who does not own has nothing to hand over.
  for (const [slot, sign, node] of open) {
    if (sign === ">" && states[slot] === OWNED) {
      states[slot] = LEAVING
      targets.set(slot, node)
    } else if (sign === "<" && states[slot] === NONE) states[slot] = ARRIVING
  }
  return { id, epoch: Number(epoch), states, targets, line }
}

/** Whether the node says that it does not own a slot. */
export const lacks = ({ states }: OwnSlots, slot: number): boolean => {
  const state = states[slot]
  return state !== OWNED && state !== LEAVING
}

/** The id of each slot's owner in `CLUSTER NODES`. */
export const readOwners = (text: string): ReadonlyArray<string | undefined> => {
  const owners: Array<string | undefined> = Array.from({ length: SLOTS })
  for (const line of text.split("\n")) {
    const [id = "", , , , , , , , ...ranges] = line.trim().split(" ")
    for (const range of ranges) {
      if (!/^\d+(-\d+)?$/.test(range)) continue
      const [from = 0, to = from] = range.split("-").map(Number)
      owners.fill(id, from, to + 1)
    }
  }
  return owners
}

/** The address of a node in `CLUSTER NODES`, as in `id 10.0.0.1:6379@16379,hostname …`. */
export const readAddress = (text: string, id: string): Address | undefined => {
  const line = text.split("\n").find((one) => one.startsWith(`${id} `))
  const [, address = ""] = line?.split(" ") ?? []
  return readEndpoint(address.replace(/@.*$/, ""), "")
}

// ------------------------------------------------------------------------------------------------------------ a walk

/** The part of a slot that a walk has seen so far. */
const UNSEEN = 0
/** It was owned on all pages. */
const HELD = 1
/** It was owned, if at all, and then on its way to one other node. */
const LEFT = 2
/** It was arriving on all pages. */
const TAKEN = 3
/** It was arriving, and then owned. */
const CAME = 4
/** It was arriving or not there, and never owned. */
const ELSEWHERE = 5
const BROKEN = 6

/** The part that is seen after one more page, in all cases but those of a slot that is leaving. */
const after: ReadonlyArray<ReadonlyArray<number>> = [
  // NONE, OWNED, LEAVING, ARRIVING
  [ELSEWHERE, HELD, LEFT, TAKEN], // UNSEEN
  [BROKEN, HELD, LEFT, BROKEN], // HELD
  [BROKEN, BROKEN, LEFT, BROKEN], // LEFT
  [ELSEWHERE, CAME, BROKEN, TAKEN], // TAKEN
  [BROKEN, CAME, BROKEN, BROKEN], // CAME
  [ELSEWHERE, BROKEN, BROKEN, ELSEWHERE], // ELSEWHERE
  [BROKEN, BROKEN, BROKEN, BROKEN] // BROKEN
]

/** A slot on its way, as the node says from which it goes. */
interface Way {
  readonly to: string
  readonly epoch: number
}

/** A walk over a node that is under way. */
class Walk {
  readonly id: string
  last: OwnSlots | undefined = undefined
  readonly seen = new Uint8Array(SLOTS)
  private readonly slots: ReadonlyArray<number>
  readonly ways = new Map<number, Way>()

  constructor(id: string, slots: ReadonlyArray<number>) {
    this.id = id
    this.slots = slots
  }

  page(own: OwnSlots): void {
    if (own === this.last) return
    this.last = own
    const { epoch, states, targets } = own
    for (const slot of this.slots) {
      const seen = this.seen[slot] ?? UNSEEN
      let next = after[seen]?.[states[slot] ?? NONE] ?? BROKEN
      if (next === LEFT) {
        const way = this.ways.get(slot)
        const to = targets.get(slot) ?? ""
        if (way === undefined) this.ways.set(slot, { to, epoch })
        else if (way.to !== to || way.epoch !== epoch) next = BROKEN
      }
      this.seen[slot] = next
    }
  }
}

// ------------------------------------------------------------------------------------------------------------ a pass

interface Half extends Way {
  readonly from: string
  /** The part that the walk over `to` has seen, from its end until `from` has confirmed that nothing has come back. */
  seenAt: number | undefined
}

const all: ReadonlyArray<number> = Array.from({ length: SLOTS }, (_, slot) => slot)

/** A whole scan, of all slots or of some. */
export class ScanPass {
  /** The slots that are not walked, in order. */
  missing: ReadonlyArray<number>
  private readonly isMissing = new Uint8Array(SLOTS)
  private readonly halves = new Map<number, Half>()
  private walk: Walk | undefined = undefined

  constructor(slots: ReadonlyArray<number> = all) {
    this.missing = slots
    for (const slot of slots) this.isMissing[slot] = 1
  }

  /** Where half walked slots go, by slot. */
  get open(): ReadonlyMap<number, { readonly from: string; readonly to: string }> {
    return this.halves
  }

  /**
   * The nodes that may be walked next, the best first: owners of slots of which nothing is walked, and then the nodes that
   * take half walked slots.
   */
  next<A>(ownerOf: (slot: number) => A | undefined, nodeOf: (id: string) => A | undefined): ReadonlyArray<A> {
    const owners = new Set<A>()
    const takers = new Set<A>()
    for (const slot of this.missing) {
      const half = this.halves.get(slot)
      const node = half === undefined ? ownerOf(slot) : nodeOf(half.to)
      if (node !== undefined) (half === undefined ? owners : takers).add(node)
    }
    return [...new Set([...owners, ...takers])]
  }

  /** Whether a walk over this node can bring anything. */
  canUse({ id, states }: OwnSlots): boolean {
    for (const slot of this.missing) {
      const state = states[slot]
      if (state === OWNED || state === LEAVING || this.halves.get(slot)?.to === id) return true
    }
    return false
  }

  /** A walk begins: what another one has seen so far counts for nothing. */
  begin(own: OwnSlots): void {
    this.walk = new Walk(own.id, this.missing)
  }

  /** A page of the walk. False when it comes from another node, so that the walk is over and was in vain. */
  page(own: OwnSlots): boolean {
    if (this.walk?.id !== own.id) {
      this.walk = undefined
      return false
    }
    this.walk.page(own)
    return true
  }

  /** Whether keys of this slot on the last page are to be told: clients reach them there, and they were not told. */
  tells(slot: number): boolean {
    const last = this.walk?.last
    const state = last?.states[slot]
    if (last === undefined || this.isMissing[slot] === 0) return false
    return state === OWNED || state === LEAVING || (state === ARRIVING && this.halves.get(slot)?.to === last.id)
  }

  /** The last page has come. Returns the nodes whose word is needed after the walk, by `confirm`. */
  end(): ReadonlySet<string> {
    const { walk } = this
    this.walk = undefined
    const sources = new Set<string>()
    if (walk === undefined) return sources
    for (const slot of this.missing) {
      const seen = walk.seen[slot] ?? BROKEN
      const half = this.halves.get(slot)
      const way = walk.ways.get(slot)
      if (seen === HELD) this.finish(slot)
      else if (seen === LEFT && way !== undefined) this.halves.set(slot, { from: walk.id, ...way, seenAt: undefined })
      else if (half?.from === walk.id) this.halves.delete(slot)
      else if (half?.to === walk.id) {
        if (seen === TAKEN || seen === CAME || seen === ELSEWHERE) {
          half.seenAt = seen
          sources.add(half.from)
        } else this.halves.delete(slot)
      }
    }
    this.sift()
    return sources
  }

  /** The word of a node from which slots are half walked, after the walk; `undefined` when it says nothing. */
  confirm(id: string, own: OwnSlots | undefined): void {
    for (const [slot, half] of [...this.halves]) {
      if (half.from !== id) continue
      const isSame = own?.id === id && own.epoch === half.epoch
      const state = isSame ? own.states[slot] : undefined
      const isOffered = state === LEAVING && own?.targets.get(slot) === half.to
      const isGone = state === NONE || state === ARRIVING
      const { seenAt } = half
      half.seenAt = undefined
      if (isOffered && seenAt === undefined) continue
      if (isOffered || (isGone && (seenAt === CAME || seenAt === TAKEN))) this.finish(slot)
      else this.halves.delete(slot)
    }
    this.sift()
  }

  private finish(slot: number): void {
    this.isMissing[slot] = 0
    this.halves.delete(slot)
  }

  private sift(): void {
    this.missing = this.missing.filter((slot) => this.isMissing[slot] === 1)
  }
}
