/** The recorded cases of the servers against the pure machines, as `npm run conformance:cluster` runs them. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { files, readRows } from "./clusterCases.ts"
import { checkLive } from "./liveCases.ts"

const atLeast: Readonly<Record<string, number>> = {
  "slots.jsonl": 400,
  "slot-names.json": 16_384,
  "keys.jsonl": 600,
  "slots-replies.jsonl": 145,
  "conversations.jsonl": 300
}

describe("the recorded cases", () => {
  for (const [name, check] of Object.entries(files)) {
    it(name, () => {
      const results = check(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), "utf8"))
      assert.isAtLeast(results.length, atLeast[name] ?? Infinity)
      assert.deepStrictEqual(
        results.filter(({ problem }) => problem !== null),
        []
      )
    })
  }
})

describe("the recorded conversations", () => {
  it.live(
    "are followed hop by hop by a live client whose nodes are scripted",
    () =>
      Effect.gen(function* () {
        const content = readFileSync(new URL("./fixtures/conversations.jsonl", import.meta.url), "utf8")
        const results = yield* checkLive(readRows(content))
        assert.isAtLeast(results.length, 200)
        assert.deepStrictEqual(
          results.filter(({ problem }) => problem !== null),
          []
        )
      }),
    90_000
  )
})
