/**
 * The laws of a connection, each at the one moment where it is easiest to break: between a read and its replies, between an
 * end and the next session, between a lease that is given back and the caller that waits for it. Titles name the law.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisError, RedisOptions } from "@relive/core"
import { ExitReason, Registry, Supervisor } from "@relive/otp"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import * as Resp from "../src/Resp.ts"
import type { StatusChange } from "../src/RedisService.ts"
import { Call, REPEATABLE } from "../src/internal/call/call.ts"
import type { Outcome } from "../src/internal/call/call.ts"
import { Connection } from "../src/internal/connection/connection.ts"
import { command } from "../src/internal/call/finishers.ts"
import { Session } from "../src/internal/connection/session.ts"
import { sessionEnd } from "../src/internal/transport/sessionEnd.ts"
import { Wire } from "../src/internal/transport/wire.ts"
import { awaitState, callsOf, eager, outcomeOf, serving, submit, withSleepLog } from "./behaviours/support.ts"

const { handshake } = FakeServer

/** A connection that the test closes, and its calls. */
const closable = (options: RedisOptions.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(Redis.layer(options)), scope)
    return {
      use: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context),
      close: Scope.close(scope, Exit.void)
    }
  })

// ---------------------------------------------------------------------------------------------------------------- parts

/** A connection without a supervisor, for the test to drive. */
const makeParts = (options: RedisOptions.Options = {}) =>
  Effect.gen(function* () {
    const resolved = Result.getOrThrow(RedisOptions.resolve(options))
    const clock = yield* Clock.Clock
    const changes = yield* PubSub.sliding<StatusChange>(8)
    const connection = new Connection(resolved, "permanent", clock, () => 0.5, changes)
    const start = () => {
      const decoder = Resp.makeDecoder({ volatile: true })
      const session = new Session(connection, resolved, decoder)
      connection.starting(session)
      return { decoder, session }
    }
    const outcomes: Array<Outcome> = []
    const call = (name: string, flags = 0, count = 1, timeout = 5000) => {
      const payload = `*1\r\n$${name.length}\r\n${name}\r\n`
      const resume = (outcome: Outcome) => outcomes.push(outcome)
      return new Call(payload, count, payload.length, name, flags, command, count, timeout, connection.now(), resume)
    }
    return { connection, start, call, outcomes }
  })

/** A socket that is open, at least on our side, and what it was given to write. */
class Written extends Net.Socket {
  readonly texts: Array<string> = []
  override write(chunk: unknown): boolean {
    this.texts.push(String(chunk))
    return true
  }
}

const lost = sessionEnd({ kind: "disconnected", detail: "lost", refused: false })

describe("law 1: no call gets a reply that came before it was written", () => {
  it.effect("nothing is written behind a reply that was read and not looked at", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { decoder, session } = start()
      const wire = new Wire(decoder, (bytes) => session.inbound(bytes))
      const socket = new Written()
      wire.attach(socket)
      yield* submit(session.writer(wire))
      connection.ready(session)
      // The reader is held up elsewhere: it has not pulled yet.
      const surplus = Buffer.from("+SURPLUS\r\n")
      wire.onread.callback(surplus.length, surplus)
      connection.submit(call("INCR"))
      assert.deepStrictEqual(socket.texts, [])
      // Now it does.
      const failure = session.dispatch(yield* wire.pull)
      assert.strictEqual(failure?.kind, "protocol")
      socket.destroy()
    })
  )
})

describe("law 3: a reply nobody waits for ends the session at its first byte", () => {
  for (const [where, cut] of [
    ["alone", ["+ONE\r\n", "+SUR"]],
    ["behind the last reply, in the same read", ["+ONE\r\n$7\r\nSUR"]],
    ["as an array of which an element is there", ["+ONE\r\n*2\r\n:1\r\n"]]
  ] as const) {
    it.live(`so that no later call is given it (${where})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make([
          (first) =>
            Effect.gen(function* () {
              yield* first.answer(handshake)
              yield* first.expect(["ONE"])
              yield* Effect.forEach(cut, (part) => first.send(part, { delayMillis: 2 }))
              yield* first.silent
            }),
          serving(([name]) => (name === "TWO" ? "+two\r\n" : undefined))
        ])
        const { close, use } = yield* closable({ port: fake.port, ...eager })
        const down = yield* submit(
          use(Stream.runDrain(Stream.takeUntil(Redis.events, ({ state }) => state === "backoff")))
        )
        assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["ONE"]))), ["ONE"])
        const reason = yield* Effect.timeoutOption(Fiber.join(down), 1000)
        assert.isTrue(Option.isSome(reason))
        assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["TWO"]))), ["two"])
        yield* close
      })
    )
  }

  it.live("but a push may come in pieces, and calls go on beside it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.answer(handshake)
          yield* connection.expect(["ONE"])
          yield* connection.send("+one\r\n>2\r\n+invali", { cuts: [7, 9, 12] })
          yield* connection.send("date\r\n*1\r\n+k", { delayMillis: 2 })
          yield* connection.expect(["TWO"])
          yield* connection.send("\r\n|1\r\n+ttl\r\n:1\r\n", { delayMillis: 2, cuts: [3, 5] })
          yield* connection.send("+two\r\n", { delayMillis: 2 })
          yield* connection.silent
        })
      )
      const { close, use } = yield* closable({ port: fake.port })
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["ONE"]))), ["one"])
      yield* Effect.sleep(20)
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["TWO"]))), ["two"])
      assert.strictEqual((yield* use(Redis.status)).sessions, 1)
      yield* close
    })
  )
})

describe("law 2: what was not handed to an open socket is unsent", () => {
  it.effect("nothing is written to a socket whose end is known, though the reader has not come to it yet", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { decoder, session } = start()
      const wire = new Wire(decoder, (bytes) => session.inbound(bytes))
      const socket = new Written()
      wire.attach(socket)
      yield* submit(session.writer(wire))
      connection.ready(session)
      socket.emit("end")
      connection.submit(call("INCR"))
      assert.deepStrictEqual(socket.texts, [])
      session.die(lost)
      assert.strictEqual(connection.queued, 1)
      socket.destroy()
    })
  )
})

describe("law 4: one session's end is not another's", () => {
  it.effect("a session that ends after the next one has started leaves that one alone, and gives it its reads", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts({ whenDown: "fail" })
      const old = start().session
      connection.ready(old)
      const sink = { upToDate: true, write: () => true, drained: Effect.void }
      yield* submit(old.writer(sink))
      connection.submit(call("GET", REPEATABLE))
      connection.submit(call("INCR"))
      yield* Effect.yieldNow
      assert.strictEqual(connection.inFlight, 2)
      // The old one was killed, and closes in the background.
      const next = start().session
      const texts: Array<string> = []
      const write = (chunks: ReadonlyArray<string | Uint8Array>) => texts.push(chunks.join("")) > 0
      yield* submit(next.writer({ ...sink, write }))
      connection.ready(next)
      old.die(lost)
      yield* Effect.yieldNow
      assert.strictEqual(connection.state, "ready")
      assert.isTrue(connection.accepting)
      assert.isUndefined(connection.downSince)
      assert.deepStrictEqual(texts, ["*1\r\n$3\r\nGET\r\n"])
      assert.strictEqual(outcomes.length, 1)
    })
  )
})

describe("law 8: a connection that is closing stays so", () => {
  it.effect("also when a session becomes ready after the close has begun", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts()
      const { session } = start()
      connection.beginClose()
      connection.ready(session)
      connection.submit(call("INCR"))
      assert.isFalse(connection.accepting)
      assert.strictEqual(outcomes.length, 1)
    })
  )
})

// --------------------------------------------------------------------------------------------------------------- leases

/** Answers handshakes; the commands of the test are taken by the test, or not at all. */
const mute = serving(([name]) => (name === "BLPOP" || name === "HANG" ? "" : undefined))

describe("law 5: leases are bounded, and their waiters are first in, first out", () => {
  it.live("also when the end of a lease resumes a caller that asks for the next one at once", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { close, use } = yield* closable({ port: fake.port, leases: 1, timeout: "2 seconds" })
      const scope = yield* Scope.make()
      const lease = yield* use(Scope.provide(Redis.lease, scope))
      const order: Array<string> = []
      const hold = (name: string) =>
        Effect.scoped(
          Effect.andThen(
            Redis.lease,
            Effect.sync(() => order.push(name))
          )
        )
      const waiter = yield* submit(use(Effect.scoped(Effect.andThen(Redis.lease, Effect.never))))
      const jumper = yield* submit(Effect.andThen(Effect.flip(lease.command(["HANG"])), use(hold("jumper"))))
      yield* (yield* fake.connection(1)).expect(["HELLO", "3"]).pipe(Effect.ignore)
      yield* Scope.close(scope, Exit.void)
      const third = yield* Effect.raceFirst(Effect.as(fake.connection(3), true), Effect.as(Effect.sleep(50), false))
      assert.isFalse(third)
      yield* Fiber.interrupt(waiter)
      yield* Fiber.join(jumper)
      assert.deepStrictEqual(order, ["jumper"])
      yield* close
    })
  )

  for (const dials of ["answered", "refused"] as const) {
    it.live(`whoever is interrupted, and whenever, nothing is lost or counted twice (dials ${dials})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make(
          serving(([name], connection) => (name === "HANG" ? Effect.as(connection.reset, "") : undefined))
        )
        const port = fake.port
        for (let ops = 3; ops <= 64; ops += 3) {
          const { close, use } = yield* closable({ port, leases: 2, timeout: "2 seconds", closeTimeout: 100, ...eager })
          yield* use(Redis.command(["PING"]))
          if (dials === "refused") yield* fake.stop
          const holder = Effect.scoped(Effect.andThen(Redis.lease, Effect.yieldNow))
          const fibers = yield* Effect.forEach(Array.from({ length: 12 }), (_, i) =>
            Effect.gen(function* () {
              const fiber = yield* submit(use(Effect.provideService(holder, Scheduler.MaxOpsBeforeYield, ops)))
              for (let turn = 0; turn < (i * 7) % 11; turn++) yield* Effect.yieldNow
              if (i % 3 !== 0) yield* submit(Fiber.interrupt(fiber))
              return fiber
            })
          )
          if (dials === "refused") yield* fake.start
          yield* Effect.forEach(fibers, Fiber.await)
          // Both can still be had at the same time, and a third cannot.
          const third = yield* use(
            Effect.scoped(
              Effect.gen(function* () {
                yield* Redis.lease
                yield* Redis.lease
                return yield* Effect.exit(Effect.raceFirst(Redis.lease, Effect.sleep(5)))
              })
            )
          )
          assert.deepStrictEqual(third, Exit.succeed(undefined), `after ${ops} operations`)
          yield* close
        }
      })
    )
  }
})

describe("closing refuses leases as it refuses calls", () => {
  it.effect("law 8: who waits for a lease, and who asks for one, is told at once", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { close, use } = yield* closable({ port: fake.port, leases: 1, timeout: "1 hour", closeTimeout: 300 })
      yield* use(awaitState("ready"))
      const holder = yield* submit(use(Effect.scoped(Effect.andThen(Redis.lease, Effect.never))))
      const hanging = yield* submit(use(outcomeOf(Redis.command(["HANG"]))))
      yield* fake.connection(1)
      const waiter = yield* submit(use(outcomeOf(Effect.scoped(Redis.lease))))
      const closing = yield* submit(close)
      assert.strictEqual((yield* use(Redis.status)).state, "draining")
      const refused = ["shutdown", "unsent"]
      assert.deepStrictEqual(yield* Fiber.join(waiter), refused)
      assert.deepStrictEqual(yield* use(outcomeOf(Effect.scoped(Redis.lease))), refused)
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["BLPOP", "k", 0]))), refused)
      yield* TestClock.adjust(300)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* Fiber.join(hanging), ["shutdown", "unknown"])
      // The one that was held is still held, but leads nowhere.
      assert.deepStrictEqual(yield* use(outcomeOf(Effect.scoped(Redis.lease))), refused)
      yield* Fiber.interrupt(holder)
    })
  )

  it.effect("law 1: a call on a lease keeps its deadline while it drains", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { close, use } = yield* closable({ port: fake.port, closeTimeout: "10 seconds" })
      const scope = yield* Scope.make()
      const lease = yield* use(Scope.provide(Redis.lease, scope))
      const call = yield* submit(outcomeOf(lease.command(["HANG"], { timeout: 100 })))
      const closing = yield* submit(close)
      yield* TestClock.adjust(110)
      assert.deepStrictEqual(yield* Fiber.join(call), ["TimeoutError", "written", "unknown"])
      yield* Fiber.join(closing)
      yield* Scope.close(scope, Exit.void)
    })
  )

  it.effect("law 8: one `closeTimeout` is enough for calls on the connection and on its leases together", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { close, use } = yield* closable({ port: fake.port, closeTimeout: 300, timeout: "infinite" })
      yield* use(awaitState("ready"))
      const scope = yield* Scope.make()
      const lease = yield* use(Scope.provide(Redis.lease, scope))
      const calls = [
        yield* submit(outcomeOf(lease.command(["HANG"]))),
        yield* submit(use(outcomeOf(Redis.command(["HANG"]))))
      ]
      const closing = yield* submit(close)
      yield* TestClock.adjust(300)
      yield* Effect.raceFirst(
        Fiber.join(closing),
        Effect.andThen(TestClock.withLive(Effect.sleep(2000)), Effect.die("still closing"))
      )
      for (const call of calls) assert.deepStrictEqual(yield* Fiber.join(call), ["shutdown", "unknown"])
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("closing between two sessions", () => {
  it.effect("law 8: what is queued fails at once, and new calls too, while leases may still finish", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { close, use } = yield* closable({ port: fake.port, closeTimeout: 300, timeout: "infinite" })
      yield* use(awaitState("ready"))
      const scope = yield* Scope.make()
      const lease = yield* use(Scope.provide(Redis.lease, scope))
      const hanging = yield* submit(outcomeOf(lease.command(["HANG"])))
      const main = yield* fake.connection(0)
      yield* main.reset
      yield* use(awaitState("backoff"))
      const queued = yield* submit(use(outcomeOf(Redis.command(["INCR", "k"]))))
      const closing = yield* submit(close)
      const refused = ["shutdown", "unsent"]
      assert.deepStrictEqual(yield* Fiber.join(queued), refused)
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["INCR", "k"]))), refused)
      yield* TestClock.adjust(300)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* Fiber.join(hanging), ["shutdown", "unknown"])
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("law 1: nobody waits behind a call that is gone", () => {
  for (const [how, timeout] of [
    ["was interrupted", 5000],
    ["timed out", 50]
  ] as const) {
    it.effect(`a call that did not fit and ${how} makes way for the next`, () =>
      Effect.gen(function* () {
        const { call, connection, start } = yield* makeParts({ inFlightCommands: 2 })
        const { session } = start()
        const texts: Array<string> = []
        const write = (chunks: ReadonlyArray<string | Uint8Array>) => texts.push(chunks.join("")) > 0
        yield* submit(session.writer({ upToDate: true, write, drained: Effect.void }))
        yield* submit(connection.deadlines.run)
        connection.ready(session)
        connection.submit(call("A"))
        yield* Effect.yieldNow
        const big = call("BIG", 0, 2, timeout)
        connection.submit(big)
        connection.submit(call("C"))
        yield* Effect.yieldNow
        assert.strictEqual(texts.length, 1)
        if (timeout === 5000) connection.cancel(big)
        yield* TestClock.adjust(60)
        assert.include(texts.join(""), "C")
      })
    )
  }
})

describe("law 8: a close waits for nothing that is over", () => {
  it.effect("nor for a call whose time was over when the writer came to it", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts()
      const { session } = start()
      const more = yield* Deferred.make<void>()
      yield* submit(session.writer({ upToDate: true, write: () => false, drained: Deferred.await(more) }))
      connection.ready(session)
      connection.submit(call("A"))
      connection.submit(call("B", 0, 1, 10))
      connection.beginClose()
      const drained = yield* submit(connection.drained)
      session.dispatch(["a"])
      yield* TestClock.adjust(20)
      yield* Deferred.succeed(more, undefined)
      yield* Fiber.join(drained)
      assert.deepStrictEqual(
        outcomes.map((outcome) => outcome._tag),
        ["Success", "Failure"]
      )
    })
  )
})

describe("law 2: an error does not promise what it cannot know", () => {
  it("a read that was written, and not again in time, may have run", () => {
    const late = (delivery: "unsent" | "unknown") =>
      new RedisError.TimeoutError({ phase: "queued", delivery, command: "GET", timeoutMillis: 5 }).message
    assert.match(late("unsent"), /has not run/)
    assert.match(late("unknown"), /may have run/)
    assert.notMatch(late("unknown"), /has not run/)
  })
})

describe("law 1: a call that was given up does not keep a silent session alive", () => {
  it.effect("whatever time it had, as soon as others wait behind it", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { session } = start()
      yield* submit(session.writer({ upToDate: true, write: () => true, drained: Effect.void }))
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
      yield* Effect.yieldNow
      assert.strictEqual(session.checkHealth(10_000), 0)
    })
  )
})

describe("law 6: a blocking call that is over takes its connection with it", () => {
  it.effect("also when it was written in the first millisecond of the clock", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(mute)
      const { use } = yield* closable({ port: fake.port })
      const scope = yield* Scope.make()
      const lease = yield* use(Scope.provide(Redis.lease, scope))
      const call = yield* submit(outcomeOf(lease.command(["BLPOP", "k", 0], { timeout: 100 })))
      yield* TestClock.adjust(110)
      assert.deepStrictEqual(yield* Fiber.join(call), ["TimeoutError", "written", "unknown"])
      yield* (yield* fake.connection(1)).closed
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("law 4: a blocking call that was not written waits for the server, as others do", () => {
  it.live("until it is there", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "BLPOP" ? "*2\r\n$1\r\nk\r\n$1\r\nv\r\n" : undefined))
      )
      const { close, use } = yield* closable({ port: fake.port, ...eager })
      yield* use(awaitState("ready"))
      yield* fake.stop
      yield* use(awaitState("backoff"))
      const call = yield* submit(use(outcomeOf(Redis.command(["BLPOP", "k", 1]))))
      const write = yield* submit(use(outcomeOf(Redis.command(["PING"]))))
      yield* Effect.sleep(30)
      yield* fake.start
      assert.deepStrictEqual(yield* Fiber.join(write), ["PONG"])
      assert.deepStrictEqual(yield* Fiber.join(call), [["k", "v"]])
      yield* close
    })
  )

  it.live("until its deadline, and no longer", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const { close, use } = yield* closable({ port: fake.port, leases: 1, ...eager })
      // The first one has the only lease. The second one's deadline is the earlier one, or it could still get that lease.
      const pop = (timeout: number) => outcomeOf(Redis.command(["BLPOP", "k", 1], { timeout }))
      const outcomes = yield* use(Effect.all([pop(300), pop(40)], { concurrency: 2 }))
      assert.deepStrictEqual(outcomes, [["TimeoutError", "queued", "unsent"], ["LeaseTimeout"]])
      yield* close
    })
  )

  it.effect("unless the connection closes", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const { close, use } = yield* closable({ port: fake.port, timeout: "1 hour" })
      yield* use(awaitState("backoff"))
      const call = yield* submit(use(outcomeOf(Redis.command(["BLPOP", "k", 1]))))
      // Whether it dials or pauses now is the same.
      for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(call), ["shutdown", "unsent"])
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

describe("a caller that closes the connection while it is resumed", () => {
  it.live("by a reply: the others of the chunk have theirs, and the close ends", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "ONE" ? "" : name === "TWO" ? "+one\r\n+two\r\n" : undefined))
      )
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const one = yield* submit(Effect.andThen(use(Redis.command(["ONE"])), close))
      const two = yield* submit(use(outcomeOf(Redis.command(["TWO"]))))
      yield* Fiber.join(one)
      assert.deepStrictEqual(yield* Fiber.join(two), ["two"])
    })
  )
  it.live("by the end of the session, by its deadline", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name], connection) =>
          name === "ONE" ? Effect.as(connection.reset, "") : name === "GET" ? "" : undefined
        )
      )
      const a = yield* closable({ port: fake.port })
      yield* a.use(awaitState("ready"))
      const read = yield* submit(a.use(outcomeOf(Redis.command(["GET", "k"]))))
      yield* Effect.ignore(a.use(Redis.command(["ONE"])))
      yield* a.close
      assert.deepStrictEqual(yield* Fiber.join(read), ["shutdown", "unknown"])
      const b = yield* closable({ port: fake.port })
      yield* b.use(awaitState("ready"))
      const other = yield* submit(b.use(outcomeOf(Redis.command(["GET", "k"], { timeout: 20 }))))
      yield* Effect.ignore(b.use(Redis.command(["GET", "k"], { timeout: 20 })))
      yield* b.close
      assert.strictEqual((yield* Fiber.join(other)).length, 3)
    })
  )
})

/** Answers no BLPOP and no HANG, and tells of the first BLPOP. */
const hangs = (arrived: Deferred.Deferred<void>) =>
  serving(([name]) =>
    name === "BLPOP" ? Effect.as(Deferred.succeed(arrived, undefined), "") : name === "HANG" ? "" : undefined
  )

describe("law 8 in a user's tree", () => {
  const Name = Redis.Name("cache")
  it.live("a connection whose process is killed settles its calls and leaves no socket; the next one takes over", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(hangs(arrived))
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port, inFlightCommands: 1 })
      const supervisor = yield* Supervisor.start(Supervisor.make({ children: [child] }))
      const cache = Option.getOrThrow(yield* Registry.lookup(Name))
      yield* cache.command(["PING"])
      const written = yield* submit(outcomeOf(cache.command(["HANG"])))
      const queued = yield* submit(outcomeOf(cache.command(["HANG"])))
      const blocked = yield* submit(outcomeOf(cache.command(["BLPOP", "k", 0])))
      yield* Deferred.await(arrived)
      yield* (yield* supervisor.whichChildren)[0]?.process?.exit(ExitReason.kill) ?? Effect.die("not started")
      assert.deepStrictEqual(yield* Fiber.join(written), ["shutdown", "unknown"])
      assert.deepStrictEqual(yield* Fiber.join(queued), ["shutdown", "unsent"])
      assert.deepStrictEqual(yield* Fiber.join(blocked), ["shutdown", "unknown"])
      yield* (yield* fake.connection(0)).closed
      yield* (yield* fake.connection(1)).closed
      const next = yield* Redis.named(Name)
      assert.strictEqual(yield* next.command(["PING"]), "PONG")
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.effect("law 1: a call to a name has one deadline, whichever connections have the name meanwhile", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port })
      const supervisor = yield* Supervisor.start(Supervisor.make({ children: [child] }))
      const cache = yield* Redis.named(Name)
      const call = yield* submit(outcomeOf(cache.command(["INCR", "k"], { timeout: 1000 })))
      yield* TestClock.adjust(900)
      yield* supervisor.terminateChild("cache")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(110)
      assert.isDefined(call.pollUnsafe())
      assert.deepStrictEqual(yield* Fiber.join(call), ["disconnected", "unsent"])
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.effect("law 1: a blocking call to a name that came late has all the time that the server may take", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(hangs(arrived))
      const cache = yield* Redis.named(Name)
      const call = yield* submit(outcomeOf(cache.command(["BLPOP", "k", 60])))
      const child = Redis.childSpec({ id: "cache", register: Name, port: fake.port, healthCheckInterval: "infinite" })
      yield* Supervisor.start(Supervisor.make({ children: [child] }))
      yield* Deferred.await(arrived)
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(call.pollUnsafe())
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.live("childSpec with bad options fails its start in words", () =>
    Effect.gen(function* () {
      const options = { id: "cache", port: -1 }
      const error = yield* Effect.flip(Supervisor.start(Supervisor.make({ children: [Redis.childSpec(options)] })))
      assert.include(String(JSON.stringify(error)), "port")
    }).pipe(Effect.provide(Registry.layer), Effect.scoped)
  )

  it.live("an awaited start that is interrupted leaves nothing", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.silent)
      const building = yield* submit(Effect.scoped(Layer.build(Redis.layer({ port: fake.port, start: "await" }))))
      const connection = yield* fake.connection(0)
      yield* Fiber.interrupt(building)
      yield* connection.closed
      assert.strictEqual(yield* fake.accepted, 1)
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

describe("with any number of operations between two turns", () => {
  it.live("laws 1 and 6: each call has its own reply, whoever goes away meanwhile", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name, key = ""]) => (name === "GET" ? FakeServer.bulk(key) : undefined))
      )
      for (let ops = 3; ops <= 64; ops++) {
        yield* Effect.gen(function* () {
          const { close, use } = yield* closable({ port: fake.port, inFlightCommands: 8, timeout: "5 seconds" })
          const calls = yield* Effect.forEach(Array.from({ length: 60 }), (_, i) =>
            Effect.gen(function* () {
              const options = i % 5 === 0 ? ({ decode: "bytes" } as const) : undefined
              const fiber = yield* submit(use(Redis.command(["GET", `${i}`], options)))
              if (i % 7 === 0) yield* submit(Fiber.interrupt(fiber))
              if (i % 4 === 0) yield* Effect.yieldNow
              return fiber
            })
          )
          const exits = yield* Effect.forEach(calls, Fiber.await)
          exits.forEach((exit, i) => {
            if (i % 7 === 0) return
            assert.deepStrictEqual(exit, Exit.succeed(i % 5 === 0 ? new TextEncoder().encode(`${i}`) : `${i}`))
          })
          yield* close
        }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
      }
    })
  )
})

describe("a caller of a script", () => {
  it.live("may say that it only reads", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving(([name]) => (name === "EVALSHA_RO" ? ":1\r\n" : undefined)))
      const { close, use } = yield* closable({ port: fake.port })
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.script("return 1")([], [], { readOnly: true }))), [1])
      yield* close
    })
  )

  it.effect("law 1: has one deadline, though the script must be sent twice", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const sent = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(
        serving(([name]) =>
          name === "EVALSHA"
            ? Deferred.await(asked).pipe(Effect.as("-NOSCRIPT No matching script.\r\n"))
            : name === "EVAL"
              ? Effect.as(Deferred.succeed(sent, undefined), "")
              : undefined
        )
      )
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const call = yield* submit(use(outcomeOf(Redis.script("return 1")([], [], { timeout: 1000 }))))
      yield* TestClock.adjust(900)
      yield* Deferred.succeed(asked, undefined)
      yield* Deferred.await(sent)
      yield* TestClock.adjust(150)
      assert.isDefined(call.pollUnsafe())
      yield* submit(close)
      yield* TestClock.adjust(5000)
    })
  )
})

describe("events", () => {
  it.live("end when the connection closes", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving())
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const states = yield* submit(use(Stream.runCollect(Stream.map(Redis.events, ({ state }) => state))))
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(states), ["draining", "closed"])
    })
  )
})

describe("law 1: order after recovery", () => {
  it.effect("reads that are repeated go before calls that are submitted while others fail", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (first) =>
          Effect.andThen(
            first.answer(FakeServer.handshake),
            Effect.andThen(
              first.expect(["GET", "a"]),
              Effect.andThen(first.expect(["INCR", "n"]), Effect.andThen(first.expect(["GET", "b"]), first.reset))
            )
          ),
        serving(([name]) => (name === "PING" ? undefined : "+x\r\n"))
      ])
      const { use } = yield* closable({ port: fake.port, ...eager })
      yield* use(awaitState("ready"))
      const calls = [
        yield* submit(use(Redis.command(["GET", "a"]))),
        yield* submit(use(Effect.andThen(Effect.flip(Redis.command(["INCR", "n"])), Redis.command(["SET", "new", 1])))),
        yield* submit(use(Redis.command(["GET", "b"])))
      ]
      const live = yield* submit(Effect.forEach(calls, Fiber.join))
      for (let i = 0; i < 100 && live.pollUnsafe() === undefined; i++) {
        yield* TestClock.adjust(10)
        yield* TestClock.withLive(Effect.sleep(1))
      }
      assert.deepStrictEqual(yield* callsOf(fake, 1), ["GET a", "GET b", "SET new 1"])
    })
  )
})

describe("closing at any moment", () => {
  it.live("law 8: settles every call, ends, and leaves no socket, whatever was under way", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name, key = ""], connection) => {
          if (name === "GET") return FakeServer.bulk(key)
          if (name === "BLPOP") return ""
          return name === "DIE" ? Effect.as(connection.reset, "") : undefined
        })
      )
      let opened = 0
      for (let ops = 3; ops <= 64; ops += 2) {
        const { close, use } = yield* closable({ port: fake.port, leases: 2, closeTimeout: 50, ...eager }).pipe(
          Effect.provideService(Scheduler.MaxOpsBeforeYield, ops)
        )
        const commands = [["GET", "a"], ["BLPOP", "k", 0], ["DIE"], ["GET", "b"], ["BLPOP", "k", 0], ["BLPOP", "k", 0]]
        const calls = yield* Effect.forEach(commands, (command) => submit(use(outcomeOf(Redis.command(command)))))
        const lease = yield* submit(use(outcomeOf(Effect.scoped(Effect.andThen(Redis.lease, Effect.sleep(1))))))
        for (let turn = 0; turn < (ops * 13) % 97; turn++) yield* Effect.yieldNow
        yield* close.pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops), Effect.timeout(2000))
        yield* Effect.forEach([...calls, lease], (call) => Effect.timeout(Fiber.join(call), 2000))
        const accepted = yield* fake.accepted
        for (; opened < accepted; opened++) yield* Effect.timeout((yield* fake.connection(opened)).closed, 2000)
      }
    })
  )
})

describe("law 5: a reply over a limit", () => {
  it.live("fails alone: alone, in a pipeline, in a transaction, and in the handshake", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const limits = { maxBulkBytes: 20, maxElements: 4 }
      const { close, use } = yield* closable({ port: server.port, ...limits })
      const big = "b".repeat(100_000)
      yield* use(
        Redis.pipeline([
          ["SET", "a", 1],
          ["SET", "big", big],
          ["SET", "c", 3]
        ])
      )
      const tags = (elements: ReadonlyArray<unknown>) =>
        elements.map((element) => (element instanceof Resp.ReplyLimitError ? element._tag : element))
      const [alone, pipeline, transaction, wide, last] = yield* use(
        Effect.all(
          [
            outcomeOf(Redis.command(["GET", "big"])),
            Redis.pipeline([
              ["GET", "a"],
              ["GET", "big"],
              ["MGET", "a", "a", "a", "a", "a"],
              ["GET", "c"]
            ]),
            outcomeOf(
              Redis.transaction([
                ["INCR", "n"],
                ["GET", "big"],
                ["GET", "c"]
              ])
            ),
            outcomeOf(Redis.command(["MGET", "a", "a", "a", "a", "a"], { decode: "bytes" })),
            Redis.command(["GET", "c"])
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.deepStrictEqual(alone, ["ReplyLimitError"])
      assert.deepStrictEqual(tags(pipeline), ["1", "ReplyLimitError", "ReplyLimitError", "3"])
      assert.deepStrictEqual(transaction, ["ReplyLimitError"])
      assert.deepStrictEqual(wide, ["ReplyLimitError"])
      assert.strictEqual(last, "3")
      assert.strictEqual(yield* use(Redis.command(["GET", "n"])), "1")
      assert.strictEqual((yield* use(Redis.status)).sessions, 1)
      yield* close
    })
  )
})
