/** Scripts. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { awaitState, closable, outcomeOf, serving, submit } from "../behaviours/support.ts"

describe("a caller of a script", () => {
  it.live("may say that it only reads", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving(([name]) => (name === "EVALSHA_RO" ? ":1\r\n" : undefined)))
      const { close, use } = yield* closable({ port: fake.port })
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.script("return 1")([], [], { readOnly: true }))), [1])
      yield* close
    })
  )

  it.effect("law 1: has one deadline, though the script must be sent twice", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const sent = yield* Deferred.make<void>()
      const fake = yield* FakeServer.make(
        serving(([name]) =>
          name === "EVALSHA"
            ? Deferred.await(asked).pipe(Effect.as("-NOSCRIPT No matching script.\r\n"))
            : name === "EVAL"
              ? Effect.as(Deferred.succeed(sent, undefined), "")
              : undefined
        )
      )
      const { close, use } = yield* closable({ port: fake.port })
      yield* use(awaitState("ready"))
      const call = yield* submit(use(outcomeOf(Redis.script("return 1")([], [], { timeout: 1000 }))))
      yield* TestClock.adjust(900)
      yield* Deferred.succeed(asked, undefined)
      yield* Deferred.await(sent)
      yield* TestClock.adjust(150)
      assert.isDefined(call.pollUnsafe())
      yield* submit(close)
      yield* TestClock.adjust(5000)
    })
  )
})
