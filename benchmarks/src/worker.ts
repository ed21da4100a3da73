/** The process of one client: serves the calls of `protocol.ts` until the main process goes away. */
import { writeFileSync } from "node:fs"
import { Unsupported } from "./calls.ts"
import { loadClient, type Client, type Connection, type Target } from "./clients/client.ts"
import {
  startAllocationProfile,
  startCpuProfile,
  stopAllocationProfile,
  stopCpuProfile,
  summariseAllocation,
  summariseCpu,
  totalBytes
} from "./profiler.ts"
import type { Grown, Methods, ProfileSummary, Received, Request, Response } from "./protocol.ts"
import { repliesDigest, workloadNamed, type Workload } from "./workloads.ts"

const POOL_SIZE = 10
const SETTLE_MILLISECONDS = 500
const QUIET_MILLISECONDS = 1000
const RETRY_MILLISECONDS = 1

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

const collect = () => {
  if (globalThis.gc === undefined) throw new Error("the client's process needs --expose-gc")
  globalThis.gc()
}

/** Waits until what an earlier round left behind (timers, garbage) no longer keeps the event loop busy. */
const quiet = async () => {
  const end = performance.now() + QUIET_MILLISECONDS
  for (;;) {
    const before = performance.eventLoopUtilization()
    await sleep(10)
    if (performance.eventLoopUtilization(before).utilization < 0.2 || performance.now() > end) return
  }
}

/** Counts what subscribers are told. */
class Audience {
  readonly #next: Array<number>
  received: Promise<Received> = new Promise(() => {})
  #left = 0
  #wrong = 0
  #start = 0
  #done: () => void = () => {}

  constructor(size: number) {
    this.#next = Array.from({ length: size }, () => 0)
  }

  readonly told = (subscriber: number, payload: string): void => {
    if (this.#start === 0) this.#start = performance.now()
    const expected = this.#next[subscriber] ?? 0
    if (Number(payload) !== expected) this.#wrong++
    this.#next[subscriber] = expected + 1
    if (--this.#left === 0) this.#done()
  }

  expect(messages: number): void {
    this.#next.fill(0)
    this.#left = messages * this.#next.length
    this.#wrong = 0
    this.#start = 0
    const cpu = process.cpuUsage()
    this.received = new Promise((resolve) => {
      this.#done = () => {
        const used = process.cpuUsage(cpu)
        const milliseconds = performance.now() - this.#start
        resolve({ milliseconds, cpuMicros: used.user + used.system, wrong: this.#wrong })
      }
    })
  }
}

class Worker implements Methods {
  #client: Client | undefined
  #target: Target | undefined
  #single: Connection | undefined
  #pool: Connection | undefined
  #family: Connection | undefined
  #many: Array<Connection> = []
  #audience: Audience | undefined

  async open(of: Parameters<Methods["open"]>[0]): Promise<void> {
    this.#client = await loadClient(of.name)
    this.#target = of.target
    this.#single = await this.#client.open(of.target)
  }

  async check(of: { readonly workload: string }): Promise<string> {
    const workload = workloadNamed(of.workload)
    const { driver, shapes } = await this.#connection(workload)
    return repliesDigest(workload, await driver.all(workload, workload.distinct), shapes)
  }

  async closed(of: { readonly workload: string; readonly milliseconds: number }) {
    const workload = workloadNamed(of.workload)
    const { driver } = await this.#connection(workload)
    await quiet()
    return driver.closed(workload, workload.callers, of.milliseconds)
  }

  async openLoop(of: Parameters<Methods["openLoop"]>[0]) {
    const workload = workloadNamed(of.workload)
    const { driver } = await this.#connection(workload)
    await quiet()
    return driver.open(workload, of.options)
  }

  async allocation(of: { readonly workload: string; readonly milliseconds: number }): Promise<number> {
    const workload = workloadNamed(of.workload)
    const { driver } = await this.#connection(workload)
    const session = await startAllocationProfile()
    const { calls } = await driver.closed(workload, workload.callers, of.milliseconds)
    return totalBytes(await stopAllocationProfile(session)) / (calls * workload.commandsPerCall)
  }

  async profile(of: Parameters<Methods["profile"]>[0]): Promise<ProfileSummary> {
    const workload = workloadNamed(of.workload)
    const { driver } = await this.#connection(workload)
    const run = (milliseconds: number) => driver.closed(workload, workload.callers, milliseconds)
    await run(of.milliseconds / 2)
    if (of.what === "cpu") {
      const session = await startCpuProfile()
      const { calls } = await run(of.milliseconds)
      const profile = await stopCpuProfile(session)
      writeFileSync(of.file, JSON.stringify(profile))
      return summariseCpu(profile, calls * workload.commandsPerCall)
    }
    const session = await startAllocationProfile()
    const { calls } = await run(of.milliseconds)
    const profile = await stopAllocationProfile(session)
    writeFileSync(of.file, JSON.stringify(profile))
    return summariseAllocation(profile, calls * workload.commandsPerCall)
  }

  async subscribe(of: Parameters<Methods["subscribe"]>[0]): Promise<void> {
    const { subscribe } = this.#opened(this.#single)
    if (subscribe === undefined) throw new Unsupported("this client does not subscribe here")
    const audience = new Audience(of.count)
    this.#audience = audience
    await subscribe(of.channel, of.count, audience.told)
  }

  async expect(of: { readonly messages: number }): Promise<void> {
    this.#opened(this.#audience).expect(of.messages)
  }

  async received(): Promise<Received> {
    return this.#opened(this.#audience).received
  }

  async openMany(of: { readonly target: Target; readonly count: number }): Promise<Grown> {
    const client = this.#opened(this.#client)
    collect()
    const before = process.memoryUsage()
    while (this.#many.length < of.count) {
      const batch = Math.min(50, of.count - this.#many.length)
      this.#many.push(...(await Promise.all(Array.from({ length: batch }, () => client.open(of.target)))))
    }
    await sleep(SETTLE_MILLISECONDS)
    collect()
    const after = process.memoryUsage()
    return { resident: after.rss - before.rss, heap: after.heapUsed - before.heapUsed }
  }

  async answerAll(of: { readonly workload: string }): Promise<void> {
    const workload = workloadNamed(of.workload)
    const answer = async ({ driver }: Connection) => {
      for (;;) {
        try {
          await driver.all(workload, 1)
          return
        } catch {
          await sleep(RETRY_MILLISECONDS)
        }
      }
    }
    await Promise.all(this.#many.map(answer))
  }

  async close(): Promise<void> {
    const all = [this.#single, this.#pool, this.#family, ...this.#many]
    this.#single = this.#pool = this.#family = undefined
    this.#many = []
    await Promise.allSettled(all.map((connection) => connection?.close()))
  }

  async #connection(workload: Workload): Promise<Connection> {
    if (workload.isFamily === true) {
      const { openFamily } = this.#opened(this.#client)
      if (openFamily === undefined) throw new Unsupported("Effect's persistence modules do not run on this client")
      return (this.#family ??= await openFamily(this.#opened(this.#target)))
    }
    if (workload.connections === 1) return this.#opened(this.#single)
    const { openPool } = this.#opened(this.#client)
    if (openPool === undefined) throw new Unsupported("this client has no pool")
    return (this.#pool ??= await openPool(this.#opened(this.#target), POOL_SIZE))
  }

  #opened<A>(value: A | undefined): A {
    if (value === undefined) throw new Error("open comes first")
    return value
  }
}

const worker = new Worker()

const answer = async (request: Request): Promise<Response> => {
  try {
    // The sender is typed by the same interface: its parameters belong to its method.
    const method = worker[request.method] as (params: unknown) => Promise<unknown>
    return { id: request.id, result: await method.call(worker, request.params) }
  } catch (error) {
    const unsupported = error instanceof Unsupported
    return {
      id: request.id,
      unsupported,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
  }
}

process.on("message", (request: Request) => {
  void answer(request).then((response) => process.send?.(response))
})
process.on("disconnect", () => process.exit())
// Ctrl-C reaches the whole group; the main process decides when it is over.
process.on("SIGINT", () => {})
