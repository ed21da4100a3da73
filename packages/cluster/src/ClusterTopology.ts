/**
 * The topology of a cluster: its shards, their nodes, and which slots they have.
 *
 * A topology is plain data, made from what a node says (`CLUSTER SLOTS`, `CLUSTER SHARDS`). Nodes are told apart by their
 * id, not by their address: one that comes back with another address is the same node.
 *
 * @since 0.1.0
 */
import type { Argument } from "@relive/core/Resp"
import * as slots from "./internal/slots.ts"

/**
 * The number of hash slots of a cluster: 16 384.
 *
 * @category constants
 * @since 0.1.0
 */
export const SLOTS: number = slots.SLOTS

/**
 * The hash slot of a key, from 0 to 16 383: CRC16 of its hash tag (what stands in its first pair of braces), or of all of it,
 * modulo 16 384. Keys of one command, and of one transaction, must have the same slot.
 *
 * ```ts
 * import { ClusterTopology } from "@relive/cluster"
 *
 * ClusterTopology.slotOf("user:{42}:name") === ClusterTopology.slotOf("user:{42}:mail") // true
 * ```
 *
 * Follows the "Key distribution model" of the Redis Cluster specification.
 *
 * @category getters
 * @since 0.1.0
 */
export const slotOf: (key: Argument) => number = slots.slotOf

/**
 * The part of a key that is hashed: what stands in its first pair of braces, or all of it when there is none, or nothing
 * in it.
 *
 * @category getters
 * @since 0.1.0
 */
export const hashTag = (key: string): string => {
  const open = key.indexOf("{")
  const close = open < 0 ? -1 : key.indexOf("}", open + 1)
  return close > open + 1 ? key.slice(open + 1, close) : key
}

/**
 * Where a node can be dialled.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * A node as the cluster describes it.
 *
 * - `id`: the node's id; its address where the server tells none
 * - `address`: where to dial it, after `mapAddress`; `announced`: as the cluster said it
 * - `hostname`: the name it announces, if any: for certificates
 * - `health`: as `CLUSTER SHARDS` says it; `CLUSTER SLOTS` leaves replicas out that have failed, so there it is `"online"`
 * - `offset`: the replication offset, where the reply said it
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly id: string
  readonly address: Address
  readonly announced: Address
  readonly hostname: string | undefined
  readonly role: "primary" | "replica"
  readonly health: "online" | "loading" | "fail"
  readonly offset: number | undefined
}

/**
 * A primary, its replicas, and its slots as pairs of the first and the last. A primary without slots has none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shard {
  readonly primary: Node
  readonly replicas: ReadonlyArray<Node>
  readonly ranges: ReadonlyArray<readonly [from: number, to: number]>
}

/**
 * All shards of a cluster as one node saw them. `covered` is how many slots have a primary.
 *
 * @category models
 * @since 0.1.0
 */
export interface Topology {
  readonly shards: ReadonlyArray<Shard>
  readonly covered: number
}

/**
 * The primary that has a slot; `undefined` when nobody has.
 *
 * @category getters
 * @since 0.1.0
 */
export const ownerOf = (topology: Topology, slot: number): Node | undefined =>
  topology.shards.find((shard) => shard.ranges.some(([from, to]) => from <= slot && slot <= to))?.primary

/**
 * The ranges of slots in order, each with the id of its primary. What is not there has no owner.
 *
 * @category getters
 * @since 0.1.0
 */
export const rangesOf = (topology: Topology): ReadonlyArray<readonly [from: number, to: number, id: string]> =>
  topology.shards
    .flatMap((shard) => shard.ranges.map(([from, to]) => [from, to, shard.primary.id] as const))
    .sort((a, b) => a[0] - b[0])
