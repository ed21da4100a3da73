/**
 * The packages as their users get them: built, packed, looked at by two linters, installed into an empty project without
 * a network, type-checked there and run.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { formatMessage } from "publint/utils"
import { publint } from "publint"
import * as CodeBlocks from "../lib/codeBlocks.ts"
import { pnpm } from "../lib/install.cjs"
import { withServer } from "../lib/redis.ts"
import { type Package, publicPackages, root } from "../lib/workspace.ts"

const execute = promisify(execFile)

/** Runs a command; its output is in the failure. */
const run = async (command: string, args: ReadonlyArray<string>, cwd: string, env: Record<string, string> = {}) => {
  try {
    const { stdout } = await execute(command, args, { cwd, env: { ...process.env, ...env }, timeout: 120_000 })
    return stdout
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${command} ${args.join(" ")} failed in ${cwd}\n${stdout}${stderr}`, { cause: error })
  }
}
const runPnpm = (args: ReadonlyArray<string>, cwd: string) =>
  run("npx", ["--yes", "--prefer-offline", pnpm, ...args], cwd, { CI: "true", RELIVE_PACK: "1" })
const tool = (file: string) => Path.join(root, "node_modules", file)

/** The names of a package's public modules. */
const modulesOf = ({ folder }: Package) =>
  Fs.globSync("*.ts", { cwd: Path.join(root, folder, "src") })
    .map((file) => Path.basename(file, ".ts"))
    .filter((name) => name !== "index")
    .toSorted()

/** The place where the dependencies of the packages come from. */
const hasRegistry = spawnSync("npm", ["ping"], { timeout: 20_000 }).status === 0

const tarballs = new Map<string, string>()
const tarballOf = ({ name }: Package) => {
  const file = tarballs.get(name)
  assert.isDefined(file, `${name} was not packed`)
  return file
}

const scratch = Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-pack-"))
const project = Path.join(scratch, "project")

const pack = async ({ name, folder }: Package) => {
  const destination = Fs.mkdtempSync(Path.join(scratch, "tarball-"))
  await runPnpm(["pack", "--pack-destination", destination], Path.join(root, folder))
  const [file] = Fs.readdirSync(destination)
  assert.isDefined(file)
  tarballs.set(name, Path.join(destination, file))
}

const versionOf = (name: string) => {
  const manifest: unknown = JSON.parse(Fs.readFileSync(tool(`${name}/package.json`), "utf8"))
  assert.isTrue(typeof manifest === "object" && manifest !== null && "version" in manifest)
  return String((manifest as { readonly version: unknown }).version)
}

/** An empty project that depends on the tarballs, and on what their users would install beside them. */
const install = async () => {
  const ours = Object.fromEntries(publicPackages.map((each) => [each.name, `file:${tarballOf(each)}`]))
  const theirs = ["effect", "@effect/platform-node", "@types/node"].map((name) => [name, versionOf(name)])
  Fs.mkdirSync(project)
  const write = (file: string, content: unknown) =>
    Fs.writeFileSync(Path.join(project, file), JSON.stringify(content, null, 2))
  write("package.json", {
    name: "user",
    private: true,
    type: "module",
    dependencies: { ...ours, ...Object.fromEntries(theirs) }
  })
  // A JSON file is YAML, too. The overrides make the packages' ranges on each other mean the tarballs.
  write("pnpm-workspace.yaml", { packages: ["."], overrides: ours, allowBuilds: { "msgpackr-extract": false } })
  write("tsconfig.json", {
    compilerOptions: {
      target: "ES2024",
      module: "NodeNext",
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      types: ["node"]
    },
    include: ["*.ts"]
  })
  await runPnpm(["install", "--offline"], project)
}

const readmeProgram = () => {
  const program = CodeBlocks.inMarkdown(Fs.readFileSync(Path.join(root, "README.md"), "utf8")).find(
    ({ isRunnable }) => isRunnable
  )
  assert.isDefined(program, "README.md has no block that says `ts run`")
  return program.code
}

describe("the packed packages", () => {
  beforeAll(async () => {
    await run(process.execPath, [Path.join(root, "scripts/build.ts")], root)
    for (const each of publicPackages) await pack(each)
    await install()
    return () => Fs.rmSync(scratch, { recursive: true, force: true })
  }, 180_000)

  for (const each of publicPackages) {
    it(`${each.name} is packed as publint asks`, async () => {
      const tarball = Fs.readFileSync(tarballOf(each))
      const { messages, pkg } = await publint({
        pack: { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) },
        strict: true
      })
      assert.deepStrictEqual(
        messages.map((message) => formatMessage(message, pkg ?? {})),
        []
      )
    })

    it(`${each.name} has types where its users look for them`, async () => {
      const entries = [".", ...modulesOf(each)]
      const args = [tarballOf(each), "--profile", "esm-only", "--no-emoji", "--entrypoints", ...entries]
      await run(process.execPath, [tool("@arethetypeswrong/cli/dist/index.js"), ...args], scratch)
    })

    it(`${each.name} carries what it should and nothing else`, async () => {
      const files = (await run("tar", ["-tf", tarballOf(each)], scratch)).trim().split("\n")
      const name = (file: string) => file.replace("package/", "")
      for (const wanted of [
        "package.json",
        "README.md",
        "LICENSE",
        "dist/index.js",
        "dist/index.d.ts",
        "src/index.ts"
      ]) {
        assert.include(files.map(name), wanted)
      }
      const stray = files.map(name).filter((file) => !/^(src\/|dist\/|package\.json$|README\.md$|LICENSE$)/.test(file))
      assert.deepStrictEqual(stray, [])
      assert.deepStrictEqual(
        files.filter((file) => /tsbuildinfo|\.test\./.test(file)),
        []
      )
    })
  }

  it("all public modules load and type-check, the declarations themselves too", async () => {
    const specifiers = publicPackages.flatMap((each) => [
      each.name,
      ...modulesOf(each).map((name) => `${each.name}/${name}`)
    ])
    const lines = specifiers.map((specifier, index) => `import * as m${index} from "${specifier}"`)
    const uses = specifiers.map((_, index) => `m${index}`).join(", ")
    Fs.writeFileSync(Path.join(project, "all.ts"), `${lines.join("\n")}\nexport const all = [${uses}]\n`)
    await run(process.execPath, ["all.ts"], project)
    for (const skipLibCheck of ["true", "false"]) {
      await run(process.execPath, [tool("typescript/bin/tsc"), "-p", ".", "--skipLibCheck", skipLibCheck], project)
    }
  })

  it.skipIf(!hasRegistry)("npm alone installs them into an empty project, where a program runs", async () => {
    const folder = Path.join(scratch, "npm")
    Fs.mkdirSync(folder)
    Fs.writeFileSync(Path.join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
    const ours = publicPackages.map(tarballOf)
    const theirs = ["effect", "@effect/platform-node"].map((name) => `${name}@${versionOf(name)}`)
    await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...ours, ...theirs], folder)
    Fs.writeFileSync(Path.join(folder, "readme.ts"), readmeProgram())
    await withServer((url) => run(process.execPath, ["readme.ts"], folder, { REDIS_URL: url }))
  })

  it("internals are closed", async () => {
    const args = ["--input-type=module", "-e", `await import("@relive/otp/internal/anything")`]
    const failure = await run(process.execPath, args, project).catch(String)
    assert.include(failure, "ERR_PACKAGE_PATH_NOT_EXPORTED")
  })

  it("the README's program type-checks and runs", async () => {
    Fs.writeFileSync(Path.join(project, "readme.ts"), readmeProgram())
    await run(process.execPath, [tool("typescript/bin/tsc"), "-p", "."], project)
    await withServer((url) => run(process.execPath, ["readme.ts"], project, { REDIS_URL: url }))
  })
})
