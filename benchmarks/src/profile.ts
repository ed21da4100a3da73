/**
 * Profiles one client in one workload: where the time goes, or the allocations. Prints the functions with the largest
 * share and writes the whole profile as a file for the browser's developer tools.
 */
import { join, resolve } from "node:path"
import { tmpdir } from "node:os"
import { parseArgs } from "node:util"
import { isName } from "./clients/client.ts"
import { Remote } from "./remote.ts"
import { Server } from "./server.ts"
import { workloadNamed } from "./workloads.ts"

const usage = `node benchmarks/src/profile.ts [options]

  --workload name      what to run (get-500)
  --client name        who runs it (relive)
  --allocations        profile allocations in place of time
  --milliseconds n     how long (3000)
  --top n              lines of the table (30)
  --out file           where the profile goes (a .cpuprofile or .heapprofile in the temporary folder)`

const say = (text: string) => process.stderr.write(`${text}\n`)

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      workload: { type: "string", default: "get-500" },
      client: { type: "string", default: "relive" },
      allocations: { type: "boolean", default: false },
      milliseconds: { type: "string", default: "3000" },
      top: { type: "string", default: "30" },
      out: { type: "string" },
      help: { type: "boolean", short: "h", default: false }
    }
  })
  if (values.help) return void process.stdout.write(`${usage}\n`)
  const { client, workload } = values
  if (!isName(client)) throw new Error(`there is no client ${client}\n\n${usage}`)
  const what = values.allocations ? "allocation" : "cpu"
  const suffix = values.allocations ? "heapprofile" : "cpuprofile"
  const file = resolve(values.out ?? join(tmpdir(), `${client}-${workload}.${suffix}`))
  const seed = workloadNamed(workload).seed()
  const server = await Server.start()
  const remote = new Remote(client)
  const killAll = () => {
    remote.kill()
    server.kill()
  }
  process.on("exit", killAll)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130))
  try {
    await server.seed(seed)
    await remote.call("open", { name: client, target: server.target })
    const milliseconds = Number(values.milliseconds)
    const summary = await remote.call("profile", { workload, milliseconds, what, file })
    const unit = values.allocations ? "B" : "µs"
    say(`${client}, ${workload}: ${summary.commands} commands, ${file}`)
    const rows = summary.functions.slice(0, Number(values.top)).map(({ name, place, self }) => {
      const share = `${((100 * self) / summary.total).toFixed(1)} %`.padStart(7)
      return `${share}  ${(self / summary.commands).toFixed(3).padStart(9)}  ${name.padEnd(36)}  ${place}`
    })
    const head = `${"share".padStart(7)}  ${unit.padStart(9)}  ${"per command, in the function itself".padEnd(36)}  where`
    process.stdout.write(`${[head, ...rows].join("\n")}\n`)
    process.stdout.write(`${(summary.total / summary.commands).toFixed(3)} ${unit} per command in all\n`)
  } finally {
    await remote.end()
    await server.stop()
  }
}

try {
  await main()
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
