/** The smallest cases of what the soak has found. Each names the fault that showed it. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"

describe("what the soak has found", () => {
  // Any load: replies of one batch in two reads (a throttle makes it certain).
  it.live("a call in bytes mode behind one in text mode whose reply came in an earlier read", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.answer(FakeServer.handshake)
          yield* connection.expect(["GET", "a"])
          yield* connection.expect(["GET", "b"])
          yield* connection.send("$1\r\na\r\n$1\r\nb\r\n", { cuts: [7], gapMillis: 20 })
          yield* connection.silent
        })
      )
      const both = Effect.all([Redis.command(["GET", "a"]), Redis.command(["GET", "b"], { decode: "bytes" })], {
        concurrency: 2
      })
      const replies = yield* Effect.provide(both, Redis.layer({ host: server.host, port: server.port }))
      assert.deepStrictEqual(replies, ["a", new Uint8Array([98])])
    })
  )

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
