/**
 * The benchmarks: all clients against one server, side by side. Each client lives in a process of its own, and has several, one
 * after the other, since each process has a mode of its own. The rounds of a workload are interleaved over the clients in an
 * order that rotates, so that a slow moment of the machine hits all of them. Nothing is timed before its results were
 * compared with what they must be.
 */
import { Unsupported } from "./calls.ts"
import type { AnyName } from "./clients/client.ts"
import { parseOptions, usage, UsageError, type Options } from "./options.ts"
import { Remote } from "./remote.ts"
import { table, toRow, type Report } from "./report.ts"
import { takesPart, type Sample, type Scenario } from "./scenarios.ts"
import { schedules } from "./schedules/index.ts"
import { Server } from "./server.ts"

const say = (text: string) => process.stderr.write(`${text}\n`)

/** Starts the clients; one that is not available here is left out, and said so. Without our own there is no result. */
const startClients = async (options: Options, server: Server, remotes: Array<Remote>): Promise<void> => {
  for (const name of options.clients) {
    const remote = new Remote(name, options.where)
    remotes.push(remote)
    try {
      await remote.call("open", { name, target: server.target })
      remote.pause()
    } catch (error) {
      remotes.pop()
      remote.kill()
      if (name === "relive") throw error
      say(`${name} is not available and left out: ${firstLine(error)}`)
    }
  }
}

const firstLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? ""

/** Round `round` starts with another client than the last one and goes the other way. */
const order = <A>(all: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const shift = round % Math.max(1, all.length)
  const rotated = [...all.slice(shift), ...all.slice(0, shift)]
  return round % 2 === 0 ? rotated : rotated.toReversed()
}

/** A client runs in its own turn only. */
const alone = async <A>(remote: Remote, body: () => Promise<A>): Promise<A> => {
  remote.resume()
  try {
    return await body()
  } finally {
    remote.pause()
  }
}

/** The rounds of one scenario by the processes that run now. */
const runScenario = async (
  scenario: Scenario,
  options: Options,
  server: Server,
  remotes: ReadonlyArray<Remote>
): Promise<ReadonlyMap<AnyName, ReadonlyArray<Sample>>> => {
  const taking: Array<Remote> = []
  for (const remote of remotes.filter(({ name }) => takesPart(scenario, name))) {
    try {
      await alone(remote, () => scenario.prepare(remote, server, options.durations))
      taking.push(remote)
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error
      say(`${remote.name} is left out of ${scenario.name}: it has no such call`)
    }
  }
  const samples = new Map<AnyName, Array<Sample>>(taking.map(({ name }) => [name, []]))
  const rounds = Math.min(options.rounds, scenario.maxRounds)
  for (let round = 0; round < rounds; round++) {
    for (const remote of order(taking, round)) {
      const sample = await alone(remote, () => scenario.measure(remote, server, options.durations))
      samples.get(remote.name)?.push(sample)
    }
  }
  const { bytes } = scenario
  if (bytes === undefined || scenario.ours === "relive-pool") return samples
  for (const remote of taking) {
    const allocated = await alone(remote, () => bytes(remote, options.durations))
    samples.get(remote.name)?.push({ values: {}, bytes: allocated })
  }
  return samples
}

/** Warms a new process up: the engine has compiled nothing of it yet. */
const fromCold = (options: Options): Options => ({
  ...options,
  durations: { ...options.durations, warmUp: Math.max(options.durations.warmUp, 1000) }
})

/** All scenarios by one process of each client. */
const runProcesses = async (
  options: Options,
  server: Server,
  remotes: Array<Remote>,
  add: (scenario: Scenario, name: AnyName, rounds: ReadonlyArray<Sample>) => void
): Promise<void> => {
  await startClients(options, server, remotes)
  for (const [i, scenario] of options.scenarios.entries()) {
    say(`measuring ${scenario.name}`)
    const own = i === 0 ? fromCold(options) : options
    for (const [name, rounds] of await runScenario(scenario, own, server, remotes)) add(scenario, name, rounds)
  }
  await Promise.all(remotes.map((remote) => remote.end()))
  remotes.length = 0
}

const run = async (options: Options): Promise<void> => {
  const { processes, where } = options
  const server = await Server.start(where)
  const remotes: Array<Remote> = []
  const killAll = () => {
    for (const remote of remotes) remote.kill()
    server.kill()
  }
  const interrupted = (signal: NodeJS.Signals) => {
    say(`stopped by ${signal}`)
    process.exit(130)
  }
  process.on("exit", killAll)
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, interrupted)
  try {
    const samples = new Map<Scenario, Map<AnyName, Array<ReadonlyArray<Sample>>>>()
    const add = (scenario: Scenario, name: AnyName, rounds: ReadonlyArray<Sample>) => {
      const clients = samples.get(scenario) ?? new Map<AnyName, Array<ReadonlyArray<Sample>>>()
      samples.set(scenario, clients.set(name, [...(clients.get(name) ?? []), rounds]))
    }
    for (let number = 1; number <= processes; number++) {
      say(`process ${number} of ${processes}`)
      await runProcesses(options, server, remotes, add)
    }
    const workloads = [...samples].flatMap(([scenario, clients]) =>
      scenario.metrics.map((metric) => toRow(scenario, metric, where, clients))
    )
    const report: Report = { surroundings: where, processes, node: process.version, server: server.version, workloads }
    say(table(report))
    process.stdout.write(`${JSON.stringify(report)}\n`)
    if (options.check && workloads.some(({ missed }) => missed.length > 0)) process.exitCode = 1
  } finally {
    await Promise.all(remotes.map((remote) => remote.end()))
    await server.stop()
  }
}

/** `--scenario NAME`, wherever it stands: the rest is for that one. */
const runSchedule = async (args: ReadonlyArray<string>, at: number): Promise<void> => {
  const name = args[at + 1] ?? ""
  const schedule = schedules[name]
  if (schedule === undefined) {
    throw new UsageError(`there is no scenario ${name}; there are: ${Object.keys(schedules).join(", ")}`)
  }
  await schedule([...args.slice(0, at), ...args.slice(at + 2)])
}

const main = async (): Promise<void> => {
  try {
    const args = process.argv.slice(2)
    const at = args.indexOf("--scenario")
    if (at >= 0) return await runSchedule(args, at)
    const options = parseOptions(process.argv.slice(2))
    if (options === undefined) process.stdout.write(`${usage}\n`)
    else await run(options)
  } catch (error) {
    if (error instanceof UsageError) say(`${error.message}\n\n${usage}`)
    else say(error instanceof Error ? error.message : String(error))
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

await main()
