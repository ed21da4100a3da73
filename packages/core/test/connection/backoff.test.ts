import { assert, describe, it } from "@effect/vitest"
import { delayMillis, eagerDelayMillis, youngDelayMillis } from "../../src/internal/connection/backoff.ts"

const options = { backoffFirstMillis: 50, backoffInitialMillis: 100, backoffFactor: 2, backoffCapMillis: 3000 }

describe("the backoff", () => {
  it("replaces a session that was ready at once, within the first jitter", () => {
    assert.strictEqual(delayMillis(options, "ready", 0, 0), 0)
    assert.ok(delayMillis(options, "ready", 0, 0.999) < 50)
  })

  it("dials young sessions the initial delay apart, and no less often for their number", () => {
    assert.strictEqual(Math.round(youngDelayMillis(options, 0, 0.5)), 100)
    assert.strictEqual(Math.round(youngDelayMillis(options, 90, 0.5)), 25)
    assert.strictEqual(Math.round(youngDelayMillis(options, 300, 0.5)), 25)
  })

  it("doubles from the initial delay up to the cap", () => {
    const delays = [1, 2, 3, 4, 5, 6, 7].map((attempt) => Math.round(delayMillis(options, "unstable", attempt, 0.5)))
    assert.deepStrictEqual(delays, [100, 200, 400, 800, 1600, 3000, 3000])
  })

  it("has jitter before the cap, so the cap is never passed", () => {
    assert.strictEqual(Math.round(delayMillis(options, "unstable", 1, 0)), 80)
    assert.strictEqual(Math.round(delayMillis(options, "unstable", 1, 0.9999)), 120)
    for (const attempt of [6, 20, 2000]) assert.ok(delayMillis(options, "unstable", attempt, 0.9999) <= 3000)
  })

  it("of a subscriber is a tenth of the outage, and 200 ms for the first two seconds", () => {
    assert.strictEqual(eagerDelayMillis(100, 50, 0), 100)
    assert.strictEqual(eagerDelayMillis(1600, 1500, 0), 200)
    assert.strictEqual(eagerDelayMillis(3000, 10_000, 0), 1000)
    assert.strictEqual(eagerDelayMillis(3000, 60_000, 0), 3000)
    assert.strictEqual(eagerDelayMillis(1600, 1500, 50), 150)
    assert.strictEqual(eagerDelayMillis(1600, 1500, 1000), 0)
  })

  it("waits for the cap after a refusal", () => {
    assert.strictEqual(delayMillis(options, "refused", 1, 0.5), 3000)
  })
})
