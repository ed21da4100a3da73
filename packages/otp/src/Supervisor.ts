/**
 * Supervisors: processes that start their children in order, restart those that end, and stop them in reverse order.
 *
 * A supervisor is described by a value (`make`, `simple`), and runs in one of three ways:
 *
 * - `run` for an application: an effect that never succeeds, and fails when the tree ends by itself;
 * - `layer` for a library or a test: provides the {@link SupervisorRef} and stops the tree when it is released;
 * - `start` in a scope, and `init` or `ChildSpec.supervisor` as a child of another supervisor.
 *
 * The rules are those of Erlang's `supervisor`: one loop, one queue for calls and ends of children, the children as
 * data in it. What is not OTP's is said so: `backoff`, `stableAfter`, `closeTimeout`, and what happens to children
 * that cannot be killed because a fiber of theirs is uninterruptible.
 *
 * @since 0.1.0
 */
import { squash } from "effect/Cause"
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ChildSpec, ChildTemplate, Started } from "./ChildSpec.ts"
import * as ExitReason from "./ExitReason.ts"
import type { SupervisorError, SupervisorStartError } from "./internal/supervisor/errors.ts"
import type { Self } from "./internal/process/self.ts"
import * as runs from "./internal/supervisor/runs.ts"
import * as metrics from "./internal/supervisor/metrics.ts"
import { render as renderTree } from "./internal/supervisor/render.ts"
import * as settings from "./internal/supervisor/settings.ts"
import * as tag from "./internal/supervisor/tag.ts"
import type { Process } from "./Process.ts"
import { layer as registryLayer } from "./Registry.ts"
import type { Name, Registry } from "./Registry.ts"

/**
 * The identity of {@link SupervisorSpec} values.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId = "~@relive/otp/Supervisor" as const

/**
 * The children that are restarted with one that ended.
 *
 * - `oneForOne`: only that child.
 * - `oneForAll`: all children.
 * - `restForOne`: that child and those started after it.
 *
 * @since 0.1.0
 * @category models
 */
export type Strategy = "oneForOne" | "oneForAll" | "restForOne"

/**
 * Whether the end of significant children, without restart, ends the supervisor: `never`, the first one
 * (`anySignificant`), or the last one (`allSignificant`).
 *
 * @since 0.1.0
 * @category models
 */
export type AutoShutdown = "never" | "anySignificant" | "allSignificant"

/**
 * The settings all supervisors have.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** The number of restarts that are allowed within the period before the supervisor gives up; an integer. 1 when absent. */
  readonly intensity?: number | undefined
  /** The period; 5 seconds when absent. */
  readonly period?: Duration.Input | undefined
  /** `never` when absent. */
  readonly autoShutdown?: AutoShutdown | undefined
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<Children extends ReadonlyArray<ChildSpec<unknown, unknown>>> extends Settings {
  /** `oneForOne` when absent. */
  readonly strategy?: Strategy | undefined
  /** The children in start order. */
  readonly children: Children
}

/**
 * The services children of type `Child` need.
 *
 * @since 0.1.0
 * @category models
 */
export type ServicesOf<Child> = Child extends ChildSpec<unknown, infer R> ? R : never

/**
 * Options of {@link simple}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SimpleOptions<Args, R, Info = unknown> extends Settings {
  /** Exactly one template. */
  readonly children: ReadonlyArray<ChildTemplate<Args, Info, R>>
}

/**
 * The value that a child hands to the caller that starts it: the `info` of its spec; `Otherwise` for whatever is no spec, as the
 * arguments of a template.
 *
 * @since 0.1.0
 * @category type-level
 */
export type InfoOf<Child, Otherwise = unknown> = Child extends ChildSpec<infer Info, infer _R> ? Info : Otherwise

/**
 * The description of a supervisor. `Child` is what `startChild` takes, `R` the services the children need, `Info` what the
 * instances of a template hand out.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupervisorSpec<in Child, out R = never, out Info = unknown> {
  readonly [TypeId]: {
    readonly _Child: (child: Child) => void
    readonly _R: () => R
    readonly _Info: () => Info
  }
  readonly kind: "static" | "simple" | "dynamic"
}

/**
 * A child as `whichChildren` lists it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildInfo {
  readonly id: string
  /** `restarting`: a restart failed or waits for its backoff, and will be tried. */
  readonly state: "running" | "stopped" | "restarting"
  readonly type: "worker" | "supervisor"
  /** The instance; only of a running child. */
  readonly process: Process | undefined
  /** The value that the instance handed out when it started; only of a running child. */
  readonly info: unknown
}

/**
 * The result of `countChildren`. `active` counts running children, the others specs, or instances of a dynamic
 * supervisor, by type.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildCounts {
  readonly specs: number
  readonly active: number
  readonly supervisors: number
  readonly workers: number
}

/**
 * A started child: the instance, and the `info` that its `start` handed out. Or nothing, when `start` returned `ignore`:
 * `_tag` tells the two apart.
 *
 * @since 0.1.0
 * @category models
 */
export type StartedChild<Info = unknown> =
  | { readonly _tag: "Started"; readonly process: Process; readonly info: Info }
  | { readonly _tag: "Ignored"; readonly process: undefined; readonly info: undefined }

/**
 * One child in the tree, as it is now.
 *
 * @since 0.1.0
 * @category models
 */
export interface TreeNode {
  readonly id: string
  readonly path: string
  readonly type: "worker" | "supervisor"
  /** The number of the instance: 1, 2, 3, …; 0 when the child was never started. */
  readonly generation: number
  /** `abandoned`: killed, but something of the instance still runs. */
  readonly state: "starting" | "running" | "stopping" | "stopped" | "restarting" | "abandoned"
  /** How often the supervisor has restarted this child. */
  readonly restarts: number
  /** Why the last instance ended. */
  readonly lastExit: ExitReason.ExitReason | undefined
  /** Messages waiting, where the child tells. */
  readonly mailboxDepth: number | undefined
  /** The instance that runs, starts or was abandoned: to look into it, see `Process.info`. */
  readonly process: Process | undefined
  /** Of a supervisor: whether it waits for a start, a stop or a time and serves nobody meanwhile. */
  readonly busy: boolean | undefined
  readonly children: ReadonlyArray<TreeNode>
}

/**
 * An event in a tree, in order. `path` is that of the child, `restarts` how often it has been restarted.
 *
 * @since 0.1.0
 * @category models
 */
export type SupervisorEvent =
  | {
      readonly _tag: "ChildStarted" | "ChildStartIgnored" | "ChildAbandoned" | "ChildReleased"
      readonly path: string
      readonly generation: number
      readonly restarts: number
    }
  | {
      readonly _tag: "ChildStartFailed" | "ChildExited"
      readonly path: string
      readonly generation: number
      readonly restarts: number
      readonly reason: ExitReason.ExitReason
    }
  | {
      readonly _tag: "ChildRestarting"
      readonly path: string
      readonly restarts: number
      readonly reason: ExitReason.ExitReason
      /** How long the restart waits for the backoff, in milliseconds. */
      readonly delayMillis: number
    }
  | { readonly _tag: "IntensityExceeded"; readonly path: string; readonly child: string }
  | { readonly _tag: "SupervisorExited"; readonly path: string; readonly reason: ExitReason.ExitReason }

export {
  /**
   * A call to a supervisor was refused, or had no reply.
   *
   * @since 0.1.0
   * @category errors
   */
  SupervisorError,
  /**
   * A supervisor did not start.
   *
   * @since 0.1.0
   * @category errors
   */
  SupervisorStartError
} from "./internal/supervisor/errors.ts"

/**
 * The tree of `run` ended by itself, for this reason. A supervisor that gave up ends with `shutdown`: what it gave up on is
 * `lastCrash`.
 *
 * @since 0.1.0
 * @category errors
 */
export class SupervisorExit extends Data.TaggedError("SupervisorExit")<{
  readonly reason: ExitReason.ExitReason
  /** The last crash of the tree, which most often led to this: its path, and its cause. */
  readonly lastCrash?: LastCrash | undefined
  /** The error of the last crash, for those who print errors with their causes. */
  readonly cause?: unknown
}> {
  override get message(): string {
    const { lastCrash } = this
    const after =
      lastCrash === undefined
        ? ""
        : `; the last crash was that of "${lastCrash.path}": ${ExitReason.format(ExitReason.crashCause(lastCrash.cause))}`
    return `The supervision tree has ended: ${ExitReason.format(this.reason)}${after}`
  }
}

/**
 * The last child of a tree that crashed.
 *
 * @since 0.1.0
 * @category models
 */
export interface LastCrash {
  readonly path: string
  readonly cause: Cause.Cause<unknown>
}

/**
 * Options of `startChild`.
 *
 * @since 0.1.0
 * @category models
 */
export interface StartChildOptions {
  /**
   * How long the supervisor's turn and the start together may take, a number being milliseconds. Then the call fails with
   * `Timeout`, and the child does not come to life: the request is withdrawn, or, if its start is under way, the new
   * process is killed. No limit when absent, as in OTP.
   */
  readonly timeout?: Duration.Input | undefined
}

/**
 * The interface of a supervisor. Calls are served in the order they were made; while the supervisor starts or stops a child
 * it serves nobody. When it ends, calls that wait fail with its reason; calls to one that is gone fail with `noproc`.
 *
 * A child is named by its id, or, for dynamic and simpleOneForOne supervisors, by its process.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupervisorCalls<in Child = ChildSpec<unknown, Registry>, out Info = unknown> {
  /** Adds a child and starts it; returns when it has started. It comes last in the start order. */
  readonly startChild: <C extends Child>(
    child: C,
    options?: StartChildOptions
  ) => Effect.Effect<StartedChild<InfoOf<C, Info>>, SupervisorError>
  /** Stops a child by its shutdown setting. Its spec stays, except that of a temporary or dynamic child. */
  readonly terminateChild: (child: string | Process) => Effect.Effect<void, SupervisorError>
  /** Starts a stopped child. When that fails the child stays stopped. */
  readonly restartChild: (id: string) => Effect.Effect<StartedChild, SupervisorError>
  /** Removes the spec of a stopped child. */
  readonly deleteChild: (id: string) => Effect.Effect<void, SupervisorError>
  /** The spec of a child with its defaults. */
  readonly getChildSpec: (
    child: string | Process
  ) => Effect.Effect<Omit<ChildSpec<unknown, unknown>, "start">, SupervisorError>
  /** All children, the newest first. */
  readonly whichChildren: Effect.Effect<ReadonlyArray<ChildInfo>, SupervisorError>
  /** How many children there are. */
  readonly countChildren: Effect.Effect<ChildCounts, SupervisorError>
  /**
   * Stops the supervisor, in its turn, and waits for its end. The children are asked with `shutdown`; the supervisor
   * itself ends with `reason`, which is `shutdown` when absent. Fails with `Exited` when it ended with another
   * one, or of something else before this request had its turn, as every call that was not served.
   */
  readonly stop: (reason?: ExitReason.ExitReason) => Effect.Effect<void, SupervisorError>
}

/**
 * One instance of a supervisor. It does not follow restarts: see {@link named}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupervisorRef<in Child = ChildSpec<unknown, Registry>, out Info = unknown> extends SupervisorCalls<
  Child,
  Info
> {
  /** The process of the supervisor. */
  readonly process: Process
  /** Waits for the end of the supervisor; returns the reason. */
  readonly awaitExit: Effect.Effect<ExitReason.ExitReason>
  /** The events from now on of the whole tree this supervisor belongs to. A slow reader loses the oldest events. */
  readonly events: Stream.Stream<SupervisorEvent>
  /** The supervisor and all below it as they are now. Never waits, also when the supervisor is busy. */
  readonly tree: Effect.Effect<TreeNode>
}

/**
 * Whichever supervisor has the name at the moment of each call: it follows restarts. When nobody has it, calls fail with
 * `noproc`.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedSupervisor<in Child = ChildSpec<unknown, Registry>, out Info = unknown> extends SupervisorCalls<
  Child,
  Info
> {
  /** The instance that has the name now. */
  readonly ref: Effect.Effect<SupervisorRef<Child, Info>, SupervisorError>
}

/**
 * The tag of the root of a tree: {@link layer} provides it, and all children of a tree find it, as they find the registry.
 * A child starts others through it, or looks at the tree it is in; for its own supervisor see `Process.supervisor`.
 *
 * @since 0.1.0
 * @category services
 */
export const SupervisorRef: Context.Service<SupervisorRef, SupervisorRef> = tag.SupervisorRef

/**
 * Metrics of supervisors for an observability backend, and the switch for them. Off by default, and then it costs nothing.
 *
 * With `metrics` each supervisor has these series, with its path as the attribute `otp.supervisor`. They are read when
 * metrics are collected, and are gone with the supervisor:
 *
 * - `otp.supervisor.restarts`: restarts of children so far
 * - `otp.supervisor.crashes`: ends of children that were crashes or kills
 * - `otp.supervisor.children`: children that run
 * - `otp.mailbox.depth`: messages that wait in the mailboxes of its children, and in its own
 *
 * @since 0.1.0
 * @category models
 */
export interface Telemetry {
  readonly metrics: boolean
}

/**
 * The switch. Each supervisor reads it when it starts: provide it to the tree. Default: all off.
 *
 * @since 0.1.0
 * @category references
 */
export const Telemetry: Context.Reference<Telemetry> = metrics.Telemetry

/**
 * Describes a supervisor with fixed children. More can be added by `startChild` while it runs; those are gone when it
 * is restarted itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const Children extends ReadonlyArray<ChildSpec<unknown, unknown>>>(
  options: Options<Children>
): SupervisorSpec<
  ChildSpec<unknown, ServicesOf<Children[number]> | Registry>,
  ServicesOf<Children[number]> | Registry
> => settings.makeSpec({ ...options, kind: "static" })

/**
 * Describes a supervisor whose children are all instances of one template, started by `startChild(args)` and stopped
 * all at once (`simple_one_for_one`). A restart uses the arguments of the instance. Prefer `DynamicSupervisor` when
 * the children differ.
 *
 * @since 0.1.0
 * @category constructors
 */
export const simple = <Args, R = never, Info = unknown>(
  options: SimpleOptions<Args, R, Info>
): SupervisorSpec<Args, R, Info> => settings.makeSpec({ ...options, kind: "simple" })

/**
 * Options of {@link start}, {@link run} and {@link layer}.
 *
 * @since 0.1.0
 * @category models
 */
export interface StartOptions {
  /** The first part of all paths; `root` when absent. */
  readonly id?: string | undefined
  /**
   * How long closing the scope may take before the tree is killed. Infinity when absent: then the shutdown times of
   * the children bound it.
   */
  readonly closeTimeout?: Duration.Input | undefined
}

/**
 * Starts a supervisor, and returns when all its children have started. It stops, in order, when the scope closes. When
 * called in a process, that process is its parent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const start = <Child, R, Info>(
  spec: SupervisorSpec<Child, R, Info>,
  options?: StartOptions
): Effect.Effect<
  SupervisorRef<Child, Info>,
  SupervisorStartError,
  Exclude<R, SupervisorRef> | Scope.Scope | Registry
> =>
  // The root provides itself to its children.
  runs.start(spec, options) as Effect.Effect<
    SupervisorRef<Child, Info>,
    SupervisorStartError,
    Exclude<R, SupervisorRef> | Scope.Scope | Registry
  >

/**
 * OTP's `init/1`: makes the process it runs in, a child that is being started, a supervisor. So a child can first
 * build something, register a name say, and then be the supervisor of its parts:
 *
 *     ChildSpec.make({ id, type: "supervisor", start: Effect.andThen(prepare, Supervisor.init(spec)) })
 *
 * The result has to be that of `start`; its `info` is the reference.
 *
 * @since 0.1.0
 * @category constructors
 */
export const init = <Child, R, Info>(
  spec: SupervisorSpec<Child, R, Info>
): Effect.Effect<Started<SupervisorRef<Child, Info>>, SupervisorStartError, R | Self> => runs.init(spec)

/**
 * Runs a tree as an application, with a registry of its own. It never succeeds: it fails with {@link SupervisorExit}
 * when the tree ends by itself, and stops the tree when it is interrupted.
 *
 * @since 0.1.0
 * @category running
 */
export const run = <Child, R>(
  spec: SupervisorSpec<Child, R>,
  options?: StartOptions
): Effect.Effect<never, SupervisorExit | SupervisorStartError, Exclude<R, Registry | SupervisorRef>> =>
  start(spec, options).pipe(
    Effect.flatMap((ref) => Effect.map(ref.awaitExit, (reason) => ({ reason, lastCrash: runs.lastCrashOf(ref) }))),
    Effect.flatMap(({ lastCrash, reason }) =>
      Effect.fail(
        new SupervisorExit({ reason, lastCrash, cause: lastCrash === undefined ? undefined : squash(lastCrash.cause) })
      )
    ),
    Effect.scoped,
    Effect.provide(registryLayer)
  ) as Effect.Effect<never, SupervisorExit | SupervisorStartError, Exclude<R, Registry | SupervisorRef>>

/**
 * Provides a running tree as {@link SupervisorRef}, and its registry. Releasing the layer stops the tree. When the
 * root ends by itself that is logged once, as fatal, and later calls through the reference fail.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <R>(
  spec: SupervisorSpec<ChildSpec<unknown, Registry>, R>,
  options?: StartOptions
): Layer.Layer<SupervisorRef | Registry, SupervisorStartError, Exclude<R, Registry | SupervisorRef | Scope.Scope>> =>
  Layer.provideMerge(Layer.effect(SupervisorRef, runs.startWatched(spec, options)), registryLayer) as Layer.Layer<
    SupervisorRef | Registry,
    SupervisorStartError,
    Exclude<R, Registry | SupervisorRef | Scope.Scope>
  >

/**
 * A supervisor by its name, in the registry found here: the `name` given to `ChildSpec.supervisor`. It is looked up at each
 * call, so that it follows restarts; it need not be taken yet.
 *
 * ```ts run
 * import { ChildSpec, DynamicSupervisor, Registry, Supervisor } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const sessions = Registry.name<Supervisor.SupervisorRef>("sessions")
 *
 * const tree = Supervisor.make({
 *   children: [ChildSpec.supervisor({ id: "sessions", name: sessions, supervisor: DynamicSupervisor.make() })]
 * })
 *
 * const program = Effect.gen(function* () {
 *   const supervisor = yield* Supervisor.named(sessions)
 *   const session = ChildSpec.scoped({ id: "alice", restart: "temporary", acquire: Effect.succeed({ user: "alice" }) })
 *   const started = yield* supervisor.startChild(session)
 *   // The child's own type.
 *   return started.info?.user
 * }).pipe(Effect.provide(Supervisor.layer(tree)))
 *
 * console.log(await Effect.runPromise(program)) // alice
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const named = <Child, Info>(
  name: Name<SupervisorRef<Child, Info>>
): Effect.Effect<NamedSupervisor<Child, Info>, never, Registry> => runs.named(name)

/**
 * A tree as text, for a log, a test that fails, or a terminal: one line per process with its state, generation, restarts,
 * waiting messages and last exit. A supervisor that serves nobody at the moment is `busy`.
 *
 * ```
 * process       state    gen  restarts  mailbox  last exit
 * app           running    1         0        0
 * ├─ cache      running    1         0        2
 * └─ workers    running    1         0        0
 *    └─ mailer  running    3         2        0  crash: Error: no route to host
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const render = (tree: TreeNode): string => renderTree(tree)

/**
 * Whether a value is a {@link SupervisorSpec}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSupervisorSpec = settings.isSpec
