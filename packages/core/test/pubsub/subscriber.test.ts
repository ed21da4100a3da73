/** What a connection for pub/sub does on the wire, against servers that do what no real one does on demand. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisConnection, type RedisOptions, RedisOptions as Options } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import {
  awaitState,
  callsOf,
  closable,
  departs,
  eager,
  notApplicable,
  overridden,
  serving,
  submit
} from "../behaviours/support.ts"
import { listen, listenLive, take } from "./support.ts"

const { array, bulk, handshake } = FakeServer

const push = (...items: ReadonlyArray<string>): string => `>${items.length}\r\n${items.join("")}`

/** The acknowledgement of a command, in either protocol. */
const ack = (protocol: 2 | 3, [verb = "", name = ""]: ReadonlyArray<string>, count = 1): string =>
  (protocol === 3 ? push : array)(bulk(verb.toLowerCase()), bulk(name), `:${count}\r\n`)

const subscribing =
  (protocol: 2 | 3): FakeServer.Handler =>
  (command) =>
    /^[PS]?(UN)?SUBSCRIBE$/.test(command[0] ?? "") ? ack(protocol, command) : undefined

/** A server that takes every subscription. Connection 0 is for commands, 1 the first for pub/sub. */
const willing = (protocol: 2 | 3 = 3) => FakeServer.make(serving(subscribing(protocol)))

const quiet: RedisOptions.Options = { healthCheckInterval: "infinite" }

/** The commands of a connection, as soon as there are so many. */
const awaitCalls = (
  fake: FakeServer.FakeServer,
  connection: number,
  count: number
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.flatMap(callsOf(fake, connection), (calls) =>
    calls.length >= count
      ? Effect.succeed(calls)
      : Effect.andThen(Effect.sleep(1), () => awaitCalls(fake, connection, count))
  )

for (const protocol of [2, 3] as const) {
  describe(`a connection for pub/sub (RESP${protocol})`, () => {
    const options: RedisOptions.Options = { protocol, ...quiet, ...eager }

    it.live("PUBSUB-046 tells the server once of a channel that several ask for before it has answered", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const ears = yield* Effect.all([1, 2, 3].map(() => listen(Redis.subscribe("c"))))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SUBSCRIBE", "c"])
          const late = yield* listen(Redis.subscribe("c"))
          yield* server.send(ack(protocol, ["subscribe", "c"]))
          for (const ear of [...ears, late]) assert.deepStrictEqual(yield* take(ear, 1), ["Subscribed c"])
          for (const ear of [...ears, late]) yield* ear.stop
          yield* server.expect(["UNSUBSCRIBE", "c"])
          assert.deepStrictEqual(yield* callsOf(fake, 1), ["SUBSCRIBE c", "UNSUBSCRIBE c"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("PUBSUB-044 subscribes again when the end of an old subscription is acknowledged, and not before", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const old = yield* listen(Redis.subscribe("c"))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SUBSCRIBE", "c"])
          yield* server.send(ack(protocol, ["subscribe", "c"]))
          yield* take(old, 1)
          yield* old.stop
          yield* server.expect(["UNSUBSCRIBE", "c"])
          const next = yield* listen(Redis.subscribe("c"))
          const other = yield* listen(Redis.subscribe("d"))
          yield* server.expect(["SUBSCRIBE", "d"])
          yield* server.send(ack(protocol, ["unsubscribe", "c"], 0))
          yield* server.expect(["SUBSCRIBE", "c"])
          yield* server.send(ack(protocol, ["subscribe", "d"]) + ack(protocol, ["subscribe", "c"]))
          assert.deepStrictEqual(yield* take(next, 1), ["Subscribed c"])
          assert.deepStrictEqual(yield* take(other, 1), ["Subscribed d"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("is subscribed when the last channel is confirmed, and tells nothing that comes before", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const ear = yield* listen(Redis.subscribe(["a", "b"]))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SUBSCRIBE", "a"])
          yield* server.expect(["SUBSCRIBE", "b"])
          const event = protocol === 3 ? push : array
          const message = (text: string) => event(bulk("message"), bulk("a"), bulk(text))
          yield* server.send(
            ack(protocol, ["subscribe", "a"]) + message("early") + ack(protocol, ["subscribe", "b"], 2) + message("1")
          )
          assert.deepStrictEqual(yield* take(ear, 2), ["Subscribed a b", "a: 1"])
          // Lost in the middle of a message, it starts over with the whole set.
          yield* server.send(message("2") + message("3").slice(0, -4))
          yield* server.close
          const next = yield* fake.connection(2)
          yield* next.answer(handshake)
          yield* next.expect(["SUBSCRIBE", "a"])
          yield* next.send(ack(protocol, ["subscribe", "a"]))
          assert.deepStrictEqual(yield* take(ear, 2), ["a: 2", "Gap disconnected"])
          yield* next.close
          const third = yield* fake.connection(3)
          yield* third.answer(handshake)
          yield* third.expect(["SUBSCRIBE", "a"])
          yield* third.expect(["SUBSCRIBE", "b"])
          yield* third.send(ack(protocol, ["subscribe", "a"]) + message("4"))
          assert.deepStrictEqual(yield* take(ear, 1), ["a: 4"])
          yield* third.send(ack(protocol, ["subscribe", "b"], 2) + message("5"))
          assert.deepStrictEqual(yield* take(ear, 2), ["Resubscribed a b", "a: 5"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("PUBSUB-023 reads what comes after a loss from its start", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const ear = yield* listen(Redis.subscribe("c"))
          const message = (protocol === 3 ? push : array)(bulk("message"), bulk("c"), bulk("hello"))
          for (const [index, cut] of [3, 10, 20, 30].entries()) {
            const server = yield* fake.connection(index + 1)
            yield* server.answer(handshake)
            yield* server.expect(["SUBSCRIBE", "c"])
            yield* server.send(ack(protocol, ["subscribe", "c"]) + message + message.slice(0, cut))
            assert.deepStrictEqual(yield* take(ear, 2), [`${index === 0 ? "S" : "Res"}ubscribed c`, "c: hello"])
            yield* server.close
            assert.deepStrictEqual(yield* take(ear, 1), ["Gap disconnected"])
          }
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("PUBSUB-055 takes no harm from events that it does not know", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const ear = yield* listen(Redis.subscribe("c"))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SUBSCRIBE", "c"])
          const event = protocol === 3 ? push : array
          const message = (name: string, text: string) => event(bulk("message"), bulk(name), bulk(text))
          yield* server.send(ack(protocol, ["subscribe", "c"]))
          if (protocol === 3)
            yield* server.send(push(bulk("constructor"), bulk("c")) + push(bulk("invalidate"), "_\r\n"))
          yield* server.send(
            message("__proto__", "not ours") + event(bulk("unsubscribe"), bulk("d"), ":1\r\n") + message("c", "1")
          )
          assert.deepStrictEqual(yield* take(ear, 2), ["Subscribed c", "c: 1"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("a name that the server takes from us is a gap, and is asked for again", () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const moved = yield* listen(Redis.ssubscribe("{a}"))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SSUBSCRIBE", "{a}"])
          yield* server.send(ack(protocol, ["ssubscribe", "{a}"]))
          yield* server.send(ack(protocol, ["sunsubscribe", "{a}"], 0))
          yield* server.expect(["SSUBSCRIBE", "{a}"])
          yield* server.send(ack(protocol, ["ssubscribe", "{a}"]))
          assert.deepStrictEqual(yield* take(moved, 3), ["Subscribed {a}", "Gap disconnected", "Resubscribed {a}"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live("PUBSUB-049 one gap for each loss, however many dials fail", () =>
      Effect.gen(function* () {
        const fake = yield* willing(protocol)
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          for (let round = 0; round < 3; round++) {
            yield* fake.stop
            assert.deepStrictEqual(yield* take(ear, 1), ["Gap disconnected"])
            yield* Effect.sleep(60)
            assert.deepStrictEqual(yield* ear.rest, [])
            yield* fake.start
            assert.deepStrictEqual(yield* take(ear, 1), ["Resubscribed c"])
          }
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
      })
    )

    it.live(
      "PUBSUB-018 PUBSUB-019 PUBSUB-020 PUBSUB-014 PUBSUB-042 what is asked for while it is down is done when it is back",
      () =>
        Effect.gen(function* () {
          const fake = yield* willing(protocol)
          yield* Effect.gen(function* () {
            const [a, b] = [yield* listenLive(Redis.subscribe("a")), yield* listenLive(Redis.psubscribe("b*"))]
            yield* fake.stop
            assert.deepStrictEqual([yield* take(a, 1), yield* take(b, 1)], [["Gap disconnected"], ["Gap disconnected"]])
            const c = yield* listen(Redis.subscribe("c"))
            const d = yield* listen(Redis.psubscribe("d*"))
            yield* a.stop
            yield* b.stop
            const before = yield* fake.accepted
            yield* fake.start
            assert.deepStrictEqual([yield* take(c, 1), yield* take(d, 1)], [["Subscribed c"], ["Subscribed d*"]])
            assert.deepStrictEqual([yield* a.rest, yield* b.rest], [[], []])
            const written: Array<string> = []
            for (let index = before; index < (yield* fake.accepted); index++)
              written.push(...(yield* callsOf(fake, index)))
            assert.deepStrictEqual(written, ["SUBSCRIBE c", "PSUBSCRIBE d*"])
          }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
        })
    )
  })
}

describe("a connection for pub/sub", () => {
  it.live("writes the names of one turn in one go, and one command for each", () =>
    Effect.gen(function* () {
      const fake = yield* willing()
      yield* Effect.gen(function* () {
        const names = Array.from({ length: 1000 }, (_, i) => `c${i}`)
        yield* listenLive(Redis.subscribe(names))
        assert.deepStrictEqual(
          yield* callsOf(fake, 1),
          names.map((name) => `SUBSCRIBE ${name}`)
        )
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...quiet })))
    })
  )

  it.live("is closed some time after the last subscription, and a child of the tree until then", () =>
    Effect.gen(function* () {
      const fake = yield* willing()
      const Name = Redis.Name("redis")
      const registry = yield* Registry.make()
      const supervisor = yield* Supervisor.start(
        Supervisor.make({
          children: [Redis.childSpec({ id: "redis", register: Name, port: fake.port, leaseIdle: 50, ...quiet })]
        })
      ).pipe(Effect.provideService(Registry.Registry, registry))
      const service = yield* Redis.named(Name).pipe(Effect.provideService(Registry.Registry, registry))
      const subscribers = Effect.map(supervisor.tree, (root) =>
        (root.children[0]?.children.find(({ id }) => id === "pubsub")?.children ?? []).map((node) => ({
          children: node.children.map(({ id }) => id),
          restarts: node.restarts,
          type: node.type
        }))
      )
      assert.deepStrictEqual(yield* subscribers, [])
      const ear = yield* listenLive(service.subscribe({ kind: "channel", names: ["c"] }))
      const one = [{ children: ["session", "idle"], restarts: 0, type: "supervisor" as const }]
      assert.deepStrictEqual(yield* subscribers, one)
      yield* ear.stop
      const again = yield* listenLive(service.subscribe({ kind: "channel", names: ["c"] }))
      assert.strictEqual(yield* fake.accepted, 2)
      yield* again.stop
      yield* (yield* fake.connection(1)).closed
      while ((yield* subscribers).length > 0) yield* Effect.sleep(1)
      yield* listenLive(service.subscribe({ kind: "channel", names: ["c"] }))
      assert.deepStrictEqual(yield* subscribers, one)
      assert.strictEqual(yield* fake.accepted, 3)
    })
  )

  it.live("serves a package that has a Shared and no connection of its own", () =>
    Effect.gen(function* () {
      const fake = yield* willing()
      const options = Result.getOrThrow(Options.resolve({ port: fake.port, ...quiet }))
      const shared = yield* RedisConnection.makeShared(options)
      const registry = yield* Registry.make()
      yield* Supervisor.start(Supervisor.make({ children: shared.children })).pipe(
        Effect.provideService(Registry.Registry, registry)
      )
      const ear = yield* listenLive(shared.subscribe({ kind: "pattern", names: ["*"] }))
      assert.strictEqual(yield* fake.accepted, 1)
      shared.waiting.endSession("elsewhere")
      const [gap] = yield* Effect.all([ear.next])
      assert.ok(gap?._tag === "Gap")
      assert.include(gap.cause?.message, "elsewhere")
      assert.deepStrictEqual(yield* take(ear, 1), ["Resubscribed *"])
    })
  )

  it.live("a refusal that the server will repeat fails those who were never subscribed, and no one else", () =>
    Effect.gen(function* () {
      let refuses = false
      const gate: FakeServer.Handler = ([name]) => (refuses && name === "HELLO" ? "-WRONGPASS no\r\n" : undefined)
      const fake = yield* FakeServer.make((connection) => connection.serve(gate, handshake, subscribing(3)))
      yield* Effect.gen(function* () {
        const old = yield* listenLive(Redis.subscribe("old"))
        refuses = true
        yield* (yield* fake.connection(1)).close
        assert.deepStrictEqual(yield* take(old, 1), ["Gap disconnected"])
        yield* fake.connection(2)
        const next = yield* listen(Redis.subscribe("new"))
        const ended = yield* next.ended
        assert.include(String(ended), "WRONGPASS")
        refuses = false
        assert.deepStrictEqual(yield* take(old, 1), ["Resubscribed old"])
        yield* listenLive(Redis.subscribe("new"))
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...quiet, ...eager })))
    })
  )

  it.live("a refusal that passes fails who has just asked, and is waited out by who was subscribed", () =>
    Effect.gen(function* () {
      let busy = 0
      const gate: FakeServer.Handler = ([name]) =>
        busy > 0 && name === "SUBSCRIBE" && busy-- ? "-BUSY a script\r\n" : undefined
      const fake = yield* FakeServer.make((connection) => connection.serve(gate, handshake, subscribing(3)))
      yield* Effect.gen(function* () {
        const old = yield* listenLive(Redis.subscribe("old"))
        busy = 1
        const next = yield* listen(Redis.subscribe("new"))
        assert.include(String(yield* next.ended), "BUSY")
        busy = 3
        yield* (yield* fake.connection(1)).close
        assert.deepStrictEqual(yield* take(old, 2), ["Gap disconnected", "Resubscribed old"])
        assert.strictEqual(busy, 0)
        assert.strictEqual(yield* fake.accepted, 6)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...quiet, ...eager })))
    })
  )

  it.live("PUBSUB-051 PUBSUB-052 dials as the connection of commands does, one socket at a time", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        connection.index === 0 ? connection.serve(handshake) : connection.silent
      )
      yield* Effect.gen(function* () {
        yield* listen(Redis.subscribe("c"))
        yield* fake.connection(5)
        let open = 0
        for (const { connection, event } of yield* fake.log) {
          if (connection === 0) continue
          if (event === "opened") open++
          if (event === "closed" || event === "reset") open--
          // The end of the one before may be seen after the next has come, but there is never a third.
          assert.isAtMost(open, 2)
        }
      }).pipe(
        Effect.provide(
          Redis.layer({ port: fake.port, ...quiet, backoffInitial: 30, backoffFactor: 1, connectTimeout: 20 })
        )
      )
    })
  )

  it.effect("PUBSUB-025 CLIENT-025 asks an idle server in both protocols, and leaves it alone when it answers", () =>
    Effect.gen(function* () {
      for (const protocol of [2, 3] as const) {
        let pings = 0
        const pong: FakeServer.Handler = ([name], { index }) => {
          if (name !== "PING" || index === 0) return undefined
          pings++
          return pings === 1
            ? "+PONG\r\n"
            : pings % 3 === 0
              ? "-LOADING wait\r\n"
              : protocol === 2
                ? array(bulk("pong"), bulk(""))
                : "+PONG\r\n"
        }
        const fake = yield* FakeServer.make((connection) => connection.serve(pong, handshake, subscribing(protocol)))
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          for (let i = 0; i < 100; i++) {
            yield* TestClock.adjust(10)
            yield* TestClock.withLive(Effect.sleep(0))
          }
          assert.isAbove(pings, 5)
          assert.deepStrictEqual(yield* ear.rest, [])
          assert.strictEqual(yield* fake.accepted, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, protocol, healthCheckInterval: 50 })))
      }
    })
  )

  it.effect(
    "PUBSUB-030 a silent server is noticed within two intervals, and the gap begins where an answer has proven it whole",
    () =>
      Effect.gen(function* () {
        let silent = false
        const gate: FakeServer.Handler = ([name], { index }) =>
          silent && index === 1 && name === "PING" ? "" : undefined
        const fake = yield* FakeServer.make((connection) => connection.serve(gate, handshake, subscribing(3)))
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          const { currentTimeMillis } = yield* Effect.clockWith((clock) => Effect.succeed(clock))
          const step = Effect.andThen(TestClock.adjust(10), TestClock.withLive(Effect.sleep(1)))
          for (let i = 0; i < 25; i++) yield* step
          silent = true
          const silentAt = yield* currentTimeMillis
          // Messages go on coming for a while: they prove nothing of what was published since.
          const server = yield* fake.connection(1)
          for (let i = 0; i < 5; i++) {
            yield* server.send(push(bulk("message"), bulk("c"), bulk(String(i))))
            yield* ear.next
            yield* step
          }
          const events: Array<unknown> = []
          const reading = yield* submit(Effect.tap(ear.next, (event) => Effect.sync(() => events.push(event))))
          let waited = 0
          while (events.length === 0) {
            yield* step
            waited += 10
          }
          assert.isAtMost(waited, 210)
          const gap = yield* Fiber.join(reading)
          assert.ok(gap._tag === "Gap" && gap.cause?.reason._tag === "ConnectionError")
          assert.strictEqual(gap.cause.reason.kind, "health-check")
          assert.isAtMost(gap.since, silentAt)
          assert.isAtLeast(gap.since, silentAt - 110)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, healthCheckInterval: 100 })))
      })
  )

  it.live(
    "PUBSUB-035 PUBSUB-054 a payload that is no string fails the subscription that gets it, and no one else",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        yield* Effect.gen(function* () {
          for (const change of [["SET", "k", "v"], ["FLUSHALL"]]) {
            const good = yield* listenLive(Redis.subscribe("c"))
            const redirected = yield* listenLive(Redis.subscribe("__redis__:invalidate"))
            const id = /id=(\d+)/.exec(String(yield* server.command(["CLIENT", "LIST", "TYPE", "pubsub"])))?.[1] ?? ""
            yield* Effect.scoped(
              Effect.gen(function* () {
                const lease = yield* Redis.lease
                yield* lease.command(["CLIENT", "TRACKING", "ON", "REDIRECT", id])
                yield* lease.command(["GET", "k"])
                yield* server.command(change)
                assert.include(String(yield* redirected.ended), "no string")
              })
            )
            yield* Redis.publish("c", "fine")
            assert.deepStrictEqual(yield* take(good, 1), ["c: fine"])
            yield* good.stop
          }
        }).pipe(Effect.provide(Redis.layer({ port: server.port, protocol: 2, ...quiet })))
      }),
    departs(
      ...["PUBSUB-035", "PUBSUB-054"].map((id) =>
        overridden(id, "payloads are text or bytes; invalidations are pushes of RESP3, told by `RedisConnection.Hooks`")
      )
    )
  )

  it.live("PUBSUB-036 PUBSUB-053 starts with its service, whether its server is there or not", () =>
    Effect.gen(function* () {
      const at = (input: RedisOptions.Options) =>
        Effect.gen(function* () {
          const ear = yield* listen(Redis.subscribe("c"))
          assert.deepStrictEqual(yield* ear.rest, [])
          return (yield* Redis.status).address
        }).pipe(Effect.provide(Redis.layer({ ...quiet, ...input })))
      assert.strictEqual(yield* at({}), "127.0.0.1:6379")
      const refused = yield* Effect.exit(at({ port: 1, start: "await" }))
      assert.include(String(refused), "ECONNREFUSED")
    })
  )

  for (const state of ["handshaking", "subscribing", "live", "backoff", "suspended"] as const) {
    it.live(`closes within closeTimeout while it is ${state}, and its subscriptions end with that`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) => {
          if (connection.index === 0) return connection.serve(handshake)
          if (state === "handshaking") return connection.silent
          if (state === "subscribing")
            return connection.serve(handshake, ([name]) => (name === "SUBSCRIBE" ? "" : undefined))
          return connection.serve(handshake, subscribing(3))
        })
        const { close, use } = yield* closable({
          port: fake.port,
          ...quiet,
          backoffFirst: "1 hour",
          backoffInitial: "1 hour",
          backoffCap: "1 hour",
          closeTimeout: 200
        })
        yield* use(awaitState("ready"))
        const ear = yield* use(
          listen(Redis.subscribe("c", state === "suspended" ? { whenFull: "suspend", bufferMessages: 1 } : {}))
        )
        const subscriber = yield* fake.connection(1)
        if (state === "subscribing") yield* awaitCalls(fake, 1, 1)
        if (state === "live" || state === "backoff" || state === "suspended") yield* take(ear, 1)
        if (state === "backoff") {
          yield* subscriber.close
          assert.deepStrictEqual(yield* take(ear, 1), ["Gap disconnected"])
        }
        if (state === "suspended") yield* subscriber.send(push(bulk("message"), bulk("c"), bulk("x")).repeat(100))
        const begun = performance.now()
        yield* close
        assert.isBelow(performance.now() - begun, 1000)
        const ended = yield* ear.ended
        assert.ok(Exit.isFailure(ended))
        assert.include(String(ended), "closing")
        if (state === "live") assert.deepStrictEqual(yield* take(ear, 1), ["Gap disconnected"])
        yield* subscriber.closed
      })
    )
  }

  it.live(
    "PUBSUB-021 PUBSUB-022 PUBSUB-026 PUBSUB-027 PUBSUB-028 PUBSUB-029 PUBSUB-031 PUBSUB-032 PUBSUB-033 PUBSUB-034 PUBSUB-038 PUBSUB-043 CLIENT-027 its loss is a gap, and it is no client of its own",
    () =>
      Effect.gen(function* () {
        const fake = yield* willing()
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          yield* (yield* fake.connection(1)).reset
          assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", "Resubscribed c"])
          assert.strictEqual((yield* Redis.status).sessions, 1)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...quiet, ...eager })))
      }),
    departs(
      overridden("PUBSUB-021", "exitOnDisconnection is about the connection of commands; a subscriber is told a gap"),
      overridden("PUBSUB-022", "exitOnDisconnection is about the connection of commands; a subscriber is told a gap"),
      ...["PUBSUB-026", "PUBSUB-027", "PUBSUB-028", "PUBSUB-029"].map((id) =>
        notApplicable(id, "nobody pings the connection for pub/sub but its health check; its state is told by events")
      ),
      ...["PUBSUB-031", "PUBSUB-032", "PUBSUB-033", "PUBSUB-034"].map((id) =>
        notApplicable(id, "no client id is kept: client-side caching comes as a package of its own")
      ),
      notApplicable("PUBSUB-038", "subscriptions belong to a service, which has the name"),
      notApplicable("PUBSUB-043", "there is no call that unsubscribes: a subscription ends with its stream"),
      notApplicable("CLIENT-027", "UNSUBSCRIBE is written by us alone, one command for each name that was subscribed")
    )
  )
})
