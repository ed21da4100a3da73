/** Connections in a user's tree, and by their names. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { ExitReason, Registry, Supervisor } from "@relive/otp"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { TestClock } from "effect/testing"
import { outcomeOf, serving, submit } from "../behaviours/support.ts"

/** Answers no BLPOP and no HANG, and tells of the first BLPOP. */
const hangs = (arrived: Deferred.Deferred<void>) =>
  serving(([name]) =>
    name === "BLPOP" ? Effect.as(Deferred.succeed(arrived, undefined), "") : name === "HANG" ? "" : undefined
  )

describe("law 8 in a user's tree", () => {
  const Name = Redis.Name("cache")
  it.live("a connection whose process is killed settles its calls and leaves no socket; the next one takes over", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(hangs(arrived))
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port, inFlightCommands: 1 })
      const supervisor = yield* Supervisor.start(Supervisor.make({ children: [child] }))
      const cache = Option.getOrThrow(yield* Registry.lookup(Name))
      yield* cache.command(["PING"])
      const written = yield* submit(outcomeOf(cache.command(["HANG"])))
      const queued = yield* submit(outcomeOf(cache.command(["HANG"])))
      const blocked = yield* submit(outcomeOf(cache.command(["BLPOP", "k", 0])))
      yield* Deferred.await(arrived)
      yield* (yield* supervisor.whichChildren)[0]?.process?.exit(ExitReason.kill) ?? Effect.die("not started")
      assert.deepStrictEqual(yield* Fiber.join(written), ["shutdown", "unknown"])
      assert.deepStrictEqual(yield* Fiber.join(queued), ["shutdown", "unsent"])
      assert.deepStrictEqual(yield* Fiber.join(blocked), ["shutdown", "unknown"])
      yield* (yield* fake.connection(0)).closed
      yield* (yield* fake.connection(1)).closed
      const next = yield* Redis.named(Name)
      assert.strictEqual(yield* next.command(["PING"]), "PONG")
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.effect("law 1: a call to a name has one deadline, whichever connections have the name meanwhile", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port })
      const supervisor = yield* Supervisor.start(Supervisor.make({ children: [child] }))
      const cache = yield* Redis.named(Name)
      const call = yield* submit(outcomeOf(cache.command(["INCR", "k"], { timeout: 1000 })))
      yield* TestClock.adjust(900)
      yield* supervisor.terminateChild("cache")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(110)
      assert.isDefined(call.pollUnsafe())
      assert.deepStrictEqual(yield* Fiber.join(call), ["disconnected", "unsent"])
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.effect("law 1: a blocking call to a name that came late has all the time that the server may take", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(hangs(arrived))
      const cache = yield* Redis.named(Name)
      const call = yield* submit(outcomeOf(cache.command(["BLPOP", "k", 60])))
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port, healthCheckInterval: "infinite" })
      yield* Supervisor.start(Supervisor.make({ children: [child] }))
      yield* Deferred.await(arrived)
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(call.pollUnsafe())
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.live("childSpec with bad options fails its start in words", () =>
    Effect.gen(function* () {
      const options = { id: "cache", port: -1 }
      const error = yield* Effect.flip(Supervisor.start(Supervisor.make({ children: [Redis.childSpec(options)] })))
      assert.include(String(JSON.stringify(error)), "port")
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.live("an awaited start that is interrupted leaves nothing", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.silent)
      const building = yield* submit(Effect.scoped(Layer.build(Redis.layer({ port: fake.port, start: "await" }))))
      const connection = yield* fake.connection(0)
      yield* Fiber.interrupt(building)
      yield* connection.closed
      assert.strictEqual(yield* fake.accepted, 1)
    })
  )
})
