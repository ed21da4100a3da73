/**
 * The choice between views of the cluster.
 *
 * A view is what one node says. It is adopted when it covers as many slots as the table in force, when a second node says
 * the same, or at the third try in a row: so neither a node that was just met nor one that is cut off takes the table over,
 * and a cluster that has really lost slots is believed in the end. Of views that contradict each other, the owner with the
 * higher config epoch is right.
 *
 * @internal
 */
import type { Node, Shard, Topology } from "../ClusterTopology.ts"
import { rangesOf } from "../ClusterTopology.ts"
import { SLOTS } from "./slots.ts"

const nodeText = (node: Node): string => `${node.id}@${node.address.host}:${node.address.port}/${node.health}`

/** The same for equal topologies, in whatever order they were told. */
export const signatureOf = (topology: Topology): string => {
  const shards = topology.shards
    .filter((shard) => shard.ranges.length > 0)
    .map((shard) => {
      const ranges = shard.ranges.map(([from, to]) => `${from}-${to}`).sort()
      return `${nodeText(shard.primary)} ${ranges.join(",")} ${shard.replicas.map(nodeText).sort().join(",")}`
    })
  return shards.sort().join("\n")
}

const TRIES = 3

/** Remembers what was not believed. */
export class Adoption {
  private doubted = ""
  private doubtedFrom = ""
  private tries = 0

  /** Whether to adopt this view, said by the node `from`, while `covered` slots are covered by the table in force. */
  believes(view: Topology, from: string, covered: number): boolean {
    if (view.covered === 0) return false
    if (view.covered >= covered) return this.reset()
    const signature = signatureOf(view)
    this.tries++
    if (this.tries >= TRIES) return this.reset()
    if (signature === this.doubted && from !== this.doubtedFrom) return this.reset()
    this.doubted = signature
    this.doubtedFrom = from
    return false
  }

  private reset(): true {
    this.doubted = ""
    this.doubtedFrom = ""
    this.tries = 0
    return true
  }
}

/** A view and the config epochs by which it can be judged, from the same node. */
export interface Judged {
  readonly view: Topology
  readonly epochs: ReadonlyMap<string, number>
}

/** For each slot the owner with the highest epoch in any of the views; the first view wins a draw. */
export const mergeViews = (views: ReadonlyArray<Judged>): Topology => {
  const owners: Array<string | undefined> = Array.from({ length: SLOTS })
  const highest = new Float64Array(SLOTS).fill(-1)
  const epochOf = (id: string): number => Math.max(...views.map(({ epochs }) => epochs.get(id) ?? -1))
  const shards = new Map<string, Shard>()
  for (const { view } of views) {
    for (const shard of view.shards) if (!shards.has(shard.primary.id)) shards.set(shard.primary.id, shard)
    for (const [from, to, id] of rangesOf(view)) {
      const epoch = Math.max(0, epochOf(id))
      for (let slot = from; slot <= to; slot++) {
        if (epoch <= (highest[slot] ?? -1)) continue
        highest[slot] = epoch
        owners[slot] = id
      }
    }
  }
  const merged = [...shards.values()].map((shard) => ({ ...shard, ranges: rangesIn(owners, shard.primary.id) }))
  const kept = merged.filter((shard) => shard.ranges.length > 0)
  return { shards: kept, covered: owners.filter((owner) => owner !== undefined).length }
}

const rangesIn = (owners: ReadonlyArray<string | undefined>, id: string): ReadonlyArray<readonly [number, number]> => {
  const ranges: Array<readonly [number, number]> = []
  let from = -1
  for (let slot = 0; slot <= SLOTS; slot++) {
    if (owners[slot] === id) {
      if (from < 0) from = slot
    } else if (from >= 0) {
      ranges.push([from, slot - 1])
      from = -1
    }
  }
  return ranges
}
