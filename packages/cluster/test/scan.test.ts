/** Scans of scripted nodes: what no real cluster does for long. */
import { assert, describe, it } from "@effect/vitest"
import { RedisCluster } from "@relive/cluster"
import type { RedisError } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { makeFakes } from "./fakeCluster.ts"
import type { FakeCluster } from "./fakeCluster.ts"

const { array, bulk } = FakeServer

const idOf = (name: string): string => name.padEnd(40, "0")

/** What a node says within a transaction. `nodes` is its `CLUSTER NODES`, `page` its reply to a SCAN with this cursor. */
interface Script {
  nodes: string
  page: (cursor: string) => string
  /** How often its walk began. */
  walks: number
  runId: string
}

const lineOf = (name: string, isOwn: boolean, slots: string): string =>
  `${idOf(name)} 127.0.0.1:1@2 ${isOwn ? "myself,master" : "master"} - 0 0 1 connected ${slots}`

/** Makes a node say what its script says. */
const follow = (fakes: FakeCluster, name: string, script: Partial<Script>): Script => {
  const whole: Script = { nodes: "", page: () => array(bulk("0"), array()), walks: 0, runId: name, ...script }
  fakes.node(name).answer = (line) => {
    const { lines } = fakes.node(name)
    const [word] = line
    if (word === "MULTI") return "+OK\r\n"
    if (word === "EXEC") {
      const queued = lines.slice(lines.lastIndexOf("MULTI") + 1, -1)
      return array(
        ...queued.map((one) => {
          if (one.startsWith("CLUSTER")) return bulk(whole.nodes)
          if (one.startsWith("INFO")) return bulk(`run_id:${whole.runId}\r\n`)
          const cursor = one.split(" ")[1] ?? ""
          if (cursor === "0") whole.walks++
          return whole.page(cursor)
        })
      )
    }
    if (lines.lastIndexOf("MULTI") > lines.lastIndexOf("EXEC")) return "+QUEUED\r\n"
    return word === "CLUSTER" ? bulk(whole.nodes) : undefined
  }
  return whole
}

const scanOf = (fakes: FakeCluster, timeout: number) =>
  Effect.scoped(
    Effect.flatMap(RedisCluster.make({ nodes: fakes.seeds, timeout }), ({ service }) =>
      Stream.runCollect(service.scan?.({}) ?? Stream.empty)
    )
  )

const reasonOf = <A>(effect: Effect.Effect<A, RedisError.RedisError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("a scan that comes no further", () => {
  it.live("fails within its timeout when two nodes say that the other one has a slot", () =>
    Effect.gen(function* () {
      const fakes = yield* makeFakes(
        ["A", "B"],
        [
          [0, 8_000, "A"],
          [8_001, 16_383, "B"]
        ]
      )
      const a = follow(fakes, "A", {
        nodes: [lineOf("A", true, "0-99 101-8000"), lineOf("B", false, "100 8001-16383")].join("\n")
      })
      const b = follow(fakes, "B", {
        nodes: [lineOf("A", false, "0-8000"), lineOf("B", true, "8001-16383")].join("\n")
      })
      const began = performance.now()
      const reason = yield* reasonOf(scanOf(fakes, 400))
      assert.isBelow(performance.now() - began, 1_500)
      assert.ok(reason._tag === "ClusterError")
      assert.deepStrictEqual([reason.kind, reason.slot], ["moving", 100])
      assert.match(reason.message, /slots 100 could not be walked/)
      // It paused between its tries.
      assert.isBelow(a.walks + b.walks, 25)
    }).pipe(Effect.scoped)
  )

  it.live("names the slots that are open to a node that is not there", () =>
    Effect.gen(function* () {
      const fakes = yield* makeFakes(["A"])
      const slots = `0-16383 [866->-${idOf("Z")}]`
      follow(fakes, "A", { nodes: lineOf("A", true, slots), page: () => array(bulk("0"), array(bulk("key"))) })
      const seen: Array<string | Uint8Array> = []
      const reason = yield* reasonOf(
        Effect.scoped(
          Effect.flatMap(RedisCluster.make({ nodes: fakes.seeds, timeout: 300 }), ({ service }) =>
            Stream.runForEach(service.scan?.({}) ?? Stream.empty, (key) => Effect.sync(() => seen.push(key)))
          )
        )
      )
      assert.deepStrictEqual(seen, ["key"])
      assert.ok(reason._tag === "ClusterError")
      assert.deepStrictEqual([reason.kind, reason.slot], ["moving", 866])
      assert.match(reason.message, /slots 866 are open from node A0+ to Z0+, which cannot be walked: .*--cluster fix/)
    }).pipe(Effect.scoped)
  )

  it.live("names slots that no node has, after all others are walked", () =>
    Effect.gen(function* () {
      const fakes = yield* makeFakes(["A"], [[0, 16_000, "A"]])
      const a = follow(fakes, "A", { nodes: lineOf("A", true, "0-16000") })
      const reason = yield* reasonOf(scanOf(fakes, 300))
      assert.ok(reason._tag === "ClusterError")
      assert.deepStrictEqual([reason.kind, reason.slot], ["uncovered", 16_001])
      assert.match(reason.message, /slots 16001, 16002, .* and 378 more have no node/)
      assert.strictEqual(a.walks, 1)
    }).pipe(Effect.scoped)
  )

  it.live("fails at once with what a server says of its arguments", () =>
    Effect.gen(function* () {
      const fakes = yield* makeFakes(["A"])
      follow(fakes, "A", { nodes: lineOf("A", true, "0-16383"), page: () => "-ERR syntax error\r\n" })
      const began = performance.now()
      const reason = yield* reasonOf(scanOf(fakes, 5_000))
      assert.isBelow(performance.now() - began, 2_000)
      assert.match(reason.message, /ERR syntax error/)
    }).pipe(Effect.scoped)
  )
})

describe("a scan whose connection is cut", () => {
  for (const runId of ["A", "another"]) {
    const what = runId === "A" ? "goes on where it was on the same process" : "begins again on another process"
    it.live(what, () =>
      Effect.gen(function* () {
        const fakes = yield* makeFakes(["A"])
        let cuts = 0
        const script = follow(fakes, "A", {
          nodes: lineOf("A", true, "0-16383"),
          page: (cursor) =>
            cursor === "0" ? array(bulk("7"), array(bulk("first"))) : array(bulk("0"), array(bulk("last")))
        })
        const { answer } = fakes.node("A")
        fakes.node("A").answer = (line, connection) => {
          const said = answer(line, connection)
          if (line[0] === "EXEC" && fakes.node("A").lines.at(-2)?.startsWith("SCAN 7") === true && cuts++ === 0) {
            script.runId = runId
            Effect.runFork(connection.reset)
          }
          return said
        }
        const keys = yield* scanOf(fakes, 3_000)
        assert.deepStrictEqual([cuts > 0, script.walks], [true, runId === "A" ? 1 : 2])
        assert.deepStrictEqual([...new Set(keys)], ["first", "last"])
      }).pipe(Effect.scoped)
    )
  }
})
