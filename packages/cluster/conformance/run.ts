/**
 * Runs recorded cases of clusters: `node conformance/run.ts [DIR]`, where DIR holds any of `slots.jsonl`, `slot-names.json`,
 * `keys.jsonl`, `slots-replies.jsonl` and `conversations.jsonl`, and is looked up from where the user stands; without it, the
 * package's own. The last line of the output is `{"passed": n, "total": n, "failed": [ids]}`; the exit code is 0 only
 * when all of at least one pass.
 */
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { files } from "../test/clusterCases.ts"

const own = fileURLToPath(new URL("../test/fixtures", import.meta.url))

const argument = process.argv[2]
const folder = argument === undefined ? own : resolve(process.env.INIT_CWD ?? process.cwd(), argument)

const failed: Array<string> = []
let total = 0
try {
  for (const [name, check] of Object.entries(files)) {
    const file = join(folder, name)
    if (!existsSync(file)) continue
    const results = check(readFileSync(file, "utf8"))
    total += results.length
    for (const { id, problem } of results) {
      if (problem === null) continue
      failed.push(id)
      console.error(`${id}: ${problem}`)
    }
  }
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : String(cause))
  failed.push("unreadable")
}
console.log(JSON.stringify({ passed: Math.max(0, total - failed.length), total, failed }))
process.exitCode = total > 0 && failed.length === 0 ? 0 : 1
