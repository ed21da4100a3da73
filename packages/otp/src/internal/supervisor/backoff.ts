/**
 * Restarts that wait: the extension `backoff` and `stableAfter`, apart from OTP's rules, which know no delay.
 *
 * The schedule of a child is a step function in the child. A restart that waits is one `Postponed`, with all children
 * that wait because of it; its timer offers it to the supervisor, which resumes it in its turn.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type * as ExitReason from "../../ExitReason.ts"
import { fork } from "../process/fibers.ts"
import { nowMillis } from "../process/time.ts"
import type { BackoffStep, Child, Postponed } from "./child.ts"
import { millis } from "./specs.ts"

export class Backoff {
  private readonly context: Context.Context<never>
  private readonly clock: Clock.Clock
  private readonly periodMillis: number
  private readonly onDue: (postponed: Postponed) => void
  private waiting: Set<Postponed> | undefined = undefined

  /** `periodMillis` is the `stableAfter` of children that name none. */
  constructor(
    context: Context.Context<never>,
    clock: Clock.Clock,
    periodMillis: number,
    onDue: (postponed: Postponed) => void
  ) {
    this.context = context
    this.clock = clock
    this.periodMillis = periodMillis
    this.onDue = onDue
  }

  /** An instance of the child runs from now on. */
  started(child: Child): void {
    if (child.spec.backoff !== undefined) child.startedAt = nowMillis(this.clock)
  }

  /** The instance has ended: the schedule starts over if it was up for long enough. */
  ended(child: Child): void {
    if (child.backoff !== undefined && this.wasStable(child)) child.backoff = undefined
  }

  private wasStable(child: Child): boolean {
    const { stableAfter } = child.spec
    const limit = (stableAfter === undefined ? undefined : millis(stableAfter)) ?? this.periodMillis
    return nowMillis(this.clock) - child.startedAt >= limit
  }

  /** How long the restart has to wait, in milliseconds; `undefined` without a backoff, or when it is done. */
  nextDelay(child: Child, reason: ExitReason.ExitReason): Effect.Effect<number | undefined> {
    const { backoff } = child.spec
    if (backoff === undefined) return noDelay
    const makeStep: Effect.Effect<BackoffStep> =
      child.backoff === undefined ? Schedule.toStep(backoff) : Effect.succeed(child.backoff)
    return Effect.flatMap(makeStep, (step) => {
      child.backoff = step
      return Effect.map(Effect.exit(step(this.clock.currentTimeMillisUnsafe(), reason)), (exit) =>
        Exit.isSuccess(exit) ? (millis(exit.value[1]) ?? 0) : undefined
      )
    })
  }

  /** Lets the members wait together. */
  postpone(leader: Child, members: ReadonlyArray<Child>, delayMillis: number): void {
    const postponed: Postponed = { leader, members, timer: undefined }
    for (const member of members) member.postponed = postponed
    ;(this.waiting ??= new Set()).add(postponed)
    postponed.timer = fork(this.context, wait(leader, delayMillis), {
      label: "backoff",
      path: leader.path,
      onExit: (exit) => {
        if (Exit.isSuccess(exit)) this.onDue(postponed)
      }
    })
  }

  /** The wait is over: `false` when it was cancelled before. All members but the leader are stopped ones now. */
  resume(postponed: Postponed): boolean {
    if (this.waiting?.delete(postponed) !== true) return false
    for (const member of postponed.members) {
      member.postponed = undefined
      if (member !== postponed.leader) member.state = "stopped"
    }
    return true
  }

  /** Ends the wait: its members are stopped children from now on. */
  cancel(postponed: Postponed): void {
    if (this.waiting?.delete(postponed) !== true) return
    for (const member of postponed.members) {
      member.postponed = undefined
      if (member.state === "restarting") member.state = "stopped"
    }
    postponed.timer?.interruptUnsafe()
  }

  cancelAll(): void {
    for (const postponed of this.waiting ?? []) this.cancel(postponed)
  }
}

/** The delay, or less where the child knows better. A failure of `restartWhen` changes nothing. */
const wait = (leader: Child, delayMillis: number): Effect.Effect<unknown> => {
  const { restartWhen } = leader.spec
  const slept = Effect.sleep(delayMillis)
  return restartWhen === undefined
    ? slept
    : Effect.raceFirst(
        slept,
        Effect.catchCause(restartWhen, () => Effect.never)
      )
}

const noDelay: Effect.Effect<number | undefined> = Effect.succeed(undefined)
