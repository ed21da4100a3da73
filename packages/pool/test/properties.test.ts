import { describe, it } from "@effect/vitest"
import { interleavings } from "./interleavings.ts"

describe("a pool", () => {
  it.live("settles each call once and honestly, whatever happens", () => interleavings(1, 20), 60_000)
})
