/**
 * `npm run demo`: a supervised connection to a real Redis that is broken again and again, and a ledger of what came of it.
 *
 * The exit code is 0 only if everything held that the summary lists, 1 if not, and 130 after Ctrl-C. `--seconds N` and
 * `--faults N` make it shorter or longer.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { demo } from "./src/demo/main.ts"
import { parse } from "./src/demo/settings.ts"

const complain = (error: unknown) =>
  Effect.sync(() => {
    console.error(error instanceof Error ? error.message : error)
    return false
  })

parse(process.argv.slice(2)).pipe(
  Effect.flatMap(demo),
  Effect.catch(complain),
  Effect.onInterrupt(() => Effect.sync(() => console.error("\nInterrupted: everything is stopped."))),
  Effect.tap((held) => Effect.sync(() => (process.exitCode = held ? 0 : 1))),
  NodeRuntime.runMain
)
