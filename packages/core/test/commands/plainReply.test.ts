/** Replies as plain data, compared with those of node-redis on the same server, over both protocols. */
import { PlainReply, Redis } from "@relive/core"
import { RedisServer } from "@relive/testing"
import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createClient } from "redis"

const data = [
  ["HSET", "hash", "name", "Ada", "born", "1815"],
  ["SET", "text", "Grüße"],
  ["SET", "number", "9007199254740993"],
  ["SADD", "set", "only"],
  ["RPUSH", "list", "a", "b"],
  ["ZADD", "zset", "1.5", "a", "inf", "b", "-inf", "c", "3", "d", "4", "e", "5", "f", "6", "g"],
  ["ZADD", "other", "1", "a"],
  ["XADD", "stream", "1-1", "f", "v"],
  ["XADD", "stream", "2-1", "g", "w", "h", "x"],
  ["XGROUP", "CREATE", "stream", "group", "0"],
  ["XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "stream", ">"],
  ["GEOADD", "geo", "13.361389", "38.115556", "Palermo"],
  ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"]
]

/** Those whose replies differ between the protocols, and those of every kind that do not. */
const questions = [
  ["HGETALL", "hash"],
  ["hgetall", "nothing"],
  ["CONFIG", "GET", "maxmemory*"],
  ["config", "get", "no-such-thing"],
  ["XREAD", "STREAMS", "stream", "0"],
  ["XREAD", "COUNT", "1", "STREAMS", "stream", "$"],
  ["XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", "0"],
  ["XRANGE", "stream", "-", "+"],
  ["XINFO", "GROUPS", "stream"],
  ["XINFO", "STREAM", "stream"],
  ["HRANDFIELD", "hash", "0", "WITHVALUES"],
  ["HRANDFIELD", "hash", "0"],
  ["ZSCORE", "zset", "a"],
  ["ZSCORE", "zset", "b"],
  ["ZSCORE", "zset", "nothing"],
  ["ZMSCORE", "zset", "a", "nothing", "c"],
  ["ZRANGE", "zset", "0", "-1"],
  ["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
  ["ZRANGE", "nothing", "0", "-1", "WITHSCORES"],
  ["ZREVRANGE", "zset", "0", "1", "withscores"],
  ["ZRANGEBYSCORE", "zset", "-inf", "inf", "WITHSCORES"],
  ["ZREVRANGEBYSCORE", "zset", "inf", "-inf", "WITHSCORES", "LIMIT", "0", "1"],
  ["ZUNION", "2", "zset", "other", "WITHSCORES"],
  ["ZINTER", "2", "zset", "other", "WITHSCORES"],
  ["ZDIFF", "2", "zset", "other", "WITHSCORES"],
  ["ZRANDMEMBER", "other", "-2", "WITHSCORES"],
  ["ZRANK", "zset", "a"],
  ["ZSCAN", "zset", "0"],
  ["ZINCRBY", "zset", "0", "a"],
  ["ZADD", "zset", "INCR", "0", "a"],
  ["ZADD", "zset", "1.5", "a"],
  ["ZPOPMIN", "nothing"],
  ["ZPOPMIN", "nothing", "2"],
  ["ZMPOP", "1", "nothing", "MIN"],
  ["BZPOPMIN", "nothing", "0.01"],
  ["GEOPOS", "geo", "Palermo", "nothing"],
  ["GEODIST", "geo", "Palermo", "Palermo"],
  ["GEOSEARCH", "geo", "FROMLONLAT", "13", "38", "BYRADIUS", "200", "km", "WITHCOORD", "WITHDIST"],
  ["LCS", "text", "number", "IDX"],
  ["SMEMBERS", "set"],
  ["SMISMEMBER", "set", "only", "nothing"],
  ["SINTER", "set", "set"],
  ["INCRBY", "number", "0"],
  ["INCRBYFLOAT", "number", "0"],
  ["GET", "text"],
  ["GET", "nothing"],
  ["MGET", "text", "nothing"],
  ["LRANGE", "list", "0", "-1"],
  ["PING"],
  ["SET", "text", "Grüße", "XX"],
  ["COMMAND", "DOCS", "GET", "SET"],
  ["COMMAND", "COUNT"],
  ["ACL", "GETUSER", "default"],
  ["CLIENT", "TRACKINGINFO"],
  ["FUNCTION", "LIST"],
  ["FUNCTION", "STATS"],
  ["MODULE", "LIST"],
  ["PUBSUB", "NUMSUB", "channel"],
  ["EVAL", "return {1, 'two', {3, redis.call('HGETALL', KEYS[1])}}", "1", "hash"]
]

/** Taken away by whoever asks. */
const once = [
  ["ZPOPMIN", "popped"],
  ["ZPOPMAX", "popped", "2"],
  ["ZMPOP", "1", "popped", "MIN", "COUNT", "2"],
  ["BZPOPMAX", "popped", "1"],
  ["BZMPOP", "1", "1", "popped", "MAX"],
  ["HRANDFIELD", "single", "-2", "WITHVALUES"]
]

const prepared = [
  ["DEL", "popped", "single"],
  ["ZADD", "popped", "1", "a", "2.5", "b", "3", "c"],
  ["HSET", "single", "field", "value"]
]

/** Two milliseconds apart they differ. */
const withoutTime = (reply: unknown): unknown =>
  JSON.parse(
    JSON.stringify(reply, (key, value: unknown) => {
      if (key === "idle" || key === "inactive") return 0
      if (typeof value === "number" && !Number.isFinite(value)) return String(value)
      return value
    })
  )

layer(RedisServer.layer(), { excludeTestServices: true })("PlainReply", (it) => {
  for (const protocol of [2, 3] as const) {
    it.effect(`gives what node-redis gives, over RESP${protocol}`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        yield* server.command(["FLUSHALL"])
        yield* server.commands(data)
        const client = yield* Effect.acquireRelease(
          Effect.promise(() => createClient({ url: server.url, RESP: 3 }).connect()),
          (client) => Effect.sync(() => client.destroy())
        )
        const theirs = (command: Array<string>) => Effect.promise(() => client.sendCommand(command))
        const ours = (command: Array<string>) =>
          Effect.map(Redis.command(command), (reply) => PlainReply.fromReply(command, reply))
        yield* Effect.gen(function* () {
          for (const command of questions) {
            assert.deepStrictEqual(
              withoutTime(yield* ours(command)),
              withoutTime(yield* theirs(command)),
              command.join(" ")
            )
          }
          for (const command of once) {
            yield* server.commands(prepared)
            const expected = yield* theirs(command)
            yield* server.commands(prepared)
            assert.deepStrictEqual(yield* ours(command), expected as never, command.join(" "))
          }
        }).pipe(Effect.provide(Redis.layer({ url: server.url, protocol })))
      })
    )
  }
})

describe("PlainReply.plain", () => {
  it("turns every kind of aggregate, at any depth", () => {
    const reply = new Map<string, Redis.PipelineReply>([["__proto__", new Set([1n, new Map([[1, "one"]])])]]) as never
    const plain = PlainReply.plain(reply)
    assert.strictEqual(JSON.stringify(plain), '{"__proto__":[1,{"1":"one"}]}')
  })

  it("keeps a number that no integer reply can be", () => {
    assert.strictEqual(PlainReply.plain(2n ** 63n), 2n ** 63n)
    assert.strictEqual(PlainReply.plain(2n ** 63n - 1n), Number(2n ** 63n))
  })
})
