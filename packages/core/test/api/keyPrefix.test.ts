import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type Resp } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { Prefix } from "../../src/internal/service/keyPrefix.ts"

class Cache extends Redis.Tag<Cache>()("test/Cache") {}

const layers = Layer.unwrap(
  Effect.map(RedisServer.RedisServer, ({ url }) =>
    Layer.merge(Redis.layer({ url }), Cache.layer({ url, keyPrefix: "app[1]:" }))
  )
).pipe(Layer.provideMerge(RedisServer.layer()))

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("keyPrefix", () => {
  it.layer(layers, { excludeTestServices: true })((it) => {
    it.effect("goes before all keys, and is taken off again", () =>
      Effect.gen(function* () {
        yield* Redis.command(["SET", "app1:other", "not mine"])
        yield* Cache.command(["MSET", "a", 1, "b", 2])
        yield* Cache.pipeline([
          ["RPUSH", "l", "x", "y"],
          ["XADD", new Uint8Array(Buffer.from("s")), "1-1", "f", "v"]
        ])
        yield* Cache.transaction([["ZADD", "z", 1, "m"]])
        yield* Cache.noreply([["SADD", "set", "m"]])
        const keys = yield* Redis.command(["KEYS", "app\\[1\\]:*"])
        assert.sameMembers(
          Array.isArray(keys) ? [...keys] : [],
          ["a", "b", "l", "s", "set", "z"].map((key) => `app[1]:${key}`)
        )

        const own = ["a", "b", "l", "s", "set", "z"]
        assert.sameMembers(yield* Stream.runCollect(Cache.scan()), own)
        assert.sameMembers(yield* Stream.runCollect(Cache.scan({ match: "s*", count: 1 })), ["s", "set"])
        const bytes = yield* Stream.runCollect(Cache.scan({ decode: "bytes", match: "a" }))
        assert.deepStrictEqual(
          bytes.map((key) => Buffer.from(key).toString()),
          ["a"]
        )
        const found = yield* Cache.command(["KEYS", "[ab]"])
        assert.sameMembers(Array.isArray(found) ? [...found] : [], ["a", "b"])
        assert.deepStrictEqual(yield* Cache.command(["BLPOP", "none", "l", 1]), ["l", "x"])
        assert.deepStrictEqual(yield* Cache.command(["LMPOP", 1, "l", "LEFT"]), ["l", ["y"]])
        const read = yield* Cache.command(["XREAD", "STREAMS", "s", "0"])
        assert.deepStrictEqual(read instanceof Map ? [...read.keys()] : [], ["s"])
        const popped = yield* Cache.pipeline([["BZPOPMIN", "z", 0.1]])
        assert.deepStrictEqual(popped, [["z", "m", 1]])
        assert.strictEqual(yield* Cache.script("return redis.call('GET', KEYS[1])")(["a"]), "1")
      })
    )

    it.effect("holds in SORT, on leases and in watched transactions", () =>
      Effect.gen(function* () {
        yield* Cache.pipeline([
          ["RPUSH", "ids", 1, 2],
          ["MSET", "w_1", 9, "w_2", 3, "n_1", "one", "n_2", "two"]
        ])
        assert.deepStrictEqual(yield* Cache.command(["SORT", "ids", "BY", "w_*", "GET", "n_*", "GET", "#"]), [
          "two",
          "2",
          "one",
          "1"
        ])
        yield* Cache.command(["SORT", "ids", "BY", "nosort", "STORE", "sorted"])
        assert.strictEqual(yield* Redis.command(["EXISTS", "app[1]:sorted"]), 1)
        const swapped = Cache.watch(
          ["w_1"],
          Effect.succeed([
            ["SET", "w_1", 4],
            ["GET", "w_1"]
          ] as const)
        )
        assert.deepStrictEqual(yield* swapped, ["OK", "4"])
        const leased = Effect.flatMap(Cache.lease, (lease) => lease.command(["GET", "w_1"]))
        assert.strictEqual(yield* Effect.scoped(leased), "4")
        assert.strictEqual(yield* Redis.command(["GET", "app[1]:w_1"]), "4")
      })
    )

    it.effect("refuses what it cannot be right for, and sends nothing of it", () =>
      Effect.gen(function* () {
        const wrong: ReadonlyArray<Resp.Command> = [
          ["RANDOMKEY"],
          ["FT.SEARCH", "i", "q"],
          ["MY.COMMAND", "secret"],
          ["TS.MRANGE", "-", "+", "FILTER", "a=b"]
        ]
        for (const command of wrong) {
          const reason = yield* reasonOf(Cache.command(command))
          assert.strictEqual(reason._tag, "RedisArgumentError")
          assert.include(reason.message, "keyPrefix")
          assert.notInclude(reason.message, "secret")
        }
        const piped = yield* reasonOf(Cache.pipeline([["SET", "piped", 1], ["RANDOMKEY"]]))
        assert.strictEqual(piped._tag, "RedisArgumentError")
        assert.strictEqual(yield* Cache.command(["EXISTS", "piped"]), 0)
        assert.strictEqual(yield* Cache.command(["PING"]), "PONG")
        assert.strictEqual((yield* reasonOf(Cache.command([])))._tag, "RedisArgumentError")
      })
    )
  })

  it("refuses patterns of SORT that an asterisk of its own would change", () => {
    const prefix = new Prefix("a*b:")
    assert.isTrue("reason" in prefix.command(["SORT", "l", "BY", "w_*"]))
    assert.deepStrictEqual(prefix.command(["SORT", "l", "BY", "nosort"]), ["SORT", "a*b:l", "BY", "nosort"])
    assert.deepStrictEqual(prefix.command(["KEYS", "*"]), ["KEYS", "a\\*b:*"])
  })

  it("puts a prefix before exactly the keys that another client finds", () => {
    const prefix = new Prefix("p:")
    const file = new URL("../../../commands/test/fixtures/peer-replies.jsonl", import.meta.url)
    const records = readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
    const wrong = records.flatMap((line) => {
      const { id, wire, keys } = JSON.parse(line)
      const made = prefix.command(wire)
      // Patterns are tested above. A channel is no key, and the other client forgets that of FT.SUGLEN.
      if ("reason" in made || /^(KEYS|SCAN|SORT|SORT_RO|SPUBLISH|FT.SUGLEN)$/.test(wire[0])) return []
      const found = made.filter((word, index) => word !== wire[index]).map((word) => String(word).slice(2))
      return JSON.stringify(found) === JSON.stringify(keys)
        ? []
        : [`${id}: ${JSON.stringify(wire)}: ${JSON.stringify(found)}`]
    })
    assert.deepStrictEqual(wrong, [])
  })
})
