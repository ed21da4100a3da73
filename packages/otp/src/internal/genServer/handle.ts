/**
 * The handle of a server and what waits in its mailbox.
 *
 * A call is one object from the caller to its reply: first an entry of the mailbox, then, while it is being handled or
 * its reply was deferred, an entry of the list of open calls. It is settled once, by the first of these: a reply, the
 * end of the server, or the caller going away. All waiting calls are in one of the two lists, so that the end of the
 * server finds them.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as ExitReason from "../../ExitReason.ts"
import type {
  CallError,
  CallOf,
  CallOptions,
  CallTag,
  CastMessage,
  ErrorOf,
  From,
  MailboxOptions,
  Protocol,
  ReplyOf,
  Server,
  StopError,
  StopOptions
} from "../../GenServer.ts"
import { Mailbox, EntryList } from "../../Mailbox.ts"
import type { Entry, Options } from "../../Mailbox.ts"
import type { Message, Process, Timer, TimerKey, TimerOptions } from "../../Process.ts"
import { CallingSelf, CallTimeout, MailboxFull, ServerExit } from "./errors.ts"
import { NoProcess, runAsHelper } from "../process/process.ts"
import type { ProcessImpl } from "../process/process.ts"
import { Self } from "../process/self.ts"
import { wake } from "../process/signals.ts"
import { delayMillis, handleOf, timersOf } from "../process/timers.ts"
import type { Tick } from "../process/timers.ts"
import { activityOf } from "./inspect.ts"
import { traceOf } from "./trace.ts"
import type { Trace } from "./trace.ts"

/** The message that a handler is called for. */
export type Handled = ServerEntry | ContinueEntry | TimeoutEntry

export interface ContinueEntry {
  readonly _tag: "Continue"
  readonly message: unknown
}

export interface TimeoutEntry {
  readonly _tag: "Timeout"
}

/** An entry in the mailbox of a server. */
export type ServerEntry = CallEntry | CastEntry | InfoEntry | StopEntry

abstract class Queued implements Entry<ServerEntry> {
  readonly count: number = 1
  readonly bytes: number
  next: ServerEntry | undefined = undefined
  previous: ServerEntry | undefined = undefined
  list: EntryList<ServerEntry> | undefined = undefined
  constructor(bytes: number) {
    this.bytes = bytes
  }
}

/** Where a call stands, for its caller. `replied` is handed over, but not yet received: the caller may still be cut. */
type Standing = "waiting" | "replied" | "received" | "gone"

/** A request, and the way back to its caller. */
export class CallEntry extends Queued implements From<unknown, unknown> {
  readonly _tag = "Call"
  readonly request: { readonly _tag: string }
  readonly caller: Process | undefined
  /** The context of the caller, if it has a span or log annotations. */
  readonly trace: Trace | undefined
  private readonly server: ProcessImpl
  private standing: Standing = "waiting"
  /** Set when the server takes the entry out of its mailbox: what holds it from then on is the list of open calls. */
  taken = false
  /** Whether the call was given up because its time was over. */
  isLate = false
  /** The outcome of a call that ended before its caller waited for it. */
  outcome: Effect.Effect<unknown, unknown> | undefined = undefined
  private waiter: ((outcome: Effect.Effect<unknown, unknown>) => void) | undefined = undefined
  private whenGone: WhenGone | undefined = undefined

  constructor(
    server: ProcessImpl,
    request: { readonly _tag: string },
    bytes: number,
    caller: Process | undefined,
    trace: Trace | undefined
  ) {
    super(bytes)
    this.server = server
    this.request = request
    this.caller = caller
    this.trace = trace
  }

  /** Whether the call has not been replied to, and its caller has not given it up. */
  get isOpen(): boolean {
    return this.standing === "waiting"
  }

  get isWaiting(): boolean {
    return this.standing === "waiting" && this.caller?.isAliveUnsafe !== false
  }

  /** Ends the call; only the first time counts. The caller goes on when the process that runs now waits. */
  settle(outcome: Effect.Effect<unknown, unknown>): boolean {
    if (this.standing !== "waiting") return false
    const isTaken = this.caller?.isAliveUnsafe !== false
    this.standing = "replied"
    this.close()
    if (this.waiter === undefined) this.outcome = outcome
    else this.waiter(outcome)
    return isTaken
  }

  /** The caller goes on: it has the reply, or, if `exit` says so, not. The request stays in the mailbox, if it is there. */
  left(exit: Exit.Exit<unknown, unknown>): void {
    if (this.standing === "received" || this.standing === "gone") return
    const isReceived = this.standing === "replied" && (Exit.isSuccess(exit) || !(this.isLate || isInterrupted(exit)))
    if (this.standing === "waiting") this.close()
    this.end(isReceived ? "received" : "gone")
  }

  private close(): void {
    if (this.taken) this.list?.remove(this)
  }

  private end(standing: "received" | "gone"): void {
    this.standing = standing
    const { whenGone } = this
    this.whenGone = undefined
    whenGone?.forgetCaller()
    if (standing === "gone") for (const run of whenGone?.runs ?? []) run()
  }

  /** Waits until the call is settled. */
  wait(): Effect.Effect<unknown, unknown> {
    return Effect.withFiber((fiber) =>
      Effect.callback<unknown, unknown>((resume) => {
        if (this.outcome !== undefined) return resume(this.outcome)
        this.waiter = (outcome) => wake(fiber, () => resume(outcome))
      })
    )
  }

  // Made when a handler asks for them, as most never do: an entry is made for each call.
  get reply(): (value: unknown) => Effect.Effect<boolean> {
    return (value) => Effect.sync(() => this.settle(Effect.succeed(value)))
  }

  get refuse(): (error: unknown) => Effect.Effect<boolean> {
    return (error) => Effect.sync(() => this.settle(Effect.fail(error)))
  }

  get onGone(): From<unknown, unknown>["onGone"] {
    return (effect) =>
      Effect.contextWith((context) => {
        this.addWhenGone(() => runAsHelper(this.server, context, effect, "onGone"))
        return Effect.void
      })
  }

  private addWhenGone(run: () => void): void {
    if (this.standing === "received") return
    if (this.standing === "gone") return run()
    if (this.whenGone !== undefined) {
      this.whenGone.runs.push(run)
      return
    }
    const whenGone: WhenGone = { runs: [run], forgetCaller: () => {} }
    this.whenGone = whenGone
    // A caller that was killed, but cannot be interrupted, still waits; nobody will use what it gets.
    if (this.caller !== undefined) whenGone.forgetCaller = this.caller.addObserver(() => this.end("gone"))
  }
}

interface WhenGone {
  readonly runs: Array<() => void>
  forgetCaller: () => void
}

const isInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Interrupt")

/** A cast. `admitted` is there while its sender waits for room. */
export class CastEntry extends Queued {
  readonly _tag = "Cast"
  readonly message: unknown
  readonly trace: Trace | undefined
  admitted: (() => void) | undefined = undefined

  constructor(message: unknown, bytes: number, trace: Trace | undefined) {
    super(bytes)
    this.message = message
    this.trace = trace
  }

  admit(): void {
    const admitted = this.admitted
    this.admitted = undefined
    admitted?.()
  }
}

/** A plain message, a signal, or the end of a watched process. */
export class InfoEntry extends Queued {
  readonly _tag = "Info"
  readonly message: Message

  constructor(message: Message) {
    super(0)
    this.message = message
  }
}

/** The order to stop. */
export class StopEntry extends Queued {
  readonly _tag = "Stop"
  readonly reason: ExitReason.ExitReason

  constructor(reason: ExitReason.ExitReason) {
    super(0)
    this.reason = reason
  }
}

/** How long a call waits when it says nothing, in milliseconds. */
export const DEFAULT_TIMEOUT = 5000

export const toMillis = (timeout: Duration.Input | "infinity" | undefined, otherwise: number): number =>
  timeout === undefined ? otherwise : timeout === "infinity" ? Infinity : Duration.toMillis(timeout)

/** Gives up waiting after a time. */
export const within = <A, E, R, E2>(
  effect: Effect.Effect<A, E, R>,
  millis: number,
  late: (millis: number) => E2
): Effect.Effect<A, E | E2, R> =>
  millis === Infinity
    ? effect
    : Effect.timeoutOrElse(effect, { duration: millis, orElse: () => Effect.fail(late(millis)) })

const optionsOf = (options: MailboxOptions | undefined): Options<ServerEntry> => ({
  capacity: options?.capacity,
  capacityBytes: options?.capacityBytes,
  whenFull: options?.whenFull,
  onAdmit: (entry) => {
    if (entry._tag === "Cast") entry.admit()
  }
})

/** One instance of a server, as its callers see it. */
export class ServerHandle<P extends Protocol> implements Server<P> {
  readonly process: ProcessImpl
  readonly mailbox: Mailbox<ServerEntry>
  /** Calls that were taken and have not been replied to. */
  readonly open = new EntryList<ServerEntry>()
  /** The message that is being handled; or was, when the process has ended in it. */
  inHand: Handled | undefined = undefined
  /** When the handler went on to wait for something. */
  inHandSince = 0
  /** The state of the server, once it has one. */
  readState: (() => unknown) | undefined = undefined
  private readonly sizeOf: ((message: unknown) => number) | undefined
  private lost = 0

  /** Whether handlers run under the span and the log annotations of their callers. */
  private readonly isTraced: boolean

  constructor(process: ProcessImpl, options: MailboxOptions | undefined, isTraced: boolean) {
    this.process = process
    this.isTraced = isTraced
    this.mailbox = new Mailbox(optionsOf(options))
    this.sizeOf = options?.sizeOf
    process.setReceiver(this)
    process.handlesParentExit = true
    process.activity = () => activityOf(this)
    process.addObserver((reason) => this.ended(reason))
  }

  // --- what callers do -------------------------------------------------------------------------------------------

  call<Tag extends CallTag<P>>(
    request: CallOf<P, Tag>,
    options?: CallOptions
  ): Effect.Effect<ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>> | CallError> {
    const outcome = Effect.withFiber<unknown, unknown>((fiber) => {
      const caller = Context.getOrUndefined(fiber.context, Self)
      const refusal = this.refusal(caller)
      if (refusal !== undefined) return Effect.fail(refusal)
      const trace = this.isTraced ? traceOf(fiber) : undefined
      const entry = new CallEntry(this.process, request, this.size(request), caller, trace)
      const answered = Effect.suspend(() => {
        if (this.mailbox.offer(entry) === "full") return Effect.fail(new MailboxFull({ path: this.path }))
        // An idle server has replied by now, and nothing needs a timer.
        return (
          entry.outcome ??
          within(entry.wait(), toMillis(options?.timeout, DEFAULT_TIMEOUT), (millis) => {
            entry.isLate = true
            return this.late(millis)
          })
        )
      })
      return Effect.onExit(answered, (exit) => {
        entry.left(exit)
        this.withdraw(entry)
        return Effect.void
      })
    })
    // The handler of the request replies with this: the handlers' types say so, the entry does not.
    return outcome as Effect.Effect<ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>> | CallError>
  }

  cast(message: CastMessage<P>): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      if (!this.process.isAliveUnsafe) return Effect.void
      const entry = new CastEntry(message, this.size(message), this.isTraced ? traceOf(fiber) : undefined)
      switch (this.mailbox.offer(entry)) {
        case "queued":
          return Effect.void
        case "full":
          this.lost++
          return Effect.void
        case "waiting":
          return this.awaitRoom(entry)
      }
    })
  }

  send(message: unknown): Effect.Effect<void> {
    return this.process.send(message)
  }

  stop(options?: StopOptions): Effect.Effect<void, StopError> {
    const reason = options?.reason ?? ExitReason.normal
    const stopping = Effect.withFiber<void, StopError>((fiber) => {
      const refusal = this.refusal(Context.getOrUndefined(fiber.context, Self))
      if (refusal !== undefined) return Effect.fail(refusal)
      return Effect.callback<void, StopError>((resume) => {
        const done = (actual: ExitReason.ExitReason) =>
          wake(fiber, () =>
            resume(
              Equal.equals(actual, reason)
                ? Effect.void
                : Effect.fail(new ServerExit({ path: this.path, reason: actual }))
            )
          )
        const remove = this.process.addObserver(done)
        this.mailbox.append(new StopEntry(reason))
        return Effect.sync(remove)
      })
    })
    return within(stopping, toMillis(options?.timeout, Infinity), this.late)
  }

  get waiting(): number {
    return this.mailbox.depth
  }

  get lostCount(): number {
    return this.lost
  }

  get depth(): Effect.Effect<number> {
    return Effect.sync(() => this.mailbox.depth)
  }

  get lostCasts(): Effect.Effect<number> {
    return Effect.sync(() => this.lost)
  }

  castAfter(time: Duration.Input, message: CastMessage<P>, options?: TimerOptions): Effect.Effect<Timer> {
    return Effect.sync(() => this.armCast(message, options?.key, delayMillis(time), undefined))
  }

  castEvery(time: Duration.Input, message: CastMessage<P>, options?: TimerOptions): Effect.Effect<Timer> {
    return Effect.sync(() => {
      const period = Math.max(1, delayMillis(time))
      return this.armCast(message, options?.key, period, period)
    })
  }

  cancelTimer(key: TimerKey): Effect.Effect<boolean> {
    return Effect.sync(() => this.process.timers?.cancelKey(key) === true)
  }

  private armCast(
    message: CastMessage<P>,
    key: TimerKey | undefined,
    delay: number,
    period: number | undefined
  ): Timer {
    const timers = timersOf(this.process)
    const timer = timers.arm(key, delay, period, () =>
      this.append(new CastEntry(message, this.size(message), undefined))
    )
    return handleOf(timers, timer)
  }

  // --- what the process does -------------------------------------------------------------------------------------

  /** The process hands over what it receives: never refused. */
  offer(message: Message): void {
    if (this.process.isAliveUnsafe) this.mailbox.append(new InfoEntry(message))
  }

  /** The same, with the way to take the message out again. */
  post(message: Message): Tick {
    return this.append(new InfoEntry(message))
  }

  private append(entry: ServerEntry): Tick {
    if (this.process.isAliveUnsafe) this.mailbox.append(entry)
    return { isWaiting: () => entry.list === this.mailbox.queue, remove: () => void this.mailbox.remove(entry) }
  }

  /** Removes messages that wait. */
  drop(test: (message: Message) => boolean): void {
    for (let entry = this.mailbox.queue.head; entry !== undefined;) {
      const next: ServerEntry | undefined = entry.next
      if (entry._tag === "Info" && test(entry.message)) this.mailbox.remove(entry)
      entry = next
    }
  }

  /** The next entry; a call is open from now on if its caller still waits. */
  take(): ServerEntry | undefined {
    const entry = this.mailbox.take()
    if (entry !== undefined && entry._tag === "Call") {
      entry.taken = true
      if (entry.isOpen) this.open.push(entry)
    }
    return entry
  }

  /** Waits until there is something to take. */
  readonly arrival: Effect.Effect<void> = Effect.withFiber((fiber) =>
    Effect.callback<void>((resume) => {
      const mailbox = this.mailbox
      if (mailbox.queue.head !== undefined) return resume(Effect.void)
      mailbox.onReady = () => {
        mailbox.onReady = undefined
        wake(fiber, () => resume(Effect.void))
      }
      return Effect.sync(() => {
        mailbox.onReady = undefined
      })
    })
  )

  // --- inside ----------------------------------------------------------------------------------------------------

  private get path(): string {
    return this.process.path
  }

  private readonly late = (timeoutMillis: number) => new CallTimeout({ path: this.path, timeoutMillis })

  private size(message: unknown): number {
    return this.sizeOf === undefined ? 0 : this.sizeOf(message)
  }

  private refusal(caller: Process | undefined): NoProcess | CallingSelf | undefined {
    if (caller === this.process) return new CallingSelf({ path: this.path })
    return this.process.isAliveUnsafe ? undefined : new NoProcess({ path: this.path })
  }

  private awaitRoom(entry: CastEntry): Effect.Effect<void> {
    return Effect.withFiber((fiber) =>
      Effect.callback<void>((resume) => {
        if (entry.list !== this.mailbox.waiting) return resume(Effect.void)
        entry.admitted = () => wake(fiber, () => resume(Effect.void))
        return Effect.sync(() => this.withdraw(entry))
      })
    )
  }

  /** An entry that has no room yet leaves with its sender. What is in the queue stays, as in OTP. */
  private withdraw(entry: ServerEntry): void {
    if (entry.list === this.mailbox.waiting) this.mailbox.remove(entry)
  }

  /** The process has ended: what waits is lost, and those who wait are told. */
  private ended(reason: ExitReason.ExitReason): void {
    this.mailbox.onReady = undefined
    const entries = this.mailbox.drain()
    for (let entry = this.open.shift(); entry !== undefined; entry = this.open.shift()) entries.push(entry)
    for (const entry of entries) {
      if (entry._tag === "Call") entry.settle(Effect.fail(new ServerExit({ path: this.path, reason })))
      else if (entry._tag === "Cast") entry.admit()
    }
  }
}
