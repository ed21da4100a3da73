/**
 * What a second look found: cases at the edges of the calls, the options and the table, each by what must hold.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisOptions, RedisService } from "@relive/core"
import type { RedisError } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import type { ConnectionState } from "../src/RedisService.ts"
import * as Resp from "../src/Resp.ts"
import { Call, INTERNAL } from "../src/internal/call/call.ts"
import type { Outcome } from "../src/internal/call/call.ts"
import * as finishers from "../src/internal/call/finishers.ts"
import { Batch, Encoder } from "../src/internal/resp/encoder.ts"
import { Session } from "../src/internal/connection/session.ts"
import { sessionEnd } from "../src/internal/transport/sessionEnd.ts"
import type { Owner } from "../src/internal/connection/session.ts"
import { awaitState, eager, outcomeOf, reasonOf, serving, submit } from "./behaviours/support.ts"

const withServer = (options: RedisOptions.Options = {}, server: RedisServer.Options = {}) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options }))).pipe(
    Layer.provideMerge(RedisServer.layer(server))
  )

describe("law 2: a transaction that is said to be discarded has not run", () => {
  for (const ender of ["EXEC", "DISCARD"]) {
    it.live(`also when a lease's own ${ender} in it has ended it early`, () =>
      Effect.gen(function* () {
        const lease = yield* Redis.lease
        const reason = yield* reasonOf(lease.transaction([["SET", "a", 1], [ender], ["SET", "b", 2]]))
        assert.strictEqual(yield* Redis.command(["GET", "b"]), "2")
        assert.ok(reason._tag === "ReplyError")
        assert.strictEqual(reason.delivery, "unknown")
        assert.deepStrictEqual(reason.replies?.[2], "OK")
      }).pipe(Effect.scoped, Effect.provide(withServer()))
    )
  }

  for (const exec of ["*-1\r\n", "-EXECABORT discarded\r\n", "-ERR EXEC without MULTI\r\n"]) {
    it.live(`also by a server that runs what it should queue (${exec.trim()})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make(
          serving(([name]) => (name === "EXEC" ? exec : name === "MULTI" || name === "SET" ? "+OK\r\n" : undefined))
        )
        const reason = yield* reasonOf(Redis.transaction([["SET", "a", 1]])).pipe(
          Effect.provide(Redis.layer({ port: fake.port }))
        )
        assert.ok(reason._tag === "ReplyError")
        assert.strictEqual(reason.delivery, "unknown")
      }).pipe(Effect.scoped)
    )
  }
})

describe("a transaction", () => {
  it.live("whose EXEC answers more or less than there were commands is no success", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name]) => (name === "EXEC" ? "*1\r\n+OK\r\n" : name === "MULTI" ? "+OK\r\n" : "+QUEUED\r\n"))
      )
      yield* Effect.gen(function* () {
        for (const count of [0, 2]) {
          const commands = Array.from({ length: count }, () => ["SET", "k", "v"])
          const reason = yield* reasonOf(Redis.transaction(commands))
          assert.ok(reason._tag === "ReplyError")
          assert.strictEqual(reason.delivery, "unknown")
        }
        assert.deepStrictEqual(yield* Redis.transaction([["SET", "k", "v"]]), ["OK"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    }).pipe(Effect.scoped)
  )
})

describe("the option `retry`", () => {
  it.live("does not run a transaction again whose watched keys have changed: nothing would watch them", () =>
    Effect.gen(function* () {
      const lease = yield* Redis.lease
      yield* lease.command(["WATCH", "k"])
      yield* Redis.command(["SET", "k", "theirs"])
      const own = Redis.transaction([["SET", "k", "own"]], { retry: { for: "any" } })
      const reason = yield* reasonOf(Effect.provideService(own, RedisService, lease))
      assert.strictEqual(reason._tag, "WatchConflict")
      assert.strictEqual(yield* Redis.command(["GET", "k"]), "theirs")
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )

  it.live("does not load a script again for a NOSCRIPT that it made itself, after its writes", () =>
    Effect.gen(function* () {
      const script = Redis.script("redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT of my own')")
      yield* Effect.flip(script(["made"]))
      assert.strictEqual(yield* Redis.command(["GET", "made"]), "1")
      const error = yield* Effect.flip(script(["made"]))
      assert.deepInclude(error.reason, { _tag: "ReplyError", code: "NOSCRIPT" })
      assert.strictEqual(yield* Redis.command(["GET", "made"]), "2")
    }).pipe(Effect.provide(withServer()))
  )

  it.live("does not run a script again for an error that it may have made itself, after its writes", () =>
    Effect.gen(function* () {
      const script = Redis.script("redis.call('INCR', KEYS[1]) return redis.error_reply('BUSY come back later')")
      const error = yield* Effect.flip(script(["n"], [], { retry: { for: "unsent" }, timeout: 300 }))
      assert.strictEqual(error.reason._tag, "ReplyError")
      assert.isFalse(error.isRetryable)
      assert.strictEqual(yield* Redis.command(["GET", "n"]), "1")
    }).pipe(Effect.provide(withServer()))
  )

  it.effect("leaves a blocking call the server's own time", () =>
    Effect.gen(function* () {
      const options = { timeout: 1000, healthCheckInterval: "infinite" } as const
      const retry = { for: "unsent" } as const
      const blocking: ReadonlyArray<Effect.Effect<unknown, RedisError.RedisError, RedisService>> = [
        Redis.command(["BLPOP", "k", 60], { retry }),
        Redis.pipeline(
          [
            ["BLPOP", "k", 20],
            ["BLPOP", "k", 40]
          ],
          { retry }
        )
      ]
      for (const call of blocking) {
        const arrived = yield* Deferred.make<void>()
        const late = Effect.as(Effect.andThen(Deferred.succeed(arrived, undefined), Effect.never), "")
        const fake = yield* FakeServer.make(serving(([name]) => (name === "BLPOP" ? late : undefined)))
        const outcome = yield* submit(Effect.provide(outcomeOf(call), Redis.layer({ ...options, port: fake.port })))
        yield* Deferred.await(arrived)
        yield* TestClock.adjust(60_900)
        assert.strictEqual(outcome.pollUnsafe(), undefined)
        yield* TestClock.adjust(2000)
        assert.deepStrictEqual(yield* Fiber.join(outcome), ["TimeoutError", "written", "unknown"])
      }
    }).pipe(Effect.scoped)
  )
})

describe("the health check leaves a call its own deadline", () => {
  for (const [what, command, millis] of [
    ["blocks", ["BLPOP", "k", 60], 65_000],
    ["has a timeout that is longer than the check's interval", ["HANG"], 20_000]
  ] as const) {
    it.effect(`when it ${what}`, () =>
      Effect.gen(function* () {
        const arrived = yield* Deferred.make<void>()
        const late = Effect.as(Effect.andThen(Deferred.succeed(arrived, undefined), Effect.never), "")
        const fake = yield* FakeServer.make(serving(([name]) => (name === command[0] ? late : undefined)))
        const options = command[0] === "HANG" ? { timeout: millis } : {}
        const call = Effect.provide(outcomeOf(Redis.command(command, options)), Redis.layer({ port: fake.port }))
        const outcome = yield* submit(call)
        yield* Deferred.await(arrived)
        yield* TestClock.adjust(millis * 1.03)
        assert.deepStrictEqual(yield* Fiber.join(outcome), ["TimeoutError", "written", "unknown"])
      }).pipe(Effect.scoped)
    )
  }
})

/** As a program without types may call it. */
const untyped = (options: unknown): Effect.Effect<unknown, RedisError.RedisError, RedisService> =>
  Effect.suspend(() => Reflect.apply(Redis.command, undefined, [["INCR", "n"], options]))

describe("what is no command", () => {
  it.live("is the caller's error, also with the option `retry`", () =>
    Effect.gen(function* () {
      const options = { retry: { for: "unsent" } }
      for (const call of [Redis.command, Redis.pipeline, Redis.transaction, Redis.noreply]) {
        for (const given of [null, "PING", [null], [], [[]]]) {
          const effect: Effect.Effect<unknown, RedisError.RedisError, RedisService> = Effect.suspend(() =>
            Reflect.apply(call, undefined, [given, options])
          )
          const isEmptyTransaction = call === Redis.transaction && Array.isArray(given) && given.length === 0
          if (!isEmptyTransaction) assert.strictEqual((yield* reasonOf(effect))._tag, "RedisArgumentError")
        }
      }
    }).pipe(Effect.provide(withServer()))
  )
})

describe("options of a call that are not what they must be", () => {
  it.live("are the caller's error, and nothing is sent", () =>
    Effect.gen(function* () {
      const wrong: ReadonlyArray<readonly [name: string, options: unknown]> = [
        ["decode", { decode: "json" }],
        ["decode", { decode: "Bytes" }],
        ["retry", { retry: true }],
        ["retry", { retry: null }],
        ["retry", { retry: "any" }],
        ["retry", { retry: {} }],
        // Were it taken for `any`, a write would run twice.
        ["retry", { retry: { for: "readonly" } }],
        ["retry", { retry: { for: "unsent", schedule: 3 } }],
        ["schema", { schema: null }],
        ["schema", { schema: 5 }],
        ["options", null],
        ["options", "bytes"],
        ["options", 5]
      ]
      for (const [name, options] of wrong) {
        const reason = yield* reasonOf(untyped(options))
        assert.strictEqual(reason._tag, "RedisArgumentError", JSON.stringify(options))
        assert.include(reason.message, name)
      }
      assert.strictEqual(yield* Redis.command(["GET", "n"]), null)
    }).pipe(Effect.provide(withServer()))
  )
})

const refusalOf = (input: unknown): string => {
  const result: ReturnType<typeof RedisOptions.resolve> = Reflect.apply(RedisOptions.resolve, undefined, [input])
  return Result.match(result, { onFailure: ({ message }) => message, onSuccess: () => assert.fail("it was taken") })
}

describe("law 10: an error of the options shows no password", () => {
  it("that is a number", () => {
    assert.notInclude(refusalOf({ password: 31337424 }), "31337424")
  })

  it("that holds what separates the parts of a URL", () => {
    for (const url of [
      "redis://user:6379/hunter2?x@host",
      "redis://user:1/hunter2?a=b@host",
      "redis://user:1/hunter2%40host:6379",
      "redis://user:1/hunter2:x[::1]:1/0",
      "redis://user:1/1?hunter2/x.sock?db=1"
    ]) {
      assert.notInclude(refusalOf(url), "hunter2")
    }
  })
})

describe("the effect of the option `password`", () => {
  const ways: ReadonlyArray<readonly [how: string, end: Effect.Effect<never, unknown>]> = [
    ["fails", Effect.fail("no vault")],
    ["dies", Effect.die(new Error("no vault"))],
    ["is interrupted", Effect.interrupt]
  ]
  for (const [how, end] of ways) {
    it.live(`that ${how} is asked again, for connections and for leases, and an error names it`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        let asked = 0
        // Each session asks; the first ones of the connection and of the lease get none.
        const password = Effect.suspend(() => (++asked % 4 === 0 ? Effect.succeed("secret") : end))
        yield* server.command(["CONFIG", "SET", "requirepass", "secret"])
        yield* Effect.gen(function* () {
          yield* awaitState("backoff")
          const { lastError } = yield* Redis.status
          assert.include(String(lastError?.message), "`password`")
          assert.strictEqual(yield* Redis.command(["ECHO", "x"]), "x")
          assert.strictEqual(yield* Redis.command(["BLPOP", "k", 0.01]), null)
        }).pipe(Effect.provide(Redis.layer({ port: server.port, password, ...eager })))
      }).pipe(Effect.scoped)
    )
  }
})

describe("noreply on a lease that is inside of MULTI", () => {
  it.live("is no success, as nothing has run", () =>
    Effect.gen(function* () {
      const lease = yield* Redis.lease
      yield* lease.command(["MULTI"])
      const reason = yield* reasonOf(lease.noreply([["SET", "k", "v"]]))
      assert.ok(reason._tag === "ReplyError")
      assert.strictEqual(reason.delivery, "unknown")
      assert.deepStrictEqual(reason.replies, ["QUEUED"])
      // What EXEC would run now switches replies off: nobody can tell any more which is whose.
      assert.deepStrictEqual(yield* outcomeOf(lease.command(["EXEC"])), ["closed", "unsent"])
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )
})

describe("commands that are longer together than a string can be", () => {
  it("are encoded in parts", () => {
    const value = "x".repeat(4000)
    const together = Array.from({ length: 140_000 }, () => value)
    for (const commands of [[["MSET", ...together]], together.map((text) => ["ECHO", text])]) {
      const encoder = new Encoder()
      const payload = encoder.encodeAll(commands)
      assert.ok(Array.isArray(payload))
      const batch = new Batch()
      batch.add("x".repeat(1000))
      batch.add(payload)
      const lengths = batch.take().map((chunk) => chunk.length)
      assert.strictEqual(
        lengths.reduce((sum, length) => sum + length),
        1000 + encoder.bytes
      )
    }
  })
})

describe("a scan", () => {
  it.live("leaves nothing out: a page of anything else than its elements is an error", () =>
    Effect.gen(function* () {
      let page = ""
      const fake = yield* FakeServer.make(
        serving(([name = ""]) => (name.endsWith("SCAN") ? `*2\r\n$1\r\n0\r\n${page}` : undefined))
      )
      const wrong: ReadonlyArray<
        readonly [page: string, scan: Stream.Stream<unknown, RedisError.RedisError, RedisService>]
      > = [
        ["*2\r\n+a\r\n:1\r\n", Redis.scan()],
        ["*1\r\n_\r\n", Redis.sscan("k", { decode: "bytes" })],
        ["*3\r\n+a\r\n+1\r\n+b\r\n", Redis.hscan("k")],
        ["*1\r\n*2\r\n+a\r\n+1\r\n", Redis.hscan("k")],
        ["*2\r\n+a\r\n+high\r\n", Redis.zscan("k")],
        ["*3\r\n+a\r\n+1\r\n+b\r\n", Redis.zscan("k")],
        ["*1\r\n*2\r\n+a\r\n,1.5\r\n", Redis.zscan("k")]
      ]
      yield* Effect.gen(function* () {
        for (const [given, scan] of wrong) {
          page = given
          assert.strictEqual((yield* reasonOf(Stream.runCollect(scan)))._tag, "DecodeError", given)
        }
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    }).pipe(Effect.scoped)
  )
})

describe("an argument of bytes", () => {
  it.live("is what it was when the call was made, whatever becomes of a small one later", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const gate = yield* Deferred.make<string>()
      yield* server.command(["CONFIG", "SET", "requirepass", "secret"])
      yield* Effect.gen(function* () {
        for (const bytes of [Buffer.from("before"), new TextEncoder().encode("before")]) {
          const set = yield* submit(Redis.command(["SET", "k", bytes]))
          bytes.fill(0x2a)
          yield* Deferred.succeed(gate, "secret")
          yield* Fiber.join(set)
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "before")
        }
      }).pipe(Effect.provide(Redis.layer({ port: server.port, password: Deferred.await(gate) })))
    }).pipe(Effect.scoped)
  )
})

describe("a server that does not take HELLO", () => {
  for (const said of [
    "ERR handle request, command 'HELLO' is not allowed",
    "ERR command not supported",
    "ERR unsupported command `HELLO`",
    "unknown command 'HELLO'"
  ]) {
    it.live(`is spoken to in RESP2, whatever its words (${said})`, () =>
      Effect.gen(function* () {
        const hello: FakeServer.Handler = ([name]) => (name === "HELLO" ? `-${said}\r\n` : undefined)
        const fake = yield* FakeServer.make((connection) => connection.serve(hello, FakeServer.handshake))
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
          assert.strictEqual((yield* Redis.status).protocol, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      }).pipe(Effect.scoped)
    )
  }
})

describe("a server that says why it refuses us, and closes at once", () => {
  const cases: ReadonlyArray<readonly [said: string, state: ConnectionState, kind: string]> = [
    ["-NOAUTH Authentication required.", "failed", "handshake"],
    ["-WRONGPASS invalid username-password pair or user is disabled.", "failed", "handshake"],
    ["-LOADING Redis is loading the dataset in memory", "backoff", "connect"]
  ]
  for (const [said, state, kind] of cases) {
    it.live(`is believed (${said})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) =>
          Effect.gen(function* () {
            yield* connection.command
            yield* connection.send(`${said}\r\n`)
            yield* connection.end
            yield* connection.silent
          })
        )
        yield* Effect.gen(function* () {
          yield* awaitState(state)
          const reason = (yield* Redis.status).lastError?.reason
          assert.ok(reason?._tag === "ConnectionError")
          assert.strictEqual(reason.kind, kind)
          assert.include(reason.message, said.slice(1))
        }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      }).pipe(Effect.scoped)
    )
  }
})

describe("while calls fail at once, so do those that need a connection of their own", () => {
  const blocking = [
    Redis.command(["BLPOP", "k", 1]),
    Effect.scoped(Redis.lease),
    Redis.watch(["k"], Effect.succeed([]))
  ]
  /** None of them dials. */
  const failAtOnce = (fake: FakeServer.FakeServer, outcome: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const dials = yield* fake.accepted
      for (const call of [Redis.command(["GET", "k"]), ...blocking]) {
        const calling: Effect.Effect<unknown, RedisError.RedisError, RedisService> = call
        assert.deepStrictEqual(yield* outcomeOf(calling), outcome)
      }
      assert.strictEqual(yield* fake.accepted, dials)
    })

  it.live("in `failed`", () =>
    Effect.gen(function* () {
      const refusing: FakeServer.Handler = ([name]) => (name === "HELLO" ? "-WRONGPASS no\r\n" : undefined)
      const fake = yield* FakeServer.make((connection) => connection.serve(refusing, FakeServer.handshake))
      yield* Effect.andThen(awaitState("failed"), failAtOnce(fake, ["handshake", "unsent"])).pipe(
        Effect.provide(Redis.layer({ port: fake.port, backoffCap: "1 minute" }))
      )
    }).pipe(Effect.scoped)
  )

  it.live('in `backoff` with `whenDown: "fail"`', () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving())
      yield* Effect.gen(function* () {
        yield* awaitState("ready")
        yield* (yield* fake.connection(0)).reset
        yield* awaitState("backoff")
        yield* failAtOnce(fake, ["disconnected", "unsent"])
      }).pipe(
        Effect.provide(
          Redis.layer({ port: fake.port, whenDown: "fail", backoffInitial: "1 minute", backoffCap: "1 minute" })
        )
      )
    }).pipe(Effect.scoped)
  )
})

describe("a session that ends before its handshake was written", () => {
  it("does not say that it was answered", () => {
    const owner: Owner = {
      now: () => 0,
      take: () => undefined,
      hasCall: () => false,
      expire: () => {},
      answered: () => {},
      ended: () => {},
      demoted: () => undefined
    }
    const session = new Session(owner, { inFlightCommands: 1, inFlightBytes: 1 }, Resp.makeDecoder())
    const outcomes: Array<Outcome> = []
    const resume = (outcome: Outcome) => outcomes.push(outcome)
    session.submitInternal(new Call("", 1, 0, "HELLO", INTERNAL, finishers.command, 1, 0, 0, resume))
    session.die(sessionEnd({ kind: "disconnected", detail: "lost", refused: false }))
    assert.deepStrictEqual(outcomes, [])
  })
})

describe("a blocking call that got no connection of its own in time", () => {
  it.live("is named by its error", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      yield* fake.stop
      const reason = yield* Effect.provide(
        reasonOf(Redis.command(["BLPOP", "k", 1], { timeout: 50 })),
        Redis.layer({ port: fake.port, ...eager })
      )
      assert.ok(reason._tag === "TimeoutError")
      assert.deepStrictEqual([reason.command, reason.phase, reason.delivery], ["BLPOP", "queued", "unsent"])
    }).pipe(Effect.scoped)
  )
})
