import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { heldAllLaws, run } from "./program.ts"

describe("the soak over TLS", () => {
  it.live(
    "holds all laws for twenty seconds",
    () =>
      Effect.gen(function* () {
        const ended = yield* run("main.ts", ["--seconds", "20", "--seed", "9", "--tls", "--json"])
        heldAllLaws(ended)
        assert.match(ended.stderr, /over TLS/)
      }),
    120_000
  )
})
