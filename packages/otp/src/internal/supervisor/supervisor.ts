/**
 * The supervisor's loop: Erlang's `supervisor` as one class. One queue holds the ends of children, calls and its own
 * retries, and they are handled strictly in order; the children are data in two maps, so that no look-up depends on
 * their number.
 *
 * The methods named after OTP's algorithm (`childEnded`, `restart`, `restartGroup`, `tryAgain`) are where its rules
 * are; each rule is in one place. Starting and stopping a child that does so at once takes no step of an effect.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as ExitReason from "../../ExitReason.ts"
import type { Message, Process } from "../../Process.ts"
import type {
  ChildCounts,
  ChildInfo,
  StartChildOptions,
  StartedChild,
  SupervisorEvent,
  TreeNode
} from "../../Supervisor.ts"
import { nowMillis } from "../process/time.ts"
import { Backoff } from "./backoff.ts"
import { Child, childInfo, childNode, ignored, nodeState } from "./child.ts"
import type { Postponed, StartResult } from "./child.ts"
import { SupervisorError, SupervisorStartError } from "./errors.ts"
import type { EventHub } from "./events.ts"
import { awaitAwake } from "../process/awake.ts"
import { Inbox } from "../process/inbox.ts"
import { awaitStart, impl, ProcessImpl } from "../process/process.ts"
import type { Terminate } from "../process/process.ts"
import { Self } from "../process/self.ts"
import type { AnySpec, Settings } from "./settings.ts"
import { wake } from "../process/signals.ts"
import { publish } from "./metrics.ts"
import { invalidSpec, millis } from "./specs.ts"
import { Window } from "./window.ts"

interface Call {
  readonly _tag: "Call"
  readonly serve: Effect.Effect<unknown, SupervisorError>
  /** The caller has given up before its turn. */
  isWithdrawn: boolean
  /** The reply it got. */
  answer: Effect.Effect<never, SupervisorError> | Exit.Exit<unknown, SupervisorError> | undefined
  readonly reply: (exit: Effect.Effect<never, SupervisorError> | Exit.Exit<unknown, SupervisorError>) => void
}

interface Stop {
  readonly _tag: "Stop"
  readonly reason: ExitReason.ExitReason
  /** Its turn has come: the supervisor ends because of it, and not of something before it. */
  served: boolean
}

type Inboxed =
  | Message
  | Call
  | Stop
  | { readonly _tag: "TryAgain"; readonly child: Child; readonly reason: ExitReason.ExitReason }
  | { readonly _tag: "Resume"; readonly postponed: Postponed }

/** Set when the supervisor has to end: with this reason, after its children. */
type Verdict = ExitReason.ExitReason | undefined

const refuse = (reason: SupervisorError["reason"]): Effect.Effect<never, SupervisorError> =>
  Effect.fail(new SupervisorError({ reason }))

// --- the loop --------------------------------------------------------------------------------------------------------

export class Supervisor {
  readonly process: ProcessImpl
  private readonly settings: Settings
  /** The context of children: that of the supervisor, never that of a caller. Final when the first one starts. */
  context: Context.Context<never>
  private readonly clock: Clock.Clock
  readonly hub: EventHub
  private readonly inbox = new Inbox<Inboxed>()
  /** The children of a static supervisor, in start order. */
  private readonly children = new Map<string, Child>()
  /** Running children by process; of a simple or dynamic supervisor these are all, restarting ones by their last. */
  private readonly instances = new Map<ProcessImpl, Child>()
  /** Killed instances of which something still runs. */
  private abandoned: Map<ProcessImpl, Child> | undefined = undefined
  private calls: Set<Call> | undefined = undefined
  private readonly backoff: Backoff
  /** When restarts happened, within the period. */
  private readonly restarts = new Window()
  /** The tree is given up: nothing is started any more. */
  private aborted = false
  /** The call that is served now. */
  private serving: Call | undefined = undefined
  restartsSoFar = 0
  crashesSoFar = 0
  /** Calls are refused with this reason, as nobody will serve them. */
  private stopping: ExitReason.ExitReason | undefined = undefined
  private current: Child | undefined = undefined

  constructor(process: ProcessImpl, settings: Settings, context: Context.Context<never>, hub: EventHub) {
    this.process = process
    this.settings = settings
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.backoff = new Backoff(context, this.clock, settings.periodMillis, (postponed) =>
      this.inbox.offer({ _tag: "Resume", postponed })
    )
    this.hub = hub
    for (const spec of settings.children) this.children.set(spec.id, new Child(spec, process.path))
  }

  private get isStatic(): boolean {
    return this.settings.kind === "static"
  }

  get depth(): number {
    return this.inbox.size
  }

  get isBusy(): boolean {
    return this.process.isAliveUnsafe && !this.inbox.isWaiting
  }

  /** Takes over the process: its signals come into the one queue. */
  takeOver(): void {
    const { process } = this
    process.trapping = true
    process.handlesParentExit = true
    process.setReceiver(this.inbox)
    process.inspect = () => this.nodes()
    process.isBusy = () => this.isBusy
    process.abortStarts = () => this.abortStarts()
    process.addObserver((reason) => this.ended(reason))
    const unpublish = publish(this.context, process.path, this)
    if (unpublish !== undefined) process.addObserver(unpublish)
  }

  private ended(reason: ExitReason.ExitReason): void {
    this.backoff.cancelAll()
    const calls = this.takeCalls()
    this.publish({ _tag: "SupervisorExited", path: this.process.path, reason })
    for (const call of calls) call.reply(refuse({ _tag: "Exited", reason }))
  }

  private takeCalls(): ReadonlyArray<Call> {
    const calls = Array.from(this.calls ?? [])
    this.calls = undefined
    return calls
  }

  /** The supervisor stops, and that may take long: nobody waits for it any more. */
  private refuseCalls(reason: ExitReason.ExitReason): void {
    this.stopping = reason
    for (const call of this.takeCalls()) call.reply(refuse({ _tag: "Exited", reason }))
  }

  // --- start ---

  /** Starts the children in order; when one fails, stops those before it in reverse order and fails. */
  get boot(): Effect.Effect<void, SupervisorStartError> {
    return this.startAll()
  }

  private startAll() {
    return Effect.gen({ self: this }, function* () {
      let count = 0
      for (const child of this.children.values()) {
        if (++count % TURN === 0) yield* Effect.yieldNow
        const result = this.startNow(child) ?? (yield* this.startSoon(child))
        if (result._tag === "Ignored") this.remove(child)
        const failed = this.aborted
          ? ({ _tag: "Exited", reason: ExitReason.shutdown } as const)
          : result._tag === "Failed"
            ? ({ _tag: "FailedToStartChild", id: child.spec.id, reason: result.reason } as const)
            : undefined
        if (failed !== undefined) {
          yield* this.stopAll()
          return yield* new SupervisorStartError({ reason: failed })
        }
      }
    })
  }

  /**
   * The tree is given up from outside: starts that are under way, here and below, are interrupted, so that none that
   * hangs holds up the stop, and nothing is started any more. A supervisor that starts itself rolls back; others wait
   * until they are stopped in their turn.
   */
  private abortStarts(): void {
    this.aborted = true
    const starting = this.current?.starting
    if (starting?.abortStarts !== undefined) starting.abortStarts()
    else starting?.signal(this.process, ExitReason.shutdown, false)
    for (const child of this.all()) child.process?.abortStarts?.()
  }

  /** Starts an instance of a child; `undefined` when it neither acknowledged nor ended at once. */
  private startNow(child: Child): StartResult | undefined {
    if (this.aborted) return abortedStart
    const process = this.launch(child)
    return process.isStartSettled ? this.startSettled(child, process) : undefined
  }

  /** Waits for the start that `startNow` began. */
  private startSoon(child: Child): Effect.Effect<StartResult> {
    const process = child.starting
    if (process === undefined) return Effect.die(new Error("No start is under way"))
    return Effect.map(awaitStart(process), () => this.startSettled(child, process))
  }

  private start(child: Child): Effect.Effect<StartResult> {
    return Effect.suspend(() => {
      const result = this.startNow(child)
      return result === undefined ? this.startSoon(child) : Effect.succeed(result)
    })
  }

  private launch(child: Child): ProcessImpl {
    const { spec } = child
    const process = new ProcessImpl({
      id: spec.id,
      path: child.path,
      generation: child.generation + 1,
      parent: this.process,
      origin: this.process,
      context: this.context,
      trapExit: spec.trapExit === true
    })
    this.current = child
    child.starting = process
    child.outcome = undefined
    // The context of the process holds all that start, run and terminate need: its supervisor was built with it.
    const body = Effect.flatMap(spec.start, (outcome) => {
      child.outcome = outcome
      if (outcome._tag === "Ignore") return Effect.void
      if (outcome._tag !== "Started") {
        return Effect.die(new TypeError(`The start of "${child.path}" answered neither started nor ignore`))
      }
      process.acknowledge(outcome.terminate as Terminate | undefined, spec.trapExit ?? outcome.terminate !== undefined)
      return process.body(outcome.run)
    })
    process.launch(body, this.process)
    return process
  }

  private startSettled(child: Child, process: ProcessImpl): StartResult {
    child.starting = undefined
    this.current = undefined
    const { outcome } = child
    if (process.isAcknowledged && outcome?._tag === "Started") {
      if (child.previous !== undefined) this.instances.delete(child.previous)
      child.previous = undefined
      child.process = process
      child.state = "running"
      child.generation = process.generation
      this.backoff.started(child)
      this.instances.set(process, child)
      this.publishChild("ChildStarted", child)
      return { _tag: "Running", process, info: outcome.info }
    }
    const reason = process.exitReason ?? ExitReason.killed
    if (outcome?._tag === "Ignore" && reason._tag === "Normal") {
      this.publishChild("ChildStartIgnored", child)
      return ignored
    }
    this.publishChild("ChildStartFailed", child, reason)
    if (reason._tag === "Crash") this.hub.lastCrash = { path: child.path, cause: reason.cause }
    if (process.isAbandoned) this.abandon(child, process)
    return { _tag: "Failed", reason }
  }

  // --- the loop ---

  get loop(): Effect.Effect<void> {
    return this.serve()
  }

  private serve() {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const reason = yield* this.handle(yield* this.inbox.take)
        if (reason === undefined) continue
        if (this.settings.beforeStop !== undefined) {
          this.refuseCalls(ExitReason.shutdown)
          yield* this.settings.beforeStop
        }
        yield* this.stopAll()
        if (reason._tag === "Normal") return
        return yield* ExitReason.exit(reason)
      }
    })
  }

  private handle(message: Inboxed): Effect.Effect<Verdict> {
    switch (message._tag) {
      case "Exit":
        return this.childEnded(message.from, message.reason)
      case "Call":
        return this.answer(message)
      case "TryAgain":
        return message.child.state === "restarting" && message.child.postponed === undefined
          ? this.restart(message.child, message.reason)
          : goOn
      case "Resume":
        return this.resume(message.postponed)
      case "ParentExit":
        return Effect.succeed(message.reason)
      case "Stop":
        message.served = true
        // The caller comes to its wait first, so that it hears of the end before others act upon it.
        return Effect.as(Effect.yieldNow, message.reason)
      // A supervisor takes no messages, and watches nobody.
      case "Message":
      case "Down":
        return goOn
    }
  }

  private answer(call: Call): Effect.Effect<Verdict> {
    if (call.isWithdrawn) return goOn
    this.serving = call
    return Effect.flatMap(Effect.exit(call.serve), (exit) => {
      this.serving = undefined
      if (this.calls?.delete(call) === true) call.reply(exit)
      return this.inbox.size === 0 ? goOn : behindTheWoken
    })
  }

  // --- ends of children ---

  /** OTP's `restart_child`: what the end of a child leads to. */
  private childEnded(from: Process | undefined, reason: ExitReason.ExitReason): Effect.Effect<Verdict> {
    const process = from === undefined ? undefined : impl(from)
    const child = process === undefined ? undefined : this.instances.get(process)
    // The end of an instance that was stopped or replaced meanwhile, or of a stranger.
    if (process === undefined || child === undefined || child.process !== process) return goOn
    this.instanceEnded(child, process, reason)
    const { restart } = child.spec
    const expected = ExitReason.isExpected(reason)
    if (restart === "permanent" || !expected) this.logEnd(child, process, reason)
    if (restart === "permanent" || (restart === "transient" && !expected)) {
      child.state = "restarting"
      return this.restart(child, reason)
    }
    this.remove(child)
    return Effect.succeed(this.autoShutdown(child))
  }

  /** Takes note that the instance is gone. */
  private instanceEnded(child: Child, process: ProcessImpl, reason: ExitReason.ExitReason): void {
    this.instances.delete(process)
    child.process = undefined
    if (!this.isStatic) child.previous = process
    child.lastExit = reason
    if (!ExitReason.isExpected(reason)) this.crashesSoFar++
    if (reason._tag === "Crash") this.hub.lastCrash = { path: child.path, cause: reason.cause }
    child.state = "stopped"
    this.backoff.ended(child)
    this.publishChild("ChildExited", child, reason)
    if (process.isAbandoned) this.abandon(child, process)
  }

  private abandon(child: Child, process: ProcessImpl): void {
    ;(this.abandoned ??= new Map()).set(process, child)
    this.publishChild("ChildAbandoned", child)
    this.process.report(
      about(
        child,
        process.generation,
        Effect.logWarning(
          `Child "${child.path}" was killed, but something of generation ${process.generation} still runs`
        )
      )
    )
    process.onReleased(() => {
      this.abandoned?.delete(process)
      this.publishChild("ChildReleased", child)
    })
  }

  /** A child that does not run any more: its spec stays as a stopped child, or is forgotten if temporary or dynamic. */
  private remove(child: Child): void {
    if (child.postponed !== undefined) this.backoff.cancel(child.postponed)
    child.state = "stopped"
    if (!this.isStatic) {
      if (child.previous !== undefined) this.instances.delete(child.previous)
    } else if (child.spec.restart === "temporary") this.children.delete(child.spec.id)
  }

  /** Whether the end of this child, without restart, is that of the supervisor. */
  private autoShutdown(child: Child): Verdict {
    if (!child.spec.significant) return undefined
    if (this.settings.autoShutdown === "anySignificant") return ExitReason.shutdown
    if (this.settings.autoShutdown !== "allSignificant") return undefined
    for (const other of this.all()) if (other.spec.significant && other.state !== "stopped") return undefined
    return ExitReason.shutdown
  }

  // --- restarts ---

  /** Restarts a child, with its group: after its backoff, or at once if the intensity allows it. */
  private restart(child: Child, reason: ExitReason.ExitReason) {
    return Effect.gen({ self: this }, function* () {
      this.keepRestarting(child)
      if (this.aborted) return undefined
      const delayMillis = yield* this.backoff.nextDelay(child, reason)
      if (delayMillis === undefined && !this.countRestart()) {
        this.publish({ _tag: "IntensityExceeded", path: this.process.path, child: child.path })
        this.process.report(
          Effect.logError(
            `Supervisor "${this.process.path}" gives up: more than ${this.settings.intensity} restarts in ` +
              `${this.settings.periodMillis} ms, the last one of "${child.path}"`
          )
        )
        this.remove(child)
        return ExitReason.shutdown
      }
      child.restarts++
      this.restartsSoFar++
      this.publish({
        _tag: "ChildRestarting",
        path: child.path,
        restarts: child.restarts,
        reason,
        delayMillis: delayMillis ?? 0
      })
      if (delayMillis === undefined || delayMillis === 0) yield* this.restartGroup(child)
      else yield* this.postpone(child, delayMillis)
      return undefined
    })
  }

  private countRestart(): boolean {
    const { intensity, periodMillis } = this.settings
    return this.restarts.add(nowMillis(this.clock), periodMillis) <= intensity
  }

  /** Those who are restarted with a child, in start order. */
  private group(child: Child): ReadonlyArray<Child> {
    if (!this.isStatic || this.settings.strategy === "oneForOne") return [child]
    const all = Array.from(this.children.values())
    return this.settings.strategy === "oneForAll" ? all : all.slice(all.indexOf(child))
  }

  /** Stops the group in reverse order and starts it in order, the stopped ones of before too. */
  private restartGroup(child: Child) {
    return Effect.gen({ self: this }, function* () {
      const group = this.group(child)
      if (group.length > 1) yield* this.stopGroup(group)
      for (const member of group) {
        if (group.length > 1 && this.children.get(member.spec.id) !== member) continue
        const result = this.startNow(member) ?? (yield* this.startSoon(member))
        if (result._tag === "Ignored") this.remove(member)
        if (result._tag !== "Failed") continue
        this.keepRestarting(member)
        if (this.aborted) return
        this.process.report(
          about(
            member,
            member.generation + 1,
            Effect.logError(
              `Child "${member.path}" failed to restart: ${ExitReason.format(result.reason)}`,
              ...(result.reason._tag === "Crash" ? [result.reason.cause] : [])
            ),
            result.reason
          )
        )
        // The next try comes after what is in the queue now. The members after this one stay stopped until then.
        this.inbox.offer({ _tag: "TryAgain", child: member, reason: result.reason })
        return
      }
    })
  }

  private stopGroup(group: ReadonlyArray<Child>) {
    return Effect.gen({ self: this }, function* () {
      for (let i = group.length - 1; i >= 0; i--) {
        const member = group[i]
        if (member === undefined) continue
        if (i % TURN === TURN - 1) yield* Effect.yieldNow
        const waiting = this.stopNow(member)
        if (waiting !== undefined) yield* waiting
        if (member.spec.restart === "temporary") this.children.delete(member.spec.id)
      }
    })
  }

  private keepRestarting(child: Child): void {
    child.state = "restarting"
    if (!this.isStatic && child.previous !== undefined) this.instances.set(child.previous, child)
  }

  // --- restarts that wait (an extension) ---

  /** Stops the siblings of the group at once, and lets the whole group wait. */
  private postpone(leader: Child, delayMillis: number) {
    return Effect.gen({ self: this }, function* () {
      const group = this.group(leader)
      if (group.length > 1) yield* this.stopGroup(group)
      const members = group.filter((child) => !this.isStatic || this.children.get(child.spec.id) === child)
      for (const member of members) this.keepRestarting(member)
      this.backoff.postpone(leader, members, delayMillis)
    })
  }

  private resume(postponed: Postponed): Effect.Effect<Verdict> {
    return this.backoff.resume(postponed) ? Effect.as(this.restartGroup(postponed.leader), undefined) : goOn
  }

  // --- stops ---

  /**
   * Stops a child by its shutdown setting; a restarting one is stopped from now on. What has to be waited for, or
   * `undefined` when it ended at once.
   */
  private stopNow(child: Child): Effect.Effect<void> | undefined {
    if (child.postponed !== undefined) this.backoff.cancel(child.postponed)
    const { process } = child
    if (process === undefined) {
      child.state = "stopped"
      return undefined
    }
    const waiting = this.tell(child, process)
    if (waiting !== undefined) return Effect.map(waiting, () => this.stopped(child, process))
    this.stopped(child, process)
    return undefined
  }

  private stop(child: Child): Effect.Effect<void> {
    return Effect.suspend(() => this.stopNow(child) ?? Effect.void)
  }

  /** Tells a child to end. What has to be waited for, if it did not end at once. */
  private tell(child: Child, process: ProcessImpl): Effect.Effect<void> | undefined {
    const limit = child.shutdownMillis
    if (limit < 0) {
      process.kill()
      return undefined
    }
    process.isAwaited = true
    process.signal(this.process, ExitReason.shutdown, false)
    if (process.exitReason !== undefined) return undefined
    if (limit === Infinity) return Effect.asVoid(process.awaitExit)
    const ended = limit === 0 ? Effect.yieldNow : awaitAwake(process.awaitExit, limit)
    return Effect.map(ended, () => {
      if (process.isAliveUnsafe) {
        const line = `Child "${child.path}" did not stop within ${limit} ms and is killed`
        this.process.report(about(child, process.generation, Effect.logWarning(line)))
      }
      process.kill()
    })
  }

  private stopped(child: Child, process: ProcessImpl): void {
    const reason = process.exitReason ?? ExitReason.killed
    // The signal of its end, already in the queue, is dropped there: the child has no process any more.
    if (child.process === process) this.instanceEnded(child, process, reason)
    if (reason._tag === "Crash") this.logEnd(child, process, reason)
  }

  private stopAll() {
    return Effect.gen({ self: this }, function* () {
      this.backoff.cancelAll()
      if (this.isStatic) {
        const all = Array.from(this.children.values())
        for (let i = all.length - 1; i >= 0; i--) {
          const child = all[i]
          if (child?.process === undefined) continue
          if (i % TURN === TURN - 1) yield* Effect.yieldNow
          const waiting = this.stopNow(child)
          if (waiting !== undefined) yield* waiting
        }
        return
      }
      // All are told before any is waited for, so that their times run together.
      const waiting: Array<Effect.Effect<void>> = []
      let told = 0
      for (const child of Array.from(this.instances.values())) {
        if (++told % TURN === 0) yield* Effect.yieldNow
        const { process } = child
        if (process === undefined) continue
        const wait = this.tell(child, process)
        if (wait === undefined) this.stopped(child, process)
        else waiting.push(Effect.map(wait, () => this.stopped(child, process)))
      }
      yield* Effect.forEach(waiting, (wait) => wait, { concurrency: "unbounded", discard: true })
    })
  }

  // --- calls ---

  private call<A>(
    serve: Effect.Effect<A, SupervisorError>,
    options?: StartChildOptions
  ): Effect.Effect<A, SupervisorError> {
    return Effect.withFiber((fiber) => {
      const refusal = this.refusal(fiber)
      if (refusal !== undefined) return refuse({ _tag: refusal })
      let asked: Call | undefined
      const answered = Effect.callback<A, SupervisorError>((resume) => {
        if (!this.process.isAliveUnsafe) return resume(gone)
        if (this.stopping !== undefined) return resume(refuse({ _tag: "Exited", reason: this.stopping }))
        const call: Call = {
          _tag: "Call",
          serve,
          isWithdrawn: false,
          answer: undefined,
          reply: (answer) => {
            call.answer = answer
            // The reply is the exit of `serve`, or a failure.
            wake(fiber, () => resume(answer as Effect.Effect<A, SupervisorError>))
          }
        }
        asked = call
        ;(this.calls ??= new Set()).add(call)
        this.inbox.offer(call)
      })
      const timeout = options?.timeout === undefined ? undefined : millis(options.timeout)
      if (timeout === undefined || timeout === Infinity) return answered
      return Effect.timeoutOrElse(answered, {
        duration: timeout,
        orElse: () => this.giveUp<A>(asked, timeout)
      })
    })
  }

  /** The time of a `startChild` is over: from now on its child does not come to life. */
  private giveUp<A>(call: Call | undefined, timeoutMillis: number): Effect.Effect<A, SupervisorError> {
    // Both came at the same moment: what has happened is told.
    if (call?.answer !== undefined) return call.answer as Effect.Effect<A, SupervisorError>
    if (call !== undefined) {
      this.calls?.delete(call)
      call.isWithdrawn = true
      if (this.serving === call) this.current?.starting?.kill()
    }
    return refuse({ _tag: "Timeout", timeoutMillis })
  }

  /** Whether the supervisor waits for the caller itself, which would so wait for ever. */
  private refusal(fiber: Fiber.Fiber<unknown, unknown>): "CallerStarting" | "CallerStopping" | undefined {
    const self = Context.getOrUndefined(fiber.context, Self)
    const caller = self === undefined ? undefined : impl(self)
    // A helper of the process is waited for by nobody.
    if (caller?.isRunBy(fiber) !== true) return undefined
    if (caller.isAwaited && caller.parent === this.process) return "CallerStopping"
    const starting = this.current?.starting
    for (let process = caller; process.phase === "starting";) {
      if (process === starting) return "CallerStarting"
      if (process.origin === undefined) return undefined
      process = process.origin
    }
    return undefined
  }

  startChild(spec: AnySpec, options?: StartChildOptions): Effect.Effect<StartedChild, SupervisorError> {
    const serve = Effect.suspend(() => (this.isStatic ? this.addChild(spec) : this.addInstance(spec)))
    if (this.isStatic) return this.call(serve, options)
    // A dynamic supervisor is not asked about a faulty spec: the caller hears of it at once, as in Elixir.
    return Effect.suspend(() => this.checked(spec) ?? this.call(serve, options))
  }

  /** `simpleOneForOne`: an instance of the template. */
  startInstance(args: never, options?: StartChildOptions): Effect.Effect<StartedChild, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        const { template } = this.settings
        if (template === undefined) return refuse({ _tag: "NotFound" })
        const spec = template.instance(args)
        return this.checked(spec) ?? this.addInstance(spec)
      }),
      options
    )
  }

  private checked(spec: AnySpec): Effect.Effect<never, SupervisorError> | undefined {
    const error = invalidSpec(spec, this.settings.autoShutdown)
    return error === undefined ? undefined : refuse({ _tag: "InvalidChildSpec", error })
  }

  private addChild(spec: AnySpec): Effect.Effect<StartedChild, SupervisorError> {
    const invalid = this.checked(spec)
    if (invalid !== undefined) return invalid
    const taken = this.children.get(spec.id)
    if (taken?.process !== undefined) return refuse({ _tag: "AlreadyStarted", process: taken.process })
    if (taken !== undefined) return refuse({ _tag: "AlreadyPresent" })
    const child = new Child(spec, this.process.path)
    this.children.set(spec.id, child)
    return Effect.flatMap(this.start(child), (result) => {
      if (result._tag === "Failed") this.children.delete(spec.id)
      if (result._tag === "Ignored") this.remove(child)
      return startAnswer(result)
    })
  }

  private addInstance(spec: AnySpec): Effect.Effect<StartedChild, SupervisorError> {
    if (this.instances.size >= this.settings.maxChildren) return refuse({ _tag: "MaxChildren" })
    return Effect.flatMap(this.start(new Child(spec, this.process.path)), startAnswer)
  }

  terminateChild(target: string | Process): Effect.Effect<void, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        if (!this.isStatic) return this.terminateInstance(target)
        const child = typeof target === "string" ? this.children.get(target) : this.instances.get(impl(target))
        if (child === undefined) return refuse({ _tag: "NotFound" })
        return Effect.map(this.stop(child), () => {
          if (child.spec.restart === "temporary") this.children.delete(child.spec.id)
        })
      })
    )
  }

  private terminateInstance(target: string | Process): Effect.Effect<void, SupervisorError> {
    const { kind } = this.settings
    if (typeof target === "string") return refuse({ _tag: kind === "simple" ? "SimpleOneForOne" : "NotFound" })
    const child = this.instances.get(impl(target))
    if (child !== undefined) return Effect.map(this.stop(child), () => this.remove(child))
    return kind === "simple" && !target.isAliveUnsafe ? Effect.void : refuse({ _tag: "NotFound" })
  }

  restartChild(id: string): Effect.Effect<StartedChild, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        const child = this.stoppedChild(id)
        if (Effect.isEffect(child)) return child
        return Effect.flatMap(this.start(child), (result) => {
          if (result._tag === "Ignored") this.remove(child)
          return startAnswer(result)
        })
      })
    )
  }

  deleteChild(id: string): Effect.Effect<void, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        const child = this.stoppedChild(id)
        if (Effect.isEffect(child)) return child
        this.children.delete(id)
        return Effect.void
      })
    )
  }

  /** The stopped child with the id, or why there is none. */
  private stoppedChild(id: string): Child | Effect.Effect<never, SupervisorError> {
    if (!this.isStatic) return refuse({ _tag: "SimpleOneForOne" })
    const child = this.children.get(id)
    if (child === undefined) return refuse({ _tag: "NotFound" })
    if (child.process !== undefined) return refuse({ _tag: "Running" })
    if (child.state === "restarting") return refuse({ _tag: "Restarting" })
    return child
  }

  getChildSpec(target: string | Process): Effect.Effect<Omit<AnySpec, "start">, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        const child = typeof target === "string" ? this.children.get(target) : this.instances.get(impl(target))
        const template = this.settings.template?.spec
        if (template !== undefined && (child !== undefined || target === template.id)) return Effect.succeed(template)
        return child === undefined ? refuse({ _tag: "NotFound" }) : Effect.succeed(child.spec)
      })
    )
  }

  get whichChildren(): Effect.Effect<ReadonlyArray<ChildInfo>, SupervisorError> {
    return this.call(Effect.sync(() => Array.from(this.all(), childInfo).toReversed()))
  }

  get countChildren(): Effect.Effect<ChildCounts, SupervisorError> {
    return this.call(Effect.sync(() => this.counts()))
  }

  private counts(): ChildCounts {
    let specs = 0
    let active = 0
    let supervisors = 0
    for (const child of this.all()) {
      specs++
      // An instance that is dead, but whose end is still in the queue: OTP counts it where it only counts entries.
      if (child.process !== undefined && (!this.isStatic || child.process.isAliveUnsafe)) active++
      if (child.spec.type === "supervisor") supervisors++
    }
    return { specs: this.settings.kind === "simple" ? 1 : specs, active, supervisors, workers: specs - supervisors }
  }

  stopWith(reason: ExitReason.ExitReason): Effect.Effect<void, SupervisorError> {
    return Effect.suspend(() => {
      if (!this.process.isAliveUnsafe) return gone
      const stop: Stop = { _tag: "Stop", reason, served: false }
      this.inbox.offer(stop)
      return Effect.flatMap(this.process.awaitExit, (actual) =>
        stop.served && sameReason(actual, reason) ? Effect.void : refuse({ _tag: "Exited", reason: actual })
      )
    })
  }

  // --- watching ---

  private all(): Iterable<Child> {
    return this.isStatic ? this.children.values() : this.instances.values()
  }

  private publish(event: SupervisorEvent): void {
    if (this.hub.isObserved) this.hub.publish(event)
  }

  private publishChild(
    tag: "ChildStarted" | "ChildStartIgnored" | "ChildAbandoned" | "ChildReleased",
    child: Child
  ): void
  private publishChild(tag: "ChildStartFailed" | "ChildExited", child: Child, reason: ExitReason.ExitReason): void
  private publishChild(tag: string, child: Child, reason?: ExitReason.ExitReason): void {
    if (!this.hub.isObserved) return
    const { generation, path, restarts } = child
    // The overloads say which tags have a reason.
    this.hub.publish({ _tag: tag, path, generation, restarts, ...(reason && { reason }) } as SupervisorEvent)
  }

  /** One log line for each end that was not expected, unless the child says it itself. */
  private logEnd(child: Child, process: ProcessImpl, reason: ExitReason.ExitReason): void {
    if (!child.spec.logEnds) return
    const line =
      `Child "${child.path}" ended: ${ExitReason.format(reason)}${process.doing} ` +
      `(generation ${process.generation}, restarts ${child.restarts})`
    const log = reason._tag === "Crash" ? Effect.logError(line, reason.cause) : Effect.logWarning(line)
    this.process.report(about(child, process.generation, log, reason))
  }

  get running(): number {
    return this.instances.size - (this.isStatic ? 0 : Array.from(this.all()).filter(isStopped).length)
  }

  get waitingMessages(): number {
    let sum = this.depth
    for (const { outcome, process, spec } of this.all()) {
      if (process === undefined || spec.type !== "worker" || outcome?._tag !== "Started") continue
      sum += outcome.mailboxDepth?.() ?? 0
    }
    return sum
  }

  nodes(): ReadonlyArray<TreeNode> {
    const nodes = Array.from(this.all(), (child) => childNode(child, child.starting ?? child.process))
    for (const [process, child] of this.abandoned ?? []) nodes.push(childNode(child, process))
    return nodes
  }

  get tree(): Effect.Effect<TreeNode> {
    return Effect.sync(() => ({
      id: this.process.id,
      path: this.process.path,
      type: "supervisor" as const,
      generation: this.process.generation,
      state: nodeState(this.process, "stopped"),
      restarts: 0,
      lastExit: this.process.exitReason,
      mailboxDepth: this.depth,
      process: this.process,
      busy: this.isBusy,
      children: this.nodes()
    }))
  }
}

const isStopped = (child: Child): boolean => child.process === undefined

/** A log line with what it is about as annotations. */
const about = (
  child: Child,
  generation: number,
  log: Effect.Effect<void>,
  reason?: ExitReason.ExitReason
): Effect.Effect<void> =>
  Effect.annotateLogs(log, {
    "otp.child": child.path,
    "otp.generation": generation,
    "otp.restarts": child.restarts,
    ...(reason !== undefined && { "otp.reason": ExitReason.format(reason) })
  })

/** After how many children a long start or stop lets others run. */
const TURN = 256

const abortedStart: StartResult = { _tag: "Failed", reason: ExitReason.shutdown }

const goOn: Effect.Effect<Verdict> = Effect.succeed(undefined)

/** Goes on when those who have been woken have run: a caller hears its reply before what the next message leads to. */
const behindTheWoken: Effect.Effect<Verdict> = Effect.withFiber((fiber) =>
  Effect.callback<Verdict>((resume) => wake(fiber, () => resume(goOn)))
)

const gone = refuse({ _tag: "Exited", reason: ExitReason.noProcess })

const startAnswer = (result: StartResult): Effect.Effect<StartedChild, SupervisorError> => {
  switch (result._tag) {
    case "Running":
      return Effect.succeed({ _tag: "Started", process: result.process, info: result.info })
    case "Ignored":
      return Effect.succeed({ _tag: "Ignored", process: undefined, info: undefined })
    case "Failed":
      return refuse({ _tag: "StartFailed", reason: result.reason })
  }
}

const sameReason = (a: ExitReason.ExitReason, b: ExitReason.ExitReason): boolean =>
  a === b || (a._tag === b._tag && a._tag === "Shutdown" && b._tag === "Shutdown" && a.info === b.info)
