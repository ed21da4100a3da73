/**
 * The end of the demo: what was promised, and what the server says. Nothing is assumed: every write carries an id, and the
 * lists and hashes on the server are read back, by a client that is not ours, after all connections of ours are closed.
 */
import type { Ledger, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type { Book, UnknownWrite } from "./book.ts"
import type { Struck } from "./faults.ts"
import { grouped, type Line } from "./frame.ts"
import type { Settings } from "./settings.ts"

/** One thing that must be so. */
interface Check {
  readonly ok: boolean
  readonly text: string
}

export interface Verdict {
  readonly ok: boolean
  readonly lines: ReadonlyArray<Line>
}

/** Asks the server whether a write has run. */
const probe = ({ id, key, kind }: UnknownWrite): ReadonlyArray<RedisServer.Argument> =>
  kind === "RPUSH" ? ["LPOS", key, id] : ["HGET", key, id]

/** The number of writes that failed as unknown and have run. */
const countRun = (server: RedisServer.RedisServer, writes: ReadonlyArray<UnknownWrite>) =>
  writes.length === 0
    ? Effect.succeed(0)
    : Effect.map(server.commands(writes.map(probe)), (replies) => replies.filter((reply) => reply !== null).length)

/** `no read failed`, `reads failed: 3`. */
const no = (count: number, what: string, plural: string): Check => ({
  ok: count === 0,
  text: count === 0 ? `no ${what}` : `${plural}: ${grouped(count)}`
})

const readsOf = (report: Ledger.Report) =>
  ["LINDEX", "HGET"].reduce(
    (sum, kind) => {
      const counts = report.byKind[kind]
      if (counts === undefined) return sum
      const failed = counts.refused + counts.unsent + counts.unknown + counts.interrupted
      return { submitted: sum.submitted + counts.submitted, failed: sum.failed + failed }
    },
    { submitted: 0, failed: 0 }
  )

const checksOf = (report: Ledger.Report, struck: ReadonlyArray<Struck>, settings: Settings): ReadonlyArray<Check> => {
  const hits = struck.filter(({ hit }) => hit).length
  const atLeast = (count: number, minimum: number, what: string): Check => ({
    ok: count >= minimum,
    text: `${grouped(count)} ${what} (at least ${grouped(minimum)})`
  })
  return [
    atLeast(report.submitted, settings.minimumCalls, "calls"),
    atLeast(hits, settings.minimumFaults, "faults that each ended a ready session"),
    no(report.unsettled + report.interrupted, "call without an end", "calls without an end"),
    no(report.settledTwice, "call settled twice", "calls settled twice"),
    no(report.wrongReplies, "wrong reply", "wrong replies"),
    no(report.refused, "command refused by the server", "commands refused by the server"),
    no(readsOf(report).failed, "read failed", "reads failed"),
    no(
      report.lostAcknowledged,
      "acknowledged write missing on the server",
      "acknowledged writes missing on the server"
    ),
    no(report.executedTwice, "write that ran twice", "writes that ran twice"),
    no(
      report.executedThoughUnsent,
      "write that ran though it failed as unsent",
      "writes that ran though they failed as unsent"
    ),
    no(report.executedUnknown, "write on the server that nobody made", "writes on the server that nobody made")
  ]
}

const numbersOf = (report: Ledger.Report, unknownWrites: number, run: number): ReadonlyArray<string> => {
  const reads = readsOf(report)
  const writes = report.submitted - reads.submitted
  const acknowledged = report.acknowledged - (reads.submitted - reads.failed)
  return [
    `reads           ${grouped(reads.submitted).padStart(9)}   ${grouped(reads.submitted - reads.failed)} answered`,
    `writes          ${grouped(writes).padStart(9)}   ${grouped(acknowledged)} acknowledged`,
    `failed unsent   ${grouped(report.unsent).padStart(9)}   ${grouped(report.executedThoughUnsent)} of them ran`,
    `failed unknown  ${grouped(report.unknown).padStart(9)}   of ${grouped(unknownWrites)} writes ${grouped(run)} had run, ` +
      `${grouped(unknownWrites - run)} had not`
  ]
}

const plain = (text: string): Line => [{ text, style: "plain" }]

const checkLine = ({ ok, text }: Check): Line => [
  { text: ok ? "  ok      " : "  BROKEN  ", style: ok ? "good" : "bad" },
  { text, style: ok ? "plain" : "bad" }
]

/** Reads everything back and decides. */
export const judge = Effect.fnUntraced(function* (
  settings: Settings,
  server: RedisServer.RedisServer,
  book: Book,
  struck: ReadonlyArray<Struck>
): Effect.fn.Return<Verdict, RedisServer.RedisServerError> {
  yield* book.ledger.collect(server, { lists: [...book.lists], hashes: [...book.hashes] })
  const report = yield* book.ledger.report
  const run = yield* countRun(server, book.unknownWrites)
  const checks = checksOf(report, struck, settings)
  const ok = checks.every((check) => check.ok)
  return {
    ok,
    lines: [
      [],
      [{ text: "What the ledger and the server's own data say", style: "bold" }],
      ...numbersOf(report, book.unknownWrites.length, run).map((text) => plain(`  ${text}`)),
      [],
      ...checks.map(checkLine),
      ...report.violations.slice(0, 10).map((violation) => plain(`          ${JSON.stringify(violation)}`)),
      [],
      [{ text: ok ? "All of it held." : "The demo has failed.", style: ok ? "good" : "bad" }]
    ]
  }
})
