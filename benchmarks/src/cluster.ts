/**
 * `npm run -s bench:cluster -- [--seconds N] [--rounds N] [--json]`: 500 callers, `GET` over three primaries, for us, for
 * ioredis (plain and with auto-pipelining) and for node-redis, and the same on one node with our single connection.
 *
 * Each round is a process of its own, and the clients take turns, so that a busy minute is nobody's alone. The figure is the
 * median over the rounds: microseconds per call, and of the client's CPU in brackets.
 */
import { RedisCluster } from "@relive/cluster"
import { Redis } from "@relive/core"
import type { RedisService } from "@relive/core"
import { RedisCluster as Servers, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { spawn } from "node:child_process"

const CALLERS = 500
const KEYS = 3_000
const clients = ["relive", "relive-single", "ioredis", "ioredis-auto", "node-redis"] as const
type ClientName = (typeof clients)[number]

const keyOf = (i: number): string => `bench:${i % KEYS}`

interface Figures {
  readonly calls: number
  readonly millis: number
  readonly cpuMillis: number
}

// ------------------------------------------------------------------------------------------------------------- one round

/** Loops of promises, `CALLERS` at a time. */
const measure = async (get: (key: string) => Promise<unknown>, millis: number): Promise<Figures> => {
  let calls = 0
  const loop = async (index: number, end: number) => {
    for (let n = index; performance.now() < end; n += CALLERS) {
      const reply = await get(keyOf(n))
      if (reply !== `value ${n % KEYS}`) throw new Error(`a wrong reply for ${keyOf(n)}: ${String(reply)}`)
      calls++
    }
  }
  const all = (length: number) => {
    const end = performance.now() + length
    return Promise.all(Array.from({ length: CALLERS }, (_, i) => loop(i, end)))
  }
  await all(millis / 3)
  calls = 0
  const began = performance.now()
  const cpu = process.cpuUsage()
  await all(millis)
  const used = process.cpuUsage(cpu)
  return { calls, millis: performance.now() - began, cpuMillis: (used.user + used.system) / 1000 }
}

/** The same in fibers. */
const measureRelive = (layer: Layer.Layer<RedisService, unknown>, millis: number): Promise<Figures> =>
  Effect.gen(function* () {
    let calls = 0
    const loop = (index: number, end: number): Effect.Effect<void, unknown, RedisService> => {
      let n = index
      const step: Effect.Effect<void, unknown, RedisService> = Effect.suspend(() =>
        Effect.flatMap(Redis.command(["GET", keyOf(n)]), (reply) => {
          if (reply !== `value ${n % KEYS}`)
            return Effect.die(new Error(`a wrong reply for ${keyOf(n)}: ${String(reply)}`))
          calls++
          n += CALLERS
          return performance.now() < end ? step : Effect.void
        })
      )
      return step
    }
    const all = (length: number) =>
      Effect.suspend(() => {
        const end = performance.now() + length
        return Effect.all(
          Array.from({ length: CALLERS }, (_, i) => loop(i, end)),
          { concurrency: "unbounded", discard: true }
        )
      })
    yield* all(millis / 3)
    calls = 0
    const began = performance.now()
    const cpu = process.cpuUsage()
    yield* all(millis)
    const used = process.cpuUsage(cpu)
    return { calls, millis: performance.now() - began, cpuMillis: (used.user + used.system) / 1000 }
  }).pipe(Effect.provide(layer), Effect.runPromise)

const round = async (client: ClientName, urls: ReadonlyArray<string>, millis: number): Promise<Figures> => {
  if (client === "relive") return measureRelive(RedisCluster.layer({ nodes: urls, start: "await" }), millis)
  if (client === "relive-single") return measureRelive(Redis.layer({ url: urls[0] ?? "", start: "await" }), millis)
  const nodes = urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }))
  if (client === "node-redis") {
    const { createCluster } = await import("redis")
    const cluster = createCluster({ rootNodes: urls.map((url) => ({ url })) })
    await cluster.connect()
    const figures = await measure((key) => cluster.get(key), millis)
    cluster.destroy()
    return figures
  }
  const { Cluster } = await import("ioredis")
  const cluster = new Cluster(nodes, { enableAutoPipelining: client === "ioredis-auto" })
  await new Promise<void>((resolve) => cluster.once("ready", () => resolve()))
  const figures = await measure((key) => cluster.get(key), millis)
  cluster.disconnect()
  return figures
}

// ------------------------------------------------------------------------------------------------------------------ all

const child = (client: ClientName, urls: ReadonlyArray<string>, millis: number): Promise<Figures> =>
  new Promise((resolve, reject) => {
    const args = [import.meta.filename, "--round", client, String(millis), ...urls]
    const process_ = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    let text = ""
    process_.stdout.setEncoding("utf8").on("data", (more: string) => (text += more))
    process_.once("close", (code) => {
      if (code === 0) resolve(JSON.parse(text) as Figures)
      else reject(new Error(`${client} ended with ${code}`))
    })
  })

const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

const rounded = (value: number): number => Math.round(value * 100) / 100

const option = (name: string, inherited: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? inherited : Number(process.argv[at + 1])
}

const main = Effect.gen(function* () {
  const millis = option("seconds", 3) * 1000
  const rounds = option("rounds", 5)
  const cluster = yield* Servers.make()
  const single = yield* RedisServer.make()
  const seed = Array.from({ length: KEYS }, (_, i) => ["SET", keyOf(i), `value ${i}`] as const)
  yield* single.commands(seed)
  yield* Redis.pipeline(seed).pipe(Effect.provide(RedisCluster.layer({ nodes: cluster.urls })))
  const figures = new Map<ClientName, Array<Figures>>(clients.map((name) => [name, []]))
  for (let i = 0; i < rounds; i++) {
    for (const name of clients) {
      const urls = name === "relive-single" ? [single.url] : cluster.urls
      figures.get(name)?.push(yield* Effect.promise(() => child(name, urls, millis)))
    }
  }
  const report = Object.fromEntries(
    [...figures].map(([name, all]) => [
      name,
      {
        microsPerCall: rounded(median(all.map(({ calls, millis }) => (millis * 1000) / calls))),
        cpuMicrosPerCall: rounded(median(all.map(({ calls, cpuMillis }) => (cpuMillis * 1000) / calls)))
      }
    ])
  )
  if (!process.argv.includes("--json")) {
    for (const [name, { cpuMicrosPerCall, microsPerCall }] of Object.entries(report)) {
      console.log(`${name.padEnd(14)} ${microsPerCall} µs (${cpuMicrosPerCall})`)
    }
  }
  console.log(JSON.stringify({ callers: CALLERS, rounds, ...report }))
}).pipe(Effect.scoped)

if (process.argv[2] === "--round") {
  const name = clients.find((one) => one === process.argv[3]) ?? "relive"
  const figures = await round(name, process.argv.slice(5), Number(process.argv[4]))
  process.stdout.write(JSON.stringify(figures), () => process.exit(0))
} else await Effect.runPromise(main)
