/**
 * Does the soak see what it is for? `npm run -s soak:mutants -- [--seconds N] [--seed S] [--only NAME]`.
 *
 * The packages are copied to a temporary folder (what they depend on is linked), broken there in one way at a time (see
 * `BrokenLaws.ts`), and soaked for a short while. Each of the mutants must make the soak exit with 1, and the copy as it is must
 * not. The last line on stdout is one line of JSON; the exit code is 0 when all were caught.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { applied, mutants, type Mutant } from "./BrokenLaws.ts"
import { parse } from "./Settings.ts"

interface Run {
  readonly name: string
  readonly caught: boolean
  readonly exitCode: number
  /** The bad counts that were not 0. */
  readonly broken: Readonly<Record<string, number>>
}

const workspace = resolve(import.meta.dirname, "../../..")
const packages = ["otp", "core", "pool", "testing", "soak"]
const unneeded = new Set(["dist", "test", "benchmark", ".relive", ".tsbuildinfo"])

/** The sources of the packages in a folder of their own. The links between them lead to the copies. */
const copyWorkspace = (): string => {
  const root = mkdtempSync(join(tmpdir(), "relive-mutants-"))
  symlinkSync(join(workspace, "node_modules"), join(root, "node_modules"))
  for (const name of packages) {
    cpSync(join(workspace, "packages", name), join(root, "packages", name), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => !unneeded.has(basename(source))
    })
  }
  return root
}

const GRACE_MILLIS = 60_000

/** Runs the soak of a copy, and gives its exit code and its report. */
const soak = (
  root: string,
  seconds: number,
  seed: number
): Promise<{ exitCode: number; report: unknown; stderr: string }> =>
  new Promise((settle) => {
    const program = join(root, "packages/soak/src/main.ts")
    const child = spawn(process.execPath, [program, "--seconds", `${seconds}`, "--seed", `${seed}`, "--json"], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-20_000)))
    const timer = setTimeout(() => child.kill("SIGTERM"), seconds * 1_000 + GRACE_MILLIS)
    // A soak that was ended takes its server with it; nobody but us would end this one.
    const stop = () => child.kill("SIGTERM")
    process.once("exit", stop)
    child.once("close", (code) => {
      clearTimeout(timer)
      process.removeListener("exit", stop)
      const report = reportOf(stdout)
      // Without a report the program itself has failed, and that says nothing about the laws.
      if (report === undefined) process.stderr.write(`${stderr}\n`)
      settle({ exitCode: code ?? -1, report, stderr })
    })
  })

const reportOf = (stdout: string): unknown => {
  try {
    return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")
  } catch {
    return undefined
  }
}

const brokenIn = (report: unknown): Readonly<Record<string, number>> => {
  if (typeof report !== "object" || report === null) return {}
  const bad = /^(wrongReplies|executed|lost|unsettled|leaked|missed|delivered)/
  return Object.fromEntries(Object.entries(report).filter(([name, count]) => bad.test(name) && count !== 0))
}

const runOne = async (root: string, mutant: Mutant | undefined, seconds: number, seed: number): Promise<Run> => {
  const change = mutant === undefined ? undefined : applied(mutant, root)
  const { exitCode, report, stderr } = await soak(root, seconds, seed)
  change?.undo()
  const broken = brokenIn(report)
  const caught = exitCode === 1 && Object.keys(broken).length > 0
  const name = mutant?.name ?? "unbroken"
  if (mutant === undefined && caught) process.stderr.write(`${stderr}\n`)
  process.stderr.write(
    `${name}${mutant === undefined ? "" : ` (${mutant.breaks})`}: exit code ${exitCode}, ${JSON.stringify(broken)}\n`
  )
  return { name, caught, exitCode, broken }
}

const main = async (args: ReadonlyArray<string>): Promise<void> => {
  const at = args.indexOf("--only")
  const only = at === -1 ? undefined : args[at + 1]
  const rest = at === -1 ? args : [...args.slice(0, at), ...args.slice(at + 2)]
  const settings = parse(["--seconds", "20", ...rest])
  const chosen = mutants.filter(({ name }) => only === undefined || name === only)
  if (typeof settings === "string" || chosen.length === 0) {
    process.stderr.write(`${typeof settings === "string" ? settings : `there is no mutant ${only}`}\n`)
    process.exitCode = 64
    return
  }
  const root = copyWorkspace()
  try {
    // All must fit before the first is run.
    for (const mutant of mutants) applied(mutant, root).undo()
    const unbroken = await runOne(root, undefined, settings.seconds, settings.seed)
    const runs: Array<Run> = []
    for (const mutant of chosen) runs.push(await runOne(root, mutant, settings.seconds, settings.seed))
    const missed = runs.filter(({ caught }) => !caught).map(({ name }) => name)
    const passed = unbroken.exitCode !== 1 && missed.length === 0
    console.log(JSON.stringify({ mutants: runs.length, caught: runs.length - missed.length, missed, unbroken, runs }))
    process.exitCode = passed ? 0 : 1
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

await main(process.argv.slice(2))
