/** How a server is dialled: what Node is told, and that a test tool's fake timers do not stop what is dialled. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisOptions, type RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { tcpOptions } from "../../src/internal/transport/dial.ts"

const optionsOf = (input: RedisOptions.Options) => tcpOptions(Result.getOrThrow(RedisOptions.resolve(input)), "h", 1)

describe("a dial", () => {
  it("gives each address of a name a share of connectTimeout, or what the option says", () => {
    const attempts = [
      {},
      { connectTimeout: "20 seconds" },
      { connectTimeout: 100 },
      { addressTimeout: 700 },
      { addressTimeout: 1 }
    ] as const
    assert.deepStrictEqual(
      attempts.map((options) => optionsOf(options).autoSelectFamilyAttemptTimeout),
      [1_250, 5_000, 250, 700, 10]
    )
  })

  it("lets TCP ask a silent peer after the interval of the health check", () => {
    const intervals = [undefined, 200, "5 minutes", "infinite"] as const
    assert.deepStrictEqual(
      intervals.map((healthCheckInterval) => optionsOf({ healthCheckInterval }).keepAliveInitialDelay),
      [10_000, 1_000, 60_000, 60_000]
    )
  })
})

describe("fake timers of a test tool, put in place after this library was loaded", () => {
  it.live("stop neither a large reply nor a long pipeline", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "large", "x".repeat(8 * 2 ** 20)])
        const context = yield* Effect.context<RedisService>()
        const { queueMicrotask, setImmediate } = globalThis
        const done = yield* Effect.promise(async () => {
          Reflect.set(globalThis, "setImmediate", () => ({}))
          Reflect.set(globalThis, "queueMicrotask", () => {})
          try {
            const large = await Effect.runPromiseWith(context)(Redis.command(["GET", "large"]))
            const many = Array.from({ length: 40_000 }, () => ["PING"])
            const replies = await Effect.runPromiseWith(context)(Redis.pipeline(many))
            return [String(large).length, replies.length]
          } finally {
            Reflect.set(globalThis, "setImmediate", setImmediate)
            Reflect.set(globalThis, "queueMicrotask", queueMicrotask)
          }
        })
        assert.deepStrictEqual(done, [8 * 2 ** 20, 40_000])
      }).pipe(Effect.provide(Redis.layer({ port: server.port })))
    })
  )
})
