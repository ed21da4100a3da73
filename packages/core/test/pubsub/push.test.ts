/** Pushes of the server: told to providers in their place, and messages over a limit. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisConnection, RedisOptions } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { eager, submit } from "../behaviours/support.ts"
import { listenLive, short, take } from "./support.ts"
import type { Service } from "@relive/core/RedisService"

const { bulk, handshake } = FakeServer

/** A connection of a provider, which is told pushes. */
const start = (options: RedisOptions.Options, onPush: RedisConnection.Hooks["onPush"]) =>
  Effect.gen(function* () {
    const shared = yield* RedisConnection.makeShared(Result.getOrThrow(RedisOptions.resolve(options)))
    const started = yield* Deferred.make<Service>()
    const member = RedisConnection.childSpec({
      id: "member",
      shared,
      hooks: { onPush },
      onStart: (_, service) => Deferred.doneUnsafe(started, Effect.succeed(service))
    })
    const registry = yield* Registry.make()
    yield* Supervisor.start(Supervisor.make({ children: [...shared.children, member] })).pipe(
      Effect.provideService(Registry.Registry, registry)
    )
    return yield* Deferred.await(started)
  })

describe("a push", () => {
  it.live("is told before a caller is resumed whose reply came in the same read, and takes no reply's place", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const order: Array<string> = []
      const service = yield* start({ port: fake.port, healthCheckInterval: "infinite" }, (_, push) => {
        order.push(`push ${String(push.data)}`)
      })
      const call = (key: string) =>
        submit(
          Effect.tap(service.command(["GET", key]), (reply) => Effect.sync(() => order.push(`reply ${String(reply)}`)))
        )
      const calls = [yield* call("a"), yield* call("b")]
      const server = yield* fake.connection(0)
      yield* server.answer(handshake)
      yield* server.expect(["GET", "a"])
      yield* server.expect(["GET", "b"])
      yield* server.send(`${bulk("1")}>2\r\n${bulk("invalidate")}*1\r\n${bulk("a")}${bulk("2")}`)
      yield* Effect.forEach(calls, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(order, ["push invalidate,a", "reply 1", "reply 2"])
    }).pipe(Effect.scoped)
  )

  it.live("of a real server tells that a key has changed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const told = yield* Deferred.make<string>()
      const service = yield* start(
        { port: server.port, onConnect: [["CLIENT", "TRACKING", "ON"]], ...eager },
        (_, push) => Deferred.doneUnsafe(told, Effect.succeed(String(push.data)))
      )
      yield* service.command(["GET", "k"])
      yield* server.command(["SET", "k", "v"])
      assert.strictEqual(yield* Deferred.await(told), "invalidate,k")
      assert.strictEqual(yield* service.command(["GET", "k"]), "v")
    }).pipe(Effect.scoped)
  )
})

describe("a message over a limit", () => {
  for (const protocol of [2, 3] as const) {
    it.live(`is a gap, and what comes behind it is told (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          yield* server.command(["PUBLISH", "c", "x".repeat(5000)])
          yield* server.command(["PUBLISH", "c", "small"])
          const events = [yield* ear.next, yield* ear.next]
          assert.deepStrictEqual(events.map(short), ["Gap overflow 1", "c: small"])
          yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
          assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", "Resubscribed c"])
        }).pipe(Effect.provide(Redis.layer({ port: server.port, protocol, maxBulkBytes: 4096, ...eager })))
      })
    )
  }
})
