/** Effect Cluster's runners and shards on Redis, by several processes at once. */
import { RedisService } from "@relive/core"
import { RedisRunnerStorage } from "@relive/persistence"
import { assert, describe, it } from "@effect/vitest"
import { MachineId, Runner, RunnerAddress, ShardId, ShardingConfig } from "effect/cluster"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ask, server, withServer } from "./support.ts"

const live = (config: Partial<ShardingConfig.ShardingConfig["Service"]> = {}) =>
  Layer.mergeAll(withServer(), ShardingConfig.layer(config))

/** The storage of a process of its own. */
const process = (options?: RedisRunnerStorage.Options) =>
  Effect.flatMap(RedisService, (service) => RedisRunnerStorage.make(service, options))

const address = (port: number) => RunnerAddress.make("127.0.0.1", port)
const runner = (port: number) => Runner.make({ address: address(port), groups: ["default"], weight: 1 })
const shards = (...ids: ReadonlyArray<number>) => ids.map((id) => ShardId.make("default", id))
const idsOf = (found: ReadonlyArray<ShardId.ShardId>) => found.map(({ id }) => id).sort()

describe("RedisRunnerStorage", () => {
  it.live("knows the runners, their health and their machines", () =>
    Effect.gen(function* () {
      const storage = yield* process()
      const first = yield* storage.register(runner(1), true)
      const second = yield* storage.register(runner(2), false)
      assert.notStrictEqual(first, second)
      assert.strictEqual(yield* storage.register(runner(1), true), first)
      yield* storage.setRunnerHealth(address(2), true)
      yield* storage.setRunnerHealth(address(1), false)
      yield* storage.setRunnerHealth(address(3), true)
      const found = yield* (yield* process()).getRunners
      assert.deepStrictEqual(found.map(([{ address }, healthy]) => [address.port, healthy]).sort(), [
        [1, false],
        [2, true]
      ])
      yield* storage.unregister(address(1))
      assert.deepStrictEqual(
        (yield* storage.getRunners).map(([{ address }]) => address.port),
        [2]
      )
      assert.notStrictEqual(yield* storage.register(runner(1), true), first)
      assert.notStrictEqual(first, MachineId.make(0))
    }).pipe(Effect.provide(live()))
  )

  it.live("forgets a runner that says nothing any more", () =>
    Effect.gen(function* () {
      const storage = yield* process()
      yield* storage.register(runner(1), true)
      yield* storage.register(runner(2), true)
      yield* Effect.sleep("200 millis")
      yield* storage.refresh(address(2), [])
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(
        (yield* storage.getRunners).map(([{ address }]) => address.port),
        [2]
      )
      yield* storage.unregister(address(7))
      assert.deepStrictEqual(yield* ask("HKEYS", "{cluster}:runners"), ["127.0.0.1:2"])
      // Whoever is not registered does not become so by a sign of life.
      yield* storage.refresh(address(1), [])
      assert.deepStrictEqual(
        (yield* storage.getRunners).map(([{ address }]) => address.port),
        [2]
      )
    }).pipe(Effect.provide(live({ shardLockExpiration: "300 millis", shardLockRefreshInterval: "100 millis" })))
  )

  it.live("gives a shard to one runner at a time, until it is released or not renewed", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* process(), yield* process()]
      assert.deepStrictEqual(idsOf(yield* one.acquire(address(1), shards(1, 2, 3))), [1, 2, 3])
      assert.deepStrictEqual(idsOf(yield* other.acquire(address(2), shards(2, 3, 4))), [4])
      assert.deepStrictEqual(idsOf(yield* other.refresh(address(2), shards(3, 4))), [4])
      yield* other.release(address(2), ShardId.make("default", 3))
      assert.deepStrictEqual(idsOf(yield* one.refresh(address(1), shards(1, 2, 3))), [1, 2, 3])
      yield* one.release(address(1), ShardId.make("default", 3))
      assert.deepStrictEqual(idsOf(yield* other.acquire(address(2), shards(3))), [3])
      yield* Effect.sleep("200 millis")
      yield* other.refresh(address(2), shards(3, 4))
      yield* Effect.sleep("150 millis")
      assert.deepStrictEqual(idsOf(yield* one.refresh(address(1), shards(1, 2))), [])
      assert.deepStrictEqual(idsOf(yield* other.acquire(address(2), shards(1, 2))), [1, 2])
      yield* other.releaseAll(address(2))
      assert.deepStrictEqual(yield* ask("KEYS", "{cluster}:shard:*"), [])
      yield* other.releaseAll(address(2))
      assert.deepStrictEqual(yield* one.acquire(address(1), []), [])
    }).pipe(Effect.provide(live({ shardLockExpiration: "300 millis", shardLockRefreshInterval: "100 millis" })))
  )

  it.live("fences a process whose place another one has taken at the same address", () =>
    Effect.gen(function* () {
      const frozen = yield* process()
      assert.deepStrictEqual(idsOf(yield* frozen.acquire(address(1), shards(1, 2))), [1, 2])
      const restarted = yield* process()
      assert.deepStrictEqual(idsOf(yield* restarted.acquire(address(1), shards(1, 2))), [1, 2])
      assert.deepStrictEqual(idsOf(yield* frozen.refresh(address(1), shards(1, 2))), [])
      yield* frozen.release(address(1), ShardId.make("default", 1))
      yield* frozen.releaseAll(address(1))
      assert.deepStrictEqual(idsOf(yield* restarted.refresh(address(1), shards(1, 2))), [1, 2])
      // An address that begins like another is another.
      assert.deepStrictEqual(idsOf(yield* restarted.acquire(RunnerAddress.make("127.0.0.1", 11), shards(1))), [])
    }).pipe(Effect.provide(live()))
  )

  it.live("lets exactly one of many have each shard when all want all", () =>
    Effect.gen(function* () {
      const all = Array.from({ length: 100 }, (_, id) => id)
      const storages = yield* Effect.forEach(Array.from({ length: 8 }), () => process())
      const got = yield* Effect.forEach(storages, (storage, index) => storage.acquire(address(index), shards(...all)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        got
          .flat()
          .map(({ id }) => id)
          .sort((a, b) => a - b),
        all
      )
    }).pipe(Effect.provide(live()))
  )

  it.live(
    "keeps clusters with different prefixes apart, and fails with the cause in time when the server is frozen",
    () =>
      Effect.gen(function* () {
        const [one, other] = [yield* process({ prefix: "a" }), yield* process({ prefix: "b" })]
        yield* one.register(runner(1), true)
        assert.deepStrictEqual(yield* other.getRunners, [])
        const { pause, resume } = yield* server
        yield* pause
        const error = yield* Effect.flip(Effect.timeout(one.refresh(address(1), shards(1)), "2 seconds"))
        yield* resume
        assert.strictEqual(error._tag, "PersistenceError")
      }).pipe(Effect.provide(live({ shardLockRefreshInterval: "200 millis" })))
  )
})
