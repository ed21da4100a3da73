/**
 * Runs a process scenario (servers, links, monitors, names, registries) on `@relive/otp`, under `TestClock`, and records
 * its trace.
 *
 * This file translates: scripted messages into handlers, steps into what a process does, results into the words of the
 * traces. It decides nothing that OTP has a rule for.
 */
import * as ExitReason from "@relive/otp/ExitReason"
import * as GenServer from "@relive/otp/GenServer"
import * as Process from "@relive/otp/Process"
import * as Registry from "@relive/otp/Registry"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { parse } from "./processScenario.ts"
import type { Msg, Scenario, ServerScript, Step } from "./processScenario.ts"
import type { Event, StepTrace } from "./trace.ts"

// --- words -----------------------------------------------------------------------------------------------------------

const toReason = (label: string): ExitReason.ExitReason => {
  if (label.startsWith("shutdown:")) return ExitReason.shutdownWith(label.slice("shutdown:".length))
  if (label.startsWith("crash:")) return ExitReason.crash(label.slice("crash:".length))
  switch (label) {
    case "normal":
      return ExitReason.normal
    case "shutdown":
      return ExitReason.shutdown
    case "killed":
      return ExitReason.killed
    case "kill":
      return ExitReason.kill
    case "noproc":
      return ExitReason.noProcess
    default:
      throw new Error(`Unknown reason ${label}`)
  }
}

const isCallError = (error: unknown): error is GenServer.CallError =>
  error instanceof GenServer.CallTimeout ||
  error instanceof GenServer.NoProcess ||
  error instanceof GenServer.CallingSelf ||
  error instanceof GenServer.ServerExit

const fromReason = (reason: ExitReason.ExitReason): string => {
  switch (reason._tag) {
    case "Normal":
      return "normal"
    case "Killed":
      return "killed"
    case "Kill":
      return "kill"
    case "NoProcess":
      return "noproc"
    case "Shutdown":
      return reason.info === undefined ? "shutdown" : `shutdown:${String(reason.info)}`
    case "Crash": {
      const error = Cause.squash(reason.cause)
      if (isCallError(error)) return fromCallError(error)
      return `crash:${error instanceof Error ? error.message : String(error)}`
    }
  }
}

const fromCallError = (error: GenServer.CallError): string => {
  switch (error._tag) {
    case "CallTimeout":
      return "timeout"
    case "NoProcess":
      return "noproc"
    case "CallingSelf":
      return "calling_self"
    case "ServerExit":
      return fromReason(error.reason)
    case "MailboxFull":
      throw error
  }
}

/** An uncaught error. One with a reason that is no crash can only be said. */
const raise = (label: string): Effect.Effect<never> =>
  label.startsWith("crash:") ? Effect.die(new Error(label.slice("crash:".length))) : Process.exit(toReason(label))

/** The order of Erlang's terms, as far as JSON has them. */
const rank = (value: unknown): number => {
  if (typeof value === "number") return 0
  if (value === null || typeof value === "boolean") return 1
  return typeof value === "string" ? 4 : Array.isArray(value) ? 3 : 2
}

const compare = (a: unknown, b: unknown): number => {
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (Array.isArray(a) && Array.isArray(b)) {
    const index = a.findIndex((item, index) => index >= b.length || compare(item, b[index]) !== 0)
    if (index < 0) return a.length - b.length
    return index >= b.length ? 1 : compare(a[index], b[index])
  }
  if (typeof a === "number" && typeof b === "number") return a - b
  const [left, right] = [String(a), String(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

// --- the world of one scenario ---------------------------------------------------------------------------------------

/** All messages of the servers are scripted ones. */
interface Scripted {
  readonly call: GenServer.Call<{ readonly _tag: "Run"; readonly msg: Msg }, unknown>
  readonly cast: Msg
  readonly continue: Msg
}
type Server = GenServer.Server<Scripted>

/** What a server keeps: its handle, and its callers by the label of their call. */
interface State {
  readonly self: Server
  readonly callers: Map<string, GenServer.From<unknown>>
}

type Kind = "call" | "cast" | "info" | "continue"

/** What stands under a local name: a server, or a plain process. */
type Named = Server | { readonly process: Process.Process }

interface RunningRegistry {
  readonly registry: Registry.Registry
  readonly scope: Scope.Closeable
}

/** Sent to a plain process: what to do next. */
class Command {
  readonly run: Effect.Effect<void, never, Process.Self>
  constructor(run: Effect.Effect<void, never, Process.Self>) {
    this.run = run
  }
}

const isMsg = (message: unknown): message is Msg => typeof message === "object" && message !== null && "m" in message

class World {
  private events = new Map<string, Array<Event>>()
  private readonly ids = new Map<Process.Process, string>()
  private readonly processes = new Map<string, Process.Process>()
  private readonly servers = new Map<string, Server>()
  private readonly scripts: ReadonlyMap<string, ServerScript>
  private readonly gates: Array<{ readonly gate: string; readonly open: () => void }> = []
  private readonly registries = new Map<string, RunningRegistry>()
  private readonly monitors = new Map<string, Array<Process.MonitorRef>>()
  /** When the handlers that take time will be done. */
  readonly delays = new Set<{ readonly until: number }>()
  private readonly names: Registry.Registry
  private readonly clock: Clock.Clock

  constructor(scenario: Scenario, names: Registry.Registry, clock: Clock.Clock) {
    this.scripts = new Map(scenario.servers.map((server) => [server.id, server]))
    this.names = names
    this.clock = clock
    this.ids.set(names.process, "registry")
  }

  // --- recording ---

  private push(id: string, event: Event): void {
    const events = this.events.get(id)
    if (events === undefined) this.events.set(id, [event])
    else events.push(event)
    this.recorded++
  }

  /** How many events there have been. */
  recorded = 0

  takeEvents(): Readonly<Record<string, ReadonlyArray<Event>>> {
    const events = Object.fromEntries(this.events)
    this.events = new Map()
    return events
  }

  private result(id: string, step: Pick<Step, "op" | "msg">, result: unknown): void {
    const m = step.msg === undefined || step.op === "dispatch" ? {} : { m: step.msg.m }
    this.push(id, { ev: "result", op: step.op, ...m, result })
  }

  private idOf(process: Process.Process | undefined): string {
    return process === undefined ? "host" : (this.ids.get(process) ?? process.path)
  }

  private watch(id: string, process: Process.Process): void {
    this.ids.set(process, id)
    this.processes.set(id, process)
    process.addObserver((reason) => this.push(id, { ev: "exit", reason: fromReason(reason) }))
  }

  private signalled(id: string, message: Exclude<GenServer.Info, { readonly _tag: "Message" | "Timeout" }>): void {
    const reason = fromReason(message.reason)
    if (message._tag === "Exit") this.push(id, { ev: "signal", from: this.idOf(message.from), reason })
    else this.push(id, { ev: "down", process: this.idOf(message.process), reason })
  }

  /** News of a registry; `false` when the message is something else. */
  private registryNews(id: string, message: unknown): boolean {
    const event = message as Registry.RegistryEvent | undefined
    if (event?._tag !== "Registered" && event?._tag !== "Unregistered") return false
    const { key } = event
    const process = this.idOf(event.process)
    if (event._tag === "Unregistered") this.push(id, { ev: "unregistered", key, process })
    else this.push(id, { ev: "registered", key, process, value: event.value })
    return true
  }

  // --- waiting ---

  private atGate(gate: string): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiter = { gate, open: () => resume(Effect.void) }
      this.gates.push(waiter)
      return Effect.sync(() => this.leaveGate(waiter))
    })
  }

  private leaveGate(waiter: { readonly gate: string; readonly open: () => void }): void {
    const index = this.gates.indexOf(waiter)
    if (index >= 0) this.gates.splice(index, 1)
  }

  private openGate(gate: string): void {
    const waiter = this.gates.find((waiter) => waiter.gate === gate)
    if (waiter === undefined) return
    this.leaveGate(waiter)
    waiter.open()
  }

  private delay(ms: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const delay = { until: this.clock.currentTimeMillisUnsafe() + ms }
      this.delays.add(delay)
      return Effect.ensuring(
        Effect.sleep(ms),
        Effect.sync(() => this.delays.delete(delay))
      )
    })
  }

  // --- servers ---

  private definition(script: ServerScript) {
    const { id } = script
    return GenServer.make<Scripted, State>()({
      trapExit: script.traps_exit === true,
      init: (self) =>
        Effect.suspend(() => {
          this.watch(id, self.process)
          this.servers.set(id, self)
          this.push(id, { ev: "init" })
          return this.initOutcome(script.init ?? "ok", { self, callers: new Map() })
        }),
      handleCall: {
        Run: ({ msg }, state, from) => {
          this.push(id, { ev: "handle", kind: "call", m: msg.m })
          state.callers.set(msg.m, from)
          return Effect.map(this.play(id, msg, state), () => callResult(msg, state))
        }
      },
      handleCast: (msg, state) => this.handle(id, "cast", msg, state),
      handleContinue: (msg, state) => this.handle(id, "continue", msg, state),
      handleInfo: (info, state) => {
        if (info._tag === "Message") {
          if (isMsg(info.message)) return this.handle(id, "info", info.message, state)
          if (!this.registryNews(id, info.message)) throw new Error("A server got a message that is not scripted")
        } else if (info._tag === "Timeout") {
          this.push(id, { ev: "handle", kind: "timeout" })
        } else {
          this.signalled(id, info)
        }
        return GenServer.noReply(state)
      },
      terminate: (reason) => this.push(id, { ev: "terminate", reason: fromReason(reason) })
    })
  }

  private initOutcome(
    init: NonNullable<ServerScript["init"]>,
    state: State
  ): Effect.Effect<GenServer.InitResult<State, Msg>> {
    if (init === "ok") return Effect.succeed(GenServer.ok(state))
    if (init === "ignore") return Effect.succeed(GenServer.ignore)
    if ("stop" in init) return Effect.succeed(GenServer.failed(toReason(init.stop)))
    if ("raise" in init) return raise(init.raise)
    if ("gate" in init) return Effect.as(this.atGate(init.gate), GenServer.ok(state))
    if ("timeout_ms" in init) return Effect.succeed(GenServer.ok(state, { timeout: init.timeout_ms }))
    return Effect.succeed(GenServer.ok(state, { continue: init.continue }))
  }

  private handle(
    id: string,
    kind: Exclude<Kind, "call">,
    msg: Msg,
    state: State
  ): Effect.Effect<GenServer.Result<State, Msg>, unknown, Process.Self> {
    this.push(id, { ev: "handle", kind, m: msg.m })
    return Effect.map(this.play(id, msg, state), () =>
      msg.stop === undefined ? GenServer.noReply(state, nextOf(msg)) : GenServer.stop(toReason(msg.stop), state)
    )
  }

  /** What a message says that its handler does before it returns. */
  private readonly play = Effect.fnUntraced(
    { self: this },
    function* (this: World, id: string, msg: Msg, state: State): Effect.fn.Return<void, unknown, Process.Self> {
      if (msg.gate !== undefined) yield* this.atGate(msg.gate)
      if (msg.delay_ms !== undefined) yield* this.delay(msg.delay_ms)
      if (msg.raise !== undefined) yield* raise(msg.raise)
      if (msg.exit !== undefined) yield* Process.exit(toReason(msg.exit))
      if (msg.throw === true) return yield* Effect.fail(GenServer.noReply(state))
      if (msg.reply_to !== undefined) yield* state.callers.get(msg.reply_to)?.reply(msg.value ?? null) ?? Effect.void
      if (msg.cast_self !== undefined) yield* state.self.cast(msg.cast_self)
      if (msg.call_self === true) yield* state.self.call({ _tag: "Run", msg })
      if (msg.call !== undefined) {
        const call = { op: "call", ...msg.call }
        this.result(id, call, yield* this.call(call))
      }
      if (msg.monitor !== undefined) yield* this.processOf(msg.monitor).monitor
    }
  )

  // --- plain processes ---

  spawn(id: string, trapExit: boolean): Effect.Effect<void> {
    const spawned = Process.spawn(
      Effect.suspend(() => this.live(id)),
      { id, trapExit }
    )
    return Effect.map(spawned, (process) => this.watch(id, process))
  }

  /** Takes what comes, commands among it, one after the other. */
  private live(id: string): Effect.Effect<never, never, Process.Self> {
    return Effect.flatMap(Process.receive, (message) => {
      const done = message._tag === "Message" ? this.received(id, message.message) : this.told(id, message)
      return Effect.andThen(done, this.live(id))
    })
  }

  private received(id: string, message: unknown): Effect.Effect<void, never, Process.Self> {
    if (message instanceof Command) return message.run
    if (isMsg(message)) this.push(id, { ev: "message", m: message.m })
    else if (!this.registryNews(id, message)) throw new Error(`${id} got a message that is not scripted`)
    return Effect.void
  }

  private told(id: string, message: Exclude<Process.Message, { readonly _tag: "Message" }>): Effect.Effect<void> {
    if (message._tag === "ParentExit") throw new Error("A plain process has no parent")
    return Effect.sync(() => this.signalled(id, message))
  }

  /** Ends all processes, so that nothing is left of the scenario. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.ids.keys(), (process) => process.exit(ExitReason.kill), { discard: true })
  )

  // --- steps ---

  /** Carries a step out, as far as it goes without time passing. */
  step(step: Step): Effect.Effect<void> {
    switch (step.op) {
      case "sleep":
        return Effect.void
      case "open_gate":
        return Effect.sync(() => this.openGate(step.gate ?? ""))
      case "spawn":
        return this.spawn(step.process ?? "", step.traps_exit === true)
      case "kill":
        return this.processOf(step.process ?? "").exit(ExitReason.kill)
      case "burst":
        return this.burst(step)
      default:
        return this.command(doerOf(step), this.perform(step))
    }
  }

  private command(doer: string, run: Effect.Effect<void, never, Process.Self>): Effect.Effect<void> {
    return this.processOf(doer).send(new Command(run))
  }

  /** Items of one doer in a row are one command, so that nothing comes between them. */
  private burst({ by, items = [] }: Step): Effect.Effect<void> {
    const parts: Array<{ readonly doer: string | undefined; readonly run: Array<Step> }> = []
    for (const item of items) {
      const step = item.by === undefined && by !== undefined ? { ...item, by } : item
      const doer = driven.has(step.op) ? undefined : doerOf(step)
      const last = parts.at(-1)
      if (last !== undefined && doer !== undefined && last.doer === doer) last.run.push(step)
      else parts.push({ doer, run: [step] })
    }
    return Effect.forEach(
      parts,
      ({ doer, run }) =>
        Effect.suspend(() =>
          doer === undefined
            ? Effect.forEach(run, (step) => this.step(step), { discard: true })
            : this.command(
                doer,
                Effect.all(
                  run.map((step) => this.perform(step)),
                  { discard: true }
                )
              )
        ),
      { discard: true }
    )
  }

  /** What the doer of a step does. Processes named by `to` are those of now. */
  private perform(step: Step): Effect.Effect<void, never, Process.Self> {
    const doer = doerOf(step)
    const outcome = this.act(step, doer)
    return Effect.map(outcome, (result) => {
      if (result !== silent) this.result(doer, step, result)
    })
  }

  private act(step: Step, doer: string): Effect.Effect<unknown, never, Process.Self> {
    switch (step.op) {
      case "start_server":
        return this.startServer(step)
      case "call":
        return this.call(step)
      case "stop":
        return this.stop(step)
      case "cast":
        return Effect.as(
          Effect.andThen(this.server(step), (server) => server.cast(message(step))),
          silent
        )
      case "send":
        return this.send(step)
      case "exit":
        return Process.exit(toReason(step.reason ?? ""))
      case "raise":
        return raise(step.reason ?? "")
      case "trap_exit":
        return Effect.as(Process.trapExit(step.value === true), silent)
      case "monitor":
      case "demonitor":
      case "link":
      case "unlink":
      case "signal":
      case "is_alive":
        return this.toProcess(step, doer)
      case "register_name":
      case "unregister_name":
      case "whereis":
        return this.local(step)
      case "start_registry":
        return this.startRegistry(step)
      case "stop_registry":
        return this.stopRegistry(step)
      default:
        return this.inRegistry(step, (registry) => this.registryStep(step, registry))
    }
  }

  // --- servers by handle, name or key ---

  private processOf(id: string): Process.Process {
    const process = this.processes.get(id)
    if (process === undefined) throw new Error(`There was no process ${id}`)
    return process
  }

  /** The server a step is for: an instance, which is that of now, or whoever has the name when it is done. */
  private server(step: Step): Effect.Effect<GenServer.ServerRef<Scripted>> {
    if (step.to !== undefined) {
      const server = this.servers.get(step.to)
      if (server === undefined) throw new Error(`There was no server ${step.to}`)
      return Effect.succeed(server)
    }
    const { name, registry } = this.address(step)
    return Effect.provideService(GenServer.named(name), Registry.Registry, registry)
  }

  private address(step: Step): { readonly name: Registry.Name<Server>; readonly registry: Registry.Registry } {
    if (step.to_key === undefined) return { name: Registry.name(step.to_name), registry: this.names }
    const [id, key] = step.to_key
    return { name: Registry.name(key), registry: this.runningRegistry(id) }
  }

  private call(step: Step): Effect.Effect<unknown> {
    const timeout = step.timeout_ms ?? "infinity"
    const call = Effect.andThen(this.server(step), (server) =>
      server.call({ _tag: "Run", msg: message(step) }, { timeout })
    )
    return Effect.match(call, {
      onSuccess: (value) => ({ ok: value }),
      onFailure: (error) => ({ exit: fromCallError(error) })
    })
  }

  private stop(step: Step): Effect.Effect<unknown> {
    const options = { reason: toReason(step.reason ?? "normal"), timeout: step.timeout_ms ?? ("infinity" as const) }
    const stop = Effect.andThen(this.server(step), (server) => server.stop(options))
    return Effect.match(stop, {
      onSuccess: () => "ok",
      onFailure: (error) => ({ exit: fromCallError(error) })
    })
  }

  private send(step: Step): Effect.Effect<unknown> {
    if (step.to !== undefined) return Effect.as(this.processOf(step.to).send(step.msg), silent)
    const { name, registry } = this.address(step)
    return Registry.whereIs(name).pipe(
      Effect.flatMap(Effect.fromOption),
      Effect.flatMap((process) => Effect.as(process.send(step.msg), silent)),
      Effect.orElseSucceed(() => badarg),
      Effect.provideService(Registry.Registry, registry)
    )
  }

  private startServer(step: Step): Effect.Effect<unknown, never, Process.Self> {
    const id = step.server ?? ""
    const definition = this.definition(this.scripts.get(id) ?? { id })
    const options = { id, timeout: step.timeout_ms ?? ("infinity" as const) }
    const started = Effect.suspend(() => {
      const start = step.link === true ? GenServer.startLink : GenServer.start
      if (step.register === undefined && step.key === undefined) return start(definition, options)
      const [registry, key] = Array.isArray(step.key)
        ? [this.runningRegistry(String(step.key[0])), step.key[1] as unknown]
        : [this.names, step.register]
      return Effect.provideService(
        start(definition, { ...options, name: Registry.name(key) }),
        Registry.Registry,
        registry
      )
    })
    return Effect.match(started, { onSuccess: () => "ok", onFailure: (error) => this.startError(error) })
  }

  private startError(error: GenServer.StartError): unknown {
    switch (error._tag) {
      case "AlreadyStarted":
        return { error: { already_started: this.idOf(error.process) } }
      case "StartFailed":
        return { error: fromReason(error.reason) }
      case "StartIgnored":
        return "ignore"
      case "StartTimeout":
        return { error: "timeout" }
    }
  }

  // --- processes ---

  private toProcess(step: Step, doer: string): Effect.Effect<unknown, never, Process.Self> {
    if (step.to !== undefined) return this.onProcess(step, doer, this.processOf(step.to))
    const { name, registry } = this.address(step)
    return Registry.whereIs(name).pipe(
      Effect.provideService(Registry.Registry, registry),
      Effect.flatMap(
        Option.match({
          onNone: () => Effect.die(new Error(`${step.op} to a free name`)),
          onSome: (process) => this.onProcess(step, doer, process)
        })
      )
    )
  }

  private onProcess(step: Step, doer: string, process: Process.Process): Effect.Effect<unknown, never, Process.Self> {
    switch (step.op) {
      case "monitor":
        return Effect.map(process.monitor, (ref) => {
          this.monitorsOf(doer, process).push(ref)
          return silent
        })
      case "demonitor":
        return Effect.suspend(() => {
          const ref = this.monitorsOf(doer, process).pop()
          return Effect.as(ref === undefined ? Effect.void : process.demonitor(ref, { flush: step.flush }), silent)
        })
      case "link":
        return Effect.match(process.link, { onSuccess: () => silent, onFailure: () => ({ error: "noproc" }) })
      case "unlink":
        return Effect.as(process.unlink, silent)
      case "signal":
        return Effect.as(process.exit(toReason(step.reason ?? "")), silent)
      default:
        return process.isAlive
    }
  }

  private monitorsOf(doer: string, process: Process.Process): Array<Process.MonitorRef> {
    const key = `${doer}/${process.serial}`
    const refs = this.monitors.get(key) ?? []
    this.monitors.set(key, refs)
    return refs
  }

  // --- names and registries ---

  private local(step: Step): Effect.Effect<unknown, never, Process.Self> {
    const name = Registry.name<Named>(step.name)
    const act = (): Effect.Effect<unknown, unknown, Process.Self | Registry.Registry> => {
      switch (step.op) {
        case "register_name":
          return Effect.as(
            Effect.flatMap(Process.self, (process) => Registry.register(name, { process })),
            "ok"
          )
        case "unregister_name":
          return Effect.as(Registry.unregister(name), "ok")
        default:
          return Effect.map(Registry.whereIs(name), (owner) => this.idOrNull(owner))
      }
    }
    return act().pipe(
      Effect.orElseSucceed(() => badarg),
      Effect.provideService(Registry.Registry, this.names)
    )
  }

  private idOrNull(process: Option.Option<Process.Process>): string | null {
    return Option.isNone(process) ? null : this.idOf(process.value)
  }

  private runningRegistry(id: string): Registry.Registry {
    const running = this.registries.get(id)
    if (running === undefined) throw new Error(`There is no registry ${id}`)
    return running.registry
  }

  private startRegistry(step: Step): Effect.Effect<unknown> {
    return Effect.gen({ self: this }, function* () {
      const scope = yield* Scope.make()
      const listeners = (step.listeners ?? []).map((key) => {
        const name = Registry.name<Named>(key)
        return () => Registry.lookupUnsafe(this.names, name)?.process
      })
      const registry = yield* Scope.provide(Registry.make({ keys: step.keys, listeners }), scope)
      this.registries.set(step.registry ?? "", { registry, scope })
      this.ids.set(registry.process, "registry")
      return "ok"
    })
  }

  private stopRegistry(step: Step): Effect.Effect<unknown> {
    return Effect.suspend((): Effect.Effect<unknown> => {
      const id = step.registry ?? ""
      const running = this.registries.get(id)
      this.registries.delete(id)
      return running === undefined ? Effect.succeed(noRegistry) : Effect.as(Scope.close(running.scope, Exit.void), "ok")
    })
  }

  private inRegistry(
    step: Step,
    run: (registry: Registry.Registry) => Effect.Effect<unknown, never, Process.Self | Registry.Registry>
  ): Effect.Effect<unknown, never, Process.Self> {
    return Effect.suspend(() => {
      const running = this.registries.get(step.registry ?? "")
      if (running === undefined) return Effect.succeed(noRegistry)
      return Effect.provideService(run(running.registry), Registry.Registry, running.registry)
    })
  }

  private registryStep(
    step: Step,
    registry: Registry.Registry
  ): Effect.Effect<unknown, never, Process.Self | Registry.Registry> {
    const name = Registry.name<unknown>(step.key)
    const value = step.value ?? null
    switch (step.op) {
      case "register":
        return Effect.match(Registry.register(name, value), {
          onSuccess: () => "ok",
          onFailure: (error) =>
            error._tag === "AlreadyRegistered"
              ? { error: { already_registered: this.idOf(error.process) } }
              : { error: error.reason }
        })
      case "unregister":
        return Effect.match(Registry.unregister(name), { onSuccess: () => "ok", onFailure: () => "error" })
      case "lookup":
        return Effect.map(Registry.entries(name), (entries) =>
          entries
            .map((entry) => ({ process: this.idOf(entry.process), value: entry.value }))
            .toSorted((a, b) => compare(a.process, b.process) || compare(a.value, b.value))
        )
      case "keys":
        return Effect.map(Registry.keys(this.processOf(step.process ?? "")), (keys) => keys.toSorted(compare))
      case "values":
        return Effect.map(Registry.values(name, this.processOf(step.process ?? "")), (values) =>
          values.toSorted(compare)
        )
      case "count":
        return Registry.count
      case "update_value":
        return Effect.match(
          Registry.updateValue(name, () => value),
          {
            onSuccess: (updated) => ({ ok: { new: updated.value, old: updated.previous } }),
            onFailure: () => "error"
          }
        )
      case "dispatch":
        return Effect.as(Registry.dispatch(name, step.msg), silent)
      case "whereis_key":
        return Effect.map(Registry.whereIs(name), (owner) => this.idOrNull(owner))
      case "put_meta":
        return Effect.as(Registry.putMeta(name, value), "ok")
      case "meta":
        return Effect.map(Registry.meta(name), (found) => (Option.isNone(found) ? "error" : { ok: found.value }))
      default:
        throw new Error(`Unknown step ${step.op} of registry ${String(registry.keys)}`)
    }
  }
}

/** The outcome of a step that says nothing. */
const silent = Symbol("silent")

const badarg = { error: "badarg" }
const noRegistry = { error: "no_registry" }

/** Steps that no process does. */
const driven: ReadonlySet<string> = new Set(["sleep", "open_gate", "spawn", "kill", "burst"])

const doerOf = (step: Step): string =>
  step.op === "exit" || step.op === "raise" ? (step.process ?? "") : (step.by ?? "host")

const message = (step: Step): Msg => {
  if (step.msg === undefined) throw new Error(`${step.op} without a message`)
  return step.msg
}

const nextOf = (msg: Msg): GenServer.Next<Msg> | undefined => {
  if (msg.continue !== undefined) return { continue: msg.continue }
  return msg.timeout_ms === undefined ? undefined : { timeout: msg.timeout_ms }
}

const callResult = (msg: Msg, state: State): GenServer.CallResult<State, unknown, never, Msg> => {
  if (msg.stop !== undefined) {
    const reason = toReason(msg.stop)
    return "reply" in msg ? GenServer.stopReply(reason, msg.reply, state) : GenServer.stop(reason, state)
  }
  if (msg.noreply === true) return GenServer.noReply(state, nextOf(msg))
  return GenServer.reply(msg.reply ?? null, state, nextOf(msg))
}

// --- time ------------------------------------------------------------------------------------------------------------

/** Lets all fibers that can run do so. */
const drain = Effect.repeat(Effect.yieldNow, { times: 20 })

const settle = Effect.fnUntraced(function* (world: World, clock: TestClock.TestClock) {
  for (let round = 0; round < 1000; round++) {
    let seen = -1
    while (seen !== world.recorded) {
      seen = world.recorded
      yield* drain
    }
    if (world.delays.size === 0) return
    const next = Math.min(...Array.from(world.delays, (delay) => delay.until))
    yield* clock.adjust(Math.max(0, next - clock.currentTimeMillisUnsafe()))
  }
  throw new Error("The scenario does not settle")
})

/** The trace of a scenario: for each step `{ step, op, processes }`. A file that is no such scenario is a defect. */
export const runProcessScenario = (value: unknown): Effect.Effect<ReadonlyArray<StepTrace>> =>
  Effect.gen(function* () {
    const scenario = parse(value)
    const clock = yield* TestClock.testClockWith(Effect.succeed)
    const names = yield* Registry.make({ keys: "local" })
    const world = new World(scenario, names, clock)
    yield* Effect.addFinalizer(() => world.close)
    yield* world.spawn("host", true)
    const trace: Array<StepTrace> = []
    for (const [index, step] of scenario.steps.entries()) {
      yield* world.step(step)
      if (step.op === "sleep") yield* clock.adjust(step.ms ?? 0)
      yield* settle(world, clock)
      trace.push({ step: index, op: step.op, processes: world.takeEvents() })
    }
    return trace
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)),
    Effect.provide(TestClock.layer({ warningDelay: "1 hour" }))
  )
