/** Options of a call that no types hold. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import * as Effect from "effect/Effect"
import { reasonOf, withServer } from "../behaviours/support.ts"

describe("what is no command", () => {
  it.live("is the caller's error, also with the option `retry`", () =>
    Effect.gen(function* () {
      const options = { retry: { for: "unsent" } }
      for (const call of [Redis.command, Redis.pipeline, Redis.transaction, Redis.noreply]) {
        for (const given of [null, "PING", [null], [], [[]]]) {
          const effect: Effect.Effect<unknown, RedisError.RedisError, RedisService> = Effect.suspend(() =>
            Reflect.apply(call, undefined, [given, options])
          )
          const isEmptyTransaction = call === Redis.transaction && Array.isArray(given) && given.length === 0
          if (!isEmptyTransaction) assert.strictEqual((yield* reasonOf(effect))._tag, "RedisArgumentError")
        }
      }
    }).pipe(Effect.provide(withServer()))
  )
})

/** As a program without types may call it. */
const untyped = (options: unknown): Effect.Effect<unknown, RedisError.RedisError, RedisService> =>
  Effect.suspend(() => Reflect.apply(Redis.command, undefined, [["INCR", "n"], options]))

describe("options of a call that are not what they must be", () => {
  it.live("are the caller's error, and nothing is sent", () =>
    Effect.gen(function* () {
      const wrong: ReadonlyArray<readonly [name: string, options: unknown]> = [
        ["decode", { decode: "json" }],
        ["decode", { decode: "Bytes" }],
        ["retry", { retry: true }],
        ["retry", { retry: null }],
        ["retry", { retry: "any" }],
        ["retry", { retry: {} }],
        // Were it taken for `any`, a write would run twice.
        ["retry", { retry: { for: "readonly" } }],
        ["retry", { retry: { for: "unsent", schedule: 3 } }],
        ["schema", { schema: null }],
        ["schema", { schema: 5 }],
        ["options", null],
        ["options", "bytes"],
        ["options", 5]
      ]
      for (const [name, options] of wrong) {
        const reason = yield* reasonOf(untyped(options))
        assert.strictEqual(reason._tag, "RedisArgumentError", JSON.stringify(options))
        assert.include(reason.message, name)
      }
      assert.strictEqual(yield* Redis.command(["GET", "n"]), null)
    }).pipe(Effect.provide(withServer()))
  )
})
