import { assert, describe, it } from "@effect/vitest"
import * as RedisOptions from "@relive/core/RedisOptions"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { inspect } from "node:util"
import { kinds } from "../../src/internal/options/table.ts"

const resolved = (input: RedisOptions.Input): RedisOptions.Resolved =>
  Result.getOrThrowWith(RedisOptions.resolve(input), (error) => new Error(error.message))

/** Takes anything, as JavaScript and configuration files do. */
const refused = (input: unknown): string => {
  const resolve: (input: never) => ReturnType<typeof RedisOptions.resolve> = RedisOptions.resolve
  const result = resolve(input as never)
  if (Result.isSuccess(result)) return assert.fail(`${inspect(input)} was accepted`)
  assert.strictEqual(result.failure._tag, "RedisArgumentError")
  return result.failure.message
}

const refusedEach = (name: string, values: ReadonlyArray<unknown>): void => {
  for (const value of values) assert.include(refused({ [name]: value }), `\`${name}\``, inspect(value))
}

const secret = "hunter2-hunter2"

describe("RedisOptions.resolve", () => {
  it("OPT-004 OPT-020 fills in the defaults of the design", () => {
    const { libraryVersion, ...defaults } = resolved({})
    assert.deepStrictEqual(defaults, {
      endpoint: { _tag: "Tcp", host: "127.0.0.1", port: 6379 },
      address: "127.0.0.1:6379",
      database: 0,
      username: undefined,
      password: undefined,
      name: undefined,
      protocol: "auto",
      timeoutMillis: 5_000,
      connectTimeoutMillis: 5_000,
      addressTimeoutMillis: 1_250,
      closeTimeoutMillis: 3_000,
      healthCheckIntervalMillis: 10_000,
      stableAfterMillis: 10_000,
      mailboxCommands: 65_536,
      mailboxBytes: 64 * 1024 * 1024,
      whenFull: "suspend",
      inFlightCommands: 16_384,
      inFlightBytes: 64 * 1024 * 1024,
      whenDown: "wait",
      backoffFirstMillis: 50,
      backoffInitialMillis: 100,
      backoffFactor: 2,
      backoffCapMillis: 3_000,
      start: "background",
      readonly: false,
      onConnect: [],
      libraryName: "relive",
      keyPrefix: undefined,
      leases: 32,
      leaseIdleMillis: 10_000,
      limits: {
        maxDepth: 128,
        maxElements: 2 ** 26,
        maxBulkBytes: 512 * 1024 * 1024,
        maxReplyBytes: 1024 * 1024 * 1024,
        maxBigNumberDigits: 4_096
      },
      tls: undefined,
      sentinel: undefined
    })
    const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
    assert.propertyVal(manifest, "version", libraryVersion)
  })

  it("OPT-001 keeps what is given and fills in the rest", () => {
    const options = resolved({ host: "foo.com", backoffCap: 0, start: "await", timeout: undefined })
    assert.deepStrictEqual([options.address, options.backoffCapMillis, options.start], ["foo.com:6379", 0, "await"])
    assert.strictEqual(options.timeoutMillis, 5_000)
  })

  it("OPT-003 refuses a port that is no port, and names it", () => {
    refusedEach("port", ["6379", 6379.5, 0, -1, 65536, NaN, Infinity, null, 6379n])
    assert.include(refused({ port: 65536 }), "65535")
    assert.strictEqual(resolved({ port: 65535 }).address, "127.0.0.1:65535")
  })

  it("OPT-005 OPT-006 takes a Unix socket with port 0 or none, and no other", () => {
    for (const place of [{ path: "/run/a.sock" }, { host: "/run/a.sock" }]) {
      assert.deepStrictEqual(resolved(place).endpoint, { _tag: "Unix", path: "/run/a.sock" })
      assert.strictEqual(resolved({ ...place, port: 0 }).address, "/run/a.sock")
      assert.include(refused({ ...place, port: 1 }), "port")
    }
    assert.include(refused({ path: "/a", host: "h" }), "`path` and `host`")
    refusedEach("path", ["", "a\0b", 1, null])
  })

  it("takes a host with or without brackets, and no more than a host", () => {
    assert.deepStrictEqual(resolved({ host: "::1" }).endpoint, { _tag: "Tcp", host: "::1", port: 6379 })
    assert.strictEqual(resolved({ host: "[::1]" }).address, "[::1]:6379")
    assert.strictEqual(resolved({ host: "my-host_1.example" }).address, "my-host_1.example:6379")
    refusedEach("host", ["", "a b", "localhost:6379", "redis://h", "u:p@h", "h/1", "a\nb", 1, null, ["h"]])
  })

  it("refuses options that it does not know, and says which there are", () => {
    assert.include(refused({ hots: "x" }), '"hots"')
    assert.include(refused({ hots: "x" }), "connectTimeout")
    assert.include(refused({ db: 1 }), "Use database")
    assert.include(refused({ connect_timeout: 1 }), "Use connectTimeout")
    assert.include(refused({ exitOnDisconnection: true }), "childSpec")
    assert.include(refused(JSON.parse('{ "__proto__": 1 }')), "__proto__")
    refused({ toString: 1 })
  })

  it("refuses what are no options", () => {
    for (const input of [undefined, null, 1, true, [], ["redis://h"], () => ({})]) refused(input)
    for (const url of [1, null, {}, []]) assert.include(refused({ url }), "`url`")
  })

  it("OPT-022 reads durations in all forms", () => {
    const of = (timeout: RedisOptions.Options["timeout"]) => resolved({ timeout }).timeoutMillis
    assert.strictEqual(of(250), 250)
    assert.strictEqual(of(0), 0)
    assert.strictEqual(of("2 seconds"), 2_000)
    assert.strictEqual(of(Duration.minutes(1)), 60_000)
    assert.strictEqual(of({ seconds: 1, milliseconds: 5 }), 1_005)
    assert.strictEqual(of([1, 500_000_000]), 1_500)
    for (const infinite of ["infinite", "Infinity", Infinity, Duration.infinity] as const) {
      assert.strictEqual(of(infinite), Infinity)
      assert.strictEqual(resolved({ healthCheckInterval: infinite }).healthCheckIntervalMillis, Infinity)
    }
  })

  it("OPT-022 refuses durations that are none, negative, or longer than a timer", () => {
    const wrong = [
      null,
      -1,
      NaN,
      -Infinity,
      "soon",
      "",
      "5",
      {},
      { second: 1 },
      { seconds: NaN },
      { seconds: "1" },
      [1]
    ]
    const tooLong = [2 ** 31, "25 days", [NaN, 0], true, new Date(0), "-1 seconds"]
    for (const name of Object.keys(resolvedDurations)) refusedEach(name, [...wrong, ...tooLong])
    for (const name of Object.keys(resolvedDurations)) {
      if (name !== "timeout" && name !== "healthCheckInterval")
        refusedEach(name, ["infinite", Infinity, Duration.infinity])
    }
    refusedEach("connectTimeout", [0])
    refusedEach("healthCheckInterval", [0])
  })

  it("refuses numbers that are no counts", () => {
    for (const name of counts) refusedEach(name, [0, -1, 1.5, NaN, Infinity, "1", null, 1n])
    refusedEach("database", [-1, 1.5, NaN, 2 ** 31, "0", null])
    refusedEach("backoffFactor", [0, 0.9, -1, NaN, Infinity, "2"])
  })

  it("refuses words that are none of its own", () => {
    refusedEach("protocol", [1, 4, "2", "3", "RESP3", null])
    refusedEach("whenFull", ["drop", true])
    refusedEach("whenDown", ["suspend", 0])
    refusedEach("start", ["now", false])
    refusedEach("readonly", ["true", 1, null])
    refusedEach("tls", ["true", 1, null, { serverName: 1 }, { nonsense: true }, []])
    assert.strictEqual(resolved({ tls: { serverName: "redis.example" } }).tls?.serverName, "redis.example")
  })

  it("refuses names that the server would refuse", () => {
    for (const name of ["name", "libraryName", "libraryVersion"]) {
      refusedEach(name, ["a b", "a\nb", "é", "a\x7f", 1, null])
      if (name !== "libraryName") refusedEach(name, [""])
    }
    assert.strictEqual(resolved({ libraryName: "" }).libraryName, "")
    assert.strictEqual(resolved({ name: "app:1!~" }).name, "app:1!~")
  })

  it("checks credentials together", () => {
    assert.include(refused({ username: "u" }), "`username`")
    assert.include(refused("redis://u@h"), "`username`")
    assert.include(refused("redis://u@h"), "redis://user:password@host")
    assert.include(refused("redis://u@h"), "redis://:password@host")
    assert.include(refused({ password: "" }), "`password`")
    assert.include(refused({ password: Redacted.make("") }), "`password`")
    assert.strictEqual(resolved({ username: "u", password: "" }).username, "u")
    refusedEach("username", ["", "a b", "a\0", 1])
    refusedEach("password", [1, {}, [], true, Redacted.make(1), "\ud800", () => "x"])
  })

  it.effect("takes a password as text, redacted, or as an effect that is run each time", () =>
    Effect.gen(function* () {
      const take = (password: RedisOptions.Password) =>
        Effect.map(resolved({ password }).password ?? Effect.die("no password"), Redacted.value)
      assert.strictEqual(yield* take(secret), secret)
      assert.strictEqual(yield* take(Redacted.make(secret)), secret)
      assert.strictEqual(yield* take(Effect.succeed(secret)), secret)
      let runs = 0
      const rotating = resolved({ password: Effect.sync(() => Redacted.make(`p${++runs}`)) }).password
      assert.strictEqual(runs, 0)
      const each = rotating === undefined ? Effect.die("no password") : Effect.map(rotating, Redacted.value)
      assert.deepStrictEqual([yield* each, yield* each], ["p1", "p2"])
      assert.strictEqual(yield* Effect.flip(take(Effect.fail("vault is down"))), "vault is down")
      const wrong: Effect.Effect<string> = Effect.map(Effect.succeed("x"), (text) => JSON.parse(`{"${text}": 1}`))
      assert.include(String(yield* Effect.flip(take(wrong))), "password")
    })
  )

  it("shows no password, in whatever way it is printed", () => {
    const inputs: ReadonlyArray<RedisOptions.Input> = [
      { password: secret },
      { password: Redacted.make(secret) },
      `redis://:${secret}@h`,
      { url: `redis://u:${secret}@h` }
    ]
    for (const input of inputs) {
      const options = resolved(input)
      for (const shown of [
        JSON.stringify(options),
        inspect(options, { depth: 20, showHidden: true }),
        String(options)
      ]) {
        assert.notInclude(shown, secret)
      }
      assert.notInclude(String(options.password), secret)
    }
  })

  it("shows no string that was put in the wrong place", () => {
    for (const name of Object.keys(kinds)) {
      // Those which take the text as it is.
      if (["path", "host", "username", "password", "name", "libraryName", "libraryVersion", "keyPrefix"].includes(name))
        continue
      assert.notInclude(refused({ [name]: secret }), secret, name)
    }
    assert.notInclude(refused({ host: `redis://:${secret}@h` }), secret)
    assert.notInclude(refused({ name: `${secret} x` }), secret)
    assert.notInclude(refused({ username: `${secret} x` }), secret)
    assert.notInclude(refused(`redis://h?timeout=${secret}`), secret)
  })

  it("takes in onConnect only commands that belong there", () => {
    const commands = [["CLIENT", "NO-EVICT", "ON"], ["READONLY"], ["CONFIG", "SET", "x", 1, 2n, new Uint8Array(1)]]
    assert.deepStrictEqual(resolved({ onConnect: commands }).onConnect, commands)
    const wrong = ["MULTI", "EXEC", "WATCH k", "UNWATCH", "select 1", "AUTH x", "WAIT 1 0", "SUBSCRIBE c", "HELLO 3"]
    for (const text of [...wrong, "CLIENT REPLY OFF", "BLPOP k 0"]) {
      const message = refused({ onConnect: [["PING"], text.split(" ")] })
      assert.include(message, "Command 2 of the option `onConnect`")
    }
    refusedEach("onConnect", [
      "PING",
      ["PING"],
      [[]],
      [["GET", undefined]],
      [["GET", NaN]],
      [["GET", "\ud800"]],
      [["GET", null]]
    ])
  })
})

const resolvedDurations = {
  timeout: 1,
  connectTimeout: 1,
  closeTimeout: 1,
  healthCheckInterval: 1,
  stableAfter: 1,
  backoffFirst: 1,
  backoffInitial: 1,
  backoffCap: 1,
  leaseIdle: 1
}

const counts = [
  "mailboxCommands",
  "mailboxBytes",
  "inFlightCommands",
  "inFlightBytes",
  "leases",
  "maxDepth",
  "maxElements",
  "maxBulkBytes",
  "maxBigNumberDigits"
]

describe("RedisOptions.config", () => {
  const load = (env: Record<string, string>) =>
    RedisOptions.config.pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))))

  const resolvedFrom = (env: Record<string, string>) => Effect.map(load(env), resolved)

  it.effect("is the local server when nothing is set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* resolvedFrom({}), resolved("redis://127.0.0.1:6379"))
      assert.deepStrictEqual(yield* resolvedFrom({ REDIS_HOST: "", REDIS_PASSWORD: "", REDIS_URL: "" }), resolved({}))
    })
  )

  it.effect("reads every option that has a text form", () =>
    Effect.gen(function* () {
      const texts: Record<string, string> = {
        host: "h",
        port: "1",
        path: "/p",
        database: "1",
        username: "u",
        password: "p",
        name: "n",
        protocol: "2",
        whenFull: "fail",
        whenDown: "fail",
        backoffFactor: "1.5",
        start: "await",
        readonly: "true",
        libraryName: "l",
        libraryVersion: "v",
        tls: "true"
      }
      for (const name of Object.keys(kinds)) {
        if (name === "onConnect") continue
        const variable = `REDIS_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
        const options = yield* load({ [variable]: texts[name] ?? "7" })
        const given = Object.entries(options).filter(([, value]) => value !== undefined)
        assert.deepStrictEqual(
          given.map(([key]) => key),
          [name],
          variable
        )
      }
    })
  )

  it.effect("lets the others win over the URL", () =>
    Effect.gen(function* () {
      const options = yield* resolvedFrom({
        REDIS_URL: `redis://user:${secret}@a:1/2?timeout=1s`,
        REDIS_HOST: "b",
        REDIS_CONNECT_TIMEOUT: "250 millis",
        REDIS_HEALTH_CHECK_INTERVAL: "infinite",
        REDIS_PROTOCOL: "3"
      })
      assert.strictEqual(options.address, "b:1")
      assert.deepStrictEqual([options.database, options.username, options.timeoutMillis], [2, "user", 1_000])
      assert.deepStrictEqual([options.connectTimeoutMillis, options.healthCheckIntervalMillis], [250, Infinity])
      assert.strictEqual(options.protocol, 3)
    })
  )

  it.effect("fails with an error that names the variable, and shows no value", () =>
    Effect.gen(function* () {
      const wrong = {
        REDIS_PORT: secret,
        REDIS_CONNECT_TIMEOUT: secret,
        REDIS_READONLY: secret,
        REDIS_PROTOCOL: secret
      }
      for (const [variable, value] of Object.entries(wrong)) {
        const error = yield* Effect.flip(load({ [variable]: value }))
        assert.strictEqual(error._tag, "ConfigError")
        assert.include(error.message, variable)
        assert.notInclude(inspect(error, { depth: 10 }), secret)
      }
    })
  )

  it.effect("holds passwords redacted", () =>
    Effect.gen(function* () {
      const options = yield* load({ REDIS_URL: `redis://:${secret}@h`, REDIS_PASSWORD: secret })
      assert.notInclude(inspect(options, { depth: 10 }), secret)
      assert.notInclude(JSON.stringify(options), secret)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(resolved(options).password ?? Effect.die("none"))))
    })
  )

  it.effect("passes over the REDIS_PORT of Kubernetes", () =>
    Effect.gen(function* () {
      const options = yield* resolvedFrom({ REDIS_PORT: "tcp://10.0.0.1:6379", REDIS_HOST: "redis" })
      assert.strictEqual(options.address, "redis:6379")
    })
  )
})
