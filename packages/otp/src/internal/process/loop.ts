/**
 * A process that does one job after the other, and is stopped between two.
 *
 * The order to stop interrupts it only while it waits for a job. While it does one the order is remembered; the supervisor
 * kills it when its time is over, which interrupts the job.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { PreventSchedulerYield } from "effect/References"
import * as ExitReason from "../../ExitReason.ts"
import { impl } from "./process.ts"
import { Self } from "./self.ts"

export const loop = <Job, E, R, E2, R2>(
  take: Effect.Effect<Job, E, R>,
  handle: (job: Job) => Effect.Effect<unknown, E2, R2>
): Effect.Effect<never, E | E2, R | R2 | Self> =>
  Effect.flatMap(Self, (self) => {
    const process = impl(self)
    let stopping: ExitReason.ExitReason | undefined
    let isTaking = false
    process.trapping = true
    process.handlesParentExit = true
    process.setReceiver({
      offer: (message) => {
        if (message._tag === "ParentExit") {
          stopping ??= message.reason
          if (isTaking) process.stop(stopping)
        } else if (message._tag === "Exit" && message.reason._tag !== "Normal") {
          // It has no use for signals: to strangers it is a process that does not trap exits.
          process.stop(message.reason)
        }
      }
    })
    const step = Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        if (stopping !== undefined) return ExitReason.exit(stopping)
        isTaking = true
        return Effect.flatMap(restore(take), (job) => {
          isTaking = false
          return Effect.provideService(restore(handle(job)), PreventSchedulerYield, false)
        })
      })
    )
    // No turn of the scheduler comes between a job that was taken and the region in which nothing interrupts.
    return Effect.forever(Effect.provideService(step, PreventSchedulerYield, true))
  })
