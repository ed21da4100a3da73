/** Programs of this package, run as a user does. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import * as Verdict from "../src/Verdict.ts"

export interface Ended {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end. Interrupting ends it, in good order. */
export const run = (file: string, args: ReadonlyArray<string>): Effect.Effect<Ended> =>
  Effect.callback<Ended>((resume) => {
    const program = join(import.meta.dirname, "../src", file)
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    child.once("close", (exitCode) => resume(Effect.succeed({ exitCode, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGTERM"))
  })

/** The last line, which is JSON. */
export const lastLine = ({ stdout }: Ended): unknown => JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")

/** The report of a soak that must have held all laws. */
export const heldAllLaws = (ended: Ended): object => {
  // A machine that is busy with all the other tests may be too slow for the load; a broken law is 1.
  const tooSlow = ended.exitCode === 2 && /commands a second|faults a second/.test(ended.stderr)
  assert.ok(ended.exitCode === 0 || tooSlow, ended.stderr)
  const report = lastLine(ended)
  assert.ok(typeof report === "object" && report !== null)
  for (const name of Verdict.badCounts) assert.strictEqual(Reflect.get(report, name), 0, name)
  return report
}
