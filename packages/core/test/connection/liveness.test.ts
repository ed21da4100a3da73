/**
 * Telling a dead server from a slow one, over real sockets and in real time. The rules themselves are tested on a clock that
 * the tests move (behaviours/time.test.ts); here it is the network that stands still.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { FakeServer, Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { awaitState, eager, outcomeOf, serving, submit } from "../behaviours/support.ts"

const interval = 300

/** Two intervals, and what a machine that does other things may add. */
const bound = 2 * interval + 700

const layerOf = (server: { readonly port: number }, options: RedisOptions.Options = {}) =>
  Redis.layer({ port: server.port, healthCheckInterval: interval, timeout: 100, ...eager, ...options })

/** How long the session lives on from now, and that it was the health check that ended it. */
const untilDead = Effect.gen(function* () {
  const start = yield* Clock.currentTimeMillis
  const [change] = yield* Redis.events.pipe(
    Stream.filter(({ cause }) => cause !== undefined),
    Stream.take(1),
    Stream.runCollect
  )
  const reason = change?.cause?.reason
  assert.ok(reason?._tag === "ConnectionError")
  assert.strictEqual(reason.kind, "health-check", reason.message)
  return (yield* Clock.currentTimeMillis) - start
})

const isDeadInTime = Effect.map(untilDead, (millis) => {
  assert.isAtLeast(millis, interval - 50)
  assert.isAtMost(millis, bound)
})

/** Runs in the first session, and it is still that one. */
const survives = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const result = yield* effect
    const { sessions, state } = yield* Redis.status
    assert.deepStrictEqual([state, sessions], ["ready", 1])
    return result
  })

const ready = Effect.andThen(awaitState("ready"), Redis.command(["PING"]))

describe("A dead server is noticed", () => {
  it.live("when its process is paused, idle or busy, and it is used again when it goes on", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* ready
        const idle = yield* submit(isDeadInTime)
        yield* server.pause
        yield* Fiber.join(idle)
        yield* server.resume
        yield* awaitState("ready")
        yield* Redis.command(["PING"], { timeout: "5 seconds" })
        const busy = yield* submit(isDeadInTime)
        yield* server.pause
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"])), [
          "TimeoutError",
          "written",
          "unknown"
        ])
        yield* Fiber.join(busy)
        yield* server.resume
        assert.strictEqual(yield* Redis.command(["PING"], { timeout: "5 seconds" }), "PONG")
      }).pipe(Effect.provide(layerOf(server)), Effect.ensuring(server.resume))
    })
  )

  it.live("when it swallows all that comes: a black hole in front of it, idle or busy", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const proxy = yield* FaultProxy.make(server)
      for (const isBusy of [false, true]) {
        yield* Effect.gen(function* () {
          yield* ready
          const dead = yield* submit(isDeadInTime)
          const hole = yield* proxy.inject(Fault.blackHole())
          if (isBusy) yield* outcomeOf(Redis.command(["GET", "k"], { retry: false }))
          yield* Fiber.join(dead)
          yield* hole.heal
          assert.strictEqual(yield* Redis.command(["PING"], { timeout: "5 seconds" }), "PONG")
        }).pipe(Effect.provide(layerOf(proxy)))
      }
    })
  )

  it.live("when it accepts and never says a word: the dial is given up after connectTimeout", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.silent)
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["PING"], { timeout: 700 })), [
          "TimeoutError",
          "queued",
          "unsent"
        ])
        assert.isAtLeast(yield* fake.accepted, 2)
        assert.match(String((yield* Redis.status).lastError?.message), /did not answer the handshake within 200 ms/)
      }).pipe(Effect.provide(layerOf(fake, { connectTimeout: 200 })))
    })
  )

  it.live("when it stops reading: its window is closed and our send buffer is full", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const large = new Uint8Array(8 * 1024 * 1024)
      yield* Effect.gen(function* () {
        const first = yield* fake.connection(0)
        const served = yield* submit(first.answer(FakeServer.handshake))
        yield* awaitState("ready")
        yield* Fiber.interrupt(served)
        yield* first.pauseReading
        const dead = yield* submit(isDeadInTime)
        const calls = yield* Effect.forEach([1, 2, 3], (i) => submit(outcomeOf(Redis.command(["SET", `k${i}`, large]))))
        yield* Fiber.join(dead)
        for (const call of calls) assert.strictEqual((yield* Fiber.join(call))[0], "TimeoutError")
      }).pipe(Effect.provide(layerOf(fake)))
    })
  )
})

describe("A living server is left alone", () => {
  it.live("when a script takes many intervals, with a timeout of its own", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const script =
        "local t = redis.call('TIME'); local start = t[1] * 1000 + t[2] / 1000; repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 - start > 1500; return 'done'"
      yield* Effect.gen(function* () {
        yield* ready
        assert.strictEqual(yield* survives(Redis.command(["EVAL", script, 0], { timeout: "20 seconds" })), "done")
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("when a reply comes slowly, byte by byte: its call may be over, the session is not", () =>
    Effect.gen(function* () {
      const reply = "$60\r\n" + "x".repeat(60) + "\r\n"
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(FakeServer.handshake, ([name]) =>
          name === "GET" ? Effect.as(connection.send(reply, { cuts: 1, gapMillis: 20 }), "") : undefined
        )
      )
      yield* Effect.gen(function* () {
        yield* ready
        const start = yield* Clock.currentTimeMillis
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["GET", "k"])), ["TimeoutError", "written", "unknown"])
        assert.strictEqual(yield* survives(Redis.command(["PING"], { timeout: "20 seconds" })), "PONG")
        assert.isAbove((yield* Clock.currentTimeMillis) - start, 2 * interval)
      }).pipe(Effect.provide(layerOf(fake)))
    })
  )

  it.live("when both directions are full at once", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const payload = "x".repeat(256 * 1024)
      yield* Effect.gen(function* () {
        yield* ready
        // 64 MiB each way: more than all buffers on the way hold, so neither side may stop reading to finish writing.
        const replies = yield* survives(
          Effect.forEach(
            Array.from({ length: 256 }, (_, i) => i),
            (i) => Redis.command(["ECHO", `${i}${payload}`], { timeout: "20 seconds" }),
            { concurrency: "unbounded" }
          )
        )
        replies.forEach((reply, i) => {
          assert.ok(reply === `${i}${payload}`)
        })
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("when it is our own event loop that stood still", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const hold = Effect.sync(() => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4 * interval)
      })
      yield* Effect.gen(function* () {
        yield* ready
        for (let round = 0; round < 2; round++) {
          // Out of the turn in which replies are handed out: there commands are only collected.
          yield* Effect.yieldNow
          // Its deadline passes meanwhile, and more than one interval.
          const call = yield* submit(outcomeOf(Redis.command(["INCR", "n"])))
          yield* hold
          yield* Fiber.join(call)
          assert.strictEqual(yield* survives(Redis.command(["GET", "n"], { timeout: "20 seconds" })), String(round + 1))
        }
        // Idle too: the PING of the health check is answered as soon as we look.
        yield* survives(Effect.andThen(hold, Effect.sleep(interval)))
      }).pipe(Effect.provide(layerOf(server)))
    })
  )

  it.live("when it is only slow to answer each of many", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "SET" ? Effect.as(Effect.sleep(interval * 0.4), "+OK\r\n") : undefined))
      )
      yield* Effect.gen(function* () {
        yield* ready
        const calls = yield* Effect.forEach(
          Array.from({ length: 6 }, (_, i) => i),
          (i) => outcomeOf(Redis.command(["SET", "k", i])),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          calls.map(([tag]) => tag),
          Array.from({ length: 6 }, () => "TimeoutError")
        )
        assert.strictEqual(yield* survives(Redis.command(["PING"], { timeout: "20 seconds" })), "PONG")
      }).pipe(Effect.provide(layerOf(fake)))
    })
  )
})
