/** The pure machines: tables and views, refreshes, redirects, readers, parts, policies. */
import { assert, describe, it } from "@effect/vitest"
import * as Resp from "@relive/core/Resp"
import { ClusterTopology } from "@relive/cluster"
import * as Schema from "effect/Schema"
import { Adoption, mergeViews } from "../src/internal/adopt.ts"
import { splitCommand, singleKeys } from "../src/internal/parts.ts"
import { aggregateOf } from "../src/internal/policies.ts"
import { readRefusal, waitMillis } from "../src/internal/redirect.ts"
import { Refresher } from "../src/internal/refresher.ts"
import { chooseReader } from "../src/internal/replicas.ts"
import { CROSSING, crossing, KEYLESS, slotOfAll, slotOfCommand } from "../src/internal/routes.ts"
import { SlotTable } from "../src/internal/table.ts"
import { readTopology } from "../src/internal/topologyReply.ts"

const error = (message: string) => Resp.ReplyError.fromText(message)

const node = (id: string): ClusterTopology.Node => ({
  id,
  address: { host: id, port: 1 },
  announced: { host: id, port: 1 },
  hostname: undefined,
  role: "primary",
  health: "online",
  offset: undefined
})

const view = (...shards: ReadonlyArray<readonly [string, number, number]>): ClusterTopology.Topology => ({
  shards: shards.map(([id, from, to]) => ({ primary: node(id), replicas: [], ranges: [[from, to]] })),
  covered: shards.reduce((sum, [, from, to]) => sum + to - from + 1, 0)
})

describe("the table", () => {
  it("keeps a patch that is newer than the view, and drops one that is older", () => {
    const table = new SlotTable<string>()
    table.replace([[0, 16_383, "A"]], 0)
    table.patch(7, "B", 100)
    assert.strictEqual(table.replace([[0, 16_383, "A"]], 50), 0)
    assert.strictEqual(table.ownerOf(7), "B")
    assert.strictEqual(table.replace([[0, 16_383, "A"]], 150), 1)
    assert.strictEqual(table.ownerOf(7), "A")
    // Gone for good: a view from before does not bring it back.
    table.replace([[0, 16_383, "A"]], 60)
    assert.strictEqual(table.ownerOf(7), "A")
  })

  it("knows who has nothing any more", () => {
    const table = new SlotTable<string>()
    table.replace(
      [
        [0, 99, "A"],
        [100, 100, "B"]
      ],
      0
    )
    assert.deepStrictEqual([table.covered, table.owns("B"), table.ownerOf(101)], [101, true, undefined])
    table.patch(100, "A", 1)
    assert.deepStrictEqual([table.owns("B"), table.ownersNow, table.rangesOf("A")], [false, ["A"], [[0, 100]]])
  })

  it.prop(
    "gives each slot to whoever had the last say of it",
    [Schema.Array(Schema.Struct({ slot: Schema.Int, owner: Schema.Int, isView: Schema.Boolean }))],
    ([says]) => {
      const table = new SlotTable<number>()
      const model = new Map<number, number>()
      let now = 0
      for (const { isView, owner, slot: any } of says) {
        const slot = Math.abs(any) % 16_384
        now++
        if (isView) {
          table.replace([[0, 16_383, owner]], now)
          model.clear()
          model.set(-1, owner)
        } else {
          table.patch(slot, owner, now)
          model.set(slot, owner)
        }
        assert.strictEqual(table.ownerOf(slot), model.get(slot) ?? model.get(-1))
      }
    }
  )
})

describe("adoption", () => {
  const whole = view(["A", 0, 16_383])
  const half = view(["A", 0, 99])

  it("does not believe a node that knows less, unless another one says the same, or it is said three times", () => {
    assert.isTrue(new Adoption().believes(whole, "a", 16_384))
    assert.isFalse(new Adoption().believes(view(), "a", 0))
    const seconded = new Adoption()
    assert.deepStrictEqual([seconded.believes(half, "a", 16_384), seconded.believes(half, "a", 16_384)], [false, false])
    const two = new Adoption()
    assert.deepStrictEqual([two.believes(half, "a", 16_384), two.believes(half, "b", 16_384)], [false, true])
    assert.isTrue(seconded.believes(half, "a", 16_384))
    // A good view in between forgets the doubts.
    const forgetful = new Adoption()
    forgetful.believes(half, "a", 16_384)
    forgetful.believes(whole, "a", 16_384)
    assert.isFalse(forgetful.believes(half, "b", 16_384))
  })

  it("takes the owner with the higher epoch from views that contradict each other", () => {
    const epochs = new Map(Object.entries({ A: 1, A1: 7, B: 2 }))
    const merged = mergeViews([
      { view: view(["A", 0, 99], ["B", 100, 16_383]), epochs },
      { view: view(["A1", 0, 99], ["B", 100, 16_383]), epochs }
    ])
    assert.deepStrictEqual(ClusterTopology.rangesOf(merged), [
      [0, 99, "A1"],
      [100, 16_383, "B"]
    ])
  })
})

describe("a refusal", () => {
  const get = { command: "GET", slot: 866 }

  it("names where to go", () => {
    assert.deepStrictEqual(readRefusal(error("MOVED 866 10.0.0.1:6379"), get, "h"), {
      _tag: "moved",
      slot: 866,
      to: { host: "10.0.0.1", port: 6379 }
    })
    for (const [text, host] of [
      [":6381", "h"],
      ["?:6381", "h"],
      ["::1:6381", "::1"],
      ["a.b:6381", "a.b"]
    ]) {
      const refusal = readRefusal(error(`ASK 866 ${text}`), get, "h")
      assert.deepStrictEqual(refusal, { _tag: "ask", slot: 866, to: { host, port: 6381 } })
    }
  })

  it("is the caller's when it makes no sense", () => {
    for (const text of [
      "MOVED 16384 a:1",
      "MOVED 866 a:0",
      "MOVED 866 a:65536",
      "MOVED 866 a",
      "MOVED x a:1",
      "MOVED 1 a:1",
      "MOVED 866",
      "ASK __proto__ a:1"
    ]) {
      assert.isUndefined(readRefusal(error(text), get, "h"), text)
    }
  })

  it("of a script is followed only where no script can have run", () => {
    const script = { command: "EVALSHA", slot: 866 }
    assert.strictEqual(readRefusal(error("MOVED 866 a:1"), script, "h")?._tag, "moved")
    assert.strictEqual(
      readRefusal(error("TRYAGAIN Multiple keys request during rehashing of slot"), script, "h")?._tag,
      "tryAgain"
    )
    for (const text of [
      "READONLY You can't write against a read only replica.",
      "TRYAGAIN mine",
      "CLUSTERDOWN mine",
      "UNBLOCKED x",
      "ERR x",
      "MASTERDOWN x"
    ]) {
      assert.isUndefined(readRefusal(error(text), script, "h"), text)
    }
    assert.isUndefined(readRefusal(error("READONLY You can't write script: f, on @user_script:1."), get, "h"))
    assert.strictEqual(
      readRefusal(error("READONLY You can't write against a read only replica."), get, "h")?._tag,
      "down"
    )
  })

  it("is followed at once, and then with a wait that grows to a bound", () => {
    assert.deepStrictEqual(
      [1, 2, 3, 9, 99].map((hops) => waitMillis("moved", hops, 0.5)),
      [0, 2, 4, 100, 100]
    )
    assert.deepStrictEqual(
      [1, 2, 9].map((hops) => waitMillis("tryAgain", hops, 0.5)),
      [2, 4, 50]
    )
    assert.deepStrictEqual(
      [1, 2, 9].map((hops) => waitMillis("down", hops, 0.5)),
      [10, 20, 200]
    )
    for (const random of [0, 0.999]) assert.isAtMost(waitMillis("down", 50, random), 200)
  })
})

describe("the refresher", () => {
  const options = { everyMillis: 30_000, spacingMillis: 1000 }

  /** Runs it to the end of the time, with a trigger each `step` ms; each ask takes 1 ms. Returns when it asked. */
  const run = (millis: number, reason: "moved" | "session-ended" | undefined, step = 10, unserved = false) => {
    const refresher = new Refresher(options, () => 0.5)
    const asked: Array<number> = []
    let questions = 0
    refresher.trigger("start", 0)
    assert.strictEqual(refresher.take(0)?.reason, "start")
    refresher.done(0, false, false)
    for (let now = 1; now <= millis; now++) {
      if (reason !== undefined && now % step === 0) refresher.trigger(reason, now)
      const ask = refresher.take(now)
      if (ask === undefined) continue
      asked.push(now)
      questions += ask.nodes
      refresher.done(now, false, unserved)
    }
    return { asked, questions }
  }

  it("collects redirects, and asks once a second at most", () => {
    const { asked } = run(10_000, "moved")
    assert.isAtMost(asked.length, 10)
    assert.isAtMost(asked[0] ?? Infinity, 1100)
  })

  it("asks at once about a failure, two nodes, then less and less often", () => {
    const { asked } = run(5_000, "session-ended", 7, true)
    assert.isAtMost(asked[0] ?? Infinity, 12)
    assert.isAtMost(asked.filter((at) => at <= 100).length, 1)
    // Then two a second at most.
    for (const at of asked)
      assert.isAtMost(asked.filter((other) => other > at + 1 && other <= at + 1000 && at > 700).length, 2)
    const single = new Refresher(options, () => 0)
    single.trigger("session-ended", 0)
    assert.strictEqual(single.take(0)?.nodes, 2)
  })

  it("asks now and then while nothing happens", () => {
    assert.isAtMost(run(100_000, undefined).asked.length, 4)
    assert.isAtLeast(run(100_000, undefined).asked.length, 2)
  })

  it("asks one at a time, and once more for what came meanwhile", () => {
    const refresher = new Refresher(options, () => 0)
    refresher.trigger("session-ended", 0)
    refresher.take(0)
    refresher.trigger("moved", 1, "B")
    assert.deepStrictEqual([refresher.wakeAt, refresher.take(5000)], [Infinity, undefined])
    refresher.done(10, false, false)
    assert.deepStrictEqual(refresher.take(2000), { reason: "moved", nodes: 1, prefer: "B" })
  })

  it("200 clients of one failing cluster ask two questions each in the first 100 ms", () => {
    for (let client = 0; client < 200; client++) {
      let seed = client
      const refresher = new Refresher(options, () => (seed = (seed * 16_807 + 7) % 2_147_483_647) / 2_147_483_647)
      refresher.trigger("start", 0)
      refresher.take(0)
      refresher.done(0, false, false)
      let questions = 0
      for (let now = 1000; now < 1100; now++) {
        refresher.trigger("session-ended", now)
        questions += refresher.take(now)?.nodes ?? 0
        refresher.done(now, false, true)
      }
      assert.isAtMost(questions, 2)
      assert.isAtLeast(questions, 2)
    }
  })
})

describe("the reader", () => {
  const reader = (name: string, isReady: boolean, load = 0, roundTrip = 1) => ({ name, isReady, load, roundTrip })
  const primary = reader("p", true, 0, 5)
  const busy = reader("busy", true, 9, 1)
  const idle = reader("idle", true, 1, 3)
  const down = reader("down", false)
  const choose = (policy: Parameters<typeof chooseReader>[0], replicas: ReadonlyArray<typeof primary>) =>
    chooseReader(policy, primary, replicas, () => 0.5)?.name

  it("is the one that the policy names", () => {
    assert.strictEqual(choose("primary", [idle]), "p")
    assert.strictEqual(choose("replica", [busy, idle, down]), "idle")
    assert.strictEqual(choose("replica", [down]), undefined)
    assert.strictEqual(choose("preferReplica", [down]), "p")
    assert.strictEqual(choose("any", [busy]), "p")
    assert.strictEqual(choose("nearest", [busy, idle]), "busy")
  })
})

describe("routes", () => {
  it("CLU-060 CLU-061 are slots, none, or several", () => {
    assert.strictEqual(slotOfCommand(["GET", "hello"]), 866)
    assert.strictEqual(slotOfCommand(["PING"]), KEYLESS)
    assert.strictEqual(slotOfCommand(["MGET", "a", "b"]), CROSSING)
    assert.strictEqual(slotOfAll([["PING"], ["GET", "{a}1"], ["SET", "{a}2", "x"]]), ClusterTopology.slotOf("a"))
    assert.strictEqual(
      slotOfAll([
        ["GET", "a"],
        ["GET", "b"]
      ]),
      CROSSING
    )
    assert.match(crossing("MGET", ["MGET", "secret1", "secret2"]), /keys of 2 slots \(arguments 1, 2\)/)
    assert.notMatch(crossing("MGET", ["MGET", "secret1", "secret2"]), /secret/)
  })
})

describe("parts", () => {
  const keys = ["a", "b", "{a}2", "c"]

  it("are put together in the order of the keys", () => {
    const split = splitCommand(["MGET", ...keys], "reads")
    assert.ok(split !== undefined)
    assert.strictEqual(split.parts.length, 3)
    assert.deepStrictEqual(split.join([["va", "va2"], ["vb"], ["vc"]]), ["va", "vb", "va2", "vc"])
    assert.deepStrictEqual(splitCommand(["DEL", ...keys], "reads")?.join([2, 1, 0]), 3)
    const failure = error("ERR no")
    assert.strictEqual(split.join([["va", "va2"], failure, ["vc"]]), failure)
    assert.strictEqual(splitCommand(["MSET", "a", 1, "b", 2], "all")?.join(["OK", "OK"]), "OK")
  })

  it("are made of nothing that promises to be whole", () => {
    for (const command of [
      ["MSETNX", "a", 1, "b", 2],
      ["RENAME", "a", "b"],
      ["SINTERSTORE", "a", "b"],
      ["MSET", "a", 1, "b", 2]
    ]) {
      assert.isUndefined(splitCommand(command, "reads"))
    }
    assert.isUndefined(splitCommand(["MGET", "a", "b"], "none"))
    assert.isUndefined(splitCommand(["MSET", "a", 1, "b"], "all"))
  })

  it("can be taken apart key by key", () => {
    const part = { slot: 1, command: ["MGET", "{a}1", "{a}2"], places: [0, 1] }
    assert.deepStrictEqual(singleKeys(part, "reads"), [
      ["MGET", "{a}1"],
      ["MGET", "{a}2"]
    ])
    assert.isUndefined(singleKeys({ ...part, command: ["MGET", "a"], places: [0] }, "reads"))
  })

  it.prop("give every key back its own", [Schema.Array(Schema.String)], ([names]) => {
    const split = splitCommand(["MGET", ...names], "reads")
    if (names.length === 0) return assert.isUndefined(split)
    assert.ok(split !== undefined)
    const replies = split.parts.map((part) => part.command.slice(1).map((key) => `v:${String(key)}`))
    assert.deepStrictEqual<unknown>(
      split.join(replies),
      names.map((name) => `v:${name}`)
    )
  })
})

describe("policies", () => {
  it("put the replies of all primaries together", () => {
    const of = (...command: ReadonlyArray<string>) => aggregateOf(command)
    assert.strictEqual(of("DBSIZE")?.([1, 2, 3]), 6)
    assert.deepStrictEqual(of("KEYS", "*")?.([["a"], [], ["b", "c"]]), ["a", "b", "c"])
    assert.strictEqual(of("FLUSHALL")?.(["OK", "OK"]), "OK")
    assert.deepStrictEqual(
      of(
        "SCRIPT",
        "EXISTS",
        "x",
        "y"
      )?.([
        [1, 0],
        [1, 1]
      ]),
      [1, 0]
    )
    assert.strictEqual(of("RANDOMKEY")?.([null, "k"]), "k")
    const failure = error("ERR no")
    assert.strictEqual(of("FLUSHALL")?.(["OK", failure]), failure)
    assert.strictEqual(of("SCRIPT", "KILL")?.([failure, "OK"]), "OK")
  })

  it("leave what one node serves to one node", () => {
    for (const command of [
      ["PING"],
      ["INFO"],
      ["CONFIG", "GET", "x"],
      ["GET", "k"],
      ["PUBLISH", "c", "m"],
      ["TIME"],
      ["nosuch"]
    ]) {
      assert.isUndefined(aggregateOf(command), command.join(" "))
    }
  })
})

describe("a reply that is no topology", () => {
  const asked = { host: "h", tls: false }
  it("says why, and never throws", () => {
    const replies: ReadonlyArray<Resp.Reply> = [
      null,
      1,
      "x",
      [1],
      [[0, 1]],
      [[0, 1, ["h", 0, "id"]]],
      [[5, 1, ["h", 1, "id"]]],
      [[0, 16_384, ["h", 1, "id"]]],
      [
        [0, 9, ["h", 1, "a"]],
        [9, 10, ["h", 2, "b"]]
      ],
      error("ERR no")
    ]
    for (const reply of replies) assert.isString(readTopology("SLOTS", reply, asked))
    for (const reply of [null, [1], [["slots", [0], "nodes", []]], [["slots", [0, 1], "nodes", []]]])
      assert.isString(readTopology("SHARDS", reply, asked))
  })

  it("leaves out a replica that cannot be dialled, and keeps the rest", () => {
    const asked = { host: "h", tls: false }
    const slots = readTopology("SLOTS", [[0, 16_383, ["h", 1, "a"], ["h", 0, "b"], null, ["h", 3, "c"]]], asked)
    const node = (id: string, role: string, port: number) => ["id", id, "port", port, "role", role, "health", "online"]
    const nodes = [node("a", "master", 1), node("b", "replica", 0), node("c", "replica", 3)]
    const shards = readTopology("SHARDS", [["slots", [0, 16_383], "nodes", nodes]], asked)
    for (const view of [slots, shards]) {
      assert.ok(typeof view !== "string")
      assert.deepStrictEqual(
        view.shards.map(({ primary, replicas }) => [primary.id, ...replicas.map(({ id }) => id)]),
        [["a", "c"]]
      )
    }
    assert.isString(readTopology("SLOTS", [[0, 16_383, ["h", 0, "a"]]], asked))
  })
})
