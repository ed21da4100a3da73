import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import {
  checkRecording,
  checkReply,
  checkWire,
  type Outcome,
  type PeerReply,
  type PeerWire,
  type Recording
} from "../conformance/records.ts"

const records = <A>(file: string): ReadonlyArray<A> =>
  readFileSync(new URL(`./fixtures/${file}.jsonl`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

const outcomes = <A extends { readonly id: string }>(all: ReadonlyArray<A>, check: (record: A) => Outcome) => {
  const found = all.flatMap((record) => {
    const outcome = check(record)
    return outcome === undefined ? [] : [[record.id, outcome] as const]
  })
  return {
    total: all.length,
    failed: found.flatMap(([id, outcome]) => ("problem" in outcome ? [`${id}: ${outcome.problem}`] : [])),
    excused: found.filter(([, outcome]) => "excuse" in outcome).length
  }
}

describe("records", () => {
  it("gives the value of each recording, in both protocols and both modes", () => {
    const { total, failed, excused } = outcomes(records<Recording>("recordings"), checkRecording)
    assert.deepStrictEqual({ total, failed, excused }, { total: 536, failed: [], excused: 0 })
  })

  it("makes the words of a peer", () => {
    const { total, failed, excused } = outcomes(records<PeerWire>("peer-wire"), checkWire)
    assert.deepStrictEqual({ total, failed }, { total: 757, failed: [] })
    assert.isAtMost(excused, 14)
  })

  it("gives the content that a peer's tests expect", () => {
    const { total, failed, excused } = outcomes(records<PeerReply>("peer-replies"), checkReply)
    assert.deepStrictEqual({ total, failed, excused }, { total: 436, failed: [], excused: 0 })
  })
})
