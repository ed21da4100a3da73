/** The dial and the handshake: what is sent first, what refuses us, and what a connection is to its server. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisError, type RedisOptions, Resp } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { networkInterfaces } from "node:os"
import {
  awaitState,
  better,
  callsOf,
  commandsOf,
  connect,
  departs,
  eager,
  matrix,
  optionsOf,
  outcomeOf,
  overridden,
  reasonOf,
  serving,
  submit,
  withSleepLog
} from "./support.ts"

const { bulk, handshake } = FakeServer

/** The error with which a layer fails that awaits its first session. */
const startError = (options: RedisOptions.Options) =>
  Effect.flip(Effect.scoped(Layer.build(Redis.layer({ ...options, start: "await" }))))

matrix("A connection", (it, cell) => {
  const database = connect(cell, { database: 1 })

  it(
    "CONN-001 works in the database it was told",
    Effect.gen(function* () {
      yield* Effect.provide(Redis.command(["SET", "k", "one"]), database)
      assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
      assert.strictEqual(yield* Effect.provide(Redis.command(["GET", "k"]), database), "one")
    })
  )

  it(
    "CONN-002 CLIENT-032 fails its calls at once where there is no such database, with the server's words, and never uses another",
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const reason = yield* reasonOf(Redis.command(["SET", "k", "v"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.deepStrictEqual([reason.kind, reason.delivery], ["handshake", "unsent"])
        assert.include(reason.message, "ERR DB index is out of range")
        assert.strictEqual((yield* Redis.status).state, "failed")
      })
      yield* Effect.provide(program, connect(cell, { database: 1000 }))
      assert.strictEqual(yield* Redis.command(["DBSIZE"]), 0)
    }),
    departs(
      overridden(
        "CONN-002",
        "the connection does not end: it is `failed`, its calls fail at once, and it is tried again at the backoff's cap"
      )
    )
  )

  it(
    "CONN-013 CONN-015 CONN-018 says in its status where the server is",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      const { address, protocol, state } = yield* Redis.status
      assert.strictEqual(address, cell.transport === "Unix socket" ? server.path : `127.0.0.1:${server.port}`)
      assert.deepStrictEqual([state, protocol], ["ready", cell.resp])
    })
  )

  it(
    "CONN-016 CONN-017 ends when its layer is released, and leaves no client on the server",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const others = yield* clientsNamed(server, "short-lived")
      const id = yield* Effect.provide(Redis.command(["CLIENT", "ID"]), connect(cell, { name: "short-lived" }))
      assert.isAbove(Number(id), 0)
      assert.deepStrictEqual([others, yield* clientsNamed(server, "short-lived")], [0, 0])
    })
  )

  it(
    "CLIENT-030 CLIENT-031 says its name and library in the protocol that the server knows",
    Effect.gen(function* () {
      const program = Effect.map(Redis.command(["CLIENT", "INFO"]), String)
      const info = yield* Effect.provide(program, connect(cell, { name: "worker:1" }))
      assert.match(info, / name=worker:1 /)
      assert.include(info, ` user=${cell.user ? "app" : "default"} `)
      assert.match(info, new RegExp(` resp=${cell.resp}`))
    })
  )

  it(
    "CONN-014 CONN-056 awaits its first session when it is told to, and then fails with the server's words",
    Effect.gen(function* () {
      const options = yield* optionsOf(cell)
      const program = Redis.status
      const status = yield* Effect.provide(program, Redis.layer({ ...options, start: "await" }))
      assert.strictEqual(status.state, "ready")
      const noDatabase = yield* startError({ ...options, database: 1000 })
      assert.ok(noDatabase.reason._tag === "ConnectionError")
      assert.include(noDatabase.message, "ERR DB index is out of range")
      assert.ok(noDatabase.reason.cause instanceof Resp.ReplyError)
      if (cell.user) {
        const { message } = yield* startError({ ...options, password: "wrong" })
        assert.include(message, "WRONGPASS invalid username-password pair")
        assert.notInclude(message, 'wrong"')
      }
    })
  )

  if (cell.user) {
    it(
      "CONN-004 is failed with WRONGPASS when it names an unknown user",
      Effect.gen(function* () {
        const outcome = reasonOf(Redis.command(["PING"]))
        const reason = yield* Effect.provide(outcome, connect(cell, { username: "nobody", password: "x" }))
        assert.ok(reason._tag === "ConnectionError" && reason.kind === "handshake")
        assert.include(reason.message, "WRONGPASS invalid username-password pair")
      }),
      departs(
        overridden("CONN-004", "the connection does not end: it is `failed` and tried again, since credentials rotate")
      )
    )

    it(
      "CONN-005 may do what its user may",
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        yield* server.command([
          "ACL",
          "SETUSER",
          "reader",
          "on",
          ">pw",
          "~*",
          "&*",
          "+@read",
          "+@connection",
          "-@write"
        ])
        const program = Effect.gen(function* () {
          const reason = yield* reasonOf(Redis.command(["SET", "k", "v"]))
          assert.ok(reason._tag === "ReplyError")
          assert.strictEqual(reason.code, "NOPERM")
          assert.include(reason.message, "'set'")
          assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
        })
        yield* Effect.provide(program, connect(cell, { username: "reader", password: "pw" }))
        yield* Redis.command(["SET", "k", "v"])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
      })
    )
  }

  it(
    "CONN-061 runs `onConnect` in every session",
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "seen"]), "1")
        yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        assert.strictEqual(yield* Redis.command(["GET", "seen"]), "2")
      })
      yield* Effect.provide(program, connect(cell, { onConnect: [["INCR", "seen"]] }))
    }),
    departs(
      better(
        "CONN-061",
        "what a session needs beyond its options can be given as `onConnect`, which every session runs"
      )
    )
  )
})

const clientsNamed = (server: RedisServer.RedisServer, name: string) =>
  Effect.map(server.command(["CLIENT", "LIST"]), (list) => String(list).split(` name=${name} `).length - 1)

describe("A real server", () => {
  it.live("URI-021 URI-019 CONN-018 is reached by URL, and options beside it win", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const ping = Redis.command(["PING"])
      assert.strictEqual(yield* Effect.provide(ping, Redis.layer(`redis://localhost:${server.port}/3`)), "PONG")
      const info = Effect.map(Redis.command(["CLIENT", "INFO"]), String)
      const options = { url: "redis://localhost:1/3?name=other", port: server.port, name: "mine" }
      assert.match(yield* Effect.provide(info, Redis.layer(options)), / name=mine .* db=3 /)
    })
  )

  it.live("CONN-006 CONN-007 URI-020 takes a password, also one that is asked for when it is needed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ password: "right" })
      const ping = Redis.command(["PING"])
      for (const protocol of [2, 3] as const) {
        let asked = 0
        const lazy = Effect.sync(() => {
          asked++
          return "right"
        })
        const ways: ReadonlyArray<RedisOptions.Options> = [
          { password: "right" },
          { password: lazy },
          { url: "redis://ignored:right@127.0.0.1", username: null }
        ]
        for (const way of ways) {
          assert.strictEqual(yield* Effect.provide(ping, Redis.layer({ ...way, port: server.port, protocol })), "PONG")
        }
        assert.strictEqual(asked, 1)
      }
    })
  )

  it.live(
    "CONN-003 without a password refuses one in RESP2, and the calls say so",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ resp2Only: true })
        const outcome = reasonOf(Redis.command(["PING"]))
        const reason = yield* Effect.provide(outcome, Redis.layer({ port: server.port, password: "surplus-secret" }))
        assert.ok(reason._tag === "ConnectionError" && reason.kind === "handshake")
        assert.include(reason.message, "without any password configured")
        assert.notInclude(reason.message, "surplus-secret")
      }),
    departs(
      overridden(
        "CONN-003",
        "the connection does not end: it is `failed`, its calls fail at once with the server's words, and it is tried again"
      )
    )
  )

  it.live.skipIf(
    !Object.values(networkInterfaces())
      .flat()
      .some((at) => at?.address === "::1")
  )("CONN-013 CONN-014 is reached over IPv4 and IPv6", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { bind: "127.0.0.1 ::1" } })
      for (const host of ["127.0.0.1", "[::1]"]) {
        const layer = Redis.layer({ url: `redis://${host}:${server.port}`, start: "await" })
        const [pong, status] = yield* Effect.provide(Effect.all([Redis.command(["PING"]), Redis.status]), layer)
        assert.deepStrictEqual([pong, status.address], ["PONG", `${host}:${server.port}`])
      }
    })
  )

  it.live(
    "RECON-025 that is full is tried again until there is room",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ config: { maxclients: 1 } })
        const scope = yield* Scope.make()
        const first = yield* Scope.provide(Layer.build(Redis.layer({ port: server.port, start: "await" })), scope)
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          assert.deepStrictEqual(yield* Effect.provideContext(Redis.command(["PING"]), first), "PONG")
          const call = yield* submit(Redis.command(["CLIENT", "ID"]))
          yield* Scope.close(scope, Exit.void)
          assert.isAbove(Number(yield* Fiber.join(call)), 0)
        }).pipe(Effect.provide(Redis.layer({ port: server.port, database: 1, ...eager })))
      }),
    departs(better("RECON-025", "a full server is a passing condition: the connection tries again with backoff"))
  )
})

describe("A server over TLS", () => {
  it.live("CONN-012 whose certificate is not trusted is refused, and the start says why", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const error = yield* startError({ host: "localhost", port: server.port, tls: true })
      assert.ok(error.reason._tag === "ConnectionError")
      assert.match(error.message, /certificate/i)
      const trusting = { host: "localhost", port: server.port, tls: { ca: server.tls?.ca } }
      assert.strictEqual(yield* Effect.provide(Redis.command(["PING"]), Redis.layer(trusting)), "PONG")
    })
  )
})

describe("The handshake", () => {
  it.live(
    "CLIENT-030 CONN-045 is the first thing of every session, in one write, and no call passes before it has succeeded",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        const options = {
          port: fake.port,
          username: "app",
          password: "pw",
          name: "n",
          database: 3,
          libraryVersion: "1"
        }
        yield* Effect.gen(function* () {
          const call = yield* submit(Redis.command(["GET", "k"]))
          for (const index of [0, 1]) {
            const connection = yield* fake.connection(index)
            yield* connection.expect(["HELLO", "3", "AUTH", "app", "pw", "SETNAME", "n"])
            yield* connection.expect(["SELECT", "3"])
            yield* connection.expect(["CLIENT", "SETINFO", "LIB-NAME", "relive"])
            yield* connection.expect(["CLIENT", "SETINFO", "LIB-VER", "1"])
            const [, marker = ""] = yield* connection.expect(([name, text]) => name === "PING" && text !== undefined)
            yield* connection.send("%1\r\n+proto\r\n:3\r\n+OK\r\n-ERR unknown subcommand\r\n+OK\r\n")
            assert.deepStrictEqual(yield* callsOf(fake, index), [])
            yield* connection.send(bulk(marker))
            yield* connection.expect(["GET", "k"])
            if (index === 0) yield* connection.reset
            else yield* connection.send(bulk("v"))
          }
          assert.strictEqual(yield* Fiber.join(call), "v")
          const [first] = (yield* fake.log).filter(({ event }) => event === "received")
          assert.match(Buffer.from(first?.bytes ?? []).toString(), /HELLO[^]*PING/)
        }).pipe(Effect.provide(Redis.layer({ ...options, ...eager })))
      }),
    departs(
      overridden(
        "CONN-045",
        "the steps are written at once, in the row's order, and no call before all have succeeded; `readonly` refuses writes on our side, READONLY goes into `onConnect`"
      )
    )
  )

  it.live("CLIENT-031 goes on in RESP2 on the same connection when HELLO is not known", () =>
    Effect.gen(function* () {
      const refusals = [
        "-NOPROTO unsupported protocol version",
        "-ERR unknown command `HELLO`, with args beginning with: `3`"
      ]
      for (const refusal of refusals) {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          const call = yield* submit(Redis.command(["GET", "k"]))
          const connection = yield* fake.connection(0)
          yield* connection.expect(["HELLO", "3", "AUTH", "default", "pw", "SETNAME", "n"])
          for (let i = 0; i < 4; i++) yield* connection.command
          yield* connection.send(`${refusal}\r\n${"-NOAUTH Authentication required.\r\n".repeat(4)}`)
          yield* connection.expect(["AUTH", "pw"])
          yield* connection.expect(["CLIENT", "SETNAME", "n"])
          yield* connection.expect(["SELECT", "2"])
          for (let i = 0; i < 3; i++) yield* connection.command
          yield* connection.send("+OK\r\n+OK\r\n+OK\r\n-ERR unknown subcommand\r\n-ERR unknown subcommand\r\n+PONG\r\n")
          yield* connection.expect(["GET", "k"])
          yield* connection.send(bulk("v"))
          assert.strictEqual(yield* Fiber.join(call), "v")
          assert.strictEqual((yield* Redis.status).protocol, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, password: "pw", name: "n", database: 2 })))
      }
    })
  )

  it.live(
    "CLIENT-031 RECON-020 that is refused for good fails every call at once, and is tried again at the cap",
    () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make([
          (first) =>
            first.serve(([name]) =>
              name === "HELLO" ? "-WRONGPASS invalid\r\n" : "-NOAUTH Authentication required.\r\n"
            ),
          serving(([name]) => (name === "GET" ? bulk("v") : undefined))
        ])
        yield* Effect.gen(function* () {
          const queued = yield* outcomeOf(Redis.command(["SET", "k", "v"]))
          assert.deepStrictEqual(queued, ["handshake", "unsent"])
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"])), ["handshake", "unsent"])
          assert.strictEqual((yield* Redis.status).state, "failed")
          assert.include((yield* reasonOf(Redis.command(["PING"]))).message, "WRONGPASS")
          yield* awaitState("ready")
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, password: "old", backoffCap: 50 })))
      }),
    departs(
      overridden(
        "RECON-020",
        "a refusal does not end the connection: it is `failed`, and tried again at the backoff's cap"
      )
    )
  )

  it.effect("CLIENT-031 waits for the backoff's cap after a refusal, and no shorter", () =>
    withSleepLog([60_001], (sleeps) =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) => connection.serve(() => "-WRONGPASS invalid\r\n"))
        yield* Effect.gen(function* () {
          for (let i = 1; i <= 3; i++) {
            const delay = yield* sleeps.next
            assert.strictEqual(delay, 3000)
            assert.deepStrictEqual(yield* outcomeOf(Redis.command(["PING"])), ["handshake", "unsent"])
            yield* TestClock.adjust(delay)
          }
          assert.strictEqual(yield* sleeps.next, 3000)
          assert.strictEqual(yield* fake.accepted, 4)
        }).pipe(
          Effect.provide(Redis.layer({ port: fake.port, connectTimeout: 60_001, healthCheckInterval: "infinite" }))
        )
      })
    )
  )

  it.live("RECON-018 asks for the password anew in each session", () =>
    Effect.gen(function* () {
      let asked = 0
      const password = Effect.sync(() => `p${++asked}`)
      const fake = yield* FakeServer.make(serving(() => bulk("v")))
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* (yield* fake.connection(0)).reset
        yield* Redis.command(["GET", "k"])
        assert.include(yield* commandsOf(fake, 0), "HELLO 3 AUTH default p1")
        assert.include(yield* commandsOf(fake, 1), "HELLO 3 AUTH default p2")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, password, ...eager })))
    })
  )

  it.live("CLIENT-033 takes LOADING for a server that is not ready, and tries again until it is", () =>
    Effect.gen(function* () {
      const loading: FakeServer.Handler = ([name]) =>
        name === "PING" || name === "SELECT" ? "-LOADING Redis is loading the dataset in memory\r\n" : undefined
      const fake = yield* FakeServer.make([
        (first) => first.serve(loading, handshake),
        (second) => second.serve(loading, handshake),
        serving(([name]) => (name === "SET" ? "+OK\r\n" : undefined))
      ])
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["SET", "k", "v"]), "OK")
        assert.deepStrictEqual([yield* callsOf(fake, 0), yield* callsOf(fake, 1)], [[], []])
        assert.deepStrictEqual(yield* callsOf(fake, 2), ["SET k v"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, database: 1, ...eager })))
    })
  )

  it.live(
    "CONN-046 with more replies than it asked for ends the session before a call is written",
    () =>
      Effect.gen(function* () {
        const surplus: FakeServer.Handler = ([name]) => (name === "PING" ? "+PONG\r\n+extra\r\n" : undefined)
        const fake = yield* FakeServer.make([
          (first) => first.serve(surplus, handshake, () => "+OK\r\n"),
          serving(([name]) => (name === "SET" ? "+OK\r\n" : undefined))
        ])
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"])), ["OK"])
          assert.deepStrictEqual(yield* callsOf(fake, 0), [])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
      }),
    departs(
      overridden(
        "CONN-046",
        "a reply that nobody waits for ends the session, here as everywhere; the connection goes on with the next one"
      )
    )
  )

  it.effect(
    "CONN-047 that is never answered ends after `connectTimeout`, its socket is closed, and another is tried",
    () =>
      withSleepLog([], (sleeps) =>
        Effect.gen(function* () {
          const fake = yield* FakeServer.make()
          yield* Effect.gen(function* () {
            const call = yield* submit(Redis.command(["GET", "k"]))
            const first = yield* fake.connection(0)
            yield* first.expect(["HELLO", "3"])
            yield* TestClock.adjust(199)
            assert.strictEqual((yield* Redis.status).state, "handshaking")
            yield* TestClock.adjust(1)
            yield* first.closed
            assert.isTrue(sleeps.all.includes(200))
            assert.strictEqual((yield* Redis.status).lastError?.reason._tag, "ConnectionError")
            yield* TestClock.adjust(200)
            const second = yield* fake.connection(1)
            yield* second.answer(handshake)
            yield* second.expect(["GET", "k"])
            yield* second.send(bulk("v"))
            assert.strictEqual(yield* Fiber.join(call), "v")
          }).pipe(
            Effect.provide(
              Redis.layer({
                port: fake.port,
                connectTimeout: 200,
                backoffInitial: 100,
                healthCheckInterval: "infinite"
              })
            )
          )
        })
      )
  )

  it.live("CONN-008 leaves the user out where the server has no users", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(
          ([name, ...args]) =>
            name === "HELLO"
              ? "-ERR unknown command 'HELLO'\r\n"
              : name === "AUTH" && args.length === 2
                ? "-ERR wrong number of arguments for 'auth' command\r\n"
                : undefined,
          handshake
        )
      )
      const layer = Redis.layer({ port: fake.port, username: "app", password: "pw" })
      assert.strictEqual(yield* Effect.provide(Redis.command(["PING"]), layer), "PONG")
      assert.include(yield* commandsOf(fake, 0), "AUTH pw")
    })
  )
})

describe("A dial that fails", () => {
  it.live("CONN-009 by its name says so, where the start is awaited", () =>
    Effect.gen(function* () {
      const error = yield* startError({ host: "no-such-host.invalid", connectTimeout: "20 seconds" })
      assert.ok(error.reason._tag === "ConnectionError")
      assert.strictEqual(error.reason.kind, "connect")
      assert.match(error.message, /no-such-host\.invalid:6379.*(ENOTFOUND|EAI_AGAIN)/)
    })
  )

  it.live("CONN-049 CONN-050 CONN-055 TEL-020 TEL-022 says in words what the system said, and where", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const refused = yield* startError({ port: fake.port })
      assert.match(refused.message, new RegExp(`127\\.0\\.0\\.1:${fake.port}: .*connection refused.*ECONNREFUSED`, "i"))
      const noSocket = yield* startError({ path: "/no/such/redis.sock" })
      assert.match(noSocket.message, /Redis at \/no\/such\/redis\.sock: .*no such file or directory.*ENOENT/)
    })
  )
})

describe("A connection error", () => {
  const render = (kind: RedisError.ConnectionErrorKind, detail: string, cause?: unknown) =>
    new RedisError.RedisError({
      reason: new RedisError.ConnectionError({ kind, delivery: "unknown", address: "h:1", detail, cause })
    })

  it("CONN-050 CONN-051 CONN-053 CONN-054 CONN-055 TEL-021 names its kind, its place and what may have happened", () => {
    for (const kind of ["closed", "disconnected", "health-check", "protocol"] as const) {
      const { message } = render(kind, "what happened")
      assert.match(message, /^Redis at h:1: what happened/)
      assert.include(message, kind)
      assert.include(message, "may have run")
    }
    const circular: Record<string, unknown> = {}
    circular.self = circular
    for (const cause of [circular, { code: 1 }, Symbol("x"), undefined, null]) {
      assert.match(render("connect", "could not connect", cause).message, /could not connect/)
    }
  })
})
