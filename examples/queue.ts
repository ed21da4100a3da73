/**
 * A queue of jobs: producers push, supervised workers wait for jobs with a blocking pop, and no job is lost.
 *
 * `BLMOVE` moves a job from the queue into the worker's own list in one step on the server, and the job leaves that list
 * when it is done. So a worker that is interrupted, fails, or loses its connection at any moment leaves its job there, and
 * the worker of the same name puts it back when it starts again, which its supervisor sees to. A job may run twice (when
 * its worker dies between the work and the acknowledgement) but never not at all: make jobs repeatable.
 *
 * Blocking commands get a connection of their own, so a worker that waits holds nobody up. Use it for jobs that any worker may
 * take and that are forgotten when done; if workers have no lasting names, or several groups read the same
 * jobs, see `consumer-group.ts`.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/queue.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { ChildSpec, Supervisor } from "@relive/otp"
import { Console, Deferred, Effect } from "effect"

const queue = "example:jobs"

const taken = (worker: string) => `example:jobs:taken:${worker}`

/** Adds jobs at the end of the queue and gives its length. */
export const push = (jobs: ReadonlyArray<string>) => Commands.lpush(queue, jobs)

/** Puts back what this worker had taken and not finished. */
const putBack = (worker: string) =>
  Redis.command(Commands.lmove(taken(worker), queue, "LEFT", "RIGHT"), { retry: { for: "any" } }).pipe(
    Effect.repeat({ until: (job) => job === null })
  )

/** Works until it is interrupted or fails. Two workers of one name must not run at the same time. */
export const worker = <E, R>(name: string, handle: (job: string) => Effect.Effect<void, E, R>) => {
  const next = Effect.gen(function* () {
    // After five seconds without a job the server returns null: so a dead connection is found out.
    const job = yield* Commands.blmove(queue, taken(name), "RIGHT", "LEFT", 5)
    if (job === null) return
    yield* handle(job)
    yield* Redis.command(Commands.lrem(taken(name), 1, job), { retry: { for: "any" } })
  })
  return Effect.andThen(putBack(name), Effect.forever(next))
}

/** The workers under a supervisor, which starts one that failed again. When they fail too often the whole tree fails. */
export const workers = <E, R>(names: ReadonlyArray<string>, handle: (job: string) => Effect.Effect<void, E, R>) =>
  Supervisor.make({
    intensity: 5,
    period: "10 seconds",
    children: names.map((name) => ChildSpec.effect({ id: name, run: worker(name, handle) }))
  })

export const program = Effect.gen(function* () {
  // Also what an earlier run had taken: it ends as soon as the last job is done, perhaps before that is acknowledged.
  yield* Commands.del([queue, taken("ann"), taken("bob")])
  const done: Array<string> = []
  const allDone = yield* Deferred.make<void>()
  let healthy = false

  const handle = Effect.fnUntraced(function* (job: string) {
    if (job === "job 3" && !healthy) {
      healthy = true
      return yield* Effect.fail("out of memory")
    }
    done.push(job)
    if (done.length === 10) yield* Deferred.succeed(allDone, undefined)
  })

  yield* push(Array.from({ length: 10 }, (_, index) => `job ${index}`))
  yield* Effect.raceFirst(Supervisor.run(workers(["ann", "bob"], handle)), Deferred.await(allDone))
  return done.sort()
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
