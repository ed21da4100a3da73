import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { RedisPool } from "@relive/pool"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { poolOptionsConfig, resolvePool } from "../src/internal/poolOptions.ts"

const message = (options: object) => Effect.map(Effect.flip(resolvePool(options)), (error) => error.message)

const fromEnv = (env: Record<string, string>) =>
  Effect.provide(poolOptionsConfig, ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))

describe("the options of a pool", () => {
  it.effect("have defaults", () =>
    Effect.gen(function* () {
      const options = yield* resolvePool({})
      assert.strictEqual(options.size, 5)
      assert.strictEqual(options.strategy, "leastInFlight")
      assert.strictEqual(options.moveAfterMillis, 50)
      assert.strictEqual(options.staggerMillis, 10)
      assert.strictEqual(options.connection.address, "127.0.0.1:6379")
    })
  )

  it.effect("POOL-005 can be nothing, a URL, a record, or both, and mean the same", () =>
    Effect.gen(function* () {
      const url = "redis://cache:7000/2"
      const record = { host: "cache", port: 7000, database: 2 }
      const expected = yield* resolvePool(record)
      for (const input of [
        url,
        new URL(url),
        Redacted.make(url),
        { url },
        { url: "redis://other:7000/2", host: "cache" }
      ]) {
        assert.deepStrictEqual(yield* resolvePool(input), expected)
      }
      assert.strictEqual((yield* resolvePool({ url, size: 2 })).size, 2)
      // The same description can be started as a layer and as a child.
      assert.strictEqual(RedisPool.childSpec({ ...record, size: 2 }).type, "supervisor")
      assert.strictEqual(RedisPool.childSpec().id, "redis-pool")
    })
  )

  it.effect("are checked, and the message names the one that is wrong", () =>
    Effect.gen(function* () {
      for (const size of [0, 1.5, NaN, "3", 10_001]) assert.include(yield* message({ size }), "`size`")
      for (const strategy of ["least", 3, null]) assert.include(yield* message({ strategy }), "`strategy`")
      for (const moveAfter of [-1, "soon", Infinity, NaN]) assert.include(yield* message({ moveAfter }), "`moveAfter`")
      assert.include(yield* message({ stagger: -1 }), "`stagger`")
      assert.include(yield* message({ prot: 1 }), "prot")
    })
  )

  it.effect("come from the environment beside those of a connection", () =>
    Effect.gen(function* () {
      assert.deepInclude(
        yield* fromEnv({
          REDIS_HOST: "cache",
          REDIS_POOL_SIZE: "7",
          REDIS_POOL_STRATEGY: "hash",
          REDIS_POOL_MOVE_AFTER: "1s",
          REDIS_POOL_STAGGER: ""
        }),
        { host: "cache", size: 7, strategy: "hash", moveAfter: 1000, stagger: undefined }
      )
      assert.strictEqual((yield* fromEnv({})).size, undefined)
      const error = yield* Effect.flip(fromEnv({ REDIS_POOL_SIZE: "many" }))
      assert.include(String(error), "REDIS_POOL_SIZE")
    })
  )

  it.effect("may each be a Config", () =>
    Effect.gen(function* () {
      const layer = RedisPool.layerConfig({ size: Config.Int("MEMBERS"), strategy: Config.succeed("random" as const) })
      const error = yield* Effect.flip(Effect.scoped(Effect.provide(Redis.status, layer)))
      assert.include(String(error), "MEMBERS")
    }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({}))))
  )
})
