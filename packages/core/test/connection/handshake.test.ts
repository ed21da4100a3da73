import { assert, describe, it } from "@effect/vitest"
import { Redis, Resp } from "@relive/core"
import { FakeServer, Fault, FaultProxy } from "@relive/testing"
import * as Effect from "effect/Effect"
import { awaitState, eager, hooks, reasonOf } from "../behaviours/support.ts"
import type { ConnectionState } from "../../src/RedisService.ts"
import { Call, INTERNAL } from "../../src/internal/call/call.ts"
import type { Outcome } from "../../src/internal/call/call.ts"
import * as reducers from "../../src/internal/call/reducers.ts"
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
  marker: "m",
  isPlain: false,
  role: undefined,
  ...options
})

const error = (text: string) => Resp.ReplyError.fromText(text)

const hello = new Map<Resp.Reply, Resp.Reply>([
  ["server", "redis"],
  ["proto", 3]
])

/** What a server says to each step, but for the errors that are named. */
const answer = (batch: handshake.Batch, errors: Partial<Record<handshake.Step, string>> = {}) =>
  batch.steps.map((step) => {
    const text = errors[step]
    if (text !== undefined) return error(text)
    return step === "hello" ? hello : step === "ping" || step === "echo" ? (batch.marker ?? "PONG") : "OK"
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
      "PING m3"
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
    const replies = answer(batch, {
      setinfo: "ERR unknown subcommand",
      ping: "NOPERM no permissions to run the 'ping' command"
    })
    assert.strictEqual(handshake.next(settings(), batch, replies)._tag, "Ready")
    const cannotSave = answer(batch, { ping: "MISCONF Errors writing to the AOF file" })
    assert.strictEqual(handshake.next(settings(), batch, cannotSave)._tag, "Ready")
  })

  it("takes HELLO's reply as a map or a flat list, with the protocol that was asked for", () => {
    const batch = handshake.start(settings())
    const saying = (reply: Resp.Reply) => handshake.next(settings(), batch, [reply, ...answer(batch).slice(1)])
    assert.strictEqual(saying(["server", "redis", "proto", 3])._tag, "Ready")
    for (const reply of [null, "OK", "welcome", 1, true, [], ["HELLO", "3"], new Map(), new Map([["proto", 4]])]) {
      const verdict = saying(reply)
      assert.ok(verdict._tag === "Refused" && !verdict.transient, String(reply))
      assert.include(verdict.detail, "not a Redis")
    }
    assert.include((saying(["HELLO", "3"]) as { detail: string }).detail, "does it repeat what it is sent?")
  })

  it("holds a server that speaks RESP2 only to prove it", () => {
    const batch = handshake.start(settings())
    const older = new Map<Resp.Reply, Resp.Reply>([["proto", 2]])
    const verdict = handshake.next(settings(), batch, [older, ...answer(batch).slice(1)])
    assert.ok(verdict._tag === "Send" && verdict.batch.protocol === 2)
    assert.strictEqual(handshake.next(settings(), verdict.batch, answer(verdict.batch))._tag, "Ready")
    const lie = handshake.next(settings(), verdict.batch, [...answer(verdict.batch).slice(0, -1), "PONG"])
    assert.strictEqual(lie._tag, "Refused")
    const asked = settings({ protocol: 3 })
    assert.strictEqual(handshake.next(asked, batch, [older, ...answer(batch).slice(1)])._tag, "Refused")
  })

  it("believes no reply that has come a place too early", () => {
    const all = [
      settings({ password: "pw", name: "n", database: 3 }),
      settings({ protocol: 2, password: "pw", name: "n", database: 3 }),
      settings({ protocol: 2 }),
      settings({ protocol: 2, database: 3 }),
      settings({ protocol: 2, isPlain: true, database: 3 })
    ]
    for (const options of all) {
      const batch = handshake.start(options)
      for (const before of ["OK", "PONG", "welcome", null, 1, error("ERR unknown command 'x'"), error("ERR no")]) {
        for (const setinfo of [undefined, "ERR unknown subcommand 'SETINFO'. Try CLIENT HELP."]) {
          const replies = [before, ...answer(batch, setinfo === undefined ? {} : { setinfo })].slice(
            0,
            batch.steps.length
          )
          const verdict = handshake.next(options, batch, replies)
          assert.strictEqual(verdict._tag, "Refused", `${String(before)} before ${sent(batch).join(", ")}`)
        }
      }
    }
  })

  it("takes a PONG for the text that it asked for only where the replies before it prove their places", () => {
    const alone = settings({ protocol: 2, libraryName: "" })
    const batch = handshake.start(alone)
    assert.deepStrictEqual(sent(batch), ["PING m2"])
    assert.strictEqual(handshake.next(alone, batch, ["m2"])._tag, "Ready")
    const verdict = handshake.next(alone, batch, ["PONG"])
    assert.ok(verdict._tag === "Send")
    assert.deepStrictEqual(sent(verdict.batch), ["ECHO mE"])
    assert.strictEqual(handshake.next(alone, verdict.batch, ["mE"])._tag, "Ready")
    assert.strictEqual(handshake.next(alone, verdict.batch, [error("ERR unsupported command 'ECHO'")])._tag, "Ready")
    assert.strictEqual(handshake.next(alone, verdict.batch, ["PONG"])._tag, "Refused")
    const longer = handshake.start(settings())
    const ready = handshake.next(settings(), longer, [...answer(longer).slice(0, -1), "PONG"])
    assert.deepStrictEqual(ready, { _tag: "Ready", protocol: 3, unwanted: "m3" })
  })

  it("asks a peer that closes at what it does not know for a key that nobody has, where PING got an error", () => {
    const plain = settings({ isPlain: true })
    const batch = handshake.start(plain)
    assert.deepStrictEqual(sent(batch), ["HELLO 3", "PING"])
    assert.strictEqual(handshake.next(plain, batch, [hello, "PONG"])._tag, "Ready")
    const verdict = handshake.next(plain, batch, [hello, error("ERR not allowed")])
    assert.ok(verdict._tag === "Send")
    assert.deepStrictEqual(sent(verdict.batch), ["GET mE"])
    const after = (reply: Resp.Reply) => handshake.next(plain, verdict.batch, [reply])._tag
    assert.strictEqual(after(null), "Ready")
    assert.strictEqual(after(error("NOPERM no permissions to run the 'get' command")), "Ready")
    assert.strictEqual(after(error("NOPERM no permissions to run the 'ping' command")), "Refused")
    // The error was one out of turn.
    assert.strictEqual(after("PONG"), "Refused")
  })

  it("does not take the refusal of another command for that of PING", () => {
    const options = settings({ database: 3, libraryName: "" })
    const batch = handshake.start(options)
    // As a peer has it that says OK before it is asked: SELECT is refused, and nobody would know.
    for (const named of ["NOPERM no permissions to run the 'select' command", "ERR unsupported command `SELECT`"]) {
      assert.strictEqual(handshake.next(options, batch, [hello, "OK", error(named)])._tag, "Refused")
    }
    const verdict = handshake.next(options, batch, [hello, "OK", error("ERR not allowed")])
    assert.ok(verdict._tag === "Send")
    assert.strictEqual(handshake.next(options, verdict.batch, ["m3"])._tag, "Refused")
    assert.strictEqual(handshake.next(options, verdict.batch, ["mE"])._tag, "Ready")
    assert.strictEqual(handshake.next(options, verdict.batch, [error("ERR not allowed")])._tag, "Ready")
  })

  it("names a password that begins or ends with white space, without showing it", () => {
    const options = settings({ password: "hunter2\n" })
    const batch = handshake.start(options)
    const verdict = handshake.next(options, batch, answer(batch, { hello: "WRONGPASS invalid username-password pair" }))
    assert.ok(verdict._tag === "Refused")
    assert.include(verdict.detail, "white space")
    assert.notInclude(verdict.detail, "hunter2")
  })

  it("wants a password also where only PING says so", () => {
    const options = settings({ protocol: 2 })
    const batch = handshake.start(options)
    const verdict = handshake.next(options, batch, answer(batch, { setinfo: "NOAUTH x", ping: "NOAUTH x" }))
    assert.ok(verdict._tag === "Refused" && !verdict.transient)
    assert.include(verdict.detail, "set `password`")
  })

  it("goes without a name where the server takes none, and says so", () => {
    const options = settings({ protocol: 2, name: "n", onConnect: [["CLIENT", "NO-EVICT", "on"]] })
    const batch = handshake.start(options)
    const verdict = handshake.next(options, batch, answer(batch, { setname: "ERR unsupported command 'CLIENT'" }))
    assert.ok(verdict._tag === "Send")
    assert.include(verdict.warning, "`name` is left out")
    const bare = settings({ protocol: 2, name: "n" })
    const ready = handshake.next(bare, batch, answer(batch, { setname: "ERR unsupported command 'CLIENT'" }))
    assert.ok(ready._tag === "Ready" && ready.warning !== undefined)
    const loading = handshake.next(bare, batch, answer(batch, { setname: "LOADING x" }))
    assert.ok(loading._tag === "Refused" && loading.transient)
  })

  const refusals: ReadonlyArray<readonly [step: handshake.Step, text: string, transient: boolean, remedy: RegExp]> = [
    ["hello", "WRONGPASS invalid username-password pair or user is disabled.", false, /check `username`/],
    ["hello", "NOAUTH HELLO must be called with the client already authenticated", false, /set `password`/],
    ["select", "NOPERM this user has no permissions", false, /ACL/],
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
    "unknown command 'HELLO'",
    "ERR Forbidden Command: hello",
    "ERR wrong number of arguments for 'hello' command",
    "ERR syntax error",
    "ERR Syntax error in HELLO option 'setname'",
    "NOPERM this user has no permissions to run the 'hello' command",
    "whatever"
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

describe("a proxy that wants AUTH before it says anything else", () => {
  /** As Envoy's: NOAUTH to all but AUTH, no HELLO, no CLIENT, and a PING of its own. */
  const proxy: FakeServer.Script = (connection) => {
    let isIn = false
    return connection.serve(([name = "", ...args]) => {
      if (name === "AUTH") {
        isIn = args.at(-1) === "right"
        return isIn ? "+OK\r\n" : "-ERR invalid password\r\n"
      }
      if (!isIn) return "-NOAUTH Authentication required.\r\n"
      if (name === "PING") return "+PONG\r\n"
      return name === "GET" ? FakeServer.bulk("v") : `-unsupported command '${name}'\r\n`
    })
  }

  for (const options of [{}, { username: "app" }, { name: "n" }, { libraryName: "" }]) {
    it.live(`is given it in RESP2 (${JSON.stringify(options)})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make(proxy)
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "v")
          assert.strictEqual((yield* Redis.status).protocol, 2)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, password: "right", ...options })))
      }).pipe(Effect.scoped)
    )
  }

  it.live("says so when it was given none, or a wrong one", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(proxy)
      for (const [options, remedy] of [
        [{}, "set `password`"],
        [{ password: "wrong" }, "check `username` and `password`"]
      ] as const) {
        const reason = yield* reasonOf(Redis.command(["GET", "k"])).pipe(
          Effect.provide(Redis.layer({ port: fake.port, ...options }))
        )
        assert.ok(reason._tag === "ConnectionError" && reason.kind === "handshake", reason.message)
        assert.include(reason.message, remedy)
      }
    }).pipe(Effect.scoped)
  )
})

type Odd = (command: ReadonlyArray<string>) => string

const repeat: Odd = (command) => `*${command.length}\r\n${command.map(FakeServer.bulk).join("")}`

/** A server but for what it says to one command. */
const but =
  (name: string, said: string): Odd =>
  (command) =>
    command[0] === name ? said : asRedis(command)

const asRedis: Odd = ([name = "", text]) => {
  if (name === "HELLO") return "%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n"
  if (name === "PING") return text === undefined ? "+PONG\r\n" : FakeServer.bulk(text)
  return name === "GET" ? FakeServer.bulk("own") : "+OK\r\n"
}

const oddPeers: ReadonlyArray<readonly [what: string, greeting: string, says: Odd]> = [
  ["greets with a line", "+welcome\r\n", asRedis],
  ["greets with PONG", "+PONG\r\n", asRedis],
  ["greets with OK", "+OK\r\n", asRedis],
  ["greets with two lines", "+OK\r\n+PONG\r\n", asRedis],
  ["greets with an error", "-ERR unknown command 'x'\r\n", asRedis],
  ["greets with a map", "%1\r\n+proto\r\n:3\r\n", asRedis],
  ["greets, and answers PING itself", "+welcome\r\n", but("PING", "+PONG\r\n")],
  ["greets with PONG, and answers PING itself", "+PONG\r\n", but("PING", "+PONG\r\n")],
  ["repeats what it is sent", "", repeat],
  ["says OK to everything", "", () => "+OK\r\n"],
  ["says 1 to everything", "", () => ":1\r\n"],
  ["says null to everything", "", () => "$-1\r\n"],
  ["says null in RESP3 to everything", "", () => "_\r\n"],
  ["says PONG to everything", "", () => "+PONG\r\n"],
  ["says an empty array to everything", "", () => "*0\r\n"],
  ["says a number to PING", "", but("PING", ":1\r\n")],
  ["says another text to PING", "", but("PING", "$5\r\nother\r\n")],
  ["says null to SELECT", "", but("SELECT", "$-1\r\n")],
  ["says QUEUED to SELECT", "", but("SELECT", "+QUEUED\r\n")],
  ["says everything twice", "", (command) => asRedis(command).repeat(2)],
  ["speaks HTTP", "", () => "HTTP/1.1 400 Bad Request\r\n\r\n"],
  ["speaks SSH", "SSH-2.0-OpenSSH_9.2\r\n", () => ""]
]

describe("a peer that is no Redis, or has something between", () => {
  for (const [what, greeting, says] of oddPeers) {
    for (const protocol of ["auto", 2, 3] as const) {
      it.live(`${what} is not believed (${protocol})`, () =>
        Effect.gen(function* () {
          const fake = yield* FakeServer.make((connection) =>
            Effect.andThen(greeting === "" ? Effect.void : connection.send(greeting), connection.serve(says))
          )
          const options = { port: fake.port, protocol, database: 1, whenDown: "fail", start: "background" } as const
          yield* Effect.gen(function* () {
            const reason = yield* reasonOf(Redis.command(["GET", "k"], { timeout: 300 }))
            assert.ok(reason._tag === "ConnectionError", reason.message)
            assert.include(["handshake", "protocol"], reason.kind, reason.message)
            assert.strictEqual(reason.delivery, "unsent")
            assert.isFalse((yield* fake.log).some(({ bytes }) => String(bytes).includes("GET")))
          }).pipe(Effect.provide(Redis.layer(options)))
        }).pipe(Effect.scoped)
      )
    }
  }

  it.live("a PONG out of turn is found when the text of PING comes behind it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.serve(asRedis))
      const proxy = yield* FaultProxy.make(fake)
      const late = { afterReplies: 3, gapMillis: 30 }
      const interjection = yield* proxy.inject(Fault.interject("+PONG", late))
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "own")
        assert.strictEqual(yield* interjection.hits, 1)
        assert.strictEqual((yield* Redis.status).sessions, 2)
      }).pipe(Effect.provide(Redis.layer({ port: proxy.port })))
    }).pipe(Effect.scoped)
  )

  it.live("a map with another protocol in it is no HELLO of ours", () =>
    Effect.gen(function* () {
      for (const proto of [1, 4, 7]) {
        const hello = but("HELLO", `%1\r\n+proto\r\n:${proto}\r\n`)
        const fake = yield* FakeServer.make((connection) => connection.serve(hello))
        const reason = yield* reasonOf(Redis.command(["GET", "k"], { timeout: 300 })).pipe(
          Effect.provide(Redis.layer({ port: fake.port }))
        )
        assert.ok(reason._tag === "ConnectionError" && reason.kind === "handshake", reason.message)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a proxy that closes the connection at a command it does not know", () => {
  for (const unknown of ["CLIENT", "a PING with a text"]) {
    it.live(`is greeted without it the next time (${unknown})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) =>
          Effect.gen(function* () {
            yield* connection.answer(([name = "", ...args]) => {
              if (name === "PING" && args.length > 0)
                return unknown === "CLIENT" ? FakeServer.bulk(args[0] ?? "") : undefined
              if (name === "CLIENT") return unknown === "CLIENT" ? undefined : "+OK\r\n"
              return asRedis([name, ...args])
            })
            yield* connection.end
            yield* connection.silent
          })
        )
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "own")
          assert.strictEqual((yield* Redis.status).sessions, 2)
          // A lease is told what the connection has learned.
          assert.strictEqual(
            yield* Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["GET", "k"]))),
            "own"
          )
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
      }).pipe(Effect.scoped)
    )
  }

  it.live("or at HELLO after it has refused it: RESP2 from the next session on", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          const [name = "", text = ""] = yield* connection.command
          yield* connection.send(name === "HELLO" ? "-ERR unknown command 'HELLO'\r\n" : asRedis([name, text]))
          if (name !== "HELLO") return yield* connection.serve(asRedis)
          yield* connection.end
          yield* connection.silent
        })
      )
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "own")
        assert.strictEqual((yield* Redis.status).protocol, 2)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    }).pipe(Effect.scoped)
  )
})

describe("a handshake in unusual shapes", () => {
  const proto = "%1\r\n+proto\r\n:3\r\n"
  const hellos: ReadonlyArray<readonly [what: string, reply: string]> = [
    ["behind an attribute", `|1\r\n+a\r\n+b\r\n${proto}`],
    ["with an attribute inside", "%2\r\n+x\r\n|1\r\n+a\r\n:1\r\n+y\r\n+proto\r\n:3\r\n"],
    ["between pushes", `>2\r\n+invalidate\r\n*1\r\n+k\r\n${proto}>3\r\n+message\r\n+a\r\n+b\r\n`],
    ["with its protocol as text", "%1\r\n=9\r\ntxt:proto\r\n$1\r\n3\r\n"],
    ["with its protocol as a big number", "%1\r\n$5\r\nproto\r\n(3\r\n"],
    ["with its protocol as a double", "*2\r\n$5\r\nproto\r\n,3\r\n"],
    ["as a stream", "%?\r\n+proto\r\n:3\r\n.\r\n"]
  ]
  for (const [what, hello] of hellos) {
    it.live(`is one, and byte by byte: HELLO ${what}`, () =>
      Effect.gen(function* () {
        const says: FakeServer.Handler = ([name = "", text = ""]) => {
          if (name === "HELLO") return hello
          if (name === "SELECT") return "|1\r\n+a\r\n+b\r\n+OK\r\n"
          return name === "PING" ? `=${text.length + 4}\r\ntxt:${text}\r\n` : asRedis([name, text])
        }
        const fake = yield* FakeServer.make((connection) => connection.serve(says))
        const proxy = yield* FaultProxy.make(fake)
        for (const port of [fake.port, proxy.port]) {
          yield* proxy.inject(Fault.slowLoris(1))
          yield* Effect.gen(function* () {
            assert.strictEqual(yield* Redis.command(["GET", "k"]), "own")
            assert.strictEqual((yield* Redis.status).protocol, 3)
          }).pipe(Effect.provide(Redis.layer({ port, database: 1 })))
        }
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
      takeBack: () => {},
      conceal: (error) => error,
      demoted: () => undefined,
      pushed: () => {}
    }
    const session = new Session(owner, { inFlightCommands: 1, inFlightBytes: 1 }, Resp.makeDecoder(), hooks)
    const outcomes: Array<Outcome> = []
    const resume = (outcome: Outcome) => outcomes.push(outcome)
    session.submitInternal(new Call("", 1, 0, "HELLO", INTERNAL, reducers.command, 1, 0, 0, resume))
    session.die(sessionEnd({ kind: "disconnected", detail: "lost", permanent: false }))
    assert.deepStrictEqual(outcomes, [])
  })
})
