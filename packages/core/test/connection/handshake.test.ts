import { assert, describe, it } from "@effect/vitest"
import { Resp } from "@relive/core"
import * as handshake from "../../src/internal/connection/handshake.ts"

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
