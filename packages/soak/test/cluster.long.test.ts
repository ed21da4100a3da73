import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { lastLine, run } from "./program.ts"

describe("the soak of clusters", () => {
  for (const schedule of ["migrate", "kill", "cut", "flap"]) {
    it.live(
      `holds all laws: ${schedule}`,
      () =>
        Effect.gen(function* () {
          const ended = yield* run("cluster/main.ts", ["--schedule", schedule, "--seconds", "8", "--json"])
          const report = lastLine(ended)
          assert.ok(typeof report === "object" && report !== null && "broken" in report)
          for (const law of ["wrong", "doubles", "unsentRan", "refusedRan", "disorder", "hanging", "healthyErrors"]) {
            if (law !== "healthyErrors" || schedule !== "cut") assert.strictEqual(Reflect.get(report, law), 0, law)
          }
        }),
      120_000
    )
  }
})
