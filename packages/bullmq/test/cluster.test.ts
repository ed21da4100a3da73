/** BullMQ on a Redis Cluster, with a prefix in braces. */
import { BullMQConnection } from "@relive/bullmq"
import { RedisCluster } from "@relive/cluster"
import { RedisCluster as Servers } from "@relive/testing"
import { assert, layer } from "@effect/vitest"
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq"
import * as Effect from "effect/Effect"
import { scoped } from "./support.ts"

layer(Servers.layer(), { excludeTestServices: true, timeout: 60_000 })("BullMQ on a cluster", (it) => {
  it.effect("adds one by one and many at once, processes, tells of it, and runs flows", () =>
    Effect.gen(function* () {
      const { urls } = yield* Servers.RedisCluster
      const connection = yield* Effect.acquireRelease(
        Effect.sync(() => BullMQConnection.fromLayer(RedisCluster.layer({ nodes: urls }))),
        (client) => Effect.promise(() => client.close())
      )
      for (const name of ["one", "two", "three"]) {
        const options = { connection, prefix: `{bull-${name}}` }
        const queue = yield* scoped(() => new Queue(name, options))
        const events = yield* scoped(() => new QueueEvents(name, options))
        yield* Effect.promise(() => events.waitUntilReady())
        yield* scoped(
          () =>
            new Worker(
              name,
              async (job) =>
                job.name === "parent" ? Object.values(await job.getChildrenValues<number>()).length : job.data.n,
              options
            )
        )
        const flows = yield* scoped(() => new FlowProducer(options))
        const finished = yield* Effect.promise(async () => {
          const job = await queue.add("job", { n: 1 })
          const bulk = await queue.addBulk([2, 3].map((n) => ({ name: "job", data: { n } })))
          const child = (n: number) => ({ name: "child", queueName: name, data: { n } })
          const flow = await flows.add({ name: "parent", queueName: name, children: [child(1), child(2)] })
          return Promise.all([job, ...bulk, flow.job].map((each) => each.waitUntilFinished(events, 20_000)))
        })
        assert.deepStrictEqual(finished, [1, 2, 3, 2], name)
      }
    })
  )
})
