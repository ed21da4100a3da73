/**
 * The keys and policies of commands, against what real servers said of them (`fixtures/commands`).
 */
import { assert, describe, it } from "@effect/vitest"
import * as CommandTable from "@relive/core/CommandTable"
import type { Argument } from "@relive/core/RedisOptions"
import { readFileSync } from "node:fs"
import { commandTableData } from "../../src/internal/commands/data.ts"
import { newerCommands } from "../../src/internal/commands/facts.ts"
import { Random } from "../behaviours/random.ts"

const { firstKey, isReplicaRead, keyPositions, keys, policyOf, reachOf, routePositions } = CommandTable

interface KeyRow {
  readonly command: ReadonlyArray<string>
  readonly keys: ReadonlyArray<string>
  readonly positions?: ReadonlyArray<number>
  readonly routes?: ReadonlyArray<number>
  readonly error?: string
}

interface PolicyRow {
  readonly command: ReadonlyArray<string>
  readonly request: string | null
  readonly response: string | null
  readonly read: boolean
}

const rowsOf = <Row>(name: string): ReadonlyArray<Row> =>
  readFileSync(new URL(`../fixtures/commands/${name}`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Row)

const bytes = (text: string) => new TextEncoder().encode(text)

describe("the keys of commands", () => {
  const rows = rowsOf<KeyRow>("keys.jsonl")

  it("are those of the servers, in their order", () => {
    for (const row of rows) {
      const line = row.command.join(" ")
      if (row.positions !== undefined) assert.deepStrictEqual([...keyPositions(row.command)], row.positions, line)
      if (row.error === undefined) assert.deepStrictEqual<unknown>(keys(row.command), row.keys, line)
    }
    assert.isAbove(rows.length, 600)
  })

  it("are found in bytes and in any case as well", () => {
    for (const row of rows) {
      if (row.positions === undefined) continue
      assert.deepStrictEqual([...keyPositions(row.command.map(bytes))], row.positions, row.command.join(" "))
      const name = row.command[0]?.toLowerCase() ?? ""
      assert.deepStrictEqual([...keyPositions([name, ...row.command.slice(1)])], row.positions, row.command.join(" "))
    }
  })

  it("are none where the servers say that a command has none, or do not know it", () => {
    for (const row of rows) {
      // With too few arguments a server looks no further: a key that is there has its place all the same.
      if (row.error === undefined || row.error.includes("number of arguments")) continue
      assert.deepStrictEqual([...keys(row.command)], [], row.command.join(" "))
    }
  })

  it("are not the channels of sharded pub/sub, which place a command all the same", () => {
    const channels = rows.filter((row) => row.routes !== undefined)
    assert.isNotEmpty(channels)
    for (const row of channels) {
      assert.deepStrictEqual([...routePositions(row.command)], row.routes, row.command.join(" "))
      assert.strictEqual(firstKey(row.command), row.command[1])
      assert.strictEqual(reachOf(row.command), "slot")
    }
  })

  it("of commands of newer servers are found too", () => {
    const of = (text: string) => keys(text.split(" "))
    assert.deepStrictEqual(of("MSETEX 2 k1 v1 k2 v2 EX 10"), ["k1", "k2"])
    assert.deepStrictEqual(of("MSETEX 3 k1 v1 k2 v2"), [])
    assert.deepStrictEqual(of("BLMOVEM k1 k2 LEFT RIGHT 0 COUNT 2 BULK"), ["k1", "k2"])
    assert.deepStrictEqual(of("JSON.MGET k1 k2 k3 $"), ["k1", "k2", "k3"])
    assert.deepStrictEqual(of("JSON.MSET k1 $ v k2 $ v"), ["k1", "k2"])
    assert.deepStrictEqual(of("TS.MADD k1 1 2 k2 3 4"), ["k1", "k2"])
    assert.deepStrictEqual(of("TDIGEST.MERGE k1 2 k2 k3 COMPRESSION 1"), ["k1", "k2", "k3"])
    assert.deepStrictEqual(of("HIMPORT SET k1 fieldset v"), ["k1"])
    assert.deepStrictEqual(of("DELIFEQ k1 v"), ["k1"])
    assert.deepStrictEqual(of("FT.SEARCH index query"), [])
    assert.deepStrictEqual(of("SUNIONCARD 2 k1 k2"), ["k1", "k2"])
  })

  it("of MIGRATE are the one, or those after KEYS", () => {
    assert.deepStrictEqual(keys(["MIGRATE", "h", 6379, bytes(""), 0, 10, "COPY", bytes("keys"), "a", "b"]), ["a", "b"])
    assert.deepStrictEqual(keys(["MIGRATE", "h", 6379, "a", 0, 10, "KEYS", "b"]), [])
    assert.deepStrictEqual(keys(["MIGRATE", "h", 6379, "", 0, 10, "AUTH2", "KEYS", "KEYS", "KEYS", "a"]), ["a"])
  })

  it("place a command, also where the rest of the line is not understood", () => {
    const of = (text: string) => [...routePositions(text.split(" "))]
    // The server merges nothing then, and PFMERGE is the one command that may have its second kind of keys or not.
    assert.deepStrictEqual(of("PFMERGE dst"), [1])
    assert.deepStrictEqual(of("ZUNIONSTORE dst x k1"), [1])
    assert.deepStrictEqual(of("NOSUCH k1 k2"), [1])
    assert.deepStrictEqual(of("OBJECT NOSUCH k1"), [])
    assert.deepStrictEqual(of("NOSUCH"), [])
  })

  it("cost nothing where a command has one at a fixed place", () => {
    assert.strictEqual(keyPositions(["GET", "a"]), keyPositions(["get", "b"]))
    assert.strictEqual(routePositions(["SET", "a", "b"]), routePositions(["SET", "c", "d"]))
  })

  const names = `${commandTableData}${newerCommands}`.split("\n").flatMap((line) => line.split(" ")[0] || [])
  const words = ["STREAMS", "KEYS", "store", "STOREDIST", "BLOCK", "MEMORY", "BY", "AUTH2", "LIMIT", "", "key"]
  const numbers = ["0", "1", "2", "-1", "99999999999999999999", "1e3", " 1", 0, 1, 2, -1, 1.5, NaN, 2n, -7n]
  const others = ["x".repeat(100), "\u{1f9e8}", new Uint8Array(0), new Uint8Array(50), bytes("2"), bytes("KEYS")]
  const argument: ReadonlyArray<Argument> = [...words, ...words, ...numbers, ...others]

  it("are looked for in any line without a throw, and lie within it", () => {
    const seed = Number(process.env.RELIVE_KEYS_SEED ?? "1")
    const random = new Random(seed)
    const one = <A>(items: ReadonlyArray<A>): A => items[random.below(items.length)] as A
    for (let round = 0; round < 20_000; round++) {
      const name = one(names).split("|")
      const rest = Array.from({ length: random.below(13) }, () => one(argument))
      const args: ReadonlyArray<Argument> = [...(random.chance(0.5) ? name : name.map(bytes)), ...rest]
      const said = `seed ${seed}, ${name.join(" ")} ${rest.map(String).join(" ")}`
      for (const cut of [args, args.slice(0, random.below(args.length + 1))]) {
        for (const positions of [keyPositions(cut), routePositions(cut)]) {
          assert.isTrue(
            positions.every((at) => Number.isInteger(at) && at > 0 && at < cut.length),
            said
          )
          assert.strictEqual(new Set(positions).size, positions.length, said)
        }
        assert.strictEqual(keys(cut).length, keyPositions(cut).length, said)
        assert.isString(reachOf(cut), said)
        policyOf(cut)
        isReplicaRead(cut)
        firstKey(cut)
      }
    }
  })
})

describe("the policies of commands", () => {
  const rows = rowsOf<PolicyRow>("policies.jsonl")

  it("are those of the servers", () => {
    for (const { command, read, request, response } of rows) {
      const policy = policyOf(command)
      assert.strictEqual(policy?.request ?? null, request, command.join(" "))
      assert.strictEqual(policy?.response ?? null, response, command.join(" "))
      assert.strictEqual(isReplicaRead(command), read, command.join(" "))
    }
    assert.isAbove(rows.length, 80)
  })

  it("say where a command goes", () => {
    const of = (text: string) => reachOf(text.split(" "))
    assert.strictEqual(of("DBSIZE"), "allPrimaries")
    assert.strictEqual(of("flushall async"), "allPrimaries")
    assert.strictEqual(of("SCRIPT LOAD x"), "allNodes")
    assert.strictEqual(of("CONFIG SET a b"), "allNodes")
    assert.strictEqual(of("CONFIG GET a"), "anyNode")
    assert.strictEqual(of("SCAN 0"), "anyNode")
    assert.strictEqual(of("MGET a b"), "slot")
    assert.strictEqual(of("GET a"), "slot")
    assert.strictEqual(of("EVAL x 0"), "anyNode")
    assert.strictEqual(of("EVAL x 1 a"), "slot")
    assert.strictEqual(of("NOSUCH a"), "slot")
    assert.strictEqual(of("NOSUCH"), "anyNode")
    assert.strictEqual(reachOf([]), "anyNode")
  })

  it("take for a replica's what the server flags as a read and does not block", () => {
    const of = (text: string) => isReplicaRead(text.split(" "))
    for (const text of ["GET a", "EVAL_RO x 1 a", "XREAD STREAMS a 0", "DBSIZE", "ARGET a 1"])
      assert.isTrue(of(text), text)
    for (const text of [
      "SET a b",
      "GETEX a",
      "SORT a",
      "GEORADIUS a 1 2 3 m",
      "XREAD BLOCK 0 STREAMS a $",
      "TS.READ k 0 BLOCK 10 1",
      "EVAL x 1 a",
      "CONFIG GET a",
      "PING",
      "NOSUCH a"
    ]) {
      assert.isFalse(of(text), text)
    }
  })
})
