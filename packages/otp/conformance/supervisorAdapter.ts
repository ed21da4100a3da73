/**
 * Runs a supervision scenario on `@relive/otp`, under `TestClock`, and records its trace.
 *
 * This file translates: scripted children into child specs, steps into calls and signals, results into the words of
 * the traces. It decides nothing that OTP has a rule for.
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as DynamicSupervisor from "@relive/otp/DynamicSupervisor"
import * as ExitReason from "@relive/otp/ExitReason"
import * as Process from "@relive/otp/Process"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { parse } from "./supervisorScenario.ts"
import type {
  Behavior,
  Outcome,
  Reason,
  Scenario,
  ScriptedChild,
  Step,
  SupervisorSettings
} from "./supervisorScenario.ts"
import type { Event, StepTrace } from "./trace.ts"

// --- reasons ---------------------------------------------------------------------------------------------------------

const toReason = (label: string): ExitReason.ExitReason => {
  if (label === "normal") return ExitReason.normal
  if (label === "shutdown") return ExitReason.shutdown
  if (label === "killed") return ExitReason.killed
  if (label === "kill") return ExitReason.kill
  if (label === "noproc") return ExitReason.noProcess
  if (label.startsWith("shutdown:")) return ExitReason.shutdownWith(label.slice("shutdown:".length))
  if (label.startsWith("crash:")) return ExitReason.crash(label.slice("crash:".length))
  throw new Error(`Unknown reason ${label}`)
}

const fromReason = (reason: ExitReason.ExitReason): Reason => {
  switch (reason._tag) {
    case "Normal":
      return "normal"
    case "Killed":
      return "killed"
    case "Kill":
      return "kill"
    case "NoProcess":
      return "noproc"
    case "Crash": {
      const error = Cause.squash(reason.cause)
      return `crash:${error instanceof Error ? error.message : String(error)}`
    }
    case "Shutdown": {
      const { info } = reason
      if (info === undefined) return "shutdown"
      if (!ExitReason.isFailedToStartChild(info)) return `shutdown:${String(info)}`
      return { shutdown: { failed_to_start_child: { id: info.id, reason: fromReason(info.reason) } } }
    }
  }
}

/** Ends the body: a crash is a typed failure, other reasons are said. */
const endWith = (label: string): Effect.Effect<never, unknown> =>
  label.startsWith("crash:") ? Effect.fail(label.slice("crash:".length)) : Process.exit(toReason(label))

const raise = (label: string): Effect.Effect<never> => Effect.die(new Error(label.replace(/^crash:/, "")))

// --- errors and results ----------------------------------------------------------------------------------------------

const snake = (camel: string): string =>
  camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, "")

const invalid = (error: ChildSpec.InvalidChildSpec): unknown => ({
  invalid: snake(error.code),
  ...(error.code.startsWith("invalid") && { value: error.value }),
  ...(error.code === "duplicateChildName" && { id: error.id }),
  ...(error.fields !== undefined && { fields: error.fields.map(snake) })
})

const startError = ({ reason }: Supervisor.SupervisorStartError): unknown => {
  switch (reason._tag) {
    case "FailedToStartChild":
      return { error: fromReason(ExitReason.failedToStartChild(reason.id, reason.reason)) }
    case "InvalidChildSpec":
      return { error: { start_spec: invalid(reason.error) } }
    case "InvalidSettings":
      return {
        error: {
          supervisor_data: {
            invalid: snake(reason.code),
            value: reason.value
          }
        }
      }
    case "BadStartSpec":
      return { error: "bad_start_spec" }
    case "Exited":
      return { exit: fromReason(reason.reason) }
  }
}

// --- the world of one scenario ---------------------------------------------------------------------------------------

interface Instance {
  readonly id: string
  readonly gen: number
  readonly process: Process.Process
  /** Ends the body, with this effect. */
  readonly end: (how: Effect.Effect<never, unknown>) => void
}

interface SupervisorEntry {
  readonly ref: Supervisor.SupervisorRef<never>
  readonly kind: "static" | "simple" | "dynamic"
}

/** Arguments of an instance of a simpleOneForOne supervisor. */
interface Args {
  readonly name: string
  readonly behavior: Behavior
}

/** Waits at a gate, of which the world knows. */
interface Waiter {
  readonly gate: string
  /** Whose supervisors are held up by this; of a child that ends by itself nobody waits for the end. */
  readonly path: string | undefined
  readonly open: () => void
}

class World {
  events: Array<Event> = []
  asyncReplies: Array<{ readonly tag: string; readonly op: string; readonly result: unknown }> = []
  private readonly generations = new Map<string, number>()
  private readonly outcomes = new Map<string, ReadonlyArray<Outcome>>()
  private readonly instances = new Map<string, Instance>()
  private readonly byProcess = new Map<Process.Process, Instance>()
  private readonly supervisors = new Map<string, SupervisorEntry>()
  /** Every supervisor that started and has not ended, also those whose id has another instance by now. */
  private alive: ReadonlyArray<Supervisor.SupervisorRef<never>> = []
  private readonly waiters: Array<Waiter> = []
  private readonly cleaning = new Set<Process.Process>()
  private readonly kinds = new Map<string, SupervisorEntry["kind"]>()
  /** The root start has begun and not ended. */
  private starting = false
  private endParent: (reason: ExitReason.ExitReason) => void = () => {}

  readonly scenario: Scenario

  constructor(scenario: Scenario) {
    this.scenario = scenario
    // The template of a simple_one_for_one supervisor has an outcome list per instance.
    this.setOutcomes(scenario.children)
  }

  /** Start outcomes are a list per id, which restarts go on with. */
  private setOutcomes(children: ReadonlyArray<ScriptedChild>): void {
    for (const { behavior, children: below = [], id } of children) {
      if (id !== undefined && behavior?.start !== undefined) this.outcomes.set(id, behavior.start)
      this.setOutcomes(below)
    }
  }

  // --- scripted children ---

  private readonly push = (event: Event): void => {
    this.events.push(event)
  }

  private atGate(gate: string, path: string | undefined): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiter: Waiter = { gate, path, open: () => resume(Effect.void) }
      this.waiters.push(waiter)
      return Effect.sync(() => {
        const index = this.waiters.indexOf(waiter)
        if (index >= 0) this.waiters.splice(index, 1)
      })
    })
  }

  private openGate(gate: string): void {
    const index = this.waiters.findIndex((waiter) => waiter.gate === gate)
    if (index < 0) throw new Error(`Nobody waits at gate ${gate}`)
    const [waiter] = this.waiters.splice(index, 1)
    waiter?.open()
  }

  private nextOutcome(id: string): Outcome {
    const [next, ...rest] = this.outcomes.get(id) ?? []
    this.outcomes.set(id, rest)
    return next ?? "ok"
  }

  /** Plays a start outcome; answers the extra information of a start that succeeds. */
  private play(
    id: string,
    outcome: Outcome
  ): Effect.Effect<{ readonly info: string | undefined } | ChildSpec.Ignore, unknown, Process.Self> {
    if (outcome === "ok") return Effect.succeed({ info: undefined })
    if (outcome === "ignore") {
      this.push({ ev: "child_start_ignored", id })
      return Effect.succeed(ChildSpec.ignore)
    }
    if ("info" in outcome) return Effect.succeed({ info: outcome.info })
    if ("error" in outcome) {
      this.push({ ev: "child_start_failed", id, reason: outcome.error })
      return endWith(outcome.error)
    }
    if ("raise" in outcome) {
      this.push({ ev: "child_start_failed", id, reason: outcome.raise })
      return raise(outcome.raise)
    }
    const then = Effect.suspend(() => this.play(id, outcome.then ?? "ok"))
    if ("delay_ms" in outcome) return Effect.andThen(Effect.sleep(outcome.delay_ms), then)
    this.push({ ev: "child_start_waiting", id, gate: outcome.gate })
    return Effect.flatMap(Process.self, (self) => Effect.andThen(this.atGate(outcome.gate, self.path), then))
  }

  /** The start has succeeded: counts the instance and records its end. */
  private began(id: string, process: Process.Process, end: Instance["end"]): Instance {
    const gen = (this.generations.get(id) ?? 0) + 1
    this.generations.set(id, gen)
    const instance: Instance = { id, gen, process, end }
    this.instances.set(id, instance)
    this.byProcess.set(process, instance)
    this.push({ ev: "child_start", id, gen })
    process.addObserver((reason) => {
      this.cleaning.delete(process)
      this.push({ ev: "child_stop", id, gen, reason: fromReason(reason) })
    })
    return instance
  }

  private worker(
    id: string,
    behavior: Behavior
  ): Effect.Effect<ChildSpec.Started<unknown, Process.Self> | ChildSpec.Ignore, unknown, Process.Self> {
    return Effect.gen({ self: this }, function* () {
      const process = yield* Process.self
      const outcome = yield* this.play(id, this.nextOutcome(id))
      if ("_tag" in outcome) return outcome
      const told = yield* Deferred.make<never, unknown>()
      let bySelf = false
      const instance = this.began(id, process, (how) => {
        bySelf = true
        Deferred.doneUnsafe(told, how)
      })
      let listening = true
      const stopListening = Effect.sync(() => (listening = false))
      const signals = this.listen((reason) => {
        if (listening) this.push({ ev: "signal", id, gen: instance.gen, reason: fromReason(reason) })
      })
      const asked = (reason: ExitReason.ExitReason) => !bySelf && reason._tag === "Shutdown"
      const body = Effect.ensuring(Deferred.await(told), stopListening)
      return ChildSpec.started({
        info: outcome.info,
        run: Process.fork(signals, { label: "signals" }).pipe(
          Effect.andThen(Process.fork(this.own(instance, behavior), { label: "own" })),
          Effect.andThen(body)
        ),
        terminate: traps(behavior)
          ? (reason) =>
              // Who ignores the request hangs, before any cleanup; that its supervisor was killed is no request.
              behavior.on_shutdown === "ignore" && asked(reason)
                ? Effect.never
                : Effect.andThen(
                    this.cleanup(instance, behavior, reason, asked(reason)),
                    lastWord(behavior, asked(reason))
                  )
          : undefined
      })
    })
  }

  /** Ends by itself, if the script says so for this generation. */
  private own(instance: Instance, behavior: Behavior): Effect.Effect<void> {
    const planned = behavior.run?.[instance.gen - 1]
    if (planned === undefined) return Effect.void
    return Effect.andThen(
      Effect.sleep(planned.after_ms),
      Effect.sync(() => instance.end(endWith(planned.exit)))
    )
  }

  private listen(onSignal: (reason: ExitReason.ExitReason) => void): Effect.Effect<never, never, Process.Self> {
    return Effect.flatMap(Process.receive, (message) => {
      if (message._tag === "Exit") onSignal(message.reason)
      return this.listen(onSignal)
    })
  }

  private cleanup(
    { gen, id, process }: Instance,
    { cleanup }: Behavior,
    reason: ExitReason.ExitReason,
    asked: boolean
  ) {
    return Effect.suspend(() => {
      if (cleanup === undefined) return Effect.void
      this.push({ ev: "cleanup", id, gen, reason: fromReason(reason) })
      if (cleanup === true) return Effect.void
      // At a gate it is held up, and no time ends that.
      if (typeof cleanup === "number") this.cleaning.add(process)
      const wait =
        typeof cleanup === "number"
          ? Effect.sleep(cleanup)
          : this.atGate(cleanup.gate, asked ? process.path : undefined)
      return Effect.map(wait, () => {
        this.cleaning.delete(process)
        this.push({ ev: "cleanup_done", id, gen })
      })
    })
  }

  private nested(
    id: string,
    settings: SupervisorSettings,
    children: ReadonlyArray<ScriptedChild>
  ): Effect.Effect<ChildSpec.Started<unknown> | ChildSpec.Ignore, unknown, Process.Self | Registry.Registry> {
    return Effect.gen({ self: this }, function* () {
      const process = yield* Process.self
      const outcome = yield* this.play(id, settings.init === "ignore" ? "ignore" : this.nextOutcome(id))
      if ("_tag" in outcome) return outcome
      const started = yield* Effect.tapError(Supervisor.init(this.supervisor(id, settings, children)), (error) =>
        Effect.sync(() => this.push({ ev: "child_start_failed", id, reason: fromReason(error[ExitReason.ReasonOf]) }))
      )
      this.register(id, started.info)
      this.began(id, process, () => {})
      return outcome.info === undefined ? started : { ...started, info: outcome.info }
    })
  }

  private register(id: string, ref: Supervisor.SupervisorRef<never>): void {
    this.supervisors.set(id, { ref, kind: this.kinds.get(id) ?? "static" })
    this.alive = [...this.alive, ref]
  }

  // --- specs ---

  private child(child: ScriptedChild): ChildSpec.ChildSpec<unknown, Registry.Registry> {
    const { behavior = {}, children = [], id, supervisor } = child
    const name = id ?? ""
    const start = supervisor === undefined ? this.worker(name, behavior) : this.nested(name, supervisor, children)
    return ChildSpec.make({
      ...settingsOf(child),
      // A spec without a start function is faulty on purpose.
      start: (child.no_start === true ? undefined : start) as typeof start
    })
  }

  private supervisor(
    id: string,
    settings: SupervisorSettings,
    children: ReadonlyArray<ScriptedChild>
  ): Supervisor.SupervisorSpec<never, Registry.Registry> {
    const common = {
      intensity: settings.intensity,
      period: settings.period_ms,
      // Faulty values are part of the scenarios.
      autoShutdown: camel(settings.auto_shutdown) as Supervisor.AutoShutdown | undefined
    }
    if (settings.kind === "dynamic_supervisor") {
      this.kinds.set(id, "dynamic")
      return DynamicSupervisor.make({ ...common, maxChildren: settings.max_children })
    }
    if (settings.strategy === "simple_one_for_one") {
      this.kinds.set(id, "simple")
      return Supervisor.simple({ ...common, children: children.map((child) => this.template(child)) })
    }
    this.kinds.set(id, "static")
    return Supervisor.make({
      ...common,
      strategy: camel(settings.strategy) as Supervisor.Strategy | undefined,
      children: children.map((child) => this.child(child))
    })
  }

  private template(child: ScriptedChild): ChildSpec.ChildTemplate<Args, unknown, Registry.Registry> {
    const start = (args: Args) =>
      child.supervisor === undefined
        ? this.worker(args.name, args.behavior)
        : this.nested(args.name, child.supervisor, child.children ?? [])
    return ChildSpec.template({
      ...settingsOf(child),
      instanceId: (args: Args) => args.name,
      // As in `child`.
      start: (child.no_start === true ? undefined : start) as typeof start
    })
  }

  // --- steps ---

  /** What a step with a reply answers, in the words of the traces. */
  private call(step: Step): Effect.Effect<unknown, never, Registry.Registry> {
    if (step.op === "start") return this.startRoot
    if (step.op === "check_childspecs") {
      const specs = (step.children ?? []).map((child) => this.child(child))
      const autoShutdown = camel(step.auto_shutdown) as Supervisor.AutoShutdown | undefined
      return Effect.match(ChildSpec.check(specs, { autoShutdown }), {
        onSuccess: () => "ok",
        onFailure: (error) => ({ error: invalid(error) })
      })
    }
    const entry = this.supervisors.get(step.sup ?? "root")
    if (entry === undefined) throw new Error(`No supervisor ${step.sup ?? "root"}`)
    return Effect.match(this.ask(entry, step), {
      onSuccess: (result) => result,
      onFailure: (error) => this.refused(error)
    })
  }

  private ask(entry: SupervisorEntry, step: Step): Effect.Effect<unknown, Supervisor.SupervisorError> {
    const { kind, ref } = entry
    const id = step.child ?? ""
    switch (step.op) {
      case "stop":
        return Effect.as(ref.stop(toReason(step.reason ?? "shutdown")), "ok")
      case "start_child":
        return Effect.map(ref.startChild(this.startArgument(step)), (child) =>
          child.process === undefined && kind === "dynamic" ? "ignore" : { ok: this.startedChild(child) }
        )
      case "terminate_child": {
        const byId = kind === "static" || step.by === "id"
        return Effect.as(ref.terminateChild(byId ? id : (this.instances.get(id)?.process ?? id)), "ok")
      }
      case "restart_child":
        return Effect.map(ref.restartChild(id), (child) => ({ ok: this.startedChild(child) }))
      case "delete_child":
        return Effect.as(ref.deleteChild(id), "ok")
      case "get_childspec":
        return Effect.map(ref.getChildSpec(id), (spec) => ({ ok: specResult(spec) }))
      case "which_children":
        return Effect.map(ref.whichChildren, (children) => ({ children: this.childList(children, kind) }))
      case "count_children":
        return Effect.map(ref.countChildren, (count) => ({ count }))
      default:
        throw new Error(`Not a call: ${step.op}`)
    }
  }

  private startArgument(step: Step): never {
    if (step.spec !== undefined) {
      this.setOutcomes([step.spec])
      return this.child(step.spec) as never
    }
    const { args } = step
    if (args === undefined) throw new Error("start_child without spec or args")
    const id = step.sup ?? "root"
    const behavior = { ...this.templateOf(id)?.behavior, ...args.behavior }
    if (behavior.start !== undefined) this.outcomes.set(args.name, behavior.start)
    return { name: args.name, behavior } satisfies Args as never
  }

  private templateOf(id: string): ScriptedChild | undefined {
    const find = (children: ReadonlyArray<ScriptedChild>): ScriptedChild | undefined => {
      for (const child of children) {
        if (child.id === id) return child
        const found = find(child.children ?? [])
        if (found !== undefined) return found
      }
      return undefined
    }
    const { children } = this.scenario
    return id === "root" ? children[0] : find(children)?.children?.[0]
  }

  private instanceOf(process: Process.Process) {
    const { gen, id } = this.byProcess.get(process) ?? { id: process.path, gen: 0 }
    return { id, gen }
  }

  private startedChild({ info, process }: Supervisor.StartedChild): unknown {
    if (process === undefined) return null
    return { ...this.instanceOf(process), ...(typeof info === "string" && { info }) }
  }

  private childList(children: ReadonlyArray<Supervisor.ChildInfo>, kind: SupervisorEntry["kind"]): unknown {
    const listed = children.map(({ id, process, state, type }) => ({
      // The traces know a restarting instance of these supervisors by nothing.
      id: kind !== "static" && state === "restarting" ? null : id,
      state,
      ...(state === "running" && process !== undefined && { gen: this.instanceOf(process).gen }),
      type
    }))
    if (kind === "static") return listed
    return listed.toSorted((a, b) => {
      if (a.id === b.id) return 0
      if (a.id === null) return -1
      return b.id !== null && a.id < b.id ? -1 : 1
    })
  }

  private refused({ reason }: Supervisor.SupervisorError): unknown {
    switch (reason._tag) {
      case "Exited":
        return { exit: fromReason(reason.reason) }
      case "StartFailed":
        return { error: { start_failed: fromReason(reason.reason) } }
      case "InvalidChildSpec":
        return { error: invalid(reason.error) }
      case "AlreadyStarted":
        return { error: { already_started: this.instanceOf(reason.process) } }
      default:
        return { error: snake(reason._tag) }
    }
  }

  /** Starts the root in a process of its own, its parent, which traps exits so that it outlives the root. */
  private readonly startRoot: Effect.Effect<unknown, never, Registry.Registry> = Effect.suspend(() => {
    const { children, supervisor } = this.scenario
    if (supervisor.init === "ignore") return Effect.succeed("ignore")
    this.starting = true
    const result = Deferred.makeUnsafe<unknown>()
    const told = Deferred.makeUnsafe<never>()
    this.endParent = (reason) => Deferred.doneUnsafe(told, Process.exit(reason))
    const begin = Effect.match(Supervisor.start(this.supervisor("root", supervisor, children)), {
      onSuccess: (ref) => {
        this.register("root", ref)
        ref.process.addObserver((reason) => this.push({ ev: "supervisor_exit", reason: fromReason(reason) }))
        return "ok"
      },
      onFailure: startError
    })
    const parent = Effect.andThen(
      Effect.flatMap(begin, (answer) => Deferred.succeed(result, answer)),
      Deferred.await(told)
    )
    return Process.spawn(parent, { id: "parent", trapExit: true }).pipe(
      Effect.andThen(Deferred.await(result)),
      Effect.ensuring(Effect.sync(() => (this.starting = false)))
    )
  })

  private processOf(id: string): Process.Process {
    const process = id === "root" ? this.supervisors.get("root")?.ref.process : this.instances.get(id)?.process
    if (process === undefined) throw new Error(`No instance of ${id}`)
    return process
  }

  /** Carries a step out, as far as it goes without time passing. */
  step(step: Step): Effect.Effect<void, never, Registry.Registry | Scope.Scope> {
    const id = step.child ?? ""
    const reason = step.reason ?? "normal"
    switch (step.op) {
      case "exit":
        return Effect.sync(() => this.instances.get(id)?.end(endWith(reason)))
      case "raise":
        return Effect.sync(() => this.instances.get(id)?.end(raise(reason)))
      case "kill":
        return Effect.suspend(() => this.processOf(id).exit(ExitReason.kill))
      case "exit_signal":
        return Effect.suspend(() => this.processOf(id).exit(toReason(reason)))
      case "parent_exit":
        return Effect.sync(() => this.endParent(toReason(reason)))
      case "open_gate":
        return Effect.sync(() => this.openGate(step.gate ?? ""))
      case "set_start":
        return Effect.sync(() => this.outcomes.set(id, step.outcomes ?? []))
      case "sleep":
        return Effect.void
      case "async": {
        const { call, tag = "" } = step
        if (call === undefined) throw new Error("async without a call")
        return this.background(call, (result) => this.asyncReplies.push({ tag, op: call.op, result }))
      }
      default:
        return this.background(step, (result) => this.push({ ev: "reply", op: step.op, result }))
    }
  }

  private background(step: Step, onReply: (result: unknown) => void) {
    const call = Effect.map(
      Effect.suspend(() => this.call(step)),
      onReply
    )
    return Effect.asVoid(Effect.forkScoped(call, { startImmediately: true }))
  }

  // --- settling ---

  /** Whether somebody is at work who only needs time. */
  readonly needsTime: Effect.Effect<boolean> = Effect.suspend(() => {
    const held = (path: string) =>
      this.waiters.some((waiter) => waiter.path !== undefined && `${waiter.path}/`.startsWith(`${path}/`))
    if (this.cleaning.size > 0) return Effect.succeed(true)
    if (this.starting) return Effect.succeed(this.waiters.length === 0)
    // Those below a killed supervisor are in no tree any more, and still stop their children.
    this.alive = this.alive.filter((ref) => ref.process.isAliveUnsafe)
    const busy = (node: Supervisor.TreeNode): boolean => node.busy === true && !held(node.path)
    return Effect.map(Effect.all(this.alive.map((ref) => ref.tree)), (trees) => trees.some(busy))
  })
}

const traps = (behavior: Behavior): boolean =>
  behavior.traps_exit === true || behavior.cleanup !== undefined || (behavior.on_shutdown ?? "obey") !== "obey"

const lastWord = ({ on_shutdown }: Behavior, asked: boolean): Effect.Effect<void, unknown> =>
  asked && typeof on_shutdown === "object" ? endWith(on_shutdown.exit) : Effect.void

/** The traces' words for what has another one here. Faulty ones stay as they are. */
const words: Readonly<Record<string, string>> = {
  one_for_one: "oneForOne",
  one_for_all: "oneForAll",
  rest_for_one: "restForOne",
  any_significant: "anySignificant",
  all_significant: "allSignificant",
  brutal_kill: "brutalKill"
}

const camel = <A>(word: A): A | string => (typeof word === "string" ? (words[word] ?? word) : word)

/** Faulty values are part of the scenarios, so they are handed over as they are. */
const settingsOf = (child: ScriptedChild): ChildSpec.Settings =>
  ({
    id: child.id,
    restart: child.restart,
    shutdown: camel(child.shutdown),
    type: child.type,
    significant: child.significant
  }) as ChildSpec.Settings

const specResult = ({ id, restart, shutdown, significant, type }: Omit<ChildSpec.ChildSpec, "start">): unknown => ({
  id,
  restart,
  shutdown:
    shutdown === "brutalKill" ? "brutal_kill" : shutdown === "infinity" ? shutdown : Duration.toMillis(shutdown),
  type,
  significant
})

// --- time ------------------------------------------------------------------------------------------------------------

/** The test clock, with the times of the sleeps that are under way. */
class Time {
  private readonly deadlines: Array<number> = []
  readonly clock: Clock.Clock
  private readonly test: TestClock.TestClock
  constructor(test: TestClock.TestClock) {
    this.test = test
    this.clock = {
      ...test,
      sleep: (duration) =>
        Effect.suspend(() => {
          const deadline = test.currentTimeMillisUnsafe() + Duration.toMillis(duration)
          this.deadlines.push(deadline)
          return Effect.ensuring(
            test.sleep(duration),
            Effect.sync(() => this.deadlines.splice(this.deadlines.indexOf(deadline), 1))
          )
        })
    }
  }

  /** Advances to the next timer; whether there was one. */
  readonly toNextTimer: Effect.Effect<boolean> = Effect.suspend(() => {
    if (this.deadlines.length === 0) return Effect.succeed(false)
    const next = Math.min(...this.deadlines)
    return Effect.as(this.test.adjust(Math.max(0, next - this.test.currentTimeMillisUnsafe())), true)
  })

  advance(ms: number): Effect.Effect<void> {
    return this.test.adjust(ms)
  }
}

/** Lets all fibers that can run do so. */
const drain = Effect.repeat(Effect.yieldNow, { times: 20 })

const settle = Effect.fnUntraced(function* (world: World, time: Time) {
  for (let round = 0; round < 1000; round++) {
    let seen = -1
    while (seen !== world.events.length) {
      seen = world.events.length
      yield* drain
    }
    if (!(yield* world.needsTime)) return
    if (!(yield* time.toNextTimer)) return
  }
  throw new Error("The scenario does not settle")
})

/** Runs a scenario; a file that is none is a defect. */
export const runSupervisorScenario = (value: unknown): Effect.Effect<ReadonlyArray<StepTrace>> =>
  Effect.gen(function* () {
    const world = new World(parse(value))
    const time = new Time(yield* TestClock.testClockWith(Effect.succeed))
    const trace: Array<StepTrace> = []
    const steps = Effect.gen(function* () {
      for (const [index, step] of world.scenario.steps.entries()) {
        yield* world.step(step)
        if (step.op === "sleep") yield* time.advance(step.ms ?? 0)
        yield* settle(world, time)
        const replies = world.asyncReplies.toSorted((a, b) => (a.tag < b.tag ? -1 : 1))
        trace.push({
          step: index,
          op: step.op,
          events: world.events,
          ...(replies.length > 0 && { async_replies: replies })
        })
        world.events = []
        world.asyncReplies = []
      }
    })
    yield* Effect.provideService(steps, Clock.Clock, time.clock)
    return trace
  }).pipe(
    Effect.scoped,
    Effect.provide([Registry.layer, Logger.layer([])]),
    Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)),
    Effect.provide(TestClock.layer({ warningDelay: "1 hour" }))
  )
