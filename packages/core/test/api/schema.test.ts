/** Replies and schemas: what a command returns is decoded as the schema has it, over both protocols, or refused with advice. */
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Ada = { name: "Ada", born: "1815" }

class User extends Schema.Class<User>("User")({ name: Schema.String, born: Schema.NumberFromString }) {}

interface Tree {
  readonly [key: string]: string | Tree
}

const Tree: Schema.Codec<Tree> = Schema.Record(
  Schema.String,
  Schema.Union([Schema.String, Schema.suspend((): Schema.Codec<Tree> => Tree)])
)

/** Command, schema, value: for both protocols. */
const good: ReadonlyArray<readonly [command: Array<string>, schema: Schema.Codec<unknown, unknown>, value: unknown]> = [
  [["HGETALL", "h"], Schema.Record(Schema.String, Schema.String), Ada],
  [["hgetall", "h"], Schema.Struct({ name: Schema.String, born: Schema.NumberFromString }), { ...Ada, born: 1815 }],
  [["HGETALL", "h"], Schema.Struct({ name: Schema.optional(Schema.String) }), { name: "Ada" }],
  [["HGETALL", "h"], User, new User({ name: "Ada", born: 1815 })],
  [["HGETALL", "h"], Schema.ReadonlyMap(Schema.String, Schema.String), new Map(Object.entries(Ada))],
  [["HGETALL", "h"], Schema.NullOr(Schema.Record(Schema.String, Schema.String)), Ada],
  [["HGETALL", "nothing"], Schema.Record(Schema.String, Schema.String), {}],
  [["HGETALL", "h"], Tree, Ada],
  [["CONFIG", "GET", "databases"], Schema.Struct({ databases: Schema.NumberFromString }), { databases: 16 }],
  [
    ["XREAD", "STREAMS", "x", "0"],
    Schema.Record(Schema.String, Schema.Array(Schema.Tuple([Schema.String, Schema.Array(Schema.String)]))),
    { x: [["1-1", ["f", "v"]]] }
  ],
  [
    ["XREAD", "STREAMS", "x", "0"],
    Schema.ReadonlyMap(Schema.String, Schema.Array(Schema.Tuple([Schema.String, Schema.Array(Schema.String)]))),
    new Map([["x", [["1-1", ["f", "v"]]]]])
  ],
  [
    ["XINFO", "GROUPS", "x"],
    Schema.Array(Schema.Struct({ name: Schema.String, consumers: Schema.Number })),
    [{ name: "g", consumers: 0 }]
  ],
  [["SMEMBERS", "s"], Schema.Array(Schema.String), ["a"]],
  [["SMEMBERS", "s"], Schema.ReadonlySet(Schema.String), new Set(["a"])],
  [["LRANGE", "l", "0", "-1"], Schema.Array(Schema.NumberFromString), [1, 2]],
  [["LRANGE", "l", "0", "-1"], Schema.Tuple([Schema.String, Schema.NumberFromString]), ["1", 2]],
  [["GET", "nothing"], Schema.NullOr(Schema.String), null],
  [["INCRBY", "n", "0"], Schema.Int, 7]
]

/** Command, schema, what the error says. */
const bad: ReadonlyArray<readonly [command: Array<string>, schema: Schema.Codec<unknown, unknown>, advice: RegExp]> = [
  [["LRANGE", "l", "0", "-1"], Schema.Record(Schema.String, Schema.String), /an array, and no map.*Schema\.Array/],
  [["LRANGE", "l", "0", "-1"], Schema.Struct({ length: Schema.Number }), /an array, and no map/],
  [["LRANGE", "l", "0", "-1"], Schema.ReadonlyMap(Schema.String, Schema.String), /an array, and no map/],
  [["SMEMBERS", "s"], Schema.Struct({}), /use Schema\.Array/],
  [["HGETALL", "h"], Schema.Struct({ name: Schema.Number }), /Expected number/i]
]

const message = (effect: Effect.Effect<unknown, RedisError.RedisError, RedisService>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => {
    assert.ok(reason._tag === "DecodeError" && reason.reason === "schema", reason._tag)
    return reason.message
  })

const data = [
  ["HSET", "h", "name", "Ada", "born", "1815"],
  ["XADD", "x", "1-1", "f", "v"],
  ["XGROUP", "CREATE", "x", "g", "$"],
  ["SADD", "s", "a"],
  ["RPUSH", "l", "1", "2"],
  ["SET", "n", "7"]
]

layer(RedisServer.layer(), { excludeTestServices: true })("A schema", (it) => {
  for (const protocol of [2, 3] as const) {
    const connected = Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* server.command(["FLUSHALL"])
      yield* server.commands(data)
      return Redis.layer({ url: server.url, protocol })
    })

    it.effect(`gets what it has for maps, sets and arrays, over RESP${protocol}`, () =>
      Effect.gen(function* () {
        const redis = yield* connected
        yield* Effect.gen(function* () {
          for (const [command, schema, value] of good) {
            assert.deepStrictEqual(yield* Redis.command(command, { schema }), value, command.join(" "))
          }
        }).pipe(Effect.provide(redis))
      })
    )

    it.effect(`is never taken for another, and the error says which one to use, over RESP${protocol}`, () =>
      Effect.gen(function* () {
        const redis = yield* connected
        yield* Effect.gen(function* () {
          for (const [command, schema, advice] of bad) {
            assert.match(yield* message(Redis.command(command, { schema })), advice, command.join(" "))
          }
        }).pipe(Effect.provide(redis))
      })
    )
  }

  it.effect("that has no map gets none, and is told what does", () =>
    Effect.gen(function* () {
      const redis = yield* Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, protocol: 3 }))
      yield* Effect.gen(function* () {
        for (const schema of [Schema.String, Schema.Array(Schema.String), Schema.NullOr(Schema.Number)]) {
          assert.match(yield* message(Redis.command(["HGETALL", "h"], { schema })), /It is a map: use Schema\.Record/)
        }
        assert.deepStrictEqual(yield* Redis.command(["HGETALL", "h"], { schema: Schema.Unknown }), Ada)
        // A map whose keys are numbers.
        const numbers = ["EVAL", "redis.setresp(3) return {map={[1]='a'}}", 0]
        const refused = Redis.command(numbers, { schema: Schema.Record(Schema.String, Schema.String) })
        assert.match(yield* message(refused), /keys are not all texts: use Schema\.ReadonlyMap/)
        assert.deepStrictEqual(
          yield* Redis.command(numbers, { schema: Schema.ReadonlyMap(Schema.Number, Schema.String) }),
          new Map([[1, "a"]])
        )
      }).pipe(Effect.provide(redis))
    })
  )
})
