/** The verdict of a run: the line of JSON, the exit code, and the text to show when a law was broken. */
import type { Ledger } from "@relive/testing"
import { kinds as callKinds, type Finding, type Law } from "./Book.ts"
import type { History } from "./History.ts"
import { enough } from "./Settings.ts"

export { callKinds }

/** The fields of the JSON, in their order. */
export interface Report {
  readonly commands: number
  readonly faults: number
  readonly byKind: Readonly<Record<string, number>>
  readonly byFault: Readonly<Record<string, number>>
  readonly acknowledged: number
  readonly unsent: number
  readonly unknown: number
  readonly readsRepeated: number
  readonly wrongReplies: number
  readonly executedThoughUnsent: number
  readonly executedTwice: number
  readonly lostAcknowledged: number
  readonly unsettled: number
  readonly missedOutsideGap: number
  readonly deliveredTwice: number
  readonly leakedSockets: number
  readonly leakedTimers: number
  readonly leakedFibers: number
  readonly maxMailboxDepth: number
  readonly longestOutageMs: number
  readonly p99Ms: number
  readonly seed: number
}

/** The counts that must be 0. */
export const badCounts = [
  "wrongReplies",
  "executedThoughUnsent",
  "executedTwice",
  "lostAcknowledged",
  "unsettled",
  "missedOutsideGap",
  "deliveredTwice",
  "leakedSockets",
  "leakedTimers",
  "leakedFibers"
] as const satisfies ReadonlyArray<keyof Report>

/** Those of them that are not. */
export const broken = (report: Report): ReadonlyArray<string> =>
  badCounts.filter((name) => report[name] !== 0).map((name) => `${name} ${report[name]}`)

/** Why the run means too little, if it does. */
export const tooLittle = (report: Report, seconds: number): ReadonlyArray<string> => {
  const reasons: Array<string> = []
  const perSecond = (count: number): string => (count / seconds).toFixed(2)
  if (report.commands < enough.commandsPerSecond * seconds) {
    reasons.push(`${perSecond(report.commands)} commands a second, not ${enough.commandsPerSecond}`)
  }
  if (report.faults < enough.faultsPerSecond * seconds) {
    reasons.push(`${perSecond(report.faults)} faults a second, not ${enough.faultsPerSecond}`)
  }
  if (seconds < enough.longSeconds) return reasons
  for (const [kind, count] of Object.entries(report.byFault)) {
    if (count < enough.faultsPerKind) reasons.push(`${count} faults of the kind ${kind}, not ${enough.faultsPerKind}`)
  }
  for (const kind of callKinds) {
    const share = (report.byKind[kind] ?? 0) / report.commands
    if (share < enough.sharePerKind) reasons.push(`${(share * 100).toFixed(2)} % commands of the kind ${kind}, not 1 %`)
  }
  return reasons
}

/** The findings of the ledger, for a reader. */
export const findingsOf = (violations: ReadonlyArray<Ledger.Violation>): ReadonlyArray<Finding> =>
  violations.map((violation) => {
    const from = violation.submittedAtMillis ?? 0
    const to = violation.settledAtMillis ?? from
    const keys = violation.keys === undefined ? "" : ` on ${violation.keys.join(", ")}`
    return {
      law: lawOf(violation.law),
      what: `${violation.kind ?? "call"} #${violation.id}${keys}: ${violation.outcome ?? "never made"}, executed ${violation.executed ?? 0} times (made at ${from.toFixed(0)} ms, settled at ${to.toFixed(0)} ms)`,
      from,
      to,
      where: violation.kind?.split("@")[1],
      call: violation.id
    }
  })

/** The laws of the ledger that have no count of their own here are wrong replies. */
const lawOf = (law: Ledger.Law): Law => (law === "settledTwice" || law === "executedUnknown" ? "wrongReplies" : law)

const SHOWN_FINDINGS = 6
const AROUND_MILLIS = 300

/** The first of each law, and then the others: one law that breaks often must not hide another. */
const ofEachLawFirst = (findings: ReadonlyArray<Finding>): ReadonlyArray<Finding> => {
  const first = new Set(new Map(findings.toReversed().map((finding) => [finding.law, finding])).values())
  return [...findings.filter((finding) => first.has(finding)), ...findings.filter((finding) => !first.has(finding))]
}

/** The findings, each with the stretch of the history that it happened in. */
export const render = (findings: ReadonlyArray<Finding>, history: History): string =>
  ofEachLawFirst(findings)
    .slice(0, SHOWN_FINDINGS)
    .map(({ law, what, ...question }) => {
      const around = { ...question, from: question.from - AROUND_MILLIS, to: question.to + AROUND_MILLIS }
      return [`${law}: ${what}`, ...history.ask(around).map((line) => `  ${line}`)].join("\n")
    })
    .concat(findings.length > SHOWN_FINDINGS ? [`… and ${findings.length - SHOWN_FINDINGS} more findings`] : [])
    .join("\n\n")
