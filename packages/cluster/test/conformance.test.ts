/** The recorded cases of the servers against the pure machines, as `npm run conformance:cluster` runs them. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { files } from "./clusterCases.ts"

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
