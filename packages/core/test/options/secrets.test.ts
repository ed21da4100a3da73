/**
 * Secrets are planted in every option, argument, key and value; then everything that a program can see of a connection is
 * searched for them: errors in every form, logs at every level, spans, metrics, status, events, options, tree, `inspect`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisOptions, RedisService } from "@relive/core"
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { awaitState, eager, submit } from "../behaviours/support.ts"
import { redactQuotedArguments } from "../../src/internal/commands/redaction.ts"

const marker = "S3CRET"

/** What must not be found: the marker as text, in hexadecimal and in base64, as a buffer's bytes are shown. */
const forms = [
  marker,
  Buffer.from(marker).toString("hex"),
  Array.from(Buffer.from(marker), (byte) => byte.toString(16)).join(" "),
  Array.from(Buffer.from(marker)).join(","),
  Buffer.from(marker).toString("base64").slice(0, 7)
]

const secret = (name: string): string => `${marker}-${name}`

/** Every way to look at a value. */
const views = (value: unknown): ReadonlyArray<string> => [
  inspect(value, { depth: 30, showHidden: true, getters: true, maxArrayLength: null, maxStringLength: null }),
  // oxlint-disable-next-line no-base-to-string -- that is the point
  String(value),
  safeJson(value),
  ...(value instanceof Error ? [value.message, value.stack ?? "", inspect(value.cause, { depth: 30 })] : [])
]

const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value, (_, field: unknown) => (typeof field === "bigint" ? String(field) : field)) ?? ""
  } catch {
    return ""
  }
}

/** All that was seen, with where it came from. */
class Sightings {
  private readonly seen: Array<readonly [where: string, text: string]> = []
  count = 0

  add(where: string, value: unknown): void {
    for (const view of views(value)) {
      this.count++
      if (forms.some((form) => view.includes(form))) this.seen.push([where, view.slice(0, 2000)])
    }
  }

  exit(where: string, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) return
    this.add(where, exit)
    this.add(where, Cause.pretty(exit.cause))
    this.add(where, Cause.squash(exit.cause))
    for (const reason of exit.cause.reasons) {
      if (reason._tag === "Fail") this.add(where, reason.error)
    }
  }

  verify(): void {
    assert.deepStrictEqual(this.seen, [])
  }
}

/** Runs with everything that can be listened to listened to. */
const watched = <A, E, R>(sightings: Sightings, effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const logger = Logger.make((entry) => {
      sightings.add("log", entry.message)
      sightings.add("log's cause", Cause.pretty(entry.cause))
      sightings.add("log's annotations", entry.fiber.getRef(References.CurrentLogAnnotations))
    })
    const registry = new Map<string, never>()
    return effect.pipe(
      Effect.ensuring(
        Effect.map(Metric.snapshot, (metrics) => {
          for (const metric of metrics) sightings.add("metric", metric)
          for (const span of spans) {
            sightings.add("span", [span.name, ...span.attributes])
            if (span.status._tag === "Ended") sightings.exit("span's exit", span.status.exit)
          }
          assert.isAbove(metrics.length + spans.length, 0)
        })
      ),
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Trace"),
      Effect.provideService(Redis.Telemetry, { spans: true, metrics: true }),
      Effect.provideService(Metric.MetricRegistry, registry),
      Effect.withTracer(tracer)
    )
  })

/** Calls of every kind, with secrets in all that is not a command's name, and what they fail with. */
const calls: ReadonlyArray<readonly [name: string, Effect.Effect<unknown, unknown, RedisService>]> = [
  ["wrong type", Redis.command(["LPUSH", secret("key"), secret("value")])],
  ["unknown command", Redis.command(["NOSUCHCOMMAND", secret("a"), secret("b")])],
  ["unknown subcommand", Redis.command(["CONFIG", secret("subcommand"), secret("b")])],
  ["wrong number of arguments", Redis.command(["GET", secret("a"), secret("b"), secret("c")])],
  ["a script that fails", Redis.command(["EVAL", `error('x')`, 1, secret("key"), secret("argument")])],
  ["a script that does not compile", Redis.command(["EVAL", `not lua`, 1, secret("key")])],
  ["not an integer", Redis.command(["INCRBY", "n", secret("number")])],
  [
    "wrong credentials",
    Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["AUTH", secret("u"), secret("p")])))
  ],
  ["refused: AUTH", Redis.command(["AUTH", secret("user"), secret("password")])],
  ["refused: HELLO", Redis.command(["HELLO", 3, "AUTH", secret("user"), secret("password")])],
  ["refused: subscribe", Redis.command(["SUBSCRIBE", secret("channel")])],
  ["refused: blocking in noreply", Redis.noreply([["BLPOP", secret("key"), 0]])],
  ["a bad argument", Redis.command(["SET", secret("key"), Number.NaN])],
  ["a lone surrogate", Redis.command(["SET", secret("key"), `${secret("value")}\ud800`])],
  ["a bad timeout", Redis.command(["GET", secret("key")], { timeout: -1 })],
  ["a timeout", Redis.command(["BLPOP", secret("key"), 0], { timeout: 30 })],
  ["not UTF-8", Redis.command(["GET", "binary"])],
  ["a schema that does not fit", Redis.command(["GET", "text"], { schema: Schema.Int })],
  [
    "a pipeline",
    Redis.pipeline([
      ["GET", secret("key")],
      ["LPUSH", secret("key"), secret("v")],
      ["NOSUCH", secret("v")]
    ])
  ],
  [
    "an aborted transaction",
    Redis.transaction([
      ["SET", secret("key")],
      ["NOSUCH", secret("v")]
    ])
  ],
  ["a transaction with an error in it", Redis.transaction([["LPUSH", secret("key"), secret("v")]])],
  ["an unfit pipeline", Redis.pipeline([["GET", secret("key")], [], ["GET", secret("key")]])],
  ["bytes", Redis.command(["LPUSH", secret("key"), new TextEncoder().encode(secret("value"))])],
  ["eval by digest", Redis.script(`return redis.error_reply('ERR no')`)([secret("key")], [secret("argument")])]
]

const plantedOptions = (server: RedisServer.RedisServer): RedisOptions.Options => ({
  port: server.port,
  username: "app",
  password: Effect.succeed(Redacted.make(secret("password"))),
  onConnect: [["SET", "planted", secret("onConnect")]],
  tls: false
})

describe("Secrets", () => {
  it.live("are in no error, log, span, metric, status or event of a connection that works", () =>
    Effect.gen(function* () {
      const sightings = new Sightings()
      const server = yield* RedisServer.make({
        users: { default: "off", app: `on >${secret("password")} ~* &* +@all` }
      })
      const program = Effect.gen(function* () {
        const changes = yield* Effect.forkChild(
          Stream.runForEach(Redis.events, (change) => Effect.sync(() => sightings.add("event", change))),
          { startImmediately: true }
        )
        yield* Redis.command(["SET", secret("key"), secret("value")])
        yield* Redis.command(["SET", "text", secret("text")])
        yield* Redis.command(["SET", "binary", Buffer.concat([Buffer.from(secret("bytes")), Buffer.from([0xff])])])
        for (const [name, call] of calls) {
          const exit = yield* Effect.exit(call)
          sightings.exit(name, exit)
          // What a pipeline answers are the server's errors: they are shown too.
          if (Exit.isSuccess(exit) && Array.isArray(exit.value)) {
            for (const element of exit.value) if (element instanceof Error) sightings.add(name, element)
          }
        }
        sightings.add("status", yield* Redis.status)
        const service = yield* RedisService
        sightings.add("service", service)
        yield* Effect.scoped(Effect.map(service.lease(), (lease) => sightings.add("lease", lease)))
        yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        yield* Effect.ignore(Redis.command(["SET", secret("key"), secret("value")]))
        yield* server.kill
        const queued = yield* submit(Redis.command(["SET", secret("k"), secret("v")], { timeout: 50 }))
        sightings.add("service with calls", service)
        sightings.exit("queued", yield* Fiber.await(queued))
        sightings.exit("down", yield* Effect.exit(Redis.command(["SET", secret("k"), secret("v")], { timeout: 50 })))
        sightings.add("status", yield* Redis.status)
        yield* Fiber.interrupt(changes)
      }).pipe(Effect.provide(Redis.layer({ ...plantedOptions(server), ...eager })))
      yield* watched(sightings, program)
      assert.isAbove(sightings.count, 200)
      sightings.verify()
    })
  )

  it.live("are in nothing that a refused connection says", () =>
    Effect.gen(function* () {
      const sightings = new Sightings()
      const server = yield* RedisServer.make({ users: { default: "off", app: ">x on ~* +@all -set" } })
      const refusals: ReadonlyArray<RedisOptions.Options> = [
        { username: secret("user"), password: secret("password") },
        { username: "app", password: secret("password") },
        { password: secret("password") },
        { url: `redis://${secret("user")}:${secret("password")}@127.0.0.1:${server.port}` },
        { username: "app", password: "x", onConnect: [["SET", secret("key"), secret("value")]] },
        { username: "app", password: "x", onConnect: [["NOSUCH", secret("key"), secret("value")]] },
        { username: "app", password: "x", tls: { ca: secret("ca"), cert: secret("cert"), key: secret("key") } },
        { username: "app", password: Effect.succeed(Redacted.make(`${secret("p")}`)) }
      ]
      for (const options of refusals) {
        const program = Effect.gen(function* () {
          yield* awaitState("failed")
          sightings.exit("call", yield* Effect.exit(Redis.command(["GET", secret("key")])))
          sightings.add("status", yield* Redis.status)
        }).pipe(Effect.provide(Redis.layer({ port: server.port, ...options, ...eager })))
        yield* watched(sightings, program)
      }
      sightings.verify()
    })
  )

  it.live("are in nothing that a broken peer makes us say", () =>
    Effect.gen(function* () {
      const sightings = new Sightings()
      const answers = [`-ERR ${marker.length} is wrong\r\n`, "@\r\n", "$5\r\nab", ":12x\r\n", "+OK\r\n+OK\r\n"]
      for (const answer of answers) {
        const fake = yield* FakeServer.make((connection) =>
          connection.serve(FakeServer.handshake, () =>
            Effect.andThen(connection.send(answer), Effect.as(connection.close, ""))
          )
        )
        const program = Effect.gen(function* () {
          sightings.exit("call", yield* Effect.exit(Redis.command(["SET", secret("key"), secret("value")])))
          sightings.add("status", yield* Redis.status)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
        yield* watched(sightings, program)
      }
      sightings.verify()
    })
  )

  it.live("are in no option that is refused, and in no option that is kept", () =>
    Effect.gen(function* () {
      const sightings = new Sightings()
      const names = Object.keys({
        ...Object.fromEntries(
          ["host", "port", "database", "username", "name", "protocol", "timeout", "connectTimeout", "closeTimeout"].map(
            (name) => [name, 0]
          )
        ),
        healthCheckInterval: 0,
        mailboxBytes: 0,
        whenFull: 0,
        onConnect: 0,
        libraryName: 0,
        leases: 0,
        maxDepth: 0,
        tls: 0,
        nosuch: 0
      })
      for (const name of names) {
        for (const value of [
          `${secret(name)} x\ud800`,
          [secret(name)],
          { secret: secret(name) },
          new Map([[secret("m"), 1]])
        ]) {
          sightings.add(name, RedisOptions.resolve({ [name]: value } as RedisOptions.Options))
          sightings.exit(
            name,
            yield* Effect.exit(
              Redis.command(["PING"]).pipe(Effect.provide(Redis.layer({ [name]: value } as RedisOptions.Options)))
            )
          )
        }
      }
      sightings.add("kept", RedisOptions.resolve({ password: secret("p"), username: "app" }))
      sightings.add("kept", RedisOptions.resolve(`redis://app:${secret("p")}@host`))
      sightings.verify()
    })
  )

  it.live("are in no tree, process or child of a connection in one's own supervisor", () =>
    Effect.gen(function* () {
      const sightings = new Sightings()
      const server = yield* RedisServer.make({ password: secret("password") })
      const spec = Supervisor.make({
        children: [
          Redis.childSpec({ port: server.port, password: secret("password"), onConnect: [["SET", "k", secret("v")]] }),
          ChildSpec.effect({ id: "other", run: Effect.never })
        ]
      })
      yield* Effect.gen(function* () {
        const ref = yield* Supervisor.start(spec)
        yield* Effect.forkChild(
          Stream.runForEach(ref.events, (event) => Effect.sync(() => sightings.add("event", event))),
          { startImmediately: true }
        )
        yield* server.command(["CLIENT", "KILL", "TYPE", "normal"])
        sightings.add("tree", yield* ref.tree)
        sightings.add("children", yield* ref.whichChildren)
      }).pipe(Effect.scoped, Effect.provide(Registry.layer))
      sightings.verify()
    })
  )
})

describe("What servers repeat", () => {
  it("is taken out of their errors, unless it is a command", () => {
    const texts: ReadonlyArray<readonly [said: string, shown: string]> = [
      ["WRONGTYPE Operation against a key", "WRONGTYPE Operation against a key"],
      ["ERR wrong number of arguments for 'get' command", "ERR wrong number of arguments for 'get' command"],
      [
        "NOPERM no permissions to run the 'config|set' command",
        "NOPERM no permissions to run the 'config|set' command"
      ],
      ["ERR unknown subcommand 'S3CRET'. Try CONFIG HELP.", "ERR unknown subcommand '…'. Try CONFIG HELP."],
      [
        "ERR Error in ACL SETUSER modifier '>S3'CRET': Syntax error",
        "ERR Error in ACL SETUSER modifier '…': Syntax error"
      ],
      ["ERR Can't execute 'get': S3C 'S3CRET'", "ERR Can't execute 'get': S3C '…'"],
      ["ERR CONFIG SET failed - 'S3CRET", "ERR CONFIG SET failed - '…"],
      ['ERR near "S3CRET" and `S3CRET`', 'ERR near "…" and `…`']
    ]
    for (const [said, shown] of texts) assert.strictEqual(redactQuotedArguments(said), shown)
  })
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
