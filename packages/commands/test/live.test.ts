import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { checkLive, type Live } from "../conformance/live.ts"

const recordings: ReadonlyArray<Live> = readFileSync(new URL("./fixtures/recordings.jsonl", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line))

describe("recordings, live", () => {
  for (const protocol of [2, 3] as const) {
    it.live(
      `have the same values in RESP${protocol}`,
      () =>
        Effect.gen(function* () {
          const { asked, version, wrong } = yield* checkLive(recordings, protocol)
          assert.deepStrictEqual(wrong, [])
          assert.isAbove(asked, version === "redis-7.0.15" ? 350 : 300)
        }),
      60_000
    )
  }
})
