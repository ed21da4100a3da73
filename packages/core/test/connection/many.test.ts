/** Very many calls that end together do not hold up the event loop: they are settled in several of its turns. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TestClock } from "effect/testing"
import { makeParts, submit } from "../behaviours/support.ts"
import { Call } from "../../src/internal/call/call.ts"
import type { Outcome } from "../../src/internal/call/call.ts"
import { command } from "../../src/internal/call/reducers.ts"
import { Settling } from "../../src/internal/connection/settling.ts"

/** Takes longer than all the turns it is given, so that the clock of the machine does not matter. */
const burn = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

const made = (resumed: (outcome: Outcome) => void): Call => new Call("", 1, 0, "GET", 0, command, 1, 1000, 0, resumed)

describe("many calls that are settled together", () => {
  it.live("are settled in order, in several turns, each once", () =>
    Effect.gen(function* () {
      const settling = new Settling()
      const order: Array<number> = []
      const atOnce: Array<number> = []
      const slow = (i: number) => {
        order.push(i)
        burn(0.2)
      }
      settling.add(Array.from({ length: 300 }, (_, i) => [made(() => slow(i)), Exit.void] as const))
      atOnce.push(order.length)
      // More come while there are some: they wait for their turn.
      settling.add([[made(() => slow(300)), Exit.void]])
      atOnce.push(order.length)
      yield* settling.done
      assert.deepStrictEqual(
        order,
        Array.from({ length: 301 }, (_, i) => i)
      )
      assert.isBelow(atOnce[0]!, 200)
      assert.strictEqual(atOnce[1], atOnce[0])
    })
  )

  it.live("few are settled before it returns", () =>
    Effect.gen(function* () {
      const settling = new Settling()
      let settled = 0
      settling.add(Array.from({ length: 10 }, () => [made(() => settled++), Exit.void] as const))
      assert.strictEqual(settled, 10)
      yield* settling.done
    })
  )

  it.effect("share one error where nothing differs, without a stack", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes } = yield* makeParts()
      yield* submit(connection.deadlines.run)
      const parts = ["GET", "GET", "SET"].map((name) => call(name, 0, 1, 100))
      for (const part of parts) connection.submit(part)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(outcomes.length, 3)
      assert.strictEqual(new Set(outcomes).size, 2)
      const [first] = outcomes
      assert.ok(Exit.isExit(first) && Exit.isFailure(first))
      const failed = first.cause.reasons[0]
      assert.ok(failed?._tag === "Fail" && failed.error instanceof Error)
      assert.notMatch(String(failed.error.stack), /\n\s+at /)
      assert.notMatch(String((failed.error as { reason?: Error }).reason?.stack), /\n\s+at /)
    })
  )
})
