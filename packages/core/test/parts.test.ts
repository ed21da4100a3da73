import { assert, describe, it } from "@effect/vitest"
import { learned, partOf } from "../src/internal/parts.ts"

describe("The parts of a batch of replies", () => {
  it("are of 128 calls while nothing is known, and where a batch costs little", () => {
    assert.strictEqual(partOf(500, 0), 128)
    assert.strictEqual(partOf(10, 0.002), 128)
    assert.strictEqual(partOf(1, 10), 1)
  })

  it("are two at least where it is worth it, and more where it lasts", () => {
    assert.strictEqual(partOf(16, 0.005), 8)
    assert.strictEqual(partOf(64, 0.0015), 32)
    assert.strictEqual(partOf(4, 0.025), 2)
    assert.strictEqual(partOf(100, 0.015), 10)
    assert.strictEqual(partOf(1_000, 0.001), 128)
    assert.strictEqual(partOf(100, 5), 1)
  })

  it("never leave a caller out, whatever a call costs", () => {
    for (let calls = 1; calls < 300; calls++) {
      for (const cost of [0, 0.0001, 0.001, 0.01, 1, 1_000]) assert.isAtLeast(partOf(calls, cost), 1)
    }
  })

  it("follow what the calls cost lately", () => {
    let cost = 0
    for (let round = 0; round < 40; round++) cost = learned(cost, 10, 1)
    assert.approximately(cost, 0.1, 0.001)
    for (let round = 0; round < 40; round++) cost = learned(cost, 100, 0.1)
    assert.approximately(cost, 0.001, 0.0001)
  })

  it("are soon the old ones again after a pause, however long it was", () => {
    let cost = learned(0.001, 1, 10_000)
    assert.isAtMost(partOf(500, cost), 8)
    for (let round = 0; round < 15; round++) cost = learned(cost, 100, 0.1)
    assert.isAtLeast(partOf(500, cost), 60)
  })
})
