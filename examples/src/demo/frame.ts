/**
 * The view as text: pure functions from the state of the demo to lines of styled pieces. How they get to the
 * terminal is in `screen.ts`.
 */
import type { Status } from "@relive/core/RedisService"
import { ExitReason, type Supervisor } from "@relive/otp"
import type { Counts } from "./book.ts"
import type { Struck } from "./faults.ts"
import { recoveryText, type Settings } from "./settings.ts"

export type Style = "plain" | "bold" | "dim" | "good" | "bad" | "busy"

/** A piece of a line. */
export interface Piece {
  readonly text: string
  readonly style: Style
}

export type Line = ReadonlyArray<Piece>

/** The state of the demo at one moment. */
export interface Snapshot {
  readonly settings: Settings
  readonly elapsedMillis: number
  readonly tree: Supervisor.TreeNode
  readonly status: Status
  readonly counts: Readonly<Counts>
  readonly waiting: number
  /** Calls per second, now and in the last moments. */
  readonly rate: number
  readonly rates: ReadonlyArray<number>
  readonly struck: ReadonlyArray<Struck>
  readonly logs: ReadonlyArray<string>
}

const piece = (text: string, style: Style = "plain"): Piece => ({ text, style })

/** `12345` as `12 345`. */
export const grouped = (n: number): string => Math.round(n).toLocaleString("en-US").replaceAll(",", " ")

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const styleOf = (state: string): Style => {
  if (state === "running" || state === "ready") return "good"
  return state === "stopped" || state === "closed" ? "dim" : "busy"
}

// --- the tree --------------------------------------------------------------------------------------------------------

const columns = { name: 18, state: 12, generation: 5, restarts: 10, mailbox: 9 }

const cells = (name: string, state: Piece, numbers: ReadonlyArray<string>, last: string): Line => [
  piece(name.padEnd(columns.name)),
  { ...state, text: state.text.padEnd(columns.state) },
  piece((numbers[0] ?? "").padStart(columns.generation)),
  piece((numbers[1] ?? "").padStart(columns.restarts)),
  piece((numbers[2] ?? "").padStart(columns.mailbox)),
  piece(`   ${last}`, "dim")
]

const lastExit = ({ lastExit }: Supervisor.TreeNode): string =>
  lastExit === undefined ? "" : ExitReason.format(lastExit).replace(/^crash: SessionEnd: /, "crash: ")

const nodeLines = (node: Supervisor.TreeNode, indent: string, branch: string): ReadonlyArray<Line> => {
  const mailbox = node.mailboxDepth === undefined ? "" : grouped(node.mailboxDepth)
  const numbers = [grouped(node.generation), grouped(node.restarts), mailbox]
  const below = branch === "" ? "" : `${indent}${branch.startsWith("├") ? "│  " : "   "}`
  return [
    cells(`${indent}${branch}${node.id}`, piece(node.state, styleOf(node.state)), numbers, lastExit(node)),
    ...node.children.flatMap((child, index) =>
      nodeLines(child, below, index === node.children.length - 1 ? "└─ " : "├─ ")
    )
  ]
}

const treeLines = (tree: Supervisor.TreeNode): ReadonlyArray<Line> => [
  cells("process", piece("state"), ["gen", "restarts", "mailbox"], "last exit").map(({ text }) => piece(text, "dim")),
  ...nodeLines(tree, "", "")
]

// --- the numbers -----------------------------------------------------------------------------------------------------

const bars = "▁▂▃▄▅▆▇█"

const sparkline = (rates: ReadonlyArray<number>): string => {
  const highest = Math.max(1, ...rates)
  return rates.map((rate) => bars[Math.min(7, Math.floor((rate / highest) * 8))]).join("")
}

const ledger = ({ counts, waiting }: Snapshot): ReadonlyArray<readonly [string, number, Style]> => [
  ["sent", counts.sent, "plain"],
  ["acknowledged", counts.acknowledged, "plain"],
  ["failed unsent", counts.unsent, "plain"],
  ["failed unknown", counts.unknown, "plain"],
  ["wrong replies", counts.wrong, counts.wrong === 0 ? "good" : "bad"],
  ["reads failed", counts.readsFailed, counts.readsFailed === 0 ? "good" : "bad"],
  ["waiting", waiting, "plain"]
]

const ledgerLines = (snapshot: Snapshot): ReadonlyArray<Line> => {
  const entries = ledger(snapshot)
  const width = (title: string) => Math.max(title.length, 9) + 2
  return [
    entries.map(([title]) => piece(title.padEnd(width(title)), "dim")),
    entries.map(([title, count, style]) => piece(grouped(count).padEnd(width(title)), style))
  ]
}

const struckText = ({ downMillis, hit, name }: Struck): string => {
  const effect = !hit
    ? "missed: no ready session ended"
    : downMillis === undefined
      ? "the session has ended"
      : `ready again after ${grouped(downMillis)} ms`
  return `${name}: ${effect}`
}

const hits = (struck: ReadonlyArray<Struck>): number => struck.filter(({ hit }) => hit).length

// --- the whole -------------------------------------------------------------------------------------------------------

/** The text shown once, at the start. */
export const intro = (settings: Settings, url: string): ReadonlyArray<Line> => [
  [
    piece("Relive", "bold"),
    piece(
      `  a supervised connection to a real Redis at ${url}, broken ${settings.faults} times in ${settings.seconds} s`
    )
  ],
  [piece(recoveryText, "dim")]
]

/** The live view, at most `rows` lines. With more room it shows more of the faults and the log. */
export const frame = (snapshot: Snapshot, rows: number): ReadonlyArray<Line> => {
  const { elapsedMillis, logs, rate, rates, settings, status, struck, tree } = snapshot
  const fixed: ReadonlyArray<Line> = [
    [
      piece(`${seconds(elapsedMillis)} of ${settings.seconds} s   connection `),
      piece(status.state, styleOf(status.state)),
      piece(`   session ${status.sessions}   faults that hit a ready session ${hits(struck)}`)
    ],
    [],
    ...treeLines(tree),
    [],
    [piece(`calls per second ${grouped(rate).padStart(7)}  `), piece(sparkline(rates), "good")],
    ...ledgerLines(snapshot),
    []
  ]
  const room = Math.max(0, rows - fixed.length)
  const shownFaults = struck.slice(-Math.min(8, Math.ceil(room / 2)))
  const shownLogs = logs.slice(-Math.min(6, Math.max(0, room - shownFaults.length)))
  return [
    ...fixed,
    ...shownFaults.map((one) => [
      piece(`${seconds(one.at).padStart(6)}  ${struckText(one)}`, one.hit ? "plain" : "bad")
    ]),
    ...shownLogs.map((line) => [piece(line, "dim")])
  ].slice(0, rows)
}

/** The same in one line, for pipes. */
export const oneLine = (snapshot: Snapshot): Line => {
  const { elapsedMillis, rate, status } = snapshot
  const counts = ledger(snapshot).map(([title, count]) => `${title} ${grouped(count)}`)
  return [
    piece(
      `${seconds(elapsedMillis).padStart(6)}  ${status.state}, session ${status.sessions}, mailbox ${status.queued}, `
    ),
    piece(`${grouped(rate)} calls/s: ${counts.join(", ")}`)
  ]
}

/** One fault in a line, for pipes: told when it was done, and when it is over. */
export const struckLine = (struck: Struck): Line => [
  piece(`${seconds(struck.at + (struck.downMillis ?? 0)).padStart(6)}  ${struckText(struck)}`)
]
