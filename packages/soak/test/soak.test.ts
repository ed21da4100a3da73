import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Faults from "../src/Faults.ts"
import { Histogram } from "../src/Histogram.ts"
import { History } from "../src/History.ts"
import * as Payload from "../src/Payload.ts"
import { Stock } from "../src/Stock.ts"
import { parse } from "../src/Settings.ts"
import * as Verdict from "../src/Verdict.ts"
import { heldAllLaws, run } from "./program.ts"

const fields = [
  "commands",
  "faults",
  "byKind",
  "byFault",
  "acknowledged",
  "unsent",
  "unknown",
  "readsRepeated",
  "wrongReplies",
  "executedThoughUnsent",
  "executedTwice",
  "lostAcknowledged",
  "unsettled",
  "missedOutsideGap",
  "deliveredTwice",
  "leakedSockets",
  "leakedTimers",
  "leakedFibers",
  "maxMailboxDepth",
  "longestOutageMs",
  "p99Ms",
  "seed"
]

const clean: Verdict.Report = {
  commands: 100_000,
  faults: 100,
  byKind: Object.fromEntries(Verdict.callKinds.map((kind) => [kind, 100_000 / Verdict.callKinds.length])),
  byFault: Object.fromEntries(Faults.kinds.map((kind) => [kind, 6])),
  acknowledged: 100_000,
  unsent: 0,
  unknown: 0,
  readsRepeated: 0,
  wrongReplies: 0,
  executedThoughUnsent: 0,
  executedTwice: 0,
  lostAcknowledged: 0,
  unsettled: 0,
  missedOutsideGap: 0,
  deliveredTwice: 0,
  leakedSockets: 0,
  leakedTimers: 0,
  leakedFibers: 0,
  maxMailboxDepth: 0,
  longestOutageMs: 0,
  p99Ms: 0,
  seed: 1
}

describe("the soak", () => {
  it.live(
    "holds all laws for twenty seconds",
    () =>
      Effect.gen(function* () {
        const ended = yield* run("main.ts", ["--seconds", "20", "--seed", "4", "--json"])
        assert.deepStrictEqual(Object.keys(heldAllLaws(ended)), fields)
        assert.match(ended.stderr, /"backoffInitial":\d+/)
        assert.match(ended.stderr, /"stableAfter":\d+/)
      }),
    120_000
  )

  it.live("ends with a usage when it is told nonsense", () =>
    Effect.gen(function* () {
      const ended = yield* run("main.ts", ["--seconds", "many"])
      assert.strictEqual(ended.exitCode, 64)
      assert.match(ended.stderr, /--seconds needs a number/)
    })
  )
})

describe("its settings", () => {
  it("are read in both forms", () => {
    assert.deepStrictEqual(parse(["--seconds", "5", "--seed=-7", "--json"]), {
      seconds: 5,
      seed: -7,
      tls: false,
      json: true
    })
    assert.deepStrictEqual(parse([]), { seconds: 20, seed: 1, tls: false, json: false })
  })

  it("say what is wrong", () => {
    for (const args of [["--seed"], ["--seed", "1.5"], ["--seconds", "0"], ["--second", "1"], ["5"]]) {
      assert.strictEqual(typeof parse(args), "string", args.join(" "))
    }
  })
})

describe("its plan", () => {
  it("is the same for the same seed, and another for another", () => {
    const lanes = ["auto", 2, 3] as const
    assert.deepStrictEqual(Faults.plan(7, 60, lanes), Faults.plan(7, 60, lanes))
    assert.notDeepEqual(Faults.plan(7, 60, lanes), Faults.plan(8, 60, lanes))
  })

  it("has enough of each kind for the time from which on that is asked for", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const plan = Faults.plan(seed, 40, ["auto", 2, 3])
      const counts = new Map<string, number>()
      const count = (kind: string) => counts.set(kind, (counts.get(kind) ?? 0) + 1)
      for (const { value } of plan.network.flat()) count(value.kind)
      for (const { value } of plan.server) count(value)
      const planned = Faults.kinds.filter((kind) => !Faults.trials.has(kind))
      for (const kind of planned) assert.ok((counts.get(kind) ?? 0) >= 5, `${kind} with seed ${seed}`)
    }
  })
})

describe("its verdict", () => {
  it("is broken by each of the ten counts", () => {
    assert.deepStrictEqual(Verdict.broken(clean), [])
    assert.strictEqual(Verdict.badCounts.length, 10)
    for (const name of Verdict.badCounts) {
      assert.deepStrictEqual(Verdict.broken({ ...clean, [name]: 2 }), [`${name} 2`])
    }
  })

  it("asks for enough commands and faults a second", () => {
    assert.deepStrictEqual(Verdict.tooLittle(clean, 60), [])
    assert.strictEqual(Verdict.tooLittle({ ...clean, commands: 59_999 }, 60).length, 1)
    assert.strictEqual(Verdict.tooLittle({ ...clean, faults: 59 }, 60).length, 1)
  })

  it("asks for some of each kind, of a long run", () => {
    const rare = { ...clean, byFault: { ...clean.byFault, kill: 2 } }
    assert.match(Verdict.tooLittle(rare, 40).join(), /2 faults of the kind kill/)
    assert.deepStrictEqual(Verdict.tooLittle(rare, 39), [])
    const few = { ...clean, byKind: { ...clean.byKind, watch: 999 } }
    assert.match(Verdict.tooLittle(few, 40).join(), /commands of the kind watch/)
  })
})

describe("its account of a queue", () => {
  const pushed = (stock: Stock, id: number) => {
    stock.pushes()
    stock.pushed(id)
  }

  it("excuses one item for each pop whose reply was lost, and no more", () => {
    const stock = new Stock()
    pushed(stock, 1)
    pushed(stock, 2)
    stock.mayHaveTaken(stock.pops(0))
    assert.deepStrictEqual(stock.excused(stock.items, 1), [1])
    assert.deepStrictEqual(stock.items, [])
  })

  it("knows a pop that can have taken nothing: nothing was there, and nothing was pushed beside it", () => {
    const stock = new Stock()
    const alone = stock.pops(0)
    assert.isTrue(stock.wasEmptySince(alone))
    // Given up while the reply with the item was on its way: the push beside it had begun before or after.
    stock.pushes()
    assert.isFalse(stock.wasEmptySince(alone))
    const beside = stock.pops(1)
    assert.isFalse(stock.wasEmptySince(beside))
    stock.pushed(7)
    assert.isFalse(stock.wasEmptySince(beside))
    assert.isFalse(stock.wasEmptySince(stock.pops(2)))
    stock.popped(7)
    assert.isTrue(stock.wasEmptySince(stock.pops(3)))
  })

  it("takes an item that was popped before its push was acknowledged", () => {
    const stock = new Stock()
    stock.pushes()
    stock.popped(3)
    stock.pushed(3)
    assert.deepStrictEqual(stock.items, [])
  })
})

describe("its records", () => {
  it("show what was next to a call, and what happened meanwhile", () => {
    const history = new History()
    history.add("one", "ready")
    history.add("one", "a call before", [1, 3])
    history.add("one", "a call far off", [500, 500])
    history.add("other", "ready")
    const lines = history.ask({ from: 0, to: Infinity, where: "one", call: 5 })
    assert.deepStrictEqual(
      lines.map((line) => line.replace(/^.* ms +/, "")),
      ["one         ready", "one         a call before"]
    )
  })

  it("give quantiles to two hundredths", () => {
    const histogram = new Histogram()
    for (let millis = 1; millis <= 1_000; millis++) histogram.add(millis)
    assert.approximately(histogram.quantile(0.99), 990, 20)
    assert.approximately(histogram.quantile(0.5), 500, 10)
  })

  it("know a whole payload from a garbled one", () => {
    for (let id = 0; id < 2_000; id++) {
      const text = Payload.text(id)
      assert.ok(Payload.isWhole(text) && Payload.idOf(text) === id)
      assert.isFalse(Payload.isWhole(text.slice(0, -1)))
    }
  })
})
