/**
 * Runs decoder cases: `node conformance/resp.ts [FILE]`, where FILE has one case a line and is looked up from where the
 * user stands; without it, the package's own cases.
 *
 * Each case is fed whole, byte by byte, and cut in two at every offset up to 4096. Each feeding must give the same outcome,
 * read strictly from the `Frame` builder, and the `Reply` builder must give what the frames map to. The last line of
 * the output is `{"passed": n, "total": n, "failed": [ids]}`; the exit code is 0 only when all of at least one pass.
 */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { checkCase, parseCase } from "../test/respCases.ts"

const own = fileURLToPath(new URL("../test/fixtures/resp/cases.jsonl", import.meta.url))

const fileOf = (argument: string | undefined): string =>
  argument === undefined ? own : resolve(process.env.INIT_CWD ?? process.cwd(), argument)

const run = (
  file: string
): { readonly passed: number; readonly total: number; readonly failed: ReadonlyArray<string> } => {
  const failed: Array<string> = []
  let total = 0
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    if (line.trim() === "") continue
    total++
    const parsed = parseCase(line, index + 1)
    const problem = typeof parsed === "string" ? parsed : checkCase(parsed)
    if (problem === undefined) continue
    const id = typeof parsed === "string" ? `line ${index + 1}` : parsed.id
    failed.push(id)
    console.error(`${id}: ${problem}`)
  }
  return { passed: total - failed.length, total, failed }
}

try {
  const result = run(fileOf(process.argv[2]))
  console.log(JSON.stringify(result))
  process.exitCode = result.total > 0 && result.failed.length === 0 ? 0 : 1
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : String(cause))
  console.log(JSON.stringify({ passed: 0, total: 0, failed: [] }))
  process.exitCode = 1
}
