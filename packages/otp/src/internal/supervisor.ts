/**
 * The supervisor's loop: Erlang's `supervisor` as one class. One queue holds the ends of children, calls and its own
 * retries, and they are handled strictly in order; the children are data in two maps, so that no look-up depends on
 * their number.
 *
 * The methods named after OTP's algorithm (`childEnded`, `restart`, `restartGroup`, `tryAgain`) are where its rules
 * are; each rule is in one place.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ChildSpec, ChildTemplate, Ignore, Started } from "../ChildSpec.ts"
import * as ExitReason from "../ExitReason.ts"
import type { Message, Process } from "../Process.ts"
import type { Registry } from "../Registry.ts"
import type {
  ChildCounts,
  ChildInfo,
  StartedChild,
  StartOptions,
  SupervisorEvent,
  SupervisorRef,
  SupervisorSpec,
  TreeNode
} from "../Supervisor.ts"
import { SupervisorError, SupervisorStartError } from "./errors.ts"
import { CurrentHub, EventHub } from "./events.ts"
import { fork } from "./fibers.ts"
import { Inbox } from "./inbox.ts"
import { impl, ProcessImpl } from "./process.ts"
import type { Terminate } from "./process.ts"
import { Self } from "./self.ts"
import { findInvalid, invalidSpec, millis, shutdownMillis } from "./specs.ts"

const TypeId = "~@relive/otp/Supervisor" as const

// --- specs -----------------------------------------------------------------------------------------------------------

type AnySpec = ChildSpec<unknown, unknown>
type AnyTemplate = ChildTemplate<never, unknown, unknown>
type Kind = "static" | "simple" | "dynamic"

interface RawOptions {
  readonly kind: Kind
  readonly strategy?: string | undefined
  readonly intensity?: number | undefined
  readonly period?: Duration.Input | undefined
  readonly autoShutdown?: string | undefined
  readonly maxChildren?: number | undefined
  readonly children: ReadonlyArray<AnySpec | AnyTemplate>
}

class SpecImpl<in Child, out R> implements SupervisorSpec<Child, R> {
  readonly [TypeId]: { readonly _Child: (child: Child) => void; readonly _R: () => R }
  readonly kind: Kind
  readonly options: RawOptions
  constructor(options: RawOptions) {
    this[TypeId] = variance
    this.kind = options.kind
    this.options = options
  }
}

const variance = {
  _Child: (): void => {},
  _R: (): never => {
    throw new Error("A type, not a value")
  }
}

export const makeSpec = <Child, R>(options: RawOptions): SupervisorSpec<Child, R> => new SpecImpl(options)

export const isSpec = (value: unknown): value is SupervisorSpec<never, unknown> => Predicate.hasProperty(value, TypeId)

type StartReason = SupervisorStartError["reason"]

/** A supervisor's settings, checked and with defaults. */
interface Settings {
  readonly kind: Kind
  readonly strategy: string
  readonly intensity: number
  readonly periodMillis: number
  readonly autoShutdown: string
  readonly maxChildren: number
  readonly children: ReadonlyArray<AnySpec>
  readonly template: AnyTemplate | undefined
}

const isNatural = (value: unknown): boolean => typeof value === "number" && Number.isInteger(value) && value >= 0

/** Checks settings first, then child specs in order; the first error wins. */
const checkSettings = (options: RawOptions): Settings | StartReason => {
  const { autoShutdown = "never", intensity = 1, kind, maxChildren = Infinity, strategy = "oneForOne" } = options
  const invalid = (code: Extract<StartReason, { _tag: "InvalidSettings" }>["code"], value: unknown): StartReason => ({
    _tag: "InvalidSettings",
    code,
    value
  })
  if (!["oneForOne", "oneForAll", "restForOne"].includes(strategy)) return invalid("invalidStrategy", strategy)
  if (!isNatural(intensity)) return invalid("invalidIntensity", intensity)
  const periodMillis = millis(options.period ?? 5000)
  if (periodMillis === undefined || periodMillis === 0) return invalid("invalidPeriod", options.period)
  if (!["never", "anySignificant", "allSignificant"].includes(autoShutdown)) {
    return invalid("invalidAutoShutdown", autoShutdown)
  }
  if (maxChildren !== Infinity && !isNatural(maxChildren)) return invalid("invalidMaxChildren", maxChildren)
  const settings = { kind, strategy, intensity, periodMillis, autoShutdown, maxChildren }
  if (kind === "simple") {
    const [template, ...more] = options.children
    if (template === undefined || more.length > 0 || !("instance" in template)) return { _tag: "BadStartSpec" }
    const error = invalidSpec(template.spec, autoShutdown, false)
    return error === undefined ? { ...settings, children: [], template } : { _tag: "InvalidChildSpec", error }
  }
  const children = options.children.filter((child): child is AnySpec => !("instance" in child))
  const error = findInvalid(children, autoShutdown)
  return error === undefined ? { ...settings, children, template: undefined } : { _tag: "InvalidChildSpec", error }
}

// --- children --------------------------------------------------------------------------------------------------------

type BackoffStep = (now: number, reason: ExitReason.ExitReason) => Effect.Effect<[unknown, Duration.Duration], unknown>

/** A restart that waits for its backoff: the child it begins with and all that are `restarting` because of it. */
interface Postponed {
  readonly leader: Child
  readonly members: ReadonlyArray<Child>
  timer: Fiber.Fiber<unknown, unknown> | undefined
}

class Child {
  readonly spec: AnySpec
  readonly shutdownMillis: number
  readonly path: string
  state: "running" | "stopped" | "restarting" = "stopped"
  /** The running instance. */
  process: ProcessImpl | undefined = undefined
  /** The instance that is being started. */
  starting: ProcessImpl | undefined = undefined
  /** The instance that ran before; the key of a restarting dynamic child. */
  previous: ProcessImpl | undefined = undefined
  outcome: Started<unknown, unknown> | Ignore | undefined = undefined
  generation = 0
  restarts = 0
  lastExit: ExitReason.ExitReason | undefined = undefined
  startedAt = 0
  backoff: BackoffStep | undefined = undefined
  postponed: Postponed | undefined = undefined

  constructor(spec: AnySpec, parentPath: string) {
    this.spec = spec
    this.shutdownMillis = shutdownMillis(spec.shutdown) ?? 0
    this.path = `${parentPath}/${spec.id}`
  }
}

type StartResult =
  | { readonly _tag: "Running"; readonly process: ProcessImpl; readonly info: unknown }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Failed"; readonly reason: ExitReason.ExitReason }

const ignored: StartResult = { _tag: "Ignored" }

interface Call {
  readonly _tag: "Call"
  readonly serve: Effect.Effect<unknown, SupervisorError>
  readonly reply: (exit: Effect.Effect<never, SupervisorError> | Exit.Exit<unknown, SupervisorError>) => void
}

type Inboxed =
  | Message
  | Call
  | { readonly _tag: "Stop"; readonly reason: ExitReason.ExitReason }
  | { readonly _tag: "TryAgain"; readonly child: Child; readonly reason: ExitReason.ExitReason }
  | { readonly _tag: "Resume"; readonly postponed: Postponed }

/** Set when the supervisor has to end: with this reason, after its children. */
type Verdict = ExitReason.ExitReason | undefined

const refuse = (reason: SupervisorError["reason"]): Effect.Effect<never, SupervisorError> =>
  Effect.fail(new SupervisorError({ reason }))

// --- the loop --------------------------------------------------------------------------------------------------------

class Supervisor {
  readonly process: ProcessImpl
  private readonly settings: Settings
  /** What children find: the context of the supervisor, never that of a caller. */
  private readonly context: Context.Context<never>
  private readonly clock: Clock.Clock
  readonly hub: EventHub
  private readonly inbox = new Inbox<Inboxed>()
  /** The children of a static supervisor, in start order. */
  private readonly children = new Map<string, Child>()
  /** Running children by process; of a simple or dynamic supervisor these are all, restarting ones by their last. */
  private readonly instances = new Map<ProcessImpl, Child>()
  /** Killed instances of which something still runs. */
  private readonly abandoned = new Map<ProcessImpl, Child>()
  private readonly calls = new Set<Call>()
  private readonly waiting = new Set<Postponed>()
  /** When restarts happened, within the period. */
  private restarts: Array<number> = []
  private aborted = false
  private current: Child | undefined = undefined

  constructor(process: ProcessImpl, settings: Settings, context: Context.Context<never>, hub: EventHub) {
    this.process = process
    this.settings = settings
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
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

  private now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Takes over the process: its signals come into the one queue. */
  takeOver(): void {
    const { process } = this
    process.trapping = true
    process.handlesParentExit = true
    process.setReceiver(this.inbox)
    process.inspect = () => this.nodes()
    process.isBusy = () => this.isBusy
    process.abortStart = () => this.abortStart()
    process.addObserver((reason) => this.ended(reason))
  }

  private ended(reason: ExitReason.ExitReason): void {
    for (const postponed of this.waiting) this.cancel(postponed)
    const calls = Array.from(this.calls)
    this.calls.clear()
    this.publish({ _tag: "SupervisorExited", path: this.process.path, reason })
    for (const call of calls) call.reply(refuse({ _tag: "Exited", reason }))
  }

  // --- start ---

  /** Starts the children in order; when one fails, stops those before it in reverse order and fails. */
  readonly boot: Effect.Effect<void, SupervisorStartError> = Effect.suspend(() => this.startAll())

  private startAll = Effect.fnUntraced(function* (this: Supervisor) {
    for (const child of this.children.values()) {
      const result = yield* this.start(child)
      if (result._tag === "Ignored") this.keepStopped(child)
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
    this.process.abortStart = undefined
  })

  /** The start is given up from outside: the child that is starting is told, and the rest is rolled back. */
  private abortStart(): void {
    this.aborted = true
    const starting = this.current?.starting
    if (starting?.abortStart !== undefined) starting.abortStart()
    else starting?.signal(this.process, ExitReason.shutdown, false)
  }

  /** Starts an instance of a child and waits until it has acknowledged, or ended. */
  private start(child: Child): Effect.Effect<StartResult> {
    return Effect.suspend(() => {
      const process = this.launch(child)
      if (process.isStartSettled) return Effect.succeed(this.startSettled(child, process))
      const settled = Effect.callback<void>((resume) => process.onStartSettled(() => resume(Effect.void)))
      return Effect.map(settled, () => this.startSettled(child, process))
    })
  }

  private launch(child: Child): ProcessImpl {
    const { spec } = child
    const process = new ProcessImpl({
      id: spec.id,
      path: child.path,
      generation: child.generation + 1,
      parent: this.process,
      context: this.context,
      trapExit: spec.trapExit === true
    })
    this.current = child
    child.starting = process
    child.outcome = undefined
    // What start, run and terminate need is in the context of the process: its supervisor was built with it.
    const body = Effect.flatMap(spec.start, (outcome) => {
      child.outcome = outcome
      if (outcome._tag === "Ignore") return Effect.void
      if (outcome._tag !== "Started") {
        return Effect.die(new TypeError(`The start of "${child.path}" answered neither started nor ignore`))
      }
      process.acknowledge(outcome.terminate as Terminate | undefined, spec.trapExit ?? outcome.terminate !== undefined)
      return outcome.run
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
      child.startedAt = this.now()
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
    if (process.isAbandoned) this.abandon(child, process)
    return { _tag: "Failed", reason }
  }

  // --- the loop ---

  readonly loop: Effect.Effect<void> = Effect.suspend(() => this.serve())

  private serve = Effect.fnUntraced(function* (this: Supervisor) {
    while (true) {
      const reason = yield* this.handle(yield* this.inbox.take)
      if (reason === undefined) continue
      yield* this.stopAll()
      if (reason._tag === "Normal") return
      return yield* ExitReason.exit(reason)
    }
  })

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
      case "Stop":
        return Effect.succeed(message.reason)
      // A supervisor takes no messages, and watches nobody.
      case "Message":
      case "Down":
        return goOn
    }
  }

  private answer(call: Call): Effect.Effect<Verdict> {
    return Effect.map(Effect.exit(call.serve), (exit) => {
      if (this.calls.delete(call)) call.reply(exit)
      return undefined
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
    child.previous = process
    child.lastExit = reason
    child.state = "stopped"
    const { stableAfter } = child.spec
    const stable = (stableAfter === undefined ? undefined : millis(stableAfter)) ?? this.settings.periodMillis
    if (child.backoff !== undefined && this.now() - child.startedAt >= stable) child.backoff = undefined
    this.publishChild("ChildExited", child, reason)
    if (process.isAbandoned) this.abandon(child, process)
  }

  private abandon(child: Child, process: ProcessImpl): void {
    this.abandoned.set(process, child)
    this.publishChild("ChildAbandoned", child)
    this.process.report(
      Effect.logWarning(
        `Child "${child.path}" was killed, but something of generation ${process.generation} still runs`
      )
    )
    process.onReleased(() => {
      this.abandoned.delete(process)
      this.publishChild("ChildReleased", child)
    })
  }

  /** OTP's `del_child_and_maybe_shutdown`, first half: the spec stays as a stopped child, or is forgotten. */
  private remove(child: Child): void {
    if (child.postponed !== undefined) this.cancel(child.postponed)
    child.state = "stopped"
    if (!this.isStatic) {
      if (child.previous !== undefined) this.instances.delete(child.previous)
    } else if (child.spec.restart === "temporary") this.children.delete(child.spec.id)
  }

  /** The second half. */
  private autoShutdown(child: Child): Verdict {
    if (!child.spec.significant) return undefined
    if (this.settings.autoShutdown === "anySignificant") return ExitReason.shutdown
    if (this.settings.autoShutdown !== "allSignificant") return undefined
    for (const other of this.all()) if (other.spec.significant && other.state !== "stopped") return undefined
    return ExitReason.shutdown
  }

  // --- restarts ---

  /** Restarts a child, with its group: after its backoff, or at once if the intensity allows it. */
  private restart = Effect.fnUntraced(function* (this: Supervisor, child: Child, reason: ExitReason.ExitReason) {
    this.keepRestarting(child)
    const delayMillis = yield* this.nextDelay(child, reason)
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

  private countRestart(): boolean {
    const now = this.now()
    const { intensity, periodMillis } = this.settings
    this.restarts = this.restarts.filter((time) => time >= now - periodMillis)
    this.restarts.push(now)
    return this.restarts.length <= intensity
  }

  /** Those who are restarted with a child, in start order. */
  private group(child: Child): ReadonlyArray<Child> {
    if (!this.isStatic || this.settings.strategy === "oneForOne") return [child]
    const all = Array.from(this.children.values())
    return this.settings.strategy === "oneForAll" ? all : all.slice(all.indexOf(child))
  }

  /** Stops the group in reverse order and starts it in order, the stopped ones of before too. */
  private restartGroup = Effect.fnUntraced(function* (this: Supervisor, child: Child) {
    const group = this.group(child)
    if (group.length > 1) yield* this.stopGroup(group)
    for (const member of group) {
      if (group.length > 1 && this.children.get(member.spec.id) !== member) continue
      const result = yield* this.start(member)
      if (result._tag === "Ignored") this.keepStopped(member)
      if (result._tag !== "Failed") continue
      this.process.report(
        Effect.logError(`Child "${member.path}" failed to restart: ${ExitReason.format(result.reason)}`)
      )
      // The next try comes after what is in the queue now. The members after this one stay stopped until then.
      this.keepRestarting(member)
      this.inbox.offer({ _tag: "TryAgain", child: member, reason: result.reason })
      return
    }
  })

  private stopGroup = Effect.fnUntraced(function* (this: Supervisor, group: ReadonlyArray<Child>) {
    for (let i = group.length - 1; i >= 0; i--) {
      const member = group[i]
      if (member === undefined) continue
      yield* this.stop(member)
      if (member.spec.restart === "temporary") this.children.delete(member.spec.id)
    }
  })

  private keepRestarting(child: Child): void {
    child.state = "restarting"
    if (!this.isStatic && child.previous !== undefined) this.instances.set(child.previous, child)
  }

  /** An ignored start: the child stays as a stopped one; temporary and dynamic ones are forgotten. */
  private keepStopped(child: Child): void {
    this.remove(child)
  }

  // --- backoff ---

  /** How long the restart has to wait, in milliseconds; `undefined` without a backoff, or when it is done. */
  private nextDelay(child: Child, reason: ExitReason.ExitReason): Effect.Effect<number | undefined> {
    const { backoff } = child.spec
    if (backoff === undefined) return noDelay
    const makeStep: Effect.Effect<BackoffStep> =
      child.backoff === undefined ? Schedule.toStep(backoff) : Effect.succeed(child.backoff)
    return Effect.flatMap(makeStep, (step) => {
      child.backoff = step
      return Effect.map(Effect.exit(step(this.clock.currentTimeMillisUnsafe(), reason)), (exit) =>
        Exit.isSuccess(exit) ? (millis(exit.value[1]) ?? 0) : undefined
      )
    })
  }

  /** Stops the siblings of the group at once, and lets the whole group wait. */
  private postpone = Effect.fnUntraced(function* (this: Supervisor, leader: Child, delayMillis: number) {
    const group = this.group(leader)
    if (group.length > 1) yield* this.stopGroup(group)
    const members = group.filter((child) => !this.isStatic || this.children.get(child.spec.id) === child)
    const postponed: Postponed = { leader, members, timer: undefined }
    for (const member of members) {
      member.postponed = postponed
      this.keepRestarting(member)
    }
    this.waiting.add(postponed)
    postponed.timer = fork(this.context, Effect.sleep(delayMillis), {
      label: "backoff",
      path: leader.path,
      onExit: (exit) => {
        if (Exit.isSuccess(exit)) this.inbox.offer({ _tag: "Resume", postponed })
      }
    })
  })

  private resume(postponed: Postponed): Effect.Effect<Verdict> {
    if (!this.waiting.delete(postponed)) return goOn
    for (const member of postponed.members) {
      member.postponed = undefined
      if (member !== postponed.leader) member.state = "stopped"
    }
    return Effect.as(this.restartGroup(postponed.leader), undefined)
  }

  /** Ends the wait: its members are stopped children from now on. */
  private cancel(postponed: Postponed): void {
    if (!this.waiting.delete(postponed)) return
    for (const member of postponed.members) {
      member.postponed = undefined
      if (member.state === "restarting") member.state = "stopped"
    }
    postponed.timer?.interruptUnsafe()
  }

  // --- stops ---

  /** Stops a child by its shutdown setting; a restarting one is stopped from now on. */
  private stop(child: Child): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (child.postponed !== undefined) this.cancel(child.postponed)
      const { process } = child
      if (process === undefined) {
        child.state = "stopped"
        return Effect.void
      }
      const waiting = this.tell(child, process)
      if (waiting === undefined) {
        this.stopped(child, process)
        return Effect.void
      }
      return Effect.map(waiting, () => this.stopped(child, process))
    })
  }

  /** Tells a child to end. What has to be waited for, if it did not end at once. */
  private tell(child: Child, process: ProcessImpl): Effect.Effect<void> | undefined {
    const limit = child.shutdownMillis
    if (limit < 0) {
      process.kill()
      return undefined
    }
    process.signal(this.process, ExitReason.shutdown, false)
    if (process.exitReason !== undefined) return undefined
    if (limit === Infinity) return Effect.asVoid(process.awaitExit)
    const ended = limit === 0 ? Effect.yieldNow : Effect.timeoutOption(process.awaitExit, limit)
    return Effect.map(ended, () => {
      if (process.isAliveUnsafe) {
        this.process.report(Effect.logWarning(`Child "${child.path}" did not stop within ${limit} ms and is killed`))
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

  private stopAll = Effect.fnUntraced(function* (this: Supervisor) {
    for (const postponed of this.waiting) this.cancel(postponed)
    if (this.isStatic) {
      const all = Array.from(this.children.values())
      for (let i = all.length - 1; i >= 0; i--) {
        const child = all[i]
        if (child?.process !== undefined) yield* this.stop(child)
      }
      return
    }
    // All are told before any is waited for, so that their times run together.
    const waiting: Array<Effect.Effect<void>> = []
    for (const child of Array.from(this.instances.values())) {
      const { process } = child
      if (process === undefined) continue
      const wait = this.tell(child, process)
      if (wait === undefined) this.stopped(child, process)
      else waiting.push(Effect.map(wait, () => this.stopped(child, process)))
    }
    yield* Effect.forEach(waiting, (wait) => wait, { concurrency: "unbounded", discard: true })
  })

  // --- calls ---

  private call<A>(serve: Effect.Effect<A, SupervisorError>): Effect.Effect<A, SupervisorError> {
    return Effect.callback<A, SupervisorError>((resume) => {
      if (!this.process.isAliveUnsafe) return resume(gone)
      const call: Call = {
        _tag: "Call",
        serve,
        // The exit is that of `serve`, or a failure.
        reply: (exit) => resume(exit as Effect.Effect<A, SupervisorError>)
      }
      this.calls.add(call)
      this.inbox.offer(call)
    })
  }

  startChild(spec: AnySpec): Effect.Effect<StartedChild, SupervisorError> {
    return this.call(Effect.suspend(() => (this.isStatic ? this.addChild(spec) : this.addInstance(spec))))
  }

  /** `simpleOneForOne`: an instance of the template. */
  startInstance(args: never): Effect.Effect<StartedChild, SupervisorError> {
    return this.call(
      Effect.suspend(() => {
        const { template } = this.settings
        return template === undefined ? refuse({ _tag: "NotFound" }) : this.addInstance(template.instance(args))
      })
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
      if (result._tag === "Ignored") this.keepStopped(child)
      return startAnswer(result)
    })
  }

  private addInstance(spec: AnySpec): Effect.Effect<StartedChild, SupervisorError> {
    const invalid = this.checked(spec)
    if (invalid !== undefined) return invalid
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
          if (result._tag === "Ignored") this.keepStopped(child)
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

  readonly whichChildren: Effect.Effect<ReadonlyArray<ChildInfo>, SupervisorError> = Effect.suspend(() =>
    this.call(Effect.sync(() => Array.from(this.all(), childInfo).toReversed()))
  )

  readonly countChildren: Effect.Effect<ChildCounts, SupervisorError> = Effect.suspend(() =>
    this.call(Effect.sync(() => this.counts()))
  )

  private counts(): ChildCounts {
    let specs = 0
    let active = 0
    let supervisors = 0
    for (const child of this.all()) {
      specs++
      if (child.process?.isAliveUnsafe === true) active++
      if (child.spec.type === "supervisor") supervisors++
    }
    return { specs: this.settings.kind === "simple" ? 1 : specs, active, supervisors, workers: specs - supervisors }
  }

  stopWith(reason: ExitReason.ExitReason): Effect.Effect<void, SupervisorError> {
    return Effect.suspend(() => {
      if (!this.process.isAliveUnsafe) return gone
      this.inbox.offer({ _tag: "Stop", reason })
      return Effect.flatMap(this.process.awaitExit, (actual) =>
        sameReason(actual, reason) ? Effect.void : refuse({ _tag: "Exited", reason: actual })
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

  /** One log line for each end that was not expected. */
  private logEnd(child: Child, process: ProcessImpl, reason: ExitReason.ExitReason): void {
    const line =
      `Child "${child.path}" ended: ${ExitReason.format(reason)} ` +
      `(generation ${process.generation}, restarted ${child.restarts} times)`
    if (reason._tag === "Crash") this.process.report(Effect.logError(line, reason.cause))
    else this.process.report(Effect.logWarning(line))
  }

  nodes(): ReadonlyArray<TreeNode> {
    const nodes = Array.from(this.all(), (child) => childNode(child, child.starting ?? child.process))
    for (const [process, child] of this.abandoned) nodes.push(childNode(child, process))
    return nodes
  }

  readonly tree: Effect.Effect<TreeNode> = Effect.sync(() => ({
    id: this.process.id,
    path: this.process.path,
    type: "supervisor" as const,
    generation: this.process.generation,
    state: nodeState(this.process, "stopped"),
    restarts: 0,
    lastExit: this.process.exitReason,
    mailboxDepth: this.depth,
    busy: this.isBusy,
    children: this.nodes()
  }))
}

const goOn: Effect.Effect<Verdict> = Effect.succeed(undefined)
const noDelay: Effect.Effect<number | undefined> = Effect.succeed(undefined)
const gone = refuse({ _tag: "Exited", reason: ExitReason.noProc })

const startAnswer = (result: StartResult): Effect.Effect<StartedChild, SupervisorError> => {
  switch (result._tag) {
    case "Running":
      return Effect.succeed({ process: result.process, info: result.info })
    case "Ignored":
      return Effect.succeed({ process: undefined, info: undefined })
    case "Failed":
      return refuse({ _tag: "StartFailed", reason: result.reason })
  }
}

const sameReason = (a: ExitReason.ExitReason, b: ExitReason.ExitReason): boolean =>
  a === b || (a._tag === b._tag && a._tag === "Shutdown" && b._tag === "Shutdown" && a.info === b.info)

const childInfo = (child: Child): ChildInfo => ({
  id: child.spec.id,
  state: child.state,
  type: child.spec.type,
  process: child.process
})

const nodeState = (process: ProcessImpl, otherwise: Child["state"]): TreeNode["state"] => {
  switch (process.phase) {
    case "starting":
      return "starting"
    case "running":
      return "running"
    case "stopping":
    case "closing":
      return "stopping"
    case "ended":
      return process.isAbandoned ? "abandoned" : otherwise
  }
}

const childNode = (child: Child, process: ProcessImpl | undefined): TreeNode => {
  const { outcome } = child
  const depth = outcome?._tag === "Started" && process?.isAliveUnsafe === true ? outcome.mailboxDepth?.() : undefined
  const children = process?.inspect?.()
  return {
    id: child.spec.id,
    path: child.path,
    type: child.spec.type,
    generation: process?.generation ?? child.generation,
    state: process === undefined ? child.state : nodeState(process, child.state),
    restarts: child.restarts,
    lastExit: child.lastExit,
    mailboxDepth: depth,
    busy: process?.inspect === undefined ? undefined : process.isBusy?.(),
    children: children ?? []
  }
}

// --- the ways to run -------------------------------------------------------------------------------------------------

const makeRef = <Child>(supervisor: Supervisor, kind: Kind): SupervisorRef<Child> => ({
  process: supervisor.process,
  startChild: (child) =>
    // What `Child` is was fixed by the constructor of the spec: arguments of a template, or a child spec.
    kind === "simple" ? supervisor.startInstance(child as never) : supervisor.startChild(child as AnySpec),
  terminateChild: (child) => supervisor.terminateChild(child),
  restartChild: (id) => supervisor.restartChild(id),
  deleteChild: (id) => supervisor.deleteChild(id),
  getChildSpec: (child) => supervisor.getChildSpec(child),
  whichChildren: supervisor.whichChildren,
  countChildren: supervisor.countChildren,
  stop: (reason) => supervisor.stopWith(reason ?? ExitReason.shutdown),
  awaitExit: supervisor.process.awaitExit,
  events: supervisor.hub.stream,
  tree: supervisor.tree
})

export const init = <Child, R>(
  spec: SupervisorSpec<Child, R>
): Effect.Effect<Started<SupervisorRef<Child>>, SupervisorStartError, R | Self> =>
  Effect.flatMap(Effect.context<R | Self>(), (context) => {
    if (!(spec instanceof SpecImpl)) throw new TypeError("Not a supervisor spec of @relive/otp")
    const settings = checkSettings(spec.options)
    if ("_tag" in settings) return Effect.fail(new SupervisorStartError({ reason: settings }))
    const process = impl(Context.get(context as Context.Context<Self>, Self))
    const treeHub = Context.get(context, CurrentHub)
    const hub = treeHub ?? new EventHub()
    const supervisor = new Supervisor(process, settings, Context.add(context, CurrentHub, hub), hub)
    supervisor.takeOver()
    if (treeHub === undefined) process.addObserver(() => hub.close())
    return Effect.as(supervisor.boot, {
      _tag: "Started" as const,
      run: supervisor.loop,
      info: makeRef<Child>(supervisor, spec.kind),
      terminate: undefined,
      mailboxDepth: () => supervisor.depth
    })
  })

export const start = <Child, R>(
  spec: SupervisorSpec<Child, R>,
  options?: StartOptions
): Effect.Effect<SupervisorRef<Child>, SupervisorStartError, R | Scope.Scope | Registry> =>
  Effect.flatMap(Effect.context<R | Scope.Scope | Registry>(), (context) => {
    const caller = Context.getOrUndefined(context, Self)
    const parent = caller === undefined ? undefined : impl(caller)
    const id = options?.id ?? "root"
    const process = new ProcessImpl({
      id,
      path: parent === undefined ? id : `${parent.path}/${id}`,
      generation: 1,
      parent,
      context,
      trapExit: true
    })
    let result: Exit.Exit<Started<SupervisorRef<Child>>, SupervisorStartError> | undefined
    const body = Effect.flatMap(
      Effect.onExit(init(spec), (exit) => Effect.sync(() => (result = exit))),
      (outcome) => {
        process.acknowledge(undefined, true)
        return outcome.run
      }
    )
    const settled = Effect.callback<void>((resume) => {
      process.onStartSettled(() => resume(Effect.void))
      process.launch(body, parent)
    })
    return Effect.addFinalizer(() => stopRoot(process, options?.closeTimeout)).pipe(
      Effect.andThen(settled),
      Effect.flatMap(() => {
        if (result !== undefined && Exit.isSuccess(result)) return Effect.succeed(result.value.info)
        const error = result === undefined ? undefined : Option.getOrUndefined(Exit.findErrorOption(result))
        const reason = process.exitReason ?? ExitReason.killed
        return Effect.fail(error ?? new SupervisorStartError({ reason: { _tag: "Exited", reason } }))
      })
    )
  })

const stopRoot = (process: ProcessImpl, closeTimeout: Duration.Input | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!process.isAliveUnsafe) return Effect.void
    process.abortStart?.()
    // When the scope closes because the process it belongs to ends, that one's reason is taken over.
    const reason = process.parent?.leavingReason ?? ExitReason.shutdown
    process.receive({ _tag: "ParentExit", from: undefined, reason })
    const ended = Effect.asVoid(process.awaitExit)
    if (closeTimeout === undefined) return ended
    return Effect.map(Effect.timeoutOption(ended, closeTimeout), () => process.kill())
  })

/** As `start`; the end of the root by itself is logged. */
export const startWatched = <Child, R>(
  spec: SupervisorSpec<Child, R>,
  options?: StartOptions
): Effect.Effect<SupervisorRef<Child>, SupervisorStartError, R | Scope.Scope | Registry> =>
  Effect.tap(start(spec, options), (ref) => {
    let released = false
    const process = impl(ref.process)
    process.addObserver((reason) => {
      if (released) return
      process.report(Effect.logFatal(`The supervision tree "${process.path}" has ended: ${ExitReason.format(reason)}`))
    })
    return Effect.addFinalizer(() =>
      Effect.sync(() => {
        released = true
      })
    )
  })
