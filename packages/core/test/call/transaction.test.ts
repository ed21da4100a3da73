/** Transactions, and what their errors promise. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import { eager, outcomeOf, reasonOf, serving, withServer } from "../behaviours/support.ts"

describe("law 2: a transaction that is said to be discarded has not run", () => {
  for (const ender of ["EXEC", "DISCARD"]) {
    it.live(`also when a lease's own ${ender} in it has ended it early`, () =>
      Effect.gen(function* () {
        const lease = yield* Redis.lease
        const reason = yield* reasonOf(lease.transaction([["SET", "a", 1], [ender], ["SET", "b", 2]]))
        assert.strictEqual(yield* Redis.command(["GET", "b"]), "2")
        assert.ok(reason._tag === "ReplyError")
        assert.strictEqual(reason.delivery, "unknown")
        assert.deepStrictEqual(reason.replies?.[2], "OK")
      }).pipe(Effect.scoped, Effect.provide(withServer()))
    )
  }

  for (const exec of ["*-1\r\n", "-EXECABORT discarded\r\n", "-ERR EXEC without MULTI\r\n"]) {
    it.live(`also by a server that runs what it should queue (${exec.trim()})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make(
          serving(([name]) => (name === "EXEC" ? exec : name === "MULTI" || name === "SET" ? "+OK\r\n" : undefined))
        )
        const reason = yield* reasonOf(Redis.transaction([["SET", "a", 1]])).pipe(
          Effect.provide(Redis.layer({ port: fake.port }))
        )
        assert.ok(reason._tag === "ReplyError")
        assert.strictEqual(reason.delivery, "unknown")
      }).pipe(Effect.scoped)
    )
  }
})

describe("a transaction", () => {
  it.live("whose EXEC answers more or less than there were commands is no success", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "EXEC" ? "*1\r\n+OK\r\n" : name === "MULTI" ? "+OK\r\n" : "+QUEUED\r\n"))
      )
      yield* Effect.gen(function* () {
        for (const count of [2, 3]) {
          const commands = Array.from({ length: count }, () => ["SET", "k", "v"])
          const reason = yield* reasonOf(Redis.transaction(commands))
          assert.ok(reason._tag === "ReplyError")
          assert.strictEqual(reason.delivery, "unknown")
        }
        assert.deepStrictEqual(yield* Redis.transaction([["SET", "k", "v"]]), ["OK"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    }).pipe(Effect.scoped)
  )
})

describe("noreply on a lease that is inside of MULTI", () => {
  it.live("is no success, as nothing has run", () =>
    Effect.gen(function* () {
      const lease = yield* Redis.lease
      yield* lease.command(["MULTI"])
      const reason = yield* reasonOf(lease.noreply([["SET", "k", "v"]]))
      assert.ok(reason._tag === "ReplyError")
      assert.strictEqual(reason.delivery, "unknown")
      assert.deepStrictEqual(reason.replies, ["QUEUED"])
      // What EXEC would run now switches replies off: nobody can tell any more which is whose.
      assert.deepStrictEqual(yield* outcomeOf(lease.command(["EXEC"])), ["closed", "unsent"])
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )
})
