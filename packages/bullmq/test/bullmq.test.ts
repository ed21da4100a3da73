/** The promises of BullMQ's documentation, with the package itself, on a real server. */
import { BullMQConnection } from "@relive/bullmq"
import { Redis, RedisService, RedisError } from "@relive/core"
import type { Resp } from "@relive/core"
import type { CallOptions, Service } from "@relive/core/RedisService"
import { RedisPool } from "@relive/pool"
import { RedisServer } from "@relive/testing"
import { assert, layer } from "@effect/vitest"
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq"
import type { Job, Processor, WorkerOptions } from "bullmq"
import * as Effect from "effect/Effect"
import { ask, connect, scoped } from "./support.ts"

/** A queue, its events and a worker with a name of their own. */
const parts = (name: string, processor: Processor, options: Partial<WorkerOptions> = {}) =>
  Effect.gen(function* () {
    const connection = yield* connect()
    const queue = yield* scoped(() => new Queue(name, { connection }))
    const events = yield* scoped(() => new QueueEvents(name, { connection, blockingTimeout: 1000 }))
    yield* Effect.promise(() => events.waitUntilReady())
    const worker = yield* scoped(() => new Worker(name, processor, { connection, ...options }))
    return { connection, queue, events, worker }
  })

const finished = (job: Job, events: QueueEvents) => Effect.promise(() => job.waitUntilFinished(events, 10_000))

layer(RedisServer.layer({ config: { "maxmemory-policy": "noeviction" } }), { excludeTestServices: true })(
  "BullMQ",
  (it) => {
    it.effect("adds and processes jobs, tells of it, and finds its workers by name", () =>
      Effect.gen(function* () {
        const { events, queue, worker } = yield* parts("basic", async ({ data }) => data.n * 2, { name: "w1" })
        const heard: Array<string> = []
        for (const event of ["added", "active", "completed"] as const) {
          events.on(event, ({ jobId }: { readonly jobId: string }) => void heard.push(`${event} ${jobId}`))
        }
        const job = yield* Effect.promise(() => queue.add("double", { n: 21 }, { jobId: "the-id" }))
        assert.strictEqual(yield* finished(job, events), 42)
        assert.deepStrictEqual(heard.slice(-2), ["active the-id", "completed the-id"])
        const again = yield* Effect.promise(() => queue.add("double", { n: 1 }, { jobId: "the-id" }))
        assert.strictEqual(again.id, "the-id")
        assert.strictEqual((yield* Effect.promise(() => queue.getJobCounts())).completed, 1)
        const stored = yield* Effect.promise(() => queue.getJob("the-id"))
        assert.strictEqual(stored?.returnvalue, 42)
        yield* Effect.promise(() => worker.waitUntilReady())
        const workers = yield* Effect.promise(() => queue.getWorkers())
        assert.deepStrictEqual(
          workers.map(({ rawname }) => rawname),
          [`bull:${Buffer.from("basic").toString("base64")}:w:w1`]
        )
      })
    )

    it.effect("tries again with a backoff, and keeps what failed", () =>
      Effect.gen(function* () {
        let attempts = 0
        const { events, queue } = yield* parts("retry", async ({ name }) => {
          attempts++
          if (name === "never" || attempts < 3) throw new Error(`attempt ${attempts}`)
          return attempts
        })
        const backoff = { type: "fixed", delay: 50 }
        const job = yield* Effect.promise(() => queue.add("sometimes", {}, { attempts: 3, backoff }))
        assert.strictEqual(yield* finished(job, events), 3)
        const lost = yield* Effect.promise(() => queue.add("never", {}, { attempts: 2, backoff }))
        const error = yield* Effect.promise(() =>
          lost.waitUntilFinished(events, 10_000).catch((error: unknown) => error)
        )
        assert.match(String(error), /attempt 5/)
        assert.strictEqual(yield* Effect.promise(() => lost.getState()), "failed")
        yield* Effect.promise(() => lost.retry())
        assert.notStrictEqual(yield* Effect.promise(() => lost.getState()), "failed")
      })
    )

    it.effect("delays jobs, and wakes a worker in time", () =>
      Effect.gen(function* () {
        const { events, queue } = yield* parts("delayed", async () => performance.now())
        const before = performance.now()
        const job = yield* Effect.promise(() => queue.add("later", {}, { delay: 400 }))
        const at = Number(yield* finished(job, events))
        assert.isAtLeast(at - before, 390)
        assert.isBelow(at - before, 2000)
      })
    )

    it.effect("takes jobs by priority, last in first out, and all in their order", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const connection = yield* connect()
        const queue = yield* scoped(() => new Queue("order", { connection }))
        yield* Effect.promise(async () => {
          await queue.add("low", {}, { priority: 10 })
          await queue.add("high", {}, { priority: 1 })
          await queue.addBulk([
            { name: "first", data: {} },
            { name: "second", data: {} },
            { name: "front", data: {}, opts: { lifo: true } }
          ])
        })
        const worker = yield* scoped(
          () => new Worker("order", async ({ name }) => void seen.push(name), { connection })
        )
        yield* Effect.promise(() => new Promise((resolve) => worker.on("drained", resolve as () => void)))
        assert.deepStrictEqual(seen, ["front", "first", "second", "high", "low"])
      })
    )

    it.effect("repeats by a schedule", () =>
      Effect.gen(function* () {
        let runs = 0
        const { queue } = yield* parts("repeat", async () => void runs++)
        yield* Effect.promise(() => queue.upsertJobScheduler("tick", { every: 100 }, { name: "tick" }))
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => runs >= 4 }).pipe(Effect.timeout("8 seconds"))
        assert.strictEqual((yield* Effect.promise(() => queue.getJobSchedulers())).length, 1)
        yield* Effect.promise(() => queue.removeJobScheduler("tick"))
      })
    )

    it.effect("runs a flow, children first, in one transaction", () =>
      Effect.gen(function* () {
        const { connection, events } = yield* parts("flow", async (job) => {
          if (job.name !== "parent") return job.data.n
          const values = Object.values(await job.getChildrenValues<number>())
          return values.reduce((sum, value) => sum + value, 0)
        })
        const flows = yield* scoped(() => new FlowProducer({ connection }))
        const child = (n: number) => ({ name: `child ${n}`, queueName: "flow", data: { n } })
        const { job } = yield* Effect.promise(() =>
          flows.add({ name: "parent", queueName: "flow", data: {}, children: [child(1), child(2), child(39)] })
        )
        assert.strictEqual(yield* finished(job, events), 42)
      })
    )

    it.effect("limits its rate, pauses and resumes", () =>
      Effect.gen(function* () {
        const { events, queue, worker } = yield* parts("limited", async () => performance.now(), {
          limiter: { max: 1, duration: 150 }
        })
        const jobs = yield* Effect.promise(() => queue.addBulk([1, 2, 3].map((n) => ({ name: `${n}`, data: {} }))))
        const times = yield* Effect.forEach(jobs, (job) => finished(job, events))
        assert.isAtLeast(Number(times[2]) - Number(times[0]), 250)
        yield* Effect.promise(() => worker.pause())
        const job = yield* Effect.promise(() => queue.add("paused", {}))
        yield* Effect.sleep("300 millis")
        assert.strictEqual(yield* Effect.promise(() => job.getState()), "waiting")
        worker.resume()
        yield* finished(job, events)
      })
    )

    it.effect("closes gracefully: what runs finishes, nothing new is taken, nothing is left behind", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            let begin: () => void = () => undefined
            const begun = new Promise<void>((resolve) => (begin = resolve))
            const { queue, worker } = yield* parts("closing", async () => {
              begin()
              await new Promise((resolve) => setTimeout(resolve, 300))
            })
            const first = yield* Effect.promise(() => queue.add("first", {}))
            yield* Effect.promise(() => begun)
            const second = yield* Effect.promise(() => queue.add("second", {}))
            yield* Effect.promise(() => worker.close())
            assert.strictEqual(yield* Effect.promise(() => first.getState()), "completed")
            assert.strictEqual(yield* Effect.promise(() => second.getState()), "waiting")
          })
        )
        yield* Effect.repeat(ask("CLIENT", "LIST"), { until: (list) => String(list).trim().split("\n").length === 1 })
      })
    )

    it.effect("scans, empties and obliterates a queue", () =>
      Effect.gen(function* () {
        const connection = yield* connect()
        const queue = yield* scoped(() => new Queue("emptied", { connection }))
        yield* Effect.promise(async () => {
          await queue.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: `${n}`, data: { n } })))
          assert.strictEqual((await queue.getWaiting(0, 9)).length, 10)
          const keys: Array<string> = []
          for await (const page of connection.scanStream({ match: "bull:emptied:*" })) keys.push(...page)
          assert.isAbove(keys.length, 50)
          await queue.drain()
          assert.strictEqual(await queue.count(), 0)
          await queue.obliterate({ force: true })
        })
        assert.deepStrictEqual(yield* ask("KEYS", "bull:emptied:[0-9]*"), [])
      })
    )

    it.effect("runs each script once, also when only its reply was lost and it is sent again", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer.RedisServer
        yield* Effect.gen(function* () {
          const service = yield* RedisService
          const lost = new RedisError.RedisError({
            reason: new RedisError.ConnectionError({
              kind: "disconnected",
              delivery: "unknown",
              address: "test",
              detail: "the reply was lost"
            })
          })
          let losses = 0
          // Every second script runs and its reply is lost.
          const lossy: Service = Object.create(service, {
            command: {
              value: (command: Resp.Command, options: CallOptions) =>
                Effect.suspend(() => {
                  const call = service.command(command, options)
                  if (!String(command[0]).startsWith("EVAL") || losses++ % 2 !== 0) return call
                  return Effect.andThen(Effect.ignore(call), Effect.fail(lost))
                })
            }
          })
          const connection = BullMQConnection.fromService(lossy)
          const ran = new Map<string, number>()
          const queue = yield* scoped(() => new Queue("lossy", { connection }))
          yield* Effect.promise(async () => {
            for (let n = 0; n < 20; n++) await queue.add("job", { n })
          })
          assert.strictEqual(yield* ask("LLEN", "bull:lossy:wait"), 20)
          const errors: Array<Error> = []
          const worker = yield* scoped(
            () =>
              new Worker("lossy", async ({ id }) => void ran.set(id ?? "", (ran.get(id ?? "") ?? 0) + 1), {
                connection
              })
          )
          worker.on("error", (error) => void errors.push(error))
          yield* Effect.repeat(ask("ZCARD", "bull:lossy:completed"), { until: (count) => count === 20 }).pipe(
            Effect.timeout("10 seconds")
          )
          assert.deepStrictEqual(
            [...ran.values()],
            Array.from({ length: 20 }, () => 1)
          )
          assert.deepStrictEqual(errors, [])
          assert.isAbove(losses, 40)
          // Notes are kept for what is under way alone.
          const notes = yield* ask("KEYS", "*:relive:*")
          assert.ok(Array.isArray(notes))
          for (const key of notes) assert.isBelow(Number(yield* ask("HLEN", String(key))), 5)
        }).pipe(Effect.scoped, Effect.provide(Redis.layer({ url })))
      })
    )

    it.effect("loses no lease to what ends while it is opened, nor to two that wait at once", () =>
      Effect.gen(function* () {
        const connection = yield* connect({ leases: 2 })
        for (let i = 0; i < 20; i++) {
          const view = connection.duplicate({ connectionName: `view:${i}` })
          const waiting = view.bzpopmin("nothing", 0).catch(String)
          if (i % 2 === 0) yield* Effect.sleep("3 millis")
          view.disconnect()
          assert.match(String(yield* Effect.promise(() => waiting)), /closed/)
        }
        const view = connection.duplicate()
        const both = [view.bzpopmin("one", 0), view.bzpopmin("two", 0)]
        yield* Effect.repeat(ask("INFO", "clients"), { until: (info) => /blocked_clients:1/.test(String(info)) })
        yield* ask("ZADD", "one", "1", "a")
        yield* ask("ZADD", "two", "2", "b")
        const replies = yield* Effect.promise(() => Promise.all(both))
        assert.deepStrictEqual(replies, [
          ["one", "a", "1"],
          ["two", "b", "2"]
        ])
        view.disconnect()
      })
    )

    it.effect("works on a pool, and in a program of Effects", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer.RedisServer
        yield* Effect.gen(function* () {
          const connection = yield* BullMQConnection.make()
          const queue = yield* scoped(() => new Queue("pooled", { connection }))
          const events = yield* scoped(() => new QueueEvents("pooled", { connection }))
          yield* Effect.promise(() => events.waitUntilReady())
          yield* scoped(() => new Worker("pooled", async () => "done", { connection }))
          const job = yield* Effect.promise(() => queue.add("job", {}))
          assert.strictEqual(yield* finished(job, events), "done")
        }).pipe(Effect.scoped, Effect.provide(RedisPool.layer({ url, size: 3 })))
      })
    )

    it.effect("waits for a server that is away, and no longer than it was told", () =>
      Effect.gen(function* () {
        const away = Redis.layer({ url: "redis://127.0.0.1:1", timeout: 200 })
        yield* Effect.promise(async () => {
          const connection = BullMQConnection.fromLayer(away, { retryFor: "500 millis" })
          const began = performance.now()
          const error: unknown = await connection.get("k").catch((error: unknown) => error)
          assert.match(String(error), /connection refused/)
          assert.isAtLeast(performance.now() - began, 400)
          await connection.close()
          const patient = BullMQConnection.fromLayer(away)
          const waiting = patient.get("k").catch((error: unknown) => String(error))
          await patient.close()
          assert.match(String(await waiting), /127\.0\.0\.1:1|Connection is closed/)
        })
      })
    )

    it.effect("says so when it is used after its end, and when its layer cannot be built", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer.RedisServer
        yield* Effect.promise(async () => {
          const connection = BullMQConnection.fromLayer(Redis.layer({ url }))
          assert.strictEqual(await connection.get("k"), null)
          await connection.close()
          assert.match(String(await connection.get("k").catch((error: unknown) => error)), /Connection is closed/)
          const refused = BullMQConnection.fromLayer(
            Redis.layer({ url: "redis://127.0.0.1:1", start: "await", connectTimeout: 200 })
          )
          assert.match(String(await refused.get("k").catch((error: unknown) => error)), /127\.0\.0\.1:1/)
          await refused.close()
        })
      })
    )
  }
)
