/**
 * Callers that go away, and callers that act while they are being resumed: interruption is cancellation, and no caller ever
 * sees a connection whose state is half changed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import { awaitState, closable, outcomeOf, serving, submit } from "../behaviours/support.ts"
import * as Resp from "../../src/Resp.ts"
import { Wire } from "../../src/internal/transport/wire.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const awaitDown = Redis.events.pipe(
  Stream.filter(({ state }) => state === "backoff"),
  Stream.take(1),
  Stream.runDrain
)

/** Answers GET with its key: tells of the first, and waits for `late` before it answers. */
const lateServer = (arrived: Deferred.Deferred<void>, late: Deferred.Deferred<void>) =>
  FakeServer.make((connection) =>
    connection.serve(FakeServer.handshake, ([name, key = ""]) =>
      name === "GET"
        ? Deferred.succeed(arrived, undefined).pipe(
            Effect.andThen(Deferred.await(late)),
            Effect.as(`$${key.length}\r\n${key}\r\n`)
          )
        : undefined
    )
  )

describe("an interrupted call", () => {
  it.live("that was not written never is", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const down = yield* fork(awaitDown)
        yield* server.kill
        yield* Fiber.join(down)
        const given = yield* fork(Redis.command(["INCR", "given up"]))
        const kept = yield* fork(Redis.command(["INCR", "kept"]))
        assert.strictEqual((yield* Redis.status).queued, 2)
        yield* Fiber.interrupt(given)
        assert.strictEqual((yield* Redis.status).queued, 1)
        yield* server.start
        assert.strictEqual(yield* Fiber.join(kept), 1)
        assert.strictEqual(yield* Redis.command(["GET", "given up"]), null)
      }).pipe(Effect.provide(Redis.layer({ port: server.port, backoffCap: 100 })))
    })
  )

  it.live("that was written leaves its reply to nobody", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const late = yield* Deferred.make<void>()
      const fake = yield* lateServer(arrived, late)
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const given = yield* fork(Redis.command(["GET", "given up"]))
        yield* Deferred.await(arrived)
        yield* Fiber.interrupt(given)
        const next = yield* fork(Redis.command(["GET", "next"]))
        yield* Deferred.succeed(late, undefined)
        assert.strictEqual(yield* Fiber.join(next), "next")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )
})

describe("a caller that acts while it is resumed", () => {
  it.live("by a reply finds all replies of the same chunk handed out", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(FakeServer.handshake, ([name]) =>
          name === "FIRST" ? "" : name === "SECOND" ? "$5\r\nfirst\r\n$6\r\nsecond\r\n" : undefined
        )
      )
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const seen = yield* fork(Effect.andThen(Redis.command(["FIRST"]), Redis.status))
        const second = yield* fork(Redis.command(["SECOND"]))
        assert.strictEqual((yield* Fiber.join(seen)).inFlight, 0)
        assert.strictEqual(yield* Fiber.join(second), "second")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )

  it.live("by the end of its session finds it ended, and its next call goes to the next one", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) =>
          first.serve(FakeServer.handshake, ([name]) => (name === "INCR" ? Effect.as(first.reset, "") : undefined)),
        (second) => second.serve(FakeServer.handshake, ([name]) => (name === "INCR" ? ":1\r\n" : undefined))
      ])
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        const seen = yield* Effect.andThen(Effect.flip(Redis.command(["INCR", "k"])), Redis.status)
        assert.strictEqual(seen.state, "backoff")
        assert.strictEqual(seen.inFlight, 0)
        const again = yield* Effect.catch(Redis.command(["INCR", "k"]), () => Effect.succeed("failed"))
        assert.strictEqual(again, 1)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    })
  )
})

describe("law 1: what goes wrong at one caller, or in the decoder, is nobody else's", () => {
  it.effect("a decoder that runs out of memory ends the session, not the program", () =>
    Effect.gen(function* () {
      const decoder = Resp.makeDecoder({ volatile: true })
      decoder.nextBytes = () => {
        throw new RangeError("Array buffer allocation failed")
      }
      const wire = new Wire(decoder, () => undefined)
      wire.attach(new Net.Socket())
      const bytes = Buffer.from("$1\r\na\r\n")
      wire.onread.callback(bytes.length, bytes)
      const failed = yield* Effect.flip(wire.pull)
      assert.strictEqual(failed._tag, "WireClosed")
    })
  )

  it.live("a caller whose fiber's observer throws stops no other from getting its reply", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "ONE" ? "" : name === "TWO" ? "+one\r\n+two\r\n" : undefined))
      )
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const thrown: Array<unknown> = []
      const listeners = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.on("uncaughtException", (error) => thrown.push(error))
      const one = yield* submit(use(Redis.command(["ONE"])))
      one.addObserver(() => {
        throw new Error("an observer's own")
      })
      const two = yield* submit(use(outcomeOf(Redis.command(["TWO"]))))
      const outcome = yield* Effect.timeoutOption(Fiber.join(two), 1000)
      yield* close
      yield* Effect.yieldNow
      process.removeAllListeners("uncaughtException")
      for (const listener of listeners) process.on("uncaughtException", listener)
      assert.deepStrictEqual(outcome, yield* Effect.timeoutOption(Effect.succeed(["two"]), 1000))
      assert.strictEqual(thrown.length, 1)
    })
  )
})
