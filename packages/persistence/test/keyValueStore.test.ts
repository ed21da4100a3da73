/** Effect's KeyValueStore on Redis: PS-20, and what its own suite asks of every store, in our words. */
import { RedisService } from "@relive/core"
import type { Resp } from "@relive/core"
import type { CallOptions, Service } from "@relive/core/RedisService"
import { RedisKeyValueStore, RedisPersistence } from "@relive/persistence"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { KeyValueStore, Persistable, Persistence } from "effect/persistence"
import * as Schema from "effect/Schema"
import { ask, withServer } from "./support.ts"

const store = KeyValueStore.KeyValueStore

const live = (options: RedisKeyValueStore.Options = { prefix: "kv[*]:" }) =>
  Layer.provideMerge(RedisKeyValueStore.layer(options), withServer({ timeout: "2 seconds" }))

const bytes = (...values: ReadonlyArray<number>) => Uint8Array.from(values)

describe("RedisKeyValueStore", () => {
  it.live("PS-20 keeps, counts, lists and removes entries", () =>
    Effect.gen(function* () {
      const kv = yield* store
      assert.isTrue(yield* kv.isEmpty)
      assert.strictEqual(yield* kv.get("a"), undefined)
      yield* kv.set("a", "1")
      yield* kv.set("a", "2")
      yield* kv.set("b", "")
      assert.strictEqual(yield* kv.get("a"), "2")
      assert.strictEqual(yield* kv.get("b"), "")
      assert.strictEqual(yield* kv.size, 2)
      assert.isFalse(yield* kv.isEmpty)
      assert.isTrue(yield* kv.has("b"))
      assert.deepStrictEqual([...(yield* kv.keys)].sort(), ["a", "b"])
      yield* kv.remove("a")
      assert.isFalse(yield* kv.has("a"))
      assert.strictEqual(yield* kv.size, 1)
      yield* kv.clear
      assert.strictEqual(yield* kv.size, 0)
    }).pipe(Effect.provide(live()))
  )

  it.live("PS-20 keeps bytes as bytes, and texts as texts, whatever they look like", () =>
    Effect.gen(function* () {
      const kv = yield* store
      const binary = bytes(0, 255, 128, 10)
      yield* kv.set("binary", binary)
      assert.deepStrictEqual(yield* kv.getUint8Array("binary"), binary)
      assert.strictEqual(yield* kv.get("binary"), "AP+ACg==")
      assert.strictEqual(yield* ask("STRLEN", "kv[*]:binary"), 4)
      yield* kv.set("like base64", "AP+ACg==")
      assert.strictEqual(yield* kv.get("like base64"), "AP+ACg==")
      assert.deepStrictEqual(yield* kv.getUint8Array("like base64"), new TextEncoder().encode("AP+ACg=="))
      yield* kv.set("text", "Grüße \u{1f600}\ufeff")
      assert.strictEqual(yield* kv.get("text"), "Grüße \u{1f600}\ufeff")
      yield* kv.set("mark", "\ufeffmark")
      assert.strictEqual(yield* kv.get("mark"), "\ufeffmark")
    }).pipe(Effect.provide(live()))
  )

  it.live("PS-20 loses no change when many make one, and leaves the time to live as it is", () =>
    Effect.gen(function* () {
      const kv = yield* store
      yield* kv.set("n", "0")
      yield* Effect.forEach(Array.from({ length: 20 }), () => kv.modify("n", (n) => String(Number(n) + 1)), {
        concurrency: "unbounded"
      })
      assert.strictEqual(yield* kv.get("n"), "20")
      yield* ask("PEXPIRE", "kv[*]:n", "50000")
      assert.strictEqual(yield* kv.modify("n", (n) => `${n}!`), "20!")
      const left = Number(yield* ask("PTTL", "kv[*]:n"))
      assert.ok(left > 40_000 && left <= 50_000)
      assert.deepStrictEqual(yield* kv.modifyUint8Array("n", (n) => n.slice(0, 1)), bytes(50))
      assert.strictEqual(yield* kv.modify("nothing", () => "x"), undefined)
      assert.isFalse(yield* kv.has("nothing"))
    }).pipe(Effect.provide(live()))
  )

  it.live("gives up a change that others undo all the time, and has written nothing", () =>
    Effect.gen(function* () {
      const service = yield* RedisService
      let turn = 0
      const contended: Service = Object.create(service, {
        command: {
          value: (command: Resp.Command, options: CallOptions) =>
            Effect.tap(service.command(command, options), () =>
              Effect.when(
                Effect.suspend(() => service.command(["SET", "n", `other ${turn++}`])),
                Effect.sync(() => command[0] === "GET")
              )
            )
        }
      })
      const kv = RedisKeyValueStore.make(contended, { prefix: "" })
      yield* kv.set("n", "0")
      const error = yield* Effect.flip(kv.modify("n", (n) => `${n} changed`))
      assert.match(error.message, /changed by others/)
      assert.match(String(yield* kv.get("n")), /^other/)
      assert.isAbove(turn, 5)
    }).pipe(Effect.provide(withServer({ timeout: "300 millis" })))
  )

  it.live("PS-20 touches nothing of another prefix, and forgets by its own time", () =>
    Effect.gen(function* () {
      const kv = yield* store
      yield* ask("SET", "kv[*]", "another")
      yield* ask("SET", "kv*:x", "another")
      yield* kv.set("one:a", "1")
      yield* kv.set("one:b", "1")
      yield* kv.set("two:a", "1")
      assert.ok(Number(yield* ask("PTTL", "kv[*]:one:a")) > 50_000)
      yield* kv.clearPrefix("one:")
      assert.deepStrictEqual(yield* kv.keys, ["two:a"])
      yield* kv.clear
      assert.strictEqual(yield* ask("DBSIZE"), 2)
    }).pipe(Effect.provide(live({ prefix: "kv[*]:", timeToLive: "1 minute" })))
  )

  it.live("fails with its own error, Relive's as the cause, and names no key", () =>
    Effect.gen(function* () {
      const kv = yield* store
      yield* ask("LPUSH", "kv[*]:secret", "secret")
      const error = yield* Effect.flip(kv.get("secret"))
      assert.strictEqual(error._tag, "KeyValueStoreError")
      assert.strictEqual(error.method, "get")
      assert.match(error.message, /WRONGTYPE/)
      assert.strictEqual(RedisPersistence.findError(error)?.reason._tag, "ReplyError")
      assert.notMatch(`${String(error)} ${JSON.stringify(error)}`, /secret/)
    }).pipe(Effect.provide(live()))
  )

  it.live("carries Persistence.layerKvs", () =>
    Effect.gen(function* () {
      class Get extends Persistable.Class<{ payload: { readonly id: number } }>()("Get", {
        primaryKey: ({ id }) => `${id}`,
        success: Schema.Number
      }) {}
      const persisted = yield* (yield* Persistence.Persistence).make({ storeId: "s" })
      yield* persisted.set(new Get({ id: 1 }), Exit.succeed(42))
      assert.deepStrictEqual(yield* persisted.get(new Get({ id: 1 })), Exit.succeed(42))
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(Persistence.layerKvs, live())))
  )
})
