/**
 * The failures of calls, stops and starts of servers. Exported by `GenServer`.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as ExitReason from "../../ExitReason.ts"
import type { Process } from "../../Process.ts"

/**
 * The call or stop had no reply in time. The request is not withdrawn: it is or will be handled, unless it still
 * waited for room in a bounded mailbox. A late reply is dropped.
 *
 * @since 0.1.0
 * @category errors
 */
export class CallTimeout extends Data.TaggedError("CallTimeout")<{
  readonly path: string
  readonly timeoutMillis: number
}> {
  override get message(): string {
    return `The server "${this.path}" did not answer within ${this.timeoutMillis} ms`
  }
}

/**
 * The server ended before it replied, for this reason, `normal` included. Whether it had begun with the request is not
 * known.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerExit extends Data.TaggedError("ServerExit")<{
  readonly path: string
  readonly reason: ExitReason.ExitReason
}> {
  override get message(): string {
    return `The server "${this.path}" ended before replying: ${ExitReason.format(this.reason)}`
  }
}

/**
 * A server called or stopped itself, for which it would wait for ever.
 *
 * @since 0.1.0
 * @category errors
 */
export class CallingSelf extends Data.TaggedError("CallingSelf")<{ readonly path: string }> {
  override get message(): string {
    return `The server "${this.path}" called itself`
  }
}

/**
 * The bounded mailbox of the server is full and refuses (`whenFull: "fail"`). The request was not handled.
 *
 * @since 0.1.0
 * @category errors
 */
export class MailboxFull extends Data.TaggedError("MailboxFull")<{ readonly path: string }> {
  override get message(): string {
    return `The mailbox of the server "${this.path}" is full`
  }
}

/**
 * The name belongs to a live process already.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyStarted extends Data.TaggedError("AlreadyStarted")<{
  readonly name: unknown
  readonly process: Process
}> {
  override get message(): string {
    return `The name ${String(this.name)} belongs to "${this.process.path}"`
  }
}

/**
 * `init` returned `stop`, failed or died, or the process was ended meanwhile; `reason` is what it ended with.
 *
 * @since 0.1.0
 * @category errors
 */
export class StartFailed extends Data.TaggedError("StartFailed")<{
  readonly path: string
  readonly reason: ExitReason.ExitReason
}> {
  /** A child whose start fails with this has failed for `reason`. */
  get [ExitReason.ReasonOf](): ExitReason.ExitReason {
    return this.reason
  }
  override get message(): string {
    return `The server "${this.path}" did not start: ${ExitReason.format(this.reason)}`
  }
}

/**
 * `init` returned `ignore`: the server decided not to run.
 *
 * @since 0.1.0
 * @category errors
 */
export class StartIgnored extends Data.TaggedError("StartIgnored")<{ readonly path: string }> {
  override get message(): string {
    return `The server "${this.path}" decided not to run`
  }
}

/**
 * `init` took longer than the start timeout. The process was killed.
 *
 * @since 0.1.0
 * @category errors
 */
export class StartTimeout extends Data.TaggedError("StartTimeout")<{
  readonly path: string
  readonly timeoutMillis: number
}> {
  override get message(): string {
    return `The server "${this.path}" did not start within ${this.timeoutMillis} ms`
  }
}
