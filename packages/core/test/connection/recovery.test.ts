/** The order of calls after a session was lost. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { awaitState, callsOf, closable, eager, serving, submit } from "../behaviours/support.ts"

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
