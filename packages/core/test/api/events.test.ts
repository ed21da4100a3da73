/** The stream of state changes. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { awaitState, closable, serving, submit } from "../behaviours/support.ts"

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
