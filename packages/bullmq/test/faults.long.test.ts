/**
 * Many workers while every connection is killed again and again, and the server restarts: all jobs complete, each is run by one
 * worker, once. The same with ioredis, for the time it takes.
 */
import { BullMQConnection } from "@relive/bullmq"
import { Redis } from "@relive/core"
import { FaultProxy, RedisReplication, RedisServer } from "@relive/testing"
import { assert, describe, it } from "@effect/vitest"
import { Queue, Worker } from "bullmq"
import type { ConnectionOptions } from "bullmq"
import * as Effect from "effect/Effect"
import { Redis as IORedis } from "ioredis"
import { ask, connect, scoped } from "./support.ts"

const JOBS = 400
const WORKERS = 8

/** Runs all jobs under faults; returns what became of them. */
const run = (connection: ConnectionOptions) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.RedisServer
    const queue = yield* scoped(() => new Queue("faults", { connection }))
    queue.on("error", () => undefined)
    const runs = new Map<string, Array<number>>()
    const failures: Array<string> = []
    const workers = yield* Effect.forEach(Array.from({ length: WORKERS }), (_, index) =>
      scoped(() => {
        const worker = new Worker(
          "faults",
          async ({ id }) => {
            await new Promise((resolve) => setTimeout(resolve, 100))
            runs.set(id ?? "", [...(runs.get(id ?? "") ?? []), index])
          },
          { connection, concurrency: 1 }
        )
        worker.on("error", () => undefined)
        worker.on("failed", (job) => void failures.push(job?.id ?? ""))
        return worker
      })
    )
    yield* Effect.promise(() => Promise.all(workers.map((worker) => worker.waitUntilReady())))
    const killing = yield* Effect.forkChild(
      Effect.forever(Effect.delay(Effect.ignore(ask("CLIENT", "KILL", "TYPE", "normal")), "250 millis"))
    )
    const began = performance.now()
    const restart = Effect.delay(Effect.andThen(server.kill, server.start), "2 seconds")
    yield* Effect.forkChild(restart)
    // Added while connections die, one by one.
    for (let n = 0; n < JOBS; n++) yield* Effect.promise(() => queue.add("job", { n }))
    yield* Effect.repeat(Effect.delay(Effect.ignore(ask("PING")), "100 millis"), {
      until: () => runs.size >= JOBS
    }).pipe(Effect.timeout("90 seconds"))
    yield* Effect.repeat(
      Effect.delay(
        Effect.orElseSucceed(ask("ZCARD", "bull:faults:completed"), () => 0),
        "100 millis"
      ),
      { until: (count) => Number(count) >= JOBS }
    ).pipe(Effect.timeout("90 seconds"))
    const seconds = (performance.now() - began) / 1000
    killing.interruptUnsafe()
    yield* Effect.sleep("300 millis")
    const counts = yield* Effect.promise(() => queue.getJobCounts())
    return { counts, runs, failures, seconds }
  }).pipe(Effect.scoped)

/** How long the first of the tests took, in seconds. */
let ours = NaN

describe("BullMQ under faults", () => {
  it.live(
    "completes every job, none lost, none failed, none run twice",
    () =>
      Effect.gen(function* () {
        const connection = yield* connect({ backoffCap: "100 millis" })
        const { counts, failures, runs, seconds } = yield* run(connection)
        ours = seconds
        assert.strictEqual(counts.completed, JOBS)
        for (const state of ["failed", "active", "waiting", "delayed"]) assert.strictEqual(counts[state], 0, state)
        assert.deepStrictEqual(failures, [])
        assert.strictEqual(runs.size, JOBS)
        for (const [id, by] of runs) assert.strictEqual(by.length, 1, `job ${id} was run by ${by.join()}`)
      }).pipe(Effect.scoped, Effect.provide(RedisServer.layer({ appendOnly: true }))),
    150_000
  )

  it.live(
    "as quickly as with ioredis",
    () =>
      Effect.gen(function* () {
        const { port } = yield* RedisServer.RedisServer
        const connection = yield* Effect.acquireRelease(
          Effect.sync(() => new IORedis({ port, maxRetriesPerRequest: null, retryStrategy: () => 50 })),
          (client) => Effect.sync(() => client.disconnect())
        )
        connection.on("error", () => undefined)
        const { counts, seconds } = yield* run(connection)
        yield* Effect.log(`drained after ${ours} s, with ioredis ${seconds} s, which completed ${counts.completed}`)
        assert.isBelow(ours, seconds * 1.3)
      }).pipe(Effect.scoped, Effect.provide(RedisServer.layer({ appendOnly: true }))),
    150_000
  )

  it.live(
    "goes on after a failover with the old primary up",
    () =>
      Effect.gen(function* () {
        const replication = yield* RedisReplication.make({ replicas: 1 })
        const proxy = yield* FaultProxy.make(replication.primary)
        const connection = yield* Effect.acquireRelease(
          Effect.sync(() =>
            BullMQConnection.fromLayer(Redis.layer({ host: proxy.host, port: proxy.port, backoffCap: "100 millis" }))
          ),
          (client) => Effect.promise(() => client.close())
        )
        const queue = yield* scoped(() => new Queue("failover", { connection }))
        const runs = new Map<string, number>()
        const worker = yield* scoped(
          () =>
            new Worker("failover", async ({ id }) => void runs.set(id ?? "", (runs.get(id ?? "") ?? 0) + 1), {
              connection
            })
        )
        const errors: Array<string> = []
        worker.on("error", (error) => void errors.push(String(error)))
        const add = (count: number) =>
          Effect.promise(async () => {
            for (let n = 0; n < count; n++) await queue.add("job", { n })
          })
        yield* add(20)
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => runs.size === 20 })
        yield* replication.synced
        const next = yield* replication.failover(0)
        yield* proxy.redirect(next)
        // The old primary is a replica that still answers, on connections that are still open.
        yield* add(20)
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => runs.size === 40 }).pipe(
          Effect.timeout("20 seconds")
        )
        assert.strictEqual(yield* next.command(["ZCARD", "bull:failover:completed"]), 40)
        for (const [id, count] of runs) assert.strictEqual(count, 1, `job ${id}`)
        assert.deepStrictEqual(errors, [])
      }).pipe(Effect.scoped),
    60_000
  )
})
