/**
 * Writes `docs/conformance.md` from the reports of the last whole test runs. With `--check` it writes nothing, and fails
 * when a behaviour in scope is not shown by a test or when the page says something else than the reports.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Conformance from "./lib/conformance.ts"
import { parse } from "./lib/testReport.ts"
import { root } from "./lib/workspace.ts"

const rows = Path.join(root, "packages/core/test/fixtures/behaviours")
const page = Path.join(root, "docs/conformance.md")

const readReport = (name: string, script: string) => {
  const file = Path.join(root, ".relive/reports", `${name}.json`)
  const report = Fs.existsSync(file) ? parse(Fs.readFileSync(file, "utf8")) : undefined
  if (report === undefined)
    console.error(`there is no report of a whole run of \`${script}\`: its tests count as missing`)
  return report === undefined ? [] : [report]
}

const behaviours = [
  ...Conformance.fromJsonLines(Fs.readFileSync(Path.join(rows, "redix.jsonl"), "utf8")),
  ...Conformance.fromJsonLines(Fs.readFileSync(Path.join(rows, "redix-cluster.jsonl"), "utf8")),
  ...Conformance.fromMarkdown(Fs.readFileSync(Path.join(rows, "clients.md"), "utf8"), "client contract")
]
const reports = [...readReport("test", "npm test"), ...readReport("test-long", "npm run test:long")]
const verdicts = Conformance.judgeAll(behaviours, reports)
const open = verdicts.filter(Conformance.isOpen)
const text = Conformance.toMarkdown(verdicts)

const check = () => {
  for (const { id, state, reason } of open) console.log(`${id}: ${state}${reason === "" ? "" : ` (${reason})`}`)
  const isCurrent = Fs.existsSync(page) && Fs.readFileSync(page, "utf8") === text
  if (!isCurrent) console.log("docs/conformance.md is not what the reports say: run npm run conformance:docs")
  process.exitCode = open.length === 0 && isCurrent ? 0 : 1
}

if (process.argv.includes("--check")) check()
else {
  Fs.mkdirSync(Path.dirname(page), { recursive: true })
  Fs.writeFileSync(page, text)
}
console.log(`${verdicts.length} behaviours, ${open.length} open`)
