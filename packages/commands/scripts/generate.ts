/**
 * Generates the functions: `node scripts/generate.ts` writes `src/internal/generated` and the modules of the namespaces,
 * `--check` only compares them. Inputs are `metadata/commands.jsonl` and `overrides.ts`.
 *
 * The check also fails when an override has no effect any more, and when what the metadata says of a command (does it
 * write, does it block) is not what core's `CommandTable` says.
 */
import * as CommandTable from "@relive/core/CommandTable"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { allFunctions, type Function, idleOverrides, undescribed } from "./lib/functions.ts"
import { sourceOf } from "./lib/source.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const source = fileURLToPath(new URL("../src", import.meta.url))

const bitsOf = ({ facts }: Function): number => CommandTable.flagsOf(facts.name.split(" "))

/** Where the metadata and core's table disagree. */
const disagreements = (all: ReadonlyArray<Function>): ReadonlyArray<string> =>
  all.flatMap((one) => {
    const { name, flags } = one.facts
    const bits = bitsOf(one)
    const has = (bit: number) => (bits & bit) !== 0
    return [
      ...(flags.includes("write") && has(CommandTable.Flags.readOnly)
        ? [`${name} writes, and the table calls it read-only`]
        : []),
      ...(flags.includes("blocking") && !has(CommandTable.Flags.blocking) && !/^(XREAD|XREADGROUP)$/.test(name)
        ? [`${name} blocks, and the table does not know it`]
        : []),
      ...(has(CommandTable.Flags.never) ? [`${name} has a function, and the table refuses it everywhere`] : [])
    ]
  })

const format = (folder: string): void => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [Path.join(root, "node_modules/oxfmt/bin/oxfmt"), "--config", Path.join(root, ".oxfmtrc.json"), folder],
    {
      cwd: folder,
      encoding: "utf8"
    }
  )
  if (status !== 0) throw new Error(`oxfmt failed: ${stderr}`)
}

/** All files by their path in `src`, formatted. */
const generated = (all: ReadonlyArray<Function>): ReadonlyMap<string, string> => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-commands-"))
  try {
    const files = sourceOf(all)
    for (const [file, text] of files) {
      Fs.mkdirSync(Path.dirname(Path.join(folder, file)), { recursive: true })
      Fs.writeFileSync(Path.join(folder, file), text)
    }
    // The formatter needs two passes for some long unions.
    format(folder)
    format(folder)
    return new Map([...files.keys()].map((file) => [file, Fs.readFileSync(Path.join(folder, file), "utf8")]))
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true })
  }
}

const existing = (): ReadonlyArray<string> => {
  const folder = Path.join(source, "internal/generated")
  return Fs.existsSync(folder) ? Fs.readdirSync(folder).map((file) => `internal/generated/${file}`) : []
}

const isCheck = process.argv.includes("--check")
const all = allFunctions()
const files = generated(all)
const problems = [
  ...idleOverrides().map((name) => `The override of ${name} changes nothing`),
  ...undescribed().map((name) => `${name} has no sentence in summaries.ts`),
  ...disagreements(all)
]
const stale = existing().filter((file) => !files.has(file))

if (isCheck) {
  for (const [file, text] of files) {
    const path = Path.join(source, file)
    if (!Fs.existsSync(path) || Fs.readFileSync(path, "utf8") !== text)
      problems.push(`src/${file} is not what the generator makes`)
  }
  problems.push(...stale.map((file) => `src/${file} is no longer generated`))
} else {
  for (const file of stale) Fs.rmSync(Path.join(source, file))
  for (const [file, text] of files) {
    Fs.mkdirSync(Path.dirname(Path.join(source, file)), { recursive: true })
    Fs.writeFileSync(Path.join(source, file), text)
  }
}

for (const problem of problems) console.error(problem)
if (!isCheck) console.error(`${all.length} functions in ${files.size} files`)
if (problems.length > 0) {
  if (isCheck) console.error("Run `npm run generate:commands`")
  process.exitCode = 1
}
