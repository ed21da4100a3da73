/**
 * The life of a server inside its process: init, one message after the other, terminate. As OTP's `gen_server` does it:
 *
 *     init ──ok──▶ loop: continuation, else message, else (when it named one) idle timeout ──stop, crash──▶ terminate
 *
 * The state changes when a handler returns and before any caller is told of its reply.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as ChildSpec from "../../ChildSpec.ts"
import * as ExitReason from "../../ExitReason.ts"
import type {
  Callbacks,
  CallError,
  CallOf,
  CallOptions,
  CallResult,
  CallTag,
  ErrorOf,
  GenServer,
  Info,
  InitResult,
  Next,
  Protocol,
  ReplyOf,
  Result,
  Returned,
  Server,
  StartError,
  StartOptions
} from "../../GenServer.ts"
import type { Details } from "../../Process.ts"
import { StartFailed, StartIgnored, StartTimeout } from "./errors.ts"
import type { AlreadyStarted } from "./errors.ts"
import { under } from "./trace.ts"
import type { Trace } from "./trace.ts"
import { DEFAULT_TIMEOUT, toMillis, within } from "./handle.ts"
import type { CallEntry, ServerEntry, ServerHandle, TimeoutEntry } from "./handle.ts"
import { impl, NoProcess, ProcessImpl } from "../process/process.ts"
import { nowMillis } from "../process/time.ts"
import type { Terminate } from "../process/process.ts"
import { Self } from "../process/self.ts"
import { wake } from "../process/signals.ts"

/** The brand of what handlers return, by which a thrown result is known. */
export const ResultTypeId = "~@relive/otp/GenServer/Result" as const

/** The callbacks of a server, whatever its protocol is; absent where its protocol has nothing for them. */
interface Handlers<P extends Protocol, S> {
  readonly init: (self: ServerHandle<P>) => Returned<InitResult<S, unknown>>
  readonly handleCall?: Readonly<
    Record<string, (request: unknown, state: S, from: CallEntry) => Returned<AnyCallResult<S>>>
  >
  readonly handleCast?: (message: unknown, state: S) => Returned<Result<S, unknown>>
  readonly handleContinue?: (message: unknown, state: S) => Returned<Result<S, unknown>>
  readonly handleInfo?: (info: Info, state: S) => Returned<Result<S, unknown>>
  readonly terminate?: (reason: ExitReason.ExitReason, state: S) => Returned<unknown>
  readonly describe?: (state: S) => Details
}

const idleTimeout: TimeoutEntry = { _tag: "Timeout" }

export type AnyCallResult<S> = CallResult<S, unknown, unknown, unknown>

const isResult = (value: unknown): boolean => Predicate.hasProperty(value, ResultTypeId)

/** The result a cause carries when a handler threw it, or failed with it. */
const thrown = (cause: Cause.Cause<unknown>): unknown => {
  const [only, ...others] = cause.reasons
  if (only === undefined || others.length > 0) return undefined
  if (only._tag === "Fail" && isResult(only.error)) return only.error
  if (only._tag === "Die" && isResult(only.defect)) return only.defect
  return undefined
}

/** Calls user code; what it throws is a defect, or its result if it is one. */
const attempt = <A>(run: () => Returned<A>): Returned<A> => {
  try {
    return run()
  } catch (error) {
    // A throw has no type: a thrown result is taken at its word.
    return isResult(error) ? (error as A) : Effect.die(error)
  }
}

/** An effect of user code; failing with a result is returning it. */
const recovered = <A>(effect: Effect.Effect<A, unknown, unknown>): Effect.Effect<A, unknown, unknown> =>
  Effect.catchCause(effect, (cause) => {
    const result = thrown(cause)
    return result === undefined ? Effect.failCause(cause) : Effect.succeed(result as A)
  })

const invoke = <A>(run: () => Returned<A>): Effect.Effect<A, unknown, unknown> => {
  const returned = attempt(run)
  return Effect.isEffect(returned) ? recovered(returned) : Effect.succeed(returned)
}

const unhandled = (kind: string): Effect.Effect<never> => Effect.die(new TypeError(`GenServer: no handler for ${kind}`))

class ServerLoop<P extends Protocol, S> {
  private readonly handle: ServerHandle<P>
  private readonly callbacks: Handlers<P, S>
  private readonly clock: Clock.Clock
  private state: S
  private continuation: { readonly message: unknown } | undefined = undefined
  private idleMillis: number | undefined = undefined
  /** Sends the reply of a handler that stopped the server with one; only after `terminate`. */
  private farewell: (() => void) | undefined = undefined

  constructor(handle: ServerHandle<P>, callbacks: Handlers<P, S>, state: S, next: Next<unknown> | undefined) {
    this.handle = handle
    this.callbacks = callbacks
    this.state = state
    this.clock = Context.get(handle.process.context, Clock.Clock)
    handle.readState = () => this.state
    if (callbacks.describe !== undefined) {
      const { describe } = callbacks
      handle.process.details = () => describe(this.state)
    }
    this.prepare(next)
  }

  /** The body of the process: ends by an exit with the reason of the server. */
  readonly run: Effect.Effect<unknown, unknown, unknown> = Effect.suspend(() =>
    Effect.whileLoop({ while: () => true, body: this.step, step: () => {} })
  )

  /** Runs in the process when the server ends, but not when it is killed. */
  readonly terminate = (reason: ExitReason.ExitReason): Effect.Effect<unknown, unknown, unknown> =>
    Effect.suspend(() => {
      const callback = this.callbacks.terminate
      const terminated = callback === undefined ? Effect.void : invoke(() => callback(reason, this.state))
      return Effect.andThen(
        terminated,
        Effect.sync(() => this.farewell?.())
      )
    })

  // A dead generation takes nothing any more, also when it cannot be interrupted.
  private readonly step = (): Effect.Effect<unknown, unknown, unknown> => {
    if (!this.handle.process.isAliveUnsafe) return Effect.never
    const continuation = this.continuation
    if (continuation !== undefined) {
      this.continuation = undefined
      this.handle.inHand = { _tag: "Continue", message: continuation.message }
      return this.handled(
        () => this.callbacks.handleContinue?.(continuation.message, this.state) ?? unhandled("continue")
      )
    }
    const entry = this.handle.take()
    return entry === undefined ? this.wait() : this.handleEntry(entry)
  }

  private wait(): Effect.Effect<unknown, unknown, unknown> {
    const millis = this.idleMillis
    if (millis === undefined) return this.handle.arrival
    if (millis === 0) return this.idle
    return Effect.flatMap(Effect.timeoutOption(this.handle.arrival, millis), () =>
      // A message that came at the same moment goes first.
      this.handle.mailbox.queue.head === undefined ? this.idle : Effect.void
    )
  }

  private readonly idle = Effect.suspend(() => {
    this.idleMillis = undefined
    this.handle.inHand = idleTimeout
    return this.handleInfo({ _tag: "Timeout" })
  })

  private handleEntry(entry: ServerEntry): Effect.Effect<unknown, unknown, unknown> {
    this.idleMillis = undefined
    this.handle.inHand = entry
    switch (entry._tag) {
      case "Call":
        return this.handleCall(entry)
      case "Cast":
        return this.handled(
          () => this.callbacks.handleCast?.(entry.message, this.state) ?? unhandled("cast"),
          undefined,
          entry.trace
        )
      case "Info":
        return entry.message._tag === "ParentExit"
          ? ExitReason.exit(entry.message.reason)
          : this.handleInfo(entry.message)
      case "Stop":
        return ExitReason.exit(entry.reason)
    }
  }

  private handleCall(entry: CallEntry): Effect.Effect<unknown, unknown, unknown> {
    const { _tag } = entry.request
    const handlers = this.callbacks.handleCall
    if (handlers === undefined || !Object.hasOwn(handlers, _tag)) return unhandled(`the call ${_tag}`)
    return this.handled(() => handlers[_tag]?.(entry.request, this.state, entry) ?? unhandled(_tag), entry, entry.trace)
  }

  private handleInfo(info: Info): Effect.Effect<unknown, unknown, unknown> {
    if (this.callbacks.handleInfo !== undefined) {
      return this.handled(() => this.callbacks.handleInfo?.(info, this.state) ?? unhandled("info"))
    }
    this.handle.inHand = undefined
    return Effect.logWarning(`GenServer "${this.handle.process.path}": no handleInfo; dropped ${info._tag}`)
  }

  /** Calls a handler and applies its result: at once, unless the handler waits for something. */
  private handled(
    handle: () => Returned<AnyCallResult<S>>,
    call?: CallEntry,
    trace?: Trace
  ): Effect.Effect<unknown, unknown, unknown> {
    const returned = attempt(handle)
    if (!Effect.isEffect(returned)) return this.apply(returned, call)
    // From now on it can be seen.
    this.handle.inHandSince = this.clock.currentTimeMillisUnsafe()
    const result = recovered(trace === undefined ? returned : under(trace, returned))
    return Effect.flatMap(result, (result) => this.apply(result, call))
  }

  private apply(result: AnyCallResult<S>, call: CallEntry | undefined): Effect.Effect<unknown> {
    if (!isResult(result)) return Effect.die(new TypeError(`GenServer: a handler returned ${typeof result}, no result`))
    this.state = result.state
    if (result._tag !== "Stop") this.handle.inHand = undefined
    switch (result._tag) {
      case "NoReply":
        this.prepare(result.next)
        return Effect.void
      case "Reply":
        this.prepare(result.next)
        call?.settle(Effect.succeed(result.value))
        return Effect.void
      case "Refuse":
        this.prepare(result.next)
        call?.settle(Effect.fail(result.error))
        return Effect.void
      case "Stop":
        if (result.reply !== undefined) this.farewell = () => call?.settle(Effect.succeed(result.reply?.value))
        return ExitReason.exit(result.reason)
    }
  }

  private prepare(next: Next<unknown> | undefined): void {
    if (next === undefined) return
    if ("continue" in next) this.continuation = { message: next.continue }
    else this.idleMillis = Duration.toMillis(next.timeout)
  }
}

/** The start of a process that becomes a server: `init`, and the result of a child's start. */
export const init = <P extends Protocol, S, R>(
  server: ServerHandle<P>,
  callbacks: Callbacks<P, S>
): Effect.Effect<ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore, StartFailed, R> => {
  // The protocol pairs messages with handlers; by their tags, which the types of a union of functions cannot follow.
  const handlers = callbacks as unknown as Handlers<P, S>
  const path = server.process.path
  const failed = (cause: Cause.Cause<unknown>) =>
    Effect.fail(new StartFailed({ path, reason: ExitReason.fromCause(cause) }))
  const boot = Effect.flatMap(
    Effect.catchCause(
      invoke(() => handlers.init(server)),
      failed
    ),
    (result): Effect.Effect<Booted<P>, StartFailed> => {
      switch (result._tag) {
        case "Ignored":
          return Effect.succeed({ _tag: "Ignore" })
        case "Failed":
          return Effect.fail(new StartFailed({ path, reason: result.reason }))
        case "Ok": {
          const loop = new ServerLoop<P, S>(server, handlers, result.state, result.next)
          return Effect.succeed({
            _tag: "Started",
            run: loop.run,
            info: server,
            terminate: loop.terminate,
            mailboxDepth: () => server.mailbox.depth
          })
        }
      }
    }
  )
  // `R` is what the callbacks need, computed from their types by `GenServer.make`.
  return boot as Effect.Effect<ChildSpec.Started<Server<P>, R> | ChildSpec.Ignore, StartFailed, R>
}

/** Calls a server as soon as it is there, all within the timeout of the call. */
export const callWhenThere = <P extends Protocol, Tag extends CallTag<P>>(
  there: Effect.Effect<Server<P>>,
  path: string,
  request: { readonly _tag: Tag } & CallOf<P, Tag>,
  options: CallOptions | undefined
): Effect.Effect<ReplyOf<CallOf<P, Tag>>, ErrorOf<CallOf<P, Tag>> | CallError> =>
  Effect.clockWith((clock) => {
    const total = toMillis(options?.timeout, DEFAULT_TIMEOUT)
    const began = nowMillis(clock)
    return Effect.flatMap(
      within(there, total, () => new NoProcess({ path })),
      (server) =>
        server.call(request, { timeout: total === Infinity ? "infinity" : total - (nowMillis(clock) - began) })
    )
  })

type Booted<P extends Protocol> = ChildSpec.Started<Server<P>, unknown> | ChildSpec.Ignore

/** Starts a process that boots a server, and waits until that has succeeded or the process has ended. */
export const start = <P extends Protocol, R, RB>(
  definition: GenServer<P, R>,
  boot: Effect.Effect<Booted<P>, AlreadyStarted | StartFailed, RB>,
  options: StartOptions | undefined,
  parent: ProcessImpl | undefined
): Effect.Effect<Server<P>, StartError, Exclude<RB, Self | Scope.Scope>> =>
  Effect.withFiber<Server<P>, StartError, Exclude<RB, Self | Scope.Scope>>((fiber) => {
    const process = makeProcess(definition, options, fiber, parent)
    let outcome: Effect.Effect<Server<P>, StartError> | undefined
    const body = Effect.matchEffect(boot, {
      onFailure: (error) => {
        outcome = Effect.fail(error)
        // A name that is taken is no fault of the process.
        return ExitReason.exit(error._tag === "StartFailed" ? error.reason : ExitReason.normal)
      },
      onSuccess: (booted) => {
        if (booted._tag === "Ignore") {
          outcome = Effect.fail(new StartIgnored({ path: process.path }))
          return Effect.void
        }
        outcome = Effect.succeed(booted.info)
        acknowledge(process, booted)
        return booted.run
      }
    })
    // The caller that starts a process which ends before its init has returned is told so by the start alone.
    const ended = Effect.suspend(() => {
      parent?.removeLinkAndFlush(process)
      return Effect.fail(new StartFailed({ path: process.path, reason: process.exitReason ?? ExitReason.killed }))
    })
    const started = Effect.callback<Server<P>, StartError>((resume) => {
      process.onStartSettled(() => wake(fiber, () => resume(outcome ?? ended)))
      process.launch(body, parent)
    })
    const late = (timeoutMillis: number) => {
      parent?.removeLinkAndFlush(process)
      return new StartTimeout({ path: process.path, timeoutMillis })
    }
    // A process that nobody gets to know ends: its starter was interrupted, or gave up. When the process of the starter
    // ends, that is between the two, and their link if there is one, as in OTP.
    const starter = Context.getOrUndefined(fiber.context, Self)
    const isAbandoned = () => starter === undefined || !impl(starter).isLeaving
    return Effect.onExit(within(started, toMillis(options?.timeout, Infinity), late), (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit) && isAbandoned()) process.kill()
      })
    )
  })

const makeProcess = (
  definition: { readonly trapExit: boolean },
  options: StartOptions | undefined,
  fiber: Fiber.Fiber<unknown, unknown>,
  parent: ProcessImpl | undefined
): ProcessImpl => {
  const caller = Context.getOrUndefined(fiber.context, Self)
  const id = options?.id ?? "server"
  return new ProcessImpl({
    id,
    path: caller === undefined ? id : `${caller.path}/${id}`,
    generation: 1,
    parent,
    origin: caller === undefined ? undefined : impl(caller),
    context: fiber.context,
    trapExit: definition.trapExit
  })
}

/** The start has succeeded: what happens to the process from now on concerns its starter no more, but the log. */
const acknowledge = <P extends Protocol>(
  process: ProcessImpl,
  started: ChildSpec.Started<Server<P>, unknown>
): void => {
  // The process provides what its terminate needs, as it does for the body.
  process.acknowledge(started.terminate as Terminate | undefined, false)
  process.addObserver((reason) => {
    if (reason._tag !== "Crash") return
    const line = `GenServer "${process.path}" ended: ${ExitReason.format(reason)}${process.doing}`
    const annotations = { "otp.child": process.path, "otp.reason": ExitReason.format(reason) }
    process.report(Effect.annotateLogs(Effect.logError(line, reason.cause), annotations))
  })
}
