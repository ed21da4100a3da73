/**
 * `get-500` on Bun, beside its own client: `npm run bench:bun`. It starts a server, and itself again on the Bun of the npm package.
 */
import { Redis, type RedisService } from "@relive/core"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Server } from "./server.ts"
import { summarise } from "./statistics.ts"

const CALLERS = 500
const KEYS = 1000
const ROUNDS = 11
const MILLISECONDS = 500

/** The part of Bun's client that is used. */
interface BunClient {
  readonly connect: () => Promise<void>
  readonly get: (key: string) => Promise<string | null>
  readonly set: (key: string, value: string) => Promise<unknown>
  readonly close: () => void
}

interface BunApi {
  readonly version: string
  readonly RedisClient: new (url: string) => BunClient
}

const isBun = (value: unknown): value is BunApi =>
  typeof value === "object" && value !== null && "RedisClient" in value && "version" in value

const keyOf = (n: number) => `small:${n % KEYS}`
const valueOf = (n: number) => (n % KEYS).toString(36).padStart(16, "v")

/** Calls per second of 500 callers, each with one call at a time. */
interface Contender {
  readonly name: string
  readonly round: () => Promise<number>
}

const wrong = (): never => {
  throw new Error("a wrong reply")
}

const bunContender = (client: BunClient): Contender => ({
  name: "Bun.RedisClient",
  round: async () => {
    let next = 0
    let done = 0
    const end = performance.now() + MILLISECONDS
    const caller = async () => {
      while (performance.now() < end) {
        const n = next++
        if ((await client.get(keyOf(n))) !== valueOf(n)) wrong()
        done++
      }
    }
    const began = performance.now()
    await Promise.all(Array.from({ length: CALLERS }, caller))
    return (done / (performance.now() - began)) * 1000
  }
})

const reliveContender = (runtime: ManagedRuntime.ManagedRuntime<RedisService, unknown>): Contender => ({
  name: "Relive",
  round: () =>
    runtime.runPromise(
      Effect.gen(function* () {
        let next = 0
        let done = 0
        const end = performance.now() + MILLISECONDS
        const caller = Effect.gen(function* () {
          while (performance.now() < end) {
            const n = next++
            if ((yield* Redis.command(["GET", keyOf(n)])) !== valueOf(n)) wrong()
            done++
          }
        })
        const began = performance.now()
        yield* Effect.forEach(Array.from({ length: CALLERS }), () => caller, {
          concurrency: "unbounded",
          discard: true
        })
        return (done / (performance.now() - began)) * 1000
      })
    )
})

const measure = async (url: string, { RedisClient, version }: BunApi): Promise<void> => {
  const client = new RedisClient(url)
  await client.connect()
  for (let n = 0; n < KEYS; n++) await client.set(keyOf(n), valueOf(n))
  const runtime = ManagedRuntime.make(Redis.layer(url))
  const contenders = [reliveContender(runtime), bunContender(client)]
  const results = new Map<string, Array<number>>(contenders.map(({ name }) => [name, []]))
  for (let round = -2; round < ROUNDS; round++) {
    for (const { name, round: run } of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const rate = await run()
      if (round >= 0) results.get(name)?.push(rate)
    }
  }
  const median = (name: string) => Math.round(summarise(results.get(name) ?? []).median)
  const [ours, theirs] = [median("Relive"), median("Bun.RedisClient")]
  process.stdout.write(
    `${JSON.stringify({ workload: "get-500", runtime: `Bun ${version}`, relive: ours, bun: theirs, ratio: ours / theirs })}\n`
  )
  client.close()
  await runtime.dispose()
}

/** Starts the server, and this file on Bun. */
const start = async (): Promise<void> => {
  const root = Path.resolve(import.meta.dirname, "../..")
  const bun = ["x64", "aarch64"]
    .map((machine) => Path.join(root, `node_modules/@oven/bun-linux-${machine}/bin/bun`))
    .find((file) => Fs.existsSync(file))
  if (bun === undefined) throw new Error("There is no Bun for this machine among the packages")
  const server = await Server.start("as-it-is")
  const { host, port } = server.target
  try {
    const { status } = spawnSync(bun, ["run", import.meta.filename], {
      stdio: "inherit",
      env: { ...process.env, RELIVE_BENCH_URL: `redis://${host}:${port}` }
    })
    process.exitCode = status ?? 1
  } finally {
    await server.stop()
  }
}

const bun: unknown = Reflect.get(globalThis, "Bun")
if (isBun(bun)) await measure(process.env.RELIVE_BENCH_URL ?? "", bun)
else await start()
