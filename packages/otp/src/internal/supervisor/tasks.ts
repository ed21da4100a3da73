/**
 * A task supervisor: a dynamic supervisor of temporary children whose results are kept, and which it lets finish when it
 * has to stop.
 *
 * The supervisor's rules are `Supervisor`'s. What is here: the result of a task and who waits for it, the services of the
 * caller inside of the task, and the drain, which runs between the order to stop and the stop.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as ChildSpec from "../../ChildSpec.ts"
import * as ExitReason from "../../ExitReason.ts"
import type { Process } from "../../Process.ts"
import type { SupervisorError, SupervisorRef, SupervisorSpec } from "../../Supervisor.ts"
import type { Options, Task, TaskOptions, TaskSupervisor } from "../../TaskSupervisor.ts"
import { CurrentRegister } from "../process/fibers.ts"
import { impl } from "../process/process.ts"
import type { ProcessImpl } from "../process/process.ts"
import { Result } from "../process/result.ts"
import type { ProcessExit } from "../process/result.ts"
import { Self } from "../process/self.ts"
import { wake } from "../process/signals.ts"
import { TaskRefused } from "./errors.ts"
import { CurrentHub } from "./events.ts"
import { makeSpec } from "./settings.ts"
import type { AnySpec } from "./settings.ts"
import { millis, shutdownMillis } from "./specs.ts"

/** How many tasks a log line names. */
const NAMED = 20

export class TaskImpl<A, E> implements Task<A, E> {
  private readonly result = new Result<A, E>()
  private readonly shutdownMillis: number
  private readonly running: ProcessImpl
  /** How many wait for the result. */
  private joined = 0

  constructor(running: ProcessImpl, result: Result<A, E>, limitMillis: number) {
    this.running = running
    this.result = result
    this.shutdownMillis = limitMillis
  }

  get process(): Process {
    return this.running
  }

  /** Whether a caller is told of the result. */
  get isJoined(): boolean {
    return this.joined > 0
  }

  get join(): Effect.Effect<A, E | ProcessExit> {
    return Effect.suspend(() => {
      this.joined++
      return Effect.onExit(this.result.await(this.running), () => {
        this.joined--
        return Effect.void
      })
    })
  }

  get shutdown(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { running } = this
      running.stop(ExitReason.shutdown)
      const ended = running.awaitExit
      if (this.shutdownMillis === Infinity) return Effect.asVoid(ended)
      return Effect.map(Effect.timeoutOption(ended, Math.max(0, this.shutdownMillis)), () => running.kill())
    })
  }
}

/** The receiver of a failure: its caller, or the log. */
type Told = "caller" | "joined" | "log"

export class TasksImpl implements TaskSupervisor {
  readonly spec: SupervisorSpec<AnySpec>
  private readonly options: Options
  private readonly drainMillis: number
  private readonly limitMillis: number
  private readonly running = new Set<ProcessImpl>()
  private supervisor: SupervisorRef<AnySpec> | undefined = undefined
  private onEmpty: (() => void) | undefined = undefined
  private draining = false
  private count_ = 0

  constructor(options: Options) {
    this.options = options
    this.drainMillis = options.drain === "infinity" ? Infinity : (millis(options.drain ?? 5000) ?? 0)
    this.limitMillis = shutdownMillis(options.shutdown ?? 5000) ?? 0
    this.spec = makeSpec({
      kind: "dynamic",
      intensity: 0,
      maxChildren: options.maxTasks,
      children: [],
      beforeStop: this.drain
    })
  }

  attach(supervisor: SupervisorRef<AnySpec>): void {
    this.supervisor = supervisor
  }

  get process(): Process {
    return this.ref.process
  }

  private get ref(): SupervisorRef<AnySpec> {
    if (this.supervisor === undefined) throw new Error("The task supervisor has not started")
    return this.supervisor
  }

  private get path(): string {
    return this.process.path
  }

  readonly count: Effect.Effect<number> = Effect.sync(() => this.running.size)

  run<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ): Effect.Effect<A, E | TaskRefused | ProcessExit, Outside<R>> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(this.launch(effect, options, "caller", restore), (task) =>
        Effect.onInterrupt(restore(task.join), () => task.shutdown)
      )
    )
  }

  asyncNolink<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ): Effect.Effect<Task<A, E>, TaskRefused, Outside<R>> {
    return Effect.uninterruptibleMask((restore) => this.launch(effect, options, "joined", restore))
  }

  start<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ): Effect.Effect<Process, TaskRefused, Outside<R>> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.map(this.launch(effect, options, "log", restore), (task) => task.process)
    )
  }

  /** Starts a task; a caller that is interrupted meanwhile leaves none behind. */
  private launch<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options: TaskOptions | undefined,
    told: Told,
    restore: <B, F, S>(start: Effect.Effect<B, F, S>) => Effect.Effect<B, F, S>
  ): Effect.Effect<TaskImpl<A, E>, TaskRefused, Outside<R>> {
    return Effect.flatMap(Effect.context<Outside<R>>(), (caller) => {
      if (this.draining) return Effect.fail(new TaskRefused({ path: this.path, reason: "Draining" }))
      const result = new Result<A, E>()
      let task: TaskImpl<A, E> | undefined
      let isWanted = true
      const spec = this.taskSpec(options, told === "log", (process) => {
        if (!isWanted) return undefined
        task = new TaskImpl(process, result, this.limitMillis)
        if (told === "joined") logUnlessJoined(task, process)
        return result.keep(Effect.provideContext(effect, servicesOf<R>(caller, process)))
      })
      const started = Effect.onInterrupt(restore(this.ref.startChild(spec)), () => {
        isWanted = false
        return task?.shutdown ?? Effect.void
      })
      return Effect.matchEffect(started, {
        onFailure: (error) => Effect.fail(this.refused(error)),
        onSuccess: () =>
          task === undefined
            ? Effect.fail(new TaskRefused({ path: this.path, reason: "Exited" }))
            : Effect.succeed(task)
      })
    })
  }

  private taskSpec(
    options: TaskOptions | undefined,
    logEnds: boolean,
    body: (process: ProcessImpl) => Effect.Effect<unknown, unknown> | undefined
  ): AnySpec {
    return ChildSpec.make({
      id: `${options?.id ?? "task"}#${++this.count_}`,
      restart: "temporary",
      shutdown: this.options.shutdown ?? 5000,
      logEnds,
      start: Effect.map(Self, (self): ChildSpec.Started | ChildSpec.Ignore => {
        const process = impl(self)
        const run = body(process)
        if (run === undefined) return ChildSpec.ignore
        this.running.add(process)
        process.addObserver(() => this.ended(process))
        return ChildSpec.started({ run })
      })
    })
  }

  private ended(process: ProcessImpl): void {
    this.running.delete(process)
    if (this.running.size === 0) this.onEmpty?.()
  }

  private refused(error: SupervisorError): TaskRefused {
    const full = error.reason._tag === "MaxChildren"
    return new TaskRefused({ path: this.path, reason: full ? "MaxTasks" : this.draining ? "Draining" : "Exited" })
  }

  // --- the drain -------------------------------------------------------------------------------------------------

  private readonly drain: Effect.Effect<void> = Effect.suspend(() => {
    this.draining = true
    if (this.running.size === 0) return Effect.void
    if (this.drainMillis === Infinity) return this.empty
    return Effect.flatMap(Effect.timeoutOption(this.empty, this.drainMillis), () => this.reportUnfinished())
  })

  private readonly empty: Effect.Effect<void> = Effect.withFiber((fiber) =>
    Effect.callback<void>((resume) => {
      if (this.running.size === 0) return resume(Effect.void)
      this.onEmpty = () => wake(fiber, () => resume(Effect.void))
      return Effect.sync(() => {
        this.onEmpty = undefined
      })
    })
  )

  private reportUnfinished(): Effect.Effect<void> {
    const left = Array.from(this.running, ({ id }) => id)
    if (left.length === 0) return Effect.void
    const others = left.length > NAMED ? ` and ${left.length - NAMED} more` : ""
    return Effect.logWarning(
      `TaskSupervisor "${this.path}": ${left.length} tasks did not finish within ${this.drainMillis} ms and are ended: ` +
        `${left.slice(0, NAMED).join(", ")}${others}`
    )
  }
}

const logUnlessJoined = (task: TaskImpl<unknown, unknown>, process: ProcessImpl): void => {
  process.addObserver((reason) => {
    if (reason._tag !== "Crash" || task.isJoined) return
    process.report(Effect.logError(`Task "${process.path}" failed: ${ExitReason.format(reason)}`, reason.cause))
  })
}

type Outside<R> = Exclude<R, Self | Scope.Scope>

/** A task finds the services of its caller; what says where it runs is its own. */
const servicesOf = <R>(caller: Context.Context<Outside<R>>, process: ProcessImpl): Context.Context<R> => {
  const own = process.context
  return caller.pipe(
    Context.add(Self, process),
    Context.add(Scope.Scope, process.scope),
    Context.add(CurrentHub, Context.get(own, CurrentHub)),
    Context.add(CurrentRegister, Context.get(own, CurrentRegister))
    // Only `Self` and `Scope` were taken out of the type.
  ) as Context.Context<R>
}
