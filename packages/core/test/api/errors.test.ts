/** What a person sees of errors. */
import { Redis, RedisError, RedisOptions, Resp } from "@relive/core"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { inspect } from "node:util"

describe("an error", () => {
  it.live("of a call that could not be sent names the last failure of the connection", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Redis.command(["GET", "k"], { timeout: 200 }))
      assert.ok(error.reason._tag === "TimeoutError" && error.reason.delivery === "unsent")
      assert.match(error.message, /The last failure: .*connection refused.* at 127\.0\.0\.1:1\b/)
    }).pipe(Effect.provide(Redis.layer("redis://127.0.0.1:1")))
  )

  it("shows itself as its message first, then what it is made of, its cause included", () => {
    const reason = new RedisError.ConnectionError({
      kind: "connect",
      delivery: "unsent",
      address: "host:1",
      detail: "refused",
      cause: new Error("underneath")
    })
    const message = "Redis at host:1: refused (connect; the command was not sent)"
    for (const [error, name] of [
      [new RedisError({ reason }), "RedisError"],
      [reason, "ConnectionError"]
    ] as const) {
      assert.strictEqual(String(error), `${name}: ${message}`)
      const shown = inspect(error)
      assert.ok(shown.startsWith(`${name}: ${message} {`), shown)
      assert.match(shown, /kind: 'connect'/)
      assert.match(shown, /underneath/)
      assert.strictEqual(shown.split(message).length, 2)
    }
    const reply = new Resp.ReplyError({ code: "ERR", message: "ERR unknown command", command: "NOPE" })
    assert.strictEqual(String(reply), "ReplyError: ERR unknown command (NOPE)")
    assert.match(inspect(new RedisError({ reason: reply })), /^RedisError: ERR unknown command \{/)
  })

  it("is a class and a type of the barrel, with its reasons on it", () => {
    const reasonOf = (error: RedisError): RedisError.Reason => error.reason
    const error = new RedisError({ reason: new RedisError.WatchConflict() })
    assert.ok(error instanceof RedisError && reasonOf(error) instanceof RedisError.WatchConflict)
    assert.ok(RedisError.isRedisError(error))
    assert.strictEqual(RedisError.RedisError, RedisError)
  })
})

describe("the environment", () => {
  it.effect("may name the database REDIS_DB, too; REDIS_DATABASE wins", () =>
    Effect.gen(function* () {
      const read = (env: Record<string, string>) =>
        Effect.provide(RedisOptions.config, ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))
      assert.strictEqual((yield* read({ REDIS_DB: "3" })).database, 3)
      assert.strictEqual((yield* read({ REDIS_DB: "3", REDIS_DATABASE: "4" })).database, 4)
      const error = yield* Effect.flip(read({ REDIS_DB: "three" }))
      assert.match(String(error), /REDIS_DB must be/)
    })
  )
})
