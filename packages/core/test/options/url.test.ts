import { assert, describe, it } from "@effect/vitest"
import * as RedisOptions from "@relive/core/RedisOptions"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

const resolved = (input: RedisOptions.Input): RedisOptions.Resolved =>
  Result.getOrThrowWith(RedisOptions.resolve(input), (error) => new Error(`${JSON.stringify(input)}: ${error.message}`))

const refused = (input: RedisOptions.Input): string => {
  const result = RedisOptions.resolve(input)
  if (Result.isSuccess(result)) return assert.fail(`${JSON.stringify(input)} was accepted`)
  assert.strictEqual(result.failure._tag, "RedisArgumentError")
  return result.failure.message
}

const passwordOf = (options: RedisOptions.Resolved): string | undefined =>
  options.password === undefined ? undefined : Redacted.value(Effect.runSync(Effect.orDie(options.password)))

const place = (url: string) => {
  const { address, database, tls, username } = resolved(url)
  return { address, database, tls: tls !== undefined, username, password: passwordOf(resolved(url)) }
}

const local = { address: "127.0.0.1:6379", database: 0, tls: false, username: undefined, password: undefined }

describe("A URL", () => {
  it("URI-001 with another scheme is refused, and the message lists the schemes", () => {
    const message = refused("foo://example.com")
    for (const part of ["redis://", "valkey://", "rediss://", "foo://"]) assert.include(message, part)
  })

  it("URI-002 URI-003 URI-011 URI-012 names host and port, without a database or password", () => {
    assert.deepStrictEqual(place("redis://example.com"), { ...local, address: "example.com:6379" })
    assert.deepStrictEqual(place("redis://localhost:6380"), { ...local, address: "localhost:6380" })
    assert.deepStrictEqual(place("redis://localhost:6380/"), { ...local, address: "localhost:6380" })
    assert.deepStrictEqual(place("redis://"), local)
    assert.deepStrictEqual(place("redis:///3"), { ...local, database: 3 })
  })

  it("URI-004 URI-005 URI-007 URI-009 carries credentials, percent-decoded, split at the first colon", () => {
    const of = (userinfo: string) => {
      const { password, username } = place(`redis://${userinfo}@localhost`)
      return [username, password]
    }
    assert.deepStrictEqual(of("user:pass"), ["user", "pass"])
    assert.deepStrictEqual(of(":pass"), [undefined, "pass"])
    assert.deepStrictEqual(of("us%2Fer:a%2Fb"), ["us/er", "a/b"])
    assert.deepStrictEqual(of("user:pa:ss"), ["user", "pa:ss"])
    assert.deepStrictEqual(of("user:p@ss"), ["user", "p@ss"])
    assert.deepStrictEqual(of("user:"), ["user", ""])
    assert.deepStrictEqual(of(":"), [undefined, undefined])
    assert.deepStrictEqual(of("u:%E2%82%AC+%20%40%3A%23"), ["u", "€+ @:#"])
  })

  it("URI-013 names the database in the first segment of its path", () => {
    assert.strictEqual(place("redis://localhost/2").database, 2)
    assert.strictEqual(place("redis://localhost/2/namespace").database, 2)
    assert.strictEqual(place("redis://localhost/").database, 0)
  })

  it("refuses a database behind two slashes, which would be lost", () => {
    for (const path of ["//1", "//1/", "///1", "//namespace"]) {
      assert.include(refused(`redis://localhost:6379${path}`), "two slashes", path)
    }
  })

  it("refuses several hosts", () => {
    for (const hosts of ["a,b", "a,b:6379", "a:6379,b:6380", "a%2Cb", "[::1],[::2]:1"]) {
      assert.include(refused(`redis://user:pw@${hosts}/1`), "several hosts", hosts)
      assert.notInclude(refused(`redis://user:pw@${hosts}/1`), "pw")
    }
    assert.include(refused({ host: "a,b" }), "`host`")
  })

  it("URI-014 URI-015 refuses a database that is no number, and quotes it", () => {
    assert.include(refused("redis://localhost/peanuts"), '"/peanuts"')
    assert.include(refused("redis://localhost/0tacos"), '"/0tacos"')
    for (const path of ["-1", "1.5", "2147483648", "%31", " 1"])
      assert.include(refused(`redis://h/${path}`), "database")
  })

  it("URI-016 URI-017 says whether it is TLS", () => {
    assert.deepStrictEqual(place("rediss://example.com"), { ...local, address: "example.com:6379", tls: true })
    assert.deepStrictEqual(place("valkeys://example.com"), { ...local, address: "example.com:6379", tls: true })
    assert.deepStrictEqual(place("valkey://example.com"), { ...local, address: "example.com:6379" })
    assert.deepStrictEqual(place("REDIS://example.com"), { ...local, address: "example.com:6379" })
  })

  it("URI-019 yields to the options beside it", () => {
    const options = { url: "redis://user:pass@localhost:1/2?name=a&timeout=1s", port: 6381, database: 4, name: "b" }
    const { address, database, name, timeoutMillis, username } = resolved(options)
    assert.deepStrictEqual(
      [address, database, name, timeoutMillis, username],
      ["localhost:6381", 4, "b", 1_000, "user"]
    )
    assert.strictEqual(resolved({ url: "redis://h:1", host: "other" }).address, "other:1")
    assert.strictEqual(resolved({ url: "unix:///a", path: "/b" }).address, "/b")
    assert.strictEqual(resolved({ url: "redis://h:1", path: "/b" }).address, "/b")
    assert.strictEqual(resolved({ url: "unix:///a", host: "h" }).address, "h:6379")
    assert.isUndefined(resolved({ url: "rediss://h", tls: false }).tls)
    assert.strictEqual(passwordOf(resolved({ url: "redis://:a@h", password: "b" })), "b")
  })

  it("URI-020 loses its user or password to an explicit null", () => {
    const noUser = resolved({ url: "redis://ignored:right@h", username: null })
    assert.deepStrictEqual([noUser.username, passwordOf(noUser)], [undefined, "right"])
    assert.isUndefined(resolved({ url: "redis://:pass@h", password: null }).password)
  })

  it("may be a URL or a redacted text, alone or in a record", () => {
    const text = "redis://user:p%40ss@example.com:1234/5?name=x"
    const expected = { address: "example.com:1234", database: 5, tls: false, username: "user", password: "p@ss" }
    for (const url of [text, new URL(text), Redacted.make(text)]) {
      for (const input of [url, { url }]) {
        const options = resolved(input)
        const { address, database, username } = options
        assert.deepStrictEqual({ address, database, tls: false, username, password: passwordOf(options) }, expected)
        assert.strictEqual(options.name, "x")
      }
    }
  })

  it("may name a Unix socket", () => {
    for (const scheme of ["unix", "redis+unix", "valkey+unix"]) {
      const options = resolved(`${scheme}:///run/my%20redis@1.sock?db=3&password=a%26b&username=u`)
      assert.deepStrictEqual(options.endpoint, { _tag: "Unix", path: "/run/my redis@1.sock" })
      assert.deepStrictEqual([options.database, options.username, passwordOf(options)], [3, "u", "a&b"])
    }
    assert.strictEqual(passwordOf(resolved("unix://:pw@/run/redis.sock")), "pw")
    for (const url of ["unix://run/redis.sock", "unix://", "unix:///", "unix:///a%00b", "unix:/run/redis.sock"])
      refused(url)
  })

  it("may name an IPv6 address", () => {
    assert.deepStrictEqual(resolved("redis://[::1]:7000/1").endpoint, { _tag: "Tcp", host: "::1", port: 7000 })
    assert.strictEqual(resolved("redis://[2001:db8::1]").address, "[2001:db8::1]:6379")
    assert.deepStrictEqual(resolved("redis://[fe80::1%25eth0]").endpoint, {
      _tag: "Tcp",
      host: "fe80::1%eth0",
      port: 6379
    })
    for (const url of ["redis://::1", "redis://[::1", "redis://[::1]x", "redis://[]", "redis://[zz]:1"]) refused(url)
  })

  it("takes options in its query", () => {
    const url =
      "redis://h?timeout=infinite&connectTimeout=250&closeTimeout=1.5%20seconds&healthCheckInterval=infinite&protocol=2" +
      "&readonly=true&start=await&whenFull=fail&whenDown=fail&backoffFactor=1.5&backoffCap=1m&maxDepth=7&leases=3&db=9"
    const options = resolved(url)
    assert.strictEqual(options.timeoutMillis, Infinity)
    assert.strictEqual(options.connectTimeoutMillis, 250)
    assert.strictEqual(options.closeTimeoutMillis, 1_500)
    assert.strictEqual(options.healthCheckIntervalMillis, Infinity)
    assert.strictEqual(options.protocol, 2)
    assert.isTrue(options.readonly)
    assert.deepStrictEqual([options.start, options.whenFull, options.whenDown], ["await", "fail", "fail"])
    assert.deepStrictEqual([options.backoffFactor, options.backoffCapMillis], [1.5, 60_000])
    assert.deepStrictEqual([options.limits.maxDepth, options.leases, options.database], [7, 3, 9])
  })

  it("refuses what its query cannot say", () => {
    assert.include(refused("redis://h?timeuot=1"), '"timeuot"')
    assert.include(refused("redis://h?Timeout=1"), "Use timeout")
    assert.include(refused("redis://h?user=x"), "Use username")
    assert.include(refused("redis://h?__proto__=1"), "__proto__")
    assert.include(refused("redis://h?timeout=-1"), "`timeout`")
    assert.include(refused("redis://h?timeout=soon"), "`timeout`")
    assert.include(refused("redis://h?connectTimeout=0"), "`connectTimeout`")
    assert.include(refused("redis://h?connectTimeout=infinite"), "`connectTimeout`")
    assert.include(refused("redis://h?protocol=4"), "`protocol`")
    assert.include(refused("redis://h?readonly=maybe"), "`readonly`")
    assert.include(refused("redis://h?name=a%20b"), "`name`")
    assert.include(refused("redis://h?port=1"), "`port`")
    assert.include(refused("redis://h?onConnect=1"), "`onConnect`")
    assert.include(refused("redis://h?timeout=1&timeout=2"), "twice")
    assert.include(refused("redis://h/1?db=2"), "`database`")
    assert.include(refused("redis://h?db=1&database=1"), "`database`")
    refused("redis://h?timeout")
    refused("redis://h?=1")
    refused("redis://h?name=%zz")
  })

  it("refuses what is no URL of a Redis", () => {
    const malformed = [
      "",
      "localhost",
      "localhost:6379",
      "redis",
      "redis:",
      "redis:/h",
      "redis:h",
      " redis://h",
      "http://h"
    ]
    for (const text of malformed) assert.include(refused(text), "redis://", text)
    for (const port of ["0", "65536", "-1", "1.5", "abc", "6379x", "%36", " 1", "99999999999"]) {
      assert.include(refused(`redis://h:${port}`), "65535", port)
    }
    for (const host of ["a b", "a%20b", "a%0d%0ab", "a%2Fb", "a%00b", "%zz", "a:1:2"]) refused(`redis://${host}`)
    assert.include(refused("redis://h#fragment"), "%23")
  })

  it("never shows a password in an error, wherever it stands", () => {
    const urls = [
      "redis://user:hunter2@h:bad",
      "redis://user:hunter2@h/bad",
      "redis://user:hunter2@h?bad=1",
      "redis://user:hunter2@h#bad",
      "redis://user:hunter2@h:1:2",
      "foo://user:hunter2@h",
      "user:hunter2@h",
      "redis:user:hunter2@h",
      "redis:/user:hunter2@h",
      "redis://user:hunter2",
      "redis://:hunter2",
      "redis://user:hunter2:h",
      "redis://user:x/hunter2@h",
      "redis://user:1/hunter2@h",
      "redis://user:1?hunter2@h",
      "redis://user:1?hunter2=@h",
      "redis://user:1#hunter2@h",
      "redis://user:hunter2%zz@h",
      "redis://user:hunter2@@[h",
      "unix://user:hunter2@h/p",
      "unix://user:hunter2@",
      "redis://h?password=hunter2&bad=1",
      "redis://h?password=hunter2%zz",
      "redis://h?password=hunter2&password=hunter2",
      "redis://hunter2@h",
      "redis://user%20x:hunter2@h"
    ]
    for (const url of urls) {
      assert.notInclude(refused(url), "hunter2", url)
      assert.notInclude(refused({ url: Redacted.make(url) }), "hunter2", url)
    }
  })
})
