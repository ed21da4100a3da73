/** The option `sentinel`: as a record, as a URL, from the environment. */
import { assert, describe, it } from "@effect/vitest"
import { RedisOptions } from "@relive/core"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Util from "node:util"
import { departs, overridden } from "../behaviours/support.ts"

const resolve = (input: unknown) => RedisOptions.resolve(input as RedisOptions.Input)

const resolved = (input: unknown): RedisOptions.ResolvedSentinel => {
  const { sentinel } = Result.getOrThrow(resolve(input))
  return sentinel ?? assert.fail("there is no sentinel")
}

const refused = (input: unknown): string =>
  Result.match(resolve(input), { onFailure: (error) => error.message, onSuccess: () => assert.fail("it was taken") })

const places = ({ sentinels }: RedisOptions.ResolvedSentinel) =>
  sentinels.map(({ endpoint: { host, port } }) => `${host}:${port}`)

const secretOf = (node: RedisOptions.SentinelNode | undefined) =>
  node?.password === undefined
    ? Effect.succeed(undefined)
    : Effect.map(node.password, (secret) => [node.username, Redacted.value(secret)])

describe("the option `sentinel`", () => {
  it("OPT-007 is a list of Sentinels and the name of a group", () => {
    const sentinel = resolved({ sentinel: { sentinels: ["redis://localhost:26379"], group: "foo" } })
    assert.deepStrictEqual(places(sentinel), ["localhost:26379"])
    assert.strictEqual(sentinel.group, "foo")
  })

  it("takes URLs, redacted ones, and records", () => {
    const sentinels = [
      new URL("redis://a:1"),
      Redacted.make("rediss://:secret@b:2"),
      { host: "c", port: 3 },
      { host: "[::1]" },
      "redis://[::1]:4"
    ]
    const sentinel = resolved({ sentinel: { sentinels, group: "g" } })
    assert.deepStrictEqual(places(sentinel), ["a:1", "b:2", "c:3", "::1:26379", "::1:4"])
    assert.deepStrictEqual(
      sentinel.sentinels.map(({ tls }) => tls !== undefined),
      [false, true, false, false, false]
    )
  })

  it("OPT-008 says what a Sentinel must be", () => {
    for (const node of ["localhost:26379", 26379, ["localhost"], { port: 1 }, { host: "/run/redis.sock" }, null]) {
      assert.match(refused({ sentinel: { sentinels: ["redis://h", node], group: "g" } }), /sentinels\[1\]/)
    }
    assert.include(refused({ sentinel: { sentinels: [{ host: "h", db: 1 }], group: "g" } }), '"db"')
    assert.include(refused({ sentinel: { sentinels: ["redis://h/?timeout=1"], group: "g" } }), "query")
  })

  it("OPT-009 OPT-011 OPT-012 needs a list with at least one", () => {
    for (const sentinels of [undefined, "redis://h", {}, []]) {
      assert.match(
        refused({ sentinel: { sentinels, group: "g" } }),
        /`sentinel.sentinels` must be a list of at least one/
      )
    }
  })

  it("needs a group", () => {
    for (const group of [undefined, "", "a b", 7]) {
      assert.include(refused({ sentinel: { sentinels: ["redis://h"], group } }), "`sentinel.group`")
    }
  })

  it(
    "OPT-014 the port is 26379 where none is said",
    departs(overridden("OPT-014", "26379 is the port of Sentinels everywhere")),
    () =>
      assert.deepStrictEqual(places(resolved({ sentinel: { sentinels: ["redis://localhost"], group: "g" } })), [
        "localhost:26379"
      ])
  )

  it.effect("OPT-016 OPT-017 a Sentinel's own credentials win over those for all", () =>
    Effect.gen(function* () {
      const { sentinels, template } = resolved({
        sentinel: {
          sentinels: ["redis://me:own@a", { host: "b" }, { host: "c", password: Effect.succeed("lazy") }],
          group: "g",
          username: "all",
          password: "common"
        }
      })
      assert.deepStrictEqual(yield* Effect.all(sentinels.map(secretOf)), [
        ["me", "own"],
        ["all", "common"],
        [undefined, "lazy"]
      ])
      assert.deepStrictEqual(yield* secretOf(template), ["all", "common"])
    })
  )

  it("OPT-021 has defaults", () => {
    const { role, sentinels, timeoutMillis } = resolved({ sentinel: { sentinels: ["redis://h"], group: "g" } })
    assert.deepStrictEqual([role, timeoutMillis], ["primary", 500])
    assert.deepStrictEqual([sentinels[0]?.tls, sentinels[0]?.password], [undefined, undefined])
  })

  it("is a place, beside which there is no other", () => {
    const sentinel = { sentinels: ["redis://h"], group: "g" }
    assert.include(refused({ sentinel, url: "redis://h" }), "`sentinel` and `url` are two places")
    for (const other of [{ host: "h" }, { port: 1 }, { path: "/s" }]) {
      assert.match(refused({ sentinel, ...other }), /`sentinel` and `(host|port|path)` are two places/)
    }
    assert.match(refused({ url: "redis-sentinel://h?group=g", host: "h" }), /`sentinel` and `host` are two places/)
    assert.include(refused({ sentinel: { ...sentinel, master: "g" } }), '"master"')
    assert.include(refused({ sentinel: { ...sentinel, role: "master" } }), '"preferReplica"')
    assert.include(refused({ sentinel: { ...sentinel, timeout: 0 } }), "`sentinel.timeout`")
    assert.include(refused({ sentinel: "redis://h" }), "must be a record")
  })

  it("maps announced addresses by a record or a function", () => {
    const of = (mapAddress: unknown) =>
      resolved({ sentinel: { sentinels: ["redis://h"], group: "g", mapAddress } }).mapAddress
    const announced = { host: "10.0.0.1", port: 6379 }
    assert.deepStrictEqual(of(undefined)(announced), announced)
    assert.deepStrictEqual(of({ "10.0.0.1:6379": "localhost:7001" })(announced), { host: "localhost", port: 7001 })
    assert.deepStrictEqual(of({ "10.0.0.1:6379": { host: "::1", port: 1 } })(announced), { host: "::1", port: 1 })
    assert.deepStrictEqual(of({ "10.0.0.2:6379": "localhost:7001" })(announced), announced)
    assert.deepStrictEqual(
      of(({ port }: RedisOptions.Address) => (port === 6379 ? { host: "nat", port } : undefined))(announced),
      { host: "nat", port: 6379 }
    )
    for (const wrong of [{ a: "b:1" }, { "a:1": "b" }, { "a:1": "b:99999" }, 3]) {
      const input = { sentinel: { sentinels: ["redis://h"], group: "g", mapAddress: wrong } }
      assert.include(refused(input), "`sentinel.mapAddress`")
    }
  })

  it("law 10: shows no password", () => {
    const password = "PASSWORD"
    for (const sentinel of [
      { sentinels: [`redis://:${password}@h:x`], group: "g" },
      { sentinels: [{ host: `${password}@h` }], group: "g" },
      { sentinels: [`${password}@h`], group: "g" },
      { sentinels: ["redis://h"], group: "g", password: { password } }
    ]) {
      assert.notInclude(refused({ sentinel }), password)
    }
    const good = resolve({ sentinel: { sentinels: [`redis://:${password}@h`], group: "g", password } })
    assert.notInclude(Util.inspect(good, { depth: 10 }), password)
  })
})

describe("a URL of Sentinels", () => {
  it.effect("says the Sentinels, the servers' credentials and database, and the group", () =>
    Effect.gen(function* () {
      const options = Result.getOrThrow(
        resolve("redis-sentinel://user:pass%40word@a:1,b,[::1]:3/2?group=mymaster&role=replica&timeout=2s")
      )
      const { sentinel } = options
      if (sentinel === undefined) return assert.fail("there is no sentinel")
      assert.deepStrictEqual(places(sentinel), ["a:1", "b:26379", "::1:3"])
      assert.deepStrictEqual([sentinel.group, sentinel.role], ["mymaster", "replica"])
      assert.deepStrictEqual([options.username, options.database, options.timeoutMillis], ["user", 2, 2000])
      assert.strictEqual(Redacted.value(yield* options.password ?? Effect.die("none")), "pass@word")
      assert.isUndefined(sentinel.template.password)
    })
  )

  it.effect("may say the Sentinels' own credentials, timeout and TLS", () =>
    Effect.gen(function* () {
      const { sentinel, tls } = Result.getOrThrow(
        resolve("rediss-sentinel://a,b?group=g&sentinelUsername=me&sentinelPassword=s&sentinelTimeout=250ms")
      )
      assert.isDefined(tls)
      assert.isDefined(sentinel?.sentinels[1]?.tls)
      assert.strictEqual(sentinel?.timeoutMillis, 250)
      assert.deepStrictEqual(yield* secretOf(sentinel?.sentinels[0]), ["me", "s"])
    })
  )

  it("that is wrong says what is", () => {
    assert.include(refused("redis-sentinel://a,b"), "`sentinel.group`")
    assert.include(refused("redis-sentinel://a,,b:x?group=g"), "port")
    assert.include(refused("redis-sentinel://a?group=g&rolle=replica"), '"rolle"')
    assert.notInclude(refused("redis-sentinel://:PASSWORD@a:x?group=g"), "PASSWORD")
  })
})

describe("the environment", () => {
  const read = (variables: Record<string, string>) =>
    RedisOptions.config.pipe(
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(variables))),
      Effect.flatMap((options) => Effect.fromResult(resolve(options)))
    )

  it.effect("names Sentinels by REDIS_SENTINEL_…", () =>
    Effect.gen(function* () {
      const { sentinel } = yield* read({
        REDIS_SENTINEL_SENTINELS: "a, b:1, rediss://c",
        REDIS_SENTINEL_GROUP: "g",
        REDIS_SENTINEL_ROLE: "preferReplica",
        REDIS_SENTINEL_TIMEOUT: "1s",
        REDIS_SENTINEL_PASSWORD: "secret"
      })
      if (sentinel === undefined) return assert.fail("there is no sentinel")
      assert.deepStrictEqual(places(sentinel), ["a:26379", "b:1", "c:26379"])
      assert.deepStrictEqual([sentinel.role, sentinel.timeoutMillis], ["preferReplica", 1000])
      assert.deepStrictEqual(yield* secretOf(sentinel.sentinels[0]), [undefined, "secret"])
      const byUrl = yield* read({ REDIS_URL: "redis-sentinel://a?group=g" })
      assert.strictEqual(byUrl.sentinel?.group, "g")
    })
  )

  it.effect("without one of them there is no `sentinel`; with one, the rest must be there", () =>
    Effect.gen(function* () {
      assert.isUndefined((yield* read({ REDIS_HOST: "h" })).sentinel)
      const error = yield* Effect.flip(read({ REDIS_SENTINEL_GROUP: "g" }))
      assert.include(error.message, "sentinel.sentinels")
    })
  )
})
