/**
 * The conformance cases, and the runner's honesty: a wrong expectation must fail.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { checkCase, parseCase } from "../respCases.ts"

const file = fileURLToPath(new URL("../fixtures/resp/cases.jsonl", import.meta.url))
const runner = fileURLToPath(new URL("../../conformance/resp.ts", import.meta.url))

const lines = readFileSync(file, "utf8")
  .split("\n")
  .filter((line) => line !== "")

/** What the runner finds wrong with a case; `undefined` when nothing is. */
const problemOf = (line: string): string | undefined => {
  const parsed = parseCase(line, 1)
  return typeof parsed === "string" ? parsed : checkCase(parsed)
}

const caseOf = (wire: string, fields: object): string =>
  JSON.stringify({ id: "X", hex: Buffer.from(wire, "latin1").toString("hex"), ...fields })

describe("the conformance cases", () => {
  for (const line of lines) {
    it(`${JSON.parse(line).id} gives its outcome, fed in any way`, () => assert.isUndefined(problemOf(line)))
  }
})

describe("the runner", () => {
  const honest = (wire: string, right: object, wrong: ReadonlyArray<object>): void => {
    it(`tells right from wrong for ${JSON.stringify(wire)}`, () => {
      assert.isUndefined(problemOf(caseOf(wire, right)))
      for (const fields of wrong) assert.isDefined(problemOf(caseOf(wire, fields)), JSON.stringify(fields))
    })
  }
  const values = (...items: ReadonlyArray<object>) => ({ outcome: "values", values: items })

  honest(":1\r\n", values({ int: "1" }), [
    values({ big: "1" }),
    values({ int: "2" }),
    values({ dbl: "1" }),
    values({ str: "1" }),
    values({ int: "1", str: "1" }),
    values(),
    values({ int: "1" }, { int: "1" }),
    { outcome: "fatal" },
    { outcome: "incomplete" },
    { outcome: "limit", values: [] }
  ])
  honest("$1\r\na\r\n", values({ str: "a" }), [
    values({ bytes: "61" }),
    values({ err: "a" }),
    values({ verbatim: ["txt", "a"] })
  ])
  honest("=5\r\ntxt:a\r\n", values({ verbatim: ["txt", "a"] }), [
    values({ str: "a" }),
    values({ verbatim: ["mkd", "a"] })
  ])
  honest("*1\r\n:1\r\n", values({ arr: [{ int: "1" }] }), [
    values({ set: [{ int: "1" }] }),
    values({ push: [{ int: "1" }] })
  ])
  honest("~1\r\n:1\r\n", values({ set: [{ int: "1" }] }), [values({ arr: [{ int: "1" }] })])
  honest("%1\r\n:1\r\n:2\r\n", values({ map: [[{ int: "1" }, { int: "2" }]] }), [
    values({ map: [[{ int: "2" }, { int: "1" }]] }),
    values({ arr: [{ int: "1" }, { int: "2" }] })
  ])
  honest(",-0\r\n", values({ dbl: "-0" }), [values({ dbl: "0" })])
  honest(",inf\r\n", values({ dbl: "inf" }), [values({ dbl: "-inf" }), values({ dbl: "nan" }), values({ dbl: "" })])
  honest("_\r\n", values({ null: true }), [values({ null: false }), values({ bool: false })])
  honest("+a\r\n@", { outcome: "fatal" }, [values({ str: "a" }), { outcome: "fatal", values: [] }])
  honest("+a", { outcome: "incomplete" }, [
    { outcome: "fatal" },
    values(),
    { outcome: "incomplete", values: [{ str: "a" }] }
  ])
  honest("*2\r\n:1\r\n:1\r\n:9\r\n", { outcome: "limit", limits: { maxElements: 1 }, values: [{ int: "9" }] }, [
    { outcome: "limit", limits: { maxElements: 2 }, values: [{ int: "9" }] },
    { outcome: "limit", limits: { maxElements: 1 }, values: [] },
    { outcome: "limit", limits: { maxThings: 1 }, values: [{ int: "9" }] }
  ])

  const run = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), "relive-resp-"))
    try {
      writeFileSync(join(folder, "cases.jsonl"), text)
      const env = { ...process.env, INIT_CWD: folder }
      const { status, stdout } = spawnSync(process.execPath, [runner, "cases.jsonl"], { env, encoding: "utf8" })
      return { status, last: JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it("prints its JSON last and exits 0 when all pass, in a file named from where the user stands", () => {
    assert.deepStrictEqual(run(`${lines[0]}\n${lines[1]}\n`), { status: 0, last: { passed: 2, total: 2, failed: [] } })
  })

  it("exits 1 when one fails, and names it", () => {
    const wrong = caseOf(":1\r\n", values({ int: "2" }))
    assert.deepStrictEqual(run(`${lines[0]}\n${wrong}`), { status: 1, last: { passed: 1, total: 2, failed: ["X"] } })
  })

  it("exits 1 when there are no cases", () => {
    assert.deepStrictEqual(run(""), { status: 1, last: { passed: 0, total: 0, failed: [] } })
  })
})
