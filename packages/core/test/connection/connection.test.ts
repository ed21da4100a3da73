import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** A real server, and one connection to it with these options. */
const withServer = (
  options: Omit<Parameters<typeof Redis.childSpec>[0] & object, "url"> = {},
  server: Parameters<typeof RedisServer.layer>[0] = {}
) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options }))).pipe(
    Layer.provideMerge(RedisServer.layer(server))
  )

const reasonOf = (effect: Effect.Effect<unknown, RedisError.RedisError, RedisService>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const awaitState = (state: string) =>
  Effect.flatMap(Redis.status, (now) =>
    now.state === state
      ? Effect.void
      : Redis.events.pipe(
          Stream.filter((change) => change.state === state),
          Stream.take(1),
          Stream.runDrain
        )
  )

describe("a connection", () => {
  it.live("answers commands and pipelines, in order", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["SET", "greeting", "hello"]), "OK")
      assert.strictEqual(yield* Redis.command(["GET", "greeting"]), "hello")
      assert.strictEqual(yield* Redis.command(["GET", "missing"]), null)
      const replies = yield* Redis.pipeline([
        ["GET", "greeting"],
        ["INCR", "greeting"],
        ["GET", "greeting"]
      ])
      assert.strictEqual(replies[0], "hello")
      assert.ok(typeof replies[1] === "object" && replies[1] !== null && "_tag" in replies[1])
      assert.strictEqual(replies[2], "hello")
      const values = yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i),
        (i) => Effect.andThen(Redis.command(["SET", `k${i}`, i]), Redis.command(["GET", `k${i}`])),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        values,
        values.map((_, i) => String(i))
      )
    }).pipe(Effect.provide(withServer()))
  )

  it.live("gives a server's error as a failure of its own call", () =>
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", "v"])
      const reason = yield* reasonOf(Redis.command(["LPUSH", "k", "x"]))
      assert.ok(reason._tag === "ReplyError")
      assert.strictEqual(reason.code, "WRONGTYPE")
      assert.strictEqual(reason.command, "LPUSH")
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("decodes by schema, and as bytes beside text", () =>
    Effect.gen(function* () {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
      yield* Redis.command(["SET", "bytes", bytes])
      yield* Redis.command(["SET", "n", "41"])
      const [raw, text, count, bad] = yield* Effect.all(
        [
          Redis.command(["GET", "bytes"], { decode: "bytes" }),
          Redis.command(["GET", "n"]),
          Redis.command(["INCR", "n"], { schema: Schema.Int }),
          reasonOf(Redis.command(["GET", "bytes"]))
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(raw, bytes)
      assert.strictEqual(text, "41")
      assert.strictEqual(count, 42)
      assert.strictEqual(bad._tag, "DecodeError")
      const misfit = yield* reasonOf(Redis.command(["GET", "n"], { schema: Schema.Int }))
      assert.strictEqual(misfit._tag, "DecodeError")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("refuses a bad argument before anything is sent, and nobody else notices", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<ReadonlyArray<never>> = [
        [],
        ["SET", "k", NaN] as never,
        ["SET", "k", undefined] as never,
        ["SET", "k", "\ud800"] as never,
        ["SET", "k", {}] as never,
        "PING" as never
      ]
      for (const command of bad) {
        const reason = yield* reasonOf(Redis.command(command))
        assert.strictEqual(reason._tag, "RedisArgumentError", String(command))
      }
      assert.strictEqual((yield* reasonOf(Redis.pipeline([])))._tag, "RedisArgumentError")
      assert.strictEqual((yield* reasonOf(Redis.command(["SUBSCRIBE", "c"])))._tag, "RedisArgumentError")
      assert.strictEqual((yield* reasonOf(Redis.command(["PING"], { timeout: -1 })))._tag, "RedisArgumentError")
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("survives that the server kills it: what waits runs on the next session", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Redis.command(["SET", "k", "v"])
      yield* server.command(["CLIENT", "KILL", "TYPE", "normal"])
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
      yield* server.kill
      const waiting = yield* Effect.forkChild(Redis.command(["SET", "k", "w"], { timeout: "20 seconds" }))
      yield* awaitState("backoff")
      yield* server.start
      assert.strictEqual(yield* Fiber.join(waiting), "OK")
      assert.ok((yield* Redis.status).sessions >= 3)
    }).pipe(Effect.provide(withServer()))
  )

  it.live("ends a written write as unknown, and repeats a written read", () =>
    Effect.gen(function* () {
      const dropped = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make([
        (first) =>
          first.serve(FakeServer.handshake, ([name]) => {
            if (name !== "INCR") return name === "GET" ? Effect.void : undefined
            return Effect.andThen(Deferred.succeed(dropped, undefined), Effect.as(first.reset, ""))
          }),
        (second) => second.serve(FakeServer.handshake, ([name]) => (name === "GET" ? "$1\r\nv\r\n" : undefined))
      ])
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const [read, write] = yield* Effect.all(
          [Effect.exit(Redis.command(["GET", "k"])), Effect.flip(Redis.command(["INCR", "k"]))],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(read, Exit.succeed("v"))
        assert.ok(write.reason._tag === "ConnectionError")
        assert.strictEqual(write.reason.kind, "disconnected")
        assert.strictEqual(write.reason.delivery, "unknown")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("drops the reply of a call that timed out, and gives the next call its own", () =>
    Effect.gen(function* () {
      const late = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(FakeServer.handshake, ([name, key]) => {
          if (name !== "GET") return undefined
          if (key === "slow") return Effect.as(Deferred.await(late), "$4\r\nslow\r\n")
          return `$${key!.length}\r\n${key}\r\n`
        })
      )
      yield* Effect.gen(function* () {
        const reason = yield* reasonOf(Redis.command(["GET", "slow"], { timeout: 50 }))
        assert.ok(reason._tag === "TimeoutError")
        assert.deepStrictEqual([reason.phase, reason.delivery], ["written", "unknown"])
        const next = yield* Effect.forkChild(Redis.command(["GET", "next"]), { startImmediately: true })
        yield* Deferred.succeed(late, undefined)
        assert.strictEqual(yield* Fiber.join(next), "next")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("fails queued calls at their deadline, unsent, while there is no server", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(Redis.command(["SET", "k", "v"], { timeout: 100 }))
      assert.ok(reason._tag === "TimeoutError")
      assert.deepStrictEqual([reason.phase, reason.delivery], ["queued", "unsent"])
    }).pipe(Effect.provide(Redis.layer({ port: 1 })))
  )

  it.live("ends the session at a byte outside the grammar", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) => first.serve(FakeServer.handshake, ([name]) => (name === "SET" ? "@x\r\n" : undefined)),
        (second) => second.serve(FakeServer.handshake, ([name]) => (name === "GET" ? "$1\r\nv\r\n" : undefined))
      ])
      yield* Effect.gen(function* () {
        const reason = yield* reasonOf(Redis.command(["SET", "k", "v"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.deepStrictEqual([reason.kind, reason.delivery], ["protocol", "unknown"])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )
})

describe("a refusal that the server will repeat", () => {
  const cases: ReadonlyArray<
    readonly [what: string, options: Parameters<typeof Redis.layer>[0] & object, remedy: RegExp]
  > = [
    ["a wrong password", { password: "wrong" }, /WRONGPASS.*check `username`/],
    ["no password", { password: null }, /NOAUTH.*set `password`/],
    ["a database that does not exist", { database: 99 }, /no such `database`/]
  ]
  for (const [what, options, remedy] of cases) {
    it.live(`${what} fails calls at once, with the cause`, () =>
      Effect.gen(function* () {
        const reason = yield* reasonOf(Redis.command(["PING"]))
        assert.ok(reason._tag === "ConnectionError")
        assert.deepStrictEqual([reason.kind, reason.delivery], ["handshake", "unsent"])
        assert.match(reason.message, remedy)
        assert.strictEqual((yield* Redis.status).state, "failed")
      }).pipe(Effect.provide(withServer(options as object, { password: "right" })))
    )
  }

  it.live("a layer that awaits its start fails with the same error", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const layer = Redis.layer({ port: server.port, password: "wrong", start: "await" })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.ok(error.reason._tag === "ConnectionError")
      assert.strictEqual(error.reason.kind, "handshake")
    }).pipe(Effect.provide(RedisServer.layer({ password: "right" })))
  )

  it.live("a server that speaks HTTP is told apart", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.command
          yield* connection.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
          yield* connection.serve(() => Effect.void)
        })
      )
      const reason = yield* reasonOf(Redis.command(["PING"])).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      assert.ok(reason._tag === "ConnectionError")
      assert.strictEqual(reason.kind, "handshake")
      assert.match(reason.message, /does not speak Redis/)
    })
  )
})

describe("closing", () => {
  it.live("lets calls under way finish, refuses new ones, and leaves no client behind", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const service = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Redis.layer(server.url))
          yield* Effect.provideContext(Redis.command(["PING"]), context)
          const under = yield* Effect.forkChild(
            Effect.provideContext(Redis.command(["EVAL", "for i=1,2000000 do end return 1", 0]), context),
            { startImmediately: true }
          )
          return { context, under }
        })
      )
      assert.strictEqual(yield* Fiber.join(service.under), 1)
      const reason = yield* reasonOf(Redis.command(["PING"])).pipe(Effect.provideContext(service.context))
      assert.ok(reason._tag === "ConnectionError")
      assert.deepStrictEqual([reason.kind, reason.delivery], ["shutdown", "unsent"])
      const clients = yield* server.command(["CLIENT", "LIST"])
      assert.strictEqual(String(clients).trim().split("\n").length, 1)
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("ends within its deadline when the server is silent", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const fiber = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Redis.layer({ url: server.url, closeTimeout: 100 }))
          yield* Effect.provideContext(Redis.command(["PING"]), context)
          yield* server.pause
          return yield* Effect.forkDetach(
            Effect.flip(Effect.provideContext(Redis.command(["SET", "k", "v"]), context)),
            {
              startImmediately: true
            }
          )
        })
      )
      const { reason } = yield* Fiber.join(fiber)
      assert.ok(reason._tag === "ConnectionError")
      assert.deepStrictEqual([reason.kind, reason.delivery], ["shutdown", "unknown"])
      yield* server.resume
    }).pipe(Effect.provide(RedisServer.layer()))
  )
})
