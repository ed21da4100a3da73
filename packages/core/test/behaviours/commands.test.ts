/** What commands and pipelines give and how they fail, on real servers. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, Resp } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Random } from "./random.ts"
import { matrix, outcomeOf, reasonOf, submit } from "./support.ts"

const each = <A, E, R>(count: number, f: (i: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    f,
    { concurrency: "unbounded" }
  )

const replyError = (effect: Parameters<typeof reasonOf>[0]) =>
  Effect.map(reasonOf(effect as ReturnType<typeof Redis.command>), (reason) => {
    assert.ok(reason._tag === "ReplyError", reason.message)
    return reason
  })

const clientId = Redis.command(["CLIENT", "ID"])

/** What JavaScript can pass where types do not hold. */
const untyped = (value: unknown): never => value as never

matrix("Values", (it, { resp }) => {
  it(
    "CLIENT-001 CONN-018 PING is answered, with and without a text",
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      assert.strictEqual(yield* Redis.command(["PING", "x"]), "x")
    })
  )

  it(
    "CLIENT-002 a missing value is null in both protocols",
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["GET", "missing"]), null)
      assert.deepStrictEqual(yield* Redis.command(["MGET", "a", "b"]), [null, null])
      assert.strictEqual((yield* Redis.status).protocol, resp)
    })
  )

  it(
    "CLIENT-003 texts and bytes come back as they went",
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", ""])
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "")
      yield* Redis.command(["SET", "é漢😀", "é漢😀"])
      assert.strictEqual(yield* Redis.command(["GET", "é漢😀"]), "é漢😀")
      assert.strictEqual(yield* Redis.command(["STRLEN", "é漢😀"]), Buffer.byteLength("é漢😀"))
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      yield* Redis.command(["SET", all, all])
      assert.deepStrictEqual(yield* Redis.command(["GET", all], { decode: "bytes" }), all)
    })
  )

  it(
    "CLIENT-004 CLIENT-005 a hash is a Map in RESP3, flat in RESP2, and touches no prototype",
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["HSET", "h", "f1", "v1", "__proto__", "x", "", "e"]), 3)
      const hash = yield* Redis.command(["HGETALL", "h"])
      const pairs = [
        ["f1", "v1"],
        ["__proto__", "x"],
        ["", "e"]
      ] as const
      assert.deepStrictEqual(hash, resp === 3 ? new Map(pairs) : pairs.flat())
      assert.isUndefined(Reflect.get(Object.prototype, "f1"))
      assert.deepStrictEqual(yield* Redis.command(["HGETALL", "nokey"]), resp === 3 ? new Map() : [])
    })
  )

  it(
    "CLIENT-006 CLIENT-007 scores are numbers in RESP3 and texts in RESP2",
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["ZADD", "z", "1.5", "m", "inf", "i"]), 2)
      assert.strictEqual(yield* Redis.command(["ZSCORE", "z", "m"]), resp === 3 ? 1.5 : "1.5")
      assert.strictEqual(yield* Redis.command(["ZSCORE", "z", "i"]), resp === 3 ? Infinity : "inf")
      assert.strictEqual(yield* Redis.command(["ZSCORE", "z", "none"]), null)
      const range = yield* Redis.command(["ZRANGE", "z", 0, -1, "WITHSCORES"])
      assert.deepStrictEqual(
        range,
        resp === 3
          ? [
              ["m", 1.5],
              ["i", Infinity]
            ]
          : ["m", "1.5", "i", "inf"]
      )
      yield* Redis.command(["ZADD", "z", -Infinity, "low"])
      assert.strictEqual(yield* Redis.command(["ZSCORE", "z", "low"]), resp === 3 ? -Infinity : "-inf")
    })
  )

  it(
    "CLIENT-008 a set is a Set in RESP3 and an array in RESP2",
    Effect.gen(function* () {
      yield* Redis.command(["SADD", "s", "a", "b", "c"])
      const members = yield* Redis.command(["SMEMBERS", "s"])
      assert.ok(members instanceof Set || Array.isArray(members))
      assert.strictEqual(members instanceof Set, resp === 3)
      assert.deepStrictEqual([...members].sort(), ["a", "b", "c"])
    })
  )

  it(
    "CLIENT-009 every type of the protocol comes as its value",
    Effect.gen(function* () {
      const big = 1234567999999999999999999999999999999n
      const expected: Record<string, readonly [resp3: Resp.Reply, resp2: Resp.Reply]> = {
        string: ["Hello World", "Hello World"],
        integer: [12345, 12345],
        double: [Number("3.141"), "3.141"],
        null: [null, null],
        array: [
          [0, 1, 2],
          [0, 1, 2]
        ],
        set: [new Set([0, 1, 2]), [0, 1, 2]],
        map: [
          new Map([
            [0, false],
            [1, true],
            [2, false]
          ]),
          [0, 0, 1, 1, 2, 0]
        ],
        verbatim: ["This is a verbatim\nstring", "This is a verbatim\nstring"],
        true: [true, 1],
        false: [false, 0],
        bignum: [big, String(big)]
      }
      for (const [type, [resp3, resp2]] of Object.entries(expected)) {
        const reply = yield* Redis.command(["DEBUG", "PROTOCOL", type])
        assert.deepStrictEqual(reply, resp === 3 ? resp3 : resp2, type)
      }
    })
  )

  if (resp === 3) {
    it(
      "CLIENT-010 CLIENT-011 an attribute is skipped, and a push takes no reply's place",
      Effect.gen(function* () {
        const [before, attributed, pushed, after] = yield* Effect.all(
          [
            Redis.command(["ECHO", "before"]),
            Redis.command(["DEBUG", "PROTOCOL", "attrib"]),
            Redis.command(["DEBUG", "PROTOCOL", "push"]),
            Redis.command(["ECHO", "after"])
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([before, after], ["before", "after"])
        assert.strictEqual(attributed, "Some real reply following the attribute")
        assert.strictEqual(pushed, "Some real reply following the push reply")
      })
    )
  }

  it(
    "CLIENT-013 CONN-043 10 000 calls of one turn get each its own reply, in order",
    Effect.gen(function* () {
      const sets = Array.from({ length: 10_000 }, (_, i) => ["SET", `k${i}`, `v${i}`])
      yield* Redis.pipeline(sets)
      const order: Array<number> = []
      const values = yield* each(10_000, (i) =>
        Effect.tap(Redis.command(["GET", `k${i}`]), () => Effect.sync(() => order.push(i)))
      )
      assert.deepStrictEqual(
        values,
        sets.map(([, , value]) => value)
      )
      assert.deepStrictEqual(
        order,
        [...order].sort((a, b) => a - b)
      )
      const echoes = yield* each(200, (i) => Redis.command(["ECHO", `text ${i}`]))
      assert.deepStrictEqual(
        echoes,
        echoes.map((_, i) => `text ${i}`)
      )
    })
  )

  it(
    "CONN-019 CONN-020 scripts run, whatever the case of the command's name",
    Effect.gen(function* () {
      const script = "redis.call('SET', 'side', 'effect') return {KEYS[1], ARGV[1], ARGV[2]}"
      assert.deepStrictEqual(yield* Redis.command(["eval", script, 1, "key", "first", "second"]), [
        "key",
        "first",
        "second"
      ])
      assert.strictEqual(yield* Redis.command(["GET", "side"]), "effect")
      const sha = yield* Redis.command(["SCRIPT", "LOAD", "return 'hello world'"])
      assert.ok(typeof sha === "string")
      assert.deepStrictEqual(yield* Redis.command(["SCRIPT", "EXISTS", sha, "foo"]), [1, 0])
      assert.strictEqual(yield* Redis.command(["EVALSHA", sha, 0]), "hello world")
    })
  )

  it(
    "CONN-034 CONN-037 a call is an effect of its plain result",
    Effect.gen(function* () {
      assert.strictEqual(yield* Redis.command(["SET", "k", "foo"]), "OK")
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "foo")
      const replies = yield* Redis.pipeline([
        ["SET", "k", "bar"],
        ["GET", "k"]
      ])
      assert.deepStrictEqual(replies, ["OK", "bar"])
    })
  )

  it(
    "CONN-025 CONN-026 CONN-027 a pipeline gives all replies in order, however many",
    Effect.gen(function* () {
      const replies = yield* Redis.pipeline([
        ["SET", "n", 10],
        ["INCR", "n"],
        ["GET", "n"]
      ])
      assert.deepStrictEqual(replies, ["OK", 11, "11"])
      assert.deepStrictEqual(yield* Redis.pipeline([["GET", "n"]]), ["11"])
      for (let round = 0; round < 2; round++) {
        const many = yield* Redis.pipeline(Array.from({ length: 10_000 }, () => ["GET", "n"]))
        assert.deepStrictEqual([many.length, new Set(many)], [10_000, new Set(["11"])])
      }
    })
  )

  it(
    "CONN-040 any sequence of SET and GET agrees with a map",
    Effect.gen(function* () {
      for (let seed = 1; seed <= 5; seed++) {
        const random = new Random(seed)
        const model = new Map<string, string>()
        for (let step = 0; step < 40; step++) {
          const known = [...model.keys()]
          const key = known.length > 0 && random.chance(0.5) ? known[random.below(known.length)]! : random.text(20)
          if (random.chance(0.5)) {
            const value = random.text(20)
            assert.strictEqual(yield* Redis.command(["SET", `${seed}:${key}`, value]), "OK", `seed ${seed}`)
            model.set(key, value)
          } else {
            const value = yield* Redis.command(["GET", `${seed}:${key}`])
            assert.strictEqual(value, model.get(key) ?? null, `seed ${seed}`)
          }
        }
      }
    })
  )
})

const notAnInteger = "ERR value is not an integer or out of range"

matrix("A server's error", (it) => {
  it(
    "CLIENT-014 CONN-021 CONN-028 CONN-038 fails its own call, or is an element of its pipeline, and harms no neighbour",
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", "v"])
      const [before, failed, after] = yield* Effect.all(
        [Redis.command(["GET", "k"]), replyError(Redis.command(["INCR", "k"])), Redis.command(["GET", "k"])],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([before, failed.message, failed.command, after], ["v", notAnInteger, "INCR", "v"])
      const [ok, error, value] = yield* Redis.pipeline([
        ["SET", "k", "foo"],
        ["INCR", "k"],
        ["GET", "k"]
      ])
      assert.ok(error instanceof Resp.ReplyError)
      assert.deepStrictEqual([ok, error.message, error.command, value], ["OK", notAnInteger, "INCR", "foo"])
    })
  )

  it(
    "CLIENT-015 CONN-035 has a code and the server's text",
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", "v"])
      const wrongType = yield* replyError(Redis.command(["LPUSH", "k", "x"]))
      assert.deepStrictEqual([wrongType.code, wrongType.command], ["WRONGTYPE", "LPUSH"])
      const arity = yield* replyError(Redis.command(["GET"]))
      assert.strictEqual(arity.code, "ERR")
      assert.include(arity.message, "wrong number of arguments for 'get' command")
      const unknown = yield* replyError(Redis.command(["NOSUCH", "a-secret"]))
      assert.match(unknown.message, /^ERR unknown command 'NOSUCH'/)
      assert.notInclude(unknown.message, "a-secret")
    })
  )

  it(
    "CLIENT-016 does not restart the connection",
    Effect.gen(function* () {
      const id = yield* clientId
      for (const command of [["NOSUCH"], ["GET"], ["EVAL", "return redis.error_reply('MYERR x')", 0]]) {
        yield* replyError(Redis.command(command))
      }
      assert.strictEqual(yield* clientId, id)
      assert.strictEqual((yield* Redis.status).sessions, 1)
    })
  )

  it(
    "CLIENT-017 from a script keeps its own code; a missing script is NOSCRIPT",
    Effect.gen(function* () {
      const missing = yield* replyError(Redis.command(["EVALSHA", "f".repeat(40), 0]))
      assert.strictEqual(missing.code, "NOSCRIPT")
      const own = yield* replyError(Redis.command(["EVAL", "return redis.error_reply('MYERR x')", 0]))
      assert.deepStrictEqual([own.code, own.message], ["MYERR", "MYERR x"])
    })
  )
})

matrix("A call that cannot be sent", (it) => {
  const refuses = Effect.fnUntraced(function* (call: ReturnType<typeof Redis.command>, text: RegExp) {
    const reason = yield* reasonOf(call)
    assert.strictEqual(reason._tag, "RedisArgumentError", reason.message)
    assert.match(reason.message, text)
  })

  it(
    "CLIENT-018 CONN-023 CONN-057 fails by itself, before a byte is written, and the connection lives on",
    Effect.gen(function* () {
      const id = yield* clientId
      const wrong: ReadonlyArray<readonly [unknown, RegExp]> = [
        ["PING", /array/],
        [[], /empty|name/],
        [["SET", "k", undefined], /argument/i],
        [["SET", "k", null], /argument/i],
        [["SET", "k", {}], /argument/i],
        [["SET", "k", true], /argument/i],
        [["SET", "k", NaN], /NaN/],
        [["SET", "k", "\ud800"], /surrogate|UTF/i],
        [[Symbol.for("get"), "x"], /name|argument/i],
        [["SET", "k", Symbol.for("x")], /argument/i]
      ]
      for (const [command, text] of wrong) yield* refuses(Redis.command(untyped(command)), text)
      const number = yield* outcomeOf(Redis.command(untyped([1, "x"])))
      assert.ok(number[0] === "ReplyError" || number[0] === "RedisArgumentError", String(number))
      assert.strictEqual(yield* clientId, id)
      assert.strictEqual(yield* Redis.command(["EXISTS", "k"]), 0)
    })
  )

  it(
    "CONN-029 CONN-030 CONN-033 makes its whole pipeline fail, and nothing of it is sent",
    Effect.gen(function* () {
      const pipeline = (commands: unknown) => Redis.pipeline(untyped(commands))
      const refusesAll = (commands: unknown, text: RegExp) =>
        Effect.map(reasonOf(pipeline(commands)), (reason) => {
          assert.strictEqual(reason._tag, "RedisArgumentError", reason.message)
          assert.match(reason.message, text)
        })
      yield* refusesAll([], /at least one command/)
      yield* refusesAll("PING", /array/)
      yield* refusesAll(["PING"], /array/)
      for (const at of [0, 1, 2]) {
        const commands = [
          ["SET", "a", 1],
          ["SET", "b", 2]
        ].toSpliced(at, 0, [])
        yield* refusesAll(commands, /empty|name/)
      }
      assert.strictEqual(yield* Redis.command(["EXISTS", "a", "b"]), 0)
    })
  )

  it(
    "CONN-031 CONN-032 CONN-058 names the right way: what would desynchronise the shared connection is refused",
    Effect.gen(function* () {
      const id = yield* clientId
      const refused: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [["SUBSCRIBE", "c"], /Redis\.subscribe/],
        [["pSubscribe", "c*"], /Redis\.psubscribe/],
        [["SSUBSCRIBE", "c"], /Redis\.ssubscribe/],
        [["UNSUBSCRIBE", "c"], /subscri/],
        [["punsubscribe", "c"], /subscri/],
        [["MONITOR"], /MONITOR/],
        [["HELLO", "3"], /protocol/],
        [["RESET"], /RESET/],
        [["QUIT"], /QUIT|close/],
        [["client", "reply", "OFF"], /Redis\.noreply/],
        [["CLIENT", "Reply", "SKIP"], /Redis\.noreply/],
        [["CLIENT", "REPLY", "ON"], /Redis\.noreply/],
        [["MULTI"], /Redis\.transaction/],
        [["WATCH", "k"], /Redis\.watch/],
        [["SELECT", "1"], /database/],
        [["AUTH", "hunter2"], /password/]
      ]
      for (const [command, text] of refused) {
        yield* refuses(Redis.command(command), text)
        yield* refuses(Redis.command(command.map((word) => Buffer.from(word))), text)
        const reason = yield* reasonOf(Redis.pipeline([["PING"], command]))
        assert.strictEqual(reason._tag, "RedisArgumentError")
        assert.match(reason.message, text)
        assert.notInclude(reason.message, "hunter2")
      }
      assert.strictEqual(yield* clientId, id)
    })
  )
})

describe("A large argument", () => {
  it.live("CONN-048 of bytes is handed to the socket as it is: the memory stays near its size", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const size = 100 * 1024 * 1024
      const value = Buffer.alloc(size, 120)
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        let most = 0
        const measure = Effect.sync(() => {
          const { arrayBuffers, heapUsed } = process.memoryUsage()
          return arrayBuffers + heapUsed
        })
        const before = yield* measure
        const watching = yield* submit(
          Effect.forever(
            Effect.andThen(
              Effect.tap(measure, (now) => Effect.sync(() => (most = Math.max(most, now)))),
              Effect.sleep(1)
            )
          )
        )
        assert.strictEqual(yield* Redis.command(["SET", "k", value]), "OK")
        yield* Fiber.interrupt(watching)
        assert.isBelow(most - before, size * 0.2)
        assert.strictEqual(yield* Redis.command(["STRLEN", "k"]), size)
        assert.strictEqual(yield* Redis.command(["SET", "k", "x".repeat(size)]), "OK")
        assert.strictEqual(yield* Redis.command(["STRLEN", "k"]), size)
      }).pipe(Effect.provide(Redis.layer({ port: server.port, timeout: "20 seconds" })))
    })
  )
})
