/**
 * What clients do in failovers under real Sentinels: `npm run -s bench -- --scenario failover`. `--schedules kill,pause` and
 * `--clients relive,ioredis,node-redis` choose; `--rounds n` repeats; `--json` gives the result alone.
 *
 * Sixteen writers push unique values, one worker pops jobs, and the lists of the final primary are read back. *Agreed* is the
 * moment at which two of three Sentinels name the new primary. All clients with what their documentation asks for with Sentinels.
 */
import { RedisSentinel, type RedisServer } from "@relive/testing"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { subjects, type Open, type Subject } from "./failoverClients.ts"
import { epochOf, run, schedules, type Schedule } from "./failoverSchedules.ts"

const WRITERS = 16
/** How long is written before the fault, and after the group is whole again. */
const BEFORE_MILLIS = 1_000
const AFTER_MILLIS = 2_500
/** A write that is acknowledged more than this after the Sentinels agreed, and is lost, is late. */
const LATE_MILLIS = 100
/** node-redis may ask a stale Sentinel for ever. */
const OPEN_MILLIS = 15_000

interface Acknowledged {
  readonly id: string
  readonly at: number
}

interface Ledger {
  readonly acknowledged: Array<Acknowledged>
  readonly errors: Map<string, number>
  readonly jobs: Array<number>
}

/** Writes and works until it is told to end. */
const load = (
  subject: Subject,
  moves: boolean,
  ledger: Ledger,
  isOver: () => boolean
): ReadonlyArray<Promise<void>> => {
  const writer = async (index: number): Promise<void> => {
    for (let n = 0; !isOver(); n++) {
      const id = `${index}-${n}`
      try {
        await subject.send(["RPUSH", `writes:${index}`, id])
        ledger.acknowledged.push({ id, at: performance.now() })
      } catch (error) {
        const kind = subject.kindOf(error)
        ledger.errors.set(kind, (ledger.errors.get(kind) ?? 0) + 1)
        await sleep(5)
      }
    }
  }
  const producer = async (): Promise<void> => {
    for (let n = 0; !isOver(); n++) {
      await subject.send(["LPUSH", "jobs", String(n)]).catch(() => {})
      await sleep(10)
    }
  }
  const worker = async (): Promise<void> => {
    while (!isOver()) {
      const job = await (moves ? subject.move("jobs", "done") : subject.pop("jobs")).catch(() => sleep(5))
      if (job !== undefined && job !== null) ledger.jobs.push(performance.now())
    }
  }
  return [...Array.from({ length: WRITERS }, (_, index) => writer(index)), producer(), worker()]
}

/** The figures of one run, in milliseconds and counts. */
interface Outcome {
  /**
   * From the agreement to the end of the longest time without an acknowledged write that the final primary has, of those that had
   * begun by then: negative when the client was back before it.
   */
  readonly back: number
  /** The longest time without any acknowledged write. */
  readonly gap: number
  /** From the agreement to the first job that was popped after the fault. */
  readonly worker: number
  /** From the agreement to the last acknowledgement of a write that is lost; 0 when there is none after it. */
  readonly stayed: number
  readonly lost: number
  readonly late: number
  readonly doubles: number
  readonly errors: Readonly<Record<string, number>>
}

const stored = async (server: RedisServer.RedisServer): Promise<ReadonlyMap<string, number>> => {
  const counts = new Map<string, number>()
  for (let index = 0; index < WRITERS; index++) {
    const values = await run(server.command(["LRANGE", `writes:${index}`, 0, -1]))
    for (const value of Array.isArray(values) ? values : []) {
      counts.set(String(value), (counts.get(String(value)) ?? 0) + 1)
    }
  }
  return counts
}

const least = (values: ReadonlyArray<number>): number => {
  let smallest = Infinity
  for (const value of values) smallest = Math.min(smallest, value)
  return smallest
}

/** The longest time between two of them that ends after `from` and begins before `to`, and its end: none at all has no end. */
const longestGap = (times: ReadonlyArray<number>, from: number, to: number) => {
  let gap = { millis: 0, end: Infinity }
  for (let i = 1; i < times.length; i++) {
    const end = times[i] ?? Infinity
    const start = times[i - 1] ?? end
    const millis = end - start
    if (end > from && start <= to && millis > gap.millis) gap = { millis, end }
  }
  return gap
}

/** With another group than before, what was written before the fault is not looked for. */
const judge = (
  ledger: Ledger,
  isSameGroup: boolean,
  has: ReadonlyMap<string, number>,
  faultAt: number,
  agreedAt: number
): Outcome => {
  const lost = ledger.acknowledged.filter(({ at, id }) => !has.has(id) && (isSameGroup || at > agreedAt))
  const kept = ledger.acknowledged.filter(({ id }) => has.has(id)).map(({ at }) => at)
  // Where all that was written before is gone.
  const gap = longestGap(kept.some((at) => at < faultAt) ? kept : [faultAt, ...kept], faultAt, agreedAt)
  const job = least(ledger.jobs.filter((at) => at > agreedAt))
  const stayed = -least([...lost.map(({ at }) => -at), -agreedAt]) - agreedAt
  return {
    back: gap.end - agreedAt,
    gap: longestGap(
      ledger.acknowledged.map(({ at }) => at),
      faultAt,
      Infinity
    ).millis,
    worker: job - agreedAt,
    stayed,
    lost: lost.length,
    late: lost.filter(({ at }) => at > agreedAt + LATE_MILLIS).length,
    doubles: [...has.values()].filter((count) => count > 1).length,
    errors: Object.fromEntries(ledger.errors)
  }
}

/** The client could not connect to a group that is whole: there is nothing to measure. */
class NotOpen extends Error {}

/** The configurations of the Sentinels: at the start, when they agreed, and at the end. */
type Epochs = readonly [start: number, agreed: number, end: number]

/** Without an outcome when the Sentinels switched once more meanwhile, as on a machine that has no time for their pings. */
const measure = async (
  open: Open,
  schedule: Schedule
): Promise<{ readonly epochs: Epochs; readonly outcome: Outcome | undefined }> => {
  const scope = Scope.makeUnsafe()
  try {
    const group = await run(Scope.provide(RedisSentinel.make({ replicas: 2, ...schedule.options }), scope))
    await schedule.prepare?.(group)
    const sentinels = (await schedule.sentinels?.(group, scope)) ?? group.sentinels
    const subject = await Promise.race([open(sentinels, group.group), sleep(OPEN_MILLIS, undefined)]).catch(
      (error: unknown) => {
        throw new NotOpen("the client could not connect", { cause: error })
      }
    )
    if (subject === undefined) throw new NotOpen(`the client did not connect within ${OPEN_MILLIS} ms`)
    const ledger: Ledger = { acknowledged: [], errors: new Map(), jobs: [] }
    let over = false
    const working = load(subject, schedule.moves === true, ledger, () => over)
    await sleep(BEFORE_MILLIS)
    const start = await epochOf(group)
    const faultAt = performance.now()
    const { at, group: judged = group } = await schedule.fault(group, scope)
    const agreed = await epochOf(judged)
    await sleep(AFTER_MILLIS)
    over = true
    await Promise.race([Promise.all(working), sleep(8_000)])
    const final = await run(judged.currentPrimary)
    await Promise.race([subject.close(), sleep(2_000)])
    const epochs: Epochs = [start, agreed, await epochOf(judged)]
    if (epochs[2] !== agreed) return { epochs, outcome: undefined }
    return { epochs, outcome: judge(ledger, judged === group, await stored(final), faultAt, at) }
  } finally {
    await run(Scope.close(scope, Exit.void))
  }
}

// ------------------------------------------------------------------------------------------------------------- report

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

const shown = (millis: number): string => (Number.isFinite(millis) ? millis.toFixed(0) : "never")

const line = (schedule: string, client: string, outcomes: ReadonlyArray<Outcome>): string => {
  if (outcomes.length === 0) return `${schedule.padEnd(10)}${client.padEnd(12)}| nothing was measured`
  const of = (pick: (outcome: Outcome) => number) => outcomes.map(pick)
  const errors = JSON.stringify(Object.assign({}, ...outcomes.map(({ errors: each }) => each)))
  return [
    `${schedule.padEnd(10)}${client.padEnd(12)}`,
    `back ${of(({ back }) => back)
      .map(shown)
      .join(", ")} ms (median ${shown(median(of(({ back }) => back)))})`,
    `gap ${shown(median(of(({ gap }) => gap)))} ms`,
    `worker ${shown(median(of(({ worker }) => worker)))} ms`,
    `stayed ${shown(median(of(({ stayed }) => stayed)))} ms`,
    `lost ${median(of(({ lost }) => lost))}, late ${of(({ late }) => late).join("+")}`,
    `twice ${of(({ doubles }) => doubles).join("+")}`,
    `errors ${errors}`
  ].join(" | ")
}

const list = (text: string | undefined, all: ReadonlyArray<string>): ReadonlyArray<string> =>
  text === undefined ? all : text.split(",").filter((name) => all.includes(name))

/** Runs it, by the arguments after `--scenario failover`. */
export const failover = async (args: ReadonlyArray<string>): Promise<void> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      schedules: { type: "string" },
      clients: { type: "string" },
      rounds: { type: "string", default: "3" },
      json: { type: "boolean", default: false }
    }
  })
  const result: Record<string, Record<string, ReadonlyArray<Outcome>>> = {}
  for (const name of list(values.schedules, Object.keys(schedules))) {
    const schedule = schedules[name]
    for (const client of list(values.clients, Object.keys(subjects))) {
      const open = subjects[client]
      if (schedule === undefined || open === undefined) continue
      const outcomes: Array<Outcome> = []
      for (let tries = 0; outcomes.length < Number(values.rounds) && tries < 3 * Number(values.rounds); tries++) {
        const measured = await measure(open, schedule).catch((error: unknown) => {
          if (error instanceof NotOpen) return error
          throw error
        })
        if (measured instanceof NotOpen) {
          process.stderr.write(`  ${name} ${client}: ${measured.message} ${String(measured.cause ?? "")}\n`)
          break
        }
        const { epochs, outcome } = measured
        if (outcome !== undefined) outcomes.push(outcome)
        const [start, agreed, end] = epochs
        const said = `epoch ${start}, then ${agreed}`
        const again =
          outcome === undefined ? `, at the end ${end}: the Sentinels switched again, the round is repeated` : ""
        if (!values.json) process.stderr.write(`  ${name} ${client}: ${said}${again}\n`)
      }
      ;(result[name] ??= {})[client] = outcomes
      if (!values.json) process.stderr.write(`${line(name, client, outcomes)}\n`)
    }
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
