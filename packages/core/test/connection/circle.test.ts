/**
 * Connections of one's own hear what the others have found out of their server, and the others what they have: a server that
 * became a replica, one that is silent, another address, a refusal.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisConnection, RedisOptions } from "@relive/core"
import { FakeServer, FaultProxy, RedisServer } from "@relive/testing"
import { Registry, Supervisor } from "@relive/otp"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { awaitBlocked, awaitState, eager, outcomeOf, reasonOf, serving, submit } from "../behaviours/support.ts"

const stableAfter = 200

/** Two servers, and a name that leads to the first of them until `failover`: then it leads to the other, whose replica it is. */
const twoServers = Effect.gen(function* () {
  const old = yield* RedisServer.make()
  const next = yield* RedisServer.make()
  const name = yield* FaultProxy.make(old)
  const failover = Effect.andThen(old.command(["REPLICAOF", next.host, next.port]), name.redirect(next))
  return { failover, layer: Redis.layer({ port: name.port, stableAfter, ...eager }), name, next, old }
})

const set = ["SET", "k", "v"] as const

const onLease = Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(set)))

/** Older than `stableAfter`. */
const grown = Effect.sleep(stableAfter + 50)

describe("a server that is back", () => {
  it.live(
    "is dialled at once by a worker that waits for its next dial, when the shared connection has reached it",
    () =>
      Effect.gen(function* () {
        const serve = serving(([name]) => (name === "BLPOP" ? "*-1\r\n" : undefined))
        const server = yield* FakeServer.make((connection) =>
          connection.index === 1 ? Effect.andThen(connection.reset, connection.silent) : serve(connection)
        )
        // So long a worker waits between its dials.
        const slow = { backoffInitial: "1 minute", backoffCap: "1 minute", backoffFirst: 0 } as const
        yield* Effect.gen(function* () {
          yield* awaitState("ready")
          const worker = yield* submit(Redis.command(["BLPOP", "jobs", 1], { timeout: "20 seconds" }))
          yield* (yield* server.connection(1)).closed
          // Its session has ended, too.
          yield* Effect.sleep(50)
          yield* (yield* server.connection(0)).reset
          assert.strictEqual(yield* Fiber.join(worker), null)
        }).pipe(Effect.provide(Redis.layer({ port: server.port, ...slow })))
      })
  )
})

describe("a server that became a replica", () => {
  it.live("is left by a worker whose lease sees it, by its idle leases, and by the shared connection", () =>
    Effect.gen(function* () {
      const { failover, layer, next } = yield* twoServers
      yield* Effect.gen(function* () {
        // Two leases that are idle afterwards.
        yield* Effect.all([onLease, onLease], { concurrency: 2 })
        yield* grown
        yield* failover
        assert.strictEqual((yield* reasonOf(onLease))._tag, "ReplyError")
        const left = yield* submit(awaitState("backoff", "connecting"))
        yield* Effect.yieldNow
        yield* awaitState("ready")
        yield* Fiber.interrupt(left)
        assert.strictEqual(yield* onLease, "OK")
        assert.strictEqual(yield* Redis.command(set), "OK")
        assert.strictEqual((yield* Redis.status).sessions, 2)
        assert.strictEqual(yield* next.command(["GET", "k"]), "v")
      }).pipe(Effect.provide(layer))
    })
  )

  it.live("is left by idle leases when the shared connection sees it", () =>
    Effect.gen(function* () {
      const { failover, layer } = yield* twoServers
      yield* Effect.gen(function* () {
        yield* onLease
        yield* Redis.command(set)
        yield* grown
        yield* failover
        assert.strictEqual((yield* reasonOf(Redis.command(set)))._tag, "ReplyError")
        assert.strictEqual(yield* onLease, "OK")
      }).pipe(Effect.provide(layer))
    })
  )

  it.live("is left by a lease that is in use: its later calls say that it has ended", () =>
    Effect.gen(function* () {
      const { failover, layer } = yield* twoServers
      yield* Effect.gen(function* () {
        const lease = yield* Redis.lease
        yield* lease.command(set)
        yield* grown
        yield* failover
        assert.strictEqual((yield* reasonOf(lease.command(set)))._tag, "ReplyError")
        assert.deepStrictEqual(yield* outcomeOf(lease.command(set)), ["closed", "unsent"])
      }).pipe(Effect.scoped, Effect.provide(layer))
    })
  )

  it.live("UNBLOCKED: nothing was taken, so the call may be made again, on another lease", () =>
    Effect.gen(function* () {
      const { failover, layer, next } = yield* twoServers
      yield* Effect.gen(function* () {
        const retry = { for: "unsent" } as const
        yield* Redis.command(["PING"])
        const once = yield* submit(reasonOf(Redis.command(["BLPOP", "once", 0])))
        const worker = yield* submit(Redis.command(["BLPOP", "jobs", 0], { retry }))
        yield* grown
        yield* failover
        const reason = yield* Fiber.join(once)
        assert.ok(reason._tag === "ReplyError")
        assert.deepStrictEqual([reason.code, reason.isRetryable], ["UNBLOCKED", true])
        yield* next.command(["RPUSH", "jobs", "job"])
        assert.deepStrictEqual(yield* Fiber.join(worker), ["jobs", "job"])
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("a server that became a replica and lets go of nobody", () => {
  it.live("is left by a blocked call, however young its lease is", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) =>
          name === "SET"
            ? Effect.succeed("-READONLY You can't write against a read only replica.\r\n")
            : name === "BLPOP"
              ? Effect.never
              : undefined
        )
      )
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* grown
        const pop = yield* submit(outcomeOf(Redis.command(["BLPOP", "jobs", 0])))
        yield* Effect.sleep(50)
        assert.strictEqual((yield* reasonOf(Redis.command(set)))._tag, "ReplyError")
        assert.deepStrictEqual(yield* Fiber.join(pop), ["disconnected", "unknown"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, stableAfter, ...eager })))
    })
  )
})

/** A relay that can forget its connections without a word, as a firewall does; new ones work. */
const makeRelay = (to: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly forget: () => void; readonly close: () => void }>((resume) => {
      const pairs = new Set<{ dead: boolean; readonly sockets: ReadonlyArray<Net.Socket> }>()
      const relay = Net.createServer((client) => {
        const server = Net.connect(to, "127.0.0.1")
        const pair = { dead: false, sockets: [client, server] }
        pairs.add(pair)
        for (const [from, into] of [
          [client, server],
          [server, client]
        ] as const) {
          from.on("error", () => {})
          from.on("data", (data) => pair.dead || into.write(data))
          from.on("close", () => (pair.dead ? undefined : into.destroy()))
        }
      })
      relay.listen(0, "127.0.0.1", () => {
        const address = relay.address()
        resume(
          Effect.succeed({
            port: typeof address === "object" && address !== null ? address.port : 0,
            forget: () => pairs.forEach((pair) => (pair.dead = true)),
            close: () => {
              relay.close()
              for (const { sockets } of pairs) for (const socket of sockets) socket.destroy()
            }
          })
        )
      })
    }),
    ({ close }) => Effect.sync(close)
  )

describe("a path that went silent", () => {
  const healthCheckInterval = 300

  it.live("ends blocked calls, repeats those that read, and its idle leases are not handed out", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const relay = yield* makeRelay(server.port)
      yield* Effect.gen(function* () {
        yield* Redis.command(["BLPOP", "none", 0.01])
        const pop = yield* submit(outcomeOf(Redis.command(["BLPOP", "jobs", 0])))
        const read = yield* submit(Redis.command(["XREAD", "BLOCK", 0, "STREAMS", "stream", "0"]))
        yield* Redis.command(["BLPOP", "none", 0.01])
        relay.forget()
        yield* awaitState("backoff", "connecting")
        const dead = yield* Clock.currentTimeMillis
        assert.deepStrictEqual(yield* Fiber.join(pop), ["health-check", "unknown"])
        assert.isAtMost((yield* Clock.currentTimeMillis) - dead, 2 * healthCheckInterval)
        yield* awaitState("ready")
        assert.strictEqual(yield* Redis.command(["BLPOP", "none", 0.01], { timeout: 1000 }), null)
        yield* server.command(["XADD", "stream", "1-1", "field", "value"])
        assert.deepStrictEqual(yield* Fiber.join(read), new Map([["stream", [["1-1", ["field", "value"]]]]]))
      }).pipe(Effect.provide(Redis.layer({ port: relay.port, healthCheckInterval, timeout: 2000, ...eager })))
    })
  )

  it.live("leaves a blocked call alone whose connection speaks", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const relay = yield* makeRelay(server.port)
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        relay.forget()
        assert.strictEqual((yield* reasonOf(Redis.command(["SET", "k", "v"], { timeout: 50 })))._tag, "TimeoutError")
        // Opened since: its path is another one, and the server spoke on it.
        const pop = yield* submit(Redis.command(["BLPOP", "jobs", 0]))
        yield* awaitState("backoff", "connecting")
        yield* awaitState("ready")
        yield* server.command(["RPUSH", "jobs", "job"])
        assert.deepStrictEqual(yield* Fiber.join(pop), ["jobs", "job"])
      }).pipe(Effect.provide(Redis.layer({ port: relay.port, healthCheckInterval, timeout: 2000, ...eager })))
    })
  )
})

describe("a blocking call whose connection is killed", () => {
  it.live("is repeated when it only reads, once; else it is unknown", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const kill = server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
      const blocked = awaitBlocked(server)
      yield* Effect.gen(function* () {
        const read = yield* submit(Redis.command(["XREAD", "BLOCK", 0, "STREAMS", "stream", "$"]))
        yield* blocked
        yield* kill
        yield* blocked
        yield* server.command(["XADD", "stream", "1-1", "field", "value"])
        assert.deepStrictEqual(yield* Fiber.join(read), new Map([["stream", [["1-1", ["field", "value"]]]]]))
        const calls = [
          Redis.command(["BLPOP", "jobs", 0]),
          Redis.command(["XREAD", "BLOCK", 0, "STREAMS", "stream", "$"], { retry: false })
        ]
        for (const call of calls) {
          const outcome = yield* submit(outcomeOf(call))
          yield* blocked
          yield* kill
          assert.deepStrictEqual(yield* Fiber.join(outcome), ["disconnected", "unknown"])
        }
      }).pipe(Effect.provide(Redis.layer({ port: server.port, ...eager })))
    })
  )
})

describe("another address", () => {
  it.live("endSession: leases of the old server end with the session, blocked or not", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const options = Result.getOrThrow(RedisOptions.resolve({ port: server.port, ...eager }))
      const shared = yield* RedisConnection.makeShared(options)
      const started = yield* Deferred.make<readonly [RedisConnection.RedisConnection, Redis.Service]>()
      const child = RedisConnection.childSpec({
        id: "one",
        shared,
        onStart: (...parts) => Effect.runSync(Deferred.succeed(started, parts))
      })
      yield* Supervisor.start(Supervisor.make({ children: [...shared.children, child] })).pipe(
        Effect.provideService(Registry.Registry, yield* Registry.make())
      )
      const [connection, service] = yield* Deferred.await(started)
      yield* service.command(["BLPOP", "none", 0.01])
      const lease = yield* service.lease()
      assert.strictEqual(yield* lease.command(["PING"]), "PONG")
      const pop = yield* submit(outcomeOf(service.command(["BLPOP", "jobs", 0])))
      yield* awaitBlocked(server)
      connection.endSession("the primary is elsewhere")
      assert.deepStrictEqual(yield* Fiber.join(pop), ["disconnected", "unknown"])
      assert.match(String((yield* Effect.flip(lease.command(["PING"]))).message), /the primary is elsewhere/)
      assert.strictEqual(shared.leases.idle, 0)
      assert.strictEqual(yield* service.command(["PING"]), "PONG")
    }).pipe(Effect.scoped)
  )
})

describe("a refusal", () => {
  it.live("reaches whoever waits for a lease", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ users: { app: "on >old ~* &* +@all" } })
      yield* Effect.gen(function* () {
        const id = yield* Redis.command(["CLIENT", "ID"])
        yield* Redis.lease
        const waiting = yield* submit(outcomeOf(Effect.scoped(Redis.lease)))
        yield* server.command(["ACL", "SETUSER", "app", "resetpass", ">new"])
        yield* server.command(["CLIENT", "KILL", "ID", Number(id)])
        assert.deepStrictEqual(yield* Fiber.join(waiting), ["handshake", "unsent"])
      }).pipe(
        Effect.scoped,
        Effect.provide(
          Redis.layer({
            port: server.port,
            username: "app",
            password: "old",
            leases: 1,
            timeout: "60 seconds",
            ...eager
          })
        )
      )
    })
  )
})

describe("the state of a lease is its holder's", () => {
  it.live("no PING of the health check gets into a MULTI", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        const lease = yield* Redis.lease
        yield* lease.command(["MULTI"])
        yield* lease.command(["SET", "k", "v"])
        yield* Effect.sleep(250)
        assert.deepStrictEqual(yield* lease.command(["EXEC"]), ["OK"])
      }).pipe(Effect.scoped, Effect.provide(Redis.layer({ port: server.port, healthCheckInterval: 100, ...eager })))
    })
  )
})
