/**
 * Writes what every package says of the project (repository, homepage, bugs, links in READMEs) from the root's `package.json`.
 * `--check` writes nothing, and ends with code 1 when something is not as it should be.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { isDeepStrictEqual } from "node:util"
import { run } from "./lib/packing.ts"
import { metadataOf, withLinks } from "./lib/project.ts"
import { publicPackages, root } from "./lib/workspace.ts"

const isCheck = process.argv.includes("--check")
let stale = 0

const write = (file: string, isRight: boolean, text: () => string): void => {
  if (isRight) return
  stale++
  if (isCheck) process.stderr.write(`${file} is not up to date: npm run metadata\n`)
  else Fs.writeFileSync(Path.join(root, file), text())
}

const read = (file: string): string => Fs.readFileSync(Path.join(root, file), "utf8")

for (const each of publicPackages) {
  const metadata: Record<string, unknown> = metadataOf(each)
  const file = `${each.folder}/package.json`
  const manifest: Record<string, unknown> = JSON.parse(read(file))
  const isRight = Object.entries(metadata).every(([key, value]) => isDeepStrictEqual(manifest[key], value))
  write(file, isRight, () => `${JSON.stringify({ ...manifest, ...metadata }, null, 2)}\n`)
  const readme = `${each.folder}/README.md`
  const text = read(readme)
  write(readme, withLinks(text, each) === text, () => withLinks(text, each))
}
// The order of a manifest's fields is the formatter's.
if (!isCheck && stale > 0) run(process.execPath, [Path.join(root, "node_modules/oxfmt/bin/oxfmt")], root)
process.exitCode = isCheck && stale > 0 ? 1 : 0
