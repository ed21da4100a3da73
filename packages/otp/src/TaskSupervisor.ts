/**
 * Tasks: effects that run under a supervisor and whose result a caller waits for, Elixir's `Task.Supervisor`.
 *
 * A forked fiber belongs to the fiber that forked it, or to none: its failure may be lost, and nothing waits for it at the end
 * of the program. A task belongs to its supervisor. It is listed in the tree, there is a limit to how many run, its
 * failure reaches its caller or the log, and a shutdown lets it finish what it does.
 *
 * ```ts run
 * import { TaskSupervisor } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const tasks = yield* TaskSupervisor.start({ maxTasks: 10, drain: "30 seconds" })
 *   // Its own value, its own error. Interrupting this ends the task.
 *   const sum = yield* tasks.run(Effect.succeed(1 + 1))
 *   // In the background; joined later.
 *   const slow = yield* tasks.asyncNolink(Effect.delay(Effect.succeed("done"), "10 millis"))
 *   // Nobody waits: a failure is logged.
 *   yield* tasks.start(Effect.sleep("5 millis"), { id: "mail" })
 *   return [sum, yield* slow.join]
 * }).pipe(Effect.scoped)
 *
 * console.log(await Effect.runPromise(program)) // [2, "done"]
 * ```
 *
 * In a tree it is a child, reached by its name: {@link childSpec}, {@link named}.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ChildSpec from "./ChildSpec.ts"
import type { ProcessExit } from "./internal/process/result.ts"
import type { Self } from "./internal/process/self.ts"
import { TaskRefused } from "./internal/supervisor/errors.ts"
import type { SupervisorStartError } from "./internal/supervisor/errors.ts"
import * as runs from "./internal/supervisor/runs.ts"
import * as internal from "./internal/supervisor/tasks.ts"
import type { Process } from "./Process.ts"
import * as Registry from "./Registry.ts"

export {
  /**
   * The process of a task ended without a value or an error of its own: it was ended from outside.
   *
   * @since 0.1.0
   * @category errors
   */
  ProcessExit
} from "./internal/process/result.ts"

export {
  /**
   * A task was not started: there are `maxTasks` already, the supervisor lets its tasks finish and takes no new ones, or it
   * is gone. Nothing of the effect has run.
   *
   * @since 0.1.0
   * @category errors
   */
  TaskRefused
} from "./internal/supervisor/errors.ts"

/**
 * Settings of a task supervisor.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The number of tasks that may run at a time; further ones are refused. No limit when absent. */
  readonly maxTasks?: number | undefined
  /**
   * How long a shutdown lets tasks finish before it ends those that are left, in milliseconds when a number. New tasks are
   * refused from its beginning. 5 seconds when absent; with 0 they are ended at once.
   */
  readonly drain?: Duration.Input | "infinity" | undefined
  /** How long a task that is ended may take to release its resources before it is killed. 5 seconds when absent. */
  readonly shutdown?: ChildSpec.Shutdown | undefined
}

/**
 * Options of one task.
 *
 * @since 0.1.0
 * @category models
 */
export interface TaskOptions {
  /** Its name in the tree, followed by a number; `task` when absent. */
  readonly id?: string | undefined
}

/**
 * A task that was started in the background.
 *
 * @since 0.1.0
 * @category models
 */
export interface Task<out A, out E> {
  /** Its process, to monitor or link it. */
  readonly process: Process
  /**
   * Waits for the end of the task: its own value, error or defect, or {@link ProcessExit} when it was ended from outside.
   * Interrupting this does not end the task; joining twice is joining once.
   */
  readonly join: Effect.Effect<A, E | ProcessExit>
  /** Ends the task with `shutdown`, and waits until it has released its resources, or is killed. */
  readonly shutdown: Effect.Effect<void>
}

/**
 * A running task supervisor. Tasks find the services of their caller, not those of the supervisor, and are never
 * restarted. What a task forks with `Process.fork`, and its scope, end with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TaskSupervisor extends Tasks {
  /** The process of the supervisor. */
  readonly process: Process
}

/**
 * The interface of a task supervisor, reached by a handle or by a name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tasks {
  /** How many tasks run. */
  readonly count: Effect.Effect<number>
  /**
   * Runs the effect as a task and waits for it: its own value, error or defect, or {@link ProcessExit} when it was ended
   * from outside, as by a shutdown whose `drain` was too short. Interrupting it ends the task. Its failure is not logged.
   */
  readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ) => Effect.Effect<A, E | TaskRefused | ProcessExit, Exclude<R, Self | Scope.Scope>>
  /**
   * Starts a task and goes on. It does not end with its caller. Its failure is given to `join`, and logged if nobody joins
   * at that time.
   */
  readonly asyncNolink: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ) => Effect.Effect<Task<A, E>, TaskRefused, Exclude<R, Self | Scope.Scope>>
  /** Starts a task for whose result nobody waits. Its failure is logged. */
  readonly start: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TaskOptions
  ) => Effect.Effect<Process, TaskRefused, Exclude<R, Self | Scope.Scope>>
}

/**
 * The tag of the task supervisor that {@link layer} provides.
 *
 * @since 0.1.0
 * @category services
 */
export const TaskSupervisor: Context.Service<TaskSupervisor, TaskSupervisor> =
  Context.Service<TaskSupervisor>("@relive/otp/TaskSupervisor")

/** Makes the process a task supervisor, as a child's `start` has to. */
const init = (options: Options): Effect.Effect<ChildSpec.Started<TaskSupervisor>, SupervisorStartError, Self> =>
  Effect.suspend(() => {
    const tasks = new internal.TasksImpl(options)
    return Effect.map(runs.init(tasks.spec), (started) => {
      tasks.attach(started.info)
      return { ...started, info: tasks }
    })
  })

/**
 * A task supervisor as a child. With `name` it is registered in the registry of the tree, for {@link named}. Its shutdown
 * time is `infinity` when absent, as `drain` and `shutdown` of {@link Options} bound it: `stop` says how the supervisor is
 * stopped otherwise.
 *
 * Put it behind what its tasks use: children are stopped in reverse order, so that tasks can still use it while they finish.
 *
 * @since 0.1.0
 * @category constructors
 */
export const childSpec = (
  options: Omit<ChildSpec.Settings, "shutdown" | "type" | "trapExit"> &
    Options & {
      readonly name?: Registry.Name<TaskSupervisor> | undefined
      readonly stop?: ChildSpec.Shutdown | undefined
    }
): ChildSpec.ChildSpec<TaskSupervisor, Registry.Registry> =>
  ChildSpec.make({
    ...options,
    type: "supervisor",
    shutdown: options.stop ?? "infinity",
    start: Effect.tap(init(options), ({ info }) =>
      options.name === undefined ? Effect.void : Registry.register(options.name, info)
    )
  })

/**
 * Starts a task supervisor. Closing the scope drains and stops it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const start = (
  options?: Options & { readonly id?: string | undefined }
): Effect.Effect<TaskSupervisor, SupervisorStartError, Scope.Scope> =>
  runs.startRoot(init(options ?? {}), { id: options?.id ?? "tasks" })

/**
 * Provides a task supervisor as {@link TaskSupervisor}. Releasing the layer drains and stops it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options & { readonly id?: string | undefined }
): Layer.Layer<TaskSupervisor, SupervisorStartError> => Layer.effect(TaskSupervisor, start(options))

/**
 * A task supervisor by its name, in the registry found here. The name is looked up at each use, so that it follows
 * restarts; when nobody has it, tasks are refused with `Exited`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const named = (name: Registry.Name<TaskSupervisor>): Effect.Effect<Tasks, never, Registry.Registry> =>
  Effect.map(Registry.Registry, (registry) => {
    const use = <A, E, R>(f: (tasks: TaskSupervisor) => Effect.Effect<A, E, R>): Effect.Effect<A, E | TaskRefused, R> =>
      Effect.suspend((): Effect.Effect<A, E | TaskRefused, R> => {
        const tasks = Registry.lookupUnsafe(registry, name)
        return tasks === undefined
          ? Effect.fail(new TaskRefused({ path: String(name.key), reason: "Exited" }))
          : f(tasks)
      })
    return {
      count: Effect.suspend(() => Registry.lookupUnsafe(registry, name)?.count ?? Effect.succeed(0)),
      run: (effect, options) => use((tasks) => tasks.run(effect, options)),
      asyncNolink: (effect, options) => use((tasks) => tasks.asyncNolink(effect, options)),
      start: (effect, options) => use((tasks) => tasks.start(effect, options))
    }
  })
