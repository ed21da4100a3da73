/** A taker that is interrupted while its element is on the way to it: the element is handled, or given back, never forgotten. */
import type { Service } from "@relive/core/RedisService"
import type { Resp } from "@relive/core"
import { RedisPersistedQueue } from "@relive/persistence"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** A server with one element. What its scripts are is told by how many words they have; `onTake` runs when it is taken. */
const serverOf = (endings: Array<string>, onTake: () => void): Service => {
  let elements = 1
  const answer = (command: Resp.Command): Effect.Effect<Resp.Reply> => {
    if (command[0] !== "EVALSHA") return Effect.never
    if (command[2] === 8) {
      endings.push(String(command[12]))
      return Effect.succeed(1)
    }
    if (command.length !== 12) return Effect.succeed(0)
    if (elements === 0) return Effect.succeed([-1, []])
    elements--
    return Effect.sync(() => {
      onTake()
      return [-1, ['{"id":"i","element":"x"}', 1, "lock"]]
    })
  }
  return Object.create(null, {
    command: { value: (command: Resp.Command) => Effect.suspend(() => answer(command)) },
    timeoutMillis: { value: 5000 }
  })
}

describe("a taker", () => {
  it.live("handles its element or gives it back, wherever it is interrupted", () =>
    Effect.gen(function* () {
      const all = new Set<string>()
      // The fiber is left after so many steps, and interrupted there.
      for (let steps = 4; steps <= 120; steps++) {
        const endings: Array<string> = []
        let fiber: Fiber.Fiber<unknown, unknown> | undefined
        const service = serverOf(endings, () => queueMicrotask(() => fiber?.interruptUnsafe()))
        yield* Effect.gen(function* () {
          const store = yield* RedisPersistedQueue.makeStore(service)
          const take = store.take({ name: "q", maxAttempts: 3, retryDelay: () => Effect.succeed(Duration.zero) })
          fiber = yield* Effect.forkChild(
            Effect.provideService(Effect.scoped(Effect.asVoid(take)), Scheduler.MaxOpsBeforeYield, steps),
            { startImmediately: true }
          )
          yield* Fiber.await(fiber)
        }).pipe(Effect.scoped)
        assert.strictEqual(endings.length, 1, `after ${steps} steps: ${endings.join()}`)
        all.add(endings.join())
      }
      assert.deepStrictEqual([...all].sort(), ["complete", "release"])
    })
  )
})
