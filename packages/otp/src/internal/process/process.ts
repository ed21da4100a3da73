/**
 * One process: a main fiber, a scope, links, monitors, names, and one death path.
 *
 * It is a small state machine driven by the exits of its fibers, so that a process costs one fiber while it runs:
 *
 *     starting ──acknowledge──▶ running
 *        │                         │  main fiber ended (by itself, or interrupted by a signal)
 *        └────────────┬────────────┘
 *                     ▼
 *                 stopping   terminate(reason) runs in a fiber of its own, so that it can be cut although the main
 *                     │      fiber was interrupted before
 *                 closing    the scope closes
 *                     ▼
 *                   ended    names go, then observers, monitors and links are told, in this order
 *
 * A kill goes from any phase to `ended` at once. What still runs of the instance then (an uninterruptible body, a slow
 * finalizer) goes on unheard: it is *abandoned* until it is *released*.
 *
 * The rules are OTP's: exit signals, links and monitors as the `erlang` module documents them, the parent's exit as
 * `gen_server` treats it.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as ExitReason from "../../ExitReason.ts"
import type { Details, Info, Message, MonitorRef, Process } from "../../Process.ts"
import type { LastCrash, SupervisorRef, TreeNode } from "../../Supervisor.ts"
import { fork } from "./fibers.ts"
import { Inbox } from "./inbox.ts"
import { Self } from "./self.ts"
import { deliver, hold, wake } from "./signals.ts"
import type { Tick, Timers } from "./timers.ts"

/**
 * There is no such process: it has ended, or nobody has the name. A link to it cannot be made, and a call to it was not
 * handled.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoProcess extends Data.TaggedError("NoProcess")<{ readonly path: string }> {
  override get message(): string {
    return `There is no process "${this.path}"`
  }
}

export const TypeId = "~@relive/otp/Process"

/** Where a process gets its messages; its owner's queue. */
export interface Receiver {
  offer(message: Message): void
  /** Keeps a message that may be taken out again; for queues that are no `Inbox`. */
  post?(message: Message): Tick
  /** How many messages wait. */
  readonly waiting?: number
  /** Removes messages that wait; for queues that are no `Inbox`. */
  drop?(test: (message: Message) => boolean): void
}

export type Terminate = (reason: ExitReason.ExitReason) => Effect.Effect<unknown, unknown>

export interface ProcessOptions {
  readonly id: string
  readonly path: string
  readonly generation: number
  /** The process that supervises this one: its exit ends this one whatever the reason (`gen_server`'s rule). */
  readonly parent: ProcessImpl | undefined
  /** The process it was started by: its parent, or the process that spawned it. */
  readonly origin: ProcessImpl | undefined
  /** The context of the code of the process, besides its own `Self` and `Scope`. */
  readonly context: Context.Context<never>
  readonly trapExit: boolean
}

export interface Activity {
  readonly what: string
  readonly millis: number
}

interface SupervisorOf {
  readonly ref: SupervisorRef<never>
  readonly hub: { readonly lastCrash: LastCrash | undefined }
}

export type Phase = "starting" | "running" | "stopping" | "closing" | "ended"

let serial = 0

export class ProcessImpl implements Process {
  readonly [TypeId]: typeof TypeId = TypeId
  readonly id: string
  readonly path: string
  readonly generation: number
  readonly serial: number
  readonly parent: ProcessImpl | undefined
  readonly origin: ProcessImpl | undefined
  readonly scope: Scope.Closeable
  readonly context: Context.Context<never>

  phase: Phase = "starting"
  trapping: boolean
  /** Set by processes that take their parent's exit as a message, in turn, instead of being stopped by it. */
  handlesParentExit = false
  /** Set by its supervisor, which waits for its end and serves nobody meanwhile. */
  isAwaited = false
  /** Set by supervisors: how they are asked, and what is kept for their whole tree. */
  supervisor: SupervisorOf | undefined = undefined
  /** Set by the process itself: what it tells observers. */
  details: (() => Details) | undefined = undefined
  /** Set by behaviours: what is being handled now, for log lines and observers. */
  activity: (() => Activity | undefined) | undefined = undefined
  /** Set by supervisors: what the tree shows below this process. */
  inspect: (() => ReadonlyArray<TreeNode>) | undefined = undefined
  /** Set by supervisors: gives up the starts that are under way in the tree. */
  abortStarts: (() => void) | undefined = undefined
  /** Set by supervisors: whether it serves nobody now. */
  isBusy: (() => boolean) | undefined = undefined
  /** Made with the first timer. */
  timers: Timers | undefined = undefined
  /** Why the process ended; final. */
  exitReason: ExitReason.ExitReason | undefined = undefined
  /** The terminate callback; known when the start has been acknowledged. */
  private terminate: Terminate | undefined = undefined
  /** Whether the end was caused by a signal that a process which does not trap exits cannot handle. */
  private struck = false
  /** The reason that the process was asked to end with. */
  private requested: ExitReason.ExitReason | undefined = undefined
  /** The reason the process is ending with, from `stopping` on. */
  private ending: ExitReason.ExitReason = ExitReason.normal
  private main: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** The fiber that runs `terminate`. */
  private last: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** The fiber that closes the scope. */
  private closing: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** Whether its body does nothing, so that it runs without a main fiber. */
  private rests = false
  /** How many of main, terminate and close run now. */
  private active = 0

  private receiver: Receiver | undefined = undefined
  /** The process it was linked to at its launch, most often its supervisor. A field, as most have no other link. */
  private launchLink: ProcessImpl | undefined = undefined
  private links: Set<ProcessImpl> | undefined = undefined
  private watchers: Map<MonitorRef, ProcessImpl> | undefined = undefined
  private watching: Set<MonitorRef> | undefined = undefined
  private observers: Array<(reason: ExitReason.ExitReason) => void> | undefined = undefined
  private cleanups: Set<() => void> | undefined = undefined
  private startWaiter: (() => void) | undefined = undefined
  /** Whether the start has been acknowledged, or failed. */
  isStartSettled = false
  /** Whether the start succeeded. */
  isAcknowledged = false
  private releaseWaiters: Array<() => void> | undefined = undefined

  constructor(options: ProcessOptions) {
    this.id = options.id
    this.path = options.path
    this.generation = options.generation
    this.serial = ++serial
    this.parent = options.parent
    this.origin = options.origin
    this.trapping = options.trapExit
    this.scope = Scope.makeUnsafe()
    this.context = Context.add(Context.add(options.context, Scope.Scope, this.scope), Self, this)
  }

  // --- life ------------------------------------------------------------------------------------------------------

  /** Starts the main fiber. `linkTo` is linked first, so that no end goes unseen. */
  launch<R>(body: Effect.Effect<unknown, unknown, R>, linkTo?: ProcessImpl | undefined): void {
    if (linkTo !== undefined) {
      if (linkTo.exitReason !== undefined) return this.end(ExitReason.killed)
      this.launchLink = linkTo
      ;(linkTo.links ??= new Set()).add(this)
    }
    // The context has what the body needs: its launcher built the one from the other.
    fork(this.context as Context.Context<R>, body, this)
  }

  // As the options of its main fiber, so that a process needs none of its own.
  get label(): string {
    return "main"
  }

  onStart(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.active++
    this.main = fiber
  }

  onExit(exit: Exit.Exit<unknown, unknown>): void {
    this.active--
    this.main = undefined
    if (!this.rests || this.isLeaving) this.bodyEnded(exit)
  }

  /**
   * The rest of the main fiber. A body that does nothing needs no fiber: the process then lives on without one until it is
   * told to end.
   */
  body<A, E, R>(run: Effect.Effect<A, E, R>): Effect.Effect<unknown, E, R> {
    if (run !== doesNothing) return run
    this.rests = true
    return Effect.void
  }

  /** The start has succeeded; the rest of the main fiber is the body. A no-op when the process is ending already. */
  acknowledge(terminate: Terminate | undefined, trapExit: boolean): void {
    if (this.phase !== "starting") return
    this.terminate = terminate
    if (trapExit) this.trapping = true
    this.phase = "running"
    this.isAcknowledged = true
    this.startSettled()
  }

  /** Calls back once, when the start has been acknowledged or the process has ended before. */
  onStartSettled(callback: () => void): void {
    if (this.isStartSettled) callback()
    else this.startWaiter = callback
  }

  private startSettled(): void {
    this.isStartSettled = true
    const waiter = this.startWaiter
    this.startWaiter = undefined
    waiter?.()
  }

  private bodyEnded(exit: Exit.Exit<unknown, unknown>): void {
    if (this.phase === "ended") return this.checkReleased()
    this.ending = ExitReason.fromExit(exit, this.requested)
    const terminate = this.terminate
    if (terminate === undefined || this.struck) return this.close()
    this.phase = "stopping"
    fork(
      this.context,
      Effect.suspend(() => terminate(this.ending)),
      {
        label: "terminate",
        path: this.path,
        onStart: (fiber) => {
          this.active++
          this.last = fiber
        },
        onExit: (exit) => this.terminateEnded(exit)
      }
    )
  }

  private terminateEnded(exit: Exit.Exit<unknown, unknown>): void {
    this.active--
    this.last = undefined
    if (this.phase === "ended") return this.checkReleased()
    // The failure of terminate replaces the reason, unless it was cut.
    if (Exit.isFailure(exit)) this.ending = ExitReason.fromCause(exit.cause, this.ending)
    this.close()
  }

  private close(): void {
    this.phase = "closing"
    const closing = Scope.closeUnsafe(this.scope, exitFor(this.ending))
    if (closing === undefined) return this.end(this.ending)
    this.forkClose(closing)
  }

  private forkClose(closing: Effect.Effect<void>): void {
    fork(this.context, closing, {
      label: "close",
      path: this.path,
      uninterruptible: true,
      onStart: (fiber) => {
        this.active++
        this.closing = fiber
      },
      onExit: (exit) => {
        this.active--
        this.closing = undefined
        if (Exit.isFailure(exit)) this.logClose(exit.cause)
        if (this.phase === "ended") this.checkReleased()
        else this.end(this.ending)
      }
    })
  }

  private logClose(cause: Cause.Cause<unknown>): void {
    this.report(Effect.logError(`Process "${this.path}": a finalizer failed`, cause))
  }

  /** Runs an effect of the runtime's own, a log line, on behalf of this process. */
  report(effect: Effect.Effect<unknown>): void {
    fork(this.context, effect, { label: "log", path: this.path, onExit: ignoreExit })
  }

  /** The death path: the only place where a process becomes `ended`. */
  private end(reason: ExitReason.ExitReason): void {
    if (this.exitReason !== undefined) return
    this.phase = "ended"
    this.exitReason = reason
    this.announce(reason)
    this.checkReleased()
  }

  private announce(reason: ExitReason.ExitReason): void {
    const { cleanups, launchLink, links, observers, watchers, watching } = this
    this.cleanups = this.links = this.launchLink = this.observers = this.watchers = this.watching = undefined
    if (cleanups !== undefined) for (const cleanup of cleanups) cleanup()
    if (watching !== undefined) for (const ref of watching) impl(ref.process).watchers?.delete(ref)
    // Links are told before monitors, as in Erlang, and all before any waiter goes on: a caller that is linked to this
    // process ends with it, and does not see the result of its call before.
    hold(() => {
      if (observers !== undefined) for (const observer of observers) observer(reason)
      this.startSettled()
      if (launchLink !== undefined) this.tellLinked(launchLink, reason)
      if (links !== undefined) for (const linked of links) this.tellLinked(linked, reason)
      if (watchers !== undefined) {
        for (const [ref, watcher] of watchers) {
          watcher.watching?.delete(ref)
          deliver(() => watcher.receive({ _tag: "Down", ref, process: this, reason }))
        }
      }
    })
  }

  private tellLinked(linked: ProcessImpl, reason: ExitReason.ExitReason): void {
    linked.forgetLink(this)
    deliver(() => linked.signal(this, reason, true))
  }

  private forgetLink(other: ProcessImpl): void {
    if (this.launchLink === other) this.launchLink = undefined
    else this.links?.delete(other)
  }

  /** Why the process is ending, when its scope is closed for that; else `undefined`. */
  get leavingReason(): ExitReason.ExitReason | undefined {
    if (this.phase === "closing") return this.ending
    return this.phase === "ended" ? (this.exitReason ?? ExitReason.killed) : undefined
  }

  /** All that is known of the process, as it is now. */
  get info(): Info {
    const { activity, exitReason, launchLink, links, phase, receiver, watchers, watching } = this
    return {
      id: this.id,
      path: this.path,
      generation: this.generation,
      serial: this.serial,
      state: phase === "ended" ? (this.isAbandoned ? "abandoned" : "ended") : phase === "closing" ? "stopping" : phase,
      exitReason,
      trapExit: this.trapping,
      supervisor: this.parent,
      links: [...(launchLink === undefined ? [] : [launchLink]), ...(links ?? [])],
      monitors: Array.from(watching ?? [], ({ process }) => process),
      monitoredBy: Array.from(watchers?.values() ?? []),
      mailboxDepth: receiver?.waiting ?? 0,
      timers: this.timers?.size ?? 0,
      handling: this.exitReason === undefined ? activity?.() : undefined,
      details: this.described
    }
  }

  /** Looking at a process must not fail because of what it tells. */
  private get described(): Details | undefined {
    try {
      return this.details?.()
    } catch (error) {
      return { kind: "describe failed", facts: { error: error instanceof Error ? error.name : typeof error } }
    }
  }

  /** Whether this fiber is the process itself, and no helper beside it. */
  isRunBy(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber === this.main || fiber === this.last || fiber === this.closing
  }

  /** Its activity, or the last one when it has ended, as the end of a log line. */
  get doing(): string {
    const activity = this.activity?.()
    return activity === undefined ? "" : `, while handling ${activity.what}`
  }

  get isAbandoned(): boolean {
    return this.phase === "ended" && this.active > 0
  }

  private checkReleased(): void {
    if (this.releaseWaiters === undefined || this.isAbandoned) return
    const waiters = this.releaseWaiters
    this.releaseWaiters = undefined
    for (const waiter of waiters) waiter()
  }

  /** Calls back when nothing of an ended instance runs any more. */
  onReleased(callback: () => void): void {
    if (this.phase === "ended" && !this.isAbandoned) callback()
    else (this.releaseWaiters ??= []).push(callback)
  }

  // --- signals ---------------------------------------------------------------------------------------------------

  /** An exit signal arrives, from `from` (undefined: from code outside any process), over a link or by `exit`. */
  signal(from: ProcessImpl | undefined, reason: ExitReason.ExitReason, overLink: boolean): void {
    if (this.phase === "ended") return
    if (reason._tag === "Kill" && !overLink) return this.kill()
    if (!this.trapping) {
      if (reason._tag === "Normal" && !(from === this && !overLink)) return
      this.struck = true
      return this.stop(reason)
    }
    const fromParent = from !== undefined && from === this.parent
    if (fromParent && !this.handlesParentExit) return this.stop(reason)
    this.receive({ _tag: fromParent ? "ParentExit" : "Exit", from, reason })
  }

  /** Interrupts what runs, so that the process ends with `reason`. */
  stop(reason: ExitReason.ExitReason): void {
    if (this.phase === "starting" || this.phase === "running") {
      this.requested ??= reason
      if (this.main !== undefined) this.main.interruptUnsafe()
      else if (this.rests) this.bodyEnded(Exit.interrupt())
    } else if (this.phase === "stopping" && this.struck) {
      this.ending = reason
      this.last?.interruptUnsafe()
    }
  }

  /** A linked helper fiber has failed: the process ends with its cause, as if its body had failed. */
  helperFailed(cause: Cause.Cause<unknown>): void {
    const reason = ExitReason.fromCause(cause)
    // A supervisor stops its children in order, so it is asked.
    if (this.handlesParentExit) return this.receive({ _tag: "ParentExit", from: this, reason })
    if (this.phase === "stopping") this.ending = reason
    else this.stop(reason)
  }

  /** Ends the process at once. What still runs of it is fenced, interrupted, and waited for by nobody. */
  kill(): void {
    if (this.phase === "ended") return
    const closed = this.phase === "closing"
    this.phase = "ended"
    this.main?.interruptUnsafe()
    if (!closed) {
      this.last?.interruptUnsafe()
      const closing = Scope.closeUnsafe(this.scope, exitFor(ExitReason.killed))
      if (closing !== undefined) this.forkClose(closing)
    }
    this.end(ExitReason.killed)
  }

  // --- links, monitors, names ------------------------------------------------------------------------------------

  addLink(other: ProcessImpl): void {
    if (other === this || this.launchLink === other || other.launchLink === this) return
    ;(this.links ??= new Set()).add(other)
    ;(other.links ??= new Set()).add(this)
  }

  removeLink(other: ProcessImpl): void {
    this.forgetLink(other)
    other.forgetLink(this)
  }

  /** Undoes a link and forgets the exit of the other that has come over it (`unlink` and flush). */
  removeLinkAndFlush(other: ProcessImpl): void {
    this.removeLink(other)
    this.drop((message) => message._tag === "Exit" && message.from === other)
  }

  private drop(test: (message: Message) => boolean): void {
    if (this.receiver instanceof Inbox) this.receiver.removeWhere(test)
    else this.receiver?.drop?.(test)
  }

  watch(watched: ProcessImpl): MonitorRef {
    const ref: MonitorRef = { _tag: "MonitorRef", process: watched }
    if (watched.exitReason !== undefined) {
      this.receive({ _tag: "Down", ref, process: watched, reason: ExitReason.noProcess })
    } else {
      ;(watched.watchers ??= new Map()).set(ref, this)
      ;(this.watching ??= new Set()).add(ref)
    }
    return ref
  }

  unwatch(ref: MonitorRef, flush: boolean): void {
    this.watching?.delete(ref)
    impl(ref.process).watchers?.delete(ref)
    if (flush) this.drop((message) => message._tag === "Down" && message.ref === ref)
  }

  /** Runs at the end of the process, before any other process hears of it. Returns the removal. */
  addCleanup(cleanup: () => void): () => void {
    const cleanups = (this.cleanups ??= new Set())
    cleanups.add(cleanup)
    return () => {
      cleanups.delete(cleanup)
    }
  }

  // --- messages --------------------------------------------------------------------------------------------------

  /** Puts a message into the queue of the process. The dead get none. */
  receive(message: Message): void {
    if (this.phase === "ended") return
    ;(this.receiver ??= new Inbox<Message>()).offer(message)
  }

  /** As `receive`; the message can be taken out again as long as it waits. */
  post(message: Message): Tick {
    if (this.phase === "ended") return gone
    const receiver: Receiver = (this.receiver ??= new Inbox<Message>())
    if (receiver.post !== undefined) return receiver.post(message)
    receiver.offer(message)
    return gone
  }

  /** Makes `receiver` the queue of the process; what came before is moved over. */
  setReceiver(receiver: Receiver): void {
    const before = this.receiver
    this.receiver = receiver
    if (before instanceof Inbox) for (const message of before.drain()) receiver.offer(message)
  }

  /** The next message; for processes without a receiver of their own. */
  get next(): Effect.Effect<Message> {
    return Effect.suspend(() => {
      if (this.phase === "ended") return Effect.never
      const receiver = (this.receiver ??= new Inbox<Message>())
      return receiver instanceof Inbox ? (receiver as Inbox<Message>).take : Effect.never
    })
  }

  /** Whether the process has been asked to end, or is ending. */
  get isLeaving(): boolean {
    return this.requested !== undefined || (this.phase !== "starting" && this.phase !== "running")
  }

  // --- the public handle -----------------------------------------------------------------------------------------

  get isAliveUnsafe(): boolean {
    return this.phase !== "ended"
  }

  get isAlive(): Effect.Effect<boolean> {
    return Effect.sync(() => this.isAliveUnsafe)
  }

  exit(reason: ExitReason.ExitReason): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      const from = Context.getOrUndefined(fiber.context, Self)
      deliver(() => this.signal(from === undefined ? undefined : impl(from), reason, false))
      return Effect.void
    })
  }

  send(message: unknown): Effect.Effect<void> {
    return Effect.sync(() => this.receive({ _tag: "Message", message }))
  }

  get link(): Effect.Effect<void, NoProcess, Self> {
    return Effect.flatMap(Self, (process) => {
      const self = impl(process)
      if (this.exitReason === undefined) {
        self.addLink(this)
        return Effect.void
      }
      if (!self.trapping) return Effect.fail(new NoProcess({ path: this.path }))
      self.receive({ _tag: "Exit", from: this, reason: ExitReason.noProcess })
      return Effect.void
    })
  }

  get unlink(): Effect.Effect<void, never, Self> {
    return Effect.map(Self, (self) => this.removeLink(impl(self)))
  }

  get monitor(): Effect.Effect<MonitorRef, never, Self> {
    return Effect.map(Self, (self) => impl(self).watch(this))
  }

  demonitor(ref: MonitorRef, options?: { readonly flush?: boolean | undefined }): Effect.Effect<void, never, Self> {
    return Effect.map(Self, (self) => impl(self).unwatch(ref, options?.flush === true))
  }

  get awaitExit(): Effect.Effect<ExitReason.ExitReason> {
    return Effect.withFiber((fiber) =>
      Effect.callback((resume) => {
        const remove = this.addObserver((reason) => wake(fiber, () => resume(Effect.succeed(reason))))
        return Effect.sync(remove)
      })
    )
  }

  addObserver(observer: (reason: ExitReason.ExitReason) => void): () => void {
    if (this.exitReason !== undefined) {
      observer(this.exitReason)
      return () => {}
    }
    ;(this.observers ??= []).push(observer)
    return () => {
      const index = this.observers?.indexOf(observer) ?? -1
      if (index >= 0) this.observers?.splice(index, 1)
    }
  }

  toJSON(): unknown {
    return { _id: "Process", path: this.path, generation: this.generation, phase: this.phase }
  }

  toString(): string {
    return `Process(${this.path}, generation ${this.generation}, ${this.phase})`
  }

  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toString()
  }
}

/** The implementation behind a handle. */
export const impl = (process: Process): ProcessImpl => {
  if (process instanceof ProcessImpl) return process
  throw new TypeError("Not a process of @relive/otp")
}

/**
 * Runs `effect` beside the body of a process: it lives in the scope of the process, and its failure ends the process with
 * the same cause. `undefined` when the process has ended.
 */
export const runAsHelper = <A, E, R>(
  process: ProcessImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  label: string
): Fiber.Fiber<A, E> | undefined => {
  if (!process.isAliveUnsafe) return undefined
  const fiber = fork(context, effect, {
    label,
    path: process.path,
    onExit: (exit) => {
      if (Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag !== "Interrupt")) {
        process.helperFailed(exit.cause)
      }
    }
  })
  return Fiber.runIn(fiber, process.scope)
}

/** Waits until a process has acknowledged its start, or ended. */
export const awaitStart = (process: ProcessImpl): Effect.Effect<void> =>
  Effect.withFiber((fiber) =>
    Effect.callback((resume) => process.onStartSettled(() => wake(fiber, () => resume(Effect.void))))
  )

const exitFor = (reason: ExitReason.ExitReason): Exit.Exit<void, unknown> => {
  switch (reason._tag) {
    case "Normal":
    case "Shutdown":
      return Exit.void
    case "Crash":
      return Exit.failCause(reason.cause)
    default:
      return Exit.interrupt()
  }
}

const doesNothing: Effect.Effect<unknown, unknown, unknown> = Effect.never

const gone: Tick = { isWaiting: () => false, remove: () => {} }

const ignoreExit = (): void => {}
