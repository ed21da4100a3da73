/** What was promised of clusters, row by row, with scripted nodes. */
import { assert, describe, it } from "@effect/vitest"
import { RedisCluster } from "@relive/cluster"
import { CommandTable, Redis, RedisError } from "@relive/core"
import type { RedisService, Resp } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { slotOfCommand } from "../src/internal/routes.ts"
import { makeFakes } from "./fakeCluster.ts"
import type { FakeCluster, Range } from "./fakeCluster.ts"

const halves: ReadonlyArray<Range> = [
  [0, 8191, "A"],
  [8192, 16_383, "B"]
]

/** How a test departs from the rows whose ids its title carries. */
interface Departs {
  readonly state: "better" | "overridden by this design"
  readonly reason: string
}

const metaOf = (title: string, departs: Departs) => ({
  meta: { relive: (title.match(/CLU-\d+/g) ?? []).map((id) => ({ id, ...departs })) }
})

type Program = Effect.Effect<void, unknown, RedisService | RedisCluster.RedisCluster | Scope.Scope>

/** Scripted nodes and a client. */
const fake = (
  title: string,
  body: (cluster: FakeCluster) => Program,
  options: {
    readonly names?: ReadonlyArray<string>
    readonly map?: ReadonlyArray<Range>
  } & Partial<RedisCluster.Options> = {},
  departs?: Departs
) =>
  it.live(
    title,
    () =>
      Effect.gen(function* () {
        const { map, names, ...rest } = options
        const cluster = yield* makeFakes(names ?? ["A", "B", "C"], map)
        yield* Effect.provide(body(cluster), RedisCluster.layer({ nodes: cluster.seeds, timeout: 2_000, ...rest }))
      }).pipe(Effect.scoped, Effect.timeout("20 seconds")),
    departs === undefined ? {} : metaOf(title, departs)
  )

const better = (reason: string): Departs => ({ state: "better", reason })
const overridden = (reason: string): Departs => ({ state: "overridden by this design", reason })

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const moved = (cluster: FakeCluster, to: string, slot = 16_287) =>
  `-MOVED ${slot} 127.0.0.1:${cluster.node(to).port}\r\n`
const ask = (cluster: FakeCluster, to: string, slot = 16_287) => `-ASK ${slot} 127.0.0.1:${cluster.node(to).port}\r\n`

/** Only the first time. */
const once = <A>(value: A) => {
  let left = 1
  return (): A | undefined => (left-- > 0 ? value : undefined)
}

// Slot 16287 is that of the key x.

describe("keys of commands", () => {
  const first = (...command: ReadonlyArray<Resp.Argument>) => CommandTable.firstKey(command)

  it("CLU-016 CLU-017 CLU-018 CLU-019 CLU-021 stand where the table says, in any case", () => {
    const names =
      "GET set Hget HSET HMGET HDEL LPUSH RPOP LRANGE SADD SCARD SMEMBERS ZADD ZSCORE ZRANGE XADD XLEN XRANGE EXPIRE TTL PERSIST PEXPIRE PFADD PFCOUNT GEOADD GEOPOS SETBIT GETBIT HEXPIRE HTTL HPERSIST HPEXPIRETIME XSETID BLPOP BRPOP BLMOVE BRPOPLPUSH BZPOPMAX BZPOPMIN"
    for (const name of names.split(" ")) assert.strictEqual(first(name, "k", "v", "w", "1"), "k", name)
  })

  it("CLU-022 CLU-025 CLU-026 CLU-030 CLU-033 CLU-034 CLU-036 CLU-037 CLU-038 CLU-039 stand behind what is counted or named", () => {
    assert.strictEqual(first("EVAL", "s", 2, "k1", "k2", "a"), "k1")
    assert.strictEqual(first("EVALSHA", "s", "1", "k"), "k")
    assert.strictEqual(first("XREAD", "COUNT", 2, "BLOCK", 0, "STREAMS", "s1", "0"), "s1")
    assert.strictEqual(first("XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "STREAMS", "s1", ">"), "s1")
    assert.strictEqual(first("BITOP", "AND", "dest", "s1", "s2"), "dest")
    assert.strictEqual(first("OBJECT", "ENCODING", "k"), "k")
    for (const name of ["LMPOP", "ZMPOP", "SINTERCARD", "zintercard", "ZDIFF", "ZINTER", "ZUNION"]) {
      assert.strictEqual(first(name, 2, "k1", "k2", "LEFT"), "k1", name)
    }
    for (const name of ["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"])
      assert.strictEqual(first(name, "dest", 2, "a", "b"), "dest")
    assert.strictEqual(first("XINFO", "STREAM", "s"), "s")
    assert.strictEqual(first("XGROUP", "CREATE", "s", "g", "$"), "s")
    assert.strictEqual(first("MEMORY", "usage", "k"), "k")
    assert.strictEqual(first("DEBUG", "OBJECT", "k"), undefined)
  })

  it("CLU-027 CLU-028 CLU-029 CLU-035 CLU-040 are none in what has none, or is malformed", () => {
    const lines = [
      "XREAD COUNT 1",
      "XREAD STREAMS",
      "XREADGROUP",
      "PING",
      "INFO",
      "DBSIZE",
      "CLUSTER INFO",
      "TIME",
      "MULTI",
      "EXEC",
      "FLUSHALL",
      "CONFIG GET x",
      "SELECT 1",
      "AUTH x",
      "LMPOP 0",
      "ZMPOP",
      "SINTERCARD",
      "GET",
      "DEL",
      "BITOP",
      "OBJECT HELP",
      "MEMORY DOCTOR",
      "XINFO HELP"
    ]
    for (const line of lines) assert.isTrue(slotOfCommand(line.split(" ")) < 0, line)
    assert.isTrue(slotOfCommand([]) < 0)
  })

  it(
    "CLU-031 CLU-069 CLU-070 of commands outside of the table are their first argument, without asking a server",
    metaOf("CLU-031 CLU-069 CLU-070", better("no round trip, and a wrong guess costs one MOVED")),
    () => {
      assert.strictEqual(first("SOMEFUTURECOMMAND", "k"), "k")
      assert.strictEqual(first("BLMPOP", 0, 1, "k", "LEFT"), "k")
      assert.strictEqual(first("MIGRATE", "h", 1, "k", 0, 5), "k")
    }
  )

  it.prop("CLU-041 are found without throwing, whatever the line", [Schema.Array(Schema.String)], ([line]) => {
    assert.isNumber(slotOfCommand(line))
  })
})

describe("redirects", () => {
  fake("CLU-104 CLU-117 a MOVED is followed, and patches the map at once", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = (line) => (line[0] === "GET" ? moved(cluster, "B") : undefined)
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of B")
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of B")
      assert.deepStrictEqual(cluster.node("A").lines, ["GET x"])
      // The map is asked for in the background; ASK asks for none.
      cluster.map = [[0, 16_383, "B"]]
      const asked = () => cluster.node("A").asked + cluster.node("B").asked
      const before = asked()
      while (asked() === before) yield* Effect.sleep(10)
    })
  )

  fake("CLU-103 CLU-105 ASK is followed with ASKING, and a MOVED behind it without", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = (line) => (line[0] === "GET" ? ask(cluster, "B") : undefined)
      cluster.node("B").answer = (line) => (line[0] === "GET" ? moved(cluster, "C") : undefined)
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of C")
      assert.deepStrictEqual(cluster.node("B").lines, ["ASKING", "GET x"])
      assert.deepStrictEqual(cluster.node("C").lines, ["GET x"])
    })
  )

  fake(
    "CLU-106 CLU-108 two nodes that name one another are asked less and less, until the deadline",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("A").answer = (line) => (line[0] === "SET" ? ask(cluster, "B") : undefined)
        cluster.node("B").answer = (line) => (line[0] === "SET" ? ask(cluster, "A") : undefined)
        const reason = yield* reasonOf(Redis.command(["SET", "x", 1], { timeout: 300 }))
        assert.ok(reason._tag === "ClusterError")
        assert.deepStrictEqual([reason.kind, reason.delivery, reason.slot], ["moving", "unsent", 16_287])
        assert.isAbove(reason.hops, 5)
        assert.isBelow(reason.hops, 40)
      }),
    {},
    overridden(
      "no limit of hops: two nodes may name one another for a moment (atomic migrations), so the deadline is the limit"
    )
  )

  fake("CLU-107 CLU-123 what of a pipeline is answered keeps its replies", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = (line) => (line.join(" ") === "GET x" ? ask(cluster, "B") : undefined)
      cluster.node("B").answer = (line) => (line.join(" ") === "GET x" ? ask(cluster, "A") : undefined)
      const [good, bad] = yield* Redis.pipeline(
        [
          ["GET", "good"],
          ["GET", "x"]
        ],
        { timeout: 300 }
      )
      assert.strictEqual(good, "good of A")
      assert.strictEqual(bad instanceof Error && "kind" in bad ? bad.kind : bad, "moving")
    })
  )

  fake("CLU-109 CLU-116 a transaction has one deadline for all of its way", (cluster) =>
    Effect.gen(function* () {
      for (const [name, other] of [
        ["A", "B"],
        ["B", "A"]
      ] as const) {
        cluster.node(name).answer = ([word]) =>
          word === "SET" ? moved(cluster, other) : word === "EXEC" ? "-EXECABORT discarded\r\n" : undefined
      }
      const reason = yield* reasonOf(Redis.transaction([["SET", "x", 1]], { timeout: 300 }))
      assert.ok(reason._tag === "ClusterError" || reason._tag === "TimeoutError")
      if (reason._tag === "ClusterError") assert.strictEqual(reason.delivery, "unsent")
    })
  )

  fake(
    "CLU-112 CLU-088 a name of a node that is known by its address opens no second connection",
    (cluster) =>
      Effect.gen(function* () {
        const { node } = cluster
        node("A").answer = (line) =>
          line.join(" ") === "GET x" ? `-ASK 16287 localhost:${node("B").port}\r\n` : undefined
        yield* Redis.command(["GET", "foo"])
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of B")
        const log = yield* node("B").server.log
        assert.strictEqual(log.filter(({ event }) => event === "opened").length, 1)
      }),
    {
      map: [
        [0, 8191, "B"],
        [8192, 16_383, "A"]
      ],
      mapAddress: ({ port }) => ({ host: "127.0.0.1", port })
    },
    better(
      "two names of one address are one node where mapAddress says so; else they are two until the map tells the id"
    )
  )

  fake(
    "CLU-113 CLU-121 a redirect that makes no sense is the caller's error, and one without a host is followed",
    (cluster) =>
      Effect.gen(function* () {
        const texts = [
          "MOVED garbage",
          "MOVED 12x 127.0.0.1:1",
          "MOVED 99999 127.0.0.1:1",
          "MOVED 16287 127.0.0.1",
          "MOVED 16287 127.0.0.1:port",
          "ASK garbage",
          "ASK 16287 127.0.0.1",
          "ASK 99999 127.0.0.1:1"
        ]
        for (const text of texts) {
          cluster.node("A").answer = (line) => (line[0] === "GET" ? `-${text}\r\n` : undefined)
          const reason = yield* reasonOf(Redis.command(["GET", "x"]))
          assert.strictEqual(reason.message, text)
        }
        cluster.node("A").answer = (line) =>
          line[0] === "GET" ? `-MOVED 16287 :${cluster.node("B").port}\r\n` : undefined
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of B")
      }),
    {},
    better("an empty host is that of the node that said it")
  )

  fake("CLU-114 a transaction whose command was sent away is run whole where it belongs", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = ([word]) =>
        word === "SET" ? moved(cluster, "B") : word === "EXEC" ? "-EXECABORT discarded\r\n" : undefined
      cluster.node("B").answer = ([word]) =>
        word === "SET" ? "+QUEUED\r\n" : word === "EXEC" ? FakeServer.array("+OK\r\n") : undefined
      assert.deepStrictEqual(yield* Redis.transaction([["SET", "x", 1]]), ["OK"])
      assert.deepStrictEqual(cluster.node("B").lines, ["MULTI", "SET x 1", "EXEC"])
    })
  )

  fake("CLU-087 CLU-118 a node that nobody has told of is dialled, and counted", (cluster) =>
    Effect.gen(function* () {
      const first = once(moved(cluster, "C"))
      cluster.node("A").answer = (line) => (line[0] === "GET" ? first() : undefined)
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of C")
      const { redirects } = yield* RedisCluster.status
      assert.strictEqual(redirects.moved, 1)
    })
  )

  fake(
    "CLU-089 CLU-119 a target that refuses connections is waited for within the deadline, honestly",
    (cluster) =>
      Effect.gen(function* () {
        const { node } = cluster
        yield* node("C").server.stop
        node("A").answer = (line) => (line[0] === "SET" ? moved(cluster, "C") : undefined)
        const reason = yield* reasonOf(Redis.command(["SET", "x", 1], { timeout: 300 }))
        assert.ok(reason._tag === "TimeoutError" || reason._tag === "ClusterError" || reason._tag === "ConnectionError")
        assert.strictEqual(reason.delivery, "unsent")
      }),
    {},
    overridden("calls wait for a node that is down, as for any connection, and say that they were not sent")
  )

  fake(
    "CLU-110 the last colon splits an address without brackets",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("A").answer = (line) =>
          line[0] === "GET" ? `-MOVED 16287 ::1:${cluster.node("B").port}\r\n` : undefined
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of B")
      }),
    { mapAddress: ({ host, port }) => ({ host: host === "::1" ? "127.0.0.1" : host, port }) }
  )

  fake("a node that redirects to its own address is dialled anew, and serves then", (cluster) =>
    Effect.gen(function* () {
      let sessions = 0
      cluster.node("A").answer = (line, connection) => {
        sessions = Math.max(sessions, connection.index + 1)
        return line[0] === "GET" && connection.index === 0 ? moved(cluster, "A") : undefined
      }
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      assert.isAbove(sessions, 1)
    })
  )
})

describe("a pipeline over several nodes", () => {
  fake(
    "CLU-053 CLU-054 CLU-055 CLU-056 CLU-057 keeps the replies of the nodes that have answered",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("B").answer = (line) => (line[0] === "GET" || line[0] === "SET" ? Effect.void : undefined)
        const replies = yield* Redis.pipeline(
          [
            ["GET", "hello"],
            ["GET", "x"],
            ["SET", "foo", 1],
            ["GET", "bar"]
          ],
          { timeout: 200 }
        )
        assert.deepStrictEqual([replies[0], replies[3]], ["hello of A", "bar of A"])
        for (const lost of [replies[1], replies[2]]) {
          assert.ok(lost instanceof Error && "delivery" in lost)
          assert.strictEqual(lost.delivery, "unknown")
        }
      }),
    { map: halves }
  )

  fake(
    "CLU-058 fails as a whole when nothing of it has an answer",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("A").answer = (line) => (line[0] === "GET" ? Effect.void : undefined)
        const reason = yield* reasonOf(
          Redis.pipeline(
            [
              ["GET", "hello"],
              ["GET", "bar"]
            ],
            { timeout: 100 }
          )
        )
        assert.strictEqual(reason._tag, "TimeoutError")
      }),
    { map: halves }
  )

  fake(
    "loses writes whose connection is lost as unknown, and repeats reads",
    (cluster) =>
      Effect.gen(function* () {
        const cut = once(true)
        cluster.node("B").answer = (line, connection) =>
          line[0] === "SET" && cut() === true ? Effect.andThen(connection.reset, Effect.void) : undefined
        const replies = yield* Redis.pipeline([
          ["GET", "hello"],
          ["SET", "foo", 1],
          ["GET", "x"]
        ])
        assert.strictEqual(replies[0], "hello of A")
        const lost = replies[1]
        assert.ok(lost instanceof Error && "delivery" in lost)
        assert.strictEqual(lost.delivery, "unknown")
        assert.strictEqual(replies[2], "x of B")
      }),
    { map: halves }
  )

  fake("CLU-157 sends the commands of one slot in their order, in one write", (cluster) =>
    Effect.gen(function* () {
      yield* Redis.pipeline([
        ["SET", "{x}1", 1],
        ["GET", "{x}1"],
        ["DEL", "{x}1"]
      ])
      assert.deepStrictEqual(cluster.node("A").lines, ["SET {x}1 1", "GET {x}1", "DEL {x}1"])
    })
  )

  fake("CLU-151 CLU-154 and a command refuse MULTI, which would concern a connection that others share", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* reasonOf(Redis.command(["MULTI"])))._tag, "RedisArgumentError")
      const reason = yield* reasonOf(Redis.pipeline([["MULTI"], ["SET", "foo", 1], ["EXEC"]]))
      assert.strictEqual(reason._tag, "RedisArgumentError")
    })
  )
})

describe("a cluster that closes while servers refuse calls", () => {
  fake("shows no redirect to those who wait for their replies", (cluster) =>
    Effect.gen(function* () {
      const refuse = yield* Deferred.make<void>()
      const node = cluster.node("A")
      node.answer = ([word]) =>
        ["GET", "BLPOP", "MULTI"].includes(word ?? "")
          ? Effect.as(Deferred.await(refuse), `-MOVED 866 127.0.0.1:${cluster.node("B").port}\r\n`)
          : undefined
      const scope = yield* Scope.make()
      const options = { nodes: cluster.seeds, closeTimeout: 2_000, start: "await" } as const
      const { service } = yield* Scope.provide(RedisCluster.make(options), scope)
      const calls = yield* Effect.forEach(
        [
          service.command(["GET", "hello"]),
          service.pipeline([
            ["GET", "hello"],
            ["GET", "{hello}"]
          ]),
          service.command(["BLPOP", "hello", 5])
        ],
        (call) => Effect.forkChild(reasonOf<unknown, never>(call), { startImmediately: true })
      )
      while (node.lines.length < 2) yield* Effect.sleep(2)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* Deferred.succeed(refuse, undefined)
      for (const call of calls) {
        const reason = yield* Fiber.join(call)
        assert.ok(reason._tag === "ClusterError" || reason._tag === "ConnectionError", reason.message)
        assert.strictEqual(reason.delivery, "unsent")
      }
      yield* Fiber.join(closing)
    })
  )
})

describe("a command for every primary", () => {
  fake(
    "runs once at each, and at the successor of one that refuses it",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("B").answer = ([word]) => {
          if (word !== "FLUSHALL") return undefined
          cluster.map = [
            [0, 8_191, "A"],
            [8_192, 16_383, "C"]
          ]
          return "-READONLY You can't write against a read only replica.\r\n"
        }
        assert.strictEqual(yield* Redis.command(["FLUSHALL"]), "OK")
        const counts = ["A", "B", "C"].map((name) => cluster.node(name).lines.filter((l) => l === "FLUSHALL").length)
        assert.deepStrictEqual([counts[0], counts[2]], [1, 1])
        cluster.node("C").answer = () => "-LOADING Redis is loading the dataset in memory\r\n"
        const reason = yield* reasonOf(Redis.command(["FLUSHALL"], { timeout: 150 }))
        assert.match(reason.message, /^LOADING/)
      }),
    { map: halves }
  )
})

describe("a command that has blocked for longer than other calls may take", () => {
  const late = (cluster: FakeCluster): void => {
    cluster.node("A").answer = ([word]) =>
      word === "BLPOP"
        ? Effect.delay(Effect.succeed(`-MOVED 866 127.0.0.1:${cluster.node("B").port}\r\n`), 300)
        : undefined
  }

  fake(
    "goes on at a node that no connection leads to yet",
    (cluster) =>
      Effect.gen(function* () {
        late(cluster)
        assert.strictEqual(yield* Redis.command(["BLPOP", "hello", 10]), "OK")
        assert.deepStrictEqual(cluster.node("B").lines.at(-1)?.split(" ").slice(0, 2), ["BLPOP", "hello"])
      }),
    { timeout: 150 }
  )

  fake(
    "does so in a pipeline, too",
    (cluster) =>
      Effect.gen(function* () {
        late(cluster)
        assert.deepStrictEqual(
          yield* Redis.pipeline([
            ["BLPOP", "hello", 10],
            ["GET", "{hello}"]
          ]),
          ["OK", "{hello} of A"]
        )
      }),
    { timeout: 150 }
  )
})

describe("a pipeline with a command that blocks", () => {
  const commands = [
    ["RPUSH", "hello", 1],
    ["BLPOP", "hello", 1],
    ["GET", "hello"]
  ]
  /** The lines of a pipeline that arrived there. */
  const linesOf = (cluster: FakeCluster, name: string) =>
    cluster.node(name).lines.filter((line) => /^(ASKING|RPUSH|BLPOP|GET)/.test(line))

  fake("follows MOVED as a whole", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = () => `-MOVED 866 127.0.0.1:${cluster.node("B").port}\r\n`
      assert.deepStrictEqual(yield* Redis.pipeline(commands), ["OK", "OK", "hello of B"])
      assert.deepStrictEqual(linesOf(cluster, "B"), ["RPUSH hello 1", "BLPOP hello 1", "GET hello"])
    })
  )

  fake("sends on only what was refused, with ASKING before each", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = ([word]) =>
        word === "RPUSH" ? ":1\r\n" : `-ASK 866 127.0.0.1:${cluster.node("B").port}\r\n`
      assert.deepStrictEqual(yield* Redis.pipeline(commands), [1, "OK", "hello of B"])
      assert.deepStrictEqual(linesOf(cluster, "B"), ["ASKING", "BLPOP hello 1", "ASKING", "GET hello"])
    })
  )

  fake("tells of what is refused until its deadline, beside what has run", (cluster) =>
    Effect.gen(function* () {
      cluster.node("A").answer = ([word]) =>
        word === "RPUSH" ? ":1\r\n" : "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
      const [pushed, ...refused] = yield* Redis.pipeline(commands, { timeout: 150 })
      assert.strictEqual(pushed, 1)
      for (const reply of refused) {
        assert.ok(reply instanceof RedisError.ClusterError)
        assert.deepStrictEqual([reply.kind, reply.delivery, reply.slot], ["moving", "unsent", 866])
      }
      assert.strictEqual(cluster.node("A").lines.filter((line) => line.startsWith("RPUSH")).length, 1)
    })
  )
})

describe("the map", () => {
  fake("CLU-127 forgets slots that a node no longer has, once it is believed", (cluster) =>
    Effect.gen(function* () {
      const client = yield* RedisCluster.RedisCluster
      yield* Redis.command(["GET", "x"])
      cluster.map = [[0, 8191, "A"]]
      for (let i = 0; i < 3; i++) yield* client.refresh
      const status = yield* RedisCluster.status
      assert.strictEqual(status.uncovered, 8192)
      assert.strictEqual(yield* Redis.command(["GET", "hello"]), "hello of A")
      const get = ["GET", "x"]
      for (const call of [
        Redis.command(get, { timeout: 100 }),
        Redis.transaction([get], { timeout: 100 }),
        Redis.pipeline([get, get], { timeout: 100 }),
        Redis.command(["BLPOP", "x", 1], { timeout: 100 })
      ]) {
        const reason = yield* reasonOf<unknown, RedisService>(call)
        assert.ok(reason._tag === "ClusterError", reason.message)
        assert.deepStrictEqual([reason.kind, reason.delivery, reason.slot], ["uncovered", "unsent", 16_287])
      }
      const mixed = yield* Redis.pipeline([get, ["GET", "hello"]], { timeout: 100 })
      assert.ok(mixed[0] instanceof RedisError.ClusterError)
      assert.strictEqual(mixed[1], "hello of A")
      // It goes on when somebody has it again.
      const waiting = yield* Effect.forkChild(Redis.command(get, { timeout: 5_000 }), { startImmediately: true })
      cluster.map = [[0, 16_383, "A"]]
      yield* client.refresh
      assert.strictEqual(yield* Fiber.join(waiting), "x of A")
    })
  )

  fake("CLU-128 CLU-152 takes the host that was asked where none is told, or a question mark", (cluster) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      const client = yield* RedisCluster.RedisCluster
      for (const host of ["$-1\r\n", FakeServer.bulk("?"), FakeServer.bulk("")]) {
        const node = FakeServer.array(
          host,
          `:${cluster.node("A").port}\r\n`,
          FakeServer.bulk("A".padEnd(40, "0")),
          "*0\r\n"
        )
        cluster.mapReply = FakeServer.array(FakeServer.array(":0\r\n", ":16383\r\n", node))
        yield* client.refresh
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      }
    })
  )

  fake("CLU-129 CLU-130 CLU-137 CLU-145 keeps the old one when a reply is none, and tells of it", (cluster) =>
    Effect.gen(function* () {
      yield* Redis.command(["GET", "x"])
      const client = yield* RedisCluster.RedisCluster
      for (const reply of [
        FakeServer.array(FakeServer.array(":0\r\n", ":16383\r\n")),
        FakeServer.array(FakeServer.array("+a\r\n", "+b\r\n", "*0\r\n")),
        "+what\r\n",
        "*0\r\n"
      ]) {
        const failed = yield* Effect.forkChild(
          Stream.runHead(Stream.filter(RedisCluster.events, (event) => event._tag === "RefreshFailed")),
          { startImmediately: true }
        )
        cluster.mapReply = reply
        yield* client.refresh
        const event = yield* Fiber.join(failed)
        assert.strictEqual(event._tag, "Some")
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      }
      assert.isAbove((yield* RedisCluster.status).refreshes.failed, 3)
    })
  )

  fake(
    "CLU-138 CLU-143 CLU-153 CLU-092 lets go of nodes that have left, and tells only of changes",
    (cluster) =>
      Effect.gen(function* () {
        yield* Redis.pipeline([
          ["GET", "hello"],
          ["GET", "x"]
        ])
        const client = yield* RedisCluster.RedisCluster
        assert.strictEqual((yield* RedisCluster.status).shards.length, 2)
        const seen: Array<RedisCluster.ClusterEvent> = []
        const changed = yield* Deferred.make<void>()
        yield* Effect.forkChild(
          Stream.runForEach(client.events, (event) => {
            if (event._tag !== "TopologyChanged") return Effect.void
            seen.push(event)
            return Deferred.succeed(changed, undefined)
          }),
          { startImmediately: true }
        )
        yield* client.refresh
        yield* client.refresh
        assert.deepStrictEqual(seen, [])
        cluster.map = [[0, 16_383, "A"]]
        yield* client.refresh
        yield* Deferred.await(changed)
        const [event] = seen
        assert.ok(event?._tag === "TopologyChanged")
        assert.deepStrictEqual([event.removed, event.slotsMoved], [["B".padEnd(40, "0")], 8192])
        const open = Effect.map(
          cluster.node("B").server.log,
          (log) =>
            log.filter(({ event }) => event === "opened").length - log.filter(({ event }) => event === "closed").length
        )
        yield* Effect.repeat(Effect.andThen(Effect.sleep(50), open), { until: (count) => count <= 0 })
      }),
    { map: halves }
  )

  fake(
    "CLU-135 CLU-136 is asked for from time to time",
    (cluster) =>
      Effect.gen(function* () {
        yield* Redis.command(["GET", "x"])
        const before = cluster.node("A").asked
        while (cluster.node("A").asked < before + 3) yield* Effect.sleep(10)
      }),
    { refresh: { every: 100, spacing: 50 } }
  )

  fake("CLU-140 calls wait for the first one", (cluster) =>
    Effect.gen(function* () {
      const held = yield* Deferred.make<void>()
      cluster.mapReply = Effect.flatMap(Deferred.await(held), () =>
        Effect.sync(() => {
          cluster.mapReply = undefined
          return FakeServer.array(
            FakeServer.array(
              ":0\r\n",
              ":16383\r\n",
              FakeServer.array(
                FakeServer.bulk("127.0.0.1"),
                `:${cluster.node("A").port}\r\n`,
                FakeServer.bulk("A".padEnd(40, "0")),
                "*0\r\n"
              )
            )
          )
        })
      )
      const replies = yield* Effect.forkChild(
        Effect.all([Redis.command(["SET", "x", 1]), Redis.command(["GET", "x"])], { concurrency: 2 }),
        {
          startImmediately: true
        }
      )
      yield* Effect.sleep(100)
      yield* Deferred.succeed(held, undefined)
      assert.deepStrictEqual(yield* Fiber.join(replies), ["OK", "x of A"])
    })
  )

  fake(
    "CLU-148 is asked for when a node is lost, without a MOVED",
    (cluster) =>
      Effect.gen(function* () {
        yield* Redis.pipeline([
          ["GET", "hello"],
          ["GET", "x"]
        ])
        cluster.map = [[0, 16_383, "A"]]
        yield* cluster.node("B").server.stop
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      }),
    { map: halves },
    better("a session that ends asks at once")
  )

  fake(
    "CLU-133 follows a failover that turns the roles round",
    (cluster) =>
      Effect.gen(function* () {
        const client = yield* RedisCluster.RedisCluster
        assert.strictEqual(yield* Redis.command(["GET", "x"], { readFrom: "primary" }), "x of A")
        cluster.map = [[0, 16_383, "B", "A"]]
        yield* client.refresh
        assert.strictEqual(yield* Redis.command(["GET", "x"], { readFrom: "primary" }), "x of B")
        yield* Effect.repeat(Redis.command(["GET", "x"]), { until: (reply) => reply === "x of A" })
        assert.include(cluster.node("A").lines, "READONLY")
      }),
    { map: [[0, 16_383, "A", "B"]], readFrom: "preferReplica" }
  )
})

describe("reads from replicas", () => {
  const withReplica = { map: [[0, 16_383, "A", "B"]] as ReadonlyArray<Range>, readFrom: "preferReplica" as const }

  fake(
    "CLU-099 CLU-100 CLU-101 send READONLY first, in every session, and keep the reads of a pipeline together",
    (cluster) =>
      Effect.gen(function* () {
        yield* Effect.repeat(Redis.command(["GET", "x"]), { until: (reply) => reply === "x of B" })
        assert.deepStrictEqual(
          yield* Redis.pipeline([
            ["GET", "{x}1"],
            ["GET", "{x}2"]
          ]),
          ["{x}1 of B", "{x}2 of B"]
        )
        assert.strictEqual(cluster.node("B").lines[0], "READONLY")
        assert.isFalse(cluster.node("A").lines.includes("READONLY"))
      }),
    withReplica
  )

  fake(
    "CLU-102 CLU-063 CLU-103 send writes and transactions to the primary",
    (cluster) =>
      Effect.gen(function* () {
        yield* Effect.repeat(Redis.command(["GET", "x"]), { until: (reply) => reply === "x of B" })
        yield* Redis.command(["SET", "x", 1], { readFrom: "preferReplica" })
        assert.include(cluster.node("A").lines, "SET x 1")
        assert.strictEqual(yield* Redis.command(["PING"], { readFrom: "replica" }), "PONG")
        assert.match(
          (yield* reasonOf(Redis.command(["GET", "x"], JSON.parse('{ "readFrom": "bogus" }') as Redis.CallOptions)))
            .message,
          /readFrom/
        )
      }),
    withReplica,
    better("what a replica would refuse is not sent there")
  )

  fake(
    "CLU-142 leave a replica alone that refuses READONLY",
    (cluster) =>
      Effect.gen(function* () {
        cluster.node("B").answer = (line) => (line[0] === "READONLY" ? "-ERR no\r\n" : undefined)
        yield* Effect.sleep(300)
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        const reason = yield* reasonOf(Redis.command(["GET", "x"], { readFrom: "replica" }))
        assert.ok(reason._tag === "ClusterError" && reason.kind === "no-replica")
        const log = yield* cluster.node("B").server.log
        assert.isAtMost(log.filter(({ event }) => event === "opened").length, 4)
      }),
    withReplica
  )
})

describe("options", () => {
  const refused = (options: object) =>
    Effect.map(Effect.flip(Effect.scoped(RedisCluster.make(options as RedisCluster.Options))), (error) => error.message)

  it.effect(
    "CLU-075 CLU-077 CLU-078 CLU-080 CLU-082 CLU-083 CLU-086 CLU-095 that make no sense are refused before anything is dialled",
    () =>
      Effect.gen(function* () {
        const nodes = ["redis://127.0.0.1:1"]
        assert.match(yield* refused({ nodes, database: 1 }), /database 0 alone/)
        assert.match(yield* refused({ nodes: ["redis://127.0.0.1:1/2"] }), /database 0 alone/)
        assert.match(yield* refused({ nodes, sentinel: {} }), /no option `sentinel`/)
        assert.match(yield* refused({ nodes, exitOnDisconnection: true }), /no option `exitOnDisconnection`/)
        assert.match(yield* refused({ nodes: ["rediss://127.0.0.1:1"], tls: false }), /`tls` is false/)
        assert.match(yield* refused({ nodes: [] }), /at least one node/)
        assert.match(yield* refused({}), /at least one node/)
        assert.match(yield* refused({ nodes: [123] }), /must be a URL/)
        assert.match(yield* refused({ nodes: [{ host: "h", port: "not a port" }] }), /must be a URL/)
        assert.match(yield* refused({ nodes, readFrom: "bogus" }), /`readFrom`/)
        assert.match(yield* refused({ nodes, nope: 1 }), /no option "nope"/)
        assert.match(yield* refused({ nodes, url: "redis://h" }), /no option `url`/)
      })
  )

  fake(
    "that are functions may throw, or return nonsense: the addresses stay as they are",
    () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      }),
    {
      mapAddress: ({ port }) => {
        if (port % 2 === 0) throw new Error("the user's")
        return JSON.parse("{}")
      },
      serverName: () => {
        throw new Error("the user's")
      }
    }
  )

  fake("CLU-074 CLU-076 CLU-084 CLU-085 of seeds are taken: URLs, records, database 0, credentials", (cluster) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      const url = `redis://user:pass@127.0.0.1:${cluster.node("A").port}/0`
      const other = yield* RedisCluster.make({ nodes: [url], database: 0, start: "await" })
      assert.strictEqual(yield* other.service.command(["GET", "x"]), "x of A")
      const log = yield* cluster.node("A").server.log
      assert.isTrue(log.some(({ bytes }) => Buffer.from(bytes ?? []).includes("pass")))
    })
  )
})

describe("seeds", () => {
  it.live("CLU-131 CLU-132 the first black-holed, the second refused: the third is asked in time", () =>
    Effect.gen(function* () {
      const hole = yield* FakeServer.make((connection) => connection.silent)
      const gone = yield* FakeServer.make()
      yield* gone.stop
      const cluster = yield* makeFakes(["A"])
      const began = performance.now()
      const client = yield* RedisCluster.make({
        nodes: [{ host: hole.host, port: hole.port }, { host: gone.host, port: gone.port }, ...cluster.seeds],
        start: "await"
      })
      assert.isBelow(performance.now() - began, 900)
      assert.strictEqual(yield* client.service.command(["GET", "x"]), "x of A")
    }).pipe(Effect.scoped)
  )

  it.live("CLU-141 CLU-145 that are down fail a start that waits for them", () =>
    Effect.gen(function* () {
      const gone = yield* FakeServer.make()
      yield* gone.stop
      const error = yield* Effect.flip(
        RedisCluster.make({ nodes: [{ host: gone.host, port: gone.port }], start: "await" })
      )
      assert.ok(error.reason._tag === "ConnectionError")
      assert.deepStrictEqual([error.reason.kind, error.reason.delivery], ["connect", "unsent"])
      assert.match(error.message, new RegExp(`no node of the cluster could tell its map: .*127.0.0.1:${gone.port}`))
    }).pipe(Effect.scoped, Effect.timeout("10 seconds"))
  )

  it.live(
    "CLU-139 CLU-146 that are down are asked again, and calls wait",
    () =>
      Effect.gen(function* () {
        const cluster = yield* makeFakes(["A"])
        yield* cluster.node("A").server.stop
        const client = yield* RedisCluster.make({ nodes: cluster.seeds, timeout: 5_000 })
        const reply = yield* Effect.forkChild(client.service.command(["GET", "x"]), { startImmediately: true })
        yield* Effect.repeat(Effect.andThen(Effect.sleep(20), client.status), {
          until: ({ refreshes }) => refreshes.failed > 1
        })
        yield* cluster.node("A").server.start
        assert.strictEqual(yield* Fiber.join(reply), "x of A")
      }).pipe(Effect.scoped, Effect.timeout("15 seconds")),
    metaOf("CLU-139", overridden("calls wait for the first map within their deadlines, as for any connection"))
  )

  it.live("that are no nodes of a cluster, or refuse us, fail calls at once", () =>
    Effect.gen(function* () {
      const cluster = yield* makeFakes(["A"])
      cluster.mapReply = "-ERR This instance has cluster support disabled\r\n"
      const error = yield* Effect.flip(RedisCluster.make({ nodes: cluster.seeds, start: "await" }))
      assert.match(error.message, /no node of a cluster.*Redis\.layer/)
      const client = yield* RedisCluster.make({ nodes: cluster.seeds })
      const reason = yield* reasonOf(client.service.command(["SET", "x", 1]))
      assert.ok(reason._tag === "ConnectionError")
      assert.deepStrictEqual([reason.kind, reason.delivery], ["handshake", "unsent"])
      cluster.mapReply = undefined
      yield* Effect.repeat(Effect.andThen(Effect.sleep(50), client.status), { until: ({ state }) => state === "ready" })
      assert.strictEqual(yield* client.service.command(["SET", "x", 1]), "OK")
    }).pipe(Effect.scoped, Effect.timeout("15 seconds"))
  )
})

describe("nodes that come and go", () => {
  const names = ["A", "B", "C", "D", "E", "F", "G", "H"]
  const mapOf = (count: number): ReadonlyArray<Range> => {
    const width = Math.ceil(16_384 / count)
    return names.slice(0, count).map((name, i) => [i * width, Math.min(16_383, (i + 1) * width - 1), name] as const)
  }

  fake(
    "leave no socket behind, and take no call with them",
    (cluster) =>
      Effect.gen(function* () {
        const client = yield* RedisCluster.RedisCluster
        const keys = Array.from({ length: 40 }, (_, i) => `key:${i}`)
        let wrong = 0
        const load = yield* Effect.forkChild(
          Effect.forever(
            Effect.gen(function* () {
              for (const reply of yield* Redis.pipeline(keys.map((key) => ["GET", key]))) {
                if (typeof reply !== "string" || !reply.startsWith("key:")) wrong++
              }
              yield* Effect.sleep(1)
            })
          )
        )
        for (let round = 0; round < 10; round++) {
          cluster.map = mapOf(round % 2 === 0 ? 8 : 3)
          yield* client.refresh
          yield* Effect.sleep(20)
        }
        const open = Effect.forEach(names.slice(3), (name) =>
          Effect.map(
            cluster.node(name).server.log,
            (log) =>
              log.filter(({ event }) => event === "opened").length -
              log.filter(({ event }) => event === "closed").length
          )
        )
        yield* Effect.repeat(Effect.andThen(Effect.sleep(50), open), {
          until: (counts) => counts.every((count) => count === 0)
        }).pipe(Effect.timeout("5 seconds"))
        yield* Fiber.interrupt(load)
        assert.strictEqual(wrong, 0)
        assert.strictEqual((yield* RedisCluster.status).shards.length, 3)
      }),
    { names, map: mapOf(3) }
  )
})

describe("the end", () => {
  fake("CLU-091 a node's connection that is lost comes back as the same node", (cluster) =>
    Effect.gen(function* () {
      yield* Redis.command(["GET", "x"])
      const cut = once(true)
      cluster.node("A").answer = (line, connection) =>
        line[0] === "GET" && cut() === true ? Effect.andThen(connection.reset, Effect.void) : undefined
      assert.strictEqual(yield* Redis.command(["GET", "x"]), "x of A")
      const { shards } = yield* RedisCluster.status
      assert.deepStrictEqual(
        [shards.length, shards[0]?.primary.id, shards[0]?.primary.sessions],
        [1, "A".padEnd(40, "0"), 2]
      )
    })
  )

  it.live("CLU-124 CLU-125 settles every call, whatever they were waiting for, and leaves no socket", () =>
    Effect.gen(function* () {
      const cluster = yield* makeFakes(["A", "B"], halves)
      cluster.node("A").answer = ([word]) =>
        word === "SET"
          ? "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
          : word === "EXEC"
            ? "-EXECABORT discarded\r\n"
            : undefined
      cluster.node("B").answer = (line) => (line[0] === "SET" ? Effect.void : undefined)
      const fibers = yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* RedisCluster.make({ nodes: cluster.seeds, closeTimeout: 200, start: "await" })
          const calls: ReadonlyArray<Effect.Effect<unknown, RedisError.RedisError>> = [
            client.service.command(["SET", "hello", 1]),
            client.service.command(["SET", "x", 1]),
            client.service.pipeline([
              ["SET", "hello", 1],
              ["SET", "x", 1]
            ]),
            client.service.transaction([["SET", "hello", 1]]),
            client.service.command(["MSET", "hello", 1])
          ]
          const started = yield* Effect.forEach(calls, (call) =>
            Effect.forkDetach(Effect.exit(call), { startImmediately: true })
          )
          yield* Effect.sleep(100)
          return started
        })
      )
      const ends = yield* Effect.forEach(fibers, (fiber) => Effect.timeout(Fiber.join(fiber), 1_000))
      assert.deepStrictEqual(
        ends.map((end) => end._tag),
        ["Failure", "Failure", "Failure", "Failure", "Success"]
      )
      for (const name of ["A", "B"]) {
        const open = Effect.map(
          cluster.node(name).server.log,
          (log) =>
            log.filter(({ event }) => event === "opened").length - log.filter(({ event }) => event === "closed").length
        )
        yield* Effect.repeat(Effect.andThen(Effect.sleep(10), open), { until: (count) => count <= 0 })
      }
    }).pipe(Effect.scoped, Effect.timeout("15 seconds"))
  )
})
