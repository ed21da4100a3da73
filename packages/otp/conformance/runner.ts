/** Runs one scenario file of either family and says what is wrong with it, if anything. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { runProcessScenario } from "./processAdapter.ts"
import { runSupervisorScenario } from "./supervisorAdapter.ts"
import { difference } from "./trace.ts"
import type { StepTrace } from "./trace.ts"

/** Real time after which a scenario counts as hanging. */
const limit = "20 seconds"

/** The problem with a file: why it cannot be read, fails or hangs, or where its trace differs. */
export const runFile = (file: string): Effect.Effect<string | undefined> =>
  Effect.sync(() => JSON.parse(fs.readFileSync(file, "utf8")) as unknown).pipe(
    Effect.flatMap((scenario) => Effect.map(runScenario(scenario), (trace) => difference(expectedOf(scenario), trace))),
    Effect.timeout(limit),
    Effect.catchCause((cause) => Effect.succeed(String(Cause.squash(cause))))
  )

/** Process scenarios name their family; supervision scenarios do not. */
const runScenario = (scenario: unknown): Effect.Effect<ReadonlyArray<StepTrace>> =>
  typeof scenario === "object" && scenario !== null && "family" in scenario
    ? runProcessScenario(scenario)
    : runSupervisorScenario(scenario)

const expectedOf = (scenario: unknown): ReadonlyArray<StepTrace> => {
  if (typeof scenario === "object" && scenario !== null && "expected" in scenario && Array.isArray(scenario.expected)) {
    return scenario.expected
  }
  throw new Error("no expected trace")
}
