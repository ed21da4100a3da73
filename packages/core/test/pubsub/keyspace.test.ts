import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisPubSub } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { missingFlags } from "../../src/internal/api/keyspace.ts"
import { eager, withServer } from "../behaviours/support.ts"

describe("the flags of keyspace notifications", () => {
  it("are sets of letters, of which A stands for several", () => {
    assert.strictEqual(missingFlags("", "K", undefined), "KA")
    assert.strictEqual(missingFlags("AKE", "K", undefined), "")
    assert.strictEqual(missingFlags("xE", "E", ["expired"]), "")
    assert.strictEqual(missingFlags("$xE", "K", ["expired", "del", "rename_to"]), "Kg")
    assert.strictEqual(missingFlags("AE", "E", ["keymiss"]), "m")
  })

  it("of events that nobody knows, and of new keys, are never called missing", () => {
    assert.strictEqual(missingFlags("AE", "E", ["new", "from-a-module"]), "")
  })
})

describe("keyspace notifications", () => {
  const read = <E extends RedisPubSub.KeyspaceEvent<unknown>, R>(
    events: Stream.Stream<E, RedisError.RedisError, R>,
    count: number,
    during: Effect.Effect<unknown, unknown, R>
  ) =>
    events.pipe(
      Stream.tap(({ _tag }) => (_tag === "Subscribed" ? Effect.orDie(Effect.asVoid(during)) : Effect.void)),
      Stream.filter(({ _tag }) => _tag === "KeyEvent"),
      Stream.take(count),
      Stream.runCollect
    )

  const commands = (...all: ReadonlyArray<ReadonlyArray<string>>) => Redis.pipeline(all)

  const all = withServer({ ...eager, database: 1 }, { config: { "notify-keyspace-events": "AKE" } })

  it.live("are typed: the key, what happened, and the database", () =>
    Effect.gen(function* () {
      const change = commands(["SET", "a:1", "x"], ["SET", "b:1", "x"], ["EXPIRE", "a:1", "100"], ["DEL", "a:1"])
      const of = (event: string): RedisPubSub.KeyEvent => ({ _tag: "KeyEvent", key: "a:1", event, database: 1 })
      assert.deepStrictEqual(yield* read(Redis.keyspace({ keys: "a:*" }), 3, change), ["set", "expire", "del"].map(of))
      assert.deepStrictEqual(
        yield* read(Redis.keyspace({ events: ["expire", "del"] }), 2, change),
        ["expire", "del"].map(of)
      )
      assert.deepStrictEqual(yield* read(Redis.keyspace({ keys: "a:1", events: ["del"], database: 1 }), 1, change), [
        of("del")
      ])
    }).pipe(Effect.provide(all))
  )

  it.live("of keys that are not UTF-8 come as bytes", () =>
    Effect.gen(function* () {
      const key = Uint8Array.of(0xff, 0xfe)
      const events = yield* read(Redis.keyspace({ keys: key, decode: "bytes" }), 1, Redis.command(["SET", key, "x"]))
      const [event] = events
      assert.ok(event?._tag === "KeyEvent")
      assert.deepStrictEqual([[...event.key], event.event], [[0xff, 0xfe], "set"])
      const [other] = yield* read(
        Redis.keyspace({ events: ["set"], decode: "bytes" }),
        1,
        Redis.command(["SET", key, "x"])
      )
      assert.ok(other?._tag === "KeyEvent")
      assert.deepStrictEqual([[...other.key], other.event], [[0xff, 0xfe], "set"])
    }).pipe(Effect.provide(all))
  )

  it.live("say which flags the server lacks, at first and when it comes back without them", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const reason = (events: Stream.Stream<unknown, RedisError.RedisError, never>) =>
        Effect.map(Effect.flip(Stream.runDrain(events)), (error) => error.reason.message)
      yield* Effect.gen(function* () {
        const context = yield* Effect.context<never>()
        const on = (options: RedisPubSub.KeyspaceOptions) =>
          reason(
            Stream.provideContext(Redis.keyspace(options) as Stream.Stream<unknown, RedisError.RedisError>, context)
          )
        assert.include(yield* on({ events: ["expired"] }), 'lacks "Ex"; set it to "Ex"')
        assert.include(yield* on({ database: -1 }), "`database`")
        yield* server.command(["CONFIG", "SET", "notify-keyspace-events", "Kg"])
        assert.include(yield* on({ keys: "a", events: ["set"] }), 'is "gK" and lacks "$"')
        const ended = yield* Redis.keyspace({ keys: "a", events: ["del"] }).pipe(
          Stream.tap(({ _tag }) =>
            _tag === "Subscribed"
              ? Effect.orDie(
                  Effect.andThen(
                    server.command(["CONFIG", "SET", "notify-keyspace-events", ""]),
                    Effect.asVoid(server.command(["CLIENT", "KILL", "TYPE", "pubsub"]))
                  )
                )
              : Effect.void
          ),
          Stream.runDrain,
          Effect.flip
        )
        assert.include(ended.message, 'lacks "Kg"')
      }).pipe(Effect.provide(Redis.layer({ url: server.url, ...eager })))
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("do without the check where the server keeps its configuration to itself", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({
        config: { "notify-keyspace-events": "AKE" },
        users: { app: "on >secret ~* &* +@all -config", default: "on nopass ~* &* +@all" }
      })
      const [event] = yield* read(Redis.keyspace({ keys: "k" }), 1, Redis.command(["SET", "k", "v"])).pipe(
        Effect.provide(Redis.layer({ port: server.port, username: "app", password: "secret" }))
      )
      assert.deepStrictEqual(event, { _tag: "KeyEvent", key: "k", event: "set", database: 0 })
    })
  )
})
