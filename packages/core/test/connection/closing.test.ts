/** Closing, in each state and whatever is under way. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { awaitState, closable, eager, makeParts, outcomeOf, serving, submit } from "../behaviours/support.ts"

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

/** Answers handshakes; the commands of the test are taken by the test, or not at all. */
const mute = serving(([name]) => (name === "BLPOP" || name === "HANG" ? "" : undefined))

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

describe("law 8: a close waits for nothing that is over", () => {
  it.effect("nor for a call whose time was over when the writer came to it", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts()
      const { session } = start()
      let more = (): void => {}
      session.attach({ upToDate: true, write: () => false, whenDrained: (then) => (more = then) })
      connection.ready(session)
      connection.submit(call("A"))
      connection.submit(call("B", 0, 1, 10))
      connection.beginClose()
      const drained = yield* submit(connection.drained)
      session.dispatch(["a"])
      yield* TestClock.adjust(20)
      more()
      yield* Fiber.join(drained)
      assert.deepStrictEqual(
        outcomes.map((outcome) => outcome._tag),
        ["Success", "Failure"]
      )
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
