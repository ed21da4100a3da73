/**
 * What subscribers miss under faults: `npm run -s bench -- --scenario pubsub`. `--schedules kill,slow` and
 * `--clients relive,ioredis,node-redis` choose; `--json` gives the result alone.
 *
 * A publisher past the faults numbers its messages on four channels, 2 000 a second in all; two subscribers of each share one
 * connection. *Missed* is what the server had acknowledged while the subscription stood. *In silence*: with no event between its
 * neighbours, counting in the peers' favour what they tell of the connection, which a subscriber does not see.
 *
 * - `kill`: the subscribers' connection is killed every 300 ms · `restart`: the server is away for 1.5 s
 * - `silent`: three seconds in which the network swallows everything, and the old connection for ever
 * - `slow`: 6 000 messages of 1 KiB a second, and one subscriber takes 50 ms for each · `quiet`: nothing happens
 *
 * Each run has a process of its own.
 */
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { subjects } from "./pubsubClients.ts"

const CHANNELS = ["c0", "c1", "c2", "c3"]
const SUBSCRIBERS_EACH = 2
const TICK_MILLIS = 5

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

// ----------------------------------------------------------------------------------------------------------- publisher

interface Published {
  readonly sentAt: number
  acknowledged: boolean
}

/** Publishes numbers on all channels by a socket of its own, which it dials again when it is lost. */
class Publisher {
  readonly published = new Map(CHANNELS.map((channel) => [channel, new Array<Published>()]))
  private readonly port: number
  private readonly perTick: number
  private readonly padding: string
  private socket: Socket | undefined
  private waiting: Array<Published> = []
  private timer: NodeJS.Timeout | undefined

  constructor(port: number, perSecond: number, bytes: number) {
    this.port = port
    this.perTick = Math.max(1, Math.round((perSecond * TICK_MILLIS) / 1000 / CHANNELS.length))
    this.padding = "x".repeat(bytes)
  }

  start(): void {
    this.dial()
    this.timer = setInterval(() => this.tick(), TICK_MILLIS)
  }

  stop(): void {
    clearInterval(this.timer)
    this.socket?.destroy()
  }

  private dial(): void {
    const socket = connect({ port: this.port, host: "127.0.0.1", noDelay: true })
    this.socket = socket
    this.waiting = []
    socket.on("error", () => {})
    socket.on("data", (chunk) => {
      for (const byte of chunk) {
        if (byte !== 0x3a) continue
        const oldest = this.waiting.shift()
        if (oldest !== undefined) oldest.acknowledged = true
      }
    })
    socket.on("close", () => {
      if (this.socket === socket) setTimeout(() => this.dial(), 10)
    })
  }

  private tick(): void {
    if (this.socket === undefined || this.socket.destroyed || this.socket.connecting) return
    let text = ""
    const sentAt = performance.now()
    for (let i = 0; i < this.perTick; i++) {
      for (const [channel, list] of this.published) {
        const payload = `${list.length}:${sentAt}:${this.padding}`
        text += `*3\r\n$7\r\nPUBLISH\r\n$2\r\n${channel}\r\n$${payload.length}\r\n${payload}\r\n`
        const message = { sentAt, acknowledged: false }
        list.push(message)
        this.waiting.push(message)
      }
    }
    this.socket.write(text)
  }
}

// ----------------------------------------------------------------------------------------------------------- subscribers

/** The messages that one subscriber heard: numbers, and -1 for a gap that it was told. */
class Ear {
  readonly channel: string
  readonly heard: Array<number> = []
  readonly delays: Array<number> = []
  subscribedAt = 0
  lastAt = 0
  /** Since when the next message is waited for after a fault, and what that took. */
  faultAt: number | undefined
  readonly returned: Array<number> = []

  constructor(channel: string) {
    this.channel = channel
  }

  message(payload: string): void {
    const now = performance.now()
    const [number, sentAt] = payload.split(":", 2)
    this.heard.push(Number(number))
    this.delays.push(now - Number(sentAt))
    this.lastAt = now
    if (this.faultAt !== undefined && Number(sentAt) > this.faultAt) {
      this.returned.push(now - this.faultAt)
      this.faultAt = undefined
    }
  }

  gap(): void {
    if (this.heard.at(-1) !== -1) this.heard.push(-1)
  }

  judge(published: ReadonlyArray<Published>) {
    const verdict = { owed: 0, missed: 0, silent: 0, twice: 0, disorder: 0 }
    const has = new Set<number>()
    let newest = -1
    let told = false
    const owes = ({ acknowledged, sentAt }: Published) => acknowledged && sentAt > this.subscribedAt
    const missing = (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        const message = published[n]
        if (message === undefined || !owes(message)) continue
        verdict.missed++
        if (!told) verdict.silent++
      }
    }
    for (const number of this.heard) {
      if (number === -1) {
        told = true
        continue
      }
      if (has.has(number)) verdict.twice++
      else if (number < newest) verdict.disorder++
      has.add(number)
      if (number > newest) missing(newest + 1, number)
      newest = Math.max(newest, number)
      told = false
    }
    missing(newest + 1, published.length)
    verdict.owed = published.filter(owes).length
    return verdict
  }
}

// ------------------------------------------------------------------------------------------------------------- schedules

interface Stage {
  readonly server: RedisServer.RedisServer
  readonly proxy: FaultProxy.FaultProxy
  /** Says that a fault is over, or that it struck: from now on the first message is waited for. */
  readonly await: () => void
}

interface Schedule {
  readonly rate: number
  readonly bytes: number
  /** How long the first subscriber takes for a message. */
  readonly takes: number
  readonly play: (stage: Stage) => Promise<void>
}

const usual = { rate: 2000, bytes: 16, takes: 0 }

const schedules: Readonly<Record<string, Schedule>> = {
  quiet: { ...usual, play: () => sleep(4000) },
  kill: {
    ...usual,
    play: async ({ await: strike, server }) => {
      for (let i = 0; i < 20; i++) {
        strike()
        await run(server.command(["CLIENT", "KILL", "TYPE", "pubsub"]))
        await sleep(300)
      }
    }
  },
  restart: {
    ...usual,
    play: async ({ await: strike, server }) => {
      await sleep(500)
      await run(server.kill)
      await sleep(1500)
      await run(server.start)
      strike()
      await sleep(2000)
    }
  },
  silent: {
    ...usual,
    play: async ({ await: strike, proxy }) => {
      await sleep(1500)
      const hole = await run(proxy.inject(Fault.blackHole()))
      await sleep(3000)
      await run(hole.heal)
      strike()
      await sleep(6000)
    }
  },
  slow: { rate: 6000, bytes: 1024, takes: 50, play: () => sleep(9000) }
}

const percentile = (values: ReadonlyArray<number>, p: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN
}

const round = (value: number): number | null => (Number.isFinite(value) ? Math.round(value * 10) / 10 : null)

const residentMebis = (): number => {
  globalThis.gc?.()
  return process.memoryUsage.rss() / 1024 / 1024
}

/** One run, in a process of its own. */
const measure = async (client: string, name: string) => {
  const schedule = schedules[name]
  const open = subjects[client]
  if (schedule === undefined || open === undefined) throw new Error(`no schedule ${name}, or no client ${client}`)
  const scope = Scope.makeUnsafe()
  try {
    const server = await run(Scope.provide(RedisServer.make(), scope))
    const proxy = await run(Scope.provide(FaultProxy.make(server), scope))
    const subject = await open({ host: proxy.host, port: proxy.port })
    const ears: Array<Ear> = []
    for (const channel of CHANNELS) {
      for (let i = 0; i < SUBSCRIBERS_EACH; i++) {
        const ear = new Ear(channel)
        const takes = ears.length === 0 ? schedule.takes : 0
        ears.push(ear)
        await subject.subscribe(channel, {
          message: (payload) => {
            ear.message(payload)
            return takes > 0 ? sleep(takes) : undefined
          },
          gap: () => ear.gap()
        })
        ear.subscribedAt = performance.now()
      }
    }
    const publisher = new Publisher(server.port, schedule.rate, schedule.bytes)
    publisher.start()
    await sleep(500)
    const before = residentMebis()
    const cpu = process.cpuUsage()
    const strike = () => {
      const now = performance.now()
      for (const ear of ears) ear.faultAt = now
    }
    await schedule.play({ server, proxy, await: strike })
    const used = process.cpuUsage(cpu)
    const grown = residentMebis() - before
    publisher.stop()
    await sleep(500)
    await Promise.race([subject.close(), sleep(2000)])
    const fast = schedule.takes > 0 ? ears.slice(1) : ears
    const sum = { owed: 0, missed: 0, silent: 0, twice: 0, disorder: 0 }
    for (const ear of fast) {
      const verdict = ear.judge(publisher.published.get(ear.channel) ?? [])
      sum.owed += verdict.owed
      sum.missed += verdict.missed
      sum.silent += verdict.silent
      sum.twice += verdict.twice
      sum.disorder += verdict.disorder
    }
    const returned = fast.flatMap((ear) => ear.returned)
    const never = fast.filter((ear) => ear.faultAt !== undefined).length
    const deliveries = ears.reduce((total, ear) => total + ear.delays.length, 0)
    return {
      client,
      schedule: name,
      ...sum,
      back: { p50: round(percentile(returned, 0.5)), max: round(percentile(returned, 1)), never },
      delay: {
        p99: round(
          percentile(
            fast.flatMap(({ delays }) => delays),
            0.99
          )
        )
      },
      grownMebis: round(grown),
      cpuMicrosPerDelivery: round((used.user + used.system) / deliveries)
    }
  } finally {
    await run(Scope.close(scope, Exit.void))
  }
}

type Outcome = Awaited<ReturnType<typeof measure>>

// ---------------------------------------------------------------------------------------------------------------- report

const inProcess = (client: string, schedule: string): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [client, schedule], {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "ignore", 2, "ipc"]
    })
    const timer = setTimeout(() => child.kill("SIGKILL"), 60_000)
    child.on("message", (outcome: Outcome) => resolve(outcome))
    child.on("exit", (code) => {
      clearTimeout(timer)
      reject(new Error(`${client} in ${schedule} ended with code ${code}`))
    })
  })

const line = (outcome: Outcome): string => {
  const { back, client, cpuMicrosPerDelivery, delay, disorder, grownMebis, missed, owed, schedule, silent, twice } =
    outcome
  const never = back.never > 0 ? `, ${back.never} never` : ""
  return [
    `${schedule.padEnd(9)}${client.padEnd(12)}`,
    `missed ${missed} of ${owed}, in silence ${silent}`,
    `twice ${twice}, disorder ${disorder}`,
    `back p50 ${back.p50}, max ${back.max} ms${never}`,
    `delay p99 ${delay.p99} ms`,
    `RSS + ${grownMebis} MiB`,
    `CPU ${cpuMicrosPerDelivery} µs`
  ].join(" | ")
}

const list = (text: string | undefined, all: ReadonlyArray<string>): ReadonlyArray<string> =>
  text === undefined ? all : text.split(",").filter((name) => all.includes(name))

/** Runs it, by the arguments after `--scenario pubsub`. */
export const pubsub = async (args: ReadonlyArray<string>): Promise<void> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      schedules: { type: "string" },
      clients: { type: "string" },
      json: { type: "boolean", default: false }
    }
  })
  const outcomes: Array<Outcome> = []
  for (const schedule of list(values.schedules, Object.keys(schedules))) {
    for (const client of list(values.clients, Object.keys(subjects))) {
      const outcome = await inProcess(client, schedule)
      outcomes.push(outcome)
      if (!values.json) process.stderr.write(`${line(outcome)}\n`)
    }
  }
  process.stdout.write(`${JSON.stringify({ scenario: "pubsub", outcomes })}\n`)
}

if (import.meta.main) {
  const [client = "", schedule = ""] = process.argv.slice(2)
  const outcome = await measure(client, schedule)
  process.send?.(outcome, () => process.exit())
}
