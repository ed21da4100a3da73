/** Effect's Redis on Relive: what PS-12 to PS-19, PS-21 and PS-22 ask of it, on real servers. */
import { Redis as Relive, RedisService } from "@relive/core"
import { RedisPersistence } from "@relive/persistence"
import { RedisPool } from "@relive/pool"
import { RedisServer } from "@relive/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import { toMillis } from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import { ask, awaitBlocked, clients, connected, server, withServer } from "./support.ts"

const adapted = (options: Parameters<typeof withServer>[0] = {}, adapter: RedisPersistence.Options = {}) =>
  Layer.provideMerge(RedisPersistence.layerWith(adapter), withServer(options))

const counted = Redis.script((key: string, text: unknown) => [key, text], {
  numberOfKeys: 1,
  lua: "return {redis.call('INCR', KEYS[1]), ARGV[1]}"
}).withReturnType<[number, string]>()

describe("send", () => {
  for (const protocol of [2, 3] as const) {
    it.live(`PS-16 gives node-redis's shapes over RESP${protocol}`, () =>
      Effect.gen(function* () {
        const { send } = yield* Redis.Redis
        yield* send("HSET", "h", "a", "1", "b", "2")
        yield* send("SADD", "s", "x")
        yield* send("ZADD", "z", "1.5", "m")
        yield* send("XADD", "x", "1-1", "f", "v")
        yield* send("SET", "n", "9007199254740993")
        assert.deepStrictEqual(yield* send("HGETALL", "h"), { a: "1", b: "2" })
        assert.deepStrictEqual(yield* send("hgetall", "nothing"), {})
        assert.deepStrictEqual(yield* send("CONFIG", "GET", "port"), { port: String((yield* server).port) })
        assert.deepStrictEqual(yield* send("XREAD", "STREAMS", "x", "0"), { x: [["1-1", ["f", "v"]]] })
        assert.deepStrictEqual(yield* send("SMEMBERS", "s"), ["x"])
        assert.strictEqual(yield* send("ZSCORE", "z", "m"), 1.5)
        assert.strictEqual(yield* send("GET", "nothing"), null)
        assert.strictEqual(yield* send<number>("INCR", "n"), 9007199254740994)
        assert.deepStrictEqual(yield* send("mget", "n", "nothing"), ["9007199254740994", null])
      }).pipe(Effect.provide(adapted({ protocol })))
    )
  }

  it.live("PS-13 blocks nobody, and takes nothing when it is interrupted", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      const popped = yield* Effect.forkChild(send("BLPOP", "q", "0"), { startImmediately: true })
      yield* awaitBlocked(1)
      yield* Effect.forEach(Array.from({ length: 100 }), () => send("GET", "k"), { concurrency: "unbounded" }).pipe(
        Effect.timeout("1 second")
      )
      yield* Fiber.interrupt(popped)
      yield* awaitBlocked(0)
      yield* send("RPUSH", "q", "kept")
      assert.strictEqual(yield* send("LLEN", "q"), 1)
    }).pipe(Effect.provide(adapted()))
  )

  it.live("fails with Effect's error, and Relive's whole as its cause", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      const error = yield* Effect.flip(send("HGET", "only-a-key"))
      assert.strictEqual(error._tag, "RedisError")
      assert.match(String(error.cause), /wrong number of arguments/)
      const ours = RedisPersistence.findError(error)
      assert.ok(ours !== undefined && ours.reason._tag === "ReplyError" && ours.reason.code === "ERR")
      const refused = yield* Effect.flip(send("SUBSCRIBE", "c"))
      assert.strictEqual(RedisPersistence.findError(refused)?.reason._tag, "RedisArgumentError")
      assert.strictEqual(RedisPersistence.findError(new Error("another")), undefined)
      const endless: { cause?: unknown } = {}
      endless.cause = endless
      assert.strictEqual(RedisPersistence.findError(endless), undefined)
    }).pipe(Effect.provide(adapted()))
  )

  it.live("PS-17 ends within its timeout when the server is frozen, and goes on afterwards", () =>
    Effect.gen(function* () {
      const { pause, resume } = yield* server
      const { eval: run, reserve, send } = yield* Redis.Redis
      yield* run(counted)("k", 1)
      yield* Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("PING")))
      yield* pause
      for (const call of [
        send("GET", "k"),
        run(counted)("k", 1),
        Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("PING")))
      ]) {
        const [time, error] = yield* Effect.timed(Effect.flip(call))
        assert.strictEqual(RedisPersistence.findError(error)?.reason._tag, "TimeoutError")
        assert.isBelow(toMillis(time), 2000)
      }
      yield* resume
      assert.strictEqual(yield* Effect.retry(send("PING"), { times: 20 }), "PONG")
      assert.strictEqual(
        yield* Effect.retry(Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("PING"))), { times: 20 }),
        "PONG"
      )
    }).pipe(Effect.provide(adapted({}, { timeout: "300 millis", pool: { acquireTimeout: "500 millis" } })))
  )

  it.live("does not cut a command that blocks by its own timeout", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      const popped = yield* Effect.forkChild(send("BLPOP", "q", "0"), { startImmediately: true })
      yield* awaitBlocked(1)
      yield* Effect.sleep("200 millis")
      yield* send("RPUSH", "q", "x")
      assert.deepStrictEqual(yield* Fiber.join(popped), ["q", "x"])
    }).pipe(Effect.provide(adapted({}, { timeout: "100 millis" })))
  )
})

describe("eval", () => {
  it.live("PS-12 runs once per call, whatever becomes of the server's scripts", () =>
    Effect.gen(function* () {
      const run = (yield* Redis.Redis).eval(counted)
      for (let i = 1; i <= 100; i++) {
        assert.deepStrictEqual(yield* run("runs", i), [i, String(i)])
        yield* ask("SCRIPT", "FLUSH")
      }
      const flushing = Effect.forEach(Array.from({ length: 50 }), () => ask("SCRIPT", "FLUSH"), { discard: true })
      const running = Effect.forEach(Array.from({ length: 500 }), (_, i) => run("beside", i), { concurrency: 20 })
      yield* Effect.all([flushing, running], { concurrency: "unbounded" })
      assert.strictEqual(yield* ask("GET", "beside"), "500")
    }).pipe(Effect.provide(adapted()))
  )

  it.live("makes texts of all parameters, as Effect's scripts expect it", () =>
    Effect.gen(function* () {
      const run = (yield* Redis.Redis).eval(counted)
      assert.deepStrictEqual(yield* run("k", undefined), [1, "undefined"])
      assert.deepStrictEqual(yield* run("k", 1.5), [2, "1.5"])
    }).pipe(Effect.provide(adapted()))
  )

  it.live("does not run again what failed while it ran, in words that a server would use", () =>
    Effect.gen(function* () {
      const script = Redis.script((key: string) => [key], {
        numberOfKeys: 1,
        lua: "redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT of the script itself')"
      })
      const error = yield* Effect.flip((yield* Redis.Redis).eval(script)("once"))
      assert.match(String(error.cause), /NOSCRIPT/)
      assert.strictEqual(yield* ask("GET", "once"), "1")
    }).pipe(Effect.provide(adapted()))
  )
})

describe("reserve", () => {
  it.live("PS-14 is a connection of its own: it may block long, and hold a transaction", () =>
    Effect.gen(function* () {
      const { reserve, send } = yield* Redis.Redis
      const connection = yield* reserve
      const popped = yield* Effect.forkChild(connection.send("BLPOP", "q", "0"), { startImmediately: true })
      yield* awaitBlocked(1)
      yield* Effect.sleep("6 seconds")
      yield* send("RPUSH", "q", "late")
      assert.deepStrictEqual(yield* Fiber.join(popped), ["q", "late"])
      assert.strictEqual(yield* connection.send("MULTI"), "OK")
      assert.strictEqual(yield* connection.send("INCR", "n"), "QUEUED")
      assert.deepStrictEqual(yield* connection.send("EXEC"), [1])
      assert.deepStrictEqual(yield* connection.eval(counted)("n", "x"), [2, "x"])
    }).pipe(Effect.scoped, Effect.provide(adapted()))
  )

  it.live("PS-14 fails what is in flight when its scope closes, and is not handed out again then", () =>
    Effect.gen(function* () {
      const { reserve } = yield* Redis.Redis
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(reserve, scope)
      const id = yield* connection.send("CLIENT", "ID")
      const popped = yield* Effect.forkChild(Effect.flip(connection.send("BLPOP", "q", "0")), {
        startImmediately: true
      })
      yield* awaitBlocked(1)
      const [time] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(toMillis(time), 1000)
      const error = yield* Fiber.join(popped)
      assert.strictEqual(RedisPersistence.findError(error)?.delivery, "unknown")
      const next = yield* Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("CLIENT", "ID")))
      assert.notStrictEqual(next, id)
      const again = yield* Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("CLIENT", "ID")))
      assert.strictEqual(again, next)
    }).pipe(Effect.provide(adapted()))
  )

  it.live("PS-14 waits for a free one, in order, and not longer than it may", () =>
    Effect.gen(function* () {
      const { reserve } = yield* Redis.Redis
      const scope = yield* Scope.make()
      yield* Effect.forEach(Array.from({ length: 10 }), () => Scope.provide(reserve, scope))
      const [time, error] = yield* Effect.timed(Effect.flip(Effect.scoped(reserve)))
      assert.isAtLeast(toMillis(time), 300)
      const reason = RedisPersistence.findError(error)?.reason
      assert.ok(reason?._tag === "LeaseTimeout" && reason.out === 10)
      const waiting = yield* Effect.forkChild(Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("PING"))), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(waiting), "PONG")
    }).pipe(Effect.provide(adapted({}, { pool: { maxConnections: 10, acquireTimeout: "300 millis" } })))
  )

  it.live("loses no place when whoever waits is interrupted", () =>
    Effect.gen(function* () {
      const { reserve } = yield* Redis.Redis
      const scope = yield* Scope.make()
      yield* Scope.provide(reserve, scope)
      const waiting = yield* Effect.forkChild(Effect.scoped(reserve), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.scoped(reserve)
    }).pipe(Effect.provide(adapted({}, { pool: { maxConnections: 1, acquireTimeout: "300 millis" } })))
  )
})

describe("subscribe", () => {
  const subscribers = Effect.map(ask("PUBSUB", "NUMSUB", "c0"), (counts) =>
    Array.isArray(counts) ? counts[1] : undefined
  )
  const onPubSub = Effect.map(clients, (clients) => clients.filter((client) => !/ sub=0 /.test(client)).length)

  it.live("PS-15 gives what is published from then on, on one socket for all channels, until its scope closes", () =>
    Effect.gen(function* () {
      const { subscribe } = yield* Redis.Redis
      const scope = yield* Scope.make()
      const queues = yield* Effect.forEach(
        Array.from({ length: 50 }),
        (_, i) => Scope.provide(subscribe(`c${i}`), scope),
        {
          concurrency: "unbounded"
        }
      )
      yield* Effect.forEach(queues, (_, i) => ask("PUBLISH", `c${i}`, `m${i}`))
      const messages = yield* Effect.forEach(queues, (queue) => Queue.take(queue))
      assert.deepStrictEqual(
        messages,
        Array.from({ length: 50 }, (_, i) => ({ channel: `c${i}`, message: `m${i}` }))
      )
      assert.strictEqual(yield* onPubSub, 1)
      const waiting = yield* Effect.forkChild(Queue.take(queues[0] ?? assert.fail()), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      const exit = yield* Fiber.await(waiting)
      assert.ok(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      yield* Effect.repeat(subscribers, { until: (count) => count === 0 })
    }).pipe(Effect.provide(adapted()))
  )

  it.live("PS-15 goes on after the server was away, without an error", () =>
    Effect.gen(function* () {
      const { kill, start } = yield* server
      const { subscribe } = yield* Redis.Redis
      const queue = yield* subscribe("c0")
      yield* kill
      yield* start
      yield* Effect.repeat(subscribers, { until: (count) => count === 1 })
      yield* ask("PUBLISH", "c0", "again")
      assert.deepStrictEqual(yield* Queue.take(queue), { channel: "c0", message: "again" })
    }).pipe(Effect.scoped, Effect.provide(adapted({ backoffCap: "100 millis" })))
  )

  it.live("fails through its queue: when nobody answers in time, and when the connection is closed for good", () =>
    Effect.gen(function* () {
      const { kill } = yield* server
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.provide(RedisPersistence.layerWith({ timeout: "300 millis" }), connected()),
        scope
      )
      const { subscribe } = Context.get(context, Redis.Redis)
      const good = yield* subscribe("c0")
      yield* kill
      const late = yield* Effect.flip(Effect.flatMap(subscribe("c1"), Queue.take))
      assert.strictEqual(RedisPersistence.findError(late)?.reason._tag, "TimeoutError")
      yield* Scope.close(scope, Exit.void)
      const closed = yield* Effect.flip(Queue.take(good))
      const reason = RedisPersistence.findError(closed)?.reason
      assert.ok(reason?._tag === "ConnectionError" && reason.kind === "shutdown")
    }).pipe(Effect.scoped, Effect.provide(RedisServer.layer()))
  )
})

describe("the layer", () => {
  it.live("PS-18 is built while the server is away, and calls wait for it", () =>
    Effect.gen(function* () {
      const { kill, start } = yield* server
      yield* kill
      yield* Effect.gen(function* () {
        const { send } = yield* Redis.Redis
        const pong = yield* Effect.forkChild(send("PING"), { startImmediately: true })
        yield* start
        assert.strictEqual(yield* Fiber.join(pong), "PONG")
      }).pipe(Effect.provide(Layer.provide(RedisPersistence.layer, connected())))
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("PS-18 fails at once where it is to wait for the server, and that is away", () =>
    Effect.gen(function* () {
      const away = Relive.layer({ url: "redis://127.0.0.1:1", start: "await" })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(RedisPersistence.layer, away))))
      assert.strictEqual(error.reason._tag, "ConnectionError")
    })
  )

  it.live("PS-19 closes within the deadline with a hundred commands that block, and leaves no client behind", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.provide(RedisPersistence.layer, connected({ leases: 100, closeTimeout: "1 second" })),
        scope
      )
      const blocked = yield* Effect.gen(function* () {
        const { reserve } = yield* Redis.Redis
        return yield* Effect.forEach(
          Array.from({ length: 100 }),
          () =>
            Effect.forkDetach(Effect.scoped(Effect.flatMap(reserve, ({ send }) => send("BLPOP", "q", "0"))), {
              startImmediately: true
            }),
          { concurrency: "unbounded" }
        )
      }).pipe(Effect.provide(context))
      const { subscribe } = Context.get(context, Redis.Redis)
      blocked.push(
        yield* Effect.forkDetach(
          Effect.scoped(Effect.flatMap(subscribe("c"), (queue) => Effect.asVoid(Queue.take(queue)))),
          { startImmediately: true }
        )
      )
      yield* awaitBlocked(100)
      yield* Effect.repeat(ask("PUBSUB", "NUMSUB", "c"), {
        until: (counts) => Array.isArray(counts) && counts[1] === 1
      })
      const [time] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(toMillis(time), 2500)
      for (const fiber of blocked) assert.ok(Exit.isFailure(yield* Fiber.await(fiber)))
      yield* Effect.repeat(clients, { until: (clients) => clients.length === 0 })
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("PS-21 shares the connection with the calls of Relive", () =>
    Effect.gen(function* () {
      const { reserve, send } = yield* Redis.Redis
      yield* Relive.command(["SET", "k", "v"])
      assert.strictEqual(yield* send("GET", "k"), "v")
      assert.strictEqual((yield* clients).length, 1)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* reserve
          assert.strictEqual((yield* clients).length, 2)
        })
      )
    }).pipe(Effect.provide(adapted()))
  )

  it.live("works over a pool, and over an instance of one's own", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      class Other extends Relive.Tag<Other>()("test/Other") {}
      const ping = Effect.flatMap(Redis.Redis, ({ send }) => send("PING"))
      const pool = Layer.provide(RedisPersistence.layer, RedisPool.layer({ url, size: 2 }))
      assert.strictEqual(yield* Effect.provide(ping, pool), "PONG")
      const other = Layer.provide(RedisPersistence.layerOf(Other), Other.layer({ url }))
      assert.strictEqual(yield* Effect.provide(ping, other), "PONG")
      const service = yield* Effect.provide(RedisService, Relive.layer({ url, timeout: "1 second" }))
      assert.ok(RedisPersistence.make(service).send !== undefined)
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("PS-22 shows no key, no value and no secret in what it says of failures", () =>
    Effect.gen(function* () {
      const { eval: run, send } = yield* Redis.Redis
      yield* send("SET", "secret-key", "secret-value")
      const errors = [
        yield* Effect.flip(send("LPUSH", "secret-key", "secret-value")),
        yield* Effect.flip(send("secret-command", "secret-value")),
        yield* Effect.flip(run(counted)("secret-key", "secret-value")),
        yield* Effect.flip(send("SET", "secret-key\ud800", "secret-value"))
      ]
      for (const error of errors) {
        const texts = [String(error), String(error.cause), JSON.stringify(error), error.message]
        for (const text of texts) assert.notMatch(text.replace(/secret-command/gi, ""), /secret/)
      }
    }).pipe(Effect.provide(adapted()))
  )
})
