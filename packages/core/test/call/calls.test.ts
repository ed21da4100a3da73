import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import type { RedisError, RedisOptions, RedisService } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const withServer = (options: RedisOptions.Options = {}, server: RedisServer.Options = {}) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options }))).pipe(
    Layer.provideMerge(RedisServer.layer(server))
  )

const reasonOf = (effect: Effect.Effect<unknown, RedisError.RedisError, RedisService>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const clients = Effect.flatMap(RedisServer.RedisServer, (server) =>
  Effect.map(server.command(["CLIENT", "LIST"]), (list) => String(list).trim().split("\n").length - 1)
)

/** Waits until a client of the server is blocked. */
const awaitBlocked = Effect.flatMap(RedisServer.RedisServer, (server) =>
  Effect.repeat(server.command(["INFO", "clients"]), {
    until: (info) => /blocked_clients:[1-9]/.test(String(info))
  })
)

describe("a transaction", () => {
  it.live("answers the elements of EXEC, errors of running commands among them", () =>
    Effect.gen(function* () {
      const replies = yield* Redis.transaction([
        ["SET", "a", 1],
        ["INCR", "a"],
        ["LPUSH", "a", "x"],
        ["GET", "a"]
      ])
      assert.deepStrictEqual([replies[0], replies[1], replies[3]], ["OK", 2, "2"])
      const error = replies[2]
      assert.ok(typeof error === "object" && error !== null && "_tag" in error && error._tag === "ReplyError")
      assert.strictEqual(error.command, "LPUSH")
      assert.include((yield* reasonOf(Redis.transaction([]))).message, "The transaction is empty")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("is aborted, with what the server said, when a command cannot be queued", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(
        Redis.transaction([
          ["SET", "a"],
          ["SET", "b", 1]
        ])
      )
      assert.ok(reason._tag === "TransactionAborted")
      assert.strictEqual(reason.queueErrors[0]?.index, 0)
      assert.match(reason.message, /EXECABORT.*wrong number of arguments/)
      assert.strictEqual(yield* Redis.command(["GET", "b"]), null)
    }).pipe(Effect.provide(withServer()))
  )

  it.live("that the server does not enclose is an error with the replies", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(Redis.transaction([["SET", "a", 1]]))
      assert.ok(reason._tag === "ReplyError")
      assert.strictEqual(reason.delivery, "unknown")
      assert.deepStrictEqual(reason.replies, ["OK"])
      assert.strictEqual(yield* Redis.command(["GET", "a"]), "1")
    }).pipe(Effect.provide(withServer({}, { config: { "rename-command": 'MULTI ""' } })))
  )

  it.live("that cannot be ended ends the session, so that nothing is queued for others", () =>
    Effect.gen(function* () {
      const [first, second] = yield* Effect.all(
        [reasonOf(Redis.transaction([["SET", "a", 1]])), Redis.command(["GET", "a"])],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(first._tag, "TransactionAborted")
      assert.strictEqual(second, null)
      assert.strictEqual((yield* Redis.status).sessions, 2)
    }).pipe(Effect.provide(withServer({}, { config: { "rename-command": 'EXEC ""' } })))
  )
})

describe("noreply", () => {
  it.live("runs the commands and consumes one reply", () =>
    Effect.gen(function* () {
      const [, own] = yield* Effect.all(
        [
          Redis.noreply([
            ["INCR", "k"],
            ["INCR", "k"],
            ["LPUSH", "k", "x"]
          ]),
          Redis.command(["ECHO", "own"])
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(own, "own")
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "2")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("gives the surplus replies of a refusal to nobody else", () =>
    Effect.gen(function* () {
      const [refused, ...own] = yield* Effect.all(
        [
          reasonOf(
            Redis.noreply([
              ["INCR", "k"],
              ["INCR", "k"]
            ])
          ),
          Redis.command(["ECHO", "a"]),
          Redis.command(["ECHO", "b"], { decode: "bytes" })
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(own, ["a", new TextEncoder().encode("b")])
      assert.ok(refused._tag === "ReplyError")
      assert.deepStrictEqual(refused.replies, [1, 2])
      assert.strictEqual(refused.delivery, "unknown")
    }).pipe(Effect.provide(withServer({}, { config: { "rename-command": 'CLIENT ""' } })))
  )
})

describe("a lease", () => {
  it.live("holds what is state of a connection, and is not reused then", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonOf(Redis.command(["SELECT", 3])))._tag, "RedisArgumentError")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lease = yield* Redis.lease
          assert.strictEqual(yield* lease.command(["SELECT", 3]), "OK")
          yield* lease.command(["SET", "k", "three"])
          assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
        })
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lease = yield* Redis.lease
          assert.strictEqual(yield* lease.command(["GET", "k"]), null)
        })
      )
    }).pipe(Effect.provide(withServer()))
  )

  it.live("is reused when it is clean, refused after its scope, and ended when it was idle for long", () =>
    Effect.gen(function* () {
      const id = Effect.flatMap(Redis.lease, (lease) =>
        Effect.map(lease.command(["CLIENT", "ID"]), (id) => ({ id, lease }))
      )
      const first = yield* Effect.scoped(id)
      const second = yield* Effect.scoped(id)
      assert.strictEqual(first.id, second.id)
      const reason = yield* Effect.flip(first.lease.command(["PING"]))
      assert.ok(reason.reason._tag === "ConnectionError" && reason.reason.kind === "closed")
      yield* Effect.repeat(clients, { until: (n) => n === 1 })
    }).pipe(Effect.provide(withServer({ leaseIdle: 50 })))
  )

  it.live("waiters come in order and fail at their deadline with who holds what", () =>
    Effect.gen(function* () {
      const order: Array<number> = []
      const held = yield* Deferred.make<void>()
      const hold = yield* Deferred.make<void>()
      const use = (n: number) =>
        Effect.scoped(
          Effect.andThen(
            Redis.lease,
            Effect.sync(() => order.push(n))
          )
        )
      const holder = yield* Effect.forkChild(
        Effect.scoped(
          Effect.gen(function* () {
            yield* Redis.lease
            order.push(0)
            yield* Deferred.succeed(held, undefined)
            yield* Deferred.await(hold)
          })
        )
      )
      yield* Deferred.await(held)
      const waiting = yield* Effect.forEach([1, 2, 3], (n) => Effect.forkChild(use(n), { startImmediately: true }))
      yield* Deferred.succeed(hold, undefined)
      yield* Fiber.join(holder)
      yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(order, [0, 1, 2, 3])
    }).pipe(Effect.provide(withServer({ leases: 1 })))
  )

  it.live("LeaseTimeout says how many are out", () =>
    Effect.scoped(
      Effect.gen(function* () {
        yield* Redis.lease
        const reason = yield* reasonOf(Effect.scoped(Redis.lease))
        assert.ok(reason._tag === "LeaseTimeout")
        assert.strictEqual(reason.out, 1)
      })
    ).pipe(Effect.provide(withServer({ leases: 1, timeout: 100 })))
  )

  it.live("does not reconnect: its state died with its socket", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        const lease = yield* Redis.lease
        const id = yield* lease.command(["CLIENT", "ID"])
        yield* server.command(["CLIENT", "KILL", "ID", Number(id)])
        yield* Effect.repeat(Effect.exit(lease.command(["PING"])), { until: (exit) => exit._tag === "Failure" })
        const { reason } = yield* Effect.flip(lease.command(["PING"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.deepStrictEqual([reason.kind, reason.delivery], ["closed", "unsent"])
      })
    ).pipe(Effect.provide(withServer()))
  )
})

describe("a blocking command", () => {
  it.live("has a connection of its own, so that others go on", () =>
    Effect.gen(function* () {
      const popped = yield* Effect.forkChild(Redis.command(["BLPOP", "q", 0]), { startImmediately: true })
      yield* awaitBlocked
      assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
      yield* Redis.command(["RPUSH", "q", "item"])
      assert.deepStrictEqual(yield* Fiber.join(popped), ["q", "item"])
      assert.deepStrictEqual(
        yield* Redis.pipeline([
          ["RPUSH", "q", "a"],
          ["BLPOP", "q", 1]
        ]),
        [1, ["q", "a"]]
      )
    }).pipe(Effect.provide(withServer()))
  )

  it.live("takes nothing any more when it is interrupted", () =>
    Effect.gen(function* () {
      const popped = yield* Effect.forkChild(Redis.command(["BLPOP", "q", 0]), { startImmediately: true })
      yield* awaitBlocked
      yield* Fiber.interrupt(popped)
      yield* Effect.repeat(clients, { until: (n) => n === 1 })
      yield* Redis.command(["RPUSH", "q", "item"])
      assert.strictEqual(yield* Redis.command(["LLEN", "q"]), 1)
    }).pipe(Effect.provide(withServer()))
  )

  it.live("takes nothing any more when its own deadline has passed", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(Redis.command(["BLPOP", "q", 0], { timeout: 100 }))
      assert.ok(reason._tag === "TimeoutError")
      assert.strictEqual(reason.delivery, "unknown")
      yield* Effect.repeat(clients, { until: (n) => n === 1 })
      yield* Redis.command(["RPUSH", "q", "item"])
      assert.strictEqual(yield* Redis.command(["LLEN", "q"]), 1)
    }).pipe(Effect.provide(withServer()))
  )

  it.live("is answered null by the server's own timeout", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["BLPOP", "q", "0.05"]), null)
    }).pipe(Effect.provide(withServer()))
  )

  it.live("is cut when the connection closes", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const popped = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Redis.layer(server.url))
          const fiber = yield* Effect.forkDetach(
            Effect.flip(Effect.provideContext(Redis.command(["BLPOP", "q", 0]), context)),
            { startImmediately: true }
          )
          yield* awaitBlocked
          return fiber
        })
      )
      const { reason } = yield* Fiber.join(popped)
      assert.ok(reason._tag === "ConnectionError")
      assert.strictEqual(yield* clients, 0)
    }).pipe(Effect.provide(RedisServer.layer()))
  )
})

describe("watch", () => {
  it.live("runs what its body answers, and starts over on a conflict", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Redis.command(["SET", "n", 1])
      let attempts = 0
      const replies = yield* Redis.watch(
        ["n"],
        Effect.gen(function* () {
          const n = yield* Redis.command(["GET", "n"], { schema: Schema.FiniteFromString })
          if (++attempts === 1) yield* Effect.orDie(server.command(["SET", "n", 10]))
          return [["SET", "n", n + 1]]
        })
      )
      assert.deepStrictEqual(replies, ["OK"])
      assert.strictEqual(attempts, 2)
      assert.strictEqual(yield* Redis.command(["GET", "n"]), "11")
    }).pipe(Effect.provide(withServer()))
  )
})

describe("script", () => {
  it.live("is loaded once, when the server does not know it", () =>
    Effect.gen(function* () {
      const script = Redis.script("return {KEYS[1], ARGV[1]}")
      assert.deepStrictEqual(yield* script(["k"], ["v"]), ["k", "v"])
      assert.deepStrictEqual(yield* script(["k"], [2]), ["k", "2"])
      assert.match(String(yield* Redis.command(["INFO", "commandstats"])), /cmdstat_eval:calls=1,/)
    }).pipe(Effect.provide(withServer()))
  )
})

describe("scan", () => {
  it.live("gives all elements, of all kinds", () =>
    Effect.gen(function* () {
      const n = 500
      yield* Redis.pipeline(Array.from({ length: n }, (_, i) => ["SET", `k:${i}`, i]))
      yield* Redis.command(["HSET", "h", "f", "v", "g", "w"])
      yield* Redis.command(["SADD", "s", "a", "b"])
      yield* Redis.command(["ZADD", "z", "1.5", "m", "inf", "i"])
      const keys = yield* Stream.runCollect(Redis.scan({ match: "k:*", count: 50 }))
      assert.strictEqual(new Set(keys).size, n)
      const raw = yield* Stream.runCollect(Redis.scan({ match: "k:1", count: 1000, decode: "bytes" }))
      assert.deepStrictEqual(raw, [new TextEncoder().encode("k:1")])
      assert.deepStrictEqual(yield* Stream.runCollect(Redis.hscan("h")), [
        ["f", "v"],
        ["g", "w"]
      ])
      assert.deepStrictEqual(new Set(yield* Stream.runCollect(Redis.sscan("s"))), new Set(["a", "b"]))
      assert.deepStrictEqual(yield* Stream.runCollect(Redis.zscan("z")), [
        ["m", 1.5],
        ["i", Infinity]
      ])
    }).pipe(Effect.provide(withServer()))
  )
})

describe("retry", () => {
  it.live("for unsent calls tries again, within the one deadline", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* server.stop
      const call = Redis.command(["PING"], { retry: { for: "unsent" }, timeout: "10 seconds" })
      const fiber = yield* Effect.forkChild(
        call.pipe(Effect.provide(Redis.layer({ url: server.url, whenDown: "fail", backoffCap: 50 }))),
        { startImmediately: true }
      )
      yield* server.start
      assert.strictEqual(yield* Fiber.join(fiber), "PONG")
    })
  )

  it.live("for any repeats a write that the caller declared harmless", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) =>
          first.serve(FakeServer.handshake, ([name]) => (name === "SET" ? Effect.as(first.reset, "") : undefined)),
        (second) => second.serve(FakeServer.handshake, ([name]) => (name === "SET" ? "+OK\r\n" : undefined))
      ])
      const layer = Redis.layer({ port: fake.port })
      assert.strictEqual(
        yield* Redis.command(["SET", "k", "v"], { retry: { for: "any" } }).pipe(Effect.provide(layer)),
        "OK"
      )
    })
  )
})
