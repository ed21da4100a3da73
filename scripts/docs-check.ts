/**
 * Checks what is written about the code: each export of the public packages has its doc comment, all TypeScript in
 * Markdown and doc comments type-checks against the sources, and the blocks marked `ts run` run, each against a real
 * server of its own whose URL is in `REDIS_URL`.
 */
import { spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as CodeBlocks from "./lib/codeBlocks.ts"
import * as DocComments from "./lib/docComments.ts"
import { withServer } from "./lib/redis.ts"
import { publicPackages, root } from "./lib/workspace.ts"

/** How long a runnable block may take. */
const runLimit = 30_000

interface Example extends CodeBlocks.CodeBlock {
  /** The file it stands in, from the root. */
  readonly source: string
  /** The file it is checked as. */
  readonly file: string
}

/** Its own per process: two checks at once are fine. */
const scratch = Path.join(root, ".relive", `docs-${process.pid}`)
const read = (file: string) => Fs.readFileSync(Path.join(root, file), "utf8")
const glob = (patterns: ReadonlyArray<string>) =>
  Fs.globSync(patterns, { cwd: root, exclude: (path) => /node_modules|dist|fixtures|CHANGELOG/.test(path) }).toSorted()

const publicModules = glob(publicPackages.map(({ folder }) => `${folder}/src/*.ts`))
const sources = glob(publicPackages.map(({ folder }) => `${folder}/src/**/*.ts`))
const markdown = glob(["*.md", "docs/**/*.md", "packages/*/*.md", "examples/**/*.md", "benchmarks/**/*.md"])

const undocumented = publicModules.flatMap((file) =>
  DocComments.missingDocs(file, read(file)).map(({ line, message }) => `${file}:${line}: ${message}`)
)

const toExample = (source: string) => (block: CodeBlocks.CodeBlock) => ({
  ...block,
  source,
  file: `${source.replace(/\W+/g, "_")}_${block.line}.ts`
})
const examples: ReadonlyArray<Example> = [
  ...markdown.flatMap((file) => CodeBlocks.inMarkdown(read(file)).map(toExample(file))),
  ...sources.flatMap((file) => CodeBlocks.inDocComments(read(file)).map(toExample(file)))
]

/** Lays the examples out as modules that see what the examples package sees. Line numbers stay those of the source. */
const layOut = () => {
  Fs.mkdirSync(scratch, { recursive: true })
  process.once("exit", () => Fs.rmSync(scratch, { recursive: true, force: true }))
  Fs.symlinkSync(Path.join(root, "examples", "node_modules"), Path.join(scratch, "node_modules"))
  Fs.writeFileSync(Path.join(scratch, "package.json"), `{ "private": true, "type": "module" }\n`)
  Fs.writeFileSync(
    Path.join(scratch, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.base.json",
      compilerOptions: {
        composite: false,
        incremental: false,
        declaration: false,
        declarationMap: false,
        noEmit: true,
        noUnusedLocals: false,
        noUnusedParameters: false,
        rewriteRelativeImportExtensions: false,
        allowImportingTsExtensions: true,
        rootDir: "../..",
        types: ["node"]
      },
      include: ["*.ts"]
    })
  )
  for (const { file, line, code } of examples) {
    Fs.writeFileSync(Path.join(scratch, file), `${"\n".repeat(line - 1)}${code}\n`)
  }
}

/** Type errors, told in terms of the file the example stands in. */
const typeErrors = (): ReadonlyArray<string> => {
  if (examples.length === 0) return []
  const tsc = Path.join(root, "node_modules/typescript/bin/tsc")
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "-p", scratch, "--pretty", "false"], {
    cwd: scratch,
    encoding: "utf8"
  })
  if (status === 0) return []
  const placed = examples.reduce((text, { file, source }) => text.replaceAll(`${file}(`, `${source}(`), stdout)
  return `${placed}${stderr}`.trim().split("\n")
}

const runOne = (example: Example) =>
  withServer(
    (url) =>
      new Promise<ReadonlyArray<string>>((resolve) => {
        const child = spawn(process.execPath, [Path.join(scratch, example.file)], {
          cwd: scratch,
          env: { ...process.env, REDIS_URL: url },
          timeout: runLimit,
          stdio: ["ignore", "pipe", "pipe"]
        })
        let output = ""
        child.stdout.on("data", (chunk) => (output += String(chunk)))
        child.stderr.on("data", (chunk) => (output += String(chunk)))
        child.once("close", (code, signal) => {
          const place = `${example.source}:${example.line}`
          resolve(code === 0 ? [] : [`${place}: the example ended with ${signal ?? `exit code ${code}`}\n${output}`])
        })
      })
  )

layOut()
const problems = [...undocumented, ...typeErrors()]
const runnable = examples.filter(({ isRunnable }) => isRunnable)
for (const example of runnable) problems.push(...(await runOne(example)))

for (const problem of problems) console.error(problem)
console.log(
  `${publicModules.length} public modules, ${examples.length} examples (${runnable.length} run): ` +
    (problems.length === 0 ? "all is well" : `${problems.length} problems`)
)
process.exitCode = problems.length === 0 ? 0 : 1
