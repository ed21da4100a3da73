/**
 * Does the soak of clusters see what it is for? `npm run -s soak:cluster-mutants -- [--only NAME]`.
 *
 * The packages are copied to a temporary folder, broken there in one way at a time, and soaked for a short while by the
 * schedule that should show it. Each mutant must make the soak exit with 1. The last line on stdout is one line of JSON; the
 * exit code is 0 when all were caught.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { applied } from "../BrokenLaws.ts"
import type { Mutant } from "../BrokenLaws.ts"
import type { ScheduleName } from "./schedules.ts"

const state = "packages/cluster/src/internal/state.ts"
const gather = "packages/cluster/src/internal/gather.ts"
const refresher = "packages/cluster/src/internal/refresher.ts"
const table = "packages/cluster/src/internal/table.ts"
const kit = "packages/core/src/internal/service/routedCalls.ts"

const mutants: ReadonlyArray<Mutant & { readonly schedule: ScheduleName; readonly more?: ReadonlyArray<string> }> = [
  {
    name: "ask-without-asking",
    breaks: "what is sent on by ASK is sent without ASKING",
    schedule: "migrate",
    file: state,
    from: "return { to, asking: to !== undefined, wait:",
    to: "return { to, asking: false, wait:"
  },
  {
    name: "patch-on-ask",
    breaks: "the table is patched by ASK, as by MOVED",
    schedule: "migrate",
    file: state,
    from: "this.openSlots.set(refusal.slot, now + OPEN_MILLIS)\n        const to = this.nodeFor(refusal.to)\n",
    to: "const to = this.nodeFor(refusal.to)\n        if (to !== undefined) this.patch(refusal.slot, to, now)\n"
  },
  {
    name: "undo-patches",
    breaks: "a MOVED does not change the table until the next refresh",
    schedule: "migrate",
    file: table,
    from: "this.patches.set(slot, { owner, at: now })\n    this.put(slot, owner)",
    to: "this.patches.set(slot, { owner, at: now })"
  },
  {
    name: "parts-in-wrong-order",
    breaks: "the replies of a part go to the places of other commands",
    schedule: "storm",
    file: gather,
    from: "const reply = replies[place]\n",
    to: "const reply = replies[batch.places.length - 1 - place]\n"
  },
  {
    name: "refresh-on-every-moved",
    breaks: "each MOVED asks for the map",
    schedule: "migrate",
    file: refresher,
    from: "return Math.max(now + COLLECT_MILLIS, this.lastAskedAt + this.options.spacingMillis)",
    to: "return now"
  },
  {
    name: "never-refresh",
    breaks: "a failure does not ask for the map",
    schedule: "kill",
    file: refresher,
    from: "const dueAt = this.dueAt(reason, now)\n",
    to: 'const dueAt = reason === "start" || reason === "asked" ? now : Infinity\n'
  },
  {
    name: "restart-all",
    breaks: "when a node's session ends, those of all nodes are ended",
    schedule: "flap",
    file: state,
    from: 'this.trigger("session-ended")\n',
    to: '{\n      for (const other of this.owners) if (other !== node) other.connection?.endSession("mutant")\n      this.trigger("session-ended")\n    }\n'
  },
  {
    name: "repeat-writes",
    breaks: "a write whose reply was lost is written again",
    schedule: "cut",
    file: kit,
    from: "const isRepeatable = (flags & Flags.repeatable) !== 0 && options?.retry !== false",
    to: "const isRepeatable = flags >= 0 && options?.retry !== false"
  },
  {
    name: "trust-replicas",
    breaks: "what a replica does not have in a resharding is told as it is",
    schedule: "migrate",
    more: ["--variant", "replicas"],
    file: "packages/cluster/src/internal/service.ts",
    from: 'call.doubtsMisses = state.options.misses === "ask"',
    to: "call.doubtsMisses = false"
  }
]

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
    const isCaught = code === 1 || code === 70 || code === null
    ;(isCaught ? caught : missed).push(mutant.name)
    process.stderr.write(`${mutant.name}: ${isCaught ? "caught" : "MISSED"} (${code}) ${JSON.stringify(broken)}\n`)
  }
} finally {
  rmSync(root, { recursive: true, force: true })
}
console.log(JSON.stringify({ caught, missed }))
process.exitCode = missed.length === 0 ? 0 : 1
