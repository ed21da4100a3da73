/**
 * A node of the cluster as its client knows it, with the two places for its connections: one for what a primary does, and one
 * with `READONLY` for reads from a replica. Plain mutable state. The topology says which are needed, and their supervisors
 * start and end them; a place outlives the connections that fill it one after the other.
 *
 * @internal
 */
import type { RedisConnection, Shared } from "@relive/core/RedisConnection"
import type { Service } from "@relive/core/RedisService"
import type { Process } from "@relive/otp/Process"
import type { Address, Node } from "../ClusterTopology.ts"
import type { NodeView } from "../RedisCluster.ts"
import type { Reader } from "./replicas.ts"

/** The connection that runs in a place, with its service. */
export interface Running {
  readonly connection: RedisConnection
  readonly service: Service
  readonly shared: Shared
}

export class Place {
  readonly node: ClusterNode
  readonly kind: "primary" | "read"
  running: Running | undefined = undefined
  /** Its supervisor, while it runs. */
  process: Process | undefined = undefined
  /** Whether a start or an end is under way. */
  changing = false
  /** Since when nobody needs it, in milliseconds of the monotonic clock. */
  unneededSince: number | undefined = undefined
  /** When it may be started again after its supervisor has given up, and how often that was in a row. */
  startAt = 0
  failures = 0

  constructor(node: ClusterNode, kind: Place["kind"]) {
    this.node = node
    this.kind = kind
  }

  get connection(): RedisConnection | undefined {
    return this.running?.connection
  }

  get isReady(): boolean {
    return this.running?.connection.state === "ready"
  }

  get load(): number {
    const connection = this.running?.connection
    return connection === undefined ? 0 : connection.queued + connection.inFlight
  }
}

export class ClusterNode implements Reader, NodeView {
  /** The node's id, or its address while nobody has told its id. */
  id: string
  address: Address
  hostname: string | undefined
  role: Node["role"]
  health: Node["health"] = "online"
  readonly primary: Place
  readonly read: Place
  /** Whether a view has told of it. Seeds and strangers are unknown at first. */
  isTold = false
  /** Until when an unknown one is kept all the same. */
  keepUntil = 0
  /** Until when reads pass it over: it was loading, or without its primary. */
  skipUntil = 0
  roundTrip: number | undefined = undefined
  /** When its session was last ended because it redirects to itself. */
  redialledAt = -Infinity

  constructor(id: string, address: Address, hostname: string | undefined, role: Node["role"]) {
    this.id = id
    this.address = address
    this.hostname = hostname
    this.role = role
    this.primary = new Place(this, "primary")
    this.read = new Place(this, "read")
  }

  /** The connection for commands; `undefined` while it is being started. */
  get connection(): RedisConnection | undefined {
    return this.primary.running?.connection
  }

  /** Where its reads go: a primary serves them on its one connection. */
  get readPlace(): Place {
    return this.role === "replica" ? this.read : this.primary
  }

  get isReady(): boolean {
    const connection = this.readPlace.running?.connection
    return connection?.state === "ready" && this.skipUntil <= connection.now() && this.health === "online"
  }

  get load(): number {
    return this.readPlace.load
  }
}
