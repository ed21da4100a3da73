/**
 * A pool: several supervised connections to one server behind the same `RedisService` that one connection provides.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { RedisPool } from "@relive/pool"
 * import { Effect } from "effect"
 *
 * const program = Redis.command(["PING"]).pipe(Effect.provide(RedisPool.layer({ size: 5 })))
 * ```
 *
 * One connection already serves any number of fibers at once. A pool is for what one socket cannot do: large values that
 * hold up small ones behind them, a connection that fails while others go on, a server with threads for its input and output.
 * Commands that block, and leases, need no pool: they have connections of their own, with one bound for the whole pool.
 *
 * The members are children of a one-for-one supervisor. Each call goes whole to one member, chosen by the `strategy` when it
 * is submitted; members that are not ready are passed over while any is. When a member goes down, its calls that were not
 * written move to a member that is ready (after `moveAfter`, in their order, with their deadlines), its reads that were
 * are repeated, and its written writes fail with `delivery: "unknown"`. When all are down, calls wait or fail, as `whenDown`
 * says.
 *
 * **Order:** the calls of one fiber that waits for each reply run in their order. Between calls that are under way at the
 * same time there is none, since they may go to different members; use a pipeline or a transaction, or the strategy `hash`,
 * which sends calls with the same `route` or key to the same member.
 *
 * It follows the pool of names in "Real-world usage" of Redix, and settles what is said there to be its limits.
 *
 * @since 0.1.0
 */
import type { RedisError } from "@relive/core/RedisError"
import type * as RedisOptions from "@relive/core/RedisOptions"
import { RedisService } from "@relive/core/RedisService"
import type { CallOptions, ConnectionState, Service, Status } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import type { LeaseCounts } from "@relive/core/RedisConnection"
import type * as ChildSpec from "@relive/otp/ChildSpec"
import * as Registry from "@relive/otp/Registry"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as names from "./internal/names.ts"
import { poolOptionsConfig } from "./internal/poolOptions.ts"
import * as poolTree from "./internal/poolTree.ts"
import * as internal from "./internal/typeId.ts"

/**
 * The identity of {@link Pool} values.
 *
 * @category type ids
 * @since 0.1.0
 */
export const TypeId: "~@relive/pool/RedisPool" = internal.TypeId

/**
 * A member, live: its fields say what is now, each time they are read.
 *
 * `index` is its place, from 0. `queued` and `inFlight` count commands: not written yet; written and without a reply yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  readonly index: number
  readonly state: ConnectionState
  readonly queued: number
  readonly inFlight: number
}

/**
 * A strategy of your own: returns one of `members`, which are those that are ready, or, when none is, those that take calls
 * in. There is always at least one. `command` is the call's first command, `options` are the call's.
 *
 * It runs for every call, synchronously: it must be quick and must run no effects. When it returns anything else, or throws,
 * that call fails with a `RedisArgumentError`; nothing was sent and nobody else notices.
 *
 * @category models
 * @since 0.1.0
 */
export type Choose = (members: ReadonlyArray<Member>, command: Resp.Command, options: CallOptions | undefined) => Member

/**
 * How the member of a call is chosen among those that are ready.
 *
 * - `"leastInFlight"`: the one with the fewest commands queued and in flight; equal ones in turn
 * - `"roundRobin"`: each in turn
 * - `"random"`: any, by Effect's `Random`
 * - `"hash"`: the same one for the same `route` of the call, or else the same first key (of a pipeline or a transaction: the
 *   first key in it). The keys of a member that is not ready are spread over the others until it is. A call without a
 *   key goes where the least is under way.
 * - a function, see {@link Choose}
 *
 * @category models
 * @since 0.1.0
 */
export type Strategy = "leastInFlight" | "roundRobin" | "random" | "hash" | Choose

/**
 * The options of a pool, beside those of its connections (`RedisOptions.Options`), which all members share.
 *
 * `start: "await"` waits for the first member that is ready, and fails when no member could be. `leases` is for the whole
 * pool; the bounds of the mailbox and of what is in flight are for each member.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends RedisOptions.Options {
  /** How many connections, from 1 to 10 000. Default 5. */
  readonly size?: number | undefined
  /** How the member of a call is chosen. Default `"leastInFlight"`. */
  readonly strategy?: Strategy | undefined
  /** For how long a member must be down before its unsent calls move to others. Default 50 ms. */
  readonly moveAfter?: Duration.Input | undefined
  /**
   * Spreads reconnections: each dial is delayed by a random part of this time for every other member that is down. 0 turns it
   * off. Default 10 ms.
   */
  readonly stagger?: Duration.Input | undefined
}

/**
 * The input of the constructors: options, or the URL of the server.
 *
 * @category models
 * @since 0.1.0
 */
export type Input = string | URL | Redacted.Redacted<string> | Options

/**
 * The present status of a member. A member that is between two instances is `closed`.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemberStatus extends Status {
  readonly index: number
}

/**
 * The present status of a pool.
 *
 * The fields of `Status` are those of the pool as a whole: `state` is the best of its members' states, the counts are sums,
 * and `lastError` says why none is ready, while none is.
 *
 * - `size`, `ready`: how many members there are, and are ready
 * - `waiting`: commands that wait because there is no member at all (all are being restarted)
 * - `leases`: connections of their own that are out, are kept idle, and callers that wait for one
 * - `moved`: how many commands have been moved from one member to another so far
 *
 * @category models
 * @since 0.1.0
 */
export interface PoolStatus extends Status {
  readonly size: number
  readonly ready: number
  readonly members: ReadonlyArray<MemberStatus>
  readonly waiting: number
  readonly leases: LeaseCounts
  readonly moved: number
}

/**
 * An event in a pool.
 *
 * - `MemberChanged`: a member's state has changed; `cause` says why a session ended
 * - `CallsMoved`: unsent commands were moved; `undefined` stands for the place where calls wait while there is no member
 *
 * @category models
 * @since 0.1.0
 */
export type PoolEvent =
  | {
      readonly _tag: "MemberChanged"
      readonly index: number
      readonly previous: ConnectionState
      readonly state: ConnectionState
      readonly cause: RedisError | undefined
    }
  | {
      readonly _tag: "CallsMoved"
      readonly from: number | undefined
      readonly to: number | undefined
      readonly commands: number
    }

/**
 * A running pool.
 *
 * - `service`: what programs use, as `RedisService` or under a tag of your own
 * - `status`, `events`: what its members are doing, and what happens from now on. A slow reader misses the oldest events (256
 *   are kept). `Redis.status` and `Redis.events` show the pool as if it was one connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pool {
  readonly [TypeId]: typeof TypeId
  readonly service: Service
  readonly size: number
  readonly status: Effect.Effect<PoolStatus>
  readonly events: Stream.Stream<PoolEvent>
}

/**
 * The tag of the pool that `layer` and `layerConfig` provide beside the `RedisService`, for those who want to look inside.
 *
 * @category services
 * @since 0.1.0
 */
export class RedisPool extends Context.Service<RedisPool, Pool>()("@relive/pool/RedisPool") {}

/**
 * Starts a pool that closes with the scope: what the layers are made of, for what they do not offer.
 *
 * Fails with a `RedisArgumentError` when an option is wrong, and, with `start: "await"`, with the error of a member when none
 * could connect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Input = {}): Effect.Effect<Pool, RedisError, Scope.Scope> => poolTree.open(options)

const both = <E, R>(pool: Effect.Effect<Pool, E, R>) =>
  Effect.map(pool, (made) => Context.make(RedisPool, made).pipe(Context.add(RedisService, made.service)))

const fromConfig = (config: Config.Wrap<Options> | undefined): Effect.Effect<Options, Config.ConfigError> =>
  config === undefined ? poolOptionsConfig : Config.unwrap(config)

/**
 * A pool as a layer, from options or a URL; without any, five connections to `redis://127.0.0.1:6379`.
 *
 * Building it does not wait for the server unless `start: "await"` says so. Releasing it closes all members within one
 * `closeTimeout`. Share the layer value: each call of this function makes another pool.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Input = {}): Layer.Layer<RedisService | RedisPool, RedisError> =>
  Layer.effectContext(both(make(options)))

/**
 * Like `layer`, with options from `Config`: each option may be a `Config`, or the whole record.
 *
 * Without an argument it reads what `Redis.layerConfig` reads, and `REDIS_POOL_SIZE`, `REDIS_POOL_STRATEGY`,
 * `REDIS_POOL_MOVE_AFTER` and `REDIS_POOL_STAGGER`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<Options>
): Layer.Layer<RedisService | RedisPool, RedisError | Config.ConfigError> =>
  Layer.effectContext(both(Effect.flatMap(fromConfig(config), make)))

/**
 * A pool as a service of your own, such as one made by `Redis.Tag`:
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { RedisPool } from "@relive/pool"
 *
 * class Bulk extends Redis.Tag<Bulk>()("app/Bulk") {}
 *
 * const BulkLive = RedisPool.layerFor(Bulk, { size: 3, timeout: "1 minute" })
 * ```
 *
 * To look inside such a pool, make it with `make`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFor = <Self>(tag: Context.Key<Self, Service>, options: Input = {}): Layer.Layer<Self, RedisError> =>
  Layer.effect(
    tag,
    Effect.map(make(options), ({ service }) => service)
  )

/**
 * Like `layerFor`, with options from `Config` as in `layerConfig`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfigFor = <Self>(
  tag: Context.Key<Self, Service>,
  config?: Config.Wrap<Options>
): Layer.Layer<Self, RedisError | Config.ConfigError> =>
  Layer.effect(
    tag,
    Effect.map(Effect.flatMap(fromConfig(config), make), ({ service }) => service)
  )

/**
 * Options of `childSpec`: those of a pool, and those of a child.
 *
 * - `id`: of the child, unique among its siblings (default `"redis-pool"`)
 * - `register`: the name of the pool, under which programs find its service with `Redis.named` and `Redis.layerNamed`; each
 *   member then has the name {@link memberName}, and {@link find} finds the pool itself
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
 * A pool as a child of your own supervisor: itself a supervisor, one for one, of its members. Its `info` is the pool.
 *
 * A member that crashes is restarted alone. More than three crashes per member within ten seconds end the pool, and your
 * supervisor decides; a lost socket is no crash and is never counted.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Supervisor } from "@relive/otp"
 * import { RedisPool } from "@relive/pool"
 * import { Effect, Layer } from "effect"
 *
 * const cache = Redis.Name("cache")
 * const tree = Supervisor.make({ children: [RedisPool.childSpec({ register: cache, size: 5 })] })
 *
 * const program = Redis.command(["PING"]).pipe(
 *   Effect.provide(Layer.provide(Redis.layerNamed(cache), Supervisor.layer(tree)))
 * )
 * ```
 *
 * @category supervision
 * @since 0.1.0
 */
export const childSpec = (options: ChildSpecOptions = {}): ChildSpec.ChildSpec<Pool, Registry.Registry> =>
  poolTree.childSpec(options)

/**
 * The name of one member of the pool that is registered as `pool`, from 0: for `Redis.named`, or for a choice that is not of
 * the pool but of the program. Calls that are made so are moved too when the member is down.
 *
 * @category names
 * @since 0.1.0
 */
export const memberName = (pool: Registry.Name<Service>, index: number): Registry.Name<Service> =>
  names.memberName(pool, index)

/**
 * The pool that is registered under a name now, to look inside; `None` while there is none.
 *
 * @category names
 * @since 0.1.0
 */
export const find = (name: Registry.Name<Service>): Effect.Effect<Option.Option<Pool>, never, Registry.Registry> =>
  Registry.lookup(names.poolName(name))

/**
 * The present status of the pool of the context: members, states, in flight, leases, waiters.
 *
 * @category accessors
 * @since 0.1.0
 */
export const status: Effect.Effect<PoolStatus, never, RedisPool> = Effect.flatMap(RedisPool, (pool) => pool.status)

/**
 * The events of the pool of the context from now on.
 *
 * @category accessors
 * @since 0.1.0
 */
export const events: Stream.Stream<PoolEvent, never, RedisPool> = Stream.unwrap(
  Effect.map(RedisPool, (pool) => pool.events)
)
