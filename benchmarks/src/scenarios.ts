/**
 * What is measured: each scenario prepares a client and gives, per round, one number for each of its metrics. The
 * throughput workloads are one kind of scenario; the others reuse the workload `get-500` and measure something else.
 */
import { optionNames, type AnyName, type ClientName } from "./clients/client.ts"
import { Remote } from "./remote.ts"
import type { Server } from "./server.ts"
import { expectedDigest, workloadNamed, workloads, type Workload } from "./workloads.ts"

/** One row of the report. */
export interface Metric {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly higherIsBetter: boolean
}

/** CPU time per command that a round used, in microseconds, where it is worth showing. */
export interface Cpu {
  readonly client: number
  readonly server: number
}

/** The figures of one round of one client. */
export interface Sample {
  readonly values: Readonly<Record<string, number>>
  readonly cpu?: Cpu | undefined
  /** Bytes of the JavaScript heap that a command allocated, where it was looked at. */
  readonly bytes?: number | undefined
}

/** How long the parts of a scenario take, in milliseconds. */
export interface Durations {
  readonly warmUp: number
  readonly round: number
}

/** One thing to measure. */
export interface Scenario {
  readonly name: string
  readonly gated: boolean
  readonly metrics: ReadonlyArray<Metric>
  /** The one of our two that takes part. */
  readonly ours: "relive" | "relive-pool"
  readonly without: ReadonlyArray<AnyName>
  /** Fewer rounds than asked for, where one is long. */
  readonly maxRounds: number
  readonly prepare: (remote: Remote, server: Server, durations: Durations) => Promise<void>
  readonly measure: (remote: Remote, server: Server, durations: Durations) => Promise<Sample>
  /** Bytes of the JavaScript heap that a command allocates. Once per process: the profiler slows it down. */
  readonly bytes?: ((remote: Remote, durations: Durations) => Promise<number>) | undefined
}

/** Everything a client does for a workload must be right before it is timed. */
const verify = async (remote: Remote, server: Server, workload: Workload): Promise<void> => {
  await server.seed(workload.seed())
  const written = workload.written()
  const keys = written.map(([key]) => key)
  await server.remove(keys)
  const digest = await remote.call("check", { workload: workload.name })
  if (digest !== expectedDigest(workload)) throw new Error(`${remote.name}: wrong replies in ${workload.name}`)
  const stored = await server.read(keys)
  const wrong = written.findIndex(([, value], i) => stored[i] !== value)
  if (wrong >= 0) throw new Error(`${remote.name}: ${workload.name} did not write ${keys[wrong]}`)
}

const refuseWrong = (remote: Remote, workload: Workload, wrong: number) => {
  if (wrong > 0) throw new Error(`${remote.name}: ${wrong} wrong replies while timing ${workload.name}`)
}

/** Runs `body` and gives the server's CPU time for it beside the result. */
const withServerCpu = async <A>(server: Server, body: () => Promise<A>): Promise<readonly [A, number]> => {
  const before = await server.cpuMicros()
  const result = await body()
  return [result, (await server.cpuMicros()) - before]
}

const throughput = (workload: Workload): Scenario => ({
  name: workload.name,
  gated: workload.gated,
  metrics: [{ name: workload.name, title: workload.title, unit: workload.unit, higherIsBetter: true }],
  ours: workload.connections > 1 ? "relive-pool" : "relive",
  without: [],
  maxRounds: Number.POSITIVE_INFINITY,
  prepare: async (remote, server, { warmUp }) => {
    await verify(remote, server, workload)
    await remote.call("closed", { workload: workload.name, milliseconds: warmUp })
  },
  measure: async (remote, server, { round }) => {
    const [result, serverMicros] = await withServerCpu(server, () =>
      remote.call("closed", { workload: workload.name, milliseconds: round })
    )
    refuseWrong(remote, workload, result.wrong)
    const commands = result.calls * workload.commandsPerCall
    return {
      values: { [workload.name]: (commands / result.milliseconds) * 1000 },
      cpu: { client: result.cpuMicros / commands, server: serverMicros / commands }
    }
  },
  bytes: (remote, { round }) => remote.call("allocation", { workload: workload.name, milliseconds: round })
})

const subject = workloadNamed("get-500")

const latency = (rate: number, label: string): Scenario => {
  const name = `latency-${label}`
  const metric = (suffix: string, what: string): Metric => ({
    name: `${name}-${suffix}`,
    title: `GET, 16 B, ${label} calls/s, ${what} from the moment the call was due`,
    unit: "µs",
    higherIsBetter: false
  })
  return {
    name,
    gated: false,
    metrics: [metric("p50", "p50"), metric("p99", "p99"), metric("p999", "p99.9")],
    ours: "relive",
    without: [],
    maxRounds: Number.POSITIVE_INFINITY,
    prepare: throughput(subject).prepare,
    measure: async (remote, _server, { round }) => {
      const options = {
        callers: subject.callers,
        rate,
        milliseconds: Math.max(1000, round * 2),
        pacing: "spin"
      } as const
      const result = await remote.call("openLoop", { workload: subject.name, options })
      refuseWrong(remote, subject, result.wrong)
      return {
        values: {
          [`${name}-p50`]: result.p50 * 1000,
          [`${name}-p99`]: result.p99 * 1000,
          [`${name}-p999`]: result.p999 * 1000
        }
      }
    }
  }
}

const cpuAtLoad = (rate: number, label: string): Scenario => {
  const name = `cpu-${label}`
  const title = (of: string) => `CPU of the ${of} per GET, 16 B, ${label} calls/s in bursts of 1 ms`
  return {
    name,
    gated: false,
    metrics: [
      { name: `${name}-client`, title: title("client"), unit: "µs/command", higherIsBetter: false },
      { name: `${name}-server`, title: title("server"), unit: "µs/command", higherIsBetter: false }
    ],
    ours: "relive",
    without: [],
    maxRounds: Number.POSITIVE_INFINITY,
    prepare: throughput(subject).prepare,
    measure: async (remote, server, { round }) => {
      const options = {
        callers: subject.callers,
        rate,
        milliseconds: Math.max(1000, round * 2),
        pacing: "tick"
      } as const
      const [result, serverMicros] = await withServerCpu(server, () =>
        remote.call("openLoop", { workload: subject.name, options })
      )
      refuseWrong(remote, subject, result.wrong)
      return {
        values: {
          [`${name}-client`]: result.cpuMicros / result.calls,
          [`${name}-server`]: serverMicros / result.calls
        }
      }
    }
  }
}

const allocation: Scenario = {
  name: "allocation",
  gated: false,
  metrics: [
    {
      name: "allocation",
      title: "JavaScript heap allocated per GET, 16 B, 500 callers",
      unit: "B",
      higherIsBetter: false
    }
  ],
  ours: "relive",
  without: [],
  maxRounds: 1,
  prepare: throughput(subject).prepare,
  measure: async (remote, _server, { round }) => ({
    values: { allocation: await remote.call("allocation", { workload: subject.name, milliseconds: round }) }
  })
}

/** Runs `body` with a process of its own, so that nothing earlier is in its memory. */
const withFresh = async <A>(remote: Remote, server: Server, body: (fresh: Remote) => Promise<A>): Promise<A> => {
  const fresh = new Remote(remote.name, remote.where)
  try {
    await fresh.call("open", { name: remote.name, target: server.target })
    return await body(fresh)
  } finally {
    await fresh.end()
  }
}

const IDLE = 1000
const KILLED = 100

const idleMemory: Scenario = {
  name: "idle-connections",
  gated: false,
  metrics: [
    { name: "idle-connections", title: `memory of an idle connection, of ${IDLE}`, unit: "KiB", higherIsBetter: false },
    { name: "idle-heap", title: `of it, JavaScript heap in use`, unit: "KiB", higherIsBetter: false }
  ],
  ours: "relive",
  without: [],
  maxRounds: 1,
  prepare: async () => {},
  measure: (remote, server) =>
    withFresh(remote, server, async (fresh) => {
      const { heap, resident } = await fresh.call("openMany", { target: server.target, count: IDLE })
      return { values: { "idle-connections": resident / 1024 / IDLE, "idle-heap": heap / 1024 / IDLE } }
    })
}

const reconnect: Scenario = {
  name: "reconnect",
  gated: false,
  metrics: [
    {
      name: "reconnect",
      title: `from CLIENT KILL of ${KILLED} connections until each has answered a read`,
      unit: "ms",
      higherIsBetter: false
    }
  ],
  ours: "relive",
  // A bare socket does not reconnect.
  without: ["bare"],
  maxRounds: 1,
  prepare: async (_remote, server) => server.seed(subject.seed()),
  measure: (remote, server) =>
    withFresh(remote, server, async (fresh) => {
      const before = new Set(await server.connectionIds())
      await fresh.call("openMany", { target: server.target, count: KILLED })
      await fresh.call("answerAll", { workload: subject.name })
      const opened = (await server.connectionIds()).filter((id) => !before.has(id))
      const start = performance.now()
      await server.killConnections(opened)
      await fresh.call("answerAll", { workload: subject.name })
      return { values: { reconnect: performance.now() - start } }
    })
}

/** Deliveries in one burst; a round is as many bursts as it takes. */
const BURST = 40_000

const pubsub = (subscribers: number): Scenario => {
  const name = `pubsub-${subscribers}`
  const who = subscribers === 1 ? "one subscriber" : `${subscribers} subscribers`
  // The others stay subscribed while one is measured.
  const channelOf = (remote: Remote) => `${name}:${remote.name}`
  const messages = Math.max(400, BURST / subscribers)
  const burst = async (remote: Remote, server: Server) => {
    await remote.call("expect", { messages })
    await server.publish(channelOf(remote), messages)
    const result = await remote.call("received", {})
    if (result.wrong > 0) throw new Error(`${remote.name}: ${result.wrong} messages of ${name} were not the next ones`)
    return result
  }
  return {
    name,
    gated: false,
    metrics: [
      { name, title: `messages of 16 B to ${who} of one connection`, unit: "messages/s", higherIsBetter: true },
      { name: `${name}-cpu`, title: `CPU of it, per message and subscriber`, unit: "µs", higherIsBetter: false }
    ],
    ours: "relive",
    without: ["bare", "glide", "ioredis-auto", "node-redis-no-timeout"],
    maxRounds: Number.POSITIVE_INFINITY,
    prepare: async (remote, server, { warmUp }) => {
      await remote.call("subscribe", { channel: channelOf(remote), count: subscribers })
      for (let spent = 0; spent < warmUp;) spent += (await burst(remote, server)).milliseconds
    },
    measure: async (remote, server, { round }) => {
      let milliseconds = 0
      let cpuMicros = 0
      let bursts = 0
      while (milliseconds < round) {
        const result = await burst(remote, server)
        milliseconds += result.milliseconds
        cpuMicros += result.cpuMicros
        bursts++
      }
      const all = bursts * messages
      return { values: { [name]: (all / milliseconds) * 1000, [`${name}-cpu`]: cpuMicros / (all * subscribers) } }
    }
  }
}

/** All scenarios, in the order they run. */
export const scenarios: ReadonlyArray<Scenario> = [
  ...workloads.map(throughput),
  pubsub(1),
  pubsub(100),
  latency(20_000, "20k"),
  latency(100_000, "100k"),
  cpuAtLoad(20_000, "20k"),
  allocation,
  idleMemory,
  reconnect
]

/** Where the price of a waiting fiber shows. */
const floored: ReadonlySet<string> = new Set(["get-500", "set-500", "mixed-1k", "sequential", "allocation"])

/** Where collections of the whole heap are a large part of the time. */
const collected: ReadonlySet<string> = new Set(["large-value", "large-value-bytes"])

/** Whether a client takes part in a scenario. */
export const takesPart = (scenario: Scenario, name: AnyName): boolean => {
  const ours: ReadonlyArray<ClientName> = ["relive", "relive-pool"]
  if (ours.some((our) => our === name)) return name === scenario.ours
  if (optionNames.includes(name)) return scenario.name === subject.name
  if (name === "effect-floor") return floored.has(scenario.name)
  if (name === "ioredis-in-effect") return collected.has(scenario.name)
  return !scenario.without.includes(name)
}
