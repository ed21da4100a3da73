import { assert, describe, it } from "@effect/vitest"
import { Redis, Resp } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import { awaitState } from "../behaviours/support.ts"
import type { ConnectionState } from "../../src/RedisService.ts"
import { Call, INTERNAL } from "../../src/internal/call/call.ts"
import type { Outcome } from "../../src/internal/call/call.ts"
import * as finishers from "../../src/internal/call/finishers.ts"
import * as handshake from "../../src/internal/connection/handshake.ts"
import { Session } from "../../src/internal/connection/session.ts"
import type { Owner } from "../../src/internal/connection/session.ts"
import { sessionEnd } from "../../src/internal/transport/sessionEnd.ts"

const settings = (options: Partial<handshake.Settings> = {}): handshake.Settings => ({
  protocol: "auto",
  username: undefined,
  password: undefined,
  name: undefined,
  database: 0,
  libraryName: "relive",
  libraryVersion: "1",
  onConnect: [],
  ...options
})

const error = (text: string) => Resp.ReplyError.fromText(text)

/** OK to everything but the steps that are named. */
const answer = (batch: handshake.Batch, errors: Partial<Record<handshake.Step, string>> = {}) =>
  batch.steps.map((step) => {
    const text = errors[step]
    return text === undefined ? "OK" : error(text)
  })

const sent = (batch: handshake.Batch) => batch.commands.map((command) => command.join(" "))

describe("the handshake", () => {
  it("is one write: HELLO with AUTH and SETNAME, SELECT, SETINFO, PING", () => {
    const batch = handshake.start(settings({ username: "app", password: "secret", name: "worker", database: 3 }))
    assert.deepStrictEqual(sent(batch), [
      "HELLO 3 AUTH app secret SETNAME worker",
      "SELECT 3",
      "CLIENT SETINFO LIB-NAME relive",
      "CLIENT SETINFO LIB-VER 1",
      "PING"
    ])
    assert.deepStrictEqual(handshake.next(settings(), batch, answer(batch)), { _tag: "Ready", protocol: 3 })
  })

  it("uses the default user when there is only a password", () => {
    assert.strictEqual(sent(handshake.start(settings({ password: "secret" })))[0], "HELLO 3 AUTH default secret")
  })

  it("goes on in RESP2 when HELLO is not known, and says AUTH and SETNAME separately", () => {
    const options = settings({ username: "app", password: "secret", name: "worker", database: 3 })
    const first = handshake.start(options)
    for (const text of ["ERR unknown command `HELLO`, with args", "NOPROTO unsupported protocol version"]) {
      const verdict = handshake.next(
        options,
        first,
        answer(first, { hello: text, select: "NOAUTH Authentication required." })
      )
      assert.ok(verdict._tag === "Send")
      assert.strictEqual(verdict.batch.protocol, 2)
      assert.deepStrictEqual(sent(verdict.batch).slice(0, 3), ["AUTH app secret", "CLIENT SETNAME worker", "SELECT 3"])
      assert.deepStrictEqual(handshake.next(options, verdict.batch, answer(verdict.batch)), {
        _tag: "Ready",
        protocol: 2
      })
    }
  })

  it("does not fall back when RESP3 was asked for", () => {
    const options = settings({ protocol: 3 })
    const batch = handshake.start(options)
    const verdict = handshake.next(options, batch, answer(batch, { hello: "ERR unknown command 'HELLO'" }))
    assert.ok(verdict._tag === "Refused" && !verdict.transient)
  })

  it("says AUTH with the password alone to servers without users", () => {
    assert.strictEqual(sent(handshake.start(settings({ protocol: 2, password: "secret" })))[0], "AUTH secret")
  })

  it("writes onConnect after everything else was accepted, once", () => {
    const options = settings({ onConnect: [["CLIENT", "NO-EVICT", "on"]] })
    const batch = handshake.start(options)
    const verdict = handshake.next(options, batch, answer(batch))
    assert.ok(verdict._tag === "Send")
    assert.deepStrictEqual(sent(verdict.batch), ["CLIENT NO-EVICT on"])
    assert.deepStrictEqual(handshake.next(options, verdict.batch, ["OK"]), { _tag: "Ready", protocol: 3 })
    const refused = handshake.next(options, verdict.batch, [error("ERR no")])
    assert.ok(refused._tag === "Refused" && !refused.transient)
  })

  it("ignores that SETINFO or PING are refused", () => {
    const batch = handshake.start(settings())
    const replies = answer(batch, { setinfo: "ERR unknown subcommand", ping: "NOPERM no" })
    assert.strictEqual(handshake.next(settings(), batch, replies)._tag, "Ready")
  })

  const refusals: ReadonlyArray<readonly [step: handshake.Step, text: string, transient: boolean, remedy: RegExp]> = [
    ["hello", "WRONGPASS invalid username-password pair or user is disabled.", false, /check `username`/],
    ["hello", "NOAUTH HELLO must be called with the client already authenticated", false, /set `password`/],
    ["hello", "NOPERM this user has no permissions", false, /ACL/],
    ["hello", "DENIED Redis is running in protected mode", false, /protected mode/],
    ["hello", "ERR max number of clients reached", true, /maxclients/],
    ["select", "ERR DB index is out of range", false, /no such `database`/],
    ["ping", "LOADING Redis is loading the dataset in memory", true, /not ready/],
    ["ping", "BUSY Redis is busy running a script.", true, /not ready/]
  ]
  for (const [step, text, transient, remedy] of refusals) {
    it(`reads ${text.split(" ", 3).join(" ")} as ${transient ? "transient" : "final"}`, () => {
      const options = settings({ database: 1 })
      const batch = handshake.start(options)
      const verdict = handshake.next(options, batch, answer(batch, { [step]: text }))
      assert.ok(verdict._tag === "Refused")
      assert.strictEqual(verdict.transient, transient)
      assert.match(verdict.detail, remedy)
    })
  }
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

describe("a session that ends before its handshake was written", () => {
  it("does not say that it was answered", () => {
    const owner: Owner = {
      now: () => 0,
      take: () => undefined,
      hasCall: () => false,
      expire: () => {},
      answered: () => {},
      ended: () => {},
      forward: () => {},
      demoted: () => undefined,
      pushed: () => {}
    }
    const session = new Session(owner, { inFlightCommands: 1, inFlightBytes: 1 }, Resp.makeDecoder())
    const outcomes: Array<Outcome> = []
    const resume = (outcome: Outcome) => outcomes.push(outcome)
    session.submitInternal(new Call("", 1, 0, "HELLO", INTERNAL, finishers.command, 1, 0, 0, resume))
    session.die(sessionEnd({ kind: "disconnected", detail: "lost", refused: false }))
    assert.deepStrictEqual(outcomes, [])
  })
})
