/**
 * The whole: buckets, a pool, a limiter and jobs in one tree that stops without losing work. The order is that of
 * dependency: jobs use the pool and the buckets, so they come last and are drained first.
 *
 *     node examples/otp/app.ts
 */
import { Registry, Supervisor, TaskSupervisor } from "@relive/otp"
import { Effect, Layer } from "effect"
import { pathToFileURL } from "node:url"
import * as Buckets from "./buckets.ts"
import * as Limiter from "./limiter.ts"
import * as Pool from "./pool.ts"

export const jobs = Registry.name<TaskSupervisor.TaskSupervisor>("example/jobs")

export const tree = Supervisor.make({
  intensity: 5,
  children: [
    Buckets.childSpec,
    Pool.childSpec(2),
    Limiter.childSpec({ limit: 3, windowMillis: 1000 }),
    TaskSupervisor.childSpec({ id: "jobs", name: jobs, maxTasks: 100, drain: "10 seconds" })
  ]
})

/** The running tree. */
export const live = Supervisor.layer(tree, { id: "app" }).pipe(Layer.provideMerge(Buckets.Buckets.layer))

/**
 * Counts words with a worker of the pool, and keeps the count in the bucket of the user. The bucket is opened at first: once
 * the tree stops nothing is started any more, and a job that is drained must have what it needs.
 */
export const countWords = (user: string, text: string) =>
  Effect.gen(function* () {
    yield* Buckets.open(user)
    yield* Pool.worker(1000)
    yield* Effect.sleep("10 millis")
    yield* Buckets.put(user, "words", text.split(" ").length)
  }).pipe(Effect.scoped)

/** The work of a request: within its limit, in the background. */
export const request = (user: string, text: string) =>
  Effect.gen(function* () {
    yield* Limiter.take(user)
    const tasks = yield* TaskSupervisor.named(jobs)
    return yield* tasks.start(countWords(user, text), { id: "count" })
  })

export const program = Effect.gen(function* () {
  for (const text of ["one", "one two", "one two three", "too many"]) {
    yield* Effect.catchTag(request("alice", text), "LimitReached", () => Effect.log("alice has to wait"))
  }
  yield* Effect.sleep("100 millis")
  const root = yield* Supervisor.SupervisorRef
  yield* Effect.log(`\n${Supervisor.render(yield* root.tree)}`)
  return yield* Buckets.get("alice", "words")
})

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(await Effect.runPromise(Effect.provide(program, live)))
}
