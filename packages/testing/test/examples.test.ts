/**
 * Runs each example of the documentation: the `ts` code of doc comments and of the README. A line `x // => y` is an
 * assertion. Examples that declare tests are loaded while tests are collected, the others each run as a test.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"

const packageDirectory = Path.join(import.meta.dirname, "..")
const outDirectory = Path.join(packageDirectory, ".relive", "examples")

const examplesOf = (file: string): ReadonlyArray<string> => {
  const text = Fs.readFileSync(Path.join(packageDirectory, file), "utf8")
  const plain = file.endsWith(".md") ? text : text.replaceAll(/^ *\* ?/gm, "")
  return Array.from(plain.matchAll(/^```ts\n([^]*?)^```$/gm), ([, code = ""]) => code)
}

const runnable = (code: string): string =>
  `import { assert as documented } from "@effect/vitest"\n${code}`.replaceAll(
    /^(\S.*) \/\/ => (.+)$/gm,
    "documented.deepStrictEqual($1, $2)"
  )

const sources = Fs.readdirSync(Path.join(packageDirectory, "src")).filter((file) => file.endsWith(".ts"))
const files = [...sources.map((file) => Path.join("src", file)), "README.md"]
Fs.mkdirSync(outDirectory, { recursive: true })

describe("examples", async () => {
  for (const file of files) {
    const examples = examplesOf(file)
    const needsOne = !["index.ts", "Fault.ts"].includes(Path.basename(file))
    it(`${file} has ${examples.length}`, () => assert.isTrue(examples.length > 0 || !needsOne))
    for (const [index, code] of examples.entries()) {
      const out = Path.join(outDirectory, `${Path.basename(file, Path.extname(file))}-${index + 1}.ts`)
      Fs.writeFileSync(out, runnable(code))
      const run = () => import(/* @vite-ignore */ out)
      if (/^(layer|it|describe)\b/m.test(code)) await run()
      else it.live(`${file}, example ${index + 1}`, () => Effect.promise(run))
    }
  }
})
