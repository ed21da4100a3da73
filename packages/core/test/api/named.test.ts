import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { ChildSpec, Registry, Supervisor } from "@relive/otp"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

const Cache = Redis.Name("cache")

class Bulk extends Redis.Tag<Bulk>()("test/Bulk") {}

const tree = Effect.gen(function* () {
  const { url } = yield* RedisServer.RedisServer
  return yield* Supervisor.start(
    Supervisor.make({
      intensity: 10,
      children: [
        Redis.childSpec({ id: "cache", register: Cache, url }),
        ChildSpec.effect({ id: "other", run: Effect.never })
      ]
    })
  )
})

describe("a named connection", () => {
  it.live("is reached by its name, over restarts of its supervisor", () =>
    Effect.gen(function* () {
      const supervisor = yield* tree
      const cache = yield* Redis.named(Cache)
      assert.strictEqual(yield* cache.command(["SET", "k", "v"]), "OK")
      yield* supervisor.terminateChild("cache")
      const waiting = yield* Effect.forkChild(cache.command(["GET", "k"]), { startImmediately: true })
      yield* supervisor.restartChild("cache")
      assert.strictEqual(yield* Fiber.join(waiting), "v")
      const down = yield* Effect.andThen(supervisor.terminateChild("cache"), cache.status)
      assert.strictEqual(down.state, "backoff")
      const { reason } = yield* Effect.flip(cache.command(["GET", "k"], { timeout: 50 }))
      assert.ok(reason._tag === "ConnectionError")
      assert.deepStrictEqual([reason.kind, reason.delivery], ["disconnected", "unsent"])
    }).pipe(Effect.provide(Layer.merge(Registry.layer, RedisServer.layer())))
  )

  it.live("waits for the next one to have the name when the one that has it is closing", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.serve(FakeServer.handshake, () => Effect.void))
      const closing = yield* Deferred.make<void>()
      const supervisor = yield* Supervisor.start(
        Supervisor.make({
          intensity: 10,
          children: [Redis.childSpec({ id: "cache", register: Cache, port: fake.port, closeTimeout: 100 })]
        })
      )
      const cache = yield* Redis.named(Cache)
      yield* cache.command(["PING"])
      // Never answered, so that closing takes its whole time.
      const held = yield* Effect.forkChild(Effect.exit(cache.command(["SET", "k", "v"])), { startImmediately: true })
      yield* Effect.forkChild(
        cache.events.pipe(
          Stream.filter((change) => change.state === "draining"),
          Stream.runForEach(() => Deferred.succeed(closing, undefined))
        ),
        { startImmediately: true }
      )
      const restart = yield* Effect.forkChild(
        Effect.andThen(supervisor.terminateChild("cache"), supervisor.restartChild("cache")),
        { startImmediately: true }
      )
      yield* Deferred.await(closing)
      const leased = Effect.scoped(Effect.flatMap(cache.lease(), (lease) => lease.command(["PING"])))
      const replies = yield* Effect.all([cache.command(["PING"]), leased], { concurrency: "unbounded" })
      assert.deepStrictEqual(replies, ["PONG", "PONG"])
      yield* Fiber.join(restart)
      assert.strictEqual((yield* Fiber.join(held))._tag, "Failure")
    }).pipe(Effect.provide(Registry.layer))
  )

  it.live("is a service for programs that ask for one", () =>
    Effect.gen(function* () {
      yield* tree
      assert.strictEqual(yield* Redis.command(["PING"]).pipe(Effect.provide(Redis.layerNamed(Cache))), "PONG")
      assert.strictEqual(yield* Bulk.command(["PING"]).pipe(Effect.provide(Bulk.layerNamed(Cache))), "PONG")
    }).pipe(Effect.provide(Layer.merge(Registry.layer, RedisServer.layer())))
  )

  it.live("shows its parts in the tree", () =>
    Effect.gen(function* () {
      const supervisor = yield* tree
      const cache = yield* Redis.named(Cache)
      yield* cache.command(["PING"])
      const nodes = yield* supervisor.tree
      const ids = (node: Supervisor.TreeNode): ReadonlyArray<string> => [
        node.path,
        ...(node.children ?? []).flatMap(ids)
      ]
      assert.includeMembers(
        [...ids(nodes)],
        ["root/cache", "root/cache/deadlines", "root/cache/leases", "root/cache/session"]
      )
    }).pipe(Effect.provide(Layer.merge(Registry.layer, RedisServer.layer())))
  )
})

describe("a tag of one's own", () => {
  it.live("is a second, separate instance", () =>
    Effect.gen(function* () {
      const { url } = yield* RedisServer.RedisServer
      const layers = Layer.merge(Redis.layer(url), Bulk.layer({ url, database: 1 }))
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "zero"])
        yield* Bulk.command(["SET", "k", "one"])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "zero")
        assert.strictEqual(yield* Bulk.command(["GET", "k"]), "one")
      }).pipe(Effect.provide(layers))
    }).pipe(Effect.provide(RedisServer.layer()))
  )
})
