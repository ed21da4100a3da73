/**
 * The service that every provider of Redis implements: one connection, a pool of them, later a cluster. Programs ask for
 * it through the functions of `Redis` and do not know which one it is.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ClusterError, ConnectionError, RedisError, TimeoutError } from "./RedisError.ts"
import type { Subscribe } from "./RedisPubSub.ts"
import type { ScanOptions } from "./Redis.ts"
import type * as Resp from "./Resp.ts"

/**
 * Further attempts of a call that failed, within its one deadline.
 *
 * @category models
 * @since 0.1.0
 */
export interface RetryOptions {
  /**
   * The failures that are tried again.
   *
   * - `"unsent"`: what cannot have run (it was never written, or the server said that it may come back later)
   * - `"readOnly"`: also a read-only command that may have run
   * - `"any"`: also whatever else may have run: **the caller declares that running it twice does no harm**
   */
  readonly for: "unsent" | "readOnly" | "any"
  /** When, and how often: default after 50 ms, doubled, at most a second apart, until the deadline. */
  readonly schedule?: Schedule.Schedule<unknown, RedisError> | undefined
}

/**
 * The options of a call.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  /** Its deadline, from the call to its reply (default: the connection's, 5 s); `"infinite"` for none. */
  readonly timeout?: Duration.Input | "infinite" | undefined
  /** `"bytes"` gives bulk strings as `Uint8Array` (and maps and sets as arrays). Default `"text"`. */
  readonly decode?: "text" | "bytes" | undefined
  /**
   * `false`: a read-only command is not written again when its session died before the reply. Or what else may be tried again,
   * such as `{ for: "any" }` for a write that may run twice.
   */
  readonly retry?: false | RetryOptions | undefined
  /**
   * The key by which a pool with the strategy `hash` chooses the member, and a cluster the node of a command without keys.
   * Default: the command's first key.
   */
  readonly route?: string | undefined
  /**
   * In a cluster, whether a read may be served by a replica, instead of what the cluster's option of this name says. One
   * connection, and a pool, have one server and ignore it.
   */
  readonly readFrom?: "primary" | "replica" | "preferReplica" | undefined
}

/**
 * The options of a lease.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseOptions {
  /** How long to wait for it at most (default: the connection's `timeout`); `"infinite"` for no limit. */
  readonly timeout?: Duration.Input | "infinite" | undefined
  /** In a cluster, the key whose node the lease is on. One connection, and a pool, have one server and ignore it. */
  readonly route?: Resp.Argument | undefined
}

/**
 * An element of a pipeline's result: the reply of its command, which may be the server's error, or why the reply could
 * not be delivered. Over several servers (a cluster) a part of a pipeline may be lost while others get their replies: then the
 * elements of that part are what one connection fails the whole pipeline with.
 *
 * @category models
 * @since 0.1.0
 */
export type PipelineReply =
  | Resp.Reply
  | Resp.DecodeError
  | Resp.ReplyLimitError
  | ConnectionError
  | TimeoutError
  | ClusterError

/**
 * The states of a connection.
 *
 * - `connecting`: dialling; `handshaking`: connected, not ready for commands
 * - `ready`: commands are written as they come
 * - `backoff`: the session has ended, the next one is dialled after a delay
 * - `failed`: the server refused us and will again (wrong password …); dialled again from time to time
 * - `draining`: closing, calls under way may finish; `closed`: ended for good
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectionState = "connecting" | "handshaking" | "ready" | "backoff" | "failed" | "draining" | "closed"

/**
 * The present status of a connection.
 *
 * `protocol` is the RESP version, once known; `sessions` counts the sessions so far; `queued` and `inFlight` count commands
 * (not written yet; written and without a reply yet); `repeated` counts the read-only commands that were given back, to be
 * written again, when a session died before their replies; `lastError` says why there is no session, while there is none. Leases
 * are connections beside it and not counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  readonly state: ConnectionState
  readonly address: string
  readonly protocol: 2 | 3 | undefined
  readonly sessions: number
  readonly queued: number
  readonly queuedBytes: number
  readonly inFlight: number
  readonly inFlightBytes: number
  readonly repeated: number
  readonly lastError: RedisError | undefined
  readonly sentinel?: SentinelStatus | undefined
}

/**
 * The status of a place where there is no connection: all counts are 0. For providers of a `Service` of their own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const emptyStatus = (state: ConnectionState, address: string): Status => ({
  state,
  address,
  protocol: undefined,
  sessions: 0,
  queued: 0,
  queuedBytes: 0,
  inFlight: 0,
  inFlightBytes: 0,
  repeated: 0,
  lastError: undefined
})

/**
 * The group that Sentinels watch, as a connection knows it: its name, the role that is sought, and the last change of its
 * primary that was noticed: from where, to where, and by which Sentinel.
 *
 * @category models
 * @since 0.1.0
 */
export interface SentinelStatus {
  readonly group: string
  readonly role: "primary" | "replica" | "preferReplica"
  readonly lastSwitch: { readonly from: string; readonly to: string; readonly by: string } | undefined
}

/**
 * One change of a connection's state; `cause` says why a session ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface StatusChange {
  readonly previous: ConnectionState
  readonly state: ConnectionState
  readonly cause: RedisError | undefined
  readonly sessions: number
}

/**
 * The interface of a provider of Redis. Use the functions of `Redis` instead of calling it directly: they take it from the
 * context, and add what is common to all providers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Service {
  /** One command, one reply. A server's error is a failure. */
  readonly command: (command: Resp.Command, options?: CallOptions) => Effect.Effect<Resp.Reply, RedisError>
  /** Several commands as one entry, all replies. Only a failure of the connection fails it. */
  readonly pipeline: (
    commands: ReadonlyArray<Resp.Command>,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError>
  /** `MULTI`, the commands, `EXEC`, as one entry: the elements of EXEC's reply. */
  readonly transaction: (
    commands: ReadonlyArray<Resp.Command>,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError>
  /** Commands without replies: `CLIENT REPLY OFF`, the commands, `CLIENT REPLY ON`, as one entry. */
  readonly noreply: (commands: ReadonlyArray<Resp.Command>, options?: CallOptions) => Effect.Effect<void, RedisError>
  /** A connection that nobody else uses, until the scope closes. */
  readonly lease: (options?: LeaseOptions) => Effect.Effect<Service, RedisError, Scope.Scope>
  /** Walks the keys of several servers, where `SCAN` on one of them would not be all. Absent for one server. */
  readonly scan?: ((options: ScanOptions) => Stream.Stream<string | Uint8Array, RedisError>) | undefined
  /** Subscribes, on a connection beside this one that all subscriptions share. */
  readonly subscribe: Subscribe
  /** The deadline of calls that do not say their own, in milliseconds. */
  readonly timeoutMillis: number
  /** The present status. */
  readonly status: Effect.Effect<Status>
  /** Its changes of state from now on. Ends when it is closed. */
  readonly events: Stream.Stream<StatusChange>
}

/**
 * The tag of the service.
 *
 * @category services
 * @since 0.1.0
 */
export class RedisService extends Context.Service<RedisService, Service>()("@relive/core/RedisService") {}
