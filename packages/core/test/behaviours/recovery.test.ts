/** What becomes of calls when a session ends, and when the next one is dialled. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import {
  awaitState,
  better,
  callsOf,
  connect,
  departs,
  eager,
  matrix,
  outcomeOf,
  overridden,
  reasonOf,
  serving,
  submit,
  withRandom,
  withSleepLog
} from "./support.ts"

const { bulk, handshake } = FakeServer

/** How a server goes away. */
const ways = [
  ["FIN", (connection: FakeServer.Connection) => connection.close],
  ["RST", (connection: FakeServer.Connection) => connection.reset]
] as const

matrix("A session that the server ends", (it, cell) => {
  const killAll = Effect.flatMap(RedisServer.RedisServer, (server) =>
    server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
  )

  it(
    "RECON-002 RECON-013 CONN-061 is followed by another, with what the options say set again",
    Effect.gen(function* () {
      yield* Redis.command(["PING"])
      const first = yield* Redis.command(["CLIENT", "ID"])
      const down = yield* submit(Stream.runCollect(Stream.take(Redis.events, 1)))
      yield* killAll
      assert.deepStrictEqual(
        (yield* Fiber.join(down)).map(({ state, cause }) => [state, cause?.reason._tag]),
        [["backoff", "ConnectionError"]]
      )
      yield* awaitState("ready")
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      assert.notStrictEqual(yield* Redis.command(["CLIENT", "ID"]), first)
      assert.strictEqual((yield* Redis.status).sessions, 2)
    }),
    departs(
      better(
        "CONN-061",
        "what a session needs beyond its options can be given as `onConnect`, which every session runs"
      )
    )
  )

  it(
    "CLIENT-032 RECON-017 CONN-001 keeps its database, its name and its user",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const program = Effect.gen(function* () {
        const info = Redis.command(["CLIENT", "INFO"])
        yield* Redis.command(["SET", "k", "in 3"])
        yield* killAll
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "in 3")
        const text = String(yield* info)
        assert.match(text, / db=3 /)
        assert.match(text, / name=worker /)
        assert.include(text, ` user=${cell.user ? "app" : "default"} `)
      })
      yield* Effect.provide(program, connect(cell, { database: 3, name: "worker" }))
      assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
      assert.deepStrictEqual(
        yield* server.commands([
          ["SELECT", 3],
          ["GET", "k"]
        ]),
        ["OK", "in 3"]
      )
    })
  )

  it(
    "RECON-006 CLIENT-034 runs no write a second time",
    Effect.gen(function* () {
      const writes = yield* Effect.forEach(Array.from({ length: 200 }), () =>
        submit(outcomeOf(Redis.command(["INCR", "n"])))
      )
      yield* killAll
      const outcomes = yield* Effect.forEach(writes, Fiber.join)
      const answered = outcomes.filter(([value]) => typeof value === "number").length
      const unknown = outcomes.filter(([, delivery]) => delivery === "unknown").length
      assert.strictEqual(answered + unknown, 200)
      const count = Number(yield* Redis.command(["GET", "n"]))
      assert.ok(count >= answered && count <= 200, `${count} of 200 ran, ${answered} were answered`)
    })
  )
})

describe("A drop", () => {
  for (const [name, drop] of ways) {
    it.live(
      `CLIENT-034 RECON-004 by ${name} makes each written write unknown, once; what was not written runs once`,
      () =>
        Effect.gen(function* () {
          const fake = yield* FakeServer.make()
          yield* Effect.gen(function* () {
            const calls = yield* Effect.forEach(["a", "b", "c", "queued"], (key) =>
              submit(outcomeOf(Redis.command(["INCR", key])))
            )
            const first = yield* fake.connection(0)
            yield* first.answer(handshake)
            for (const key of ["a", "b", "c"]) yield* first.expect(["INCR", key])
            yield* drop(first)
            const second = yield* fake.connection(1)
            yield* second.answer(handshake)
            yield* second.expect(["INCR", "queued"])
            yield* second.send(":1\r\n")
            assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [
              ["disconnected", "unknown"],
              ["disconnected", "unknown"],
              ["disconnected", "unknown"],
              [1]
            ])
            assert.deepStrictEqual(yield* callsOf(fake, 0), ["INCR a", "INCR b", "INCR c"])
            assert.deepStrictEqual(yield* callsOf(fake, 1), ["INCR queued"])
          }).pipe(Effect.provide(Redis.layer({ port: fake.port, inFlightCommands: 3, ...eager })))
        })
    )

    it.live(`RECON-005 by ${name} fails a pipeline of writes as a whole, and says how many replies had come`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          const call = yield* submit(
            reasonOf(
              Redis.pipeline([
                ["INCR", "a"],
                ["INCR", "b"],
                ["INCR", "c"]
              ])
            )
          )
          const first = yield* fake.connection(0)
          yield* first.answer(handshake)
          yield* first.expect(["INCR", "a"])
          yield* first.send(":1\r\n:2\r\n")
          yield* first.expect(["INCR", "b"])
          yield* first.expect(["INCR", "c"])
          yield* first.end
          if (name === "RST") yield* first.reset
          const reason = yield* Fiber.join(call)
          assert.ok(reason._tag === "ConnectionError")
          assert.deepStrictEqual([reason.kind, reason.delivery], ["disconnected", "unknown"])
          if (name === "FIN") assert.strictEqual(reason.received, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      })
    )

    it.live(
      `RECON-006 by ${name} makes a written read run once more, ahead of what was queued, unless it says no`,
      () =>
        Effect.gen(function* () {
          const fake = yield* FakeServer.make()
          yield* Effect.gen(function* () {
            const reads = yield* Effect.forEach(["a", "b"], (key) => submit(outcomeOf(Redis.command(["GET", key]))))
            const once = yield* submit(outcomeOf(Redis.command(["GET", "once"], { retry: false })))
            const queued = yield* submit(outcomeOf(Redis.command(["SET", "k", "v"])))
            const first = yield* fake.connection(0)
            yield* first.answer(handshake)
            for (const key of ["a", "b", "once"]) yield* first.expect(["GET", key])
            yield* drop(first)
            const second = yield* fake.connection(1)
            yield* second.answer(handshake)
            yield* second.expect(["GET", "a"])
            yield* second.expect(["GET", "b"])
            yield* second.send(`${bulk("A")}${bulk("B")}`)
            yield* second.expect(["SET", "k", "v"])
            yield* second.send("+OK\r\n")
            assert.deepStrictEqual(yield* Effect.forEach([...reads, once, queued], Fiber.join), [
              ["A"],
              ["B"],
              ["disconnected", "unknown"],
              ["OK"]
            ])
          }).pipe(Effect.provide(Redis.layer({ port: fake.port, inFlightCommands: 3, ...eager })))
        }),
      departs(
        overridden("RECON-006", "a read-only command runs once more on the next session; anything else never does")
      )
    )
  }

  it.live("a read is repeated once only: the second drop fails it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) => Effect.andThen(first.answer(handshake), Effect.andThen(first.command, first.reset)),
        (second) => Effect.andThen(second.answer(handshake), Effect.andThen(second.command, second.reset)),
        serving()
      ])
      const outcome = yield* outcomeOf(Redis.command(["GET", "k"])).pipe(
        Effect.provide(Redis.layer({ port: fake.port, ...eager }))
      )
      assert.deepStrictEqual(outcome, ["disconnected", "unknown"])
    })
  )

  it.live("RECON-023 in the middle of a reply leaves nothing of it behind", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) =>
          Effect.gen(function* () {
            yield* first.answer(handshake)
            yield* first.expect(["SET", "k", "v"])
            yield* first.send(`*3\r\n${bulk("half")}$1000\r\nfirst half`)
            yield* first.close
          }),
        serving(([name]) => (name === "GET" ? bulk("fresh") : undefined))
      ])
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"])), ["disconnected", "unknown"])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "fresh")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    })
  )

  it.live(
    "PROTO-036 CLIENT-037 after a byte outside the grammar fails what was in flight, and the next session is right",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make([
          (first) =>
            Effect.gen(function* () {
              yield* first.answer(handshake)
              yield* first.expect(["SET", "a", "1"])
              yield* first.expect(["SET", "b", "2"])
              yield* first.send("+OK\r\n@x\r\n+OK\r\n")
              yield* first.closed
            }),
          serving(([name]) => (name === "GET" ? bulk("own") : undefined))
        ])
        yield* Effect.gen(function* () {
          const outcomes = yield* Effect.all(
            [outcomeOf(Redis.command(["SET", "a", 1])), outcomeOf(Redis.command(["SET", "b", 2]))],
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(outcomes, [["OK"], ["protocol", "unknown"]])
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "own")
          assert.strictEqual(yield* fake.accepted, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
      })
  )

  it.live("PROTO-037 after a reply that nobody waits for gives it to nobody", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        yield* submit(Redis.command(["PING"]))
        const first = yield* fake.connection(0)
        const served = yield* submit(first.answer(handshake))
        yield* awaitState("ready")
        yield* Redis.command(["PING"])
        yield* first.send(bulk("stray"))
        yield* awaitState("backoff")
        yield* Fiber.interrupt(served)
        const next = yield* submit(Redis.command(["GET", "k"]))
        const second = yield* fake.connection(1)
        yield* second.answer(handshake)
        yield* second.expect(["GET", "k"])
        yield* second.send(bulk("own"))
        assert.strictEqual(yield* Fiber.join(next), "own")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    })
  )

  it.live("PROTO-038 replies of many callers in one segment, or one byte at a time, find their callers", () =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`)
      for (const cuts of [undefined, 1, 7]) {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          const calls = yield* Effect.forEach(keys, (key) => submit(Redis.command(["GET", key])))
          const connection = yield* fake.connection(0)
          yield* connection.answer(handshake)
          for (const key of keys) yield* connection.expect(["GET", key])
          yield* connection.send(keys.map((key) => bulk(`of ${key}`)).join(""), { cuts, gapMillis: 0 })
          const replies = yield* Effect.forEach(calls, Fiber.join)
          assert.deepStrictEqual(
            replies,
            keys.map((key) => `of ${key}`)
          )
        }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      }
    })
  )

  it.live("CONN-044 pipelines of two callers are blocks on the wire", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving((command) => bulk(command.join(" "))))
      yield* Effect.gen(function* () {
        const pipeline = (name: string) => Redis.pipeline(Array.from({ length: 50 }, (_, i) => ["INCRBY", name, i + 1]))
        yield* Effect.all([pipeline("a"), Redis.command(["SET", "x", 1]), pipeline("b")], {
          concurrency: "unbounded"
        })
        const order = (yield* callsOf(fake, 0)).map((command) => command.split(" ")[1])
        assert.deepStrictEqual(order, [...Array(50).fill("a"), "x", ...Array(50).fill("b")])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )
})

describe("While there is no session", () => {
  it.live(
    "CONN-041 CONN-042 a call waits for the first handshake, and for the next one when that fails",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          const call = yield* submit(Redis.command(["SET", "k", "v"]))
          const first = yield* fake.connection(0)
          yield* first.expect(["HELLO", "3"])
          assert.strictEqual((yield* Redis.status).queued, 1)
          yield* first.reset
          const second = yield* fake.connection(1)
          yield* second.answer(handshake)
          yield* second.expect(["SET", "k", "v"])
          yield* second.send("+OK\r\n")
          assert.strictEqual(yield* Fiber.join(call), "OK")
          assert.deepStrictEqual(yield* callsOf(fake, 0), [])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
      }),
    departs(
      overridden(
        "CONN-042",
        "the first connecting always waits: a call fails at its deadline only, or when the server refuses us"
      )
    )
  )

  it.effect(
    "RECON-022 a call waits in the backoff, or fails at once where the connection says so",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* fake.stop
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"])), ["connect", "unsent"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, whenDown: "fail" })))
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          const call = yield* submit(Redis.command(["SET", "k", "v"]))
          yield* fake.start
          yield* TestClock.adjust(200)
          const connection = yield* fake.connection(0)
          yield* connection.answer(handshake)
          yield* connection.expect(["SET", "k", "v"])
          yield* connection.send("+OK\r\n")
          assert.strictEqual(yield* Fiber.join(call), "OK")
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, backoffInitial: 100 })))
      }),
    departs(
      overridden(
        "RECON-022",
        'calls wait in the mailbox within their deadline; `whenDown: "fail"` is the row\'s behaviour'
      )
    )
  )

  it.effect(
    "CLIENT-039 a full mailbox fails the next call, or lets it wait; then all run in order, and expired ones never",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* fake.stop
        const options = { port: fake.port, mailboxCommands: 3, backoffInitial: 100, backoffCap: 100 }
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          yield* Effect.forEach([1, 2, 3], (i) => submit(outcomeOf(Redis.command(["SET", "k", i]))))
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", 4])), ["mailbox-full", "unsent"])
          assert.strictEqual((yield* Redis.status).queued, 3)
        }).pipe(Effect.provide(Redis.layer({ ...options, whenFull: "fail" })))
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          const calls = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (i) =>
            submit(outcomeOf(Redis.command(["SET", "k", i], { timeout: i % 3 === 2 ? 50 : 10_000 })))
          )
          yield* TestClock.adjust(60)
          yield* fake.start
          yield* TestClock.adjust(200)
          const connection = yield* fake.connection(0)
          yield* connection.serve(handshake, ([, , i]) => `:${i}\r\n`).pipe(submit)
          const expired = ["TimeoutError", "queued", "unsent"]
          assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), [[1], expired, [3], [4], expired, [6]])
          assert.deepStrictEqual(yield* callsOf(fake, 0), ["SET k 1", "SET k 3", "SET k 4", "SET k 6"])
        }).pipe(Effect.provide(Redis.layer({ ...options, whenFull: "suspend" })))
      })
  )

  it.effect(
    "CLIENT-039 a mailbox is bounded by bytes too, and one call that alone is larger goes in when it is empty",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* fake.stop
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          yield* submit(outcomeOf(Redis.command(["SET", "k", "x".repeat(2000)])))
          assert.isAbove((yield* Redis.status).queuedBytes, 2000)
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", 1])), ["mailbox-full", "unsent"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, mailboxBytes: 1000, whenFull: "fail" })))
      })
  )
})

const connectTimeout = 60_001

/** The delays before the dials to a closed port. */
const delays = (count: number, options: RedisOptions.Options) =>
  withSleepLog([connectTimeout], (sleeps) =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const program = Effect.gen(function* () {
        const seen: Array<number> = []
        for (let i = 0; i < count; i++) {
          const delay = yield* sleeps.next
          seen.push(Math.round(delay))
          yield* TestClock.adjust(delay)
        }
        const last = yield* sleeps.next
        yield* fake.start
        yield* submit(Effect.flatMap(fake.connection(0), (connection) => connection.serve(handshake)))
        yield* TestClock.adjust(last)
        yield* awaitState("ready")
        assert.strictEqual((yield* Redis.status).sessions, count + 2)
        return seen
      })
      return yield* Effect.provide(
        program,
        Redis.layer({ port: fake.port, healthCheckInterval: "infinite", connectTimeout, ...options })
      )
    })
  ).pipe(withRandom(0.5), Effect.scoped)

describe("The dials to a closed port", () => {
  it.effect("RECON-007 RECON-012 CLIENT-040 follow the backoff, and heal when the port opens", () =>
    Effect.gen(function* () {
      const options = { backoffInitial: 100, backoffFactor: 1.5, backoffCap: 10_000 }
      assert.deepStrictEqual(yield* delays(5, options), [100, 150, 225, 338, 506])
      assert.deepStrictEqual(yield* delays(7, {}), [100, 200, 400, 800, 1600, 3000, 3000])
    })
  )

  it.effect(
    "RECON-008 RECON-010 RECON-027 never wait longer than the cap, the first one included",
    () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* delays(4, { backoffInitial: 100, backoffCap: 200 }), [100, 200, 200, 200])
        assert.deepStrictEqual(yield* delays(3, { backoffInitial: 100, backoffCap: 100 }), [100, 100, 100])
        assert.deepStrictEqual(yield* delays(3, { backoffInitial: 600, backoffCap: 100 }), [100, 100, 100])
      }),
    departs(better("RECON-027", "the cap holds for every delay, the first one included"))
  )

  it.effect(
    "RECON-009 wait longer each time where the cap is far",
    () =>
      Effect.gen(function* () {
        const grown = yield* delays(8, { backoffInitial: 1000, backoffFactor: 4, backoffCap: 2 ** 31 - 1 })
        assert.deepStrictEqual(grown, [1e3, 4e3, 16e3, 64e3, 256e3, 1024e3, 4096e3, 16384e3])
      }),
    departs(
      overridden("RECON-009", "a delay is bounded: the longest cap is 2^31-1 milliseconds, which nobody waits for")
    )
  )

  it.effect(
    "RECON-011 start over once a session was ready, and then the first is at once",
    () =>
      withSleepLog([connectTimeout], (sleeps) =>
        Effect.gen(function* () {
          const fake = yield* FakeServer.make()
          yield* fake.stop
          yield* Effect.gen(function* () {
            for (const expected of [100, 200, 400]) {
              const delay = yield* sleeps.next
              assert.strictEqual(delay, expected)
              if (expected === 400) yield* fake.start
              yield* TestClock.adjust(delay)
            }
            const first = yield* fake.connection(0)
            yield* submit(first.serve(handshake))
            yield* awaitState("ready")
            // Success starts the backoff over, and the first dial is at once.
            yield* TestClock.adjust("9 seconds")
            yield* first.reset
            assert.strictEqual(yield* sleeps.next, 25)
            yield* TestClock.adjust(25)
            for (const index of [1, 2, 3]) {
              const young = yield* fake.connection(index)
              yield* submit(young.serve(handshake))
              yield* awaitState("ready")
              yield* young.reset
              // Young, as the one before it: so far apart, and it does not grow.
              assert.strictEqual(yield* sleeps.next, 100)
              yield* TestClock.adjust(100)
            }
            const stable = yield* fake.connection(4)
            yield* submit(stable.serve(handshake))
            yield* awaitState("ready")
            yield* TestClock.adjust("10 seconds")
            yield* fake.stop
            assert.strictEqual(yield* sleeps.next, 25)
            yield* TestClock.adjust(25)
            assert.strictEqual(yield* sleeps.next, 100)
          }).pipe(Effect.provide(Redis.layer({ port: fake.port, healthCheckInterval: "infinite", connectTimeout })))
        })
      ).pipe(withRandom(0.5)),
    departs(better("RECON-011", "the first dial after a session that was ready is at once, give or take a jitter"))
  )
})

describe("A handshake that fails", () => {
  it.live("RECON-019 because the connection ended is tried again", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const fails = (index: number, how: (connection: FakeServer.Connection) => Effect.Effect<void>) =>
        Effect.gen(function* () {
          const connection = yield* fake.connection(index)
          yield* connection.expect(["HELLO", "3"])
          yield* how(connection)
        })
      yield* submit(
        Effect.gen(function* () {
          yield* fails(0, (first) => first.close)
          yield* fails(1, (second) => Effect.andThen(second.send("%7\r\n$6\r\nser"), second.reset))
          yield* (yield* fake.connection(2)).serve(handshake)
        })
      )
      const program = Effect.andThen(Redis.command(["PING"]), Redis.status)
      const status = yield* Effect.provide(program, Redis.layer({ port: fake.port, ...eager }))
      assert.deepStrictEqual([status.state, status.sessions], ["ready", 3])
    })
  )
})
