/** Runs a process scenario (servers, links, monitors, names, registries) on `@relive/otp`. Not there yet. */
import * as Effect from "effect/Effect"
import type { StepTrace } from "./trace.ts"

/** The trace of a scenario: for each step `{ step, op, processes }`. A file that is no such scenario is a defect. */
export const runProcessScenario = (_scenario: unknown): Effect.Effect<ReadonlyArray<StepTrace>> =>
  Effect.die(new Error("process scenarios are not supported yet"))
