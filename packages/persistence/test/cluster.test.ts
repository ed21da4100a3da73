/** The same on a Redis Cluster, where keys are on several nodes. */
import { RedisCluster } from "@relive/cluster"
import { RedisKeyValueStore, RedisPersistedQueue, RedisPersistence, RedisRunnerStorage } from "@relive/persistence"
import { RedisCluster as Servers } from "@relive/testing"
import { assert, layer } from "@effect/vitest"
import { Runner, RunnerAddress, RunnerStorage, ShardId, ShardingConfig } from "effect/cluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { KeyValueStore, Persistable, PersistedQueue, Persistence, RateLimiter, Redis } from "effect/persistence"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"

class Get extends Persistable.Class<{ payload: { readonly id: number } }>()("Get", {
  primaryKey: ({ id }) => `${id}`,
  success: Schema.Number
}) {}

const cluster = Layer.unwrap(Effect.map(Servers.RedisCluster, ({ urls }) => RedisCluster.layer({ nodes: urls })))

const modules = Layer.mergeAll(
  RedisPersistence.layer,
  RedisPersistence.layerPersistence,
  RedisKeyValueStore.layer({ prefix: "kv:" }),
  RedisPersistedQueue.layer({ prefix: "{queues}:" }),
  Layer.provide(RedisRunnerStorage.layer(), ShardingConfig.layer()),
  Layer.provide(RateLimiter.layer, Layer.provide(RateLimiter.layerStoreRedis(), RedisPersistence.layer))
)

const live = Layer.provideMerge(Layer.provideMerge(modules, cluster), Servers.layer())

layer(live, { excludeTestServices: true, timeout: 60_000 })("on a cluster", (it) => {
  it.effect("persistence reads, writes and clears keys of all nodes", () =>
    Effect.gen(function* () {
      const store = yield* (yield* Persistence.Persistence).make({ storeId: "s" })
      const requests = Array.from({ length: 50 }, (_, id) => new Get({ id }))
      const [first, ...others] = requests.map((request) => [request, Exit.succeed(request.id)] as const)
      assert.isDefined(first)
      yield* store.setMany([first, ...others])
      const [head, ...tail] = requests
      assert.isDefined(head)
      const many = yield* store.getMany([head, ...tail])
      assert.deepStrictEqual(
        many,
        requests.map(({ id }) => Exit.succeed(id))
      )
      yield* store.clear
      assert.strictEqual(yield* store.get(head), undefined)
    }).pipe(Effect.scoped)
  )

  it.effect("a key-value store lists, counts and changes keys of all nodes", () =>
    Effect.gen(function* () {
      const kv = yield* KeyValueStore.KeyValueStore
      yield* Effect.forEach(Array.from({ length: 30 }), (_, i) => kv.set(`${i}`, "0"))
      assert.strictEqual(yield* kv.size, 30)
      assert.strictEqual(yield* kv.modify("7", (n) => `${n}1`), "01")
      yield* kv.clear
      assert.isTrue(yield* kv.isEmpty)
    })
  )

  it.effect("a queue with a prefix in braces delivers, and is woken", () =>
    Effect.gen(function* () {
      const queue = yield* PersistedQueue.make({ name: "q", schema: Schema.Number })
      const taken = yield* Effect.forkChild(
        Effect.forEach([1, 2, 3], () => queue.take((n) => Effect.succeed(n))),
        {
          startImmediately: true
        }
      )
      yield* Effect.sleep("100 millis")
      for (const n of [1, 2, 3]) yield* queue.offer(n, { id: `${n}` })
      assert.deepStrictEqual(yield* Fiber.join(taken), [1, 2, 3])
    })
  )

  it.effect("runners and shards are kept, and a limiter counts", () =>
    Effect.gen(function* () {
      const storage = yield* RunnerStorage.RunnerStorage
      const address = RunnerAddress.make("127.0.0.1", 1)
      yield* storage.register(Runner.make({ address, groups: ["default"], weight: 1 }), true)
      const shards = [1, 2, 3].map((id) => ShardId.make("default", id))
      assert.strictEqual((yield* storage.acquire(address, shards)).length, 3)
      yield* storage.releaseAll(address)
      const limiter = yield* RateLimiter.RateLimiter
      const { remaining } = yield* limiter.consume({ key: "k", limit: 3, window: "1 minute" })
      assert.strictEqual(remaining, 2)
    })
  )

  it.effect("commands block, scripts run, and messages come through Effect's Redis", () =>
    Effect.gen(function* () {
      const { reserve, send, subscribe } = yield* Redis.Redis
      assert.strictEqual(yield* send("BLPOP", "nothing", "0.05"), null)
      yield* send("HSET", "h", "a", "1")
      assert.deepStrictEqual(yield* send("HGETALL", "h"), { a: "1" })
      const queue = yield* subscribe("channel")
      yield* send("PUBLISH", "channel", "hello")
      assert.deepStrictEqual(yield* Queue.take(queue), { channel: "channel", message: "hello" })
      assert.strictEqual(yield* Effect.flatMap(reserve, (connection) => connection.send("PING")), "PONG")
    }).pipe(Effect.scoped)
  )
})
