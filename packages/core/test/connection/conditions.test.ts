/**
 * The conditions a server can be in, provoked on real servers: what the connection does and what the caller sees. The table
 * of docs/server-conditions.md says the same in words.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisOptions, type RedisService } from "@relive/core"
import { FakeServer, FaultProxy, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { awaitState, eager, outcomeOf, reasonOf, submit } from "../behaviours/support.ts"

const layerOf = (server: { readonly port: number }, options: RedisOptions.Options = {}) =>
  Redis.layer({ port: server.port, ...eager, ...options })

/** The server answers a call with this error, and the session goes on. */
const answers = (
  call: Effect.Effect<unknown, RedisError.RedisError, RedisService>,
  code: string,
  isRetryable: boolean
) =>
  Effect.gen(function* () {
    const { sessions } = yield* Redis.status
    const reason = yield* reasonOf(call)
    assert.ok(reason._tag === "ReplyError", reason.message)
    assert.deepStrictEqual([reason.code, reason.isRetryable], [code, isRetryable], reason.message)
    const status = yield* Redis.status
    assert.deepStrictEqual([status.state, status.sessions], ["ready", sessions])
  })

/** A snapshot cannot be written where its file is a directory. */
const failSnapshot = (server: RedisServer.RedisServer) =>
  Effect.gen(function* () {
    yield* Effect.sync(() =>
      Fs.mkdirSync(Path.join(server.directory, "dump.rdb", "in", "the", "way"), { recursive: true })
    )
    yield* server.command(["BGSAVE"])
    const hasFailed = Effect.map(server.command(["INFO", "persistence"]), (info) =>
      String(info).includes("rdb_last_bgsave_status:err")
    )
    yield* Effect.repeat(hasFailed, { until: (failed) => failed })
  })

/** Waits for an end of a session whose cause reads like this, and answers it. */
const awaitEnd = (detail: RegExp) =>
  Redis.events.pipe(
    Stream.filter(({ cause }) => cause !== undefined && detail.test(cause.message)),
    Stream.take(1),
    Stream.runDrain
  )

describe("A server that is busy with itself", () => {
  it.live("LOADING: the session is not ready, and calls wait for the end of it", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({
        config: { "key-load-delay": 1000, "loading-process-events-interval-bytes": 1024, "enable-debug-command": "yes" }
      })
      yield* Effect.gen(function* () {
        yield* Redis.command(["DEBUG", "POPULATE", 500])
        yield* Redis.command(["SAVE"])
        const loading = yield* submit(awaitEnd(/LOADING/))
        yield* server.kill
        const started = yield* submit(server.start)
        const size = yield* submit(Redis.command(["DBSIZE"], { timeout: "20 seconds" }))
        yield* Fiber.join(loading)
        assert.notStrictEqual((yield* Redis.status).state, "failed")
        yield* Fiber.join(started)
        assert.strictEqual(yield* Fiber.join(size), 500)
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("BUSY: an error that may be tried again; the session stays", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { "busy-reply-threshold": 10 } })
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const script = yield* submit(Effect.exit(server.command(["EVAL", "while true do end", 0])))
        const untilBusy: Effect.Effect<unknown, unknown, RedisService> = Effect.suspend(() =>
          Effect.flatMap(Effect.exit(Redis.command(["GET", "k"], { timeout: "5 seconds" })), (exit) =>
            exit._tag === "Failure" ? Effect.void : untilBusy
          )
        )
        yield* untilBusy
        yield* answers(Redis.command(["GET", "k"]), "BUSY", true)
        // A new connection is not let in meanwhile: its calls wait.
        const other = yield* submit(Effect.provide(Redis.command(["PING"]), layerOf(server)))
        yield* server.command(["SCRIPT", "KILL"])
        assert.strictEqual(yield* Fiber.join(other), "PONG")
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        yield* Fiber.join(script)
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("CLIENT PAUSE: calls are late, or time out as written; the session stays", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* server.command(["CLIENT", "PAUSE", 300, "ALL"])
        const late = yield* submit(Redis.command(["SET", "k", "v"]))
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "w"], { timeout: 50 })), [
          "TimeoutError",
          "written",
          "unknown"
        ])
        assert.strictEqual(yield* Fiber.join(late), "OK")
        assert.deepStrictEqual([(yield* Redis.status).sessions, yield* Redis.command(["GET", "k"])], [1, "w"])
      }).pipe(Effect.provide(layerOf(server)))
    })
  )
})

describe("A server that may not, or cannot, write", () => {
  it.live("OOM: an error; the session stays", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* server.command(["CONFIG", "SET", "maxmemory", 1])
        yield* answers(Redis.command(["SET", "k", "w"]), "OOM", false)
        const aborted = yield* reasonOf(Redis.transaction([["SET", "k", "w"]]))
        assert.ok(aborted._tag === "TransactionAborted" && aborted.queueErrors[0]?.code === "OOM")
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        // A new connection is let in.
        assert.strictEqual(yield* Effect.provide(Redis.command(["GET", "k"]), layerOf(server)), "v")
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("MISCONF: an error; the session stays, and new ones are let in", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { save: "3600 1" } })
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* failSnapshot(server)
        yield* answers(Redis.command(["SET", "k", "w"]), "MISCONF", false)
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        assert.strictEqual(yield* Effect.provide(Redis.command(["GET", "k"]), layerOf(server)), "v")
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("NOREPLICAS: an error; the session stays", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { "min-replicas-to-write": 1 } })
      yield* Effect.gen(function* () {
        yield* answers(Redis.command(["SET", "k", "v"]), "NOREPLICAS", true)
        assert.strictEqual(yield* Redis.command(["GET", "k"]), null)
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("MASTERDOWN: an error; the session stays, and a new one waits until the replica is in sync", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { "replica-serve-stale-data": false } })
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* server.command(["REPLICAOF", "127.0.0.1", 1])
        yield* answers(Redis.command(["GET", "k"]), "MASTERDOWN", true)
        yield* Effect.gen(function* () {
          yield* awaitEnd(/MASTERDOWN/)
          assert.notStrictEqual((yield* Redis.status).state, "failed")
          const waiting = yield* submit(Redis.command(["GET", "k"]))
          yield* server.command(["REPLICAOF", "NO", "ONE"])
          assert.strictEqual(yield* Fiber.join(waiting), "v")
        }).pipe(Effect.provide(layerOf(server)))
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("READONLY: an error, and the server is dialled anew once what was written is answered", () =>
    Effect.gen(function* () {
      const old = yield* RedisServer.make()
      const promoted = yield* RedisServer.make()
      // A name that leads elsewhere after a failover.
      const name = yield* FaultProxy.make(old)
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "old"])
        yield* old.command(["REPLICAOF", promoted.host, promoted.port])
        yield* name.redirect(promoted)
        const moved = yield* submit(awaitEnd(/has become a replica \(READONLY\)/))
        const [refused, behind] = yield* Effect.all(
          [reasonOf(Redis.command(["SET", "k", "new"])), Effect.exit(Redis.command(["PING"]))],
          { concurrency: "unbounded" }
        )
        assert.ok(refused._tag === "ReplyError" && refused.code === "READONLY" && !refused.isRetryable)
        // What was written before the error was seen is answered by the old server.
        assert.strictEqual(behind._tag, "Success")
        yield* Fiber.join(moved)
        assert.strictEqual(yield* Redis.command(["SET", "k", "new"]), "OK")
        assert.strictEqual(yield* promoted.command(["GET", "k"]), "new")
      }).pipe(Effect.provide(layerOf(name, { stableAfter: 0 })))
    })
  )

  const wrapped =
    "-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.\r\n"
  for (const [how, call] of [
    ["alone", Redis.command(["EVAL", "x", 0])],
    ["in a pipeline", Redis.pipeline([["EVAL", "x", 0]])],
    ["in a transaction", Redis.transaction([["EVAL", "x", 0]])]
  ] as const) {
    it.live(`READONLY out of a script, as servers before 7 wrap it (${how}): it is dialled anew`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) =>
          connection.serve(FakeServer.handshake, ([name]) => {
            if (name === "MULTI") return "+OK\r\n"
            if (name === "EXEC") return `*1\r\n${wrapped}`
            return how === "in a transaction" ? "+QUEUED\r\n" : wrapped
          })
        )
        yield* Effect.gen(function* () {
          yield* Redis.command(["PING"])
          const moved = yield* submit(awaitEnd(/has become a replica \(READONLY\)/))
          yield* Effect.exit<unknown, unknown, RedisService>(call)
          yield* Fiber.join(moved)
        }).pipe(Effect.provide(layerOf(fake, { stableAfter: 0 })))
      })
    )
  }

  it.live("READONLY of a server that was a replica from the start: errors, and no session ends", () =>
    Effect.gen(function* () {
      const primary = yield* RedisServer.make()
      const replica = yield* RedisServer.make({ config: { replicaof: `127.0.0.1 ${primary.port}` } })
      yield* Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* answers(Redis.command(["SET", "k", "v"]), "READONLY", false)
      }).pipe(Effect.provide(layerOf(replica)))
      yield* Effect.gen(function* () {
        const refused = yield* reasonOf(Redis.command(["SET", "k", "v"]))
        assert.strictEqual(refused._tag, "RedisArgumentError")
        assert.strictEqual((yield* Redis.status).sessions, 1)
      }).pipe(Effect.provide(layerOf(replica, { readonly: true, stableAfter: 0 })))
    })
  )
})

describe("A server that does not let us in", () => {
  it.live("max number of clients: calls wait until there is room", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { maxclients: 2 } })
      // The tool's own connections come and go; these two stay.
      yield* Effect.gen(function* () {
        const first = yield* Redis.command(["PING"])
        assert.strictEqual(first, "PONG")
        yield* Effect.gen(function* () {
          yield* Redis.command(["PING"])
          yield* Effect.gen(function* () {
            yield* awaitEnd(/max number of clients/)
            const { state } = yield* Redis.status
            assert.notStrictEqual(state, "failed")
          }).pipe(Effect.provide(layerOf(server)))
        }).pipe(Effect.provide(layerOf(server)))
        assert.strictEqual(yield* Effect.provide(Redis.command(["PING"]), layerOf(server)), "PONG")
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("protected mode: refused, with what to do", () =>
    Effect.gen(function* () {
      // It strikes only connections from elsewhere, so this is what such a server says.
      const denied =
        "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n"
      const fake = yield* FakeServer.make((connection) =>
        Effect.andThen(connection.send(denied), Effect.andThen(connection.end, connection.silent))
      )
      yield* Effect.gen(function* () {
        yield* awaitState("failed")
        const reason = yield* reasonOf(Redis.command(["PING"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.deepStrictEqual([reason.kind, reason.delivery], ["handshake", "unsent"])
        assert.match(reason.message, /protected mode: give it a password/)
      }).pipe(Effect.provide(layerOf(fake)))
    })
  )

  it.live("a password that was changed: the live session goes on, the next one takes the new password", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ users: { default: "off", app: "on >old ~* +@all" } })
      let password = "old"
      const current = Effect.sync(() => Redacted.make(password))
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* server.command(["ACL", "SETUSER", "app", "resetpass", ">new"])
        // Redis asks for it at the start of a connection only.
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        yield* server.command(["CLIENT", "KILL", "USER", "app"])
        yield* awaitState("failed")
        const reason = yield* reasonOf(Redis.command(["PING"]))
        assert.ok(reason._tag === "ConnectionError" && reason.kind === "handshake")
        assert.match(reason.message, /WRONGPASS/)
        password = "new"
        yield* awaitState("ready")
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      }).pipe(Effect.provide(layerOf(server, { username: "app", password: current })))
    })
  )

  it.live("a right that was taken away: NOPERM; a user that was deleted: the session ends, and then a refusal", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ users: { default: "off", app: "on >p ~* +@all" } })
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* server.command(["ACL", "SETUSER", "app", "-get"])
        yield* answers(Redis.command(["GET", "k"]), "NOPERM", false)
        yield* server.command(["ACL", "SETUSER", "app", "+get"])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        yield* server.command(["ACL", "DELUSER", "app"])
        yield* awaitState("failed")
        const reason = yield* reasonOf(Redis.command(["GET", "k"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.match(reason.message, /WRONGPASS/)
      }).pipe(Effect.provide(layerOf(server, { username: "app", password: "p" })))
    })
  )
})

describe("A server that ends the connection", () => {
  it.live("CLIENT KILL: the next session goes on with what waits; a read that was written is repeated", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* server.command(["CLIENT", "PAUSE", 10_000, "WRITE"])
        // The write is held back, and the read behind it.
        const write = yield* submit(outcomeOf(Redis.command(["INCR", "n"])))
        const read = yield* submit(Redis.command(["GET", "k"]))
        const blocked = Effect.map(server.command(["INFO", "clients"]), (info) =>
          String(info).includes("blocked_clients:1")
        )
        yield* Effect.repeat(blocked, { until: (is) => is })
        yield* server.commands([
          ["CLIENT", "KILL", "TYPE", "normal"],
          ["CLIENT", "UNPAUSE"]
        ])
        assert.strictEqual(yield* Fiber.join(read), "v")
        assert.deepStrictEqual(yield* Fiber.join(write), ["disconnected", "unknown"])
        assert.strictEqual((yield* Redis.status).sessions, 2)
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("SHUTDOWN: calls wait for the server to come back, each until its deadline", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ appendOnly: true })
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "k", "v"])
        yield* server.stop
        const impatient = outcomeOf(Redis.command(["GET", "k"], { timeout: 30 }))
        assert.deepStrictEqual(yield* impatient, ["TimeoutError", "queued", "unsent"])
        const patient = yield* submit(Redis.command(["GET", "k"], { timeout: "20 seconds" }))
        yield* server.start
        assert.strictEqual(yield* Fiber.join(patient), "v")
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("a peer that closes at once, again and again: backoff, and no dial more than it allows", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.close)
      const before = yield* Clock.currentTimeMillis
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["PING"], { timeout: 500 })), [
          "TimeoutError",
          "queued",
          "unsent"
        ])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, backoffInitial: 50, backoffCap: 100 })))
      const dials = (yield* fake.accepted) / 2
      const elapsed = (yield* Clock.currentTimeMillis) - before
      assert.isAtMost(dials, 2 + elapsed / 40)
    })
  )
})
