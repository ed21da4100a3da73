/** Servers and proxies repeat the password that they were given. Nothing that a connection shows does. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisService, Resp } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import { inspect } from "node:util"
import { Secrets } from "../../src/internal/connection/secrets.ts"

const base64 = (text: string) => Buffer.from(text).toString("base64")

describe("the secrets of a connection", () => {
  const password = "p:ss w/rd+häß1$"

  it("are found as they are, percent-encoded and in base64", () => {
    const secrets = new Secrets()
    secrets.add("app", password)
    const forms = [
      password,
      encodeURIComponent(password),
      encodeURIComponent(password).replaceAll(/%[0-9A-F]+/g, (byte) => byte.toLowerCase()),
      encodeURI(password),
      encodeURIComponent(password).replaceAll("%20", "+"),
      password.toUpperCase(),
      password.toLowerCase(),
      base64(password),
      base64(`app:${password}`),
      base64(`default:${password}`),
      base64(`:${password}`)
    ]
    for (const form of forms) assert.strictEqual(secrets.hide(`no ${form}, sorry`), "no ***, sorry", form)
    assert.strictEqual(secrets.hide("nothing"), "nothing")
  })

  it("are found in JSON", () => {
    const secrets = new Secrets()
    secrets.add(undefined, 'a"quoted\\one')
    assert.strictEqual(secrets.hide(JSON.stringify({ password: 'a"quoted\\one' })), '{"password":"***"}')
  })

  it("stay so while they rotate", () => {
    const secrets = new Secrets()
    for (const one of ["first-pw", "second-pw", "third-pw", undefined, ""]) secrets.add(undefined, one)
    assert.strictEqual(secrets.hide("first-pw second-pw third-pw"), "*** *** ***")
  })

  it("are found without the white space around them, and whole words only when they are short", () => {
    const secrets = new Secrets()
    secrets.add(undefined, "hunter2\n")
    assert.strictEqual(secrets.hide("no hunter2!"), "no ***!")
    const short = new Secrets()
    short.add(undefined, "no")
    assert.strictEqual(short.hide("no, not so: no"), "***, not so: ***")
  })
})

const password = "hunter2-SECRET"

const saying: ReadonlyArray<readonly [what: string, says: FakeServer.Handler]> = [
  ["HELLO", ([name]) => (name === "HELLO" ? `-WRONGPASS no user with password ${password}\r\n` : "-NOAUTH\r\n")],
  ["HELLO, in base64", ([name]) => (name === "HELLO" ? `-WRONGPASS ${base64(`app:${password}`)}\r\n` : "-NOAUTH\r\n")],
  ["AUTH", ([name]) => (name === "AUTH" ? `-ERR invalid password ${password}\r\n` : "-NOAUTH wanted\r\n")],
  ["a greeting", ([name]) => (name === "HELLO" ? `+${password}\r\n` : "+OK\r\n")],
  ["a code", ([name]) => (name === "HELLO" ? `-${password}\r\n` : "-WRONGPASS\r\n")],
  ["SELECT", ([name]) => (name === "SELECT" ? `-ERR ${password} has no database\r\n` : undefined)],
  ["a command", ([name]) => (name === "GET" ? `-ERR ${password} said get\r\n` : undefined)],
  ["a transaction", ([name]) => (name === "GET" ? "+QUEUED\r\n" : exec(name))]
]

const exec = (name: string | undefined): string | undefined => {
  if (name === "MULTI") return "+OK\r\n"
  return name === "EXEC" ? `*1\r\n-ERR ${password} said exec\r\n` : undefined
}

describe("a server that repeats the password", () => {
  for (const [what, says] of saying) {
    it.live(`is not repeated (${what})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) => connection.serve(says, FakeServer.handshake))
        const seen: Array<string> = []
        const see = (value: unknown) => seen.push(inspect(value, { depth: 20 }), JSON.stringify(value), String(value))
        const logger = Logger.layer([Logger.make(({ cause, message }) => void see([message, cause]))])
        const call: Effect.Effect<unknown, RedisError.RedisError, RedisService> =
          what === "a transaction" ? Redis.transaction([["GET", "k"]]) : Redis.command(["GET", "k"])
        const options = { port: fake.port, username: "app", password, database: 1, timeout: 300 }
        yield* Effect.gen(function* () {
          const exit = yield* Effect.exit(call)
          see(exit)
          if (Exit.isFailure(exit)) for (const reason of exit.cause.reasons) see(reason)
          see(yield* Redis.status)
        }).pipe(Effect.provide(Redis.layer(options)), Effect.provide(logger))
        assert.isNotEmpty(seen)
        for (const text of seen) {
          assert.notInclude(text, password)
          assert.notInclude(text, base64(password).slice(0, -2))
        }
      }).pipe(Effect.scoped)
    )
  }

  it.live("in one session and not in the next is not repeated either", () =>
    Effect.gen(function* () {
      let asked = 0
      const rotating = Effect.sync(() => `${password}-${++asked}`)
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(
          ([name]) => (name === "GET" ? `-ERR was ${password}-1, is ${password}-2\r\n` : undefined),
          FakeServer.handshake
        )
      )
      yield* Effect.gen(function* () {
        yield* Redis.command(["PING"])
        yield* (yield* fake.connection(0)).reset
        const exit = yield* Effect.exit(Redis.command(["GET", "k"]))
        assert.include(inspect(exit, { depth: 20 }), "was ***, is ***")
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, password: rotating, backoffFirst: 0, backoffInitial: 1 })))
    }).pipe(Effect.scoped)
  )
})

it("an error without a secret is left as it is", () => {
  const secrets = new Secrets()
  secrets.add(undefined, password)
  const error = Resp.ReplyError.fromText("ERR no")
  assert.strictEqual(secrets.hideIn(error), error)
})
