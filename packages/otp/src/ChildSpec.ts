/**
 * The specification of a child for its supervisor: how to start it, when to restart it, how to stop it.
 *
 * A child has two parts, as an OTP process has its `init` and its loop. `start` acquires what the child needs and
 * returns `started({ run, ... })`, which acknowledges the start: the supervisor goes on with the next child. `run` is
 * the body; the child lives until it ends. Both run in one fiber and in one scope, which belongs to this instance and is
 * closed when it has ended, so a restart always begins with nothing left of the instance before.
 *
 * State of a child belongs into `start`: what is created outside of it survives restarts and keeps what broke it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as ExitReason from "./ExitReason.ts"
import * as GenServer from "./GenServer.ts"
import type { InvalidChildSpec } from "./internal/supervisor/errors.ts"
import { loop as jobLoop } from "./internal/process/loop.ts"
import type { Self } from "./internal/process/self.ts"
import { findInvalid } from "./internal/supervisor/specs.ts"
import type * as Registry from "./Registry.ts"
import { init, registerAs } from "./internal/supervisor/runs.ts"
import type { SupervisorRef, SupervisorSpec, SupervisorStartError } from "./Supervisor.ts"

/**
 * The identity of {@link ChildSpec} values.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId = "~@relive/otp/ChildSpec" as const

/**
 * When a child that ended is started again.
 *
 * - `permanent`: always.
 * - `transient`: after an abnormal end; after `normal`, `shutdown` and `{shutdown, Info}` it stays down.
 * - `temporary`: never; its spec is forgotten when it ends.
 *
 * @since 0.1.0
 * @category models
 */
export type Restart = "permanent" | "transient" | "temporary"

/**
 * How a child is stopped: asked, and killed when the time is over; `infinity`: asked and waited for; `brutalKill`:
 * killed at once, without its `terminate`. A number is milliseconds. A time of 0 asks and kills at once.
 *
 * @since 0.1.0
 * @category models
 */
export type Shutdown = Duration.Input | "brutalKill" | "infinity"

/**
 * The result of a `start` whose child runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Started<out Info = unknown, out R = never> {
  readonly _tag: "Started"
  /** The body; the child ends when it does. A shutdown interrupts it. `Effect.never`, for a child that only holds something, costs no fiber. */
  readonly run: Effect.Effect<unknown, unknown, R>
  /** Handed to the caller that started the child. */
  readonly info: Info
  /**
   * OTP's `terminate`: runs after `run` has ended or was interrupted by a shutdown, with the reason, before the scope
   * closes. It is cut when the shutdown time is over and skipped by a kill. What it fails with becomes the reason.
   */
  readonly terminate: ((reason: ExitReason.ExitReason) => Effect.Effect<unknown, unknown, R>) | undefined
  /** How many messages wait, for the tree. */
  readonly mailboxDepth: (() => number) | undefined
}

/**
 * The result of a `start` whose child need not run. The supervisor goes on; the child is kept as a stopped one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ignore {
  readonly _tag: "Ignore"
}

/**
 * A child specification with its defaults filled in. It is checked by the supervisor it is given to.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildSpec<out Info = unknown, out R = never> {
  readonly [TypeId]: typeof TypeId
  readonly id: string
  readonly start: Effect.Effect<Started<Info, R | Scope.Scope | Self> | Ignore, unknown, R | Scope.Scope | Self>
  readonly restart: Restart
  readonly shutdown: Shutdown
  readonly type: "worker" | "supervisor"
  readonly significant: boolean
  readonly trapExit: boolean | undefined
  readonly backoff: Schedule.Schedule<unknown, ExitReason.ExitReason> | undefined
  readonly stableAfter: Duration.Input | undefined
  readonly restartWhen: Effect.Effect<unknown, unknown> | undefined
  readonly logEnds: boolean
}

/**
 * The template of a `simpleOneForOne` supervisor: a child spec whose `start` takes the arguments of an instance.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildTemplate<in Args, out Info = unknown, out R = never> {
  /** The spec of the instance with these arguments. */
  readonly instance: (args: Args) => ChildSpec<Info, R>
  /** The spec as `getChildSpec` shows it; its start needs arguments. */
  readonly spec: Omit<ChildSpec<Info, R>, "start">
}

/**
 * The settings of a child that all constructors take.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** The name of the child among its siblings, and its part of the path. */
  readonly id: string
  /** `permanent` when absent. */
  readonly restart?: Restart | undefined
  /** 5 seconds for a worker, `infinity` for a supervisor when absent. */
  readonly shutdown?: Shutdown | undefined
  /** A label for counting and defaults; `worker` when absent. */
  readonly type?: "worker" | "supervisor" | undefined
  /** Whether its end without restart can end its supervisor (`autoShutdown`). Not for permanent children. */
  readonly significant?: boolean | undefined
  /**
   * Whether exit signals of strangers arrive as messages instead of ending the child. When absent: yes if it has a
   * `terminate`, as an OTP process must trap exits to have its `terminate` called at a shutdown. A signal of its
   * supervisor ends it in both cases.
   */
  readonly trapExit?: boolean | undefined
  /**
   * An extension of OTP: restarts of this child wait for the schedule, which is driven with the exit reasons, and do
   * not count against the intensity. A schedule that is done delays no more, and its restarts count.
   */
  readonly backoff?: Schedule.Schedule<unknown, ExitReason.ExitReason> | undefined
  /** The backoff starts over when an instance has been up this long; the period of its supervisor when absent. */
  readonly stableAfter?: Duration.Input | undefined
  /**
   * Ends a wait of `backoff` early: it runs while a restart waits, and when it succeeds the restart comes at once. For what
   * knows that the reason of the wait is gone, as a watcher does that has seen the server come back.
   */
  readonly restartWhen?: Effect.Effect<unknown, unknown> | undefined
  /**
   * Whether the supervisor logs each unexpected end of the child; yes when absent. `false` is for a child whose ends are
   * planned for, and which says itself what happened; events and tree show them all the same.
   */
  readonly logEnds?: boolean | undefined
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<Info, E, R, RR> extends Settings {
  /**
   * Acquires what the child needs, in the scope of the instance, and returns `started` or `ignore`. A failure is a
   * failed start: the scope is closed, and the supervisor rolls back, retries, or returns the error.
   */
  readonly start: Effect.Effect<Started<Info, RR> | Ignore, E, R>
}

export {
  /**
   * A child spec is faulty: which rule it breaks, and the offending value.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidChildSpec
} from "./internal/supervisor/errors.ts"

/**
 * Acknowledges a start: the result of `start`, with the body of the child.
 *
 * @since 0.1.0
 * @category constructors
 */
export const started = <Info = undefined, R = never, RT = never>(options: {
  readonly run: Effect.Effect<unknown, unknown, R>
  readonly info?: Info
  readonly terminate?: ((reason: ExitReason.ExitReason) => Effect.Effect<unknown, unknown, RT>) | undefined
  readonly mailboxDepth?: (() => number) | undefined
}): Started<Info, R | RT> => ({
  _tag: "Started",
  run: options.run,
  // Absent only when `Info` is `undefined`.
  info: options.info as Info,
  terminate: options.terminate,
  mailboxDepth: options.mailboxDepth
})

/**
 * The result of a `start` that decided not to run.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ignore: Ignore = { _tag: "Ignore" }

const defaultWorkerShutdown = Duration.seconds(5)

type Inside<R> = Exclude<R, Scope.Scope | Self>

const settle = (settings: Settings) => {
  const type = settings.type ?? "worker"
  return {
    [TypeId]: TypeId,
    id: settings.id,
    restart: settings.restart ?? "permanent",
    shutdown: settings.shutdown ?? (type === "supervisor" ? ("infinity" as const) : defaultWorkerShutdown),
    type,
    significant: settings.significant ?? false,
    trapExit: settings.trapExit,
    backoff: settings.backoff,
    stableAfter: settings.stableAfter,
    restartWhen: settings.restartWhen,
    logEnds: settings.logEnds !== false
  }
}

/**
 * A child spec from a `start` effect.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Info = undefined, E = never, R = never, RR = never>(
  options: Options<Info, E, R, RR>
): ChildSpec<Info, Inside<R | RR>> => ({
  ...settle(options),
  // Only `Scope` and `Self` are taken out of the type, and the supervisor provides both.
  start: options.start as ChildSpec<Info, Inside<R | RR>>["start"]
})

/**
 * The template of a `simpleOneForOne` supervisor. Instances are named by their arguments where `instanceId` says so,
 * else `ID#1`, `ID#2`, … in the tree.
 *
 * @since 0.1.0
 * @category constructors
 */
export const template = <Args, Info = undefined, E = never, R = never, RR = never>(
  options: Settings & {
    readonly start: (args: Args) => Effect.Effect<Started<Info, RR> | Ignore, E, R>
    readonly instanceId?: ((args: Args) => string) | undefined
  }
): ChildTemplate<Args, Info, Inside<R | RR>> => {
  let count = 0
  const name = options.instanceId ?? (() => `${options.id}#${++count}`)
  return {
    // Only the check of the settings looks at this start: without one the supervisor does not start.
    spec: Object.assign(settle(options), { start: options.start }),
    instance: (args) =>
      make<Info, E, R, RR>({
        ...options,
        id: name(args),
        // A start function that throws is a failed start.
        start: typeof options.start === "function" ? Effect.suspend(() => options.start(args)) : options.start
      })
  }
}

/**
 * A child that runs an effect. Its start is acknowledged at once, before the effect begins.
 *
 * @since 0.1.0
 * @category constructors
 */
export const effect = <A, E, R>(
  options: Settings & { readonly run: Effect.Effect<A, E, R> }
): ChildSpec<undefined, Inside<R>> =>
  make<undefined, never, never, R>({ ...options, start: Effect.succeed(started({ run: options.run })) })

/**
 * A child that first acquires something in its scope and then runs with it. Its start is acknowledged when the
 * acquisition has succeeded, and `info`, handed to the caller that starts the child, is what was acquired. Without `run` the
 * child lives until it is stopped.
 *
 * @since 0.1.0
 * @category constructors
 */
export const scoped = <A, E, R, RR = never>(
  options: Settings & {
    readonly acquire: Effect.Effect<A, E, R>
    readonly run?: ((acquired: A) => Effect.Effect<unknown, unknown, RR>) | undefined
  }
): ChildSpec<A, Inside<R | RR>> =>
  make<A, E, R, RR>({
    ...options,
    start: Effect.map(options.acquire, (info) =>
      started<A, RR>({ run: Effect.suspend(() => options.run?.(info) ?? Effect.never), info })
    )
  })

/**
 * A worker that does one job after the other, and loses none when it is stopped: `take` waits for a job, `handle` does it.
 * A shutdown ends the wait at once; a job that is being done may finish within the shutdown time, and is cut when that is
 * over. Then the next instance begins.
 *
 * `take` must take nothing when it is interrupted, as `Queue.take` does not. A job whose `handle` fails, or that is cut, is
 * gone: a loop that must not lose one puts it back, or takes it from where it stays until it is done.
 *
 * ```ts run
 * import { ChildSpec, Registry, Supervisor } from "@relive/otp"
 * import { Effect, Queue } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const jobs = yield* Queue.unbounded<string>()
 *   const worker = ChildSpec.loop({
 *     id: "worker",
 *     shutdown: "30 seconds",
 *     take: Queue.take(jobs),
 *     handle: (job) => Effect.delay(Effect.log(job), "5 millis")
 *   })
 *   yield* Queue.offerAll(jobs, ["done", "left"])
 *   yield* Effect.scoped(Supervisor.start(Supervisor.make({ children: [worker] })))
 *   return yield* Queue.size(jobs)
 * })
 *
 * console.log(await Effect.runPromise(Effect.provide(program, Registry.layer))) // 1
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const loop = <Job, E, R, E2, R2>(
  options: Settings & {
    readonly take: Effect.Effect<Job, E, R>
    readonly handle: (job: Job) => Effect.Effect<unknown, E2, R2>
  }
): ChildSpec<undefined, Inside<R | R2>> =>
  make<undefined, never, never, R | R2 | Self>({
    ...options,
    start: Effect.sync(() => started({ run: jobLoop(options.take, options.handle) }))
  })

/**
 * A child that runs a stream to its end, and drops the elements.
 *
 * @since 0.1.0
 * @category constructors
 */
export const stream = <A, E, R>(
  options: Settings & { readonly stream: Stream.Stream<A, E, R> }
): ChildSpec<undefined, Inside<R>> => effect({ ...options, run: Stream.runDrain(options.stream) })

/**
 * A child that builds a layer, again for each instance, and keeps it until it is stopped. The services are private to
 * the child and handed out as `info`; others reach what is inside through a `Registry`. With `run` the child lives as
 * long as that, which finds the services of the layer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const layer = <ROut, E, RIn, RR = never>(
  options: Settings & {
    readonly layer: Layer.Layer<ROut, E, RIn>
    readonly run?: Effect.Effect<unknown, unknown, RR> | undefined
  }
): ChildSpec<Context.Context<ROut>, Inside<RIn | Exclude<RR, ROut>>> =>
  make<Context.Context<ROut>, E, RIn | Scope.Scope, Exclude<RR, ROut>>({
    ...options,
    start: Effect.gen(function* () {
      const scope = yield* Scope.Scope
      // A memo map of its own: sharing one would hand out the instance of before.
      const memo = Layer.makeMemoMapUnsafe()
      const services = yield* Layer.buildWithMemoMap(options.layer, memo, scope)
      const run: Effect.Effect<unknown, unknown, RR> = options.run ?? Effect.never
      return started<Context.Context<ROut>, Exclude<RR, ROut>>({
        run: Effect.provideContext(run, services),
        info: services
      })
    })
  })

/**
 * A child that is a supervisor itself: a nested tree, started and stopped in its place in the order. `info` is its
 * reference. With `name` each instance is registered under it, in the registry of the tree, before its children start:
 * `Supervisor.named` reaches it across restarts.
 *
 * @since 0.1.0
 * @category constructors
 */
export const supervisor = <Child, R, Info>(
  options: Settings & {
    readonly supervisor: SupervisorSpec<Child, R, Info>
    readonly name?: Registry.Name<SupervisorRef<Child, Info>> | undefined
  }
): ChildSpec<SupervisorRef<Child, Info>, Inside<R> | Registry.Registry> => {
  const { name, supervisor } = options
  return make<SupervisorRef<Child, Info>, SupervisorStartError, R | Self | Registry.Registry>({
    ...options,
    type: options.type ?? "supervisor",
    start: name === undefined ? init(supervisor) : init(supervisor, registerAs(name))
  })
}

/**
 * A server as a child. Its start is acknowledged when `init` has succeeded; an `init` that ignores leaves the child
 * stopped. With `name` each instance is registered under it before its `init`, in the registry of the tree. `info` is
 * the handle of the instance; to reach the server across restarts use `GenServer.named`.
 *
 * A shutdown is a message like others if the server traps exits (it does when it has a `terminate`): it finishes what
 * came before, and runs `terminate`, all within the shutdown time.
 *
 * @since 0.1.0
 * @category constructors
 */
export function genServer<P extends GenServer.Protocol, R>(
  options: Settings & {
    readonly server: GenServer.GenServer<P, R>
    readonly name: Registry.Name<GenServer.Server<P>>
  }
): ChildSpec<GenServer.Server<P>, Inside<R> | Registry.Registry>
/**
 * A server without a name as a child. Its start is acknowledged when `init` has succeeded; an `init` that ignores
 * leaves the child stopped. `info` is the handle of the instance.
 *
 * @since 0.1.0
 * @category constructors
 */
export function genServer<P extends GenServer.Protocol, R>(
  options: Settings & { readonly server: GenServer.GenServer<P, R>; readonly name?: undefined }
): ChildSpec<GenServer.Server<P>, Inside<R>>
export function genServer<P extends GenServer.Protocol, R>(
  options: Settings & {
    readonly server: GenServer.GenServer<P, R>
    readonly name?: Registry.Name<GenServer.Server<P>> | undefined
  }
): ChildSpec<GenServer.Server<P>, Inside<R> | Registry.Registry> {
  const { name, server } = options
  const start: Effect.Effect<
    Started<GenServer.Server<P>, R> | Ignore,
    GenServer.AlreadyStarted | GenServer.StartFailed,
    R | Self | Registry.Registry
  > = name === undefined ? GenServer.init(server) : GenServer.init(server, { name })
  return make({ ...options, trapExit: options.trapExit ?? server.trapExit, start })
}

/**
 * Provides services to a child, so that it can be given to a supervisor that does not have them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const provideContext = <Info, R, Provided>(
  spec: ChildSpec<Info, R>,
  context: Context.Context<Provided>
): ChildSpec<Info, Exclude<R, Provided>> => {
  const provide = <A, E>(effect: Effect.Effect<A, E, R | Scope.Scope | Self>) =>
    Effect.updateContext(
      effect,
      (own: Context.Context<Exclude<R, Provided> | Scope.Scope | Self>) =>
        // The child's own scope and identity win over those of the given context.
        Context.merge(context, own) as Context.Context<R | Scope.Scope | Self>
    )
  return {
    ...spec,
    start: Effect.map(provide(spec.start), (outcome) =>
      outcome._tag === "Ignore"
        ? outcome
        : {
            ...outcome,
            run: provide(outcome.run),
            terminate:
              outcome.terminate === undefined
                ? undefined
                : (
                    (terminate) => (reason: ExitReason.ExitReason) =>
                      provide(terminate(reason))
                  )(outcome.terminate)
          }
    )
  }
}

/**
 * Checks child specs as a supervisor does, without starting anything: each for itself, then against the ids before
 * it; the first error wins. `autoShutdown` is the setting of the supervisor they are for, when that is known.
 *
 * @since 0.1.0
 * @category combinators
 */
export const check = (
  specs: ReadonlyArray<ChildSpec<unknown, unknown>>,
  options?: { readonly autoShutdown?: "never" | "anySignificant" | "allSignificant" | undefined }
): Effect.Effect<void, InvalidChildSpec> =>
  Effect.suspend(() => {
    const invalid = findInvalid(specs, options?.autoShutdown)
    return invalid === undefined ? Effect.void : Effect.fail(invalid)
  })

/**
 * Whether a value is a {@link ChildSpec}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isChildSpec = (value: unknown): value is ChildSpec<unknown, unknown> =>
  Predicate.hasProperty(value, TypeId)
