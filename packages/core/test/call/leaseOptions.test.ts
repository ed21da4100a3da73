/** What a lease may be asked for with, and what a call says of where it may be served. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisService } from "@relive/core"
import type { RedisError } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const connected = Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, leases: 1 }))).pipe(
  Layer.provideMerge(RedisServer.layer())
)

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("a lease's options", () => {
  it.live("bound the waiting", () =>
    Effect.gen(function* () {
      yield* Redis.lease
      const reason = yield* reasonOf(Redis.leaseWith({ timeout: 20 }))
      assert.strictEqual(reason._tag, "LeaseTimeout")
    }).pipe(Effect.scoped, Effect.provide(connected))
  )

  it.live("are checked", () =>
    Effect.gen(function* () {
      // @ts-expect-error: no such option
      const unknown = yield* reasonOf(Redis.leaseWith({ key: "k" }))
      assert.match(unknown.message, /A lease has no option "key"; it has timeout, route/)
      // @ts-expect-error: no duration
      const wrong = yield* reasonOf(Redis.leaseWith({ timeout: true }))
      assert.strictEqual(wrong._tag, "RedisArgumentError")
      // @ts-expect-error: no record
      const record = yield* reasonOf(Redis.leaseWith("k"))
      assert.strictEqual(record._tag, "RedisArgumentError")
      yield* Redis.leaseWith({ route: "ignored by one connection" })
    }).pipe(Effect.scoped, Effect.provide(connected))
  )

  it.live("name the key that is watched", () =>
    Effect.gen(function* () {
      const real = yield* RedisService
      const routes: Array<unknown> = []
      const told: Redis.Service = {
        ...real,
        command: real.command,
        transaction: real.transaction,
        lease: (options) => {
          routes.push(options?.route)
          return real.lease(options)
        }
      }
      yield* Effect.provideService(
        Redis.watch(["{k}1", "{k}2"], Effect.succeed([["SET", "{k}1", 1]])),
        RedisService,
        told
      )
      assert.deepStrictEqual(routes, ["{k}1"])
    }).pipe(Effect.provide(connected))
  )
})

describe("the option readFrom of a call", () => {
  it.live("is one of three, and changes nothing on one connection", () =>
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", "v"])
      for (const readFrom of ["primary", "replica", "preferReplica"] as const) {
        assert.strictEqual(yield* Redis.command(["GET", "k"], { readFrom }), "v")
      }
      const untyped = JSON.parse('{ "readFrom": "bogus" }') as Redis.CallOptions
      const reason = yield* reasonOf(Redis.command(["GET", "k"], untyped))
      assert.match(reason.message, /`readFrom` of a call must be "primary", "replica" or "preferReplica"/)
    }).pipe(Effect.provide(connected))
  )
})
