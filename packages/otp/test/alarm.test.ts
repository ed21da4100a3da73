import { assert, describe, it } from "@effect/vitest"
import { Alarm } from "@relive/otp"
import { Clock, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

/** The two ways to wait on the clock of the test, and how many timers of the second one are pending. */
const ways = (pending: { count: number }) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const timer: Alarm.AlarmOptions["timer"] = (millis, ring) => {
      pending.count++
      const cancel = Effect.runCallbackWith(context)(
        Effect.andThen(clock.sleep(Duration.millis(millis)), Effect.sync(ring)),
        {
          onExit: () => pending.count--
        }
      )
      return () => cancel()
    }
    return { "by a sleep": {}, "by a timer": { timer } }
  })

/** An alarm that runs, and the times of its looks; each look returns the next of `answers`, then `Infinity`. */
const running = (way: keyof Effect.Success<ReturnType<typeof ways>>, answers: Array<number> = []) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const looks: Array<number> = []
    const pending = { count: 0 }
    const alarm = new Alarm.Alarm(() => clock.currentTimeMillisUnsafe(), (yield* ways(pending))[way])
    const fiber = yield* Effect.forkChild(
      alarm.run((now) => {
        looks.push(now)
        return answers.shift() ?? Infinity
      }),
      { startImmediately: true }
    )
    return { alarm, looks, fiber, pending }
  })

describe("Alarm", () => {
  for (const way of ["by a sleep", "by a timer"] as const) {
    it.effect(`sleeps ${way} until it is rung for, and looks at once`, () =>
      Effect.gen(function* () {
        const { alarm, looks } = yield* running(way)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(looks, [])
        alarm.ring()
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(looks, [3_600_000])
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(looks.length, 1)
      })
    )

    it.effect(`looks ${way} at the time that the last look named, and not before`, () =>
      Effect.gen(function* () {
        const { alarm, looks } = yield* running(way, [10, 30])
        alarm.ring()
        yield* TestClock.adjust(9)
        assert.deepStrictEqual(looks, [0])
        yield* TestClock.adjust(1)
        yield* TestClock.adjust(19)
        assert.deepStrictEqual(looks, [0, 10])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(looks, [0, 10, 30])
      })
    )

    it.effect(`an earlier time brings the look forward ${way}, a later one does not put it off`, () =>
      Effect.gen(function* () {
        const { alarm, looks } = yield* running(way)
        alarm.ringBy(100)
        yield* TestClock.adjust(1)
        alarm.ringBy(50)
        alarm.ringBy(200)
        yield* TestClock.adjust(48)
        assert.deepStrictEqual(looks, [])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(looks, [50])
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual(looks, [50])
      })
    )
  }

  it.effect("holds one timer while it waits, and none when it has nothing to wait for or has ended", () =>
    Effect.gen(function* () {
      const { alarm, fiber, looks, pending } = yield* running("by a timer")
      assert.strictEqual(pending.count, 0)
      alarm.ringBy(100)
      alarm.ringBy(50)
      assert.strictEqual(pending.count, 1)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual([looks, pending.count], [[50], 0])
      alarm.ringBy(100)
      assert.strictEqual(pending.count, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(pending.count, 0)
    })
  )

  it.effect("what was rung for before it runs, or inside of a look, is not lost", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const looks: Array<number> = []
      const alarm = new Alarm.Alarm(() => clock.currentTimeMillisUnsafe())
      alarm.ringBy(5)
      const fiber = yield* Effect.forkChild(
        alarm.run((now) => {
          looks.push(now)
          if (looks.length === 1) alarm.ringBy(now + 5)
          return Infinity
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust(5)
      yield* TestClock.adjust(5)
      assert.deepStrictEqual(looks, [5, 10])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("waits on the clock it is given", () =>
    Effect.gen(function* () {
      const slept: Array<number> = []
      const alarm = new Alarm.Alarm(() => 0, {
        sleep: (millis) =>
          Effect.suspend(() => {
            slept.push(millis)
            return Effect.never
          })
      })
      alarm.ringBy(7)
      yield* Effect.forkChild(
        alarm.run(() => Infinity),
        { startImmediately: true }
      )
      assert.deepStrictEqual(slept, [7])
    })
  )

  it.effect("takes in what happened before each look, and says how late it is", () =>
    Effect.gen(function* () {
      let now = 0
      const order: Array<unknown> = []
      const alarm = new Alarm.Alarm(() => now, {
        // Held up, it wakes 40 later than it asked for.
        sleep: (millis) =>
          Effect.sync(() => {
            now += millis + 40
          }),
        beforeLook: (late) => Effect.sync(() => order.push(late))
      })
      alarm.ringBy(10)
      const looks: Array<number> = []
      yield* Effect.forkChild(
        alarm.run((at) => {
          order.push("look")
          looks.push(at)
          return Infinity
        }),
        { startImmediately: true }
      )
      assert.deepStrictEqual([looks, order], [[50], [40, "look"]])
      alarm.ring()
      yield* Effect.yieldNow
      assert.deepStrictEqual(order, [40, "look", 0, "look"])
    })
  )
})
