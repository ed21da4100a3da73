/**
 * What a suspension of a fiber costs in Effect, and how much of it is `AsyncResource`.
 *
 *     node benchmarks/upstream/suspension.ts
 *
 * Since 4.1 a fiber that suspends captures the async context by `new AsyncResource(…)`, and resumes by `runInAsyncScope` and
 * `emitDestroy`. It does so for each suspension, also in a program that uses no `AsyncLocalStorage`. The same rounds are run in
 * another process in which Effect finds no `node:async_hooks`, which it allows for.
 */
import { spawnSync } from "node:child_process"

const FIBERS = 500
const ROUNDS = 200
const TRIALS = 25

/** Room for all that is allocated in a trial, so that no collection falls into one. */
const flags = ["--expose-gc", "--max-semi-space-size=256", "--min-semi-space-size=256"]
const [mode] = process.argv.slice(2)

if (mode === undefined) {
  for (const each of ["as-it-is", "without-async-resource"]) {
    spawnSync(process.execPath, [...flags, import.meta.filename, each], { stdio: "inherit" })
  }
  process.exit()
}
if (mode === "without-async-resource") {
  const real = process.getBuiltinModule.bind(process)
  Object.assign(process, { getBuiltinModule: (id: string) => (id === "node:async_hooks" ? undefined : real(id)) })
}

const Effect = await import("effect/Effect")
const Exit = await import("effect/Exit")

/** All fibers suspend and are resumed so often. CPU nanoseconds and bytes of heap for each. */
const measure = async (): Promise<readonly [nanos: number, bytes: number]> => {
  let waiting: Array<() => void> = []
  const wait = Effect.callback<void>((resume) => {
    waiting.push(() => resume(Exit.void))
  })
  let running = true
  const caller = Effect.gen(function* () {
    while (running) yield* wait
  })
  const done = Effect.runPromise(
    Effect.all(
      Array.from({ length: FIBERS }, () => caller),
      { concurrency: "unbounded", discard: true }
    )
  )
  const round = () => {
    const all = waiting
    waiting = []
    for (const resume of all) resume()
  }
  let nanos = Infinity
  const bytes: Array<number> = []
  for (let trial = 0; trial < TRIALS; trial++) {
    globalThis.gc?.()
    const heap = process.memoryUsage().heapUsed
    const cpu = process.cpuUsage()
    for (let i = 0; i < ROUNDS; i++) round()
    const { system, user } = process.cpuUsage(cpu)
    nanos = Math.min(nanos, ((user + system) * 1000) / (FIBERS * ROUNDS))
    bytes.push((process.memoryUsage().heapUsed - heap) / (FIBERS * ROUNDS))
    await new Promise((resolve) => setImmediate(resolve))
  }
  running = false
  round()
  await done
  return [nanos, bytes.toSorted((a, b) => a - b)[TRIALS >> 1] ?? Number.NaN]
}

const [nanos, bytes] = await measure()
process.stdout.write(
  `${mode.padEnd(24)} ${nanos.toFixed(0).padStart(4)} ns and ${bytes.toFixed(0)} B for a suspension\n`
)
