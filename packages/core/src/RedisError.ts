/**
 * The one error of Relive: `RedisError`, which carries a `reason`.
 *
 * The reason says what happened, and for everything that has to do with the connection also whether the command can have
 * run: `delivery: "unsent"` (it never reached the socket, so it did not) or `"unknown"` (it was handed to the socket, so it
 * may have). Handle it by reason:
 *
 * ```ts
 * import { Redis, type RedisError } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const program = Redis.command(["INCR", "visits"]).pipe(
 *   Effect.catchReason("RedisError", "TimeoutError", (reason) =>
 *     reason.delivery === "unsent" ? Effect.succeed(0) : Effect.fail("perhaps counted")
 *   )
 * )
 * ```
 *
 * No error holds an argument, a password or any other secret.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { showsMessage } from "./internal/inspect.ts"
import * as Resp from "./Resp.ts"

const TypeId = "~@relive/core/RedisError"

/**
 * Can the command have run? `"unsent"`: no, it never reached the socket. `"unknown"`: it was handed to the socket and its
 * reply did not come.
 *
 * @category models
 * @since 0.1.0
 */
export type Delivery = "unsent" | "unknown"

const Delivery = Schema.Literals(["unsent", "unknown"])

/**
 * Why a connection could not be used.
 *
 * - `connect`: the dial failed (refused, unreachable, no such host, timed out)
 * - `handshake`: connected, but the server refused us and will again (wrong password, no such database, not a Redis)
 * - `disconnected`: the session ended while the command was queued (and `whenDown` is `"fail"`) or on the wire
 * - `health-check`: the session was ended because the server said nothing for too long
 * - `protocol`: the session was ended because of a byte outside the protocol, or a reply nobody waited for
 * - `mailbox-full`: too much is queued, and `whenFull` is `"fail"`
 * - `shutdown`: the connection is closing or closed
 * - `closed`: the lease or connection that was used has ended for good
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectionErrorKind =
  | "closed"
  | "disconnected"
  | "health-check"
  | "connect"
  | "handshake"
  | "protocol"
  | "mailbox-full"
  | "shutdown"

/**
 * The connection failed the command. `delivery` says whether it can have run, `received` how many replies of a pipeline
 * came before the session ended, `address` where the server is, `cause` what was underneath.
 *
 * The commands that fail together share one error object.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConnectionError extends Schema.TaggedError<ConnectionError>()("ConnectionError", {
  kind: Schema.Literals([
    "closed",
    "disconnected",
    "health-check",
    "connect",
    "handshake",
    "protocol",
    "mailbox-full",
    "shutdown"
  ]),
  delivery: Delivery,
  address: Schema.String,
  detail: Schema.String,
  received: Schema.optional(Schema.Number),
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    const ran =
      this.delivery === "unsent"
        ? "the command was not sent"
        : this.received === undefined
          ? "the command may have run"
          : `${this.received} replies had come, the rest may have run`
    return `Redis at ${this.address}: ${this.detail} (${this.kind}; ${ran})`
  }

  /** An unsent command cannot run twice; unless the server will refuse us again, or we are closing, another try may succeed. */
  get isRetryable(): boolean {
    return this.delivery === "unsent" && this.kind !== "shutdown" && this.kind !== "closed" && this.kind !== "handshake"
  }
}

/**
 * The call's deadline passed: while it was still queued (`phase: "queued"`, `delivery: "unsent"`: it will never be sent) or
 * after it was handed to the socket (`"written"`, `"unknown"`: its reply, should it still come, is dropped). `lastFailure` says why
 * there was no session, when there was none.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimeoutError extends Schema.TaggedError<TimeoutError>()("TimeoutError", {
  phase: Schema.Literals(["queued", "written"]),
  delivery: Delivery,
  command: Schema.String,
  timeoutMillis: Schema.Number,
  lastFailure: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const after = `within ${Math.round(this.timeoutMillis)} ms`
    if (this.phase === "queued" && this.delivery === "unsent" && this.lastFailure !== undefined) {
      return `${this.command} could not be sent ${after}: no session was ready. The last failure: ${this.lastFailure}. It has not run and will not`
    }
    if (this.phase === "queued" && this.delivery === "unknown") {
      return `${this.command} was sent once, its connection was lost, and no other was ready ${after}. It may have run`
    }
    return this.phase === "queued"
      ? `${this.command} could not be sent ${after}: no session was ready, or the ones before it were not answered. It has not run and will not`
      : `${this.command} was not answered ${after}. It may have run; pass a longer \`timeout\` if the server needs one`
  }

  get isRetryable(): boolean {
    return this.delivery === "unsent"
  }
}

/**
 * The call itself is wrong, and nothing was sent: an argument of the wrong type, an empty command, an unknown option, a
 * command that must not be sent on a shared connection. The message says what to do instead. No value is shown.
 *
 * @category errors
 * @since 0.1.0
 */
export class RedisArgumentError extends Schema.TaggedError<RedisArgumentError>()("RedisArgumentError", {
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }

  get isRetryable(): boolean {
    return false
  }
}

/**
 * The server discarded a transaction, so nothing of it ran. `queueErrors` holds what the server said to the commands that it
 * refused to queue, with the index of each in the transaction; `detail` what it said to `EXEC`.
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionAborted extends Schema.TaggedError<TransactionAborted>()("TransactionAborted", {
  detail: Schema.String,
  queueErrors: Schema.Array(Schema.Struct({ index: Schema.Number, code: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    const first = this.queueErrors[0]
    const why = first === undefined ? "" : `; command ${first.index} (counted from 0): ${first.message}`
    return `The transaction was discarded, nothing of it ran: ${this.detail}${why}`
  }

  get isRetryable(): boolean {
    return false
  }
}

/**
 * A watched key was changed before `EXEC`, so nothing of the transaction ran.
 *
 * @category errors
 * @since 0.1.0
 */
export class WatchConflict extends Schema.TaggedError<WatchConflict>()("WatchConflict", {}) {
  override get message(): string {
    return "A watched key was changed before EXEC; nothing of the transaction ran"
  }

  get isRetryable(): boolean {
    return true
  }
}

/**
 * No connection could be leased before the call's deadline: all `out` are in use, the oldest of them for `oldest`
 * milliseconds.
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseTimeout extends Schema.TaggedError<LeaseTimeout>()("LeaseTimeout", {
  out: Schema.Number,
  oldest: Schema.Number
}) {
  override get message(): string {
    return `No connection could be leased in time: ${this.out} are out, the oldest for ${Math.round(this.oldest)} ms; raise \`leases\` or shorten their use`
  }

  get isRetryable(): boolean {
    return true
  }
}

/**
 * Why a cluster did not run a command in time, or could not place it.
 *
 * - `moving`: its slot was on the move: servers named one another (`MOVED`, `ASK`), or asked to wait (`TRYAGAIN`)
 * - `down`: the cluster, or the slot's node, served nothing (`CLUSTERDOWN`, `LOADING`, `MASTERDOWN`, `READONLY`)
 * - `uncovered`: no node has the slot
 * - `no-replica`: the call asked for a replica, and the slot has none that can be read from
 * - `unknown-node`: no node of the cluster has this id or address
 *
 * @category models
 * @since 0.1.0
 */
export type ClusterErrorKind = "moving" | "down" | "uncovered" | "no-replica" | "unknown-node"

/**
 * A cluster could not run the command. Each server that was asked refused it, so it has not run: `delivery` is `"unsent"`.
 * `slot` is the hash slot it is placed by (-1 when it has none), `hops` how often it was refused, `last` what a server
 * said last.
 *
 * @category errors
 * @since 0.1.0
 */
export class ClusterError extends Schema.TaggedError<ClusterError>()("ClusterError", {
  kind: Schema.Literals(["moving", "down", "uncovered", "no-replica", "unknown-node"]),
  delivery: Schema.Literal("unsent"),
  slot: Schema.Number,
  hops: Schema.Number,
  command: Schema.String,
  last: Schema.optional(Schema.String),
  detail: Schema.String
}) {
  override get message(): string {
    const slot = this.slot < 0 ? "" : ` (slot ${this.slot})`
    const last = this.last === undefined ? "" : `; ${this.hops} refusals, the last: ${this.last}`
    return `${this.command}${slot}: ${this.detail}${last}. It has not run`
  }

  get isRetryable(): boolean {
    return this.kind !== "unknown-node"
  }
}

/**
 * A subscriber was slower than what was published: its buffer was full, and its `whenFull` is `"fail"`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SubscriberOverflow extends Schema.TaggedError<SubscriberOverflow>()("SubscriberOverflow", {
  bufferMessages: Schema.Number,
  bufferBytes: Schema.Number
}) {
  override get message(): string {
    return `The subscriber was too slow: its buffer (${this.bufferMessages} messages, ${this.bufferBytes} bytes) was full; raise \`bufferMessages\` or \`bufferBytes\`, or choose another \`whenFull\``
  }

  get isRetryable(): boolean {
    return false
  }
}

/**
 * The reasons of a `RedisError`.
 *
 * @category models
 * @since 0.1.0
 */
export type Reason =
  | Resp.ReplyError
  | ConnectionError
  | TimeoutError
  | RedisArgumentError
  | TransactionAborted
  | WatchConflict
  | Resp.DecodeError
  | Resp.ReplyLimitError
  | LeaseTimeout
  | ClusterError
  | SubscriberOverflow

/**
 * Every failure of Relive. `reason` says what happened, `message` what a person can do about it, and `isRetryable` whether
 * the same call may be made again: it cannot run twice by that, and it may succeed.
 *
 * @category errors
 * @since 0.1.0
 */
export class RedisError extends Schema.TaggedError<RedisError>()("RedisError", {
  reason: Schema.Union([
    Schema.instanceOf(Resp.ReplyError),
    ConnectionError,
    TimeoutError,
    RedisArgumentError,
    TransactionAborted,
    WatchConflict,
    Schema.instanceOf(Resp.DecodeError),
    Schema.instanceOf(Resp.ReplyLimitError),
    LeaseTimeout,
    ClusterError,
    SubscriberOverflow
  ])
}) {
  readonly [TypeId] = TypeId

  static readonly ConnectionError = ConnectionError
  static readonly TimeoutError = TimeoutError
  static readonly RedisArgumentError = RedisArgumentError
  static readonly TransactionAborted = TransactionAborted
  static readonly WatchConflict = WatchConflict
  static readonly LeaseTimeout = LeaseTimeout
  static readonly ClusterError = ClusterError
  static readonly SubscriberOverflow = SubscriberOverflow
  static readonly isRedisError = (u: unknown): u is RedisError => Predicate.hasProperty(u, TypeId)

  /** Itself, for those who have imported the module. */
  static get RedisError(): typeof RedisError {
    return RedisError
  }

  override get message(): string {
    return this.reason.message
  }

  /** The underlying cause, where it says more than the reason: the socket's error, the server's reply. */
  override get cause(): unknown {
    if (this.reason instanceof ConnectionError) return this.reason.cause
    return this.reason instanceof Resp.ReplyError ? this.reason : undefined
  }

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  /**
   * Can the command have run? `"unsent"`: no. `"unknown"`: its reply did not come, or it ran outside of what should have
   * enclosed it. `undefined`: the reply came, and says more than this (or nothing was to be sent).
   */
  get delivery(): Delivery | undefined {
    return "delivery" in this.reason ? this.reason.delivery : undefined
  }
}

// The names of the namespace's members outside of it.
type Kinds = {
  readonly ConnectionError: ConnectionError
  readonly TimeoutError: TimeoutError
  readonly RedisArgumentError: RedisArgumentError
  readonly TransactionAborted: TransactionAborted
  readonly WatchConflict: WatchConflict
  readonly LeaseTimeout: LeaseTimeout
  readonly ClusterError: ClusterError
  readonly SubscriberOverflow: SubscriberOverflow
  readonly RedisError: RedisError
  readonly Reason: Reason
  readonly Delivery: Delivery
  readonly ConnectionErrorKind: ConnectionErrorKind
  readonly ClusterErrorKind: ClusterErrorKind
}

/**
 * The types that go with `RedisError`: its reasons, and what they are made of.
 *
 * @category models
 * @since 0.1.0
 */
export declare namespace RedisError {
  /** See the module `@relive/core/RedisError`. */
  export type ConnectionError = Kinds["ConnectionError"]
  /** See the module `@relive/core/RedisError`. */
  export type TimeoutError = Kinds["TimeoutError"]
  /** See the module `@relive/core/RedisError`. */
  export type RedisArgumentError = Kinds["RedisArgumentError"]
  /** See the module `@relive/core/RedisError`. */
  export type TransactionAborted = Kinds["TransactionAborted"]
  /** See the module `@relive/core/RedisError`. */
  export type WatchConflict = Kinds["WatchConflict"]
  /** See the module `@relive/core/RedisError`. */
  export type LeaseTimeout = Kinds["LeaseTimeout"]
  /** See the module `@relive/core/RedisError`. */
  export type ClusterError = Kinds["ClusterError"]
  /** See the module `@relive/core/RedisError`. */
  export type SubscriberOverflow = Kinds["SubscriberOverflow"]
  /** Itself, for those who have imported the module. */
  export type RedisError = Kinds["RedisError"]
  /** See the module `@relive/core/RedisError`. */
  export type Reason = Kinds["Reason"]
  /** See the module `@relive/core/RedisError`. */
  export type Delivery = Kinds["Delivery"]
  /** See the module `@relive/core/RedisError`. */
  export type ConnectionErrorKind = Kinds["ConnectionErrorKind"]
  /** See the module `@relive/core/RedisError`. */
  export type ClusterErrorKind = Kinds["ClusterErrorKind"]
}

/**
 * Whether this is a `RedisError`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRedisError = RedisError.isRedisError

for (const each of [
  ConnectionError,
  TimeoutError,
  RedisArgumentError,
  TransactionAborted,
  WatchConflict,
  LeaseTimeout,
  ClusterError,
  SubscriberOverflow,
  RedisError
]) {
  showsMessage(each)
}
