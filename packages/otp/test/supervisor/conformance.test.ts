/**
 * The recorded traces of Erlang/OTP and Elixir, one test each. Those of `scenarios` were recorded from scenarios in
 * which this package once differed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { runFile } from "../../conformance/runner.ts"

for (const family of ["supervisor", "scenarios"]) {
  const folder = path.join(import.meta.dirname, "..", "fixtures", family)
  describe(`${family} scenarios`, () => {
    for (const file of fs.readdirSync(folder)) {
      it.live(path.basename(file, ".json"), () =>
        Effect.map(runFile(path.join(folder, file)), (problem) => assert.isUndefined(problem))
      )
    }
  })
}
