/** The option `retry`. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisService } from "@relive/core"
import type { RedisError } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { outcomeOf, reasonOf, serving, submit, withServer } from "../behaviours/support.ts"

describe("the option `retry`", () => {
  it.live("does not run a transaction again whose watched keys have changed: nothing would watch them", () =>
    Effect.gen(function* () {
      const lease = yield* Redis.lease
      yield* lease.command(["WATCH", "k"])
      yield* Redis.command(["SET", "k", "theirs"])
      const own = Redis.transaction([["SET", "k", "own"]], { retry: { for: "any" } })
      const reason = yield* reasonOf(Effect.provideService(own, RedisService, lease))
      assert.strictEqual(reason._tag, "WatchConflict")
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "theirs")
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )

  it.live("does not load a script again for a NOSCRIPT that it made itself, after its writes", () =>
    Effect.gen(function* () {
      const script = Redis.script("redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT of my own')")
      yield* Effect.flip(script(["made"]))
      assert.strictEqual(yield* Redis.command(["GET", "made"]), "1")
      const error = yield* Effect.flip(script(["made"]))
      assert.deepInclude(error.reason, { _tag: "ReplyError", code: "NOSCRIPT" })
      assert.strictEqual(yield* Redis.command(["GET", "made"]), "2")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("does not run a script again for an error that it may have made itself, after its writes", () =>
    Effect.gen(function* () {
      const script = Redis.script("redis.call('INCR', KEYS[1]) return redis.error_reply('BUSY come back later')")
      const error = yield* Effect.flip(script(["n"], [], { retry: { for: "unsent" }, timeout: 300 }))
      assert.strictEqual(error.reason._tag, "ReplyError")
      assert.isFalse(error.isRetryable)
      assert.strictEqual(yield* Redis.command(["GET", "n"]), "1")
    }).pipe(Effect.provide(withServer()))
  )

  it.effect("leaves a blocking call the server's own time", () =>
    Effect.gen(function* () {
      const options = { timeout: 1000, healthCheckInterval: "infinite" } as const
      const retry = { for: "unsent" } as const
      const blocking: ReadonlyArray<Effect.Effect<unknown, RedisError.RedisError, RedisService>> = [
        Redis.command(["BLPOP", "k", 60], { retry }),
        Redis.pipeline(
          [
            ["BLPOP", "k", 20],
            ["BLPOP", "k", 40]
          ],
          { retry }
        )
      ]
      for (const call of blocking) {
        const arrived = yield* Deferred.make<void>()
        const late = Effect.as(Effect.andThen(Deferred.succeed(arrived, undefined), Effect.never), "")
        const fake = yield* FakeServer.make(serving(([name]) => (name === "BLPOP" ? late : undefined)))
        const outcome = yield* submit(Effect.provide(outcomeOf(call), Redis.layer({ ...options, port: fake.port })))
        yield* Deferred.await(arrived)
        yield* TestClock.adjust(60_900)
        assert.strictEqual(outcome.pollUnsafe(), undefined)
        yield* TestClock.adjust(2000)
        assert.deepStrictEqual(yield* Fiber.join(outcome), ["TimeoutError", "written", "unknown"])
      }
    }).pipe(Effect.scoped)
  )
})

describe("the delivery of a retried call", () => {
  // A cut, then a refusal: the second attempt of a retried write was not sent, the first may have run.
  it.live("a retried call fails as unknown when any of its attempts may have run", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          if (connection.index > 0) return yield* connection.silent
          yield* connection.answer(FakeServer.handshake)
          yield* connection.expect(["INCR", "n"])
          yield* connection.close
        })
      )
      const error = yield* Redis.command(["INCR", "n"], { timeout: 300, retry: { for: "any" } }).pipe(
        Effect.flip,
        Effect.provide(Redis.layer({ host: server.host, port: server.port }))
      )
      assert.ok(error.reason._tag === "ConnectionError")
      assert.strictEqual(error.reason.delivery, "unknown")
      assert.isFalse(error.isRetryable)
    })
  )
})
