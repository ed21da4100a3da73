/**
 * Why a process ended, in OTP's words.
 *
 * An Effect `Exit` knows success, failure, defect and interruption. OTP also tells a planned end (`shutdown`) from a
 * crash, and a kill from both, and supervisors, links and monitors decide by that. This module is the one place that
 * derives a reason from an `Exit` and says what a reason means.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"

/**
 * The process did what it was for and returned.
 *
 * @since 0.1.0
 * @category models
 */
export interface Normal {
  readonly _tag: "Normal"
}

/**
 * The process ended because it was asked to, or said so itself; `info` is OTP's `{shutdown, Info}`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shutdown {
  readonly _tag: "Shutdown"
  readonly info: unknown
}

/**
 * The reason of an exit signal that cannot be refused. The process it hits ends with {@link Killed}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kill {
  readonly _tag: "Kill"
}

/**
 * The process was killed: none of its code, `terminate` included, was run for the end.
 *
 * @since 0.1.0
 * @category models
 */
export interface Killed {
  readonly _tag: "Killed"
}

/**
 * There is no such process (any more). Told by a monitor or a link to a process that is gone.
 *
 * @since 0.1.0
 * @category models
 */
export interface NoProcess {
  readonly _tag: "NoProcess"
}

/**
 * Any abnormal end: a typed failure, a defect, or an exit signal with such a reason. `cause` has all of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Crash {
  readonly _tag: "Crash"
  readonly cause: Cause.Cause<unknown>
}

/**
 * Why a process ended.
 *
 * @since 0.1.0
 * @category models
 */
export type ExitReason = Normal | Shutdown | Kill | Killed | NoProcess | Crash

/**
 * The reason `normal`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const normal: ExitReason = { _tag: "Normal" }

/**
 * The reason `shutdown`, which supervisors use to stop their children.
 *
 * @since 0.1.0
 * @category constructors
 */
export const shutdown: ExitReason = { _tag: "Shutdown", info: undefined }

/**
 * The reason `{shutdown, Info}`: a planned end that says more.
 *
 * @since 0.1.0
 * @category constructors
 */
export const shutdownWith = (info: unknown): ExitReason => ({ _tag: "Shutdown", info })

/**
 * The reason `kill`, for exit signals only: the receiver ends at once with {@link killed}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const kill: ExitReason = { _tag: "Kill" }

/**
 * The reason `killed`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const killed: ExitReason = { _tag: "Killed" }

/**
 * The reason `noproc`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const noProcess: ExitReason = { _tag: "NoProcess" }

/**
 * An abnormal reason with a value that says what went wrong.
 *
 * @since 0.1.0
 * @category constructors
 */
export const crash = (error: unknown): ExitReason => ({ _tag: "Crash", cause: Cause.fail(error) })

/**
 * An abnormal reason with a whole cause.
 *
 * @since 0.1.0
 * @category constructors
 */
export const crashCause = (cause: Cause.Cause<unknown>): ExitReason => ({ _tag: "Crash", cause })

/**
 * Information of a {@link Shutdown}: a supervisor could not start because its child `id` could not, for `reason`.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailedToStartChild {
  readonly _tag: "FailedToStartChild"
  readonly id: string
  readonly reason: ExitReason
}

/**
 * The reason `{shutdown, {failed_to_start_child, Id, Reason}}` of a supervisor whose start was rolled back.
 *
 * @since 0.1.0
 * @category constructors
 */
export const failedToStartChild = (id: string, reason: ExitReason): ExitReason =>
  shutdownWith({ _tag: "FailedToStartChild", id, reason } satisfies FailedToStartChild)

/**
 * Whether the information of a shutdown is a {@link FailedToStartChild}.
 *
 * @since 0.1.0
 * @category guards
 */
export const isFailedToStartChild = (info: unknown): info is FailedToStartChild =>
  Predicate.hasProperty(info, "_tag") && info._tag === "FailedToStartChild"

/**
 * Whether a restart type counts this reason as a normal end: `normal`, `shutdown` and `{shutdown, Info}`.
 *
 * Links see it differently: to them everything but `normal` is abnormal.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isExpected = (reason: ExitReason): boolean => reason._tag === "Normal" || reason._tag === "Shutdown"

/**
 * The property by which an error says that it stands for an exit reason. A process that fails or dies with such a
 * value ends with that reason instead of a crash.
 *
 * @since 0.1.0
 * @category type ids
 */
export const ReasonOf = "~@relive/otp/ExitReason" as const

/**
 * The defect that {@link exit} dies with. It is one so that error handlers of the program do not take it for a failure.
 *
 * @since 0.1.0
 * @category errors
 */
export class ExitSignal {
  readonly _tag = "ExitSignal"
  readonly [ReasonOf]: ExitReason
  constructor(reason: ExitReason) {
    this[ReasonOf] = reason
  }
}

/**
 * Ends the calling process with `reason`, as Erlang's `exit/1` does: from the outside it is as if its body had ended.
 *
 * @since 0.1.0
 * @category constructors
 */
export const exit = (reason: ExitReason): Effect.Effect<never> => Effect.die(new ExitSignal(reason))

const reasonCarried = (value: unknown): ExitReason | undefined => {
  if (typeof value !== "object" || value === null || !(ReasonOf in value)) return undefined
  return (value as { readonly [ReasonOf]: ExitReason })[ReasonOf]
}

/**
 * The reason a cause stands for.
 *
 * Failures and defects win over interruption, because a fiber that fails while it is interrupted has both. A value
 * that carries a reason ({@link exit}) wins over the rest. A cause of interruptions only is `requested`, the reason
 * somebody asked the process to end with; when nobody asked, the interruption came from within and is a crash.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromCause = (cause: Cause.Cause<unknown>, requested?: ExitReason | undefined): ExitReason => {
  let abnormal = false
  for (const part of cause.reasons) {
    if (part._tag === "Interrupt") continue
    const carried = reasonCarried(part._tag === "Fail" ? part.error : part.defect)
    if (carried !== undefined) return carried
    abnormal = true
  }
  if (!abnormal && requested !== undefined) return requested
  return { _tag: "Crash", cause }
}

/**
 * The reason an exit stands for: success is `normal`, anything else as {@link fromCause} says.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromExit = (exit: Exit.Exit<unknown, unknown>, requested?: ExitReason | undefined): ExitReason =>
  Exit.isSuccess(exit) ? normal : fromCause(exit.cause, requested)

const describe = (value: unknown): string => {
  if (value instanceof Error) return value.message === "" ? value.name : `${value.name}: ${value.message}`
  if (typeof value === "string") return value
  const tag = Predicate.hasProperty(value, "_tag") ? value._tag : undefined
  return typeof tag === "string" ? tag : typeof value
}

/**
 * A reason in one line, for logs: `normal`, `shutdown`, `killed`, `crash: …`. Values other than errors, strings and
 * tagged objects are named by their type only, so that no payload gets into a log by accident.
 *
 * @since 0.1.0
 * @category conversions
 */
export const format = (reason: ExitReason): string => {
  switch (reason._tag) {
    case "Normal":
      return "normal"
    case "Kill":
      return "kill"
    case "Killed":
      return "killed"
    case "NoProcess":
      return "noproc"
    case "Crash":
      return `crash: ${describe(Cause.squash(reason.cause))}`
    case "Shutdown": {
      if (reason.info === undefined) return "shutdown"
      if (isFailedToStartChild(reason.info)) {
        return `shutdown: child "${reason.info.id}" failed to start (${format(reason.info.reason)})`
      }
      return `shutdown: ${describe(reason.info)}`
    }
  }
}
