/** Calls that a server refuses because it is not the primary any more: they go on at the next one, as the same calls. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisOptions, type RedisService, type Resp } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import { awaitState, callsOf, eager, outcomeOf, reasonOf, submit } from "../behaviours/support.ts"
import { fakeSentinel, fakeServer, knowing } from "./support.ts"
import type { Knowledge } from "./support.ts"

const { bulk } = FakeServer

const readonly = "-READONLY You can't write against a read only replica.\r\n"
const letGo = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"

/** A primary until it is demoted. It serves by `replies`, and says at last that it is a replica. */
const demotable = (replies: (command: ReadonlyArray<string>) => string | Effect.Effect<string> | undefined) =>
  Effect.gen(function* () {
    const state = { isPrimary: true }
    const server = yield* FakeServer.make((connection) =>
      connection.serve(FakeServer.handshake, (command) => {
        if (command[0] === "ROLE") return `*2\r\n${bulk(state.isPrimary ? "master" : "slave")}:0\r\n`
        return replies(command)
      })
    )
    return { server, state }
  })

/** All that a server was sent beside handshakes, over all its connections. */
const sentTo = (server: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    const all: Array<string> = []
    for (let index = 0; index < (yield* server.accepted); index++) all.push(...(yield* callsOf(server, index)))
    return all.filter((call) => call !== "ROLE")
  })

const nextServer = FakeServer.make((connection) =>
  connection.serve(FakeServer.handshake, ([name]) => {
    if (name === "ROLE") return `*2\r\n${bulk("master")}:0\r\n`
    if (name === "EXEC") return "*1\r\n+OK\r\n"
    return name === "BLPOP" ? `*2\r\n${bulk("jobs")}${bulk("one")}` : "+OK\r\n"
  })
)

const under = (sentinel: FakeServer.FakeServer, role: RedisOptions.Sentinel["role"] = "primary") =>
  Redis.layer({
    ...eager,
    closeTimeout: 100,
    sentinel: { sentinels: [{ host: "127.0.0.1", port: sentinel.port }], group: "mymaster", role }
  })

const switchTo = (known: Knowledge, next: FakeServer.FakeServer) => {
  const from = known.port
  Object.assign(known, { port: next.port, epoch: known.epoch + 1 })
  return known.announce("+switch-master", `mymaster 127.0.0.1 ${from} 127.0.0.1 ${next.port}`)
}

const pipeline = (...names: ReadonlyArray<string>) =>
  Redis.pipeline(names.map((name): Resp.Command => (name === "SET" ? ["SET", "k", "v"] : [name, "k"])))

describe("calls that are refused as the server is a replica now", () => {
  const texts: ReadonlyArray<readonly [string, string]> = [
    ["READONLY", readonly],
    ["MASTERDOWN", "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"],
    ["LOADING", "-LOADING Redis is loading the dataset in memory\r\n"]
  ]
  for (const [code, text] of texts) {
    it.live(`${code}: a command goes on at the next primary, and runs once`, () =>
      Effect.gen(function* () {
        const { server, state } = yield* demotable(() => {
          state.isPrimary = false
          return text
        })
        const next = yield* nextServer
        const known = knowing(server.port)
        const program = Effect.gen(function* () {
          yield* awaitState("ready")
          const call = yield* submit(Redis.command(["SET", "k", "v"]))
          yield* awaitState("backoff")
          yield* switchTo(known, next)
          assert.strictEqual(yield* Fiber.join(call), "OK")
        })
        yield* Effect.provide(program, under(yield* fakeSentinel(known)))
        assert.deepStrictEqual(yield* sentTo(server), ["SET k v"])
        assert.deepStrictEqual(yield* sentTo(next), ["SET k v"])
      })
    )
  }

  it.live("their order is kept, before all that was submitted later", () =>
    Effect.gen(function* () {
      const voice = Latch.makeUnsafe(false)
      const { server, state } = yield* demotable(([, key]) => {
        state.isPrimary = false
        // In two reads.
        return key === "3" ? Effect.as(voice.await, readonly) : readonly
      })
      const next = yield* nextServer
      const known = knowing(server.port)
      const set = (key: number) => submit(Redis.command(["SET", key, "v"]))
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        const calls = yield* Effect.forEach([1, 2, 3, 4], set)
        yield* Effect.repeat(Redis.status, { until: ({ queued }) => queued === 2 })
        const later = yield* set(5)
        voice.openUnsafe()
        yield* awaitState("backoff")
        yield* switchTo(known, next)
        for (const call of [...calls, later]) assert.strictEqual(yield* Fiber.join(call), "OK")
      })
      yield* Effect.provide(program, under(yield* fakeSentinel(known)))
      assert.deepStrictEqual(
        yield* sentTo(next),
        [1, 2, 3, 4, 5].map((key) => `SET ${key} v`)
      )
    })
  )

  type Call = Effect.Effect<ReadonlyArray<unknown>, RedisError.RedisError, RedisService>
  const whole: ReadonlyArray<readonly [string, ReadonlyArray<string>, Call, number]> = [
    ["a pipeline whose writes were all refused", ["SET", readonly, "GET", "$-1\r\n"], pipeline("SET", "GET"), 2],
    [
      "a transaction that was refused when it was queued",
      ["MULTI", "+OK\r\n", "SET", readonly, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"],
      Redis.transaction([["SET", "k", "v"]]),
      3
    ],
    [
      "a transaction that was open",
      [
        "MULTI",
        "+OK\r\n",
        "SET",
        "+QUEUED\r\n",
        "EXEC",
        `-EXECABORT Transaction discarded because of: ${readonly.slice(1)}`
      ],
      Redis.transaction([["SET", "k", "v"]]),
      3
    ]
  ]
  for (const [what, replies, call, sent] of whole) {
    it.live(`${what} goes on as a whole`, () =>
      Effect.gen(function* () {
        const { server, state } = yield* demotable(([name = ""]) => {
          state.isPrimary = false
          return replies[replies.indexOf(name) + 1]
        })
        const next = yield* FakeServer.make((connection) =>
          connection.serve(FakeServer.handshake, ([name]) => {
            if (name === "ROLE") return `*2\r\n${bulk("master")}:0\r\n`
            if (name === "EXEC") return "*1\r\n+OK\r\n"
            return name === "SET" && replies.includes("MULTI") ? "+QUEUED\r\n" : "+OK\r\n"
          })
        )
        const known = knowing(server.port)
        const program = Effect.gen(function* () {
          yield* awaitState("ready")
          const fiber = yield* submit(call)
          yield* awaitState("backoff")
          yield* switchTo(known, next)
          assert.isTrue((yield* Fiber.join(fiber)).every((reply) => reply === "OK"))
        })
        yield* Effect.provide(program, under(yield* fakeSentinel(known)))
        assert.strictEqual((yield* sentTo(server)).length, sent)
        assert.strictEqual((yield* sentTo(next)).length, sent)
      })
    )
  }

  it.live("what may have changed something stays where it is: a script, an unknown command, half a pipeline", () =>
    Effect.gen(function* () {
      const { server } = yield* demotable(([name, key]) => (name === "SET" && key === "ran" ? "+OK\r\n" : readonly))
      const known = knowing(server.port)
      const program = Effect.gen(function* () {
        for (const command of [
          ["EVAL", "return redis.call('SET', 'k', 'v')", 0],
          ["MY.COMMAND", "k"]
        ]) {
          yield* awaitState("ready")
          const reason = yield* reasonOf(Redis.command(command))
          assert.strictEqual(reason._tag === "ReplyError" ? reason.code : reason._tag, "READONLY")
        }
        yield* awaitState("ready")
        const [first, second] = yield* Redis.pipeline([
          ["SET", "ran", "v"],
          ["SET", "refused", "v"]
        ])
        assert.strictEqual(first, "OK")
        assert.include(String(second), "READONLY")
      })
      yield* Effect.provide(program, under(yield* fakeSentinel(known)))
    })
  )

  it.live("they keep their deadline, as unsent, and one that is given up meanwhile is never written again", () =>
    Effect.gen(function* () {
      const { server, state } = yield* demotable(() => {
        state.isPrimary = false
        return readonly
      })
      const next = yield* nextServer
      const known = knowing(server.port)
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        const given = yield* submit(Redis.command(["SET", "given up", "v"]))
        const late = yield* submit(outcomeOf(Redis.command(["SET", "late", "v"], { timeout: 100 })))
        yield* awaitState("backoff")
        yield* Fiber.interrupt(given)
        assert.deepStrictEqual(yield* Fiber.join(late), ["TimeoutError", "queued", "unsent"])
        yield* switchTo(known, next)
        assert.strictEqual(yield* Redis.command(["SET", "k", "v"]), "OK")
      })
      yield* Effect.provide(program, under(yield* fakeSentinel(known)))
      assert.deepStrictEqual(yield* sentTo(next), ["SET k v"])
    })
  )

  it.live("a blocked call that is let go goes on at the next primary", () =>
    Effect.gen(function* () {
      const voice = Latch.makeUnsafe(false)
      const { server, state } = yield* demotable(() => Effect.as(voice.await, letGo))
      const next = yield* nextServer
      const known = knowing(server.port)
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        const worker = yield* submit(Redis.command(["BLPOP", "jobs", 0]))
        yield* Effect.repeat(sentTo(server), { until: (calls) => calls.length === 1 })
        state.isPrimary = false
        voice.openUnsafe()
        yield* awaitState("backoff")
        yield* switchTo(known, next)
        assert.deepStrictEqual(yield* Fiber.join(worker), ["jobs", "one"])
      })
      yield* Effect.provide(program, under(yield* fakeSentinel(known)))
      assert.deepStrictEqual(yield* sentTo(next), ["BLPOP jobs 0"])
    })
  )

  it.live("a replica that was sought refuses a write to its caller, and keeps its session", () =>
    Effect.gen(function* () {
      const replica = yield* FakeServer.make((connection) =>
        connection.serve(FakeServer.handshake, ([name]) =>
          name === "ROLE" ? `*5\r\n${bulk("slave")}${bulk("127.0.0.1")}:1\r\n${bulk("connected")}:0\r\n` : readonly
        )
      )
      const primary = yield* fakeServer("primary")
      const known = knowing(primary.port, { replicas: [{ port: replica.port }] })
      const program = Effect.gen(function* () {
        const reason = yield* reasonOf(Redis.command(["SET", "k", "v"]))
        assert.strictEqual(reason._tag === "ReplyError" ? reason.code : reason._tag, "READONLY")
        assert.strictEqual((yield* Redis.status).sessions, 1)
      })
      yield* Effect.provide(program, under(yield* fakeSentinel(known), "replica"))
      assert.strictEqual(yield* replica.accepted, 1)
    })
  )

  it.live(
    "the new primary may still be loading: it is asked on one connection until it serves, and callers are told",
    () =>
      Effect.gen(function* () {
        const state = { isLoading: true, asked: 0 }
        const loading = yield* FakeServer.make((connection) =>
          connection.serve(([name]) => {
            if (name === "ROLE") return `*2\r\n${bulk("master")}:0\r\n`
            if (name === "SET") return "+OK\r\n"
            if (name !== "PING" || !state.isLoading) return undefined
            state.asked++
            return "-LOADING Redis is loading the dataset in memory\r\n"
          }, FakeServer.handshake)
        )
        const known = knowing(loading.port)
        const program = Effect.gen(function* () {
          const call = yield* submit(Redis.command(["SET", "k", "v"]))
          yield* Effect.repeat(Redis.status, { until: () => state.asked > 2 })
          assert.include((yield* Redis.status).lastError?.message, "LOADING")
          const late = yield* reasonOf(Redis.command(["SET", "k", "w"], { timeout: 20 }))
          assert.include(late.message, "LOADING")
          state.isLoading = false
          assert.strictEqual(yield* Fiber.join(call), "OK")
          assert.strictEqual((yield* Redis.status).lastError, undefined)
        })
        yield* Effect.provide(program, under(yield* fakeSentinel(known)))
        assert.strictEqual(yield* loading.accepted, 1)
        assert.deepStrictEqual(yield* sentTo(loading), ["SET k v"])
      })
  )
})
