/**
 * What a fresh buffer of one MiB costs, which every value that is read as bytes needs, and how much of it is the collector.
 *
 *     node benchmarks/upstream/externalMemory.ts
 *
 * The memory of a buffer lies outside of V8's heap. V8 is told of it, and starts collections of the whole heap by how much there
 * is of it, however small the heap itself is. What such a collection costs is the program's to pay, by the objects that it holds:
 * so the last line is the same with 500,000 objects alive, as many as a program of some size has.
 */
import { PerformanceObserver } from "node:perf_hooks"

const SIZE = 1024 * 1024
const COUNT = 4000

let collecting = 0
let collections = 0
const observer = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    collecting += duration
    collections++
  }
})
observer.observe({ entryTypes: ["gc"] })

const filler = Buffer.alloc(SIZE, 1)
const turn = () => new Promise((resolve) => setImmediate(resolve))

const measure = async (label: string, next: () => Buffer): Promise<void> => {
  collecting = collections = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  let kept = next()
  for (let i = 0; i < COUNT; i++) {
    kept = next()
    filler.copy(kept)
    if (i % 4 === 0) await turn()
  }
  const each = ((performance.now() - start) * 1000) / COUNT
  const { system, user } = process.cpuUsage(cpu)
  await turn()
  const share = (collecting * 1000) / COUNT
  process.stdout.write(
    `${label.padEnd(20)} ${each.toFixed(0)} µs to fill ${kept.length} B, ${share.toFixed(0)} µs of it in ${collections} collections; ${((system + user) / COUNT).toFixed(0)} µs of CPU on all threads\n`
  )
}

const same = Buffer.allocUnsafeSlow(SIZE)
await measure("the same buffer", () => same)
await measure("a fresh one", () => Buffer.allocUnsafeSlow(SIZE))
const alive = Array.from({ length: 250_000 }, (_, index) => ({ index, inner: { index } }))
await measure("in a larger program", () => Buffer.allocUnsafeSlow(SIZE))
if (alive.length === 0) process.exitCode = 1
