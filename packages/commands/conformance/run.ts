/**
 * Runs records of typed commands: `node conformance/run.ts [DIR]`. DIR holds `recordings.jsonl`, `peer-wire.jsonl` and
 * `peer-replies.jsonl` (or some of them), and is looked up from where the user stands; without it, the package's own.
 *
 * - A recording: its words are made by the typed function, and its bytes, in both protocols, as text and as bytes, give its
 *   value.
 * - Words of a peer: the typed function makes them, options in any order.
 * - A reply that a peer's test expects: the content is the same, whatever the shape.
 *
 * With `RELIVE_REDIS_SERVER`, a server's program, the recordings that this server can answer also run live, in both
 * protocols.
 *
 * The last line of the output is `{"passed": n, "total": n, "failed": [ids], "excused": {id: reason}}`; the exit code is 0
 * only when none of at least one failed.
 */
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { checkLive, type Live } from "./live.ts"
import { checkRecording, checkReply, checkWire, type Outcome, type Recording } from "./records.ts"

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

/** What the server that is named answers otherwise, by recording. */
const liveProblems = async (): Promise<ReadonlyMap<string, string>> => {
  const path = join(folder, "recordings.jsonl")
  if (process.env.RELIVE_REDIS_SERVER === undefined || !existsSync(path)) return new Map()
  const lines = readFileSync(path, "utf8").split("\n")
  const recordings: ReadonlyArray<Live> = lines.filter((line) => line.trim() !== "").map((line) => JSON.parse(line))
  const runs = Effect.forEach([2, 3] as const, (protocol) => checkLive(recordings, protocol))
  const found = await Effect.runPromise(Effect.scoped(runs))
  for (const { asked, version } of found) console.error(`${asked} recordings on ${version}`)
  return new Map(found.flatMap(({ wrong }) => wrong.map(({ id, problem }) => [id, problem] as const)))
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

const live = await liveProblems()

run<Recording>("recordings.jsonl", (record) => {
  const problem = live.get(record.id)
  return problem === undefined ? checkRecording(record) : { problem }
})
run("peer-wire.jsonl", checkWire)
run("peer-replies.jsonl", checkReply)

console.log(JSON.stringify(result))
process.exitCode = result.total > 0 && result.failed.length === 0 ? 0 : 1
