/**
 * The service that every provider of Redis implements: one connection, a pool of them, later a cluster. Programs ask for
 * it through the functions of `Redis` and do not know which one it is.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { RedisError } from "./RedisError.ts"
import type * as Resp from "./Resp.ts"

/**
 * What a call may say about itself.
 *
 * - `timeout`: its deadline, from the call to its reply (default: the connection's); `"infinite"` for none
 * - `decode`: `"bytes"` gives bulk strings as `Uint8Array` (and maps and sets as arrays); default `"text"`
 * - `retry: false`: a read-only command is not written again when its session died before the reply
 * - `route`: what a pool with the strategy `hash` chooses the member by; default the command's first key
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  readonly timeout?: Duration.Input | "infinite" | undefined
  readonly decode?: "text" | "bytes" | undefined
  readonly retry?: false | undefined
  readonly route?: string | undefined
}

/**
 * An element of a pipeline's result: the reply of its command, which may be the server's error, or why the reply could
 * not be delivered.
 *
 * @category models
 * @since 0.1.0
 */
export type PipelineReply = Resp.Reply | Resp.DecodeError | Resp.ReplyLimitError

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
 * What a connection is doing now.
 *
 * `protocol` is the RESP version, once known; `sessions` counts the sessions so far; `queued` and `inFlight` count commands
 * (not written yet; written and not answered yet); `lastError` says why there is no session, while there is none.
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
  readonly lastError: RedisError | undefined
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
 * What a provider of Redis can do. Use the functions of `Redis` instead of calling it directly: they take it from the
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
  /** What it is doing now. */
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
