/**
 * A ledger of calls: what a program submitted, how each call settled, and what the server really executed. From these
 * three it decides the laws that a client has to keep, whatever client it is: it takes plain records and knows no client.
 *
 * Each call gets an id. A write carries its id to the server, for instance as `RPUSH log <id>`, so that the server's own
 * data tell how often it was executed; the server should run with `appendOnly`, or a crash loses what was acknowledged.
 *
 * | law | broken by a call that |
 * |---|---|
 * | `wrongReplies` | got a reply it does not accept, or an error reply though it was executed |
 * | `executedThoughUnsent` | failed as unsent, but was executed |
 * | `executedTwice` | was executed more than once, without having asked for that |
 * | `lostAcknowledged` | was acknowledged, but never executed |
 * | `unsettled` | was never settled |
 * | `settledTwice` | was settled more than once |
 * | `executedUnknown` | was never submitted, but executed (a garbled id) |
 *
 * It takes about a microsecond and a few bytes per call, for soaks of many minutes.
 *
 * **Example** (A client that loses what it acknowledged)
 *
 * ```ts
 * import { Ledger } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const ledger = yield* Ledger.make
 *   const first = yield* ledger.submit({ kind: "rpush", effect: "write" })
 *   const second = yield* ledger.submit({ kind: "rpush", effect: "write" })
 *   yield* ledger.settle(first, { _tag: "Acknowledged", reply: 1 })
 *   yield* ledger.settle(second, { _tag: "Failed", delivery: "unknown" })
 *   yield* ledger.executed(second)
 *   const report = yield* ledger.report
 *   return [report.lostAcknowledged, report.executedTwice, Ledger.isClean(report)]
 * })
 *
 * await Effect.runPromise(program) // => [1, 0, false]
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { CallTable, state, type State } from "./internal/callTable.ts"
import { now } from "./internal/realTime.ts"
import type { RedisServer, RedisServerError, Reply } from "./RedisServer.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A call that is about to be made. Of a pipeline or a transaction each command is a call.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  /** The kind of call, for the counts: `get`, `pipeline`, … At most 255 kinds. */
  readonly kind: string
  /** Whether the server will show its execution. A `read` is only checked for its reply and for being settled. */
  readonly effect: "write" | "read"
  /** The keys it touches, to be shown with a violation. */
  readonly keys?: ReadonlyArray<string> | undefined
  /** Whether a reply can be this call's own. Default: every reply. */
  readonly accepts?: ((reply: unknown, id: number) => boolean) | undefined
  /** The caller has opted in to more than one execution. Default: false. */
  readonly mayRepeat?: boolean | undefined
}

/**
 * The way in which a call settled: with a reply; with an error reply of the server, which says that it did nothing; with a
 * failure that says whether the call can have reached the server; or by interruption, which says so where the client can tell.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Acknowledged"; readonly reply: unknown }
  | { readonly _tag: "Refused" }
  | { readonly _tag: "Failed"; readonly delivery: "unsent" | "unknown" }
  | { readonly _tag: "Interrupted"; readonly delivery?: "unsent" | "unknown" | undefined }

/**
 * The laws, by the names of their counts in a `Report`.
 *
 * @since 0.1.0
 * @category models
 */
export type Law =
  | "wrongReplies"
  | "executedThoughUnsent"
  | "executedTwice"
  | "lostAcknowledged"
  | "unsettled"
  | "settledTwice"
  | "executedUnknown"

/**
 * One broken law, with what the ledger still knows of the call. Times are milliseconds since the ledger was made; those
 * of calls more than a million back are gone.
 *
 * @since 0.1.0
 * @category models
 */
export interface Violation {
  readonly law: Law
  readonly id: number
  readonly kind?: string | undefined
  readonly keys?: ReadonlyArray<string> | undefined
  readonly outcome?: string | undefined
  readonly executed?: number | undefined
  readonly submittedAtMillis?: number | undefined
  readonly settledAtMillis?: number | undefined
}

/**
 * The counts of how the calls of one kind settled.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counts {
  readonly submitted: number
  readonly acknowledged: number
  readonly refused: number
  readonly unsent: number
  readonly unknown: number
  readonly interrupted: number
}

/**
 * The verdict: all counts, the broken laws among them, and the first violations of each.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report extends Counts, Readonly<Record<Law, number>> {
  readonly byKind: Readonly<Record<string, Counts>>
  readonly violations: ReadonlyArray<Violation>
}

/**
 * Where writes leave their ids at the server: in lists (`RPUSH log <id>`, also `<id>:payload`), as members of sets, or as
 * fields of hashes with counts (`HINCRBY counts <id> 1`). A set cannot show that a call was executed twice.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sources {
  readonly lists?: ReadonlyArray<string> | undefined
  readonly sets?: ReadonlyArray<string> | undefined
  readonly hashes?: ReadonlyArray<string> | undefined
}

/**
 * A ledger.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ledger {
  /** Records a call before it is made, and gives its id: 0, 1, 2, … */
  readonly submit: (call: Call) => Effect.Effect<number>
  /** Records how a call settled. */
  readonly settle: (id: number, outcome: Outcome) => Effect.Effect<void>
  /**
   * Makes a call with `run` between `submit` and `settle`, whatever its exit: `outcome` tells what its errors mean, a
   * defect counts as `unknown`, an interruption as `Interrupted`.
   */
  readonly track: <A, E, R>(
    call: Call,
    run: (id: number) => Effect.Effect<A, E, R>,
    outcome: (error: E) => Outcome
  ) => Effect.Effect<A, E, R>
  /** Records that the server executed a call, once or `times` times. */
  readonly executed: (id: number, times?: number) => Effect.Effect<void>
  /**
   * Reads from the server what was executed, instead of what was recorded before. Call it when all calls have settled
   * and no connection of the client is left.
   */
  readonly collect: (server: RedisServer, sources: Sources) => Effect.Effect<void, RedisServerError>
  /** The number of calls that wait to be settled. */
  readonly pending: Effect.Effect<number>
  /** Decides the laws. What is pending counts as unsettled. */
  readonly report: Effect.Effect<Report>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const Ledger = Context.Service<Ledger>("@relive/testing/Ledger")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * An empty ledger.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Ledger> = Effect.sync(() => new LedgerImpl())

/**
 * An empty ledger as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Ledger> = Layer.effect(Ledger, make)

/**
 * All laws.
 *
 * @since 0.1.0
 * @category constants
 */
export const laws: ReadonlyArray<Law> = [
  "wrongReplies",
  "executedThoughUnsent",
  "executedTwice",
  "lostAcknowledged",
  "unsettled",
  "settledTwice",
  "executedUnknown"
]

/**
 * Whether no law was broken.
 *
 * @since 0.1.0
 * @category guards
 */
export const isClean = (report: Report): boolean => laws.every((law) => report[law] === 0)

// -----------------------------------------------------------------------------
// The ledger
// -----------------------------------------------------------------------------

const SHOWN_PER_LAW = 20
const PAGE_SIZE = 10_000

/** The data that is only needed until a call settles. */
type Pending = Pick<Call, "accepts" | "keys">

class LedgerImpl implements Ledger {
  private readonly startedAt = now()
  private readonly calls = new CallTable()
  private readonly kindNames: Array<string> = []
  private readonly kindNumbers = new Map<string, number>()
  private readonly waiting = new Map<number, Pending>()
  /** Broken laws that are seen at once; the others follow from the table. */
  private readonly seen = new Findings()
  private strangers: Findings = new Findings()

  readonly submit = (call: Call): Effect.Effect<number> => Effect.sync(() => this.open(call))

  readonly settle = (id: number, outcome: Outcome): Effect.Effect<void> => Effect.sync(() => this.close(id, outcome))

  readonly track = <A, E, R>(
    call: Call,
    run: (id: number) => Effect.Effect<A, E, R>,
    outcome: (error: E) => Outcome
  ): Effect.Effect<A, E, R> =>
    // No interruption may come between the two records.
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const id = this.open(call)
        return Effect.onExit(restore(Effect.suspend(() => run(id))), (exit) =>
          Effect.sync(() => this.close(id, outcomeOf(exit, outcome)))
        )
      })
    )

  readonly executed = (id: number, times = 1): Effect.Effect<void> => Effect.sync(() => this.execute(id, times))

  readonly collect = (server: RedisServer, sources: Sources): Effect.Effect<void, RedisServerError> =>
    Effect.suspend(() => {
      this.calls.forgetExecutions()
      this.strangers = new Findings()
      return Effect.all(
        [
          Effect.forEach(sources.lists ?? [], (key) => this.collectList(server, key), { discard: true }),
          Effect.forEach(sources.sets ?? [], (key) => this.collectScan(server, "SSCAN", key), { discard: true }),
          Effect.forEach(sources.hashes ?? [], (key) => this.collectScan(server, "HSCAN", key), { discard: true })
        ],
        { discard: true }
      )
    })

  readonly pending = Effect.sync(() => this.waiting.size)

  readonly report: Effect.Effect<Report> = Effect.sync(() => {
    const total = new Tally()
    const byKind = this.kindNames.map(() => new Tally())
    const findings = new Findings(this.seen, this.strangers)
    for (let id = 0; id < this.calls.size; id++) {
      const row = this.calls.row(id)
      total.add(row.state)
      byKind[row.kind]?.add(row.state)
      for (const law of brokenLaws(row)) findings.add(law, () => this.violation(law, id))
    }
    return {
      ...total.counts,
      ...findings.counts,
      byKind: Object.fromEntries(
        this.kindNames.map((kind, index) => [kind, byKind[index]?.counts ?? new Tally().counts])
      ),
      violations: findings.violations
    }
  })

  private open(call: Call): number {
    const isWrite = call.effect === "write"
    const id = this.calls.add(this.kindNumber(call.kind), isWrite, call.mayRepeat === true, this.elapsed())
    this.waiting.set(id, call)
    return id
  }

  private close(id: number, outcome: Outcome): void {
    const call = this.waiting.get(id)
    if (!this.calls.settle(id, stateOf(outcome), this.elapsed())) {
      return this.seen.add("settledTwice", () => this.violation("settledTwice", id))
    }
    this.waiting.delete(id)
    if (outcome._tag !== "Acknowledged" || call?.accepts === undefined || call.accepts(outcome.reply, id)) return
    this.seen.add("wrongReplies", () => ({ ...this.violation("wrongReplies", id), keys: call.keys }))
  }

  private execute(id: number, times: number): void {
    if (this.calls.execute(id, times)) return
    this.strangers.add("executedUnknown", () => ({ law: "executedUnknown", id, executed: times }))
  }

  private elapsed(): number {
    return now() - this.startedAt
  }

  private kindNumber(kind: string): number {
    const known = this.kindNumbers.get(kind)
    if (known !== undefined) return known
    const number = this.kindNames.push(kind) - 1
    if (number > 255) throw new Error("Ledger: more than 256 kinds of calls")
    this.kindNumbers.set(kind, number)
    return number
  }

  private violation(law: Law, id: number): Violation {
    const row = this.calls.row(id)
    return {
      law,
      id,
      kind: this.kindNames[row.kind],
      keys: this.waiting.get(id)?.keys,
      outcome: stateNames[row.state],
      executed: row.executed,
      submittedAtMillis: row.submittedAt,
      settledAtMillis: row.settledAt
    }
  }

  private collectList(server: RedisServer, key: string): Effect.Effect<void, RedisServerError> {
    const page = (start: number): Effect.Effect<void, RedisServerError> =>
      Effect.flatMap(server.command(["LRANGE", key, start, start + PAGE_SIZE - 1]), (reply) => {
        const elements = Array.isArray(reply) ? reply : []
        for (const element of elements) this.execute(idOf(element), 1)
        return elements.length < PAGE_SIZE ? Effect.void : page(start + PAGE_SIZE)
      })
    return page(0)
  }

  /** `SCAN` may give an element twice when its table grows or shrinks meanwhile: hence the set of what was given. */
  private collectScan(
    server: RedisServer,
    command: "SSCAN" | "HSCAN",
    key: string
  ): Effect.Effect<void, RedisServerError> {
    const given = new Set<number>()
    const step = command === "HSCAN" ? 2 : 1
    const page = (cursor: Reply): Effect.Effect<void, RedisServerError> =>
      Effect.flatMap(server.command([command, key, String(cursor), "COUNT", PAGE_SIZE]), (reply) => {
        const [next = "0", elements = []]: ReadonlyArray<Reply> = Array.isArray(reply) ? reply : []
        const items: ReadonlyArray<Reply> = Array.isArray(elements) ? elements : []
        for (let index = 0; index < items.length; index += step) {
          const id = idOf(items[index])
          if (given.has(id)) continue
          given.add(id)
          this.execute(id, step === 2 ? Number(items[index + 1]) : 1)
        }
        return next === "0" ? Effect.void : page(next)
      })
    return page("0")
  }
}

/** The number at the start of an element; -1, which is no id, if there is none. */
const idOf = (element: Reply | undefined): number => {
  const id = /^\d+(?=:|$)/.exec(String(element))
  return id === null ? -1 : Number(id[0])
}

const stateOf = (outcome: Outcome): State => {
  switch (outcome._tag) {
    case "Acknowledged":
      return state.acknowledged
    case "Refused":
      return state.refused
    case "Failed":
      return outcome.delivery === "unsent" ? state.unsent : state.unknown
    case "Interrupted":
      return outcome.delivery === "unsent" ? state.unsent : state.interrupted
  }
}

const stateNames: Readonly<Record<State, string>> = {
  [state.absent]: "absent",
  [state.pending]: "pending",
  [state.acknowledged]: "acknowledged",
  [state.refused]: "refused",
  [state.unsent]: "unsent",
  [state.unknown]: "unknown",
  [state.interrupted]: "interrupted"
}

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>, outcome: (error: E) => Outcome): Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "Acknowledged", reply: exit.value }
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return outcome(failure.error)
  return Cause.hasInterruptsOnly(exit.cause) ? { _tag: "Interrupted" } : { _tag: "Failed", delivery: "unknown" }
}

/** The laws that the last state of a call breaks. */
const brokenLaws = (row: ReturnType<CallTable["row"]>): ReadonlyArray<Law> => {
  const broken: Array<Law> = []
  if (row.state === state.pending) broken.push("unsettled")
  if (!row.isWrite) return broken
  if (row.executed > 1 && !row.mayRepeat) broken.push("executedTwice")
  if (row.executed > 0 && row.state === state.unsent) broken.push("executedThoughUnsent")
  if (row.executed > 0 && row.state === state.refused) broken.push("wrongReplies")
  if (row.executed === 0 && row.state === state.acknowledged) broken.push("lostAcknowledged")
  return broken
}

/** Counts of broken laws, with the first few violations of each. */
class Findings {
  readonly counts: Record<Law, number> = {
    wrongReplies: 0,
    executedThoughUnsent: 0,
    executedTwice: 0,
    lostAcknowledged: 0,
    unsettled: 0,
    settledTwice: 0,
    executedUnknown: 0
  }
  readonly violations: Array<Violation> = []

  constructor(...others: ReadonlyArray<Findings>) {
    for (const other of others) {
      for (const law of laws) this.counts[law] += other.counts[law]
      this.violations.push(...other.violations)
    }
  }

  add(law: Law, violation: () => Violation): void {
    this.counts[law]++
    if (this.counts[law] <= SHOWN_PER_LAW) this.violations.push(violation())
  }
}

class Tally {
  private readonly byState = new Map<State, number>()
  private submitted = 0

  add(to: State): void {
    this.submitted++
    this.byState.set(to, (this.byState.get(to) ?? 0) + 1)
  }

  get counts(): Counts {
    const count = (of: State) => this.byState.get(of) ?? 0
    return {
      submitted: this.submitted,
      acknowledged: count(state.acknowledged),
      refused: count(state.refused),
      unsent: count(state.unsent),
      unknown: count(state.unknown),
      interrupted: count(state.interrupted)
    }
  }
}
