/** Transactions, noreply, leases, blocking commands and scripts. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, Resp } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Net from "node:net"
import {
  better,
  callsOf,
  departs,
  eager,
  encoded,
  matrix,
  notApplicable,
  outcomeOf,
  overridden,
  reasonOf,
  serving,
  submit
} from "./support.ts"

const { array, bulk, handshake } = FakeServer

const notAnInteger = "ERR value is not an integer or out of range"

const isTimeout = (reason: RedisError.Reason): void => assert.strictEqual(reason._tag, "TimeoutError", reason.message)

/** Waits until the server has as many blocked clients. */
const awaitBlocked = (count: number) =>
  Effect.flatMap(RedisServer.RedisServer, (server) =>
    Effect.repeat(server.command(["INFO", "clients"]), {
      until: (info) => String(info).includes(`blocked_clients:${count}\r`)
    })
  )

matrix("A transaction", (it) => {
  it(
    "TX-003 CLIENT-022 gives the elements of EXEC alone; without commands it is refused",
    Effect.gen(function* () {
      const replies = yield* Redis.transaction([
        ["SET", "k", 1],
        ["GET", "k"]
      ])
      assert.deepStrictEqual(replies, ["OK", "1"])
      assert.strictEqual((yield* reasonOf(Redis.transaction([])))._tag, "RedisArgumentError")
    }),
    departs(overridden("CLIENT-022", "an empty transaction is refused before it is sent, as an empty pipeline is"))
  )

  it(
    "TX-006 CLIENT-019 succeeds with the errors of commands that failed while it ran as elements",
    Effect.gen(function* () {
      yield* Redis.command(["SET", "text", "foo"])
      const [error, value] = yield* Redis.transaction([
        ["INCR", "text"],
        ["GET", "text"]
      ])
      assert.ok(error instanceof Resp.ReplyError)
      assert.deepStrictEqual([error.message, error.command, value], [notAnInteger, "INCR", "foo"])
      const [ok, two, wrong] = yield* Redis.transaction([
        ["SET", "a", 1],
        ["INCR", "a"],
        ["LPUSH", "a", "x"]
      ])
      assert.ok(wrong instanceof Resp.ReplyError)
      assert.deepStrictEqual([ok, two, wrong.code], ["OK", 2, "WRONGTYPE"])
    })
  )

  it(
    "TX-005 TX-013 CLIENT-020 is aborted when a command cannot be queued, says which and why, and nothing ran",
    Effect.gen(function* () {
      const reason = yield* reasonOf(
        Redis.transaction([
          ["SET", "b", 1],
          ["SADD", "bar"],
          ["SET", "a"]
        ])
      )
      assert.ok(reason._tag === "TransactionAborted")
      assert.include(reason.detail, "EXECABORT Transaction discarded because of previous errors.")
      assert.include(reason.message, "wrong number of arguments for 'sadd' command")
      assert.deepStrictEqual(
        reason.queueErrors.map(({ index, code }) => [index, code]),
        [
          [1, "ERR"],
          [2, "ERR"]
        ]
      )
      assert.strictEqual(yield* Redis.command(["EXISTS", "a", "b"]), 0)
    }),
    departs(better("TX-013", "the error carries what the server said to each command it refused, with its index"))
  )

  it(
    "TX-001 TX-002 is spoken by hand on a lease",
    Effect.scoped(
      Effect.gen(function* () {
        const lease = yield* Redis.lease
        const say = (...commands: ReadonlyArray<Resp.Command>) =>
          Effect.forEach(commands, (command) => lease.command(command))
        assert.deepStrictEqual(yield* say(["MULTI"], ["INCR", "a"], ["INCR", "b"], ["INCRBY", "a", 4], ["EXEC"]), [
          "OK",
          "QUEUED",
          "QUEUED",
          "QUEUED",
          [1, 1, 5]
        ])
        yield* Redis.command(["SET", "discarding", "foo"])
        assert.deepStrictEqual(
          yield* say(["MULTI"], ["SET", "discarding", "bar"], ["DISCARD"], ["GET", "discarding"]),
          ["OK", "QUEUED", "OK", "foo"]
        )
      })
    ),
    departs(
      overridden(
        "TX-001",
        "MULTI by hand needs a lease: on the shared connection it would take in other callers' commands"
      ),
      overridden(
        "TX-002",
        "MULTI by hand needs a lease: on the shared connection it would take in other callers' commands"
      )
    )
  )

  it(
    "TX-007 CLIENT-021 does nothing when a watched key has changed",
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        const lease = yield* Redis.lease
        yield* lease.command(["WATCH", "w"])
        yield* server.command(["SET", "w", 1])
        const reason = yield* reasonOf(lease.transaction([["SET", "w", 2]]))
        assert.strictEqual(reason._tag, "WatchConflict")
        assert.strictEqual(yield* Redis.command(["GET", "w"]), "1")
      })
    ),
    departs(
      overridden("TX-007", "a conflict is the failure `WatchConflict`; WATCH needs a lease, or is done by Redis.watch")
    )
  )

  it(
    "CLIENT-021 by watch reads anew and succeeds after a conflict",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Redis.command(["SET", "n", 1])
      let attempts = 0
      const body = Effect.gen(function* () {
        const n = yield* Redis.command(["GET", "n"], { schema: Schema.FiniteFromString })
        if (attempts++ === 0) yield* Effect.orDie(server.command(["SET", "n", 10]))
        return [["SET", "n", n + 1]]
      })
      assert.deepStrictEqual(yield* Redis.watch(["n"], body), ["OK"])
      assert.deepStrictEqual([attempts, yield* Redis.command(["GET", "n"])], [2, "11"])
    })
  )

  it(
    "CLIENT-023 does not succeed when its connection was lost after WATCH",
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        const lease = yield* Redis.lease
        const id = yield* lease.command(["CLIENT", "ID"])
        yield* lease.command(["WATCH", "w"])
        yield* server.command(["CLIENT", "KILL", "ID", Number(id)])
        const reason = yield* reasonOf(lease.transaction([["SET", "w", 2]]))
        assert.strictEqual(reason._tag, "ConnectionError", reason.message)
        assert.deepStrictEqual(yield* outcomeOf(lease.transaction([["SET", "w", 2]])), ["closed", "unsent"])
        assert.strictEqual(yield* Redis.command(["GET", "w"]), null)
      })
    )
  )

  it(
    "TX-011 takes no command that would desynchronise the connection, nor one that belongs to it",
    Effect.gen(function* () {
      for (const command of [["SUBSCRIBE", "c"], ["client", "reply", "off"], ["MULTI"], ["EXEC"], ["WATCH", "k"], []]) {
        const reason = yield* reasonOf(Redis.transaction([["SET", "k", "v"], command]))
        assert.strictEqual(reason._tag, "RedisArgumentError", command.join(" "))
      }
      assert.strictEqual(yield* Redis.command(["EXISTS", "k"]), 0)
    })
  )
})

describe("A transaction on the wire", () => {
  it.live("TX-008 CLIENT-022 is one block, and one write, whoever else calls", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) =>
          name === "MULTI" ? "+OK\r\n" : name === "EXEC" ? array(":1\r\n", ":2\r\n") : "+QUEUED\r\n"
        )
      )
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const before = Buffer.from(yield* fake.received(0)).length
        const transaction = (name: string) =>
          Redis.transaction([
            ["INCR", `${name}1`],
            ["INCR", `${name}2`]
          ])
        yield* Effect.all(
          [
            Effect.ignore(Redis.command(["SET", "x", 1])),
            transaction("a"),
            Effect.ignore(Redis.command(["SET", "y", 1])),
            transaction("b")
          ],
          { concurrency: "unbounded" }
        )
        const block = (name: string) => encoded(["MULTI"], ["INCR", `${name}1`], ["INCR", `${name}2`], ["EXEC"])
        const wire = Buffer.from(yield* fake.received(0))
          .toString()
          .slice(before)
        assert.strictEqual(wire, encoded(["SET", "x", 1]) + block("a") + encoded(["SET", "y", 1]) + block("b"))
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("CLIENT-022 is not interleaved with a thousand other commands, as the server sees them", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const seen = yield* monitor(server)
      yield* Effect.gen(function* () {
        const transaction = (name: string) =>
          Redis.transaction(Array.from({ length: 10 }, (_, i) => ["SET", `${name}${i}`, i]))
        const plain = Effect.forEach(
          Array.from({ length: 500 }, (_, i) => i),
          (i) => Redis.command(["SET", `plain${i}`, i]),
          { concurrency: "unbounded" }
        )
        yield* Effect.all([plain, transaction("a"), plain, transaction("b")], { concurrency: "unbounded" })
        yield* Redis.command(["SET", "last", 1])
      }).pipe(Effect.provide(Redis.layer({ port: server.port })))
      const commands = yield* seen('"SET" "last" "1"')
      for (const name of ["a", "b"]) {
        const start = commands.findIndex((command) => command.startsWith(`"SET" "${name}0"`)) - 1
        const block = Array.from({ length: 10 }, (_, i) => `"SET" "${name}${i}" "${i}"`)
        assert.deepStrictEqual(commands.slice(start, start + 12), ['"MULTI"', ...block, '"EXEC"'])
      }
      assert.strictEqual(commands.filter((command) => command.startsWith('"SET" "plain')).length, 1000)
    })
  )

  it.live("TX-010 is unknown when the server closes before EXEC is answered, and is never repeated", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) =>
          Effect.gen(function* () {
            yield* first.answer(handshake)
            yield* first.expect(["MULTI"])
            yield* first.expect(["GET", "k"])
            yield* first.expect(["EXEC"])
            yield* first.send("+OK\r\n+QUEUED\r\n")
            yield* first.close
          }),
        serving()
      ])
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* outcomeOf(Redis.transaction([["GET", "k"]])), ["disconnected", "unknown"])
        yield* Redis.command(["PING"])
        assert.deepStrictEqual(yield* callsOf(fake, 1), [])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    })
  )

  it.live(
    "TX-004 fails at its deadline when the server is held up",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        yield* Effect.gen(function* () {
          const transaction = Redis.transaction([
            ["SET", "k", 1],
            ["GET", "k"]
          ])
          assert.deepStrictEqual(yield* transaction, ["OK", "1"])
          const popping = yield* submit(Redis.command(["BLPOP", "q", 0]))
          assert.deepStrictEqual(yield* transaction, ["OK", "1"])
          yield* Fiber.interrupt(popping)
          yield* server.pause
          isTimeout(yield* reasonOf(Redis.transaction([["SET", "k", 1]], { timeout: 10 })))
          yield* server.resume
        }).pipe(Effect.provide(Redis.layer({ port: server.port })))
      }),
    departs(overridden("TX-004", "a blocking command holds up nobody, since it has a connection of its own"))
  )
})

/** What the server runs, in order: answers a wait for a command, which gives all up to it. */
const monitor = (server: RedisServer.RedisServer) =>
  Effect.gen(function* () {
    let text = ""
    let notify = () => {}
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect(server.port, server.host)),
      (socket) => Effect.sync(() => socket.destroy())
    )
    socket.on("data", (chunk) => {
      text += chunk.toString()
      notify()
    })
    const until = (found: () => boolean) =>
      Effect.callback<void>((resume) => {
        notify = () => {
          if (found()) resume(Effect.void)
        }
        notify()
      })
    socket.write("MONITOR\r\n")
    yield* until(() => text.startsWith("+OK\r\n"))
    return (last: string) =>
      Effect.map(
        until(() => text.includes(last)),
        () => text.split("\r\n").flatMap((line) => /\] (".*)$/.exec(line)?.[1] ?? [])
      )
  })

matrix("Noreply", (it) => {
  it(
    "NOREPLY-001 NOREPLY-003 NOREPLY-004 runs the commands and gives nothing",
    Effect.gen(function* () {
      assert.isUndefined(
        yield* Redis.noreply([
          ["INCR", "k"],
          ["INCR", "k"]
        ])
      )
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "2")
      const [, mine] = yield* Effect.all([Redis.noreply([["SET", "k", "v"]]), Redis.command(["ECHO", "mine"])], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual([mine, yield* Redis.command(["GET", "k"])], ["mine", "v"])
    })
  )

  it(
    "NOREPLY-002 NOREPLY-013 takes no command that a pipeline would not take, nor one that blocks",
    Effect.gen(function* () {
      const wrong: ReadonlyArray<ReadonlyArray<Resp.Command>> = [
        [],
        [["SET", "k", "v"], []],
        [
          ["SET", "k", "v"],
          ["SUBSCRIBE", "c"]
        ],
        [
          ["SET", "k", "v"],
          ["CLIENT", "REPLY", "ON"]
        ],
        [
          ["SET", "k", "v"],
          ["BLPOP", "q", 10]
        ]
      ]
      for (const commands of wrong) {
        const reason = yield* reasonOf(Redis.noreply(commands, { timeout: 1000 }))
        assert.strictEqual(reason._tag, "RedisArgumentError", reason.message)
      }
      assert.strictEqual(yield* Redis.command(["EXISTS", "k"]), 0)
    }),
    departs(
      overridden(
        "NOREPLY-002",
        "a blocking command is refused: it would hold up everybody for a reply that nobody reads"
      )
    )
  )
})

describe("Noreply where the server has no CLIENT", () => {
  for (const resp2Only of [false, true]) {
    it.live(
      `NOREPLY-007 NOREPLY-008 NOREPLY-009 fails with the server's words, and the surplus replies go to nobody else (${resp2Only ? "RESP2" : "RESP3"})`,
      () =>
        Effect.gen(function* () {
          const server = yield* RedisServer.make({ resp2Only, config: { "rename-command": 'CLIENT ""' } })
          yield* Effect.gen(function* () {
            const [refused, ...echoes] = yield* Effect.all(
              [
                reasonOf(Redis.noreply([["INCR", "k"]])),
                Redis.command(["ECHO", "a"]),
                Redis.command(["GET", "k"]),
                Redis.command(["ECHO", "b"])
              ],
              { concurrency: "unbounded" }
            )
            assert.ok(refused._tag === "ReplyError")
            assert.match(refused.message, /unknown command .CLIENT/)
            assert.deepStrictEqual([refused.delivery, refused.replies], ["unknown", [1]])
            assert.deepStrictEqual(echoes, ["a", "1", "b"])
            assert.strictEqual((yield* Redis.status).sessions, 1)
          }).pipe(Effect.provide(Redis.layer({ port: server.port })))
        }),
      departs(
        better(
          "NOREPLY-008",
          "the further replies belong to the call that failed: no connection is lost and no caller sees them"
        ),
        better(
          "NOREPLY-009",
          "the further replies belong to the call that failed: no connection is lost and no caller sees them"
        )
      )
    )
  }
})

describe("Noreply on the wire", () => {
  it.live("NOREPLY-010 is one block of CLIENT REPLY OFF, the commands, CLIENT REPLY ON and a PING that proves it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* Effect.gen(function* () {
        const call = yield* submit(
          Redis.noreply([
            ["INCR", "a"],
            ["INCR", "b"]
          ])
        )
        const next = yield* submit(Redis.command(["GET", "k"]))
        const connection = yield* fake.connection(0)
        yield* connection.answer((command, connection) =>
          command[2] === "OFF" || command[0] === "INCR" ? undefined : handshake(command, connection)
        )
        yield* connection.expectBytes(
          encoded(["CLIENT", "REPLY", "OFF"], ["INCR", "a"], ["INCR", "b"], ["CLIENT", "REPLY", "ON"])
        )
        const [, marker = ""] = yield* connection.expect(([name, text]) => name === "PING" && text?.length === 16)
        yield* connection.send(`+OK\r\n${bulk(marker)}`)
        yield* Fiber.join(call)
        yield* connection.expect(["GET", "k"])
        yield* connection.send(bulk("v"))
        assert.strictEqual(yield* Fiber.join(next), "v")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("NOREPLY-003 fails at its deadline when the server is held up", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.noreply([["INCR", "k"]])
        yield* server.pause
        isTimeout(yield* reasonOf(Redis.noreply([["INCR", "k"]], { timeout: 10 })))
        yield* server.resume
        assert.strictEqual(yield* Redis.command(["ECHO", "own"]), "own")
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "2")
      }).pipe(Effect.provide(Redis.layer({ port: server.port })))
    })
  )
})

matrix("A blocking command", (it) => {
  it(
    "TIME-001 TIME-002 TIME-005 CONN-036 CONN-039 fails at its own deadline, and what comes later is popped by nobody",
    Effect.gen(function* () {
      isTimeout(yield* reasonOf(Redis.command(["BLPOP", "q", 0], { timeout: 10 })))
      isTimeout(yield* reasonOf(Redis.pipeline([["BLPOP", "q", 0]], { timeout: 10 })))
      isTimeout(yield* reasonOf(Redis.command(["XREAD", "BLOCK", 5000, "STREAMS", "s", "$"], { timeout: 50 })))
      yield* awaitBlocked(0)
      yield* Redis.command(["RPUSH", "q", "item"])
      assert.strictEqual(yield* Redis.command(["LLEN", "q"]), 1)
    })
  )

  it(
    "TIME-004 has one outcome, when it was given up and its connection is lost afterwards",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      let outcomes = 0
      const call = Effect.onExit(reasonOf(Redis.command(["BLPOP", "q", 0], { timeout: 1 })), () =>
        Effect.sync(() => {
          outcomes++
        })
      )
      isTimeout(yield* call)
      yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      assert.strictEqual(outcomes, 1)
    })
  )

  it(
    "CLIENT-038 holds up nobody, and interrupting it closes its connection",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const popping = yield* submit(Redis.command(["BLPOP", "q", 0]))
      yield* awaitBlocked(1)
      assert.strictEqual(yield* Redis.command(["GET", "k"], { timeout: 1000 }), null)
      yield* Fiber.interrupt(popping)
      yield* awaitBlocked(0)
      yield* server.command(["RPUSH", "q", "item"])
      assert.strictEqual(yield* Redis.command(["LLEN", "q"]), 1)
      assert.deepStrictEqual(yield* Redis.command(["BLPOP", "q", 0]), ["q", "item"])
    })
  )
})

matrix("A lease", (it, { resp }) => {
  it(
    "CLIENT-029 keeps its replies in order where the server pushes invalidations",
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        const lease = yield* Redis.lease
        if (resp === 2) return assert.strictEqual(yield* lease.command(["PING"]), "PONG")
        assert.strictEqual(yield* lease.command(["CLIENT", "TRACKING", "ON"]), "OK")
        for (const change of [["SET", "k", "v"], ["FLUSHDB"]]) {
          yield* lease.command(["GET", "k"])
          yield* server.command(change)
          assert.strictEqual(yield* lease.command(["ECHO", "own"]), "own")
          assert.strictEqual(yield* lease.command(["GET", "k"]), change[2] ?? null)
        }
      })
    ),
    departs(
      notApplicable(
        "CLIENT-029",
        "pushes other than messages are told to providers, by `RedisConnection.Hooks`; they take no reply's place"
      )
    )
  )

  it(
    "CLIENT-017 a script is loaded once, when the server does not know it",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* server.command(["CONFIG", "RESETSTAT"])
      const script = Redis.script("return {KEYS[1], ARGV[1]}")
      for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* script(["k"], [i]), ["k", String(i)])
      const stats = String(yield* Redis.command(["INFO", "commandstats"]))
      assert.match(stats, /cmdstat_eval:calls=1,/)
      assert.match(stats, /cmdstat_evalsha:calls=3,/)
    })
  )
})
