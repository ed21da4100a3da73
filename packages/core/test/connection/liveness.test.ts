/**
 * Telling a dead server from a slow one, over real sockets and in real time. The rules themselves are tested on a clock that
 * the tests move (behaviours/time.test.ts); here it is the network that stands still.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { FakeServer, Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { polled } from "../../src/internal/turns.ts"
import {
  awaitState,
  closable,
  eager,
  makeParts,
  outcomeOf,
  serving,
  submit,
  withSleepLog
} from "../behaviours/support.ts"

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

/** Answers a GET with the head of a large reply, and then so many bytes of it every so many milliseconds. */
const dribbling = (bytes: number, gapMillis: number, whole: number) =>
  FakeServer.make((connection) =>
    connection.serve(FakeServer.handshake, ([name]) =>
      name === "GET"
        ? Effect.as(connection.send(`$${whole}\r\n${"x".repeat(whole)}\r\n`, { cuts: bytes, gapMillis }), "")
        : undefined
    )
  )

describe("A server that only dribbles", () => {
  it.live("is dead when it says next to nothing for several limits, though never silent for long", () =>
    Effect.gen(function* () {
      const fake = yield* dribbling(1, 50, 1000)
      yield* Effect.gen(function* () {
        yield* ready
        const start = yield* Clock.currentTimeMillis
        const dead = yield* submit(untilDead)
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["GET", "k"], { retry: false })), [
          "TimeoutError",
          "written",
          "unknown"
        ])
        yield* Fiber.join(dead)
        assert.isAtLeast((yield* Clock.currentTimeMillis) - start, 5 * interval)
        assert.isAtMost((yield* Clock.currentTimeMillis) - start, 8 * interval)
      }).pipe(Effect.provide(layerOf(fake)))
    })
  )

  it.live("is left alone when a large reply comes slowly but steadily", () =>
    Effect.gen(function* () {
      const fake = yield* dribbling(400, 50, 20_000)
      yield* Effect.gen(function* () {
        yield* ready
        // 2.5 seconds: much longer than the limits, and than its own deadline.
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["GET", "k"])), ["TimeoutError", "written", "unknown"])
        assert.strictEqual(yield* survives(Redis.command(["PING"], { timeout: "20 seconds" })), "PONG")
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
          name === "GET" ? Effect.as(connection.send(reply, { cuts: 4, gapMillis: 50 }), "") : undefined
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
        serving(([name]) => (name === "SET" ? Effect.as(Effect.sleep(interval * 0.7), "+OK\r\n") : undefined))
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

describe("law 1: a call that was given up does not keep a silent session alive", () => {
  it.effect("whatever time it had, as soon as others wait behind it", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { session } = start()
      session.attach({ upToDate: true, write: () => true, whenDrained: (then: () => void) => then() })
      connection.ready(session)
      const patient = call("PATIENT", 0, 1, Infinity)
      connection.submit(patient)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(session.checkHealth(10_000), 10_000)
      connection.cancel(patient)
      assert.strictEqual(session.checkHealth(10_000), 10_000)
      const long = call("LONG", 0, 1, 60_000)
      connection.submit(long)
      yield* Effect.yieldNow
      assert.isAbove(session.checkHealth(10_000), 0)
      connection.cancel(long)
      connection.submit(call("SHORT"))
      // After a silence the socket is looked at before anything is written.
      yield* polled
      assert.strictEqual(session.checkHealth(10_000), 0)
    })
  )
})

describe("law 9: an idle connection", () => {
  it.effect("wakes for its health check, and for nothing else", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving(() => undefined))
      yield* withSleepLog([], (sleeps) =>
        Effect.gen(function* () {
          const { close, use } = yield* closable({ port: fake.port })
          yield* use(awaitState("ready"))
          yield* use(Redis.command(["PING"]))
          const before = sleeps.all.length
          for (let second = 0; second < 120; second++) {
            yield* TestClock.adjust(1000)
            for (let turn = 0; turn < 5; turn++) yield* Effect.yieldNow
          }
          const slept = sleeps.all.slice(before)
          assert.isAtMost(slept.length, 13)
          for (const millis of slept) assert.isAtLeast(millis, 4000)
          yield* close
        })
      )
    })
  )
})

describe("the health check leaves a call its own deadline", () => {
  for (const [what, command, millis] of [
    ["blocks", ["BLPOP", "k", 60], 65_000],
    ["has a timeout that is longer than the check's interval", ["HANG"], 20_000]
  ] as const) {
    it.effect(`when it ${what}`, () =>
      Effect.gen(function* () {
        const arrived = yield* Deferred.make<void>()
        const late = Effect.as(Effect.andThen(Deferred.succeed(arrived, undefined), Effect.never), "")
        const fake = yield* FakeServer.make(serving(([name]) => (name === command[0] ? late : undefined)))
        const options = command[0] === "HANG" ? { timeout: millis } : {}
        const call = Effect.provide(outcomeOf(Redis.command(command, options)), Redis.layer({ port: fake.port }))
        const outcome = yield* submit(call)
        yield* Deferred.await(arrived)
        yield* TestClock.adjust(millis * 1.03)
        assert.deepStrictEqual(yield* Fiber.join(outcome), ["TimeoutError", "written", "unknown"])
      }).pipe(Effect.scoped)
    )
  }
})
