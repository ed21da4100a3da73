/**
 * How calls are driven, once for promises and once for Effect.
 *
 * *Closed loop*: each of N callers makes its next call when it has the reply of the last one; measures throughput.
 * *Open loop*: calls fall due at fixed moments, whether or not earlier ones had their replies, and latency counts from the
 * moment a call was due. So a client that stalls is charged for every call that should have been made meanwhile
 * (without that, "coordinated omission" hides the stall). Standing callers take the due calls: an Effect caller is a
 * fiber that exists, as a promise caller is an async function that runs; neither pays for its creation per call.
 */
import * as Effect from "effect/Effect"
import type { Calls } from "./calls.ts"
import type { Workload } from "./workloads.ts"

/** The counts of a closed loop. */
export interface ClosedResult {
  readonly calls: number
  readonly wrong: number
  readonly milliseconds: number
  /** CPU time of the client's process, user and system, in microseconds. */
  readonly cpuMicros: number
}

/** The counts of an open loop. Latencies are in milliseconds. */
export interface OpenResult extends ClosedResult {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

/** How an open loop wakes: `spin` polls the event loop (exact moments), `tick` uses a timer of 1 ms (honest CPU). */
export type Pacing = "spin" | "tick"

/** Settings of an open loop. */
export interface OpenOptions {
  readonly callers: number
  /** Calls per second. */
  readonly rate: number
  readonly milliseconds: number
  readonly pacing: Pacing
}

/** A client as the measurements see it: replies are opaque, only the driving differs. */
export interface Driver {
  /** Makes the calls 0 … count − 1 at once and returns the replies in order. */
  readonly all: (workload: Workload, count: number) => Promise<ReadonlyArray<unknown>>
  readonly closed: (workload: Workload, callers: number, milliseconds: number) => Promise<ClosedResult>
  readonly open: (workload: Workload, options: OpenOptions) => Promise<OpenResult>
}

/** The state that all callers of one closed loop share. */
class ClosedRun {
  next = 0
  done = 0
  wrong = 0
  stopped = false

  stopAfter(milliseconds: number): void {
    setTimeout(() => {
      this.stopped = true
    }, milliseconds)
  }
}

const measureClosed = async (run: ClosedRun, body: () => Promise<void>): Promise<ClosedResult> => {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await body()
  const milliseconds = performance.now() - start
  const used = process.cpuUsage(cpu)
  return { calls: run.done, wrong: run.wrong, milliseconds, cpuMicros: used.user + used.system }
}

/** Due calls, callers that wait for one, and the latencies of those that were made. */
class OpenRun {
  readonly idle: Array<(due: number) => void> = []
  readonly #backlog: Array<number> = []
  #taken = 0
  readonly #latencies: Float64Array
  #recorded = 0
  #outstanding = 0
  #produced = false
  #ended: () => void = () => {}
  next = 0
  wrong = 0

  constructor(capacity: number) {
    this.#latencies = new Float64Array(capacity)
  }

  /** The moment of a call that is due already, or `undefined` when the caller has to wait. */
  take(): number | undefined {
    if (this.#taken === this.#backlog.length) return this.#ending() ? -1 : undefined
    return this.#backlog[this.#taken++]
  }

  settle(due: number, ok: boolean): void {
    this.#latencies[this.#recorded++] = performance.now() - due
    if (!ok) this.wrong++
    this.#outstanding--
    if (this.#ending()) this.#ended()
  }

  /** Produces `rate` calls a second for `milliseconds`; resolves when the last one had its reply. */
  produce(options: OpenOptions): Promise<void> {
    const gap = 1000 / options.rate
    const start = performance.now()
    const count = Math.floor(options.milliseconds / gap)
    let produced = 0
    return new Promise((resolve) => {
      this.#ended = () => {
        this.#ended = () => {}
        for (const wake of this.idle.splice(0)) wake(-1)
        resolve()
      }
      const tick = () => {
        const now = performance.now()
        while (produced < count && start + produced * gap <= now) this.#due(start + produced++ * gap)
        if (produced < count) {
          if (options.pacing === "spin") setImmediate(tick)
          else setTimeout(tick, 1)
          return
        }
        this.#produced = true
        if (this.#ending()) this.#ended()
      }
      tick()
    })
  }

  /** Percentiles over all but the first fifth, in which the load builds up. */
  summary(): { readonly p50: number; readonly p99: number; readonly p999: number } {
    const steady = this.#latencies.slice(Math.floor(this.#recorded / 5), this.#recorded).sort()
    const at = (p: number) => steady[Math.min(steady.length - 1, Math.floor(steady.length * p))] ?? Number.NaN
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
  }

  get calls(): number {
    return this.#recorded
  }

  #due(moment: number): void {
    this.#outstanding++
    const wake = this.idle.pop()
    if (wake === undefined) this.#backlog.push(moment)
    else wake(moment)
  }

  #ending(): boolean {
    return this.#produced && this.#outstanding === 0
  }
}

const measureOpen = async (options: OpenOptions, callers: (run: OpenRun) => Promise<void>): Promise<OpenResult> => {
  const run = new OpenRun(Math.ceil((options.rate * options.milliseconds) / 1000) + 1)
  const cpu = process.cpuUsage()
  const start = performance.now()
  const ended = callers(run)
  await run.produce(options)
  const milliseconds = performance.now() - start
  const used = process.cpuUsage(cpu)
  await ended
  return { calls: run.calls, wrong: run.wrong, milliseconds, cpuMicros: used.user + used.system, ...run.summary() }
}

const times = <A>(count: number, f: (index: number) => A): Array<A> => Array.from({ length: count }, (_, i) => f(i))

/** Drives calls that return promises. */
export const promiseDriver = (calls: Calls<Promise<unknown>>): Driver => ({
  all: (workload, count) => Promise.all(times(count, (n) => workload.call(calls, n))),
  closed: (workload, callers, milliseconds) => {
    const run = new ClosedRun()
    const caller = async () => {
      while (!run.stopped) {
        const n = run.next++
        if (!workload.accept(await workload.call(calls, n), n)) run.wrong++
        run.done++
      }
    }
    return measureClosed(run, async () => {
      run.stopAfter(milliseconds)
      await Promise.all(times(callers, caller))
    })
  },
  open: (workload, options) =>
    measureOpen(options, async (run) => {
      const caller = async () => {
        for (;;) {
          const due = run.take() ?? (await new Promise<number>((resolve) => run.idle.push(resolve)))
          if (due < 0) return
          const n = run.next++
          run.settle(due, workload.accept(await workload.call(calls, n), n))
        }
      }
      await Promise.all(times(options.callers, caller))
    })
})

/** Drives calls that return effects; `run` supplies the services they need. */
export const effectDriver = <R>(
  calls: Calls<Effect.Effect<unknown, unknown, R>>,
  runPromise: <A>(effect: Effect.Effect<A, unknown, R>) => Promise<A>
): Driver => ({
  all: (workload, count) =>
    runPromise(
      Effect.all(
        times(count, (n) => workload.call(calls, n)),
        { concurrency: "unbounded" }
      )
    ),
  closed: (workload, callers, milliseconds) => {
    const run = new ClosedRun()
    const caller = () =>
      Effect.gen(function* () {
        while (!run.stopped) {
          const n = run.next++
          if (!workload.accept(yield* workload.call(calls, n), n)) run.wrong++
          run.done++
        }
      })
    return measureClosed(run, () => {
      run.stopAfter(milliseconds)
      return runPromise(Effect.all(times(callers, caller), { concurrency: "unbounded", discard: true }))
    })
  },
  open: (workload, options) =>
    measureOpen(options, (run) => {
      const wait = Effect.callback<number>((resume) => {
        run.idle.push((due) => resume(Effect.succeed(due)))
      })
      const caller = () =>
        Effect.gen(function* () {
          for (;;) {
            const due = run.take() ?? (yield* wait)
            if (due < 0) return
            const n = run.next++
            run.settle(due, workload.accept(yield* workload.call(calls, n), n))
          }
        })
      return runPromise(Effect.all(times(options.callers, caller), { concurrency: "unbounded", discard: true }))
    })
})
