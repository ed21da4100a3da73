/** What errors mean, by the texts of servers and proxies (`fixtures/serverErrors.jsonl`). */
import { assert, describe, it } from "@effect/vitest"
import { Resp } from "@relive/core"
import { readFileSync } from "node:fs"
import { commandNamedIn, meaningOf, saysReplica } from "../../src/internal/commands/serverErrors.ts"

interface Row {
  readonly from: string
  readonly text: string
  readonly meaning: string | null
  readonly names?: string
}

const rows = readFileSync(new URL("../fixtures/serverErrors.jsonl", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line) as Row)

describe("an error of a server", () => {
  it("means what its words say, whoever says it", () => {
    for (const { from, meaning, text } of rows) {
      const error = Resp.ReplyError.fromText(text)
      assert.strictEqual(meaningOf(error) ?? null, meaning, `${from}: ${text}`)
      assert.strictEqual(saysReplica(error), meaning === "replica", `${from}: ${text}`)
    }
    assert.isAbove(rows.length, 40)
  })

  it("names its command, where it does", () => {
    for (const { from, names, text } of rows) {
      if (names === undefined) continue
      assert.strictEqual(commandNamedIn(Resp.ReplyError.fromText(text)), names, `${from}: ${text}`)
    }
  })
})
