import { assert, layer } from "@effect/vitest"
import { Redis, type RedisOptions, type RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { awaitKnown, killSubscribers, known, listen, listenLive, take } from "./support.ts"

const connect = (options: RedisOptions.Options = {}) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options })))

const fast = { backoffFirst: 1, backoffInitial: 1, backoffCap: 20, stableAfter: 0 } as const

for (const protocol of [2, 3] as const) {
  layer(RedisServer.layer(), { excludeTestServices: true })(`pub/sub (RESP${protocol})`, (it) => {
    const test = (
      title: string,
      body: Effect.Effect<unknown, unknown, RedisService | RedisServer.RedisServer | Scope.Scope>
    ) => it.effect(title, () => body.pipe(Effect.provide(connect({ protocol, ...fast }))))

    test(
      "PUBSUB-001 PUBSUB-002 PUBSUB-039 CLIENT-024 subscribes to channels and gets their messages",
      Effect.gen(function* () {
        const ear = yield* listen(Redis.subscribe(["foo", "bar"]))
        assert.deepStrictEqual(yield* take(ear, 1), ["Subscribed foo bar"])
        assert.deepStrictEqual((yield* known).channels, ["bar", "foo"])
        assert.strictEqual(yield* Redis.publish("foo", "hello"), 1)
        assert.strictEqual(yield* Redis.publish("bar", "world"), 1)
        assert.deepStrictEqual(yield* take(ear, 2), ["foo: hello", "bar: world"])
      })
    )

    test(
      "PUBSUB-003 PUBSUB-004 PUBSUB-013 the end of a subscription unsubscribes, and leaves others alone",
      Effect.gen(function* () {
        const foo = yield* listenLive(Redis.subscribe("foo"))
        const bar = yield* listenLive(Redis.subscribe("bar"))
        yield* foo.stop
        yield* awaitKnown(["bar"])
        assert.strictEqual(yield* Redis.publish("foo", "1"), 0)
        assert.strictEqual(yield* Redis.publish("bar", "2"), 1)
        assert.deepStrictEqual(yield* take(bar, 1), ["bar: 2"])
        assert.deepStrictEqual(yield* bar.rest, [])
        assert.deepStrictEqual(yield* foo.rest, [])
        yield* bar.stop
        yield* awaitKnown([])
      })
    )

    test(
      "PUBSUB-005 PUBSUB-006 PUBSUB-007 PUBSUB-040 CLIENT-026 subscribes to patterns",
      Effect.gen(function* () {
        const ear = yield* listen(Redis.psubscribe(["foo*", "ba?"]))
        assert.deepStrictEqual(yield* take(ear, 1), ["Subscribed foo* ba?"])
        for (const channel of ["foo_1", "foo_2", "bar", "barfoo"]) yield* Redis.publish(channel, channel)
        assert.deepStrictEqual(yield* take(ear, 3), ["foo* foo_1: foo_1", "foo* foo_2: foo_2", "ba? bar: bar"])
        const other = yield* listenLive(Redis.psubscribe("ba?"))
        yield* ear.stop
        yield* awaitKnown([], 1)
        yield* Redis.publish("foo_x", "1")
        yield* Redis.publish("baz", "2")
        assert.deepStrictEqual(yield* take(other, 1), ["ba? baz: 2"])
        assert.deepStrictEqual(yield* other.rest, [])
      })
    )

    test(
      "PUBSUB-008 PUBSUB-009 PUBSUB-047 two subscribers of one channel are one on the server",
      Effect.gen(function* () {
        const a = yield* listenLive(Redis.subscribe("foo"))
        const b = yield* listenLive(Redis.subscribe("foo"))
        assert.strictEqual(yield* Redis.publish("foo", "hello"), 1)
        assert.deepStrictEqual(yield* take(a, 1), ["foo: hello"])
        assert.deepStrictEqual(yield* take(b, 1), ["foo: hello"])
        yield* a.stop
        assert.strictEqual(yield* Redis.publish("foo", "again"), 1)
        assert.deepStrictEqual(yield* take(b, 1), ["foo: again"])
        assert.deepStrictEqual(yield* b.rest, [])
      })
    )

    test(
      "PUBSUB-011 the last subscriber leaves and a new one comes at once",
      Effect.gen(function* () {
        for (let round = 0; round < 20; round++) {
          const old = yield* listenLive(Redis.subscribe("foo"))
          yield* old.stop
          const next = yield* listenLive(Redis.subscribe("foo"))
          assert.strictEqual(yield* Redis.publish("foo", round), 1)
          assert.deepStrictEqual(yield* take(next, 1), [`foo: ${round}`])
          yield* next.stop
        }
      })
    )

    test(
      "PUBSUB-016 PUBSUB-017 a lost connection is a gap, then all is subscribed again",
      Effect.gen(function* () {
        const chan = yield* listenLive(Redis.subscribe("chan"))
        const pat = yield* listenLive(Redis.psubscribe("pat_*"))
        yield* Redis.publish("chan", "before")
        yield* killSubscribers
        assert.deepStrictEqual(yield* take(chan, 3), ["chan: before", "Gap disconnected", "Resubscribed chan"])
        assert.deepStrictEqual(yield* take(pat, 2), ["Gap disconnected", "Resubscribed pat_*"])
        yield* Redis.publish("chan", "1")
        yield* Redis.publish("pat_x", "2")
        assert.deepStrictEqual(yield* take(chan, 1), ["chan: 1"])
        assert.deepStrictEqual(yield* take(pat, 1), ["pat_* pat_x: 2"])
      })
    )

    test(
      "takes names and payloads that are not UTF-8",
      Effect.gen(function* () {
        const name = Uint8Array.of(0xff, 0x00, 0x0d, 0x0a)
        const ear = yield* listenLive(Redis.subscribe([name, "text"], { decode: "bytes" }))
        yield* Redis.publish(name, Uint8Array.of(0xfe, 0x01))
        yield* Redis.publish("text", "ä")
        assert.deepStrictEqual(yield* take(ear, 2), ["<255 0 13 10>: <254 1>", "text: <195 164>"])
        const texts = yield* listenLive(Redis.subscribe("text"))
        yield* Redis.publish("text", "ä")
        assert.deepStrictEqual(yield* take(texts, 1), ["text: ä"])
        yield* Redis.publish("text", Uint8Array.of(0xfe))
        assert.include(String(yield* texts.ended), 'decode: "bytes"')
      })
    )

    test(
      "sharded channels are apart from the others",
      Effect.gen(function* () {
        const plain = yield* listenLive(Redis.subscribe("foo"))
        const shard = yield* listenLive(Redis.ssubscribe("foo"))
        yield* Redis.publish("foo", "plain")
        yield* Redis.spublish("foo", "sharded")
        assert.deepStrictEqual(yield* take(plain, 1), ["foo: plain"])
        assert.deepStrictEqual(yield* take(shard, 1), ["foo: sharded"])
        yield* killSubscribers
        assert.deepStrictEqual(yield* take(shard, 2), ["Gap disconnected", "Resubscribed foo"])
        yield* Redis.spublish("foo", "again")
        assert.deepStrictEqual(yield* take(shard, 1), ["foo: again"])
      })
    )

    test(
      "a subscriber subscribes, publishes and stops inside of its own handler",
      Effect.gen(function* () {
        const inner = yield* Redis.messages(Redis.subscribe("outer")).pipe(
          Stream.take(1),
          Stream.mapEffect(({ payload }) =>
            Effect.gen(function* () {
              const ear = yield* listenLive(Redis.subscribe("inner"))
              yield* Redis.publish("inner", `${payload} inside`)
              const told = yield* take(ear, 1)
              yield* ear.stop
              return told
            })
          ),
          Stream.runCollect,
          Effect.forkScoped({ startImmediately: true })
        )
        yield* awaitKnown(["outer"])
        yield* Redis.publish("outer", "hello")
        const [told] = yield* Fiber.join(inner)
        assert.deepStrictEqual(told, ["inner: hello inside"])
        yield* awaitKnown([])
      })
    )
  })
}
