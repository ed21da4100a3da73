/** Closing in every state, interruption in every phase, and names: what is left behind is nothing. */
import { assert, describe, it } from "@effect/vitest"
import { ExitReason, Registry, Supervisor } from "@relive/otp"
import { Redis, type RedisOptions } from "@relive/core"
import { RedisError } from "@relive/core/RedisError"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import {
  awaitState,
  callsOf,
  connect,
  departs,
  eager,
  matrix,
  outcomeOf,
  overridden,
  serving,
  submit
} from "./support.ts"

const { array, bulk, handshake } = FakeServer

/** A connection that the test closes, and its calls. */
const closable = (options: RedisOptions.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(Redis.layer(options)), scope)
    return {
      context,
      use: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context),
      close: Scope.close(scope, Exit.void)
    }
  })

const shut = { unsent: ["shutdown", "unsent"], unknown: ["shutdown", "unknown"] }

/** Answers the handshake of the first connection in the background, until a call comes. */
const shakenHands = (fake: FakeServer.FakeServer, index = 0) =>
  Effect.tap(fake.connection(index), (connection) => connection.answer(handshake))

describe("Closing", () => {
  it.effect("CLIENT-040 CONN-016 when idle is done at once, and what comes later fails", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving())
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(Redis.command(["PING"]))
      yield* close
      yield* (yield* fake.connection(0)).closed
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["PING"]))), shut.unsent)
      assert.deepStrictEqual(yield* use(outcomeOf(Effect.scoped(Redis.lease))), shut.unsent)
      assert.strictEqual((yield* use(Redis.status)).state, "closed")
    })
  )

  it.effect(
    "CLIENT-040 CONN-059 lets what is under way finish, in flight and queued",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        const { close, use } = yield* closable({ port: fake.port, inFlightCommands: 1 })
        const calls = yield* Effect.forEach([1, 2], (i) => submit(use(outcomeOf(Redis.command(["SET", "k", i])))))
        const connection = yield* shakenHands(fake)
        yield* connection.expect(["SET", "k", "1"])
        const closing = yield* submit(close)
        assert.strictEqual((yield* use(Redis.status)).state, "draining")
        assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["SET", "k", 3]))), shut.unsent)
        yield* connection.send("+OK\r\n")
        yield* connection.expect(["SET", "k", "2"])
        yield* connection.send("+OK\r\n")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [["OK"], ["OK"]])
        yield* connection.closed
      }),
    departs(
      overridden(
        "CONN-059",
        "calls under way have `closeTimeout` to finish; then they fail, or at once where there is no session"
      )
    )
  )

  it.effect("CLIENT-040 CONN-059 ends what a silent server does not answer when `closeTimeout` has passed", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const { close, use } = yield* closable({
        port: fake.port,
        inFlightCommands: 1,
        closeTimeout: 300,
        timeout: "infinite"
      })
      const calls = yield* Effect.forEach([1, 2], (i) => submit(use(outcomeOf(Redis.command(["SET", "k", i])))))
      const connection = yield* shakenHands(fake)
      yield* connection.expect(["SET", "k", "1"])
      const closing = yield* submit(close)
      yield* TestClock.adjust(299)
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [shut.unknown, shut.unsent])
      yield* connection.closed
    })
  )

  for (const [name, drop] of [
    ["FIN", (connection: FakeServer.Connection) => connection.close],
    ["RST", (connection: FakeServer.Connection) => connection.reset]
  ] as const) {
    it.effect(`CLIENT-040 ends when the peer goes away meanwhile (${name}), without waiting any longer`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        const { close, use } = yield* closable({ port: fake.port, inFlightCommands: 1 })
        const calls = yield* Effect.forEach(["SET", "GET", "INCR"], (name) =>
          submit(use(outcomeOf(Redis.command([name, "k", ...(name === "SET" ? ["v"] : [])]))))
        )
        const connection = yield* shakenHands(fake)
        yield* connection.expect(["SET", "k", "v"])
        const closing = yield* submit(close)
        yield* drop(connection)
        yield* Fiber.join(closing)
        const [written, ...queued] = yield* Effect.forEach(calls, Fiber.join)
        assert.deepStrictEqual(written, ["disconnected", "unknown"])
        for (const outcome of queued) assert.strictEqual(outcome[1], "unsent")
        assert.strictEqual(yield* fake.accepted, 1)
      })
    )
  }

  it.effect("CLIENT-040 in the backoff fails what is queued at once", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("backoff"))
      const calls = yield* Effect.forEach([1, 2], (i) => submit(use(outcomeOf(Redis.command(["SET", "k", i])))))
      yield* close
      assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [shut.unsent, shut.unsent])
      yield* fake.start
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* fake.accepted, 0)
    })
  )

  it.effect("CLIENT-040 CONN-060 in the middle of a handshake is done at once", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const { close, use } = yield* closable({ port: fake.port })
      const call = yield* submit(use(outcomeOf(Redis.command(["SET", "k", "v"]))))
      const connection = yield* fake.connection(0)
      yield* connection.expect(["HELLO", "3"])
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(call), shut.unsent)
      yield* connection.closed
    })
  )

  it.live("CLIENT-040 CONN-060 while it dials a host that drops its packets is done at once", () =>
    Effect.gen(function* () {
      const port = yield* blackHole
      const { close, use } = yield* closable({ port, closeTimeout: "20 seconds" })
      const call = yield* submit(use(outcomeOf(Redis.command(["SET", "k", "v"], { timeout: "20 seconds" }))))
      assert.strictEqual((yield* use(Redis.status)).state, "connecting")
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(call), shut.unsent)
    })
  )

  it.effect("CLIENT-040 cuts a blocking call on its lease at once", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const { close, use } = yield* closable({ port: fake.port, closeTimeout: "1 hour" })
      const served = yield* submit(Effect.flatMap(fake.connection(0), (shared) => shared.serve(handshake)))
      const call = yield* submit(use(outcomeOf(Redis.command(["BLPOP", "q", 0]))))
      const lease = yield* shakenHands(fake, 1)
      yield* lease.expect(["BLPOP", "q", "0"])
      yield* close
      assert.deepStrictEqual((yield* Fiber.join(call))[1], "unknown")
      yield* lease.closed
      yield* Fiber.join(served)
    })
  )
})

/** A port on which a connection is neither accepted nor refused: its backlog is full, and nobody takes from it. */
const blackHole = Effect.gen(function* () {
  const server = yield* RedisServer.make({ config: { "tcp-backlog": 1 } })
  yield* server.pause
  const dial = Effect.acquireRelease(
    Effect.sync(() => Net.connect(server.port, server.host).on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  )
  const isTaken = (socket: Net.Socket) =>
    Effect.callback<boolean>((resume) => {
      socket.once("connect", () => resume(Effect.succeed(true)))
    }).pipe(Effect.timeoutOption(200))
  // The kernel takes a few more than it was told.
  while ((yield* isTaken(yield* dial))._tag === "Some");
  return server.port
})

matrix("A real server", (it, cell) => {
  it(
    "CLIENT-040 CONN-017 has no client left when a connection with leases and calls under way has closed",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const program = Effect.gen(function* () {
        yield* submit(Effect.ignore(Redis.command(["BLPOP", "q", 0])))
        yield* submit(Effect.scoped(Effect.andThen(Redis.lease, Effect.never)))
        yield* submit(Effect.ignore(Redis.command(["EVAL", "for i=1,100000 do end return 1", 0])))
        yield* Effect.repeat(server.command(["CLIENT", "LIST"]), {
          until: (list) => String(list).split(" name=busy ").length === 4
        })
      })
      yield* Effect.provide(program, connect(cell, { name: "busy" }))
      yield* Effect.repeat(server.command(["CLIENT", "LIST"]), {
        until: (list) => !String(list).includes(" name=busy ")
      })
    })
  )
})

describe("Interruption", () => {
  it.live("of a queued call means that it never is written", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        const first = yield* submit(Redis.command(["INCR", "a"]))
        const second = yield* submit(Redis.command(["INCR", "b"]))
        const pipeline = yield* submit(
          Redis.pipeline([
            ["INCR", "c"],
            ["INCR", "d"]
          ])
        )
        const third = yield* submit(Redis.command(["INCR", "e"]))
        const connection = yield* shakenHands(fake)
        yield* connection.expect(["INCR", "a"])
        assert.strictEqual((yield* Redis.status).queued, 4)
        yield* Fiber.interrupt(second)
        yield* Fiber.interrupt(pipeline)
        assert.strictEqual((yield* Redis.status).queued, 1)
        yield* connection.send(":1\r\n")
        yield* connection.expect(["INCR", "e"])
        yield* connection.send(":2\r\n")
        assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(third)], [1, 2])
        assert.deepStrictEqual(yield* callsOf(fake, 0), ["INCR a", "INCR e"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, inFlightCommands: 1 })))
    })
  )

  it.live("of a written call drops its reply in its place, also when half of it has come", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        const written = yield* submit(Redis.command(["GET", "a"], { decode: "bytes" }))
        const half = yield* submit(
          Redis.pipeline([
            ["GET", "b"],
            ["GET", "c"]
          ])
        )
        const aggregate = yield* submit(Redis.command(["LRANGE", "d", 0, -1]))
        const last = yield* submit(Redis.command(["GET", "e"]))
        const connection = yield* shakenHands(fake)
        for (let i = 0; i < 5; i++) yield* connection.command
        yield* Fiber.interrupt(written)
        yield* connection.send(`${bulk("a")}${bulk("b")}`)
        yield* Fiber.interrupt(half)
        yield* connection.send(`${bulk("c")}*2\r\n${bulk("d")}`)
        yield* Fiber.interrupt(aggregate)
        yield* connection.send(`${bulk("d2")}${bulk("own")}`)
        assert.strictEqual(yield* Fiber.join(last), "own")
        assert.strictEqual((yield* Redis.status).inFlight, 0)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("of a written read means that it is not repeated on the next session", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        const given = yield* submit(Redis.command(["GET", "given up"]))
        const kept = yield* submit(Redis.command(["GET", "kept"]))
        const first = yield* shakenHands(fake)
        yield* first.command
        yield* first.command
        yield* Fiber.interrupt(given)
        yield* first.reset
        const second = yield* shakenHands(fake, 1)
        yield* second.expect(["GET", "kept"])
        yield* second.send(bulk("v"))
        assert.strictEqual(yield* Fiber.join(kept), "v")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    })
  )

  it.live("of a transaction or a noreply leaves the connection as it was", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* server.pause
        const calls = [
          yield* submit(
            Redis.transaction([
              ["INCR", "a"],
              ["INCR", "a"]
            ])
          ),
          yield* submit(
            Redis.noreply([
              ["INCR", "b"],
              ["INCR", "b"]
            ])
          ),
          yield* submit(
            Redis.pipeline([
              ["INCR", "c"],
              ["INCR", "c"]
            ])
          )
        ]
        const last = yield* submit(Redis.command(["MGET", "a", "b", "c"]))
        yield* Fiber.interruptAll(calls)
        yield* server.resume
        const seen = yield* Fiber.join(last)
        assert.ok(Array.isArray(seen))
        for (const count of seen) assert.ok(count === null || count === "2", String(count))
        assert.strictEqual(yield* Redis.command(["ECHO", "own"]), "own")
        assert.strictEqual((yield* Redis.status).sessions, 1)
      }).pipe(Effect.provide(Redis.layer({ port: server.port })))
    })
  )

  it.live("of a caller that waits for a lease gives nothing away", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        const waiting = yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Redis.lease
            const waiting = yield* Effect.forEach([1, 2, 3], () => submit(Effect.scoped(Redis.lease)))
            yield* Fiber.interrupt(waiting[0]!)
            yield* Fiber.interrupt(waiting[1]!)
            return waiting[2]!
          })
        )
        yield* Fiber.join(waiting)
        assert.strictEqual(yield* Redis.command(["BLPOP", "q", "0.01"]), null)
      }).pipe(Effect.provide(Redis.layer({ port: server.port, leases: 1 })))
    })
  )

  it.live("of a blocking call that was answered meanwhile loses nothing that the server still has", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        yield* submit(Effect.flatMap(fake.connection(0), (shared) => shared.serve(handshake)))
        const popping = yield* submit(Redis.command(["BLPOP", "q", 0]))
        const lease = yield* shakenHands(fake, 1)
        yield* lease.expect(["BLPOP", "q", "0"])
        yield* Fiber.interrupt(popping)
        yield* lease.closed
        yield* lease.send(array(bulk("q"), bulk("late")))
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )
})

describe("Names and instances", () => {
  const main = Redis.Name("main")

  it.live(
    "POOL-004 POOL-006 URI-019 named connections of a tree are independent, and their names follow restarts",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        const other = Redis.Name("other")
        const tree = Supervisor.layer(
          Supervisor.make({
            children: [
              Redis.childSpec({ id: "main", port: server.port, register: main }),
              Redis.childSpec({ id: "other", port: server.port, database: 1, register: other })
            ]
          })
        )
        yield* Effect.gen(function* () {
          const [first, second] = [yield* Redis.named(main), yield* Redis.named(other)]
          yield* first.command(["SET", "k", "main"])
          assert.strictEqual(yield* second.command(["GET", "k"]), null)
          const ids = yield* Effect.forEach([first, second], (service) => service.command(["CLIENT", "ID"]))
          assert.notStrictEqual(ids[0], ids[1])
          const process = yield* Registry.whereIs(main)
          assert.strictEqual(process._tag, "Some")
          if (process._tag === "Some") yield* process.value.exit(ExitReason.kill)
          assert.strictEqual(yield* first.command(["GET", "k"]), "main")
        }).pipe(Effect.provide(tree))
      })
  )

  it.live("RECON-015 ends when its dial fails, where `exitOnDisconnection` says so, and is not dialled again", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const child = Redis.childSpec({
        port: fake.port,
        register: main,
        restart: "temporary",
        exitOnDisconnection: true
      })
      yield* Effect.gen(function* () {
        const supervisor = yield* Supervisor.SupervisorRef
        const process = yield* Effect.map(supervisor.whichChildren, (children) => children[0]?.process)
        yield* Effect.repeat(supervisor.whichChildren, { until: (children) => children.length === 0 })
        assert.isTrue(process === undefined || !(yield* process.isAlive))
      }).pipe(Effect.provide(Supervisor.layer(Supervisor.make({ children: [child] }))))
    })
  )

  it.live("RECON-016 ends with its session, tells its callers at once, and the supervisor above decides", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const child = Redis.childSpec({ port: fake.port, register: main, exitOnDisconnection: true, inFlightCommands: 1 })
      yield* Effect.gen(function* () {
        const service = Option.getOrThrow(yield* Registry.lookup(main))
        const named = yield* Redis.named(main)
        const calls = yield* Effect.forEach([1, 2], (i) => submit(outcomeOf(service.command(["SET", "k", i]))))
        const first = yield* shakenHands(fake)
        yield* first.expect(["SET", "k", "1"])
        yield* first.close
        assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [["disconnected", "unknown"], shut.unsent])
        yield* Effect.repeat(Registry.lookup(main), {
          until: (now) => Option.isSome(now) && now.value !== service
        })
        const again = yield* submit(named.command(["GET", "k"]))
        const second = yield* shakenHands(fake, 1)
        yield* second.expect(["GET", "k"])
        yield* second.send(bulk("v"))
        assert.strictEqual(yield* Fiber.join(again), "v")
      }).pipe(Effect.provide(Supervisor.layer(Supervisor.make({ children: [child] }))))
    })
  )

  it.live("with `exitOnDisconnection` a lost connection ends with its error, and a transient one is restarted", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const child = Redis.childSpec({
        port: fake.port,
        register: main,
        exitOnDisconnection: true,
        restart: "transient"
      })
      yield* Effect.gen(function* () {
        const supervisor = yield* Supervisor.SupervisorRef
        const children = yield* supervisor.whichChildren
        const process = children[0]?.process
        if (process === undefined) throw new Error("unreachable")
        const named = yield* Redis.named(main)
        const lost = yield* submit(outcomeOf(named.command(["SET", "k", 1])))
        const first = yield* shakenHands(fake)
        yield* first.expect(["SET", "k", "1"])
        yield* first.close
        assert.deepStrictEqual(yield* Fiber.join(lost), ["disconnected", "unknown"])
        const reason = yield* process.awaitExit
        const error = reason._tag === "Crash" ? Cause.squash(reason.cause) : undefined
        if (!(error instanceof RedisError)) throw new Error(`ended with ${ExitReason.format(reason)}`)
        assert.strictEqual(error.reason._tag === "ConnectionError" && error.reason.kind, "disconnected")
        yield* Registry.awaitName(main)
        const again = yield* submit(named.command(["GET", "k"]))
        const next = yield* shakenHands(fake, 1)
        yield* next.expect(["GET", "k"])
        yield* next.send(bulk("v"))
        assert.strictEqual(yield* Fiber.join(again), "v")
        const [second] = yield* supervisor.whichChildren
        yield* supervisor.terminateChild("redis")
        assert.deepStrictEqual(second?.process?.exitReason, ExitReason.shutdown)
      }).pipe(Effect.provide(Supervisor.layer(Supervisor.make({ children: [child] }))))
    })
  )

  it.live("POOL-005 each form of options makes an equal connection", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const url = `redis://127.0.0.1:${server.port}/2`
      const forms: ReadonlyArray<RedisOptions.Input> = [
        url,
        new URL(url),
        { port: server.port, database: 2 },
        { url, database: 2 }
      ]
      for (const form of forms) {
        const info = yield* Effect.provide(Redis.command(["CLIENT", "INFO"]), Redis.layer(form))
        assert.include(String(info), " db=2 ")
      }
    })
  )

  it.live("POOL-006 a tag of one's own is a separate instance", () =>
    Effect.gen(function* () {
      class Bulk extends Redis.Tag<Bulk>()("test/Bulk") {}
      const server = yield* RedisServer.make()
      const both = Layer.merge(Redis.layer({ port: server.port }), Bulk.layer({ port: server.port, database: 3 }))
      yield* Effect.gen(function* () {
        yield* Bulk.command(["SET", "k", "bulk"])
        assert.deepStrictEqual([yield* Redis.command(["GET", "k"]), yield* Bulk.command(["GET", "k"])], [null, "bulk"])
      }).pipe(Effect.provide(both))
    })
  )
})
