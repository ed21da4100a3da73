import { assert, describe, it } from "@effect/vitest"
import { ExitReason, GenServer, Process } from "@relive/otp"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"

interface Clocked {
  readonly call:
    | GenServer.Call<{ readonly _tag: "Seen" }, ReadonlyArray<string>>
    | GenServer.Call<{ readonly _tag: "Busy"; readonly millis: number }, void>
  readonly cast: string
}

const clocked = GenServer.make<Clocked, ReadonlyArray<string>>()({
  init: () => GenServer.ok([]),
  handleCall: {
    Seen: (_, seen) => GenServer.reply(seen, seen),
    Busy: ({ millis }, seen) => Effect.as(Effect.sleep(millis), GenServer.reply(undefined, seen))
  },
  handleCast: (message, seen) => GenServer.noReply([...seen, message])
})

const seen = (server: GenServer.Server<Clocked>) => server.call({ _tag: "Seen" })
const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("timers of a server", () => {
  it.effect("castAfter casts once, at its time and not before", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      yield* server.castAfter("1 second", "b")
      yield* server.castAfter(500, "a")
      yield* TestClock.adjust(499)
      assert.deepStrictEqual(yield* seen(server), [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* seen(server), ["a"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* seen(server), ["a", "b"])
    })
  )

  it.effect("a key has one timer: arming it again replaces it", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      yield* server.castAfter(100, "first", { key: "k" })
      yield* server.castAfter(100, "other", { key: "other" })
      yield* TestClock.adjust(50)
      yield* server.castAfter(100, "second", { key: "k" })
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(yield* seen(server), ["other"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* seen(server), ["other", "second"])
    })
  )

  it.effect("a tick that waits is taken out by arming the key again, and by cancelling it", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      const busy = yield* fork(server.call({ _tag: "Busy", millis: 1000 }))
      yield* server.castAfter(10, "stale", { key: "k" })
      yield* server.castAfter(10, "cancelled", { key: 7 })
      const unnamed = yield* server.castAfter(10, "unnamed")
      yield* server.castAfter(10, "kept", { key: "kept" })
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* server.depth, 4)
      yield* server.castAfter(2000, "fresh", { key: "k" })
      assert.isTrue(yield* server.cancelTimer(7))
      assert.isFalse(yield* server.cancelTimer(7))
      assert.isTrue(yield* unnamed.cancel)
      assert.isFalse(yield* unnamed.cancel)
      assert.strictEqual(yield* server.depth, 1)
      yield* TestClock.adjust(1000)
      yield* Fiber.join(busy)
      assert.deepStrictEqual(yield* seen(server), ["kept"])
      assert.isFalse(yield* server.cancelTimer("kept"))
      yield* TestClock.adjust(2000)
      assert.deepStrictEqual(yield* seen(server), ["kept", "fresh"])
    })
  )

  it.effect("castEvery casts at each period; of those that a slow server misses one waits", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      const timer = yield* server.castEvery(100, "tick")
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(yield* seen(server), [])
      yield* TestClock.adjust(1)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* seen(server), ["tick", "tick"])
      yield* fork(server.call({ _tag: "Busy", millis: 1050 }))
      yield* TestClock.adjust(950)
      assert.strictEqual(yield* server.depth, 1)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual((yield* seen(server)).length, 3)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual((yield* seen(server)).length, 4)
      assert.isTrue(yield* timer.cancel)
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual((yield* seen(server)).length, 4)
    })
  )

  it.effect("a server arms its own timers, also from the handler of a tick", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(
        GenServer.make<Clocked, { readonly self: GenServer.Server<Clocked>; readonly seen: ReadonlyArray<string> }>()({
          init: (self) => Effect.as(self.castAfter(10, "1", { key: "k" }), GenServer.ok({ self, seen: [] })),
          handleCall: {
            Seen: (_, state) => GenServer.reply(state.seen, state),
            Busy: (_, state) => GenServer.reply(undefined, state)
          },
          handleCast: (message, { seen, self }) =>
            Effect.as(
              self.castAfter(10, String(seen.length + 2), { key: "k" }),
              GenServer.noReply({ self, seen: [...seen, message] })
            )
        })
      )
      yield* TestClock.adjust(35)
      assert.deepStrictEqual(yield* seen(server), ["1", "2", "3"])
    })
  )

  it.effect("gone with the process: no fiber is left, and one serves all timers", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      for (let i = 0; i < 100; i++) yield* server.castAfter(1000 + i, "x", { key: i })
      const labels = (yield* Process.liveFibers).map(({ label }) => label)
      assert.deepStrictEqual(labels.toSorted(), ["main", "timers"])
      yield* server.process.exit(ExitReason.kill)
      assert.deepStrictEqual(yield* Process.liveFibers, [])
      yield* server.castAfter(1, "late")
      yield* TestClock.adjust(5000)
      assert.deepStrictEqual(yield* Process.liveFibers, [])
    }).pipe(Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)))
  )

  const small = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

  it.effect.prop(
    "a key fires at most once per arming, never early, and never what was armed before",
    {
      steps: Schema.Array(
        Schema.Struct({ kind: small(0, 9), key: small(0, 2), delay: small(0, 30), pass: small(0, 15) })
      )
    },
    ({ steps }) =>
      Effect.gen(function* () {
        const server = yield* GenServer.start(clocked)
        let now = 0
        /** What is armed last under each key, as the model has it. */
        const armed = new Map<number, { readonly name: string; readonly due: number }>()
        const expected: Array<{ readonly name: string; readonly due: number }> = []
        const pass = (millis: number) =>
          Effect.gen(function* () {
            for (let i = 0; i < millis; i++) {
              yield* TestClock.adjust(1)
              now++
              collect()
            }
          })
        const collect = () => {
          for (const [key, timer] of armed) {
            if (timer.due > now) continue
            expected.push(timer)
            armed.delete(key)
          }
        }
        let count = 0
        for (const { delay, key, kind, pass: millis } of steps) {
          if (kind < 6) {
            const name = `${key}.${++count}`
            // With 0 it fires in the next turn.
            armed.set(key, { name, due: now + Math.max(1, delay) })
            yield* server.castAfter(Math.max(1, delay), name, { key })
          } else if (kind < 8) {
            assert.strictEqual(yield* server.cancelTimer(key), armed.delete(key))
          }
          yield* pass(millis)
        }
        yield* pass(31)
        const names = yield* seen(server)
        assert.deepStrictEqual(names.toSorted(), expected.map(({ name }) => name).toSorted())
        yield* server.stop()
      })
  )

  it.effect("ten thousand keys are forgotten when they are over", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(clocked)
      for (let i = 0; i < 10_000; i++) {
        yield* server.castAfter(10_000 - i, "x", { key: i })
        if (i % 2 === 0) yield* server.cancelTimer(i)
      }
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* seen(server)).length, 5000)
      yield* server.castAfter(1, "last", { key: "last" })
      assert.isTrue(yield* server.cancelTimer("last"))
    })
  )
})

describe("timers of a plain process", () => {
  it.effect("sendAfter sends, is replaced by its key, and takes back what was not received", () =>
    Effect.gen(function* () {
      const received: Array<unknown> = []
      const process = yield* Process.spawn(
        Effect.gen(function* () {
          while (true) {
            const message = yield* Process.receive
            received.push(message._tag === "Message" ? message.message : message)
            yield* Effect.sleep(100)
          }
        })
      )
      yield* Process.sendAfter(process, 10, "first")
      yield* Process.sendAfter(process, 20, "stale", { key: "k" })
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(received, ["first"])
      yield* Process.sendAfter(process, 10, "fresh", { key: "k" })
      const timer = yield* Process.sendAfter(process, 15, "cancelled")
      yield* TestClock.adjust(30)
      assert.isTrue(yield* timer.cancel)
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(received, ["first", "fresh"])
      assert.isFalse(yield* Process.cancelTimer(process, "k"))
    })
  )
})
