/** A connection whose address is found for each session. */
import { assert, describe, it } from "@effect/vitest"
import { RedisConnection, RedisOptions } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { outcomeOf, serving, submit } from "../behaviours/support.ts"

const named = (name: string) =>
  FakeServer.make(serving(([command]) => (command === "WHO" ? `+${name}\r\n` : undefined)))

/** A connection of a resolver, and its service. */
const start = (resolver: RedisOptions.Resolver, options: RedisOptions.Options = {}) =>
  Effect.gen(function* () {
    const resolved = Result.getOrThrow(
      RedisOptions.resolve({ backoffInitial: "1 hour", backoffCap: "1 hour", ...options })
    )
    const shared = yield* RedisConnection.makeShared({ ...resolved, resolver })
    const started = yield* Deferred.make<RedisConnection.RedisConnection>()
    const member = RedisConnection.childSpec({
      id: "member",
      shared,
      onStart: (connection) => Deferred.doneUnsafe(started, Effect.succeed(connection))
    })
    const registry = yield* Registry.make()
    yield* Supervisor.start(Supervisor.make({ children: [...shared.children, member] })).pipe(
      Effect.provideService(Registry.Registry, registry)
    )
    const connection = yield* Deferred.await(started)
    const service = RedisConnection.routed(shared, {
      choose: () => connection,
      status: Effect.sync(() => connection.status),
      events: Stream.empty
    })
    return { connection, service }
  })

describe("a resolver", () => {
  it.live("is asked for each session, and its address is the connection's", () =>
    Effect.gen(function* () {
      const first = yield* named("first")
      const second = yield* named("second")
      let server = first
      const resolver: RedisOptions.Resolver = {
        label: "group mymaster",
        resolve: () => Effect.sync(() => ({ endpoint: { _tag: "Tcp", host: server.host, port: server.port } }))
      }
      const { connection, service } = yield* start(resolver)
      assert.strictEqual(yield* service.command(["WHO"]), "first")
      assert.strictEqual(connection.address, `127.0.0.1:${first.port}`)
      server = second
      connection.endSession("the group has another primary")
      assert.strictEqual(yield* service.command(["WHO"]), "second")
      assert.strictEqual(connection.status.address, `127.0.0.1:${second.port}`)
      const lease = yield* service.lease()
      assert.strictEqual(yield* lease.command(["WHO"]), "second")
    }).pipe(Effect.scoped)
  )

  it.live("that fails is a dial that failed; `endSession` ends the wait for the next one", () =>
    Effect.gen(function* () {
      const server = yield* named("found")
      const nobody = new Error("no sentinel knows the group")
      const failed = yield* Deferred.make<void>()
      let known = false
      const resolver: RedisOptions.Resolver = {
        label: "group mymaster",
        resolve: () =>
          Effect.suspend(() =>
            known
              ? Effect.succeed({ endpoint: { _tag: "Tcp" as const, host: server.host, port: server.port } })
              : Effect.andThen(Deferred.succeed(failed, undefined), Effect.fail(nobody))
          )
      }
      const { connection, service } = yield* start(resolver)
      yield* Deferred.await(failed)
      yield* Effect.flip(connection.awaitFirst)
      const { lastError } = connection.status
      assert.include(lastError?.message, "no sentinel knows the group")
      assert.include(lastError?.message, "group mymaster")
      const waiting = yield* submit(outcomeOf(service.command(["WHO"])))
      known = true
      connection.endSession("a sentinel has named a primary")
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["found"])
    }).pipe(Effect.scoped)
  )
})
