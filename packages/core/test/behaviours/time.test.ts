/** Deadlines and the health check, on a clock that the tests move. */
import { assert, describe, it } from "@effect/vitest"
import { CommandTable, Redis, type RedisOptions } from "@relive/core"
import type * as RedisService from "@relive/core/RedisService"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awaitState, better, callsOf, departs, outcomeOf, reasonOf, submit, withRandom } from "./support.ts"

const { array, bulk, handshake } = FakeServer

/** A connection to a fake server that the test plays itself. */
const withFake = <A, E, R>(
  options: RedisOptions.Options,
  test: (fake: FakeServer.FakeServer, first: FakeServer.Connection) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const fake = yield* FakeServer.make()
    return yield* Effect.gen(function* () {
      const first = yield* fake.connection(0)
      const served = yield* submit(first.answer(handshake))
      yield* awaitState("ready")
      // What comes now is for the test.
      yield* Fiber.interrupt(served)
      return yield* test(fake, first)
    }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...options })))
  }).pipe(Effect.scoped)

const quiet = { healthCheckInterval: "infinite" } as const

const timedOut = ["TimeoutError", "written", "unknown"]

describe("A deadline", () => {
  it.effect("TIME-007 CLIENT-035 is 5 seconds by default: no earlier, and later by 2 % at most", () =>
    withFake(quiet, (_, first) =>
      Effect.gen(function* () {
        const call = yield* submit(outcomeOf(Redis.command(["SET", "k", "v"])))
        yield* first.expect(["SET", "k", "v"])
        yield* TestClock.adjust(4999)
        assert.isUndefined(call.pollUnsafe())
        yield* TestClock.adjust(1 + 100)
        assert.deepStrictEqual(yield* Fiber.join(call), timedOut)
      })
    )
  )

  it.effect("CLIENT-035 is never early, and late by 10 ms or 2 % at most, whatever its length and company", () =>
    withFake(quiet, (_, first) =>
      Effect.gen(function* () {
        yield* submit(first.silent)
        for (const timeout of [1, 7, 100, 1000, 60_000]) {
          const longer = yield* submit(outcomeOf(Redis.command(["SET", "l", 1], { timeout: "1 hour" })))
          const call = yield* submit(outcomeOf(Redis.command(["SET", "k", 1], { timeout })))
          yield* TestClock.adjust(timeout - 0.5)
          assert.isUndefined(call.pollUnsafe(), `${timeout} ms, early`)
          yield* TestClock.adjust(0.5 + Math.max(10, timeout * 0.02))
          assert.isDefined(call.pollUnsafe(), `${timeout} ms, late`)
          yield* Fiber.interrupt(longer)
        }
      })
    )
  )

  it.effect("TIME-006 CLIENT-036 that has passed leaves a place in the line: the late reply is dropped", () =>
    withFake(quiet, (_, first) =>
      Effect.gen(function* () {
        const late = yield* submit(outcomeOf(Redis.command(["GET", "late"], { timeout: 50 })))
        const pipeline = yield* submit(
          outcomeOf(
            Redis.pipeline(
              [
                ["GET", "a"],
                ["GET", "b"]
              ],
              { timeout: 50 }
            )
          )
        )
        for (const key of ["late", "a", "b"]) yield* first.expect(["GET", key])
        yield* first.send(bulk("late, half").slice(0, 9))
        yield* TestClock.adjust(60)
        assert.deepStrictEqual([yield* Fiber.join(late), yield* Fiber.join(pipeline)], [timedOut, timedOut])
        const next = yield* submit(Redis.command(["GET", "next"]))
        yield* first.expect(["GET", "next"])
        yield* first.send(`${bulk("late, half").slice(9)}${bulk("a")}-ERR b\r\n${bulk("own")}`)
        assert.strictEqual(yield* Fiber.join(next), "own")
      })
    )
  )

  it.effect("CLIENT-039 that has passed keeps a call off the wire, also before anybody was told", () =>
    withFake({ ...quiet, inFlightCommands: 1 }, (fake, first) =>
      Effect.gen(function* () {
        const holder = yield* submit(Redis.command(["SET", "k", 1]))
        const late = yield* submit(outcomeOf(Redis.command(["SET", "k", 2], { timeout: 50 })))
        const next = yield* submit(Redis.command(["SET", "k", 3]))
        yield* first.expect(["SET", "k", "1"])
        yield* TestClock.adjust(52)
        assert.isUndefined(late.pollUnsafe())
        yield* first.send("+OK\r\n")
        yield* Fiber.join(holder)
        yield* first.expect(["SET", "k", "3"])
        yield* first.send("+OK\r\n")
        yield* Fiber.join(next)
        assert.deepStrictEqual(yield* Fiber.join(late), ["TimeoutError", "queued", "unsent"])
        assert.deepStrictEqual(yield* callsOf(fake, 0), ["SET k 1", "SET k 3"])
      })
    )
  )

  it.effect("TIME-008 is none where the call says so", () =>
    withFake(quiet, (_, first) =>
      Effect.gen(function* () {
        const call = yield* submit(Redis.command(["GET", "k"], { timeout: "infinite" }))
        yield* first.expect(["GET", "k"])
        yield* TestClock.adjust("30 days")
        assert.isUndefined(call.pollUnsafe())
        yield* first.send(bulk("at last"))
        assert.strictEqual(yield* Fiber.join(call), "at last")
      })
    )
  )

  it.live("TIME-011 says nothing of whether the write ran: it may have", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* server.pause
        assert.deepStrictEqual(yield* outcomeOf(Redis.command(["SET", "k", "v"], { timeout: 20 })), timedOut)
        yield* server.resume
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
      }).pipe(Effect.provide(Redis.layer({ port: server.port })))
    })
  )

  it.effect("OPT-022 of none at all is as soon as can be told, not for ever, also as the connection's default", () =>
    withFake({ ...quiet, timeout: 0 }, (_, first) =>
      Effect.gen(function* () {
        yield* submit(first.silent)
        const call = yield* submit(outcomeOf(Redis.command(["SET", "k", "v"])))
        yield* TestClock.adjust(10)
        assert.strictEqual((yield* Fiber.join(call))[0], "TimeoutError")
      })
    )
  )

  it.effect('OPT-022 TIME-004 of a call is a duration or "infinite", and nothing else is an option of a call', () =>
    withFake(quiet, (fake) =>
      Effect.gen(function* () {
        const call = (options: unknown) => Redis.command(["SET", "k", "v"], options as RedisService.CallOptions)
        for (const timeout of [null, -1, NaN, "soon", {}, true]) {
          const reason = yield* reasonOf(call({ timeout }))
          assert.strictEqual(reason._tag, "RedisArgumentError")
          assert.include(reason.message, "`timeout`")
        }
        const unknown = yield* reasonOf(call({ timeuot: 5 }))
        assert.strictEqual(unknown._tag, "RedisArgumentError", unknown.message)
        assert.include(unknown.message, "timeuot")
        assert.deepStrictEqual(yield* callsOf(fake, 0), [])
        const none = yield* submit(outcomeOf(call({ timeout: 0 })))
        yield* TestClock.adjust(10)
        assert.strictEqual((yield* Fiber.join(none))[0], "TimeoutError")
      })
    )
  )
})

/** The causes of the ends of sessions, as they come. */
const ends = Redis.events.pipe(
  Stream.filter(({ state }) => state === "backoff"),
  Stream.map(({ cause }) => (cause?.reason._tag === "ConnectionError" ? cause.reason.kind : undefined))
)

/** Moves the time in steps, until a condition holds; answers how far. */
const moveUntil = <R>(step: number, most: number, done: Effect.Effect<boolean, never, R>) =>
  Effect.gen(function* () {
    for (let moved = 0; moved < most; moved += step) {
      if (yield* done) return moved
      yield* TestClock.adjust(step)
      // What the clock woke may have to write to a socket.
      yield* TestClock.withLive(Effect.sleep(0))
    }
    return assert.fail(`nothing came within ${most} ms`)
  })

const isDown = Effect.map(Redis.status, ({ state }) => state !== "ready")

describe("The health check", () => {
  it.effect(
    "HEALTH-001 HEALTH-014 CLIENT-035 ends a session whose server never answers, between one and two intervals",
    () =>
      withFake({ healthCheckInterval: 100, backoffInitial: 10 }, (fake, first) =>
        Effect.gen(function* () {
          const end = yield* submit(Stream.runHead(ends))
          const call = yield* submit(outcomeOf(Redis.command(["GET", "k"], { timeout: 50 })))
          yield* first.expect(["GET", "k"])
          yield* TestClock.adjust(61)
          assert.deepStrictEqual(yield* Fiber.join(call), timedOut)
          assert.strictEqual((yield* Redis.status).state, "ready")
          const moved = 61 + (yield* moveUntil(1, 200, isDown))
          assert.ok(moved >= 100 && moved <= 200, `after ${moved} ms`)
          assert.strictEqual(Option.getOrUndefined(yield* Fiber.join(end)), "health-check")
          yield* first.closed
          const again = yield* submit(Redis.command(["GET", "again"]))
          yield* TestClock.adjust(50)
          const second = yield* fake.connection(1)
          yield* second.answer(handshake)
          yield* second.expect(["GET", "again"])
          yield* second.send(bulk("new"))
          assert.strictEqual(yield* Fiber.join(again), "new")
          assert.strictEqual((yield* Redis.status).sessions, 2)
        })
      )
  )

  it.effect("HEALTH-003 leaves a blocking command alone, however long it takes", () =>
    withFake({ healthCheckInterval: 50 }, (fake, first) =>
      Effect.gen(function* () {
        yield* submit(first.serve(handshake))
        const call = yield* submit(Redis.command(["BLPOP", "q", 0], { timeout: "infinite" }))
        const lease = yield* fake.connection(1)
        yield* lease.answer(handshake)
        yield* lease.expect(["BLPOP", "q", "0"])
        for (let i = 0; i < 40; i++) {
          yield* TestClock.adjust(10)
          yield* TestClock.withLive(Effect.sleep(0))
        }
        assert.strictEqual((yield* Redis.status).sessions, 1)
        yield* lease.send(array(bulk("q"), bulk("item")))
        assert.deepStrictEqual(yield* Fiber.join(call), ["q", "item"])
      })
    )
  )

  it.effect("HEALTH-004 does nothing while there is no session", () =>
    withFake({ healthCheckInterval: 30, backoffFirst: 1000 }, (fake, first) =>
      Effect.gen(function* () {
        const closing = yield* submit(Effect.andThen(first.expect(["PING"]), first.close))
        yield* moveUntil(10, 100, isDown)
        yield* Fiber.join(closing)
        for (let i = 0; i < 39; i++) yield* TestClock.adjust(10)
        const { sessions, state } = yield* Redis.status
        assert.deepStrictEqual([state, sessions, yield* fake.accepted], ["backoff", 1, 1])
      })
    ).pipe(withRandom(0.5))
  )

  it.effect("HEALTH-005 asks an idle server with a PING, and leaves it alone when it answers", () =>
    withFake({ healthCheckInterval: 50 }, (fake, first) =>
      Effect.gen(function* () {
        let pings = 0
        const counting: FakeServer.Handler = ([name]) => {
          if (name === "PING") pings++
          return undefined
        }
        yield* submit(first.serve(counting, handshake))
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        for (let i = 0; i < 30; i++) {
          yield* TestClock.adjust(10)
          yield* TestClock.withLive(Effect.sleep(1))
        }
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        assert.ok(pings >= 5 && pings <= 8, `${pings} PINGs in 300 ms`)
        assert.strictEqual(yield* fake.accepted, 1)
      })
    )
  )

  it.effect("HEALTH-006 takes any reply for a sign of life, however slow the server", () =>
    withFake({ healthCheckInterval: 100 }, (fake, first) =>
      Effect.gen(function* () {
        const calls = yield* Effect.forEach(Array.from({ length: 10 }), () => submit(Redis.command(["INCR", "k"])))
        for (const _ of calls) yield* first.expect(["INCR", "k"])
        for (const [i, call] of calls.entries()) {
          yield* TestClock.adjust(60)
          yield* first.send(`:${i}\r\n`)
          assert.strictEqual(yield* Fiber.join(call), i)
        }
        assert.strictEqual(yield* fake.accepted, 1)
      })
    )
  )

  it.effect(
    "HEALTH-007 HEALTH-008 is not put off by new calls, and tells all that are in flight",
    () =>
      withFake({ healthCheckInterval: 100, timeout: 100, backoffInitial: 10_000 }, (_, first) =>
        Effect.gen(function* () {
          yield* submit(first.silent)
          const end = yield* submit(Stream.runHead(ends))
          const calls: Array<Fiber.Fiber<ReadonlyArray<unknown>>> = []
          const more = Effect.gen(function* () {
            if (calls.length < 12) calls.push(yield* submit(outcomeOf(Redis.command(["INCR", "k"], { timeout: 90 }))))
            return yield* isDown
          })
          const moved = yield* moveUntil(20, 300, more)
          assert.ok(moved >= 100 && moved <= 200, `after ${moved} ms`)
          assert.strictEqual(Option.getOrUndefined(yield* Fiber.join(end)), "health-check")
          const early = yield* Effect.forEach(calls.slice(0, 1), Fiber.join)
          assert.deepStrictEqual(early, [timedOut])
          assert.deepStrictEqual(yield* Fiber.join(calls[3]!), ["health-check", "unknown"])
        })
      ),
    departs(
      better("HEALTH-008", 'the callers get the kind `health-check` with `delivery: "unknown"`, so they know why')
    )
  )

  it.effect(
    "HEALTH-011 HEALTH-012 is for the shared connection; a pipeline that blocks runs elsewhere as a whole",
    () =>
      withFake({ healthCheckInterval: 50, backoffInitial: 10_000 }, (fake, first) =>
        Effect.gen(function* () {
          const served = yield* submit(first.serve(handshake))
          const pipeline = yield* submit(
            Redis.pipeline(
              [
                ["GET", "k"],
                ["BLPOP", "q", 0]
              ],
              { timeout: "infinite" }
            )
          )
          const lease = yield* fake.connection(1)
          yield* lease.answer(handshake)
          yield* lease.expect(["GET", "k"])
          yield* lease.expect(["BLPOP", "q", "0"])
          for (let i = 0; i < 20; i++) {
            yield* TestClock.adjust(10)
            yield* TestClock.withLive(Effect.sleep(0))
          }
          yield* lease.send(`${bulk("v")}${array(bulk("q"), bulk("item"))}`)
          assert.deepStrictEqual(yield* Fiber.join(pipeline), ["v", ["q", "item"]])
          // The blocking call is over. The next one is never answered.
          yield* Fiber.interrupt(served)
          const call = yield* submit(outcomeOf(Redis.command(["INCR", "k"], { timeout: 50 })))
          const moved = yield* moveUntil(5, 200, isDown)
          assert.ok(moved >= 50 && moved <= 105, `after ${moved} ms`)
          yield* Fiber.join(call)
        })
      )
  )

  it.effect("waits as long as the oldest call itself would, where that is longer than the interval", () =>
    withFake({ healthCheckInterval: 100 }, (_, first) =>
      Effect.gen(function* () {
        const call = yield* submit(outcomeOf(Redis.command(["INCR", "k"], { timeout: 1000 })))
        yield* first.expect(["INCR", "k"])
        const moved = yield* moveUntil(10, 2000, isDown)
        assert.ok(moved >= 1000 && moved <= 1110, `after ${moved} ms`)
        yield* Fiber.join(call)
      })
    )
  )

  it("HEALTH-009 HEALTH-010 knows the commands that block, in any case", () => {
    const blocks = (...command: ReadonlyArray<string>) =>
      (CommandTable.flagsOf(command) & CommandTable.Flags.blocking) !== 0
    const all = "BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF".split(" ")
    for (const name of all) {
      for (const spelt of [name, name.toLowerCase(), `${name.slice(0, 2)}${name.slice(2).toLowerCase()}`])
        assert.isTrue(blocks(spelt, "k", "0"), spelt)
    }
    for (const word of ["BLOCK", "block", "Block"]) {
      assert.isTrue(blocks("XREAD", word, "0", "STREAMS", "s", "$"))
      assert.isTrue(blocks("xreadgroup", "GROUP", "g", "c", word, "0", "STREAMS", "s", ">"))
    }
    assert.isFalse(blocks("XREAD", "STREAMS", "BLOCK", "$"))
    assert.isFalse(blocks("XREADGROUP", "GROUP", "BLOCK", "c", "STREAMS", "s", ">"))
    for (const name of ["GET", "LPOP", "LMOVE", "XRANGE"]) assert.isFalse(blocks(name, "k"))
  })
})
