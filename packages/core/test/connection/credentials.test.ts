/** Passwords that expire while a session lives. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import { commandsOf, serving, submit } from "../behaviours/support.ts"

/** Passwords p1, p2 and so on, each for so long; and how many were asked for. */
const tokens = (millis: number) => {
  const state = { asked: 0 }
  const password: RedisOptions.Password = Effect.sync(() => ({
    password: Redacted.make(`secret${++state.asked}`),
    timeToLive: millis
  }))
  return { password, state }
}

/** A server that reports each AUTH, and what it says to it. */
const authenticating = (says: (count: number) => string) =>
  Effect.gen(function* () {
    const seen = yield* Queue.unbounded<string>()
    let count = 0
    const auth: FakeServer.Handler = (command) => {
      if (command[0] !== "AUTH") return undefined
      Queue.offerUnsafe(seen, command.join(" "))
      return says(++count)
    }
    const fake = yield* FakeServer.make((connection) =>
      connection.serve(auth, FakeServer.handshake, ([name]) => (name === "GET" ? FakeServer.bulk("v") : undefined))
    )
    return { fake, next: Queue.take(seen) }
  })

describe("a password with a time to live", () => {
  it.live("is renewed on the live session before it expires, again and again, with nobody noticing", () =>
    Effect.gen(function* () {
      const { password, state } = tokens(100)
      const { fake, next } = yield* authenticating(() => "+OK\r\n")
      yield* Effect.gen(function* () {
        const calls = yield* submit(Effect.forEach(Array.from({ length: 200 }), () => Redis.command(["GET", "k"])))
        assert.deepStrictEqual([yield* next, yield* next], ["AUTH app secret2", "AUTH app secret3"])
        assert.strictEqual((yield* Fiber.join(calls)).length, 200)
        const { sessions, state: now } = yield* Redis.status
        assert.deepStrictEqual([sessions, now], [1, "ready"])
        assert.isAtLeast(state.asked, 3)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, username: "app", password })))
    }).pipe(Effect.scoped)
  )

  it.live("that is refused is tried again, and no secret is logged", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
      const { password } = tokens(100)
      const refusing = (count: number) => (count === 1 ? "-WRONGPASS secret2 has expired\r\n" : "+OK\r\n")
      const { fake, next } = yield* authenticating(refusing)
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        assert.deepStrictEqual([yield* next, yield* next], ["AUTH secret2", "AUTH secret3"])
        assert.strictEqual((yield* Redis.status).sessions, 1)
        assert.include(lines.join("\n"), "the next password was refused: WRONGPASS *** has expired")
        assert.notInclude(lines.join("\n"), "secret")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, password })), Effect.provide(logger))
    }).pipe(Effect.scoped)
  )

  it.live("that cannot be had is asked for again", () =>
    Effect.gen(function* () {
      let asked = 0
      const password: RedisOptions.Password = Effect.suspend(() =>
        ++asked === 2
          ? Effect.fail("no token")
          : Effect.succeed({ password: `secret${asked}`, timeToLive: "100 millis" })
      )
      const { fake, next } = yield* authenticating(() => "+OK\r\n")
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
        assert.strictEqual(yield* next, "AUTH secret3")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, password })), Effect.provide(Logger.layer([])))
    }).pipe(Effect.scoped)
  )

  it.live("is not renewed on a lease, which is not used again when it has expired", () =>
    Effect.gen(function* () {
      const { password } = tokens(100)
      const fake = yield* FakeServer.make(serving(([name]) => (name === "GET" ? FakeServer.bulk("v") : undefined)))
      const use = Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["GET", "k"])))
      yield* Effect.gen(function* () {
        yield* use
        yield* use
        assert.strictEqual(yield* fake.accepted, 2)
        yield* Effect.sleep(150)
        yield* use
        assert.strictEqual(yield* fake.accepted, 3)
        assert.notInclude((yield* commandsOf(fake, 1)).join("\n"), "\nAUTH")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, password })))
    }).pipe(Effect.scoped)
  )

  it.live("is one that the real server takes", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ password: "right" })
      let asked = 0
      const password: RedisOptions.Password = Effect.sync(() => {
        asked++
        return { password: "right", timeToLive: 60 }
      })
      yield* Effect.gen(function* () {
        for (let i = 0; i < 20; i++) {
          assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
          yield* Effect.sleep(10)
        }
        assert.isAtLeast(asked, 3)
        assert.strictEqual((yield* Redis.status).sessions, 1)
      }).pipe(Effect.provide(Redis.layer({ port: server.port, password })))
    }).pipe(Effect.scoped)
  )

  it.live("without a duration is refused as what the effect must give", () =>
    Effect.gen(function* () {
      const password = Effect.succeed({ password: "x", timeToLive: "soon" }) as never
      const exit = yield* Redis.command(["PING"], { timeout: 100 }).pipe(
        Effect.provide(Redis.layer({ password, whenDown: "fail" })),
        Effect.provide(Logger.layer([])),
        Effect.flip
      )
      assert.include(exit.message, "`password`")
    })
  )
})
