/**
 * Runs recorded cases of clusters: `node conformance/run.ts [DIR]`, where DIR holds any of `slots.jsonl`, `slot-names.json`,
 * `keys.jsonl`, `slots-replies.jsonl` and `conversations.jsonl`, and is looked up from where the user stands; without it, the
 * package's own. Conversations are checked twice: against the pure machine, and (ids that end in `/live`) against a live client
 * whose nodes are scripted. The last line of the output is `{"passed": n, "total": n, "failed": [ids]}`; the exit code is
 * 0 only when all of at least one pass.
 */
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { files, readRows } from "../test/clusterCases.ts"
import type { Result } from "../test/clusterCases.ts"
import { checkLive } from "../test/liveCases.ts"

const own = fileURLToPath(new URL("../test/fixtures", import.meta.url))

const argument = process.argv[2]
const folder = argument === undefined ? own : resolve(process.env.INIT_CWD ?? process.cwd(), argument)

const failed: Array<string> = []
let total = 0

const count = (results: ReadonlyArray<Result>): void => {
  total += results.length
  for (const { id, problem } of results) {
    if (problem === null) continue
    failed.push(id)
    console.error(`${id}: ${problem}`)
  }
}

try {
  for (const [name, check] of Object.entries(files)) {
    const file = join(folder, name)
    if (existsSync(file)) count(check(readFileSync(file, "utf8")))
  }
  const conversations = join(folder, "conversations.jsonl")
  if (existsSync(conversations)) {
    const live = checkLive(readRows(readFileSync(conversations, "utf8")))
    count(await Effect.runPromise(Effect.provideService(live, References.MinimumLogLevel, "None")))
  }
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : String(cause))
  failed.push("unreadable")
}
console.log(JSON.stringify({ passed: Math.max(0, total - failed.length), total, failed }))
process.exitCode = total > 0 && failed.length === 0 ? 0 : 1
