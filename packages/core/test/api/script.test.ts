/** Scripts. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { allowParking, forbidParking } from "../../src/internal/call/park.ts"
import { awaitState, closable, outcomeOf, serving, submit } from "../behaviours/support.ts"

describe("a caller of a script", () => {
  it.live("may say that it only reads", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving(([name]) => (name === "EVALSHA_RO" ? ":1\r\n" : undefined)))
      const { close, use } = yield* closable({ port: fake.port })
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.script("return 1")([], [], { readOnly: true }))), [1])
      yield* close
    })
  )

  for (const way of ["parked", "by a callback"] as const) {
    it.live(`${way}: has it sent in full when the server does not know it, and hears its errors`, () =>
      Effect.gen(function* () {
        if (way === "by a callback") {
          forbidParking()
          yield* Effect.addFinalizer(() => Effect.sync(allowParking))
        }
        const count = Redis.script("return redis.call('INCR', KEYS[1]) + ARGV[1]")
        const fails = Redis.script("redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT said the script')")
        const { command, url } = yield* RedisServer.RedisServer
        yield* Effect.gen(function* () {
          for (let i = 1; i <= 3; i++) {
            assert.strictEqual(yield* count(["n"], [10]), i + 10)
            yield* command(["SCRIPT", "FLUSH"])
          }
          const error = yield* Effect.flip(fails(["m"]))
          assert.match(error.message, /NOSCRIPT said the script/)
          assert.strictEqual(yield* command(["GET", "m"]), "1")
          const wrong = yield* Effect.flip(count(["n"], [Number.NaN], { timeout: "1 second" }))
          assert.strictEqual(wrong.reason._tag, "RedisArgumentError")
        }).pipe(Effect.provide(Redis.layer(url)))
      }).pipe(Effect.scoped, Effect.provide(RedisServer.layer()))
    )
  }

  it.effect("law 1: has one deadline, though the script must be sent twice", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const sent = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(
        serving(([name]) =>
          name === "EVALSHA"
            ? Deferred.await(asked).pipe(Effect.as("-NOSCRIPT No matching script.\r\n"))
            : name === "EVAL"
              ? Effect.as(Deferred.succeed(sent, undefined), "")
              : undefined
        )
      )
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const call = yield* submit(use(outcomeOf(Redis.script("return 1")([], [], { timeout: 1000 }))))
      yield* TestClock.adjust(900)
      yield* Deferred.succeed(asked, undefined)
      yield* Deferred.await(sent)
      yield* TestClock.adjust(150)
      assert.isDefined(call.pollUnsafe())
      yield* submit(close)
      yield* TestClock.adjust(5000)
    })
  )
})
