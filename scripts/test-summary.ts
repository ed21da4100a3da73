/**
 * Ends a test run with the line `N passed, N failed[, N skipped]` and an exit code that agrees with it.
 *
 * Usage: `node test-summary.ts REPORT [KEEP]`, with how vitest ended in `RELIVE_ENDED`. The report is kept under the
 * second name if there is one, for the scripts that read the last whole run.
 */
import * as Fs from "node:fs"
import { type Ended, line, parse, summarize } from "./lib/testReport.ts"

const isEnded = (value: unknown): value is Ended =>
  typeof value === "object" &&
  value !== null &&
  "code" in value &&
  "signal" in value &&
  "leftBehind" in value &&
  Array.isArray(value.leftBehind)

const [reportFile = "", keptFile] = process.argv.slice(2)
const ended: unknown = JSON.parse(process.env.RELIVE_ENDED ?? "null")
if (!isEnded(ended)) throw new Error("RELIVE_ENDED does not say how the tests ended")

const report = Fs.existsSync(reportFile) ? parse(Fs.readFileSync(reportFile, "utf8")) : undefined
const summary = summarize(report, ended)
if (report !== undefined && keptFile !== undefined) Fs.renameSync(reportFile, keptFile)
else Fs.rmSync(reportFile, { force: true })

for (const problem of summary.problems) console.log(`failed: ${problem}`)
console.log(line(summary))
process.exitCode = summary.failed > 0 ? 1 : 0
