/**
 * The errors of supervisors and child specs. The public modules export them.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as ExitReason from "../../ExitReason.ts"
import type { Process } from "../../Process.ts"

/**
 * A child spec is faulty: which rule it breaks, and the offending value.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidChildSpec extends Data.TaggedError("InvalidChildSpec")<{
  readonly code:
    | "missingId"
    | "missingStart"
    | "invalidRestartType"
    | "invalidShutdown"
    | "invalidChildType"
    | "invalidSignificant"
    | "duplicateChildName"
    | "badCombination"
    | "invalidStableAfter"
  readonly id?: string | undefined
  readonly value?: unknown
  /** The two settings that do not go together. */
  readonly fields?: readonly [string, string] | undefined
}> {
  override get message(): string {
    const of = this.id === undefined ? "" : ` of child "${this.id}"`
    const why = this.fields === undefined ? "" : `: ${this.fields.join(" and ")}`
    return `Invalid child spec${of}: ${this.code}${why}`
  }
}

/**
 * A supervisor did not start. When a child failed to start, those started before it have been stopped again.
 *
 * @since 0.1.0
 * @category errors
 */
export class SupervisorStartError extends Data.TaggedError("SupervisorStartError")<{
  readonly reason:
    | { readonly _tag: "FailedToStartChild"; readonly id: string; readonly reason: ExitReason.ExitReason }
    | { readonly _tag: "InvalidChildSpec"; readonly error: InvalidChildSpec }
    | {
        readonly _tag: "InvalidSettings"
        readonly code:
          | "invalidStrategy"
          | "invalidIntensity"
          | "invalidPeriod"
          | "invalidAutoShutdown"
          | "invalidMaxChildren"
        readonly value: unknown
      }
    | { readonly _tag: "BadStartSpec" }
    | { readonly _tag: "NameTaken"; readonly name: unknown; readonly process: Process }
    | { readonly _tag: "Exited"; readonly reason: ExitReason.ExitReason }
}> {
  get [ExitReason.ReasonOf](): ExitReason.ExitReason {
    switch (this.reason._tag) {
      case "FailedToStartChild":
        return ExitReason.failedToStartChild(this.reason.id, this.reason.reason)
      case "Exited":
        return this.reason.reason
      case "NameTaken":
        return ExitReason.crash(this)
      default:
        return ExitReason.crashCause(Cause.fail(this.reason))
    }
  }
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "FailedToStartChild":
        return `Child "${reason.id}" failed to start: ${ExitReason.format(reason.reason)}`
      case "InvalidChildSpec":
        return reason.error.message
      case "InvalidSettings":
        return `Invalid supervisor settings: ${reason.code}`
      case "BadStartSpec":
        return "A simpleOneForOne supervisor needs exactly one child template"
      case "NameTaken":
        return `The name ${String(reason.name)} belongs to "${reason.process.path}"`
      case "Exited":
        return `The supervisor ended while it started: ${ExitReason.format(reason.reason)}`
    }
  }
}

/**
 * A call to a supervisor was refused, or had no reply.
 *
 * - `NotFound`: no such child. `Running`, `Restarting`: the child must be stopped for this.
 * - `AlreadyStarted`: the id is taken by this running instance; `AlreadyPresent`: by a child that does not run.
 * - `StartFailed`: the start failed with this reason. `InvalidChildSpec`: the spec is faulty.
 * - `MaxChildren`: the dynamic supervisor is full.
 * - `SimpleOneForOne`: the call makes no sense for a supervisor of this kind.
 * - `CallerStarting`, `CallerStopping`: the supervisor waits for the start, or the end, of the very process that calls it,
 *   and serves nobody meanwhile. Call it from the body of the child (`run`), or from another process.
 * - `Timeout`: a `startChild` took longer than its `timeout`; the child does not come to life.
 * - `Exited`: the supervisor was gone before (`noproc`), or ended with this reason before it replied.
 *
 * @since 0.1.0
 * @category errors
 */
export class SupervisorError extends Data.TaggedError("SupervisorError")<{
  readonly reason:
    | {
        readonly _tag:
          | "NotFound"
          | "Running"
          | "Restarting"
          | "AlreadyPresent"
          | "MaxChildren"
          | "SimpleOneForOne"
          | "CallerStarting"
          | "CallerStopping"
      }
    | { readonly _tag: "Timeout"; readonly timeoutMillis: number }
    | { readonly _tag: "AlreadyStarted"; readonly process: Process }
    | { readonly _tag: "StartFailed"; readonly reason: ExitReason.ExitReason }
    | { readonly _tag: "InvalidChildSpec"; readonly error: InvalidChildSpec }
    | { readonly _tag: "Exited"; readonly reason: ExitReason.ExitReason }
}> {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "StartFailed":
        return `The child failed to start: ${ExitReason.format(reason.reason)}`
      case "InvalidChildSpec":
        return reason.error.message
      case "Exited":
        return `The supervisor is gone: ${ExitReason.format(reason.reason)}`
      case "CallerStarting":
        return "The supervisor waits for its caller's own start and serves nobody meanwhile: call it from `run`"
      case "CallerStopping":
        return "The supervisor waits for its caller's own end and serves nobody meanwhile"
      case "Timeout":
        return `The child was not started within ${reason.timeoutMillis} ms`
      case "AlreadyStarted":
        return `The child is running already: "${reason.process.path}"`
      default:
        return `The supervisor refused the call: ${reason._tag}`
    }
  }
}

/**
 * A task was not started: there are `maxTasks` already, the supervisor lets its tasks finish and takes no new ones, or it
 * is gone. Nothing of the effect has run.
 *
 * @since 0.1.0
 * @category errors
 */
export class TaskRefused extends Data.TaggedError("TaskRefused")<{
  /** The path of the supervisor, or the name that nobody has. */
  readonly path: string
  readonly reason: "MaxTasks" | "Draining" | "Exited"
}> {
  override get message(): string {
    return `The task supervisor "${this.path}" refused a task: ${taskRefusals[this.reason]}`
  }
}

const taskRefusals = {
  MaxTasks: "it has as many tasks as it may have; raise maxTasks or try later",
  Draining: "it is stopping",
  Exited: "it is gone"
}
