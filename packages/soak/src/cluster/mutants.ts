/**
 * Does the soak of clusters see what it is for? `npm run -s soak:cluster-mutants -- [--only NAME]`.
 *
 * The packages are copied to a temporary folder, broken there in one way at a time, and soaked for a short while by the
 * schedule that should show it. Each mutant must make the soak exit with 1 and name what it breaks. The last line on stdout is one line of JSON; the
 * exit code is 0 when all were caught.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { applied } from "../BrokenLaws.ts"
import { mutants } from "./BrokenClusters.ts"

const workspace = resolve(import.meta.dirname, "../../../..")
const packages = ["otp", "core", "pool", "cluster", "testing", "soak"]
const unneeded = new Set(["dist", "test", "benchmark", ".relive", ".tsbuildinfo"])

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

const soak = (
  root: string,
  args: ReadonlyArray<string>
): Promise<{ readonly code: number | null; readonly broken: unknown }> =>
  new Promise((settle) => {
    const program = join(root, "packages/soak/src/cluster/main.ts")
    const child = spawn(process.execPath, [program, ...args, "--json"], { stdio: ["ignore", "pipe", "ignore"] })
    let stdout = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    const timer = setTimeout(() => child.kill("SIGTERM"), 120_000)
    child.once("close", (code) => {
      clearTimeout(timer)
      const report: unknown = JSON.parse(stdout.trimEnd().split("\n").at(-1) || "{}")
      const broken = typeof report === "object" && report !== null && "broken" in report ? report.broken : undefined
      settle({ code, broken })
    })
  })

const only = process.argv[2] === "--only" ? process.argv[3] : undefined
const root = copyWorkspace()
const caught: Array<string> = []
const missed: Array<string> = []
try {
  for (const mutant of mutants) {
    if (only !== undefined && mutant.name !== only) continue
    const { undo } = applied(mutant, root)
    const { broken, code } = await soak(root, ["--schedule", mutant.schedule, "--seconds", "8", ...(mutant.more ?? [])])
    undo()
    // A soak that broke down by itself has seen nothing.
    const isCaught = code === 1 && Array.isArray(broken) && mutant.seenAs.some((what) => broken.includes(what))
    ;(isCaught ? caught : missed).push(mutant.name)
    process.stderr.write(`${mutant.name}: ${isCaught ? "caught" : "MISSED"} (${code}) ${JSON.stringify(broken)}\n`)
  }
} finally {
  rmSync(root, { recursive: true, force: true })
}
console.log(JSON.stringify({ caught, missed }))
process.exitCode = missed.length === 0 ? 0 : 1
