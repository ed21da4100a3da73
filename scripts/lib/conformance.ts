/**
 * What the tests say about the behaviours this project promises.
 *
 * A behaviour is a row of `packages/core/test/fixtures/behaviours`. A test speaks for it by carrying its id in its title
 * (or in a title around it), and may say more in its `meta`: `{ relive: { state, reason, id? } }`, or a list of these.
 * Nothing else counts: neither fixtures nor comments.
 */
import type { Report } from "./testReport.ts"

/** A promised behaviour. */
export interface Behaviour {
  readonly id: string
  readonly area: string
}

/** The states that a test can declare of a behaviour. */
export const declared = ["as stated", "better", "overridden by this design", "not applicable"] as const
export type Declared = (typeof declared)[number]

/** `failing`: a test that carries the id did not pass. `later`: not in scope yet. */
export type State = Declared | "missing" | "failing" | "later"

/** The verdict on one behaviour. */
export interface Verdict extends Behaviour {
  readonly tests: ReadonlyArray<string>
  readonly state: State
  readonly reason: string
}

interface Declaration {
  readonly id: string | undefined
  readonly state: Declared
  readonly reason: string
}

interface Test {
  readonly name: string
  readonly status: string
  readonly declarations: ReadonlyArray<Declaration>
}

/** Rows of an area that comes with a later release. */
const laterAreas = ["sentinel"]

const isLater = ({ area }: Behaviour) => laterAreas.includes(area)
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** Rows as one JSON object per line: `id`, `area`, and the behaviour itself. */
export const fromJsonLines = (text: string): ReadonlyArray<Behaviour> =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line, index) => {
      const row: unknown = JSON.parse(line)
      if (isRecord(row) && typeof row.id === "string" && typeof row.area === "string") {
        return { id: row.id, area: row.area }
      }
      throw new Error(`line ${index + 1} of the behaviours has no id or no area`)
    })

/** Rows as a Markdown list whose items begin with a bold id. */
export const fromMarkdown = (text: string, area: string): ReadonlyArray<Behaviour> =>
  [...text.matchAll(/^- \*\*([A-Z]+-\d+)\*\*/gm)].map(([, id = ""]) => ({ id, area }))

const toDeclaration = (value: unknown): ReadonlyArray<Declaration> => {
  if (Array.isArray(value)) return value.flatMap(toDeclaration)
  if (!isRecord(value)) return []
  const state = declared.find((each) => each === value.state)
  if (state === undefined) throw new Error(`"${String(value.state)}" is no state; there are: ${declared.join(", ")}`)
  return [
    {
      id: typeof value.id === "string" ? value.id : undefined,
      state,
      reason: typeof value.reason === "string" ? value.reason.trim() : ""
    }
  ]
}

const testsOf = (reports: ReadonlyArray<Report>): ReadonlyArray<Test> =>
  reports
    .flatMap(({ testResults }) => testResults)
    .flatMap(({ assertionResults }) => assertionResults)
    .map(({ fullName, status, meta }) => ({
      name: fullName.trim(),
      status,
      declarations: isRecord(meta) ? toDeclaration(meta.relive) : []
    }))

const carries = (id: string) => {
  const pattern = new RegExp(`(?<![\\w-])${id}(?!\\d)`)
  return ({ name }: Test) => pattern.test(name)
}

/** The last two states need no passed test, but a reason; `better` needs both. */
const needsTest = (state: Declared) => state === "as stated" || state === "better"

/** The one that departs furthest from the row speaks for all cells of a matrix. */
const byDeparture = (a: Declaration, b: Declaration) =>
  declared.indexOf(b.state) - declared.indexOf(a.state) || (a.reason < b.reason ? -1 : 1)

const judge = (behaviour: Behaviour, all: ReadonlyArray<Test>): Verdict => {
  const tests = all.filter(carries(behaviour.id))
  // Sorted: a report lists files in the order in which they ended.
  const names = [...new Set(tests.map(({ name }) => name))].toSorted()
  const verdict = (state: State, reason = ""): Verdict => ({ ...behaviour, tests: names, state, reason })

  if (tests.length === 0) return isLater(behaviour) ? verdict("later") : verdict("missing")
  const [declaration] = tests
    .flatMap(({ declarations }) => declarations)
    .filter(({ id }) => id === undefined || id === behaviour.id)
    .toSorted(byDeparture)
  const state = declaration?.state ?? "as stated"
  const reason = declaration?.reason ?? ""
  if (state !== "as stated" && reason === "") return verdict("failing", `declared ${state} without a reason`)
  const bad = tests.filter(({ status }) => status === "failed" || (needsTest(state) && status !== "passed"))
  if (bad.length > 0) return verdict("failing", `${bad.length} of ${tests.length} tests did not pass`)
  return verdict(state, reason)
}

/** The verdict on each behaviour, in the order given. */
export const judgeAll = (
  behaviours: ReadonlyArray<Behaviour>,
  reports: ReadonlyArray<Report>
): ReadonlyArray<Verdict> => {
  const tests = testsOf(reports)
  return behaviours.map((behaviour) => judge(behaviour, tests))
}

/** Whether this verdict keeps a release from going out. */
export const isOpen = ({ state }: Verdict): boolean => state === "missing" || state === "failing"

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ")
const row = (cells: ReadonlyArray<string>) => `| ${cells.map(cell).join(" | ")} |`

/** How many tests a table names before it only counts them. */
const namedTests = 3

const testCell = (tests: ReadonlyArray<string>) =>
  tests.length <= namedTests
    ? tests.join("<br>")
    : `${tests.slice(0, namedTests).join("<br>")}<br>and ${tests.length - namedTests} more`

/** The verdicts as a page. */
export const toMarkdown = (verdicts: ReadonlyArray<Verdict>): string => {
  const areas = Map.groupBy(verdicts, ({ area }) => area)
  const states = [...declared, "later", "missing", "failing"] as const
  const count = (some: ReadonlyArray<Verdict>, state: State) => some.filter((each) => each.state === state).length
  const summary = [...areas].map(([area, some]) => row([area, ...states.map((state) => String(count(some, state)))]))
  const total = row(["all", ...states.map((state) => String(count(verdicts, state)))])
  const tables = [...areas].flatMap(([area, some]) => [
    `## ${area}`,
    "",
    row(["id", "state", "test", "reason"]),
    "|---|---|---|---|",
    ...some.map(({ id, state, tests, reason }) => row([id, state, testCell(tests), reason])),
    ""
  ])
  return [
    "# Conformance",
    "",
    "Each behaviour this project promises, with the test that shows it. Written by `npm run conformance:docs` from the",
    "reports of `npm test` and `npm run test:long`; the rows are in `packages/core/test/fixtures/behaviours`.",
    "",
    row(["area", ...states]),
    `|---|${states.map(() => "---:|").join("")}`,
    ...summary,
    total,
    "",
    ...tables
  ].join("\n")
}
