import { assert, describe, it, layer } from "@effect/vitest"
import * as CommandTable from "@relive/core/CommandTable"
import type { Argument } from "@relive/core/RedisOptions"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import { leaseOnly, neverSent, newerCommands } from "../../src/internal/commands/facts.ts"
import { commandTableData } from "../../src/internal/commands/data.ts"

const { Flags, blockingTimeoutMillis, firstKey, flagsOf, refusal } = CommandTable

const has = (flag: keyof typeof Flags, ...args: ReadonlyArray<Argument>) => (flagsOf(args) & Flags[flag]) !== 0

const bytes = (text: string) => new TextEncoder().encode(text)

describe("CommandTable.flagsOf", () => {
  it("knows reads, also those that the server does not flag", () => {
    for (const name of [
      "GET",
      "get",
      "gEt",
      "HGETALL",
      "SCAN",
      "PING",
      "TIME",
      "INFO",
      "DBSIZE",
      "OBJECT FREQ k",
      "HTTL"
    ]) {
      assert.strictEqual(flagsOf(name.split(" ")), Flags.readOnly | Flags.repeatable, name)
    }
    for (const name of [
      "SET",
      "GETEX",
      "GETDEL",
      "SORT",
      "BITFIELD",
      "PUBLISH",
      "ACL LOG",
      "CONFIG SET",
      "SLOWLOG RESET",
      "HSETEX"
    ]) {
      assert.isFalse(has("readOnly", ...name.split(" ")), name)
    }
  })

  it("takes scripts for read-only at most, never for repeatable", () => {
    assert.strictEqual(flagsOf(["EVAL", "return 1", "0"]), Flags.script)
    assert.strictEqual(flagsOf(["FCALL", "f", "0"]), Flags.script)
    for (const name of ["EVAL_RO", "EVALSHA_RO", "FCALL_RO"]) {
      assert.strictEqual(flagsOf([name, "x", "0"]), Flags.script | Flags.readOnly, name)
    }
  })

  it("knows the commands of newer servers", () => {
    for (const text of [
      "ARGET k 1",
      "DIGEST k",
      "VSIM k ELE e",
      "SUNIONCARD 2 a b",
      "CLUSTER SLOT-STATS",
      "CLUSTER GETSLOTMIGRATIONS",
      "COMMANDLOG GET 1 slow",
      "SCRIPT SHOW sha",
      "HOTKEYS GET",
      "BACKUP STATUS",
      "FT.SEARCH i q",
      "TS.QUERYLABELS",
      "SENTINEL GET-MASTER-ADDR-BY-NAME m"
    ]) {
      assert.strictEqual(flagsOf(text.split(" ")), Flags.readOnly | Flags.repeatable, text)
    }
    for (const text of [
      "INCREX k",
      "XNACK k",
      "HIMPORT SET k f v",
      "BACKUP START",
      "FT.CURSOR READ i 1",
      "CF.COMPACT k",
      "SENTINEL RESET m",
      "DELIFEQ k v"
    ]) {
      assert.isFalse(has("readOnly", ...text.split(" ")), text)
      assert.isTrue(CommandTable.isKnown(text.split(" ")[0] ?? ""), text)
    }
    for (const text of ["BLMOVEM a b LEFT RIGHT 0", "WAITAOF 1 0 0", "TFCALLASYNC lib.f 0"]) {
      assert.isTrue(has("blocking", ...text.split(" ")), text)
    }
  })

  it("calls a command that it does not know an ordinary one, whatever it is", () => {
    for (const name of [
      "NOSUCH",
      "",
      "__proto__",
      "constructor",
      "client|reply",
      "x".repeat(1_000_000),
      12,
      12n,
      new Uint8Array(100)
    ]) {
      assert.strictEqual(flagsOf([name, "key"]), 0)
      assert.strictEqual(firstKey([name, "key"]), "key")
      assert.isUndefined(refusal([name, "key"], "shared"))
    }
    assert.strictEqual(flagsOf([]), 0)
    assert.strictEqual(flagsOf(["CLIENT"]), 0)
    assert.strictEqual(flagsOf(["CLIENT", "NOSUCH"]), 0)
    assert.isUndefined(refusal([], "shared"))
  })

  it("takes XREAD and XREADGROUP for blocking only with the option BLOCK", () => {
    const blocks = (text: string) => has("blocking", ...text.split(" "))
    assert.isTrue(blocks("XREAD BLOCK 0 STREAMS k $"))
    assert.isTrue(blocks("xread count 2 block 5 streams k $"))
    assert.isTrue(blocks("XREADGROUP GROUP g c BLOCK 10 STREAMS k >"))
    assert.isTrue(blocks("XREADGROUP GROUP STREAMS BLOCK NOACK BLOCK 10 STREAMS k >"))
    assert.isFalse(blocks("XREAD STREAMS BLOCK $"))
    assert.isFalse(blocks("XREAD COUNT 2 STREAMS k BLOCK 0 0"))
    assert.isFalse(blocks("XREADGROUP GROUP BLOCK BLOCK STREAMS k >"))
    assert.isFalse(blocks("XREADGROUP GROUP g BLOCK COUNT 1 STREAMS k >"))
    assert.isTrue(has("blocking", "XREAD", bytes("block"), 5, "STREAMS", "k", "$"))
    assert.strictEqual(flagsOf(["XREAD", "STREAMS", "k", "0"]), Flags.readOnly | Flags.repeatable)
    assert.isTrue(blocks("ts.read k - BLOCK 100 5"))
    assert.isTrue(blocks("TS.READ k - MAX_COUNT 3 BLOCK 100 5"))
    assert.isFalse(blocks("TS.READ BLOCK BLOCK MAX_COUNT BLOCK"))
    assert.strictEqual(flagsOf(["TS.READ", "k", "-"]), Flags.readOnly | Flags.repeatable)
    assert.strictEqual(flagsOf(["XREAD", "BLOCK", 0, "STREAMS", "k", "0"]), Flags.readOnly | Flags.blocking)
    assert.isFalse(has("readOnly", "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"))
  })
})

const lists = { never: Object.keys(neverSent), leaseOnly: Object.keys(leaseOnly) }

describe("CommandTable.refusal", () => {
  const everywhere = ["shared", "lease", "onConnect", "transaction", "pipeline", "noreply"] as const

  const spellings = (name: string): ReadonlyArray<ReadonlyArray<Argument>> => {
    const words = name.split("|")
    return [
      words.map((word) => word.toUpperCase()),
      words.map((word) => word.toLowerCase()),
      words.map((word) => word[0]?.toUpperCase() + word.slice(1)),
      words.map(bytes),
      words.map((word) => Buffer.from(word.toUpperCase()))
    ]
  }

  it("refuses the first class everywhere, in every spelling", () => {
    for (const name of lists.never) {
      for (const args of spellings(name)) {
        for (const where of everywhere) {
          assert.include(refusal([...args, "x"], where), name.replace("|", " ").toUpperCase())
        }
      }
    }
  })

  it("refuses the second class except on a lease, in every spelling", () => {
    for (const name of lists.leaseOnly) {
      for (const args of spellings(name)) {
        for (const where of everywhere) {
          const allowed = where === "lease" || (where === "onConnect" && leaseOnly[name]?.onConnect === true)
          assert.strictEqual(refusal([...args, "x"], where) === undefined, allowed, `${name} ${where}`)
        }
      }
    }
  })

  it("has exactly the design's commands", () => {
    assert.sameMembers(
      lists.never,
      "subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe monitor sync psync replconf cluster|syncslots client|reply hello reset quit script|debug".split(
        " "
      )
    )
    const onConnect = (allowed: boolean) => lists.leaseOnly.filter((name) => leaseOnly[name]?.onConnect === allowed)
    assert.sameMembers(onConnect(false), "multi exec discard watch unwatch select auth wait waitaof".split(" "))
    assert.includeMembers(
      onConnect(true),
      "client|tracking client|caching client|setname client|setinfo client|no-evict client|no-touch client|capa client|import-source client|maint_notifications himport|prepare himport|discard himport|discardall readonly readwrite asking".split(
        " "
      )
    )
  })

  it("names the right API", () => {
    assert.include(refusal(["SUBSCRIBE", "c"], "shared"), "Redis.subscribe")
    assert.include(refusal(["MULTI"], "pipeline"), "Redis.transaction")
    assert.include(refusal(["WATCH", "k"], "shared"), "Redis.watch")
    assert.include(refusal(["SELECT", 1], "onConnect"), "`database`")
    assert.include(refusal(["AUTH", "secret"], "shared"), "`password`")
    assert.include(refusal(["WAIT", 1, 0], "shared"), "Redis.lease")
    assert.include(refusal(["CLIENT", "REPLY", "OFF"], "lease"), "Redis.noreply")
  })

  it("shows no argument", () => {
    assert.notInclude(refusal(["AUTH", "hunter2"], "shared"), "hunter2")
    assert.notInclude(refusal(["HELLO", "3", "AUTH", "u", "hunter2"], "shared"), "hunter2")
  })

  it("lets the others pass, and blocking ones where they can be waited for", () => {
    for (const where of everywhere) {
      for (const text of ["GET k", "SET k v", "CLIENT ID", "SCRIPT LOAD x", "CLIENT KILL x", "NOSUCH"]) {
        assert.isUndefined(refusal(text.split(" "), where), `${text} ${where}`)
      }
    }
    for (const where of ["shared", "lease", "transaction", "pipeline"] as const) {
      assert.isUndefined(refusal(["BLPOP", "k", 0], where), where)
    }
    assert.isString(refusal(["BLPOP", "k", 0], "onConnect"))
    assert.isString(refusal(["XREAD", "BLOCK", 0, "STREAMS", "k", "$"], "noreply"))
    assert.isUndefined(refusal(["XREAD", "STREAMS", "k", "$"], "noreply"))
  })
})

describe("CommandTable.blockingTimeoutMillis", () => {
  it("finds the server's timeout, in milliseconds", () => {
    const of = (text: string) => blockingTimeoutMillis(text.split(" "))
    assert.strictEqual(of("BLPOP a b 5"), 5_000)
    assert.strictEqual(of("brpop a 0.0001"), 1)
    assert.strictEqual(of("BLMOVE a b LEFT RIGHT 0"), 0)
    assert.strictEqual(of("BRPOPLPUSH a b 1.5"), 1_500)
    assert.strictEqual(of("BZPOPMIN a 2"), 2_000)
    assert.strictEqual(of("BLMPOP 3 2 a b LEFT"), 3_000)
    assert.strictEqual(of("BZMPOP 3 1 a MAX"), 3_000)
    assert.strictEqual(of("XREAD COUNT 1 BLOCK 250 STREAMS k $"), 250)
    assert.strictEqual(of("XREADGROUP GROUP BLOCK 7 BLOCK 250 STREAMS k >"), 250)
    assert.strictEqual(of("BLMOVEM a b LEFT RIGHT 1.5"), 1_500)
    assert.strictEqual(of("BLMOVEM a b LEFT RIGHT 2 COUNT 3 OBO"), 2_000)
    assert.strictEqual(of("TS.READ k - BLOCK 250 5 MAX_COUNT 7"), 250)
    assert.strictEqual(of("WAIT 1 100"), 100)
    assert.strictEqual(of("WAITAOF 1 1 100"), 100)
    assert.strictEqual(blockingTimeoutMillis(["BLPOP", "a", 2]), 2_000)
    assert.strictEqual(blockingTimeoutMillis(["BLPOP", "a", 2n]), 2_000)
    assert.strictEqual(blockingTimeoutMillis(["BLPOP", "a", bytes("2")]), 2_000)
  })

  it("has none for what does not block, and for what the server refuses", () => {
    for (const text of [
      "GET a",
      "XREAD STREAMS BLOCK 5",
      "BLPOP",
      "BLPOP a nan",
      "BLPOP a -1",
      "BLPOP a ",
      "XREAD BLOCK"
    ]) {
      assert.isUndefined(blockingTimeoutMillis(text.split(" ")), text)
    }
  })
})

describe("CommandTable.firstKey", () => {
  it("computes keys that move", () => {
    const of = (text: string) => firstKey(text.split(" "))
    assert.strictEqual(of("EVAL script 2 k1 k2 a"), "k1")
    assert.isUndefined(of("EVAL script 0 a"))
    assert.isUndefined(of("EVAL script x a"))
    assert.strictEqual(of("XREADGROUP GROUP STREAMS STREAMS COUNT 1 STREAMS k1 k2 > >"), "k1")
    assert.strictEqual(of("MSETEX 2 k1 v k2 v"), "k1")
    assert.isUndefined(of("XREAD COUNT 1"))
    assert.isUndefined(of("GET"))
    assert.isUndefined(of("PING"))
    assert.deepStrictEqual(firstKey(["GET", bytes("k")]), bytes("k"))
    assert.strictEqual(firstKey(["EVAL", "script", 1, 7]), 7)
  })
})

// -----------------------------------------------------------------------------
// Against a real server
// -----------------------------------------------------------------------------

interface ServerCommand {
  readonly name: string
  readonly arity: number
  readonly flags: ReadonlyArray<string>
  readonly subcommands: ReadonlyArray<ServerCommand>
}

const list = (reply: RedisServer.Reply | undefined): ReadonlyArray<RedisServer.Reply> => {
  assert.isArray(reply)
  return reply as ReadonlyArray<RedisServer.Reply>
}

const readCommand = (reply: RedisServer.Reply): ServerCommand => {
  const fields = list(reply)
  return {
    name: String(fields[0]),
    arity: Number(fields[1]),
    flags: list(fields[2]).map(String),
    subcommands: fields[9] === undefined ? [] : list(fields[9]).map(readCommand)
  }
}

const known = new Set(`${commandTableData}${newerCommands}`.split("\n").map((line) => line.split(" ")[0]))

const allServerCommands = Effect.gen(function* () {
  const server = yield* RedisServer.RedisServer
  const commands = list(yield* server.command(["COMMAND"])).map(readCommand)
  return commands.flatMap((command) => [command, ...command.subcommands])
})

const serverCommands = Effect.map(allServerCommands, (commands) => commands.filter(({ name }) => known.has(name)))

const samples = [
  "BITOP AND dest k1 k2",
  "BLMPOP 0 2 k1 k2 LEFT",
  "BZMPOP 0 1 k1 MIN",
  "EVAL script 2 k1 k2 a",
  "EVALSHA_RO sha 1 k1",
  "FCALL f 1 k1 a",
  "GEORADIUS k1 1 2 3 m STORE k2",
  "LMPOP 2 k1 k2 LEFT",
  "MEMORY USAGE k1",
  "MIGRATE host 6379 k1 0 100",
  "MSET k1 v k2 v",
  "OBJECT ENCODING k1",
  "SINTERCARD 2 k1 k2",
  "SORT k1 BY w_* GET o_* STORE k2",
  "SORT_RO k1 BY w_*",
  "XADD k1 * f v",
  "XGROUP CREATE k1 g $",
  "XINFO STREAM k1",
  "XREAD COUNT 2 STREAMS k1 k2 0 0",
  "XREAD BLOCK 10 STREAMS BLOCK 0",
  "XREAD STREAMS STREAMS 0",
  "XREADGROUP GROUP g c NOACK STREAMS k1 >",
  "XREADGROUP GROUP BLOCK COUNT STREAMS k1 >",
  "ZDIFF 2 k1 k2",
  "ZINTER 1 k1",
  "ZINTERSTORE dest 2 k1 k2",
  "ZMPOP 1 k1 MIN",
  "ZUNION 2 k1 k2 WEIGHTS 1 2",
  "ZUNIONSTORE dest 2 k1 k2"
]

layer(RedisServer.layer())("CommandTable and a real server", (it) => {
  it.effect("agree on what is read-only and what blocks", () =>
    Effect.gen(function* () {
      const commands = yield* serverCommands
      assert.isAbove(commands.length, 300)
      for (const { flags, name } of commands) {
        const args = name.split("|")
        if (flags.includes("readonly")) assert.isTrue(has("readOnly", ...args), `${name} is read-only`)
        if (flags.includes("write")) assert.isFalse(has("readOnly", ...args), `${name} writes`)
        const mayBlock = flags.includes("blocking") && !flags.includes("movablekeys")
        if (mayBlock) assert.isTrue(has("blocking", ...args), `${name} blocks`)
        if (has("blocking", ...args)) assert.isTrue(flags.includes("blocking") || name.startsWith("wait"), name)
        assert.isFalse(has("repeatable", ...args) && !has("readOnly", ...args), name)
      }
    })
  )

  it.effect("agree on which commands there are", () =>
    Effect.gen(function* () {
      const missing = (yield* allServerCommands).filter(({ name }) => !known.has(name))
      assert.deepStrictEqual(missing, [])
    })
  )

  it.effect("agree on the keys of samples", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      for (const sample of samples) {
        const args = sample.split(" ")
        const keys = list(yield* server.command(["COMMAND", "GETKEYS", ...args]))
        assert.deepStrictEqual<unknown>([...CommandTable.keys(args)], keys, sample)
        assert.strictEqual<unknown>(firstKey(args), keys[0], sample)
      }
    })
  )

  it.effect("agree on the keys of every command", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      let compared = 0
      for (const { arity, name } of yield* serverCommands) {
        const words = name.split("|")
        // Ones everywhere, so that a number of keys is one; the channels of pub/sub are no keys for GETKEYS.
        const args = [...words, ...Array.from({ length: Math.max(Math.abs(arity), 4) - words.length }, () => "1")]
        const keys = yield* Effect.result(server.command(["COMMAND", "GETKEYS", ...args]))
        const none = keys._tag === "Failure" && keys.failure.message.includes("The command has no key arguments")
        if (name === "spublish" || name.endsWith("subscribe") || (keys._tag === "Failure" && !none)) continue
        const named = keys._tag === "Success" ? list(keys.success) : []
        assert.deepStrictEqual<unknown>([...CommandTable.keys(args)], named, args.join(" "))
        assert.strictEqual<unknown>(firstKey(args), named[0], args.join(" "))
        compared++
      }
      assert.isAbove(compared, 250)
    })
  )

  it.effect("agree that what changes nothing can be run twice", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* server.command(["SET", "k", "v"])
      const dirty = Effect.map(
        server.command(["INFO", "persistence"]),
        (info) => /rdb_changes_since_last_save:(\d+)/.exec(String(info))?.[1]
      )
      const before = yield* dirty
      for (const { arity, name } of yield* serverCommands) {
        const args = name.split("|")
        if (!has("repeatable", ...args)) continue
        const rest = Array.from({ length: Math.max(0, Math.abs(arity) - args.length) }, () => "k")
        yield* Effect.ignore(server.command([...args, ...rest]))
      }
      assert.strictEqual(yield* dirty, before)
      assert.strictEqual(yield* server.command(["GET", "k"]), "v")
    })
  )
})
