/**
 * Runs records of typed commands: `node conformance/run.ts [DIR]`. DIR holds `recordings.jsonl`, `peer-wire.jsonl` and
 * `peer-replies.jsonl` (or some of them), and is looked up from where the user stands; without it, the package's own.
 *
 * - A recording: its words are made by the typed function, and its bytes, in both protocols, as text and as bytes, give its
 *   value.
 * - Words of a peer: the typed function makes them, options in any order.
 * - A reply that a peer's test expects: the content is the same, whatever the shape.
 *
 * The last line of the output is `{"passed": n, "total": n, "failed": [ids], "excused": {id: reason}}`; the exit code is 0
 * only when none of at least one failed.
 */
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { checkRecording, checkReply, checkWire, type Outcome } from "./records.ts"

const own = fileURLToPath(new URL("../test/fixtures", import.meta.url))

const folder = process.argv[2] === undefined ? own : resolve(process.env.INIT_CWD ?? process.cwd(), process.argv[2])

interface Result {
  passed: number
  total: number
  readonly failed: Array<string>
  readonly excused: Record<string, string>
}

const result: Result = { passed: 0, total: 0, failed: [], excused: {} }

const attempt = (run: () => Outcome): Outcome => {
  try {
    return run()
  } catch (cause) {
    return { problem: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
  }
}

const count = (id: string, outcome: Outcome): void => {
  result.total++
  if (outcome === undefined) result.passed++
  else if ("excuse" in outcome) result.excused[id] = outcome.excuse
  else {
    result.failed.push(id)
    console.error(`${id}: ${outcome.problem}`)
  }
}

const run = <A extends { readonly id: string }>(file: string, check: (record: A) => Outcome): void => {
  const path = join(folder, file)
  if (!existsSync(path)) return
  for (const [index, line] of readFileSync(path, "utf8").split("\n").entries()) {
    if (line.trim() === "") continue
    let record: A | undefined
    const outcome = attempt(() => {
      record = JSON.parse(line)
      return record === undefined ? undefined : check(record)
    })
    count(record?.id ?? `${file}:${index + 1}`, outcome)
  }
}

run("recordings.jsonl", checkRecording)
run("peer-wire.jsonl", checkWire)
run("peer-replies.jsonl", checkReply)

console.log(JSON.stringify(result))
process.exitCode = result.total > 0 && result.failed.length === 0 ? 0 : 1
