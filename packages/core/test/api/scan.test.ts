/** Scans. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { reasonOf, serving } from "../behaviours/support.ts"

describe("a scan", () => {
  it.live("leaves nothing out: a page of anything else than its elements is an error", () =>
    Effect.gen(function* () {
      let page = ""
      const fake = yield* FakeServer.make(
        serving(([name = ""]) => (name.endsWith("SCAN") ? `*2\r\n$1\r\n0\r\n${page}` : undefined))
      )
      const wrong: ReadonlyArray<
        readonly [page: string, scan: Stream.Stream<unknown, RedisError.RedisError, RedisService>]
      > = [
        ["*2\r\n+a\r\n:1\r\n", Redis.scan()],
        ["*1\r\n_\r\n", Redis.sscan("k", { decode: "bytes" })],
        ["*3\r\n+a\r\n+1\r\n+b\r\n", Redis.hscan("k")],
        ["*1\r\n*2\r\n+a\r\n+1\r\n", Redis.hscan("k")],
        ["*2\r\n+a\r\n+high\r\n", Redis.zscan("k")],
        ["*3\r\n+a\r\n+1\r\n+b\r\n", Redis.zscan("k")],
        ["*1\r\n*2\r\n+a\r\n,1.5\r\n", Redis.zscan("k")]
      ]
      yield* Effect.gen(function* () {
        for (const [given, scan] of wrong) {
          page = given
          assert.strictEqual((yield* reasonOf(Stream.runCollect(scan)))._tag, "DecodeError", given)
        }
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    }).pipe(Effect.scoped)
  )
})
