import { describe, it } from "@effect/vitest"
import { interleavings } from "./interleavings.ts"

describe("a pool", () => {
  it.live(
    "settles each call once and honestly, whatever happens, in many interleavings",
    () => interleavings(21, 100),
    280_000
  )
})
