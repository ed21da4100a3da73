/**
 * What vitest's JSON report and the way vitest ended say together.
 *
 * The report's own totals are not enough: a file that does not load counts there as no failed test, an unhandled
 * rejection leaves `success` true, and a filter that matches nothing is a success. Here each of them is a failure.
 */

/** One test of the report. `meta` is what the test set as `task.meta`. */
export interface Assertion {
  readonly fullName: string
  readonly status: string
  readonly meta?: unknown
}

/** One test file of the report. */
export interface TestFile {
  readonly name: string
  readonly status: string
  readonly message?: string | undefined
  readonly assertionResults: ReadonlyArray<Assertion>
}

/** The part of vitest's JSON report that is used here. */
export interface Report {
  readonly testResults: ReadonlyArray<TestFile>
}

/** How the vitest process ended, and the names of processes that outlived it. */
export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly leftBehind: ReadonlyArray<string>
}

/** The honest counts. `problems` explains each failure that is not a failed test. */
export interface Summary {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly problems: ReadonlyArray<string>
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const isAssertion = (value: unknown): value is Assertion =>
  isRecord(value) && typeof value.fullName === "string" && typeof value.status === "string"

const isTestFile = (value: unknown): value is TestFile =>
  isRecord(value) &&
  typeof value.name === "string" &&
  typeof value.status === "string" &&
  Array.isArray(value.assertionResults) &&
  value.assertionResults.every(isAssertion)

/** Reads a report; `undefined` when the text is not one. */
export const parse = (text: string): Report | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    if (!isRecord(value) || !Array.isArray(value.testResults) || !value.testResults.every(isTestFile)) return undefined
    return { testResults: value.testResults }
  } catch {
    return undefined
  }
}

/** The runner has words for a file that does not load, none for a hook that fails. */
const firstLine = (text: string | undefined) =>
  text?.split("\n").find((line) => line.trim() !== "") ?? "failed outside its tests (see above)"

/** A file can fail without a failed test: it did not load, or a hook around its tests failed. */
const brokenFile = (file: TestFile): ReadonlyArray<string> =>
  file.status === "passed" || file.assertionResults.some(({ status }) => status === "failed")
    ? []
    : file.status === "failed"
      ? [`${file.name}: ${firstLine(file.message)}`]
      : []

const describeEnd = ({ code, signal }: Ended) => (signal === null ? `exit code ${code}` : `signal ${signal}`)

/** Counts what happened. `report` is `undefined` when vitest left none. */
export const summarize = (report: Report | undefined, ended: Ended): Summary => {
  const files = report?.testResults ?? []
  const statuses = files.flatMap((file) => file.assertionResults.map(({ status }) => status))
  const passed = statuses.filter((status) => status === "passed").length
  const failedTests = statuses.filter((status) => status === "failed").length
  const skipped = statuses.length - passed - failedTests

  const problems = [...files.flatMap(brokenFile), ...ended.leftBehind.map((name) => `left a process behind: ${name}`)]
  const nothingFailed = () => failedTests + problems.length === 0
  if (report === undefined) problems.push(`the runner left no report (${describeEnd(ended)})`)
  if (nothingFailed() && ended.code !== 0) {
    problems.push(`the runner ended with ${describeEnd(ended)} though no test failed: an error outside the tests`)
  }
  if (nothingFailed() && passed === 0) problems.push("no test ran")
  return { passed, failed: failedTests + problems.length, skipped, problems }
}

/** The line a run ends with. */
export const line = ({ passed, failed, skipped }: Pick<Summary, "passed" | "failed" | "skipped">): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`
