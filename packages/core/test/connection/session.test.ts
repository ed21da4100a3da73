/** A session at the moments where its laws are easiest to break: between a read and its replies, between an end and the next session. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisError } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { closable, eager, lost, makeParts, outcomeOf, serving, submit, Written } from "../behaviours/support.ts"
import * as Resp from "../../src/Resp.ts"
import { REPEATABLE } from "../../src/internal/call/call.ts"
import { Wire } from "../../src/internal/transport/wire.ts"

describe("law 1: no call gets a reply that came before it was written", () => {
  it.effect("nothing is written behind a reply that was read and not looked at", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { decoder, session } = start()
      const wire = new Wire(decoder, (bytes) => session.inbound(bytes))
      const socket = new Written()
      wire.attach(socket)
      session.attach(wire)
      connection.ready(session)
      // The reader is held up elsewhere: it has not pulled yet.
      const surplus = Buffer.from("+SURPLUS\r\n")
      wire.onread.callback(surplus.length, surplus)
      connection.submit(call("INCR"))
      assert.deepStrictEqual(socket.texts, [])
      // Now it does.
      const failure = session.dispatch(yield* wire.pull)
      assert.strictEqual(failure?.kind, "protocol")
      socket.destroy()
    })
  )
})

const { handshake } = FakeServer

describe("law 3: a reply nobody waits for ends the session at its first byte", () => {
  for (const [where, cut] of [
    ["alone", ["+ONE\r\n", "+SUR"]],
    ["behind the last reply, in the same read", ["+ONE\r\n$7\r\nSUR"]],
    ["as an array of which an element is there", ["+ONE\r\n*2\r\n:1\r\n"]]
  ] as const) {
    it.live(`so that no later call is given it (${where})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make([
          (first) =>
            Effect.gen(function* () {
              yield* first.answer(handshake)
              yield* first.expect(["ONE"])
              yield* Effect.forEach(cut, (part) => first.send(part, { delayMillis: 2 }))
              yield* first.silent
            }),
          serving(([name]) => (name === "TWO" ? "+two\r\n" : undefined))
        ])
        const { close, use } = yield* closable({ port: fake.port, ...eager })
        const down = yield* submit(
          use(Stream.runDrain(Stream.takeUntil(Redis.events, ({ state }) => state === "backoff")))
        )
        assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["ONE"]))), ["ONE"])
        const reason = yield* Effect.timeoutOption(Fiber.join(down), 1000)
        assert.isTrue(Option.isSome(reason))
        assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["TWO"]))), ["two"])
        yield* close
      })
    )
  }

  it.live("but a push may come in pieces, and calls go on beside it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.answer(handshake)
          yield* connection.expect(["ONE"])
          yield* connection.send("+one\r\n>2\r\n+invali", { cuts: [7, 9, 12] })
          yield* connection.send("date\r\n*1\r\n+k", { delayMillis: 2 })
          yield* connection.expect(["TWO"])
          yield* connection.send("\r\n|1\r\n+ttl\r\n:1\r\n", { delayMillis: 2, cuts: [3, 5] })
          yield* connection.send("+two\r\n", { delayMillis: 2 })
          yield* connection.silent
        })
      )
      const { close, use } = yield* closable({ port: fake.port })
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["ONE"]))), ["one"])
      yield* Effect.sleep(20)
      assert.deepStrictEqual(yield* use(outcomeOf(Redis.command(["TWO"]))), ["two"])
      assert.strictEqual((yield* use(Redis.status)).sessions, 1)
      yield* close
    })
  )
})

describe("law 1: the PING of the health check", () => {
  for (const said of ["+OK\r\n", ":1\r\n", "$-1\r\n", "*0\r\n"]) {
    it.live(`shows that replies are not those of their commands any more (${JSON.stringify(said)})`, () =>
      Effect.gen(function* () {
        const odd: FakeServer.Handler = ([name, text]) => (name === "PING" && text === undefined ? said : undefined)
        const fake = yield* FakeServer.make((connection) => connection.serve(odd, FakeServer.handshake))
        const { close, use } = yield* closable({ port: fake.port, healthCheckInterval: 20, ...eager })
        const [change] = yield* use(
          Redis.events.pipe(
            Stream.filter(({ state }) => state === "backoff"),
            Stream.take(1),
            Stream.runCollect
          )
        )
        const reason = change?.cause?.reason
        assert.ok(reason?._tag === "ConnectionError" && reason.kind === "protocol")
        yield* close
      })
    )
  }
})

describe("law 2: what was not handed to an open socket is unsent", () => {
  it.effect("nothing is written to a socket whose end is known, though the reader has not come to it yet", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { decoder, session } = start()
      const wire = new Wire(decoder, (bytes) => session.inbound(bytes))
      const socket = new Written()
      wire.attach(socket)
      session.attach(wire)
      connection.ready(session)
      socket.emit("end")
      connection.submit(call("INCR"))
      assert.deepStrictEqual(socket.texts, [])
      session.die(lost)
      assert.strictEqual(connection.queued, 1)
      socket.destroy()
    })
  )
})

describe("what a session writes", () => {
  it.effect("goes on when a full socket has drained, and not before", () =>
    Effect.gen(function* () {
      const { call, connection, start } = yield* makeParts()
      const { session } = start()
      const texts: Array<string> = []
      const waiting: Array<() => void> = []
      session.attach({
        upToDate: true,
        write: (chunks) => texts.push(chunks.join("").trim().slice(-1)) < 0,
        whenDrained: (then) => waiting.push(then)
      })
      connection.ready(session)
      for (const name of ["A", "B", "C"]) connection.submit(call(name))
      yield* Effect.yieldNow
      assert.deepStrictEqual([texts, waiting.length, connection.queued], [["A"], 1, 2])
      waiting.shift()?.()
      assert.deepStrictEqual([texts, waiting.length, connection.queued], [["A", "C"], 1, 0])
      session.die(lost)
      waiting.shift()?.()
      assert.deepStrictEqual(texts, ["A", "C"])
    })
  )

  it.effect("ends it alone when a write throws: its caller is told, and not by an exception", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts()
      const { session } = start()
      session.attach({
        upToDate: true,
        write: () => {
          throw new Error("no memory")
        },
        whenDrained: () => {}
      })
      connection.ready(session)
      connection.submit(call("INCR"))
      assert.strictEqual(session.end?.detail, "a defect in the session")
      assert.strictEqual(connection.state, "backoff")
      assert.strictEqual(outcomes[0]?._tag, "Failure")
    })
  )
})

describe("law 4: one session's end is not another's", () => {
  it.effect("a session that ends after the next one has started leaves that one alone, and gives it its reads", () =>
    Effect.gen(function* () {
      const { call, connection, outcomes, start } = yield* makeParts({ whenDown: "fail" })
      const old = start().session
      connection.ready(old)
      const sink = { upToDate: true, write: () => true, whenDrained: (then: () => void) => then() }
      old.attach(sink)
      connection.submit(call("GET", REPEATABLE))
      connection.submit(call("INCR"))
      yield* Effect.yieldNow
      assert.strictEqual(connection.inFlight, 2)
      // The old one was killed, and closes in the background.
      const next = start().session
      const texts: Array<string> = []
      const write = (chunks: ReadonlyArray<string | Uint8Array>) => texts.push(chunks.join("")) > 0
      next.attach({ ...sink, write })
      connection.ready(next)
      old.die(lost)
      yield* Effect.yieldNow
      assert.strictEqual(connection.state, "ready")
      assert.isTrue(connection.accepting)
      assert.isUndefined(connection.downSince)
      assert.deepStrictEqual(texts, ["*1\r\n$3\r\nGET\r\n"])
      assert.strictEqual(outcomes.length, 1)
    })
  )
})

describe("law 1: nobody waits behind a call that is gone", () => {
  for (const [how, timeout] of [
    ["was interrupted", 5000],
    ["timed out", 50]
  ] as const) {
    it.effect(`a call that did not fit and ${how} makes way for the next`, () =>
      Effect.gen(function* () {
        const { call, connection, start } = yield* makeParts({ inFlightCommands: 2 })
        const { session } = start()
        const texts: Array<string> = []
        const write = (chunks: ReadonlyArray<string | Uint8Array>) => texts.push(chunks.join("")) > 0
        session.attach({ upToDate: true, write, whenDrained: (then: () => void) => then() })
        yield* submit(connection.deadlines.run)
        connection.ready(session)
        connection.submit(call("A"))
        yield* Effect.yieldNow
        const big = call("BIG", 0, 2, timeout)
        connection.submit(big)
        connection.submit(call("C"))
        yield* Effect.yieldNow
        assert.strictEqual(texts.length, 1)
        if (timeout === 5000) connection.cancel(big)
        yield* TestClock.adjust(60)
        assert.include(texts.join(""), "C")
      })
    )
  }
})

describe("law 2: an error does not promise what it cannot know", () => {
  it("a read that was written, and not again in time, may have run", () => {
    const late = (delivery: "unsent" | "unknown") =>
      new RedisError.TimeoutError({ phase: "queued", delivery, command: "GET", timeoutMillis: 5 }).message
    assert.match(late("unsent"), /has not run/)
    assert.match(late("unknown"), /may have run/)
    assert.notMatch(late("unknown"), /has not run/)
  })
})

describe("with any number of operations between two turns", () => {
  it.live("laws 1 and 6: each call has its own reply, whoever goes away meanwhile", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        serving(([name, key = ""]) => (name === "GET" ? FakeServer.bulk(key) : undefined))
      )
      for (let ops = 3; ops <= 64; ops++) {
        yield* Effect.gen(function* () {
          const { close, use } = yield* closable({ port: fake.port, inFlightCommands: 8, timeout: "5 seconds" })
          const calls = yield* Effect.forEach(Array.from({ length: 60 }), (_, i) =>
            Effect.gen(function* () {
              const options = i % 5 === 0 ? ({ decode: "bytes" } as const) : undefined
              const fiber = yield* submit(use(Redis.command(["GET", `${i}`], options)))
              if (i % 7 === 0) yield* submit(Fiber.interrupt(fiber))
              if (i % 4 === 0) yield* Effect.yieldNow
              return fiber
            })
          )
          const exits = yield* Effect.forEach(calls, Fiber.await)
          exits.forEach((exit, i) => {
            if (i % 7 === 0) return
            assert.deepStrictEqual(exit, Exit.succeed(i % 5 === 0 ? new TextEncoder().encode(`${i}`) : `${i}`))
          })
          yield* close
        }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
      }
    })
  )
})

describe("law 5: a reply over a limit", () => {
  it.live("fails alone: alone, in a pipeline, in a transaction, and in the handshake", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const limits = { maxBulkBytes: 20, maxElements: 4 }
      const { close, use } = yield* closable({ port: server.port, ...limits })
      const big = "b".repeat(100_000)
      yield* use(
        Redis.pipeline([
          ["SET", "a", 1],
          ["SET", "big", big],
          ["SET", "c", 3]
        ])
      )
      const tags = (elements: ReadonlyArray<unknown>) =>
        elements.map((element) => (element instanceof Resp.ReplyLimitError ? element._tag : element))
      const [alone, pipeline, transaction, wide, last] = yield* use(
        Effect.all(
          [
            outcomeOf(Redis.command(["GET", "big"])),
            Redis.pipeline([
              ["GET", "a"],
              ["GET", "big"],
              ["MGET", "a", "a", "a", "a", "a"],
              ["GET", "c"]
            ]),
            outcomeOf(
              Redis.transaction([
                ["INCR", "n"],
                ["GET", "big"],
                ["GET", "c"]
              ])
            ),
            outcomeOf(Redis.command(["MGET", "a", "a", "a", "a", "a"], { decode: "bytes" })),
            Redis.command(["GET", "c"])
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.deepStrictEqual(alone, ["ReplyLimitError"])
      assert.deepStrictEqual(tags(pipeline), ["1", "ReplyLimitError", "ReplyLimitError", "3"])
      assert.deepStrictEqual(transaction, ["ReplyLimitError"])
      assert.deepStrictEqual(wide, ["ReplyLimitError"])
      assert.strictEqual(last, "3")
      assert.strictEqual(yield* use(Redis.command(["GET", "n"])), "1")
      assert.strictEqual((yield* use(Redis.status)).sessions, 1)
      yield* close
    })
  )
})

describe("replies of one batch in two reads", () => {
  // Any load: replies of one batch in two reads (a throttle makes it certain).
  it.live("a call in bytes mode behind one in text mode whose reply came in an earlier read", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.answer(FakeServer.handshake)
          yield* connection.expect(["GET", "a"])
          yield* connection.expect(["GET", "b"])
          yield* connection.send("$1\r\na\r\n$1\r\nb\r\n", { cuts: [7], gapMillis: 20 })
          yield* connection.silent
        })
      )
      const both = Effect.all([Redis.command(["GET", "a"]), Redis.command(["GET", "b"], { decode: "bytes" })], {
        concurrency: 2
      })
      const replies = yield* Effect.provide(both, Redis.layer({ host: server.host, port: server.port }))
      assert.deepStrictEqual(replies, ["a", new Uint8Array([98])])
    })
  )
})
