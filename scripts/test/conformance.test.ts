import { assert, describe, it } from "@effect/vitest"
import * as Conformance from "../lib/conformance.ts"

type Test = readonly [fullName: string, status: string, relive?: unknown]
const reportOf = (...tests: ReadonlyArray<Test>) => ({
  testResults: [
    {
      name: "a.test.ts",
      status: "passed",
      assertionResults: tests.map(([fullName, status, relive]) => ({
        fullName,
        status,
        meta: relive === undefined ? {} : { relive }
      }))
    }
  ]
})
const stateOf = (id: string, area: string, ...tests: ReadonlyArray<Test>) =>
  Conformance.judgeAll([{ id, area }], [reportOf(...tests)])[0]?.state
const one = (...tests: ReadonlyArray<Test>) => stateOf("TIME-001", "timeouts", ...tests)

describe("the conformance page", () => {
  it("a passed test whose title has the id shows the behaviour", () => {
    assert.strictEqual(one(["TIME-001 a call times out", "passed"]), "as stated")
    assert.strictEqual(one(["deadlines (TIME-001) over TCP", "passed"]), "as stated")
  })

  it("the id is a whole word", () => {
    assert.strictEqual(one(["TIME-0012 x", "passed"]), "missing")
    assert.strictEqual(one(["XTIME-001 x", "passed"]), "missing")
    assert.strictEqual(one(["A-TIME-001 x", "passed"]), "missing")
  })

  it("every cell of a matrix has to pass", () => {
    const cells = (last: string) => one(["TIME-001 RESP2", "passed"], ["TIME-001 RESP3", last])
    assert.strictEqual(cells("passed"), "as stated")
    for (const state of ["failed", "skipped", "pending", "todo"]) assert.strictEqual(cells(state), "failing", state)
  })

  it("a departure needs a reason, and only the last two states go without a passed test", () => {
    for (const state of Conformance.declared) {
      const reason = "because"
      const isAdmitted = state === "overridden by this design" || state === "not applicable"
      assert.strictEqual(one(["TIME-001", "passed", { state, reason }]), state)
      assert.strictEqual(one(["TIME-001", "skipped", { state, reason }]), isAdmitted ? state : "failing", state)
      assert.strictEqual(one(["TIME-001", "failed", { state, reason }]), "failing", state)
      assert.strictEqual(one(["TIME-001", "passed", { state }]), state === "as stated" ? state : "failing", state)
    }
  })

  it("a declaration that names its id is about no other", () => {
    const relive = [{ id: "TIME-002", state: "better", reason: "because" }]
    const test: Test = ["TIME-001 TIME-002 x", "passed", relive]
    assert.strictEqual(one(test), "as stated")
    assert.strictEqual(stateOf("TIME-002", "timeouts", test), "better")
  })

  it("a word that is no state is an error", () => {
    assert.throws(() => one(["TIME-001", "passed", { state: "as-stated" }]), /is no state/)
  })

  it("what is out of scope is not open, unless a test of it fails", () => {
    assert.strictEqual(stateOf("SENT-001", "sentinel"), "later")
    assert.strictEqual(stateOf("SENT-001", "sentinel", ["SENT-001 x", "failed"]), "failing")
  })

  it("reads both kinds of rows", () => {
    assert.deepStrictEqual(Conformance.fromMarkdown("# X\n- **CLIENT-001** a\n- b **CLIENT-002**\n", "client"), [
      { id: "CLIENT-001", area: "client" }
    ])
    assert.deepStrictEqual(Conformance.fromJsonLines(`{"id":"A-1","area":"a","then":"x"}\n`), [
      { id: "A-1", area: "a" }
    ])
    assert.throws(() => Conformance.fromJsonLines(`{"id":"A-1"}\n`))
  })

  it("says the same whatever the order of the tests", () => {
    const tests: ReadonlyArray<Test> = [
      ["TIME-001 b", "passed", { state: "better", reason: "second" }],
      ["TIME-001 a", "passed", { state: "better", reason: "first" }],
      ["TIME-001 c", "passed"]
    ]
    const behaviours = [{ id: "TIME-001", area: "timeouts" }]
    const verdicts = [tests, tests.toReversed()].map((some) => Conformance.judgeAll(behaviours, [reportOf(...some)]))
    assert.deepStrictEqual(verdicts[0], verdicts[1])
    assert.deepStrictEqual(verdicts[0]?.[0]?.tests, ["TIME-001 a", "TIME-001 b", "TIME-001 c"])
  })

  it("keeps its tables whole", () => {
    const page = Conformance.toMarkdown([
      { id: "A-1", area: "a", tests: ["x | y"], state: "better", reason: "one\ntwo" }
    ])
    assert.include(page, "| A-1 | better | x \\| y | one two |")
  })
})
