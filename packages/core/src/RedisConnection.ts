/**
 * One connection as a part of something larger: the seam that a pool (and later a cluster) is built on.
 *
 * Programs do not need it: they use `Redis`. Whoever builds a provider of `RedisService` out of several connections finds
 * here what the service of a single one does not say: what the connection is doing now, at once and without an effect; its
 * unsent calls, which may be moved to another connection of the same server; the leases and the waiting room that all
 * of them share; and a service that hands each call to the connection that is chosen when it is submitted.
 *
 * ```
 *                         ┌─ choose ─▶ RedisConnection ─▶ session      a call is checked and encoded once, then chosen for
 *   caller ──▶ routed ────┤            RedisConnection ─▶ session      moveUnsent: from one that is down to one that is not
 *                         └─ nobody ─▶ shared.waiting                  a connection without sessions: calls wait there
 * ```
 *
 * Nothing here restarts anything: connections are children (`childSpec`) of a supervisor of yours.
 *
 * @since 0.1.0
 */
import type * as ChildSpec from "@relive/otp/ChildSpec"
import type * as Registry from "@relive/otp/Registry"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as connectionTree from "./internal/service/tree.ts"
import { makeRouted } from "./internal/service/service.ts"
import type { RedisError } from "./RedisError.ts"
import type * as RedisOptions from "./RedisOptions.ts"
import type { CallOptions, ConnectionState, Service, Status, StatusChange } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"

/**
 * A connection, live: its fields say what is now, each time they are read.
 *
 * - `accepting`: it takes calls in; not while it refuses them at once (`failed`, closing, down with `whenDown: "fail"`)
 * - `queued`, `inFlight`: how many commands are not written yet; written and not answered yet
 * - `downSince`: since when there is no ready session, in milliseconds of `now`; `undefined` while there is one
 *
 * @category models
 * @since 0.1.0
 */
export interface RedisConnection {
  readonly state: ConnectionState
  readonly accepting: boolean
  readonly queued: number
  readonly inFlight: number
  readonly downSince: number | undefined
  /** All of it at one moment. Allocates: for people, not for choosing. */
  readonly status: Status
  /** The present on its monotonic clock, in milliseconds. */
  readonly now: () => number
  /**
   * Hands calls that were not written to another connection, the oldest first, as many as its mailbox has room for; the
   * rest stays. They keep their deadlines and can be cancelled as before. Answers how many commands were moved: none
   * when the other one does not accept calls, or lives by another clock. Both must talk to the same server and database.
   */
  readonly moveUnsent: (to: RedisConnection) => number
  /** Waits for the first session; fails with why it could not be had. */
  readonly awaitFirst: Effect.Effect<void, RedisError>
  /** Refuses calls from now on. What is under way may finish, if there is a session, until `closeTimeout` has passed. */
  readonly beginClose: () => void
}

/**
 * What the owner of a connection wants to be told, and asked. Called synchronously while the connection works: a hook must be
 * short, must not throw, and must not run code of others, which may be resumed callers too.
 *
 * - `onChange`: the state has changed
 * - `onWaiting`: a call was queued while there is no ready session
 * - `onGivingUp`: the calls that were not written are about to fail, and new ones are refused already: the last moment to
 *   move them. `closing` when the connection itself is going; else it is only down.
 * - `dialDelayMillis`: how long to wait before a dial, on top of the backoff
 *
 * @category models
 * @since 0.1.0
 */
export interface Hooks {
  readonly onChange?: ((connection: RedisConnection, change: StatusChange) => void) | undefined
  readonly onWaiting?: ((connection: RedisConnection) => void) | undefined
  readonly onGivingUp?: ((connection: RedisConnection, closing: boolean) => void) | undefined
  readonly dialDelayMillis?: ((connection: RedisConnection) => number) | undefined
}

/**
 * How many leases are out, how many are kept for the next one, and how many callers wait for one.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseCounts {
  readonly out: number
  readonly idle: number
  readonly waiting: number
}

/**
 * What connections to one server have in common.
 *
 * - `waiting`: a connection that never has a session: calls wait there while no other takes them. Move them with
 *   `moveUnsent` as soon as one does.
 * - `leases`: the leases now. Their number is bounded for all together.
 * - `children`: what makes it work, to be started before the connections, in this order
 *
 * @category models
 * @since 0.1.0
 */
export interface Shared {
  readonly options: RedisOptions.Resolved
  readonly waiting: RedisConnection
  readonly leases: LeaseCounts
  readonly children: ReadonlyArray<ChildSpec.ChildSpec>
  /** Settles whatever waits, and refuses calls from then on. It also happens when the scope closes. */
  readonly close: () => void
}

/**
 * Makes what connections to one server share, for as long as the scope is open. `onWaiting` is told of calls that come into
 * the waiting room.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeShared: (options: RedisOptions.Resolved, hooks?: Hooks) => Effect.Effect<Shared, never, Scope.Scope> =
  connectionTree.makeShared

/**
 * Options of `childSpec`.
 *
 * - `shared`: what it has in common with others; its options are those
 * - `onStart`: called with each instance when it starts, and with its service
 * - `register`: the name under which the service of this one connection is found
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildOptions {
  readonly id: string
  readonly shared: Shared
  readonly hooks?: Hooks | undefined
  readonly onStart?: ((connection: RedisConnection, service: Service) => void) | undefined
  readonly register?: Registry.Name<Service> | undefined
  readonly restart?: ChildSpec.Restart | undefined
  readonly shutdown?: Duration.Input | "brutalKill" | "infinity" | undefined
}

/**
 * A connection as a child: a supervisor of its sessions, as `Redis.childSpec` is, but with the shared leases. It starts at
 * once and connects in the background, whatever the option `start` says.
 *
 * @category supervision
 * @since 0.1.0
 */
export const childSpec: (options: ChildOptions) => ChildSpec.ChildSpec<RedisConnection, Registry.Registry> =
  connectionTree.memberSpec

/**
 * How a routed service finds the connection of a call, and what it says of itself.
 *
 * `choose` runs once per call, synchronously, when the call is submitted. `command` is the call's first; `group` are all
 * commands of a pipeline, a transaction or a noreply. It answers a connection, or the error that the call fails with; it
 * must not throw. Commands that block, and leases, are not asked for: they have connections of their own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Routing {
  readonly choose: (
    command: Resp.Command,
    options: CallOptions | undefined,
    group: ReadonlyArray<Resp.Command> | undefined
  ) => RedisConnection | RedisError
  readonly status: Effect.Effect<Status>
  readonly events: Stream.Stream<StatusChange>
}

/**
 * A service over several connections. It costs one call of `choose` more than the service of one connection.
 *
 * @category constructors
 * @since 0.1.0
 */
export const routed: (shared: Shared, routing: Routing) => Service = makeRouted
