/**
 * One connection as a part of something larger: the seam that a pool (and later a cluster) is built on.
 *
 * Programs do not need it: they use `Redis`. Builders of a provider of `RedisService` out of several connections find
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
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { isMiss } from "./internal/call/routed.ts"
import * as connectionTree from "./internal/service/tree.ts"
import { makeCommandEffect, makeRoutedCalls, makeTransactionEffect } from "./internal/service/routedCalls.ts"
import { serverGroupOf } from "./internal/service/shared.ts"
import { makeRouted } from "./internal/service/service.ts"
import type { RedisError } from "./RedisError.ts"
import type * as RedisOptions from "./RedisOptions.ts"
import type * as CommandTable from "./CommandTable.ts"
import type { Subscribe } from "./RedisPubSub.ts"
import type { CallOptions, ConnectionState, PipelineReply, Service, Status, StatusChange } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"

/**
 * A connection, live: its fields say what is now, each time they are read.
 *
 * - `accepting`: it takes calls in; not while it refuses them at once (`failed`, closing, down with `whenDown: "fail"`)
 * - `queued`, `inFlight`: how many commands are not written yet; written and without a reply yet
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
   * rest stays. They keep their deadlines and can be cancelled as before. Returns how many commands were moved: none
   * when the other one does not accept calls, or lives by another clock. Both must talk to the same server and database.
   */
  readonly moveUnsent: (to: RedisConnection) => number
  /**
   * Takes a routed call in: a new one, or one that another server has refused, or that waited for its place. It is unsent,
   * keeps its deadline, and may settle at once. `asking` writes `ASKING` right before it, as one entry.
   */
  readonly accept: (call: RoutedCall, asking: boolean) => void
  /** Takes the routed calls out that were not written and that `wanted` wants, the oldest first. They belong to the caller. */
  readonly takeUnsent: (wanted: (call: RoutedCall) => boolean) => ReadonlyArray<RoutedCall>
  /** How long the oldest unanswered call has waited without a byte from the server, in milliseconds; 0 when none waits. */
  readonly silentMillis: number
  /**
   * Ends the present session as lost: what was written is repeated or `unknown`. The next one is dialled at once, also when
   * there was none and its dial was waiting. So do the leases and the other connections to the same server.
   */
  readonly endSession: (detail: string) => void
  /** The same for this connection alone. */
  readonly redial: (detail: string) => void
  /** Ends the present session, if there is one, when all that was written has its replies: nothing is lost by it. A lease is not handed out again. */
  readonly leave: (detail: string) => void
  /** Where the session is, or the last one was; the label of the resolver before there was one. */
  readonly address: string
  /** Waits for the first session; fails with why it could not be had. */
  readonly awaitFirst: Effect.Effect<void, RedisError>
  /** Refuses calls from now on. What is under way may finish, if there is a session, until `closeTimeout` has passed. */
  readonly beginClose: () => void
}

/**
 * The callbacks of a connection's owner: notices and questions. Called synchronously while the connection works: a hook must be
 * short, must not throw, and must not run code of others, which may be resumed callers too.
 *
 * - `onChange`: the state has changed
 * - `onWaiting`: a call was queued while there is no ready session
 * - `onGivingUp`: the calls that were not written are about to fail, and new ones are refused already: the last moment to
 *   move them. `closing` when the connection itself is going; else it is only down.
 * - `dialDelayMillis`: how long to wait before a dial, on top of the backoff
 * - `onRefused`: a routed call that its service follows has been refused: it belongs to nobody now. Hand it to a connection
 *   (`accept`), keep it for a while (`hold`), or fail it.
 * - `keepsReplica`: whether a session goes on although its server has become a replica (it says `READONLY`). Default
 *   false: it is dialled again, in case another server has its name.
 * - `onPush`: a push of the server (RESP3), in its place among the replies. It is told before any caller is resumed whose reply
 *   came in the same read: what a resumed caller sees may be older than the push. Messages of pub/sub come elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hooks {
  readonly onChange?: ((connection: RedisConnection, change: StatusChange) => void) | undefined
  readonly onWaiting?: ((connection: RedisConnection) => void) | undefined
  readonly onGivingUp?: ((connection: RedisConnection, closing: boolean) => void) | undefined
  readonly dialDelayMillis?: ((connection: RedisConnection) => number) | undefined
  readonly onRefused?: ((connection: RedisConnection, call: RoutedCall) => void) | undefined
  readonly keepsReplica?: boolean | undefined
  readonly onPush?: ((connection: RedisConnection, push: Resp.Push<Resp.Reply>) => void) | undefined
}

/**
 * The numbers of leases that are out, of those kept for the next caller, and of callers that wait for one.
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
 * The parts that connections to one server share.
 *
 * - `waiting`: a connection that never has a session: calls wait there while no other takes them. Move them with
 *   `moveUnsent` as soon as one does.
 * - `leases`: the leases now. Their number is bounded for all together.
 * - `subscribe`: subscribes, on a connection beside them that all subscriptions share, as `Redis.subscribe` does. It needs no
 *   connection of `childSpec`: with `children` alone it is a subscriber to one server, and nothing else.
 * - `children`: what makes it work, to be started before the connections, in this order
 *
 * @category models
 * @since 0.1.0
 */
export interface Shared {
  readonly options: RedisOptions.Resolved
  readonly waiting: RedisConnection
  readonly leases: LeaseCounts
  readonly subscribe: Subscribe
  readonly children: ReadonlyArray<ChildSpec.ChildSpec<unknown, Registry.Registry>>
  /** Settles whatever waits, and refuses calls from then on. It also happens when the scope closes. */
  readonly close: () => void
}

/**
 * Makes what connections to one server share, for as long as the scope is open. `onWaiting` is told of calls that come into
 * the waiting room. With `together`, its leases and those of that other one have one bound: several servers of one cluster.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeShared: (
  options: RedisOptions.Resolved,
  hooks?: Hooks,
  together?: Shared
) => Effect.Effect<Shared, never, Scope.Scope> = connectionTree.makeShared

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
 * commands of a pipeline, a transaction or a noreply. It returns a connection, or the error that the call fails with; it
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

/**
 * A call of a service over several servers. A server may refuse to run it and name another one (`MOVED`, `ASK`), or ask to
 * wait: that proves that nothing has run, so it goes on as the same call, with its deadline and its caller.
 *
 * As an effect it is its own cancellation.
 *
 * - `slot`: the hash slot by which it is placed, -1 for none; `data`: whatever its owner wants to keep with it. Both are the
 *   owner's to set.
 * - `hops`: how often it was refused so far, and `refusal` by what; `dueAt`: when it may go on. Also the owner's.
 * - `command`: its name, for errors; `isRepeatable`: it changes nothing, so it may be written again
 * - `mayHaveRun`: it was written once to a session that ended without a reply. Its failure must say `unknown`.
 * - `deadline`: in milliseconds of the connection's clock, 0 for none; `wakeBy`: when its passing must have been noticed
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutedCall extends Effect.Effect<void> {
  slot: number
  hops: number
  dueAt: number
  data: unknown
  readonly refusal: Resp.ReplyError | undefined
  readonly command: string
  readonly isSettled: boolean
  readonly isRepeatable: boolean
  readonly mayHaveRun: boolean
  readonly deadline: number
  readonly wakeBy: number
  readonly timeoutMillis: number
  /**
   * Whether a reply that finds nothing (null, 0, an empty array …) goes to `Hooks.onRefused`, too, with `refusal` undefined: of
   * a replica that does not know of a migration it may be wrong.
   */
  doubtsMisses: boolean
  /** Takes it back, wherever it is: nobody waits for it any more. */
  readonly takeBack: () => void
  /** Keeps it out of all queues. When its caller is interrupted, `dropped` is called, and it is settled. */
  readonly hold: (dropped: (call: RoutedCall) => void) => void
  /** Settles it with this error, if it is not settled. */
  readonly fail: (error: RedisError) => void
}

/**
 * A part of a pipeline as one call. `replies` are those that have come, also when its connection ended in the middle.
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutedPart {
  readonly call: RoutedCall
  readonly replies: ReadonlyArray<PipelineReply>
}

/**
 * Resumes the caller of a routed call.
 *
 * @category models
 * @since 0.1.0
 */
export type ResumeRouted<A> = (outcome: Exit.Exit<A, RedisError>) => void

/**
 * Makes routed calls: checks and encodes them, and submits none. The result is the error where something is wrong with a call.
 *
 * - `check`: the table flags of a command, or why it must not be sent there
 * - `timeoutMillis`: the deadline of a call by its options, or what is wrong with them
 * - `command`: one command; `transaction`: `MULTI`, the commands, `EXEC`. Their refusals are followed.
 * - `part`: commands written together, each with its own reply; their refusals are replies. `first` is the index of each in
 *   the caller's pipeline, for errors. It is a call of the owner's: `resume` is told of its outcome.
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutedCalls {
  readonly check: (command: Resp.Command, where: CommandTable.Where) => number | RedisError
  readonly timeoutMillis: (options: CallOptions | undefined) => number | RedisError
  readonly command: (command: Resp.Command, flags: number, options: CallOptions | undefined) => RoutedCall | RedisError
  readonly transaction: (
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined
  ) => RoutedCall | RedisError
  readonly part: (
    commands: ReadonlyArray<Resp.Command>,
    indexes: ReadonlyArray<number>,
    isRepeatable: boolean,
    timeoutMillis: number,
    options: CallOptions | undefined,
    resume: ResumeRouted<ReadonlyArray<PipelineReply>>
  ) => RoutedPart | RedisError
}

/**
 * Makes routed calls for connections with these options.
 *
 * `follows` decides about each error that a server returns to one of them: `true`, and the call goes to `Hooks.onRefused`
 * instead of being settled. It is asked while replies are decoded: it must do nothing but decide. Say `true` only for what
 * proves that nothing has run.
 *
 * @category constructors
 * @since 0.1.0
 */
export const routedCalls: (
  options: RedisOptions.Resolved,
  now: () => number,
  follows: (call: RoutedCall, error: Resp.ReplyError) => boolean
) => RoutedCalls = makeRoutedCalls

/**
 * Submits a call in the turn of its caller: returns the call, which its caller then waits for, or another effect that is run
 * in its place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Submitter {
  readonly submitCommand: (
    command: Resp.Command,
    options: CallOptions | undefined
  ) => RoutedCall | Effect.Effect<Resp.Reply, RedisError>
}

/**
 * A command as an effect: submitted by `submitter` each time it is run, in the step in which its fiber begins to wait, at the
 * least cost that there is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const commandEffect: (
  submitter: Submitter,
  command: Resp.Command,
  options: CallOptions | undefined
) => Effect.Effect<Resp.Reply, RedisError> = makeCommandEffect

/**
 * A transaction as an effect: as `commandEffect`, for what `submit` returns.
 *
 * @category constructors
 * @since 0.1.0
 */
export const transactionEffect: (
  submit: () => RoutedCall | Effect.Effect<ReadonlyArray<PipelineReply>, RedisError>
) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> = makeTransactionEffect

/**
 * Whether a reply says that there is nothing: null, 0, -2, the empty text, `none`, an empty array, map or set, or an array
 * with any of these in it. What a server says of a key that it does not have, in the words of any command that reads.
 *
 * @category guards
 * @since 0.1.0
 */
export const findsNothing: (reply: unknown) => boolean = isMiss

/**
 * Wraps a service in spans and metrics as those of `shared` are, where they are on. Wrap the outermost service, once.
 *
 * @category combinators
 * @since 0.1.0
 */
export const observed = (shared: Shared, service: Service): Service => serverGroupOf(shared).observe(service)
