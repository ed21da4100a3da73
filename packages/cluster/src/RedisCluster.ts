/**
 * Redis Cluster (and Valkey's) behind the same `RedisService` as one connection: programs do not change.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { RedisCluster } from "@relive/cluster"
 * import { Effect } from "effect"
 *
 * const program = Redis.command(["SET", "user:{42}:name", "ada"]).pipe(
 *   Effect.provide(RedisCluster.layer({ nodes: ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"] }))
 * )
 * ```
 *
 * Each call goes to the node that has its slot. When slots move, or a node fails over, the servers refuse it and say so: then
 * it goes on as the same call, with its one deadline. Since a refusal proves that nothing has run, writes, scripts and
 * transactions go on, too, and nothing runs twice. What is lost on the wire is `unknown`, as on one connection.
 *
 * Every node has a supervisor of its own: a node that flaps restarts nobody else.
 *
 * @since 0.1.0
 */
import type { Service, Status } from "@relive/core/RedisService"
import type { CallOptions, PipelineReply } from "@relive/core/RedisService"
import type * as Redis from "@relive/core/Redis"
import type { RedisError } from "@relive/core/RedisError"
import type * as RedisOptions from "@relive/core/RedisOptions"
import { RedisService } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import type * as ChildSpec from "@relive/otp/ChildSpec"
import * as Registry from "@relive/otp/Registry"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Address, Topology } from "./ClusterTopology.ts"
import { clusterOptionsConfig } from "./internal/config.ts"
import { clusterName } from "./internal/names.ts"
import type { RefreshReason as Reason } from "./internal/refresher.ts"
import * as slots from "./internal/slots.ts"
import * as tree from "./internal/tree.ts"
import * as internal from "./internal/typeId.ts"

/**
 * The identity of {@link Cluster} values.
 *
 * @category type ids
 * @since 0.1.0
 */
export const TypeId: "~@relive/cluster/RedisCluster" = internal.TypeId

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * A node whose address is mapped or whose certificate is checked: its id, and the name that it announces,
 * if any.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeInfo {
  readonly id: string
  readonly hostname: string | undefined
}

/**
 * From an address that the cluster announces to one that can be dialled: a function, where `undefined` leaves it as it is, or
 * a record like `{ "10.0.0.1:6379": "localhost:7001" }`.
 *
 * @category models
 * @since 0.1.0
 */
export type MapAddress =
  | ((announced: Address, node: NodeInfo) => Address | undefined)
  | Readonly<Record<string, string | Address>>

/**
 * A node of a shard that a read may go to.
 *
 * `roundTrip` is smoothed, in milliseconds, `undefined` while it is not known; `load` is how many commands it has in flight
 * and queued.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeView {
  readonly id: string
  readonly address: Address
  readonly isReady: boolean
  readonly load: number
  readonly roundTrip: number | undefined
}

/**
 * A primary and its replicas, as they are now.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShardView {
  readonly primary: NodeView
  readonly replicas: ReadonlyArray<NodeView>
}

/**
 * A choice of your own: returns one of the shard's nodes. It runs for every read, synchronously: it must be quick. Anything
 * else than a node of the shard is taken for the primary.
 *
 * @category models
 * @since 0.1.0
 */
export type ChooseReader = (shard: ShardView, command: Resp.Command) => NodeView

/**
 * Where reads go.
 *
 * - `"primary"`: what is written is read. The default.
 * - `"preferReplica"`: a replica that is connected, else the primary
 * - `"replica"`: a replica alone; where there is none, the call fails with `ClusterError`, kind `no-replica`
 * - `"any"`: whichever of the shard has least in flight; `"nearest"`: whichever is quickest
 *
 * @category models
 * @since 0.1.0
 */
export type ReadFrom = "primary" | "preferReplica" | "replica" | "any" | "nearest" | ChooseReader

/**
 * Options of a cluster: those of a connection, which each of its nodes gets, and
 *
 * - `nodes`: where to ask first, and again when no known node replies: URLs or addresses of some of its nodes. Names are looked
 *   up each time. Credentials and `rediss://` of a URL are for all nodes.
 * - `mapAddress`: for containers and NAT, see `MapAddress`
 * - `serverName`: the name that a node's certificate is checked against. Default: the hostname it announces, else the host
 *   where that is a name, else `tls.serverName`.
 * - `readFrom`: where reads go, see `ReadFrom`. Replicas lag behind; `readFrom: "primary"` per call reads your writes.
 * - `misses`: what a replica says it does not have is asked once more of the primary (`"ask"`, the default), since a replica
 *   before Valkey 8 does not know that a key is on its way elsewhere, and returns null for one that exists. `"trust"`
 *   saves the second trip where slots never move.
 * - `refresh`: how often the cluster is asked for its map while nothing happens (`every`, default 30 seconds), and how often at
 *   most while it only redirects (`spacing`, default one second)
 * - `split`: `"reads"` (the default): `MGET`, `EXISTS`, `TOUCH`, and `DEL` and `UNLINK`, which may run in parts, are split
 *   over their slots. `"all"`: `MSET` too. `"none"`: they are refused as everything else is that has keys of several slots.
 * - `strangers`: redirects to nodes that the cluster has not told of are followed (`"follow"`, the default, without which a
 *   growing cluster cannot be served), or the cluster is asked first (`"refresh"`)
 *
 * `database` must be 0: a cluster has no other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Omit<RedisOptions.Options, "url" | "host" | "port" | "path" | "sentinel"> {
  readonly nodes: ReadonlyArray<
    string | URL | Redacted.Redacted<string> | { readonly host: string; readonly port?: number }
  >
  readonly mapAddress?: MapAddress | undefined
  readonly serverName?: ((node: NodeInfo) => string | undefined) | undefined
  readonly readFrom?: ReadFrom | undefined
  readonly misses?: "ask" | "trust" | undefined
  readonly refresh?:
    | { readonly every?: Duration.Input | "never" | undefined; readonly spacing?: Duration.Input | undefined }
    | undefined
  readonly split?: "none" | "reads" | "all" | undefined
  readonly strangers?: "follow" | "refresh" | undefined
}

// -----------------------------------------------------------------------------
// Status
// -----------------------------------------------------------------------------

/**
 * Why the cluster was asked for its map.
 *
 * @category models
 * @since 0.1.0
 */
export type RefreshReason = Reason

/**
 * A node, and what its connection is doing.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeStatus {
  readonly id: string
  readonly address: string
  readonly role: "primary" | "replica"
  readonly state: Status["state"]
  readonly queued: number
  readonly inFlight: number
  readonly sessions: number
}

/**
 * A shard: its ranges of slots, its primary, its replicas. Replicas that are not read from have no connection, and are not
 * listed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShardStatus {
  readonly ranges: ReadonlyArray<readonly [from: number, to: number]>
  readonly primary: NodeStatus
  readonly replicas: ReadonlyArray<NodeStatus>
}

/**
 * A cluster's state: as if it was one connection, and
 *
 * - `shards`: each with its connections; `uncovered`: how many slots no node is known to have
 * - `redirects`: how many refusals were followed, by kind
 * - `refreshes`: how often the map was asked for, came in force changed or unchanged, and could not be had; and why it was
 *   asked for last
 *
 * @category models
 * @since 0.1.0
 */
export interface ClusterStatus extends Status {
  readonly shards: ReadonlyArray<ShardStatus>
  readonly uncovered: number
  readonly redirects: {
    readonly moved: number
    readonly ask: number
    readonly tryAgain: number
    readonly clusterDown: number
  }
  readonly refreshes: {
    readonly asked: number
    readonly adopted: number
    readonly failed: number
    readonly last: RefreshReason | undefined
  }
}

/**
 * An event in a cluster.
 *
 * - `TopologyChanged`: nodes came (`added`) or went (`removed`), or slots have other owners. Only when something changed.
 * - `RefreshFailed`: nobody could be asked for the map; `causes` say why, by node
 * - `NodeChanged`: the state of a node's connection has changed
 * - `SlotsUncovered`: the number of slots that have no owner
 *
 * @category models
 * @since 0.1.0
 */
export type ClusterEvent =
  | {
      readonly _tag: "TopologyChanged"
      readonly added: ReadonlyArray<string>
      readonly removed: ReadonlyArray<string>
      readonly slotsMoved: number
      readonly reason: RefreshReason
    }
  | {
      readonly _tag: "RefreshFailed"
      readonly reason: RefreshReason
      readonly causes: ReadonlyArray<{ readonly node: string; readonly cause: string }>
    }
  | {
      readonly _tag: "NodeChanged"
      readonly id: string
      readonly address: string
      readonly previous: Status["state"]
      readonly state: Status["state"]
      readonly cause: RedisError | undefined
    }
  | { readonly _tag: "SlotsUncovered"; readonly slots: number }

/**
 * A running cluster: what `RedisService` does not say.
 *
 * - `service`: the `RedisService` of it
 * - `status`, `events`: what it is doing, and what happens to it
 * - `topology`: the map in force, as the cluster last told it
 * - `refresh`: asks for the map now, and waits until it is in force
 * - `onNode`: a service that speaks with one node alone, by its id or address (`host:port`); fails with `ClusterError`, kind
 *   `unknown-node`. Redirects are not followed there.
 * - `onEveryPrimary`: one command to each primary: its replies by node id. An element that failed is its error.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cluster {
  readonly [TypeId]: typeof TypeId
  readonly service: Service
  readonly status: Effect.Effect<ClusterStatus>
  readonly events: Stream.Stream<ClusterEvent>
  readonly topology: Effect.Effect<Topology>
  readonly refresh: Effect.Effect<void>
  readonly onNode: (node: string) => Effect.Effect<Service, RedisError>
  readonly onEveryPrimary: (
    command: Resp.Command,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyMap<string, PipelineReply>, RedisError>
}

/**
 * The tag of a running cluster, which the layers provide beside `RedisService`.
 *
 * @category services
 * @since 0.1.0
 */
export class RedisCluster extends Context.Service<RedisCluster, Cluster>()("@relive/cluster/RedisCluster") {}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

const provide = (cluster: Cluster) =>
  Context.make(RedisService, cluster.service).pipe(Context.add(RedisCluster, cluster))

/**
 * A running cluster, for as long as the scope is open.
 *
 * It connects in the background, unless `start: "await"` says to wait for its map and one of its nodes: then it fails with why
 * that could not be had. Calls wait for both within their deadlines.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<Cluster, RedisError, Scope.Scope> = tree.open

/**
 * A cluster as a layer: `RedisService`, so that programs find it as they find one connection, and `RedisCluster`.
 *
 * Call it once and share the layer: each call makes a cluster of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<RedisService | RedisCluster, RedisError> =>
  Layer.effectContext(Effect.map(make(options), provide))

/**
 * The same with options from `Config`. Without any they are those of the environment: `REDIS_CLUSTER_NODES` (URLs or
 * `host:port`, separated by commas), `REDIS_CLUSTER_READ_FROM`, and those of a connection (`REDIS_TIMEOUT` …) but `REDIS_URL`,
 * `REDIS_HOST` and `REDIS_PORT`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<Options>
): Layer.Layer<RedisService | RedisCluster, RedisError | Config.ConfigError> =>
  Layer.effectContext(
    Effect.flatMap(config === undefined ? clusterOptionsConfig : Config.unwrap(config), (options) =>
      Effect.map(make(options), provide)
    )
  )

/**
 * A cluster under a tag of your own (`Redis.Tag`), beside others.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFor = <Self>(tag: Context.Key<Self, Service>, options: Options): Layer.Layer<Self, RedisError> =>
  Layer.effect(
    tag,
    Effect.map(make(options), (cluster) => cluster.service)
  )

// -----------------------------------------------------------------------------
// Supervision
// -----------------------------------------------------------------------------

/**
 * Options of `childSpec`: those of the cluster, its `id` among the children (default `redis-cluster`), and `register`, the
 * name (`Redis.Name`) under which its service is found by `Redis.named`, and itself by `find`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildSpecOptions extends Options {
  readonly id?: string | undefined
  readonly register?: Registry.Name<Service> | undefined
  readonly restart?: ChildSpec.Restart | undefined
  readonly shutdown?: Duration.Input | "brutalKill" | "infinity" | undefined
}

/**
 * A cluster in a tree of yours: a supervisor of its nodes' supervisors.
 *
 * @category supervision
 * @since 0.1.0
 */
export const childSpec: (options: ChildSpecOptions) => ChildSpec.ChildSpec<Cluster, Registry.Registry> = tree.childSpec

/**
 * The running cluster that was registered under this name; `undefined` when there is none now.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (name: Registry.Name<Service>): Effect.Effect<Cluster | undefined, never, Registry.Registry> =>
  Effect.map(Registry.Registry, (registry) => Registry.lookupUnsafe(registry, clusterName(name)))

// -----------------------------------------------------------------------------
// Calls
// -----------------------------------------------------------------------------

/**
 * The present status of the cluster, shard by shard.
 *
 * @category accessors
 * @since 0.1.0
 */
export const status: Effect.Effect<ClusterStatus, never, RedisCluster> = Effect.flatMap(
  RedisCluster,
  (cluster) => cluster.status
)

/**
 * The events of the cluster from now on. A slow reader misses the oldest events (256 are kept).
 *
 * @category accessors
 * @since 0.1.0
 */
export const events: Stream.Stream<ClusterEvent, never, RedisCluster> = Stream.unwrap(
  Effect.map(RedisCluster, (cluster) => cluster.events)
)

/**
 * All keys of the cluster, as `Redis.scan` gives them: each key that exists from the beginning to the end comes at least once,
 * also when its slot moves, stays open, or its node fails over meanwhile. A key can come more than once.
 *
 * It asks for 250 keys a page unless `count` says so. It fails with `ClusterError` when it comes no further within `timeout`:
 * then no node serves the slots that the error names. The keys of all others have come by then. Each page is a transaction of
 * `CLUSTER NODES` and `SCAN`, both of which the user of an ACL must be allowed.
 *
 * @category streams
 * @since 0.1.0
 */
export const scan = (options: Redis.ScanOptions = {}): Stream.Stream<string | Uint8Array, RedisError, RedisCluster> =>
  Stream.unwrap(Effect.map(RedisCluster, ({ service }) => service.scan?.(options) ?? Stream.empty))

/**
 * A lease on the node that has this key. When its slot moves, its commands fail with `ClusterError`, kind `moving`: acquire
 * another one.
 *
 * @category calls
 * @since 0.1.0
 */
export const leaseFor = (key: Resp.Argument): Effect.Effect<Service, RedisError, RedisCluster | Scope.Scope> =>
  Effect.flatMap(RedisCluster, ({ service }) => service.lease({ route: key }))

/**
 * A service that speaks with one node alone, by its id or its address: for `INFO`, `CONFIG`, and other things of one server.
 *
 * @category calls
 * @since 0.1.0
 */
export const onNode = (node: string): Effect.Effect<Service, RedisError, RedisCluster> =>
  Effect.flatMap(RedisCluster, (cluster) => cluster.onNode(node))

/**
 * One command to every primary: the replies by node id.
 *
 * @category calls
 * @since 0.1.0
 */
export const onEveryPrimary = (
  command: Resp.Command,
  options?: CallOptions
): Effect.Effect<ReadonlyMap<string, PipelineReply>, RedisError, RedisCluster> =>
  Effect.flatMap(RedisCluster, (cluster) => cluster.onEveryPrimary(command, options))

/**
 * The hash slot of a key, see `ClusterTopology.slotOf`.
 *
 * @category getters
 * @since 0.1.0
 */
export const slotOf: (key: Resp.Argument) => number = slots.slotOf
