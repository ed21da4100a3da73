/** What becomes of calls when a member of the pool goes down. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { ExitReason } from "@relive/otp"
import * as Registry from "@relive/otp/Registry"
import { RedisPool } from "@relive/pool"
import type { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { TestClock } from "effect/testing"
import {
  awaitReady,
  awaitStatus,
  gatedServer,
  inTree,
  member,
  membersIn,
  name,
  outcomeOf,
  slow,
  status,
  submit
} from "./support.ts"

const server = gatedServer(2)

/** Two members, and which of them has which connection of the server. */
const twoMembers = Effect.fnUntraced(function* () {
  yield* awaitReady(2)
  const ids = yield* Effect.forEach([0, 1], (index) =>
    Effect.flatMap(member(index), (service) => service.command(["CLIENT", "ID"]))
  )
  // The server numbers its connections from 0, and their ids from 1.
  const memberOf = (connection: number): number => ids.indexOf(connection + 1)
  return { a: memberOf(0), b: memberOf(1), memberA: yield* member(memberOf(0)), memberB: yield* member(memberOf(1)) }
})

const set = (i: number) => ["SET", "k", i] as const

describe("a member that is down", () => {
  it.effect("has its unsent calls moved, after `moveAfter`, in their order, without those that were cancelled", () =>
    Effect.gen(function* () {
      const { port, received, reset } = yield* server
      yield* Effect.gen(function* () {
        const { a, memberA } = yield* twoMembers()
        yield* reset(0)
        yield* awaitReady(1)
        const calls = yield* Effect.forEach([0, 1, 2, 3, 4], (i) => submit(memberA.command(set(i))))
        yield* Fiber.interrupt(calls[2]!)
        yield* TestClock.adjust("49 millis")
        assert.strictEqual((yield* status).members[a]?.queued, 4)
        yield* TestClock.adjust("1 millis")
        const rest = calls.filter((_, i) => i !== 2)
        assert.deepStrictEqual(yield* Effect.forEach(rest, Fiber.join), ["OK", "OK", "OK", "OK"])
        assert.deepStrictEqual(received(1), ["SET k 0", "SET k 1", "SET k 3", "SET k 4"])
        assert.strictEqual((yield* status).moved, 4)
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow })))
    })
  )

  it.effect("keeps them when it is back before `moveAfter`", () =>
    Effect.gen(function* () {
      const { port, received, reset } = yield* gatedServer(3)
      yield* Effect.gen(function* () {
        const { memberA } = yield* twoMembers()
        yield* reset(0)
        yield* awaitReady(1)
        const call = yield* submit(memberA.command(set(1)))
        yield* TestClock.adjust("40 millis")
        assert.strictEqual(yield* Fiber.join(call), "OK")
        assert.deepStrictEqual(received(2), ["SET k 1"])
        assert.strictEqual((yield* status).moved, 0)
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, backoffFirst: "30 millis" })))
    })
  )

  it.effect("has calls moved that can still be cancelled, and keep their deadlines", () =>
    Effect.gen(function* () {
      const { awaitReceived, hold, port, received, release, reset } = yield* server
      yield* Effect.gen(function* () {
        const { b, memberA, memberB } = yield* twoMembers()
        yield* hold(1)
        const first = yield* submit(memberB.command(set(0)))
        yield* awaitReceived(1, 1)
        yield* reset(0)
        yield* awaitReady(1)
        const cancelled = yield* submit(memberA.command(set(1)))
        const late = yield* submit(outcomeOf(memberA.command(set(2), { timeout: "200 millis" })))
        const last = yield* submit(memberA.command(set(3)))
        yield* TestClock.adjust("50 millis")
        assert.strictEqual((yield* status).members[b]?.queued, 3)
        yield* Fiber.interrupt(cancelled)
        yield* TestClock.adjust("100 millis")
        assert.strictEqual((yield* status).members[b]?.queued, 2)
        yield* TestClock.adjust("60 millis")
        assert.strictEqual(yield* Fiber.join(late), "queued/unsent")
        yield* release(1)
        assert.deepStrictEqual(yield* Effect.forEach([first, last], Fiber.join), ["OK", "OK"])
        assert.deepStrictEqual(received(1), ["SET k 0", "SET k 3"])
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, inFlightCommands: 1 })))
    })
  )

  it.effect("keeps what the others have no room for, until they have", () =>
    Effect.gen(function* () {
      const { awaitReceived, hold, port, received, release, reset } = yield* server
      yield* Effect.gen(function* () {
        const { a, b, memberA, memberB } = yield* twoMembers()
        yield* hold(1)
        const own = yield* Effect.forEach([0, 1], (i) => submit(memberB.command(set(i))))
        yield* awaitReceived(1, 1)
        yield* reset(0)
        yield* awaitReady(1)
        const calls = yield* Effect.forEach([2, 3, 4], (i) => submit(memberA.command(set(i))))
        yield* TestClock.adjust("50 millis")
        const { members } = yield* status
        assert.deepStrictEqual([members[a]?.queued, members[b]?.queued], [2, 2])
        yield* release(1)
        yield* Effect.forEach([...own, ...calls.slice(0, 1)], (call) => Fiber.join(call))
        yield* TestClock.adjust("50 millis")
        yield* Effect.forEach(calls, Fiber.join)
        assert.deepStrictEqual(
          received(1),
          [0, 1, 2, 3, 4].map((i) => `SET k ${i}`)
        )
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, inFlightCommands: 1, mailboxCommands: 2 })))
    })
  )

  it.effect("fails its written writes as unknown, and has its written reads repeated by another", () =>
    Effect.gen(function* () {
      const { awaitReceived, hold, port, received, reset } = yield* server
      yield* Effect.gen(function* () {
        const { memberA } = yield* twoMembers()
        yield* hold(0)
        const write = yield* submit(outcomeOf(memberA.command(set(1))))
        const read = yield* submit(outcomeOf(memberA.command(["GET", "k"])))
        const whole = yield* submit(
          outcomeOf(
            memberA.pipeline([
              ["GET", "a"],
              ["GET", "b"]
            ])
          )
        )
        const mixed = yield* submit(outcomeOf(memberA.pipeline([["GET", "a"], set(2)])))
        const transaction = yield* submit(outcomeOf(memberA.transaction([["GET", "a"]])))
        // Of the first; it answers one at a time.
        yield* awaitReceived(0, 1)
        yield* reset(0)
        assert.strictEqual(yield* Fiber.join(write), "disconnected/unknown")
        assert.strictEqual(yield* Fiber.join(mixed), "disconnected/unknown")
        assert.strictEqual(yield* Fiber.join(transaction), "disconnected/unknown")
        yield* TestClock.adjust("50 millis")
        assert.strictEqual(yield* Fiber.join(read), "value")
        assert.deepStrictEqual(yield* Fiber.join(whole), ["value", "value"])
        assert.deepStrictEqual(received(1), ["GET k", "GET a", "GET b"])
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow })))
    })
  )

  for (const whenDown of ["wait", "fail"] as const) {
    it.effect(`costs no caller an error whose call was not written (whenDown: ${whenDown})`, () =>
      Effect.gen(function* () {
        const { awaitReceived, hold, port, reset } = yield* server
        yield* Effect.gen(function* () {
          yield* twoMembers()
          yield* hold(0)
          const calls = yield* Effect.forEach(
            Array.from({ length: 100 }, (_, i) => i),
            (i) => submit(outcomeOf(Redis.command(set(i))))
          )
          yield* awaitReceived(0, 1)
          yield* reset(0)
          yield* awaitReady(1)
          // While it is down, and one more of each kind.
          calls.push(yield* submit(outcomeOf(Redis.command(set(100)))))
          if (whenDown === "wait") yield* TestClock.adjust("50 millis")
          const outcomes = yield* Effect.forEach(calls, Fiber.join)
          assert.strictEqual(outcomes.filter((outcome) => outcome === "OK").length, 100)
          assert.strictEqual(outcomes.filter((outcome) => outcome === "disconnected/unknown").length, 1)
        }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, inFlightCommands: 1, whenDown })))
      })
    )
  }
})

describe("a member whose process is killed", () => {
  const kill = Effect.fnUntraced(function* (index: number) {
    const process = Option.getOrThrow(yield* Registry.whereIs(RedisPool.memberName(name, index)))
    yield* process.exit(ExitReason.kill)
  })

  it.effect("leaves its unsent calls and its reads to the others, and is replaced", () =>
    Effect.gen(function* () {
      const { awaitReceived, hold, port, received } = yield* gatedServer(3)
      yield* Effect.gen(function* () {
        const { a, memberA } = yield* twoMembers()
        yield* hold(0)
        const read = yield* submit(outcomeOf(memberA.command(["GET", "k"])))
        const write = yield* submit(outcomeOf(memberA.command(set(0))))
        yield* awaitReceived(0, 1)
        const waiting = yield* Effect.forEach([1, 2, 3], (i) => submit(outcomeOf(memberA.command(set(i)))))
        yield* kill(a)
        assert.strictEqual(yield* Fiber.join(write), "shutdown/unknown")
        assert.strictEqual(yield* Fiber.join(read), "value")
        assert.deepStrictEqual(yield* Effect.forEach(waiting, Fiber.join), ["OK", "OK", "OK"])
        assert.deepStrictEqual(received(1), ["GET k", "SET k 1", "SET k 2", "SET k 3"])
        yield* awaitReady(2)
        assert.strictEqual(yield* memberA.command(set(4)), "OK")
        assert.deepStrictEqual(received(2), ["SET k 4"])
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, inFlightCommands: 2 })))
    })
  )

  it.effect("has its calls wait for the next one when it is alone", () =>
    Effect.gen(function* () {
      const { awaitReceived, hold, port, received } = yield* server
      yield* Effect.gen(function* () {
        yield* awaitReady(1)
        yield* hold(0)
        const written = yield* submit(outcomeOf(Redis.command(set(0))))
        yield* awaitReceived(0, 1)
        const waiting = yield* Effect.forEach([1, 2, 3], (i) => submit(outcomeOf(Redis.command(set(i)))))
        yield* kill(0)
        assert.deepStrictEqual(yield* Effect.forEach(waiting, Fiber.join), ["OK", "OK", "OK"])
        assert.strictEqual(yield* Fiber.join(written), "shutdown/unknown")
        assert.deepStrictEqual(
          received(1),
          [1, 2, 3].map((i) => `SET k ${i}`)
        )
      }).pipe(Effect.provide(inTree({ port, size: 1, ...slow, inFlightCommands: 1 })))
    })
  )
})

describe("all members", () => {
  it.effect("being down, calls wait for the first that is ready", () =>
    Effect.gen(function* () {
      const { fake, port, reset } = yield* gatedServer(4)
      yield* Effect.gen(function* () {
        yield* twoMembers()
        yield* reset(0)
        yield* reset(1)
        yield* awaitReady(0)
        assert.strictEqual((yield* Redis.status).state, "backoff")
        const calls = yield* Effect.forEach([1, 2, 3, 4], (i) => submit(outcomeOf(Redis.command(set(i)))))
        assert.strictEqual((yield* status).queued, 4)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* Effect.forEach(calls, Fiber.join), ["OK", "OK", "OK", "OK"])
        assert.strictEqual((yield* Redis.status).state, "ready")
        yield* fake.verify
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, backoffFirst: "2 seconds" })))
    })
  )

  it.effect('being down, calls fail at once with `whenDown: "fail"`, but wait for the first connecting', () =>
    Effect.gen(function* () {
      const { port, reset } = yield* server
      yield* Effect.gen(function* () {
        const early = yield* submit(outcomeOf(Redis.command(set(0))))
        yield* twoMembers()
        assert.strictEqual(yield* Fiber.join(early), "OK")
        yield* reset(0)
        yield* reset(1)
        yield* awaitReady(0)
        assert.strictEqual(yield* outcomeOf(Redis.command(set(1))), "disconnected/unsent")
      }).pipe(Effect.provide(inTree({ port, size: 2, ...slow, whenDown: "fail" })))
    })
  )

  it.effect("being refused, calls fail at once; while one is not, none does", () =>
    Effect.gen(function* () {
      const wrong: FakeServer.Script = (connection) =>
        connection.serve(() => "-WRONGPASS invalid username-password pair or user is disabled.\r\n")
      const { awaitReceived, hold, port, release, reset } = yield* gatedServer(2, wrong)
      yield* Effect.gen(function* () {
        const { memberA } = yield* twoMembers()
        yield* hold(0)
        const written = yield* submit(outcomeOf(memberA.command(set(0))))
        yield* awaitReceived(0, 1)
        const waiting = yield* submit(outcomeOf(memberA.command(set(1))))
        yield* reset(0)
        assert.strictEqual(yield* Fiber.join(written), "disconnected/unknown")
        yield* TestClock.adjust("2 seconds")
        // `moveAfter` is a minute here: what is about to fail does not wait for it.
        assert.strictEqual(yield* Fiber.join(waiting), "OK")
        yield* awaitStatus(({ members }) => members.some(({ state }) => state === "failed"))
        assert.strictEqual((yield* Redis.status).state, "ready")
        assert.strictEqual(yield* outcomeOf(Redis.command(set(2))), "OK")
        yield* hold(1)
        yield* reset(1)
        yield* awaitReady(0)
        const last = yield* submit(outcomeOf(Redis.command(set(3))))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* Fiber.join(last), "handshake/unsent")
        assert.deepStrictEqual(yield* membersIn("failed"), [0, 1])
        assert.strictEqual((yield* Redis.status).state, "failed")
        assert.strictEqual(yield* outcomeOf(Redis.command(set(4))), "handshake/unsent")
        yield* release(1)
      }).pipe(
        Effect.provide(
          inTree({ port, size: 2, ...slow, backoffFirst: "1 seconds", moveAfter: "1 minute", inFlightCommands: 1 })
        )
      )
    })
  )
})
