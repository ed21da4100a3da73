import { assert, describe, it } from "@effect/vitest"
import * as TestReport from "../lib/testReport.ts"

const file = (status: string, tests: ReadonlyArray<string>, message = ""): TestReport.TestFile => ({
  name: "a.test.ts",
  status,
  message,
  assertionResults: tests.map((state, index) => ({ fullName: `test ${index}`, status: state }))
})
const ended = (code: number | null, rest: Partial<TestReport.Ended> = {}): TestReport.Ended => ({
  code,
  signal: null,
  leftBehind: [],
  ...rest
})
const lineOf = (files: ReadonlyArray<TestReport.TestFile>, how: TestReport.Ended) =>
  TestReport.line(TestReport.summarize({ testResults: files }, how))

describe("the line a test run ends with", () => {
  it("counts tests", () => {
    assert.strictEqual(lineOf([file("passed", ["passed", "passed"])], ended(0)), "2 passed, 0 failed")
    assert.strictEqual(lineOf([file("failed", ["passed", "failed"])], ended(1)), "1 passed, 1 failed")
  })

  it("names skipped ones, whatever the runner calls them", () => {
    const states = ["passed", "skipped", "pending", "todo", "disabled"]
    assert.strictEqual(lineOf([file("passed", states)], ended(0)), "1 passed, 0 failed, 4 skipped")
  })

  it("a file that does not load is a failure", () => {
    const files = [file("passed", ["passed"]), file("failed", [], "\nCannot find module")]
    const summary = TestReport.summarize({ testResults: files }, ended(1))
    assert.strictEqual(TestReport.line(summary), "1 passed, 1 failed")
    assert.deepStrictEqual(summary.problems, ["a.test.ts: Cannot find module"])
  })

  it("a failing hook after passed tests is a failure", () => {
    assert.strictEqual(lineOf([file("failed", ["passed"], "afterAll")], ended(1)), "1 passed, 1 failed")
  })

  it("an exit code without a failed test is a failure", () => {
    assert.strictEqual(lineOf([file("passed", ["passed"])], ended(1)), "1 passed, 1 failed")
    assert.strictEqual(lineOf([file("passed", ["passed"])], ended(null, { signal: "SIGSEGV" })), "1 passed, 1 failed")
  })

  it("no test at all is a failure", () => {
    assert.strictEqual(lineOf([], ended(0)), "0 passed, 1 failed")
    assert.strictEqual(lineOf([file("passed", ["skipped"])], ended(0)), "0 passed, 1 failed, 1 skipped")
  })

  it("no report is one failure, however the runner ended", () => {
    for (const code of [0, 1]) {
      assert.strictEqual(TestReport.line(TestReport.summarize(undefined, ended(code))), "0 passed, 1 failed")
    }
  })

  it("a process left behind is a failure", () => {
    const how = ended(0, { leftBehind: ["redis-server", "node"] })
    assert.strictEqual(lineOf([file("passed", ["passed"])], how), "1 passed, 2 failed")
  })

  it("takes nothing else for a report", () => {
    for (const text of [
      "",
      "{",
      "null",
      "{}",
      `{"testResults":[{}]}`,
      `{"testResults":[{"name":"a","status":"passed"}]}`
    ]) {
      assert.isUndefined(TestReport.parse(text), text)
    }
  })
})
