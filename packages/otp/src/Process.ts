/**
 * Processes: fibers with an identity, an exit reason, links, monitors and a mailbox, as in Erlang.
 *
 * A process is what supervisors start and stop. Programs meet processes mostly as children of a supervisor; this
 * module is for what lies below: handles, exit signals, links and monitors, and plain processes.
 *
 * Signals and messages of one sender reach one receiver in the order they were sent. Names of processes are in
 * `Registry`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as ExitReason from "./ExitReason.ts"
import * as fibers from "./internal/process/fibers.ts"
import * as internal from "./internal/process/process.ts"
import { Result } from "./internal/process/result.ts"
import type { ProcessExit } from "./internal/process/result.ts"
import { Self } from "./internal/process/self.ts"
import type { SupervisorRef } from "./Supervisor.ts"
import { delayMillis, handleOf, timersOf } from "./internal/process/timers.ts"

export {
  /**
   * The process ended without a value or an error of its own: by an exit signal, by a kill, by {@link exit}, or because
   * something that it was linked to ended. `reason` is what it ended with.
   *
   * @since 0.1.0
   * @category errors
   */
  ProcessExit
} from "./internal/process/result.ts"

export {
  /**
   * The process is gone. A link to it cannot be made.
   *
   * @since 0.1.0
   * @category errors
   */
  NoProcess
} from "./internal/process/process.ts"

export {
  /**
   * The process the code runs in. A requirement that only code inside a process can meet.
   *
   * @since 0.1.0
   * @category services
   */
  Self
} from "./internal/process/self.ts"

/**
 * The identity of {@link Process} values.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: "~@relive/otp/Process" = internal.TypeId

/**
 * A handle of one instance, OTP's pid: it does not follow restarts. When the instance has ended, messages and signals
 * to it are lost, `isAlive` is false and a monitor tells `noproc`. To reach the process that holds a role now, use a name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Process {
  readonly [TypeId]: typeof TypeId
  /** The id of the child, or the one given to `spawn`. */
  readonly id: string
  /** The ids from the root of the tree to this process, joined by `/`. */
  readonly path: string
  /** The number of this start of its child spec: 1, 2, 3, … */
  readonly generation: number
  /** A number that no other process of the program has. */
  readonly serial: number
  /** Whether the process has not ended yet. */
  readonly isAlive: Effect.Effect<boolean>
  /** The same, at once. */
  readonly isAliveUnsafe: boolean
  /** Why the process ended, or `undefined` while it lives. */
  readonly exitReason: ExitReason.ExitReason | undefined
  /**
   * Sends an exit signal (`exit/2`). `kill` ends any process. Otherwise a process that traps exits gets the signal as
   * a message; one that does not ends with the reason, unless the reason is `normal`. Does not wait for the end.
   */
  readonly exit: (reason: ExitReason.ExitReason) => Effect.Effect<void>
  /** Sends a message. Never fails; a message to a process that has ended is lost. */
  readonly send: (message: unknown) => Effect.Effect<void>
  /**
   * Links the calling process with this one: when one of the two ends with a reason other than `normal`, so does the
   * other, or gets a message if it traps exits. Linking twice is linking once. When this process is gone, a caller
   * that traps exits gets an `Exit` with `noproc`; for others it is the error {@link NoProcess}.
   */
  readonly link: Effect.Effect<void, internal.NoProcess, Self>
  /** Undoes a link, no matter which side made it. */
  readonly unlink: Effect.Effect<void, never, Self>
  /** Watches this process: the calling process gets one `Down` per call, at once with `noproc` when it is gone. */
  readonly monitor: Effect.Effect<MonitorRef, never, Self>
  /** Ends a watch. With `flush` a `Down` that has come already, but was not received, is removed as well. */
  readonly demonitor: (
    ref: MonitorRef,
    options?: { readonly flush?: boolean | undefined }
  ) => Effect.Effect<void, never, Self>
  /** Waits for the end, from anywhere; returns the reason. */
  readonly awaitExit: Effect.Effect<ExitReason.ExitReason>
  /**
   * Calls `observer` once, synchronously, when the process has ended and its names are gone, before monitors and links
   * are told; at once when it has ended already. It must not throw. Returns the removal.
   */
  readonly addObserver: (observer: (reason: ExitReason.ExitReason) => void) => () => void
}

/**
 * A watch on a process, made by `monitor`.
 *
 * @since 0.1.0
 * @category models
 */
export interface MonitorRef {
  readonly _tag: "MonitorRef"
  readonly process: Process
}

/**
 * A message in the mailbox of a process: plain messages (`send`), exit signals if it traps exits (`from` is `undefined`
 * when the signal came from outside any process), the end of a watched process, and, for behaviours that trap exits,
 * the exit of the process that started them.
 *
 * @since 0.1.0
 * @category models
 */
export type Message =
  | { readonly _tag: "Message"; readonly message: unknown }
  | { readonly _tag: "Exit"; readonly from: Process | undefined; readonly reason: ExitReason.ExitReason }
  | { readonly _tag: "ParentExit"; readonly from: Process | undefined; readonly reason: ExitReason.ExitReason }
  | {
      readonly _tag: "Down"
      readonly ref: MonitorRef
      readonly process: Process
      readonly reason: ExitReason.ExitReason
    }

/**
 * The description that a process gives of itself: see {@link describe}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Details {
  /** Its kind, such as `redis connection`. */
  readonly kind: string
  /** Short facts, in the order in which they are shown. Never a secret, nor what users have sent. */
  readonly facts: Readonly<Record<string, string | number | boolean | null | undefined>>
}

/**
 * All that is known of a process from outside, at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Info {
  readonly id: string
  readonly path: string
  readonly generation: number
  readonly serial: number
  /** `abandoned`: it has been killed, but something of it still runs. */
  readonly state: "starting" | "running" | "stopping" | "ended" | "abandoned"
  readonly exitReason: ExitReason.ExitReason | undefined
  readonly trapExit: boolean
  /** The process that supervises it. */
  readonly supervisor: Process | undefined
  readonly links: ReadonlyArray<Process>
  /** The process that it watches. */
  readonly monitors: ReadonlyArray<Process>
  /** The processes that watch it. */
  readonly monitoredBy: ReadonlyArray<Process>
  /** How many messages wait. */
  readonly mailboxDepth: number
  /** The number of timers that are armed. */
  readonly timers: number
  /**
   * The message that it is handling, in words without payload (`call Add`), and since how many milliseconds its handler
   * waits. Of servers only; `undefined` when it is idle.
   */
  readonly handling: { readonly what: string; readonly millis: number } | undefined
  /** Its description of itself. */
  readonly details: Details | undefined
}

/**
 * The key of a timer among those of its process.
 *
 * @since 0.1.0
 * @category models
 */
export type TimerKey = string | number

/**
 * A timer of a process.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timer {
  /**
   * Cancels the timer, and takes its message out of the mailbox if it waits there: it is not received any more. Returns
   * whether there was anything to cancel.
   */
  readonly cancel: Effect.Effect<boolean>
}

/**
 * Options of a timer.
 *
 * @since 0.1.0
 * @category models
 */
export interface TimerOptions {
  /**
   * There is one timer per key in a process. Arming a key again replaces its timer, and takes a message of it that waits
   * out of the mailbox. A timer without a key can be cancelled by its handle only.
   */
  readonly key?: TimerKey | undefined
}

/**
 * Options of {@link spawn}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SpawnOptions {
  /** The last part of the path; `process` when absent. */
  readonly id?: string | undefined
  /** Whether exit signals arrive as messages. Off when absent. */
  readonly trapExit?: boolean | undefined
  /** Whether the new process is linked to the calling one, if there is one. Off when absent. */
  readonly link?: boolean | undefined
}

/**
 * Whether a value is a {@link Process}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isProcess = (value: unknown): value is Process => Predicate.hasProperty(value, TypeId)

/**
 * Starts a plain process that runs `body` in a scope of its own (`spawn`, with `link` `spawn_link`).
 *
 * It has no supervisor: nothing restarts it and no scope ends it. It ends when `body` does, by a signal, or by a link.
 * A crash is logged. In programs prefer a child of a supervisor.
 *
 * @since 0.1.0
 * @category constructors
 */
export const spawn = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  options?: SpawnOptions
): Effect.Effect<Process, never, Exclude<R, Self | Scope.Scope>> =>
  Effect.withFiber<Process, never, Exclude<R, Self | Scope.Scope>>((fiber) => {
    const { parent, process } = prepare(fiber, options)
    process.addObserver((reason) => {
      if (reason._tag !== "Crash") return
      process.report(Effect.logError(`Process "${process.path}" ended: ${ExitReason.format(reason)}`, reason.cause))
    })
    process.launch(body, options?.link === true ? parent : undefined)
    return Effect.succeed(process)
  })

/** A plain process that has not begun. */
const prepare = (fiber: Fiber.Fiber<unknown, unknown>, options: SpawnOptions | undefined) => {
  const caller = Context.getOrUndefined(fiber.context, Self)
  const parent = caller === undefined ? undefined : internal.impl(caller)
  const id = options?.id ?? "process"
  const process = new internal.ProcessImpl({
    id,
    path: parent === undefined ? id : `${parent.path}/${id}`,
    generation: 1,
    parent: undefined,
    origin: parent,
    context: fiber.context,
    trapExit: options?.trapExit === true
  })
  process.acknowledge(undefined, false)
  return { parent, process }
}

/**
 * Runs an effect as a process of its own and waits for it: its value is the value, its error the error, a defect the
 * defect. When the process ended otherwise, by a signal or `Process.exit`, this fails with {@link ProcessExit}.
 * Interrupting it ends the process with `shutdown` and waits for the end; its scope is closed in every case.
 *
 * It is how a test, or a program outside of any tree, does what only a process can: receive, monitor, link, own names.
 *
 * ```ts run
 * import { Process } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const echo = Process.run(
 *   Effect.gen(function* () {
 *     const self = yield* Process.self
 *     yield* self.send("hello")
 *     return yield* Process.receive
 *   })
 * )
 *
 * console.log(await Effect.runPromise(echo)) // { _tag: "Message", message: "hello" }
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: SpawnOptions
): Effect.Effect<A, E | ProcessExit, Exclude<R, Self | Scope.Scope>> =>
  // Nothing comes between the launch and the wait, so that no process is left for which nobody waits.
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber<A, E | ProcessExit, Exclude<R, Self | Scope.Scope>>((fiber) => {
      const { parent, process } = prepare(fiber, options)
      const result = new Result<A, E>()
      process.launch(result.keep(effect), options?.link === true ? parent : undefined)
      return Effect.onInterrupt(restore(result.await(process)), () =>
        Effect.suspend(() => {
          process.stop(ExitReason.shutdown)
          return process.awaitExit
        })
      )
    })
  )

/**
 * The process the code runs in.
 *
 * @since 0.1.0
 * @category accessors
 */
export const self: Effect.Effect<Process, never, Self> = Effect.map(Self, (process) => process)

/**
 * The supervisor of the calling process: none for a plain process, and for the root of a tree. To start siblings through
 * it, use its name (`Supervisor.named`) or the root (`Supervisor.SupervisorRef`), whose types say what they take.
 *
 * @since 0.1.0
 * @category accessors
 */
export const supervisor: Effect.Effect<Option.Option<SupervisorRef<never>>, never, Self> = Effect.map(Self, (self) =>
  Option.fromUndefinedOr(internal.impl(self).parent?.supervisor?.ref)
)

/**
 * The processes above the calling one, the nearest first (`$ancestors`): its supervisor, or the process that spawned it, and
 * so on.
 *
 * @since 0.1.0
 * @category accessors
 */
export const ancestors: Effect.Effect<ReadonlyArray<Process>, never, Self> = Effect.map(Self, (self) => {
  const above: Array<Process> = []
  for (let { origin } = internal.impl(self); origin !== undefined; origin = origin.origin) above.push(origin)
  return above
})

/**
 * The state of a process, without asking it: also of one that hangs, or has ended. For a server see also
 * `GenServer.inspect`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const info = (process: Process): Effect.Effect<Info> => Effect.sync(() => internal.impl(process).info)

/**
 * Lets the calling process tell observers what it is and how it does: `describe` is called whenever one looks, and
 * costs nothing otherwise. It must be quick; when it throws, observers are told that it failed.
 *
 * ```ts
 * import { ChildSpec, Process } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const importer = ChildSpec.make({
 *   id: "importer",
 *   start: Effect.gen(function* () {
 *     let rows = 0
 *     yield* Process.describe(() => ({ kind: "importer", facts: { rows } }))
 *     return ChildSpec.started({ run: Effect.forever(Effect.delay(Effect.sync(() => rows++), 10)) })
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const describe = (describe: () => Details): Effect.Effect<void, never, Self> =>
  Effect.map(Self, (self) => {
    internal.impl(self).details = describe
  })

/**
 * Ends the calling process with a reason (`exit/1`). It is a defect, so error handlers of the body let it pass.
 *
 * @since 0.1.0
 * @category combinators
 */
export const exit: (reason: ExitReason.ExitReason) => Effect.Effect<never> = ExitReason.exit

/**
 * Switches trapping of exit signals for the calling process; returns what it was before.
 *
 * @since 0.1.0
 * @category combinators
 */
export const trapExit = (enabled: boolean): Effect.Effect<boolean, never, Self> =>
  Effect.map(Self, (process) => {
    const self = internal.impl(process)
    const before = self.trapping
    self.trapping = enabled
    return before
  })

/**
 * Waits for the next message of the calling process, in the order of arrival. For plain processes: a `GenServer` and
 * a supervisor receive for themselves. In a process that was killed it never returns.
 *
 * @since 0.1.0
 * @category combinators
 */
export const receive: Effect.Effect<Message, never, Self> = Effect.flatMap(Self, (self) => internal.impl(self).next)

/**
 * Sends a plain message to a process when `time` has passed (`erlang:send_after`), a number being milliseconds. The timer
 * belongs to the receiver: it is gone with it, and costs no fiber of its own. It is never early.
 *
 * A server has `castAfter` and `castEvery`, whose messages have its own types.
 *
 * ```ts run
 * import { Process } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const program = Process.run(
 *   Effect.gen(function* () {
 *     const self = yield* Process.self
 *     yield* Process.sendAfter(self, "1 hour", "late", { key: "alarm" })
 *     yield* Process.sendAfter(self, 5, "soon", { key: "alarm" })
 *     return yield* Process.receive
 *   })
 * )
 *
 * console.log(await Effect.runPromise(program)) // { _tag: "Message", message: "soon" }
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const sendAfter = (
  process: Process,
  time: Duration.Input,
  message: unknown,
  options?: TimerOptions
): Effect.Effect<Timer> =>
  Effect.sync(() => {
    const receiver = internal.impl(process)
    const timers = timersOf(receiver)
    const timer = timers.arm(options?.key, delayMillis(time), undefined, () =>
      receiver.post({ _tag: "Message", message })
    )
    return handleOf(timers, timer)
  })

/**
 * Cancels the timer with this key of a process, as {@link Timer} does.
 *
 * @since 0.1.0
 * @category combinators
 */
export const cancelTimer = (process: Process, key: TimerKey): Effect.Effect<boolean> =>
  Effect.sync(() => internal.impl(process).timers?.cancelKey(key) === true)

/**
 * Forks a helper fiber that belongs to the calling process: it lives in the scope of the process, so that it is
 * interrupted when the process has run its `terminate`, and its failure ends the process with the same cause, also
 * one that traps exits. An interrupted helper is no failure. This is how a process runs work beside its body; a plain
 * `Effect.fork` would fail unseen. `label` names the fiber in {@link liveFibers}.
 *
 * @since 0.1.0
 * @category combinators
 */
export const fork = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: { readonly label: string }
): Effect.Effect<Fiber.Fiber<A, E>, never, R | Self> =>
  Effect.flatMap(Effect.context<R | Self>(), (context) => {
    const process = internal.impl(Context.get(context as Context.Context<Self>, Self))
    const fiber = internal.runAsHelper(process, context, effect, options.label)
    return fiber === undefined ? Effect.interrupt : Effect.succeed(fiber)
  })

/**
 * One live fiber of this package: its id, what it does, and the path of its process.
 *
 * @since 0.1.0
 * @category models
 */
export interface LiveFiber extends fibers.LiveFiber {}

/**
 * The register that lists the fibers of this package: one for the whole program by default. Provide another (see
 * {@link makeFiberRegister}) around a supervisor to watch its fibers alone.
 *
 * @since 0.1.0
 * @category references
 */
export const FiberRegister: Context.Reference<FiberRegister> = fibers.CurrentRegister

/**
 * A register of live fibers.
 *
 * @since 0.1.0
 * @category models
 */
export interface FiberRegister extends fibers.FiberRegister {}

/**
 * An empty register of live fibers.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeFiberRegister: () => FiberRegister = fibers.makeRegister

/**
 * The fibers of processes, supervisors and helpers that live now. Empty when everything was stopped: what is left
 * after a supervisor has ended is a leak, or an abandoned, uninterruptible child.
 *
 * @since 0.1.0
 * @category accessors
 */
export const liveFibers: Effect.Effect<ReadonlyArray<LiveFiber>> = Effect.map(fibers.CurrentRegister, fibers.list)
