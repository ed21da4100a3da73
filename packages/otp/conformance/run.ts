/**
 * Runs every scenario file of a folder, of either family, and prints one line of JSON as the last one:
 * `{"passed": n, "total": n, "failed": [names]}`. A file that cannot be read, or has unknown fields, counts as failed.
 *
 *     node packages/otp/conformance/run.ts [FOLDER]
 *
 * Without an argument it runs the package's own scenarios. A relative folder is taken from where the user stood.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { runFile } from "./runner.ts"

const fixtures = path.join(import.meta.dirname, "..", "test", "fixtures")

/** The files with scenarios in a folder and below; a schema beside them is none. */
const filesIn = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json") && !name.endsWith(".schema.json"))
    .toSorted()
    .map((name) => path.join(folder, name))

const main = Effect.gen(function* () {
  const [argument] = process.argv.slice(2)
  const folder = argument === undefined ? fixtures : path.resolve(process.env.INIT_CWD ?? process.cwd(), argument)
  const failed: Array<string> = []
  const files = filesIn(folder)
  for (const file of files) {
    const problem = yield* runFile(file)
    if (problem === undefined) continue
    failed.push(path.basename(file, ".json"))
    console.error(`${path.basename(file)}: ${problem}`)
  }
  console.log(JSON.stringify({ passed: files.length - failed.length, total: files.length, failed }))
  return files.length > 0 && failed.length === 0 ? 0 : 1
})

Effect.runPromise(main).then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error)
    console.log(JSON.stringify({ passed: 0, total: 0, failed: [] }))
    process.exit(1)
  }
)
