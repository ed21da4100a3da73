/**
 * The result of an effect that ran as a process: a process itself has no value, only a reason.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ExitReason from "../../ExitReason.ts"
import type { ProcessImpl } from "./process.ts"

/**
 * The process ended without a value or an error of its own: by an exit signal, by a kill, by `Process.exit`, or because
 * something that it was linked to ended.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProcessExit extends Data.TaggedError("ProcessExit")<{
  readonly path: string
  readonly reason: ExitReason.ExitReason
}> {
  override get message(): string {
    return `The process "${this.path}" ended without a result: ${ExitReason.format(this.reason)}`
  }
}

export class Result<A, E> {
  private exit: Exit.Exit<A, E> | undefined = undefined

  /** The body of the process: `effect`, with its exit kept. */
  keep<R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.onExit(effect, (exit) => {
      this.exit = exit
      return Effect.void
    })
  }

  /** The value or the error of the effect, when the process has ended. */
  of(process: ProcessImpl): Effect.Effect<A, E | ProcessExit> {
    const { exit } = this
    const reason = process.exitReason ?? ExitReason.killed
    if (exit !== undefined && reason._tag !== "Killed") {
      if (Exit.isSuccess(exit) ? reason._tag === "Normal" : isItsOwn(exit.cause, reason)) return exit
    }
    return Effect.fail(new ProcessExit({ path: process.path, reason }))
  }

  /** Waits for the end of the process. */
  await(process: ProcessImpl): Effect.Effect<A, E | ProcessExit> {
    return Effect.flatMap(process.awaitExit, () => this.of(process))
  }
}

/** Whether the effect failed by itself: with an error, or with a defect that is no `Process.exit`. */
const isItsOwn = (cause: Cause.Cause<unknown>, reason: ExitReason.ExitReason): boolean =>
  cause.reasons.some(
    (part) =>
      part._tag === "Fail" ||
      (part._tag === "Die" && reason._tag === "Crash" && !(part.defect instanceof ExitReason.ExitSignal))
  )
