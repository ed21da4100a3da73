/**
 * Servers: processes with a state that handle one message at a time, OTP's `gen_server`.
 *
 * A server is defined by its *protocol*, the types of what it can be asked, and its callbacks. It is started as a child
 * of a supervisor (`ChildSpec.genServer`), or by itself (`start`, `startLink`).
 *
 * ```ts
 * import { ExitReason, GenServer } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * // What callers can ask, and the type of each reply.
 * interface Counter {
 *   readonly call:
 *     | GenServer.Call<{ readonly _tag: "Add"; readonly amount: number }, number>
 *     | GenServer.Call<{ readonly _tag: "Get" }, number>
 *   readonly cast: { readonly _tag: "Reset" }
 * }
 *
 * const counter = GenServer.make<Counter, number>()({
 *   init: () => GenServer.ok(0),
 *   handleCall: {
 *     Add: ({ amount }, count) => GenServer.reply(count + amount, count + amount),
 *     Get: (_, count) => GenServer.reply(count, count)
 *   },
 *   handleCast: (message, count) => Effect.as(Effect.logDebug(message._tag, count), GenServer.noReply(0))
 * })
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* GenServer.start(counter)
 *   yield* server.call({ _tag: "Add", amount: 2 })
 *   const count = yield* server.call({ _tag: "Get" })
 *   yield* server.stop({ reason: ExitReason.shutdown })
 *   return count
 * })
 *
 * console.log(await Effect.runPromise(program)) // 2
 * ```
 *
 * Guarantees, as in OTP: messages of one sender are handled in the order sent, whatever their kind. A handler that waits
 * holds up everything else. A caller is told when the server ends before replying. A call that timed out, or whose caller
 * was interrupted, is handled nevertheless; its late reply is dropped. Messages still waiting when the server ends are
 * lost: the mailbox belongs to the instance.
 *
 * Left out: `hibernate`, `code_change`, `format_status`, the `sys` debug messages, `multi_call` and distribution.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as ChildSpec from "./ChildSpec.ts"
import * as ExitReason from "./ExitReason.ts"
import * as internal from "./internal/genServer/genServer.ts"
import { AlreadyStarted, StartFailed } from "./internal/genServer/errors.ts"
import type {
  CallingSelf,
  CallTimeout,
  MailboxFull,
  ServerExit,
  StartIgnored,
  StartTimeout
} from "./internal/genServer/errors.ts"
import { ServerHandle } from "./internal/genServer/handle.ts"
import { inspect as inspectHandle } from "./internal/genServer/inspect.ts"
import { impl, NoProcess } from "./internal/process/process.ts"
import { Self } from "./internal/process/self.ts"
import type { Details, Info as ProcessInfo, MonitorRef, Process, Timer, TimerKey, TimerOptions } from "./Process.ts"
import * as Registry from "./Registry.ts"

export {
  /**
   * The name belongs to a live process already.
   *
   * @since 0.1.0
   * @category errors
   */
  AlreadyStarted,
  /**
   * A server called or stopped itself, for which it would wait for ever.
   *
   * @since 0.1.0
   * @category errors
   */
  CallingSelf,
  /**
   * The call or stop had no reply in time. The request is not withdrawn: it is or will be handled, unless it still
   * waited for room in a bounded mailbox. A late reply is dropped.
   *
   * @since 0.1.0
   * @category errors
   */
  CallTimeout,
  /**
   * The bounded mailbox of the server is full and refuses (`whenFull: "fail"`). The request was not handled.
   *
   * @since 0.1.0
   * @category errors
   */
  MailboxFull,
  /**
   * The server ended before it replied, for this reason, `normal` included. Whether it had begun with the request is
   * not known.
   *
   * @since 0.1.0
   * @category errors
   */
  ServerExit,
  /**
   * `init` returned `stop`, failed or died, or the process was ended meanwhile; `reason` is what it ended with.
   *
   * @since 0.1.0
   * @category errors
   */
  StartFailed,
  /**
   * `init` returned `ignore`: the server decided not to run.
   *
   * @since 0.1.0
   * @category errors
   */
  StartIgnored,
  /**
   * `init` took longer than the start timeout. The process was killed.
   *
   * @since 0.1.0
   * @category errors
   */
  StartTimeout
} from "./internal/genServer/errors.ts"

export {
  /**
   * There is no such server: the instance had ended before, or nobody has the name. The request was not handled.
   *
   * @since 0.1.0
   * @category errors
   */
  NoProcess
} from "./internal/process/process.ts"

/**
 * The identity of {@link GenServer} values.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId = "~@relive/otp/GenServer" as const

/**
 * The identity of what handlers return.
 *
 * @since 0.1.0
 * @category type ids
 */
export const ResultTypeId: "~@relive/otp/GenServer/Result" = internal.ResultTypeId

// --- protocols -----------------------------------------------------------------------------------------------------

/**
 * The messages of a server, as types: requests with their replies (`call`), casts, and the continuations it names for
 * itself. Plain messages and signals have no type of their own: any process may send anything (see {@link Info}).
 *
 * @since 0.1.0
 * @category models
 */
export interface Protocol {
  /** A union of {@link Call}s. */
  readonly call?: { readonly _tag: string } | undefined
  readonly cast?: unknown
  readonly continue?: unknown
}

/**
 * A request with the type of its reply, and of the error it can be refused with. The types are all it adds: a request
 * is the plain message.
 *
 * @since 0.1.0
 * @category models
 */
export type Call<Message extends { readonly _tag: string }, Reply, Error = never> = Message & {
  readonly "~@relive/otp/GenServer/Call"?: { readonly reply: Reply; readonly error: Error } | undefined
}

/**
 * The requests of a protocol.
 *
 * @since 0.1.0
 * @category type-level
 */
export type CallMessage<P> = P extends { readonly call: infer M extends { readonly _tag: string } } ? M : never

/**
 * The tags of the requests of a protocol.
 *
 * @since 0.1.0
 * @category type-level
 */
export type CallTag<P> = CallMessage<P>["_tag"]

/**
 * The request of a protocol with this tag.
 *
 * @since 0.1.0
 * @category type-level
 */
export type CallOf<P, Tag extends string> = Extract<CallMessage<P>, { readonly _tag: Tag }>

/**
 * The casts of a protocol.
 *
 * @since 0.1.0
 * @category type-level
 */
export type CastMessage<P> = P extends { readonly cast: infer M } ? M : never

/**
 * The continuations of a protocol.
 *
 * @since 0.1.0
 * @category type-level
 */
export type ContinueMessage<P> = P extends { readonly continue: infer M } ? M : never

type Answers<M> = M extends { readonly "~@relive/otp/GenServer/Call"?: infer X }
  ? NonNullable<X>
  : { readonly reply: void; readonly error: never }

/**
 * The type of the reply to a request.
 *
 * @since 0.1.0
 * @category type-level
 */
export type ReplyOf<M> = Answers<M> extends { readonly reply: infer A } ? A : never

/**
 * The type of the error that a request can be refused with.
 *
 * @since 0.1.0
 * @category type-level
 */
export type ErrorOf<M> = Answers<M> extends { readonly error: infer E } ? E : never

// --- callbacks -----------------------------------------------------------------------------------------------------

/**
 * The result of a callback: a value, or an effect of it. An effect that fails, and anything thrown, ends the server with
 * a crash, except a {@link Result}: failing with one, or throwing it, is returning it.
 *
 * @since 0.1.0
 * @category models
 */
export type Returned<A> = A | Effect.Effect<A, unknown, unknown>

/**
 * The step after a handler, besides waiting for the next message: `continue` is given to `handleContinue` before
 * anything in the mailbox; `timeout` is an idle time after which, when no message has come, `handleInfo` gets
 * `Timeout`, once. With 0 that is when the mailbox is empty.
 *
 * @since 0.1.0
 * @category models
 */
export type Next<C> = { readonly continue: C } | { readonly timeout: Duration.Input }

/**
 * Go on without a reply now. In a call the caller waits on, until `from.reply`.
 *
 * @since 0.1.0
 * @category models
 */
export interface NoReply<out S, out C = never> {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "NoReply"
  readonly state: S
  readonly next: Next<C> | undefined
}

/**
 * Reply to the call and go on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply<out S, out A, out C = never> {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Reply"
  readonly value: A
  readonly state: S
  readonly next: Next<C> | undefined
}

/**
 * Fail the call with a typed error and go on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refuse<out S, out E, out C = never> {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Refuse"
  readonly error: E
  readonly state: S
  readonly next: Next<C> | undefined
}

/**
 * End the server with a reason: `terminate` runs, then the reply, if there is one, is given, then the process ends.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stop<out S, out A = never> {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Stop"
  readonly reason: ExitReason.ExitReason
  readonly state: S
  readonly reply: { readonly value: A } | undefined
}

/**
 * The result of a handler of casts, continuations and plain messages.
 *
 * @since 0.1.0
 * @category models
 */
export type Result<S, C = never> = NoReply<S, C> | Stop<S>

/**
 * The result of the handler of a call.
 *
 * @since 0.1.0
 * @category models
 */
export type CallResult<S, A, E = never, C = never> = Reply<S, A, C> | Refuse<S, E, C> | NoReply<S, C> | Stop<S, A>

/**
 * The start has succeeded, with the first state.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ok<out S, out C = never> {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Ok"
  readonly state: S
  readonly next: Next<C> | undefined
}

/**
 * The server need not run.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ignored {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Ignored"
}

/**
 * The start has failed, for a reason.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failed {
  readonly [ResultTypeId]: typeof ResultTypeId
  readonly _tag: "Failed"
  readonly reason: ExitReason.ExitReason
}

/**
 * The result of `init`.
 *
 * @since 0.1.0
 * @category models
 */
export type InitResult<S, C = never> = Ok<S, C> | Ignored | Failed

/**
 * The argument of `handleInfo`: plain messages (which any process may send, so their type is not known), exit signals if the
 * server traps exits, ends of processes it monitors, and its own idle timeout.
 *
 * @since 0.1.0
 * @category models
 */
export type Info =
  | { readonly _tag: "Message"; readonly message: unknown }
  | { readonly _tag: "Exit"; readonly from: Process | undefined; readonly reason: ExitReason.ExitReason }
  | {
      readonly _tag: "Down"
      readonly ref: MonitorRef
      readonly process: Process
      readonly reason: ExitReason.ExitReason
    }
  | { readonly _tag: "Timeout" }

/**
 * Where a reply goes. Keep it to reply later, from any process; only the first reply counts, and one that comes when
 * the caller has gone, or the server has ended, is dropped.
 *
 * A server that hands something out, as a pool does its workers, must know whether it was received. So it registers with
 * `onGone` what has to happen if not: for each call, either the caller has the reply, or the effects of `onGone` run, and
 * never both.
 *
 * @since 0.1.0
 * @category models
 */
export interface From<in A, in E = never> {
  /** The process that called, if the call came from one. */
  readonly caller: Process | undefined
  /** Whether the caller still waits: the call has no reply yet, has not timed out, and its caller was not interrupted. */
  readonly isWaiting: boolean
  /** Gives the reply; returns whether it was taken: this is the first one, and the caller waited for it. */
  readonly reply: (value: A) => Effect.Effect<boolean>
  /** Fails the call with a typed error; returns whether it was taken. */
  readonly refuse: (error: E) => Effect.Effect<boolean>
  /**
   * Runs `effect` if the caller goes without having received a reply: its call timed out, or it was interrupted, or its
   * process died; at once when that has happened already. Also when a reply was given that the caller was too late to
   * receive. A caller that is interrupted behind its call has the reply: callers that must not lose what they are handed
   * use the call as the first argument of `Effect.acquireRelease`. The effect runs beside the server, not in its turn: let it cast to the server, which knows then what to take back.
   * When it fails, the server ends with its cause. It does not run when the server itself has ended.
   */
  readonly onGone: <EG, RG>(effect: Effect.Effect<unknown, EG, RG>) => Effect.Effect<void, never, RG>
}

/**
 * How messages wait for a server. OTP's mailboxes have no bounds, and neither has this one by default. Bounds hold for
 * calls and casts; plain messages, signals and `stop` always get in.
 *
 * @since 0.1.0
 * @category models
 */
export interface MailboxOptions {
  /** The most messages that wait. No limit when absent. */
  readonly capacity?: number | undefined
  /** The most bytes that wait, as `sizeOf` counts them. No limit when absent. */
  readonly capacityBytes?: number | undefined
  /** The size of a request or cast in bytes; 0 when absent. */
  readonly sizeOf?: ((message: unknown) => number) | undefined
  /**
   * `suspend` (default): callers and casters wait until there is room; calls within their timeout. `fail`: calls fail
   * with {@link MailboxFull}, casts are lost and counted (`lostCasts`).
   */
  readonly whenFull?: "suspend" | "fail" | undefined
}

interface Common<P extends Protocol, S> {
  /**
   * Makes the first state, in the new process, again for each instance. The caller that starts the server waits for it. The
   * handle is the server's own, for casts to itself.
   */
  readonly init: (self: Server<P>) => Returned<InitResult<S, ContinueMessage<P>>>
  /** Handles plain messages, signals and the idle timeout. When absent they are logged and dropped. */
  readonly handleInfo?: ((info: Info, state: S) => Returned<Result<S, ContinueMessage<P>>>) | undefined
  /**
   * Runs when the server ends by itself, by a crash of a handler, by `stop`, or, if it traps exits, with its parent. It
   * does not run after a kill, nor after an exit signal to a server that does not trap exits. A supervisor's shutdown
   * time cuts it. Its failure becomes the reason. Finalizers of the scope run afterwards, in every case.
   */
  readonly terminate?: ((reason: ExitReason.ExitReason, state: S) => Returned<unknown>) | undefined
  /**
   * The part of the state that observers may see: it is called whenever one looks. Never a secret, nor what users have sent.
   */
  readonly describe?: ((state: S) => Details) | undefined
  /** Whether exit signals arrive as messages. When absent: if there is a `terminate`, so that a shutdown calls it. */
  readonly trapExit?: boolean | undefined
  /**
   * Whether handlers of calls and casts run under the span of the sender, with its log annotations added to the
   * server's own; yes when absent. Costs nothing for senders without either.
   */
  readonly trace?: boolean | undefined
  /** Bounds of the mailbox; none when absent. */
  readonly mailbox?: MailboxOptions | undefined
}

interface WithCall<P, S> {
  /** One handler per request, by its tag. `from` is needed for deferred replies only. */
  readonly handleCall: {
    readonly [Tag in CallTag<P>]: (
      request: CallOf<P, Tag>,
      state: S,
      from: From<ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>>>
    ) => Returned<CallResult<S, ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>>, ContinueMessage<P>>>
  }
}

interface WithCast<P, S> {
  /** Handles casts. */
  readonly handleCast: (message: CastMessage<P>, state: S) => Returned<Result<S, ContinueMessage<P>>>
}

interface WithContinue<P, S> {
  /** Handles what a result named as `continue`, before anything in the mailbox. */
  readonly handleContinue: (message: ContinueMessage<P>, state: S) => Returned<Result<S, ContinueMessage<P>>>
}

type Needs<M, Handler, Name extends string> = [M] extends [never] ? { readonly [K in Name]?: never } : Handler

/**
 * The callbacks of a server with the protocol `P` and the state `S`. Handlers are needed for what the protocol has.
 *
 * @since 0.1.0
 * @category models
 */
export type Callbacks<P extends Protocol, S> = Common<P, S> &
  Needs<CallMessage<P>, WithCall<P, S>, "handleCall"> &
  Needs<CastMessage<P>, WithCast<P, S>, "handleCast"> &
  Needs<ContinueMessage<P>, WithContinue<P, S>, "handleContinue">

type RequirementsOfFunction<F> = F extends (...args: never) => infer X
  ? X extends Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : never
  : never

/**
 * The services the callbacks need.
 *
 * @since 0.1.0
 * @category type-level
 */
export type RequirementsOf<C> = {
  readonly [K in keyof C]-?: K extends "handleCall"
    ? { readonly [Tag in keyof C[K]]-?: RequirementsOfFunction<C[K][Tag]> }[keyof C[K]]
    : K extends "init" | "handleCast" | "handleContinue" | "handleInfo" | "terminate"
      ? RequirementsOfFunction<C[K]>
      : never
}[keyof C]

// --- servers -------------------------------------------------------------------------------------------------------

/**
 * The definition of a server: a value from which instances are started.
 *
 * @since 0.1.0
 * @category models
 */
export interface GenServer<P extends Protocol, out R = never> {
  readonly [TypeId]: typeof TypeId
  /** Whether instances trap exits. */
  readonly trapExit: boolean
  /** Makes the calling process an instance. `start`, `startLink` and {@link init} do the rest. */
  readonly attach: Effect.Effect<Instance<P, R>, never, Self>
}

/**
 * An instance before its `init`: it collects messages already.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instance<P extends Protocol, out R = never> {
  readonly server: Server<P>
  readonly init: Effect.Effect<ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore, StartFailed, R>
}

/**
 * The failures of a call, besides the errors of its request.
 *
 * @since 0.1.0
 * @category errors
 */
export type CallError = CallTimeout | NoProcess | ServerExit | CallingSelf | MailboxFull

/**
 * The failures of a stop.
 *
 * @since 0.1.0
 * @category errors
 */
export type StopError = CallTimeout | NoProcess | ServerExit | CallingSelf

/**
 * The failures of a start.
 *
 * @since 0.1.0
 * @category errors
 */
export type StartError = AlreadyStarted | StartFailed | StartIgnored | StartTimeout

/**
 * Options of `call`.
 *
 * @since 0.1.0
 * @category models
 */
export interface CallOptions {
  /** How long to wait for the reply, room in a bounded mailbox included. 5 seconds when absent. */
  readonly timeout?: Duration.Input | "infinity" | undefined
}

/**
 * Options of `stop`.
 *
 * @since 0.1.0
 * @category models
 */
export interface StopOptions {
  /** `normal` when absent. */
  readonly reason?: ExitReason.ExitReason | undefined
  /** How long to wait for the end; without limit when absent. */
  readonly timeout?: Duration.Input | "infinity" | undefined
}

/**
 * Options of {@link start} and {@link startLink}.
 *
 * @since 0.1.0
 * @category models
 */
export interface StartOptions {
  /** The last part of the path of the process; `server` when absent. */
  readonly id?: string | undefined
  /** How long `init` may take. No limit when absent. */
  readonly timeout?: Duration.Input | "infinity" | undefined
}

/**
 * The option to register a server under a name, before its `init`; the name is free again when it has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface NameOption<P extends Protocol> {
  readonly name: Registry.Name<Server<P>>
}

/**
 * How to talk to a server.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerRef<P extends Protocol> {
  /**
   * Sends a request and waits for the reply. The server handles it in its turn. Interrupting the call, or its timeout,
   * does not withdraw the request, unless it still waits for room in a bounded mailbox.
   */
  readonly call: <Tag extends CallTag<P>>(
    request: { readonly _tag: Tag } & CallOf<P, Tag>,
    options?: CallOptions
  ) => Effect.Effect<ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>> | CallError>
  /** Sends a message and goes on. Never fails: what is sent to nobody is lost. */
  readonly cast: (message: CastMessage<P>) => Effect.Effect<void>
  /**
   * Ends the server in its turn, through `terminate`, and waits for the end. Succeeds when it ended with the reason
   * asked for.
   */
  readonly stop: (options?: StopOptions) => Effect.Effect<void, StopError>
}

/**
 * One instance of a server. It does not follow restarts: when the instance has ended, calls fail with {@link NoProcess}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Server<P extends Protocol> extends ServerRef<P> {
  readonly process: Process
  /** Sends a plain message. Never fails. */
  readonly send: (message: unknown) => Effect.Effect<void>
  /** How many messages wait. */
  readonly depth: Effect.Effect<number>
  /** How many casts were lost because the mailbox was full. */
  readonly lostCasts: Effect.Effect<number>
  /**
   * Casts `message` when `time` has passed, a number being milliseconds. The timer belongs to the server: it is gone with
   * the instance, and costs no fiber of its own. With a `key` it replaces the timer of that key, and takes a message of it
   * that waits out of the mailbox: what was armed before is never handled. Its message gets into the mailbox whatever its
   * bounds.
   */
  readonly castAfter: (time: Duration.Input, message: CastMessage<P>, options?: TimerOptions) => Effect.Effect<Timer>
  /**
   * The same, again and again: first when `time` has passed, then each further `time` after that. When the server is slow
   * one message waits at most; those it has missed are left out.
   */
  readonly castEvery: (time: Duration.Input, message: CastMessage<P>, options?: TimerOptions) => Effect.Effect<Timer>
  /** Cancels the timer with this key; returns whether there was anything to cancel. */
  readonly cancelTimer: (key: TimerKey) => Effect.Effect<boolean>
}

/**
 * The process that has the name at the moment of each call, cast, send or stop: it follows restarts.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedServer<P extends Protocol> extends ServerRef<P> {
  /** Sends a plain message; fails when nobody has the name. */
  readonly send: (message: unknown) => Effect.Effect<void, Registry.BadName>
  /** The instance that has the name now. */
  readonly server: Effect.Effect<Server<P>, NoProcess>
}

// --- results -------------------------------------------------------------------------------------------------------

const brand = { [ResultTypeId]: ResultTypeId } as const

/**
 * Replies to the call and goes on with the state.
 *
 * @since 0.1.0
 * @category results
 */
export const reply = <const A, S, const C = never>(value: A, state: S, next?: Next<C>): Reply<S, A, C> => ({
  ...brand,
  _tag: "Reply",
  value,
  state,
  next
})

/**
 * Fails the call with a typed error and goes on with the state. The server is well; a handler that *fails* ends it.
 *
 * @since 0.1.0
 * @category results
 */
export const refuse = <const E, S, const C = never>(error: E, state: S, next?: Next<C>): Refuse<S, E, C> => ({
  ...brand,
  _tag: "Refuse",
  error,
  state,
  next
})

/**
 * Goes on with the state. In a call: without a reply now; `from.reply` gives it later.
 *
 * @since 0.1.0
 * @category results
 */
export const noReply = <S, const C = never>(state: S, next?: Next<C>): NoReply<S, C> => ({
  ...brand,
  _tag: "NoReply",
  state,
  next
})

/**
 * Ends the server. The caller of a call gets {@link ServerExit} with the reason.
 *
 * @since 0.1.0
 * @category results
 */
export const stop = <S>(reason: ExitReason.ExitReason, state: S): Stop<S> => ({
  ...brand,
  _tag: "Stop",
  reason,
  state,
  reply: undefined
})

/**
 * Ends the server and replies to the call, after `terminate` has run.
 *
 * @since 0.1.0
 * @category results
 */
export const stopReply = <const A, S>(reason: ExitReason.ExitReason, value: A, state: S): Stop<S, A> => ({
  ...brand,
  _tag: "Stop",
  reason,
  state,
  reply: { value }
})

/**
 * The result of an `init` that has succeeded, with the first state.
 *
 * @since 0.1.0
 * @category results
 */
export const ok = <S, const C = never>(state: S, next?: Next<C>): Ok<S, C> => ({ ...brand, _tag: "Ok", state, next })

/**
 * The result of an `init` that decided not to run. The process ends with `normal`.
 *
 * @since 0.1.0
 * @category results
 */
export const ignore: Ignored = { ...brand, _tag: "Ignored" }

/**
 * The result of an `init` that has failed. The process ends with the reason.
 *
 * @since 0.1.0
 * @category results
 */
export const failed = (reason: ExitReason.ExitReason): Failed => ({ ...brand, _tag: "Failed", reason })

// --- constructors --------------------------------------------------------------------------------------------------

/**
 * Defines a server with the protocol `P` and the state `S`. The callbacks may need services, which the caller that starts the
 * server has to provide; a `Scope` is that of the instance.
 *
 * State belongs into `init`: what is created outside of it is shared by all instances and survives restarts.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make =
  <P extends Protocol, S>() =>
  <const C extends Callbacks<P, S>>(callbacks: C): GenServer<P, Exclude<RequirementsOf<C>, Self | Scope.Scope>> =>
    makeServer<P, S, Exclude<RequirementsOf<C>, Self | Scope.Scope>>(callbacks)

const makeServer = <P extends Protocol, S, R>(callbacks: Callbacks<P, S>): GenServer<P, R> => ({
  [TypeId]: TypeId,
  trapExit: callbacks.trapExit ?? callbacks.terminate !== undefined,
  attach: Effect.map(Self, (self) => {
    const server = new ServerHandle<P>(impl(self), callbacks.mailbox, callbacks.trace !== false)
    return { server, init: internal.init<P, S, R>(server, callbacks) }
  })
})

/**
 * Makes the calling process a server: registers the name, runs `init`, and returns what a child's `start` has to. For
 * processes that acquire something first and become a server then; `ChildSpec.genServer` is this and no more.
 *
 * @since 0.1.0
 * @category constructors
 */
export function init<P extends Protocol, R>(
  definition: GenServer<P, R>
): Effect.Effect<ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore, StartFailed, R | Self>
/**
 * Makes the calling process a server: registers the name, runs `init`, and returns what a child's `start` has to. For
 * processes that acquire something first and become a server then; `ChildSpec.genServer` is this and no more.
 *
 * @since 0.1.0
 * @category constructors
 */
export function init<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options: NameOption<P>
): Effect.Effect<
  ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore,
  AlreadyStarted | StartFailed,
  R | Self | Registry.Registry
>
export function init<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options?: NameOption<P>
): Effect.Effect<
  ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore,
  AlreadyStarted | StartFailed,
  R | Self | Registry.Registry
> {
  return Effect.flatMap(definition.attach, (instance) =>
    options === undefined ? instance.init : Effect.andThen(registerAs(options.name, instance.server), instance.init)
  )
}

const registerAs = <P extends Protocol>(
  name: Registry.Name<Server<P>>,
  server: Server<P>
): Effect.Effect<void, AlreadyStarted | StartFailed, Self | Registry.Registry> =>
  Effect.mapError(Registry.register(name, server), (error) =>
    error._tag === "AlreadyRegistered"
      ? new AlreadyStarted({ name: name.key, process: error.process })
      : new StartFailed({ path: server.process.path, reason: ExitReason.crash(error) })
  )

type Outside<R> = Exclude<R, Self | Scope.Scope>

/**
 * Starts a server that no supervisor restarts and no scope ends, and waits for its `init` (`start/3`). It ends by
 * itself, by `stop`, by a signal or by a link. A crash is logged. In programs prefer a child of a supervisor.
 *
 * When the start fails, the process has ended before this does. When this is interrupted, the process is killed. To tie
 * a server to a scope, make this the first argument of `Effect.acquireRelease` and `stop` the second.
 *
 * @since 0.1.0
 * @category constructors
 */
export function start<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options: StartOptions & NameOption<P>
): Effect.Effect<Server<P>, StartError, Outside<R> | Registry.Registry>
/**
 * Starts a server that no supervisor restarts and no scope ends, and waits for its `init` (`start/3`). It ends by
 * itself, by `stop`, by a signal or by a link. A crash is logged. In programs prefer a child of a supervisor.
 *
 * When the start fails, the process has ended before this does. When this is interrupted, the process is killed. To tie
 * a server to a scope, make this the first argument of `Effect.acquireRelease` and `stop` the second.
 *
 * @since 0.1.0
 * @category constructors
 */
export function start<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options?: StartOptions & { readonly name?: undefined }
): Effect.Effect<Server<P>, StartError, Outside<R>>
export function start<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options?: StartOptions & { readonly name?: Registry.Name<Server<P>> | undefined }
): Effect.Effect<Server<P>, StartError, Outside<R> | Registry.Registry> {
  return Effect.andThen(
    refuseTaken(options?.name),
    internal.start(definition, bootOf(definition, options?.name), options, undefined)
  )
}

/**
 * The same, linked to the calling process, which is its parent (`start_link/3`): a server that traps exits runs
 * `terminate` when its parent ends, others end with it.
 *
 * @since 0.1.0
 * @category constructors
 */
export function startLink<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options: StartOptions & NameOption<P>
): Effect.Effect<Server<P>, StartError, Outside<R> | Self | Registry.Registry>
/**
 * The same, linked to the calling process, which is its parent (`start_link/3`): a server that traps exits runs
 * `terminate` when its parent ends, others end with it.
 *
 * @since 0.1.0
 * @category constructors
 */
export function startLink<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options?: StartOptions & { readonly name?: undefined }
): Effect.Effect<Server<P>, StartError, Outside<R> | Self>
export function startLink<P extends Protocol, R>(
  definition: GenServer<P, R>,
  options?: StartOptions & { readonly name?: Registry.Name<Server<P>> | undefined }
): Effect.Effect<Server<P>, StartError, Outside<R> | Self | Registry.Registry> {
  return Effect.andThen(
    refuseTaken(options?.name),
    Effect.flatMap(Self, (parent) =>
      internal.start(definition, bootOf(definition, options?.name), options, impl(parent))
    )
  )
}

/** A name that is taken is seen before anything is started, so that a linked starter gets no signal of it. */
const refuseTaken = <P extends Protocol>(
  name: Registry.Name<Server<P>> | undefined
): Effect.Effect<void, AlreadyStarted, Registry.Registry> =>
  name === undefined
    ? Effect.void
    : Effect.flatMap(
        Registry.whereIs(name),
        Option.match({
          onNone: () => Effect.void,
          onSome: (process) => Effect.fail(new AlreadyStarted({ name: name.key, process }))
        })
      )

const bootOf = <P extends Protocol, R>(
  definition: GenServer<P, R>,
  name: Registry.Name<Server<P>> | undefined
): Effect.Effect<
  ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore,
  AlreadyStarted | StartFailed,
  R | Self | Registry.Registry
> => (name === undefined ? init(definition) : init(definition, { name }))

/**
 * Options of {@link named}.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedOptions {
  /**
   * The behaviour of a call when no process has the name, as for a moment during a restart. `fail` (default): it fails with
   * {@link NoProcess}. `wait`: it waits for the name within its timeout, and fails with {@link NoProcess} after that. Casts
   * and messages are lost, or refused, in both cases.
   */
  readonly whenAbsent?: "fail" | "wait" | undefined
}

/**
 * A server by its name, in the registry found here. The name is looked up at each use, so that it follows restarts; it
 * need not be taken yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const named = <P extends Protocol>(
  name: Registry.Name<Server<P>>,
  options?: NamedOptions
): Effect.Effect<NamedServer<P>, never, Registry.Registry> =>
  Effect.map(Registry.Registry, (registry) => {
    const find = () => Registry.lookupUnsafe(registry, name)
    const path = String(name.key)
    const there = Effect.provideService(Registry.awaitName(name), Registry.Registry, registry)
    const server = Effect.suspend(() => {
      const server = find()
      return server === undefined ? Effect.fail(new NoProcess({ path })) : Effect.succeed(server)
    })
    return {
      server,
      call: (request, callOptions) =>
        Effect.suspend(() => {
          const server = find()
          if (server !== undefined) return server.call(request, callOptions)
          if (options?.whenAbsent !== "wait") return Effect.fail(new NoProcess({ path }))
          return internal.callWhenThere(there, path, request, callOptions)
        }),
      cast: (message) => Effect.suspend(() => find()?.cast(message) ?? Effect.void),
      stop: (options) => Effect.flatMap(server, (server) => server.stop(options)),
      send: (message) =>
        Effect.suspend((): Effect.Effect<void, Registry.BadName> => {
          const server = find()
          if (server !== undefined) return server.send(message)
          return Effect.fail(new Registry.BadName({ key: name.key, reason: "NotRegistered" }))
        })
    }
  })

/**
 * The activity of a server at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Inspection {
  /** Links, monitors, timers, and the rest of what is known of its process. */
  readonly process: ProcessInfo
  /** The state, as the last handler left it; `undefined` before `init` has succeeded. */
  readonly state: unknown
  /**
   * The message that is being handled: the kind and the tag, such as `call Add`, and since how many milliseconds the handler
   * waits. `undefined` when the server is idle.
   */
  readonly inHand: { readonly what: string; readonly millis: number } | undefined
  /** How many messages wait. */
  readonly depth: number
  /** The number of calls that have been handled and not replied to. */
  readonly openCalls: number
  /** How many casts were lost because the mailbox was full. */
  readonly lostCasts: number
}

/**
 * The activity of a server, without asking it: it is no message, so that a server which hangs is seen as well. For looking
 * at a program, not for its logic: the state belongs to the server.
 *
 * @since 0.1.0
 * @category accessors
 */
export const inspect = <P extends Protocol>(server: Server<P>): Effect.Effect<Inspection> =>
  Effect.sync(() => {
    if (!(server instanceof ServerHandle)) throw new TypeError("Not a server of @relive/otp")
    return inspectHandle(server)
  })

/**
 * Whether a value is a {@link GenServer} definition.
 *
 * @since 0.1.0
 * @category guards
 */
export const isGenServer = (value: unknown): value is GenServer<Protocol, unknown> =>
  Predicate.hasProperty(value, TypeId)
