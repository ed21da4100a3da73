/** Connections that nobody shares: bounds, waiters, blocking calls. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { awaitState, closable, eager, outcomeOf, reasonOf, serving, submit } from "../behaviours/support.ts"

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

describe("while calls fail at once, so do those that need a connection of their own", () => {
  const blocking = [
    Redis.command(["BLPOP", "k", 1]),
    Effect.scoped(Redis.lease),
    Redis.watch(["k"], Effect.succeed([]))
  ]
  /** None of them dials. */
  const failAtOnce = (fake: FakeServer.FakeServer, outcome: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const dials = yield* fake.accepted
      for (const call of [Redis.command(["GET", "k"]), ...blocking]) {
        const calling: Effect.Effect<unknown, RedisError.RedisError, RedisService> = call
        assert.deepStrictEqual(yield* outcomeOf(calling), outcome)
      }
      assert.strictEqual(yield* fake.accepted, dials)
    })

  it.live("in `failed`", () =>
    Effect.gen(function* () {
      const refusing: FakeServer.Handler = ([name]) => (name === "HELLO" ? "-WRONGPASS no\r\n" : undefined)
      const fake = yield* FakeServer.make((connection) => connection.serve(refusing, FakeServer.handshake))
      yield* Effect.andThen(awaitState("failed"), failAtOnce(fake, ["handshake", "unsent"])).pipe(
        Effect.provide(Redis.layer({ port: fake.port, backoffCap: "1 minute" }))
      )
    }).pipe(Effect.scoped)
  )

  it.live('in `backoff` with `whenDown: "fail"`', () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving())
      yield* Effect.gen(function* () {
        yield* awaitState("ready")
        yield* (yield* fake.connection(0)).reset
        yield* awaitState("backoff")
        yield* failAtOnce(fake, ["disconnected", "unsent"])
      }).pipe(
        Effect.provide(
          Redis.layer({ port: fake.port, whenDown: "fail", backoffInitial: "1 minute", backoffCap: "1 minute" })
        )
      )
    }).pipe(Effect.scoped)
  )
})

describe("a blocking call that got no connection of its own in time", () => {
  it.live("is named by its error", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const reason = yield* Effect.provide(
        reasonOf(Redis.command(["BLPOP", "k", 1], { timeout: 50 })),
        Redis.layer({ port: fake.port, ...eager })
      )
      assert.ok(reason._tag === "TimeoutError")
      assert.deepStrictEqual([reason.command, reason.phase, reason.delivery], ["BLPOP", "queued", "unsent"])
    }).pipe(Effect.scoped)
  )
})
