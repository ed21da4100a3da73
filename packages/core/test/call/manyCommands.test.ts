/**
 * Calls of so many commands that they are encoded in several turns of the event loop. There is no server: what is encoded waits.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisError } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { submit } from "../behaviours/support.ts"

/** More than a call may have arguments, too. */
const MANY = 200_000

/** So many may be encoded in one turn. */
const MOST = 20_000

const commands = Array.from({ length: MANY }, (_, i) => ["SET", `key:${i}`, "value"])

const away = Redis.layer({ port: 1 })

const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const queued = Effect.map(Redis.status, (status) => status.queued)

/** How many turns pass until something is queued. */
const turnsUntilQueued = Effect.gen(function* () {
  let turns = 0
  for (; (yield* queued) === 0 && turns < 1000; turns++) yield* nextTurn
  return turns
})

const calls = [
  ["a pipeline", Redis.pipeline(commands), MANY],
  ["a transaction", Redis.transaction(commands), MANY + 2],
  ["noreply", Redis.noreply(commands), MANY + 3]
] as const

describe("very many commands", () => {
  for (const [what, call, count] of calls) {
    it.effect(`${what}: others have their turns while it is encoded`, () =>
      Effect.gen(function* () {
        const fiber = yield* submit(Effect.asVoid(call))
        const turns = yield* turnsUntilQueued
        assert.isAtLeast(turns, Math.floor(MANY / MOST))
        assert.isBelow(turns, 1000)
        assert.strictEqual(yield* queued, count)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* queued, 0)
      }).pipe(Effect.provide(away))
    )
  }

  it.effect("nothing of it is queued when its caller is interrupted meanwhile", () =>
    Effect.gen(function* () {
      const fiber = yield* submit(Redis.pipeline(commands))
      yield* nextTurn
      yield* Fiber.interrupt(fiber)
      for (let i = 0; i < 20; i++) yield* nextTurn
      assert.strictEqual(yield* queued, 0)
    }).pipe(Effect.provide(away))
  )

  it.effect("a wrong argument at its end fails it, and says where", () =>
    Effect.gen(function* () {
      const wrong = yield* Effect.flip(Redis.pipeline([...commands, ["SET", "key", Number.NaN]]))
      assert.instanceOf(wrong, RedisError.RedisError)
      assert.include(wrong.message, `Argument 2 of command ${MANY}`)
      assert.strictEqual(yield* queued, 0)
    }).pipe(Effect.provide(away))
  )

  it.effect("its deadline counts from the call", () =>
    Effect.gen(function* () {
      const fiber = yield* submit(Effect.flip(Redis.pipeline(commands, { timeout: "1 second" })))
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* queued, 0)
      yield* turnsUntilQueued
      assert.strictEqual(yield* queued, MANY)
      yield* TestClock.adjust(50)
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "TimeoutError")
    }).pipe(Effect.provide(away))
  )

  it.effect("commands that are added meanwhile are not part of it", () =>
    Effect.gen(function* () {
      const mine = [...commands]
      const fiber = yield* submit(Redis.pipeline(mine))
      mine.push(["PING"])
      yield* turnsUntilQueued
      assert.strictEqual(yield* queued, MANY)
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(away))
  )
})
