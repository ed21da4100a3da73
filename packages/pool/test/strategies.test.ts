import { assert, describe, it } from "@effect/vitest"
import type { RedisConnection } from "@relive/core/RedisConnection"
import type { CallOptions } from "@relive/core/RedisService"
import type { Resp } from "@relive/core"
import type { Strategy } from "@relive/pool/RedisPool"
import * as Effect from "effect/Effect"
import { hash } from "../src/internal/hash.ts"
import { MemberSlot } from "../src/internal/memberSlot.ts"
import { makeChooser } from "../src/internal/strategies.ts"

/** A connection that is nothing but what a strategy looks at. */
const connection = (load: { queued: number; inFlight: number }): RedisConnection => ({
  state: "ready",
  accepting: true,
  get queued() {
    return load.queued
  },
  get inFlight() {
    return load.inFlight
  },
  downSince: undefined,
  get status(): never {
    throw new Error("not for choosing: it allocates")
  },
  now: () => 0,
  moveUnsent: () => 0,
  accept: () => {},
  takeUnsent: () => [],
  silentMillis: 0,
  endSession: () => {},
  redial: () => {},
  leave: () => {},
  address: "test",
  awaitFirst: Effect.void,
  beginClose: () => {}
})

const members = (...loads: ReadonlyArray<number>) => {
  const state = loads.map((inFlight) => ({ queued: 0, inFlight }))
  const slots = state.map((load, index) => {
    const slot = new MemberSlot(index, "test")
    slot.connection = connection(load)
    return slot
  })
  return { state, slots }
}

/** A number from [0, 1), the same ones every time. */
const seeded = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

const choosing = (strategy: Strategy, slots: ReadonlyArray<MemberSlot>, random = seeded(1)) => {
  const chooser = makeChooser(strategy, random)
  return (
    command: Resp.Command = ["PING"],
    options?: CallOptions,
    group?: ReadonlyArray<Resp.Command>,
    usable: ReadonlyArray<MemberSlot> = slots
  ): number => {
    const chosen = chooser(usable, slots, command, options, group)
    return chosen instanceof MemberSlot ? chosen.index : -1
  }
}

const times = <A>(count: number, make: (i: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, i) => make(i))

describe("leastInFlight", () => {
  it("chooses the member with the least queued and in flight", () => {
    const { slots, state } = members(3, 2, 4)
    const choose = choosing("leastInFlight", slots)
    assert.deepStrictEqual(
      times(4, () => choose()),
      [1, 1, 1, 1]
    )
    state[1]!.queued = 3
    assert.deepStrictEqual(
      times(4, () => choose()),
      [0, 0, 0, 0]
    )
  })

  it("takes equal ones in turn", () => {
    for (const load of [0, 7]) {
      const choose = choosing("leastInFlight", members(load, load, load).slots)
      const chosen = times(9, () => choose())
      for (const index of [0, 1, 2]) assert.strictEqual(chosen.filter((one) => one === index).length, 3)
    }
  })
})

describe("roundRobin and random", () => {
  it("take all in turn, whatever the load", () => {
    const choose = choosing("roundRobin", members(9, 0, 0).slots)
    assert.deepStrictEqual(
      times(6, () => choose()),
      [0, 1, 2, 0, 1, 2]
    )
  })

  it("go on when members come and go", () => {
    const { slots } = members(0, 0, 0)
    const choose = choosing("roundRobin", slots)
    times(3, () => choose())
    assert.deepStrictEqual(
      times(4, () => choose(["PING"], undefined, undefined, slots.slice(1))),
      [1, 2, 1, 2]
    )
  })

  it("spread over all members", () => {
    const choose = choosing("random", members(0, 0, 0, 0, 0).slots)
    const chosen = times(5000, () => choose())
    for (const index of [0, 1, 2, 3, 4]) {
      assert.closeTo(chosen.filter((one) => one === index).length, 1000, 150)
    }
  })
})

describe("hash", () => {
  const keys = times(3000, (i) => `user:${i}`)

  it("sends a key to the same member, and keys to all members evenly", () => {
    const { slots, state } = members(0, 0, 0, 0, 0)
    const choose = choosing("hash", slots)
    const first = keys.map((key) => choose(["GET", key]))
    state[2]!.inFlight = 1000
    assert.deepStrictEqual(
      keys.map((key) => choose(["SET", key, "v"])),
      first
    )
    for (const index of [0, 1, 2, 3, 4]) {
      assert.closeTo(first.filter((one) => one === index).length, 600, 120)
    }
  })

  it("moves only the keys of a member that is gone, and spreads them over all others", () => {
    const { slots } = members(0, 0, 0, 0, 0)
    const choose = choosing("hash", slots)
    const rest = slots.filter((slot) => slot.index !== 2)
    const before = keys.map((key) => choose(["GET", key]))
    const after = keys.map((key) => choose(["GET", key], undefined, undefined, rest))
    const moved = after.filter((_, i) => before[i] === 2)
    assert.deepStrictEqual(
      after.filter((_, i) => before[i] !== 2),
      before.filter((one) => one !== 2)
    )
    for (const index of [0, 1, 3, 4]) {
      assert.closeTo(moved.filter((one) => one === index).length, moved.length / 4, moved.length / 10)
    }
  })

  it("goes by `route` first, then by the first key of a call or a group", () => {
    const choose = choosing("hash", members(...times(64, () => 0)).slots)
    const own = choose(["GET", "a"])
    assert.notStrictEqual(choose(["GET", "b"]), own)
    assert.strictEqual(choose(["GET", "b"], { route: "a" }), own)
    assert.strictEqual(choose(["EVALSHA", "sha", 1, "a", "b"]), own)
    assert.strictEqual(choose(["PING"], undefined, [["PING"], ["SET", "a", 1], ["SET", "b", 1]]), own)
  })

  it("takes a key for the same as text and as bytes", () => {
    for (const text of ["plain", "Größe", "日本", "🦄 1"])
      assert.strictEqual(hash(text), hash(new TextEncoder().encode(text)))
    assert.strictEqual(hash(12), hash("12"))
    assert.strictEqual(hash(12n), hash("12"))
  })

  it("sends calls without a key where the least is under way", () => {
    const choose = choosing("hash", members(1, 0, 1).slots)
    assert.deepStrictEqual(
      times(3, () => choose()),
      [1, 1, 1]
    )
  })
})

describe("a function of the user's", () => {
  it("sees the members live, and chooses", () => {
    const { slots, state } = members(5, 1)
    const choose = choosing((all) => all.reduce((a, b) => (a.inFlight < b.inFlight ? a : b)), slots)
    assert.strictEqual(choose(), 1)
    state[1]!.inFlight = 9
    assert.strictEqual(choose(), 0)
  })

  it("that answers or throws something else is a typed error, without what it was given", () => {
    const { slots } = members(0)
    const wrong: ReadonlyArray<Strategy> = [
      () => undefined as never,
      () => ({ index: 0, state: "ready", queued: 0, inFlight: 0 }),
      (_members, command) => {
        throw new RangeError(`secret ${String(command[1])}`)
      }
    ]
    for (const strategy of wrong) {
      const error = makeChooser(strategy, () => 0)(slots, slots, ["GET", "hunter2"], undefined, undefined)
      assert.ok(!(error instanceof MemberSlot))
      assert.strictEqual(error.reason._tag, "RedisArgumentError")
      assert.include(error.message, "strategy")
      assert.notInclude(error.message, "hunter2")
    }
  })
})
