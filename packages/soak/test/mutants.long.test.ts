import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { lastLine, run } from "./program.ts"

describe("the mutants", () => {
  it.live(
    "are all caught by the soak",
    () =>
      Effect.gen(function* () {
        const ended = yield* run("mutants.ts", [])
        const report = lastLine(ended)
        assert.ok(typeof report === "object" && report !== null && "missed" in report)
        assert.deepStrictEqual(report.missed, [])
        assert.strictEqual(ended.exitCode, 0, ended.stderr)
      }),
    600_000
  )
})
