/**
 * Typed commands on a real server, in both protocols: alone and with options, in pipelines and transactions, on leases.
 */
import { assert, describe, it } from "@effect/vitest"
import { Command, Redis, type RedisError, type RedisOptions, RedisService, Resp } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { inspect } from "node:util"
import { Commands } from "../src/index.ts"

const redis = (protocol: RedisOptions.Options["protocol"]) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, protocol })))

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

for (const protocol of [2, 3] as const) {
  describe(`in RESP${protocol}`, () => {
    it.layer(redis(protocol).pipe(Layer.provideMerge(RedisServer.layer())), { excludeTestServices: true })((it) => {
      it.effect("run alone, and give what they mean", () =>
        Effect.gen(function* () {
          yield* Commands.flushall()
          assert.strictEqual(yield* Commands.set("k", "v", { ex: 100, nx: true }), "OK")
          assert.strictEqual(yield* Commands.set("k", "w", { nx: true }), null)
          assert.strictEqual(yield* Commands.set("k", "w", { get: true }), "v")
          yield* Commands.hset("h", { "1": 2 })
          yield* Commands.hset("h", [
            ["__proto__", "p"],
            ["constructor", "c"]
          ])
          const hash = yield* Commands.hgetall("h")
          assert.deepStrictEqual(Object.entries(hash).toSorted(), [
            ["1", "2"],
            ["__proto__", "p"],
            ["constructor", "c"]
          ])
          yield* Commands.zadd("z", [
            [1.5, "a"],
            [Infinity, "b"]
          ])
          assert.deepStrictEqual(yield* Commands.zrange("z", 0, -1, { withScores: true }), [
            ["a", 1.5],
            ["b", Infinity]
          ])
          yield* Commands.sadd("s", ["x", "y"])
          assert.deepStrictEqual(yield* Commands.smembers("s"), new Set(["x", "y"]))
          yield* Commands.xadd("e", "1-1", [
            ["f", "1"],
            ["g", "2"],
            ["f", "3"]
          ])
          assert.deepStrictEqual(yield* Commands.xrange("e", "-", "+", { pairs: true }), [
            [
              "1-1",
              [
                ["f", "1"],
                ["g", "2"],
                ["f", "3"]
              ]
            ]
          ])
          const [[id, fields]] = yield* Commands.xrange("e", "-", "+")
          assert.deepStrictEqual([id, { ...fields }], ["1-1", { f: "3", g: "2" }])
          assert.strictEqual(yield* Commands.blpop("missing", 0.01), null)
        })
      )

      it.effect("give bytes, and what a schema makes of them", () =>
        Effect.gen(function* () {
          yield* Commands.set("n", 41)
          const bytes = yield* Redis.command(Commands.get("n"), { decode: "bytes" })
          assert.deepStrictEqual(bytes, new Uint8Array(Buffer.from("41")))
          const schema = Schema.NullOr(Schema.FiniteFromString)
          assert.strictEqual(yield* Redis.command(Commands.get("n"), { schema }), 41)
          const reason = yield* reasonOf(Redis.command(Commands.echo("no"), { schema: Schema.FiniteFromString }))
          assert.strictEqual(reason._tag, "DecodeError")
        })
      )

      it.effect("stand beside arrays in pipelines and transactions, each for itself", () =>
        Effect.gen(function* () {
          yield* Commands.set("text", "t")
          const [text, wrong, raw, huge] = yield* Redis.pipeline([
            Commands.get("text"),
            Commands.incr("text"),
            ["ECHO", "raw"],
            Commands.incrby("huge", 2n ** 60n)
          ])
          assert.strictEqual(text, "t")
          assert.instanceOf(wrong, Resp.ReplyError)
          assert.strictEqual(raw, "raw")
          assert.instanceOf(huge, Resp.DecodeError)
          assert.include(String(huge), "Command.asBigInt")
          const [members, exact] = yield* Redis.transaction([
            Commands.zrange("z", 0, 0, { withScores: true }),
            Command.asBigInt(Commands.incr("huge"))
          ])
          assert.deepStrictEqual(members, [["a", 1.5]])
          assert.strictEqual(exact, 2n ** 60n + 1n)
          const inBytes = yield* Redis.pipeline([Commands.get("text")], { decode: "bytes" })
          assert.deepStrictEqual(inBytes, [new Uint8Array(Buffer.from("t"))])
          yield* Redis.noreply([Commands.set("text", "u"), ["APPEND", "text", "v"]])
          assert.strictEqual(yield* Commands.get("text"), "uv")
        })
      )

      it.effect("run in a watched transaction, and on a lease", () =>
        Effect.gen(function* () {
          yield* Commands.set("n", 20)
          const doubled = Effect.map(
            Commands.get("n"),
            (n) => [Commands.set("n", Number(n) * 2), Commands.get("n")] as const
          )
          assert.deepStrictEqual(yield* Redis.watch(["n"], doubled), ["OK", "40"])
          const size = Effect.gen(function* () {
            const run = Command.on(yield* Redis.lease)
            yield* run(Commands.select(3))
            yield* run(Commands.flushdb())
            yield* run(Commands.set("only", 1))
            return [yield* run(Commands.dbsize()), yield* run(Commands.get("only"), { decode: "bytes" })] as const
          })
          assert.deepStrictEqual(yield* Effect.scoped(size), [1, new Uint8Array(Buffer.from("1"))])
        })
      )

      it.effect("send nothing when an argument is wrong", () =>
        Effect.gen(function* () {
          yield* Commands.set("there", 1)
          const wrong = Commands.del([])
          assert.strictEqual((yield* reasonOf(wrong))._tag, "RedisArgumentError")
          const piped = yield* reasonOf(Redis.pipeline([Commands.del("there"), wrong]))
          assert.include(piped.message, "`keys` must not be empty")
          assert.strictEqual(
            (yield* reasonOf(Redis.noreply([Commands.del("there"), wrong])))._tag,
            "RedisArgumentError"
          )
          assert.strictEqual((yield* reasonOf(Command.on(yield* RedisService)(wrong)))._tag, "RedisArgumentError")
          assert.strictEqual(yield* Commands.exists("there"), 1)
        })
      )

      it.effect("stand beside scripts with types of their own", () =>
        Effect.gen(function* () {
          const spend = Redis.script(
            `local left = redis.call("DECRBY", KEYS[1], ARGV[1])
             if left < 0 then redis.call("INCRBY", KEYS[1], ARGV[1]) return false end
             redis.call("RPUSH", KEYS[2], ARGV[1])
             return left`,
            { keys: ["balance", "ledger"], arguments: Schema.Tuple([Schema.Int]), reply: Schema.NullOr(Schema.Int) }
          )
          const keys = { ledger: "ledger", balance: "balance" }
          yield* Commands.set("balance", 30)
          assert.strictEqual(yield* spend(keys, [25]), 5)
          assert.strictEqual(yield* spend(keys, [25]), null)
          assert.deepStrictEqual(yield* Commands.lrange("ledger", 0, -1), ["25"])
          assert.strictEqual((yield* reasonOf(spend(keys, [0.5])))._tag, "RedisArgumentError")
          const text = Redis.script("return 'secret'", { keys: [], arguments: Schema.Tuple([]), reply: Schema.Int })
          assert.strictEqual((yield* reasonOf(text({}, [])))._tag, "DecodeError")
        })
      )

      it.effect("come from a definition of one's own", () =>
        Effect.gen(function* () {
          const setLength = Command.define({
            name: ["SETRANGE"],
            arguments: Schema.Tuple([Schema.String, Schema.Int, Schema.String]),
            reply: Schema.Int
          })
          assert.strictEqual(yield* setLength("own", 2, "ab"), 4)
          assert.deepStrictEqual(yield* Redis.pipeline([setLength("own", 0, "x"), Commands.strlen("own")]), [4, 4])
          assert.strictEqual((yield* reasonOf(setLength("own", 0.5, "x")))._tag, "RedisArgumentError")
          const misread = Command.define({ name: ["GET"], arguments: Schema.Tuple([Schema.String]), reply: Schema.Int })
          const reason = yield* reasonOf(misread("own"))
          assert.strictEqual(reason._tag, "DecodeError")
          assert.include(reason.message, "GET")
          assert.notInclude(reason.message, "ab")
          yield* Commands.hset("user", { name: "Ada", age: 36 })
          const user = Command.define({
            name: ["HGETALL"],
            arguments: Schema.Tuple([Schema.String]),
            reply: Schema.Struct({ name: Schema.String, age: Schema.FiniteFromString })
          })
          assert.deepStrictEqual(yield* Redis.pipeline([user("user")]), [{ name: "Ada", age: 36 }])
        })
      )
    })
  })
}

describe("a command", () => {
  it("does not show its arguments", () => {
    const command = Commands.set("key", "secret", { nx: true })
    assert.notInclude(inspect(command), "secret")
    assert.notInclude(JSON.stringify(command), "secret")
    assert.notInclude(String(command), "secret")
    assert.isTrue(Command.isCommand(command))
    assert.isFalse(Command.isCommand(["GET", "k"]))
  })

  it.effect("fails as a DecodeError of its own when the reply is another", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provideService(Commands.hgetall("h"), RedisService, stub))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "HGETALL")
    })
  )
})

const stub: Redis.Service = {
  command: () => Effect.succeed(17),
  pipeline: () => Effect.succeed([]),
  transaction: () => Effect.succeed([]),
  noreply: () => Effect.void,
  lease: () => Effect.never,
  subscribe: () => Stream.never,
  timeoutMillis: 1000,
  status: Effect.never,
  events: Stream.never
}
