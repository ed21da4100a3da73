/**
 * TLS against real servers, and what is said of each way in which it can go wrong.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisOptions } from "@relive/core"
import { Certificates, FakeServer, Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { inspect } from "node:util"
import { awaitState, departs, eager, notApplicable, submit } from "../behaviours/support.ts"

type Options = RedisOptions.Options

const tlsOf = (server: { readonly tls?: RedisServer.TlsFiles | undefined }): RedisServer.TlsFiles => {
  if (server.tls === undefined) throw new Error("the server has no TLS")
  return server.tls
}

const ping = (options: Options) => Effect.provide(Redis.command(["PING"]), Redis.layer(options))

/** How the first session of a connection ends, and what state that leaves. */
const failureOf = (options: Options, ...states: ReadonlyArray<Redis.ConnectionState>) =>
  Effect.gen(function* () {
    yield* awaitState(...(states.length === 0 ? (["failed", "backoff"] as const) : states))
    const { lastError, state } = yield* Redis.status
    const reason = lastError?.reason
    assert.ok(reason?._tag === "ConnectionError")
    return { reason, state }
  }).pipe(Effect.provide(Redis.layer({ backoffCap: "1 minute", backoffInitial: "1 minute", ...options })))

/** The server refuses us, or we it, and will the next time. */
const refused = (options: Options, detail: RegExp) =>
  Effect.map(failureOf(options), ({ reason, state }) => {
    assert.deepStrictEqual([reason.kind, reason.delivery, state], ["handshake", "unsent", "failed"], reason.message)
    assert.match(reason.detail, detail)
    return reason
  })

/** The same, found when it has happened again. */
const refusedAgain = (options: Options, detail: RegExp) =>
  Effect.map(failureOf({ ...options, backoffInitial: 1 }, "failed"), ({ reason }) =>
    assert.match(reason.detail, detail)
  )

/** It did not work, and may the next time. */
const failed = (options: Options, detail: RegExp) =>
  Effect.map(failureOf(options), ({ reason, state }) => {
    assert.deepStrictEqual([reason.kind, reason.delivery, state], ["connect", "unsent", "backoff"], reason.message)
    assert.match(reason.detail, detail)
  })

/** Listens on a free port until the scope closes. */
const listening = (server: Net.Server) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.sync(() => {
        server.close()
      })
  )

/** Servers of Node's, for what no Redis does. Their connections end with the client's. */
const tlsServer = (options: Tls.TlsOptions) =>
  listening(Tls.createServer(options, (socket) => socket.on("error", () => {}).resume()).on("tlsClientError", () => {}))

const tcpServer = (onSocket: (socket: Net.Socket) => void) =>
  listening(Net.createServer((socket) => onSocket(socket.on("error", () => {}))))

describe("TLS", () => {
  it.live("is spoken by URL and by options, the server verified by address and by name", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true, password: "s3cret" })
      const { ca } = tlsOf(server)
      const own: Options = { port: server.port, password: "s3cret" }
      const ways: ReadonlyArray<Options> = [
        { url: server.url, tls: { ca } },
        { url: server.url.replace("rediss:", "valkeys:"), tls: { ca } },
        { ...own, tls: { ca } },
        { ...own, host: "localhost", tls: { ca } },
        { ...own, tls: { ca, serverName: "localhost" } },
        { ...own, host: "localhost", tls: { ca, serverName: "127.0.0.1" } },
        { ...own, tls: { ca: new TextEncoder().encode(ca) } },
        { ...own, tls: { ca: Redacted.make(ca) } },
        { ...own, tls: { ca: Effect.succeed(Redacted.make(new TextEncoder().encode(ca))) } },
        { ...own, tls: { rejectUnauthorized: false } },
        { ...own, protocol: 2, tls: { ca } }
      ]
      for (const way of ways) assert.strictEqual(yield* ping(way), "PONG", inspect(way))
    })
  )

  it.live("carries what plain connections carry: large values, leases, many callers, a lost session", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const large = new Uint8Array(Crypto.randomBytes(3_000_000))
      yield* Effect.gen(function* () {
        yield* Redis.command(["SET", "large", large])
        assert.deepStrictEqual(yield* Redis.command(["GET", "large"], { decode: "bytes" }), large)
        const popped = yield* submit(Redis.command(["BLPOP", "list", 5]))
        yield* Redis.command(["RPUSH", "list", "x"])
        assert.deepStrictEqual(yield* Fiber.join(popped), ["list", "x"])
        yield* server.command(["CLIENT", "KILL", "TYPE", "normal"])
        assert.strictEqual(yield* Redis.command(["STRLEN", "large"]), 3_000_000)
        const echo = (i: number) => Effect.map(Redis.command(["ECHO", i]), (reply) => reply === String(i))
        const numbers = Array.from({ length: 2000 }, (_, i) => i)
        assert.notInclude(yield* Effect.forEach(numbers, echo, { concurrency: "unbounded" }), false)
      }).pipe(Effect.provide(Redis.layer({ url: server.url, tls: { ca: tlsOf(server).ca }, ...eager })))
    })
  )

  it.live("is cut anywhere, in the handshake too, and each call gets its own reply or an honest error", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const proxy = yield* FaultProxy.make(server)
      const tls = { ca: tlsOf(server).ca }
      yield* Effect.gen(function* () {
        for (let round = 0; round < 30; round++) {
          const direction = round % 2 === 0 ? "toClient" : "toServer"
          const how = round % 3 === 0 ? "fin" : "rst"
          yield* proxy.inject(Fault.cut({ direction, how, afterBytes: round * 97 }))
          const echoes = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, i) => `${round}-${i}`),
            (text) => Effect.map(Effect.exit(Redis.command(["ECHO", text])), (exit) => [text, exit] as const),
            { concurrency: "unbounded" }
          )
          for (const [text, exit] of echoes) {
            if (exit._tag === "Success") assert.strictEqual(exit.value, text)
            else assert.ok(exit.cause.reasons.every((reason) => reason._tag === "Fail"))
          }
        }
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        assert.isAbove((yield* Redis.status).sessions, 10)
        assert.isAbove((yield* proxy.hits).Cut, 10)
      }).pipe(Effect.provide(Redis.layer({ port: proxy.port, tls, ...eager })))
    })
  )

  it.live("shows our certificate where the server wants one, and one that has changed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: { clientCertificate: "required" } })
      const { ca, cert, key } = tlsOf(server)
      const { port } = server
      assert.strictEqual(yield* ping({ port, tls: { ca, cert, key } }), "PONG")
      const passphrase = "open sesame"
      const cipher = { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase } as const
      const encrypted = Crypto.createPrivateKey(key).export(cipher).toString()
      assert.strictEqual(yield* ping({ port, tls: { ca, cert, key: encrypted, passphrase } }), "PONG")

      const stranger = Certificates.make().client
      yield* refused({ port, tls: { ca } }, /wants a client certificate; set `tls.cert` and `tls.key`/)
      yield* refused({ port, tls: { ca, ...stranger } }, /does not accept our certificate/)
      let reads = 0
      const tls = {
        ca,
        cert: Effect.sync(() => (++reads === 1 ? stranger.cert : cert)),
        key: Effect.sync(() => Redacted.make(reads === 1 ? stranger.key : key))
      }
      yield* Effect.gen(function* () {
        yield* awaitState("failed")
        yield* awaitState("ready")
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      }).pipe(Effect.provide(Redis.layer({ port, tls, ...eager })))
    })
  )
})

describe("TLS that fails", () => {
  it.live("tells an authority that is not trusted, a wrong name, an expired certificate", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const { ca } = tlsOf(server)
      const { port } = server
      yield* refused({ port, tls: true }, /not trusted .*set `tls\.ca`/)
      yield* refused({ port, tls: { ca: Certificates.make().ca } }, /not trusted .*set `tls\.ca`/)
      yield* refused(
        { port, tls: { ca, serverName: "redis.example" } },
        /is not for redis\.example; set `tls\.serverName`/
      )
      yield* refused({ port, tls: { ca, serverName: "127.0.0.9" } }, /is not for 127\.0\.0\.9/)

      const old = Certificates.make({ isExpired: true })
      const expired = yield* tlsServer({ cert: old.server.cert, key: old.server.key })
      yield* refused({ port: expired, tls: { ca: old.ca } }, /has expired/)
    })
  )

  it.live("lasts until the certificate is renewed", () =>
    Effect.gen(function* () {
      const redis = yield* RedisServer.make()
      const old = Certificates.make({ isExpired: true })
      const renewed = Certificates.make()
      const front = Tls.createServer({ cert: old.server.cert, key: old.server.key }, (socket) => {
        const upstream = Net.connect(redis.port, redis.host)
        socket
          .on("error", () => upstream.destroy())
          .pipe(upstream.on("error", () => socket.destroy()))
          .pipe(socket)
      }).on("tlsClientError", () => {})
      const port = yield* listening(front)
      yield* Effect.gen(function* () {
        yield* awaitState("failed")
        const { lastError } = yield* Redis.status
        assert.match(String(lastError?.message), /has expired/)
        const waiting = yield* Effect.flip(Redis.command(["PING"]))
        assert.ok(waiting.reason._tag === "ConnectionError" && waiting.reason.kind === "handshake")
        front.setSecureContext({ cert: renewed.server.cert, key: renewed.server.key })
        yield* awaitState("ready")
        assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      }).pipe(Effect.provide(Redis.layer({ port, tls: { ca: old.ca + renewed.ca }, ...eager })))
    })
  )

  it.live("tells a server without TLS behind rediss, also one that is silent", () =>
    Effect.gen(function* () {
      const real = yield* RedisServer.make({ password: "s3cret" })
      // It takes the handshake for the beginning of a line and waits for the rest.
      const url = real.url.replace("redis:", "rediss:")
      yield* refused({ url, connectTimeout: 1000 }, /does not speak TLS/)
      const [, received = ""] =
        /total_commands_processed:(\d+)/.exec(String(yield* real.command(["INFO", "stats"]))) ?? []
      assert.isAbove(Number(received), 0)

      const http = yield* tcpServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      yield* refused({ port: http, tls: true }, /does not speak TLS/)
      const full = yield* tcpServer((socket) => socket.end("-ERR max number of clients reached\r\n"))
      yield* refused({ port: full, tls: true }, /does not speak TLS/)
    })
  )

  it.live("tells a TLS server behind redis", () =>
    Effect.gen(function* () {
      const real = yield* RedisServer.make({ tls: true })
      yield* refusedAgain({ port: real.port }, /speaks TLS there; use rediss:\/\//)
      const strict = yield* RedisServer.make({ tls: { clientCertificate: "required" } })
      yield* refusedAgain({ port: strict.port }, /speaks TLS there; use rediss:\/\//)
      const { cert, key } = Certificates.make().server
      const port = yield* tlsServer({ cert, key })
      yield* refusedAgain({ port }, /speaks TLS there; use rediss:\/\//)
      const leaving = yield* tcpServer((socket) => socket.once("data", () => socket.resetAndDestroy()))
      const { reason, state } = yield* failureOf({ port: leaving })
      assert.deepStrictEqual([reason.kind, state], ["disconnected", "backoff"], reason.detail)
    })
  )

  it.live("is bounded by connectTimeout when nobody answers, and not taken for a refusal", () =>
    Effect.gen(function* () {
      const port = yield* tcpServer((socket) => socket.resume())
      const before = yield* Clock.currentTimeMillis
      yield* failed({ port, tls: true, connectTimeout: 300 }, /TLS handshake was not finished within 300 ms/)
      assert.isBelow((yield* Clock.currentTimeMillis) - before, 1500)
      const closing = yield* tcpServer((socket) => socket.once("data", () => socket.destroy()))
      yield* failed({ port: closing, tls: true }, /TLS handshake/)
    })
  )

  it.live("leaves no connection behind when it is interrupted", () =>
    Effect.gen(function* () {
      const open = new Set<Net.Socket>()
      const seen: Array<string> = []
      const port = yield* tcpServer((socket) => {
        open.add(socket.resume())
        socket.once("data", () => seen.push("hello"))
        socket.once("close", () => open.delete(socket))
      })
      yield* Effect.gen(function* () {
        yield* awaitState("handshaking")
        yield* Effect.callback<void>((resume) => {
          const look = () => (seen.length > 0 ? resume(Effect.void) : setImmediate(look))
          look()
        })
      }).pipe(Effect.provide(Redis.layer({ port, tls: true })))
      yield* Effect.callback<void>((resume) => {
        const look = () => (open.size === 0 ? resume(Effect.void) : setImmediate(look))
        look()
      })
    })
  )

  it.live("tells which of our own files is wrong, and shows none of them", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const { ca, cert, key } = tlsOf(server)
      const other = Certificates.make().client
      const { port } = server
      const planted = "not a certificate but a s3cret"
      const locked = Crypto.createPrivateKey(key)
        .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "open sesame" })
        .toString()
      const wrong: ReadonlyArray<readonly [RedisOptions.Tls, RegExp]> = [
        [{ ca: planted }, /`tls\.ca` is not a certificate in PEM/],
        [{ ca, cert: planted, key }, /`tls\.cert` is not a certificate in PEM/],
        [{ ca, cert, key: planted }, /`tls\.key` is not a private key in PEM/],
        [{ ca, cert, key: locked }, /`tls\.passphrase` does not open it/],
        [{ ca, cert, key: locked, passphrase: planted }, /`tls\.passphrase` does not open it/],
        [{ ca, cert, key: other.key }, /`tls\.cert` and `tls\.key` do not belong together/]
      ]
      for (const [tls, detail] of wrong) {
        const reason = yield* refused({ port, tls }, detail)
        const shown = inspect(reason, { depth: 20, showHidden: true }) + JSON.stringify(reason)
        assert.notInclude(shown, "s3cret")
        assert.notInclude(shown, "PRIVATE KEY")
      }
      yield* failed({ port, tls: { ca: Effect.fail(new Error("vault is sealed")) } }, /`tls\.ca` failed/)
    })
  )

  it("is refused as an option where it makes no sense, without showing a value", () => {
    const secret = "-----BEGIN PRIVATE KEY-----s3cret"
    const wrong: ReadonlyArray<unknown> = [
      { url: "redis://h", tls: { cert: secret } },
      { url: "redis://h", tls: { key: secret } },
      { url: "redis://h", tls: { passphrase: secret } },
      { url: "redis://h", tls: { ca: "" } },
      { url: "redis://h", tls: { ca: 1 } },
      { url: "redis://h", tls: { serverName: "a b" } },
      { url: "redis://h", tls: { rejectUnauthorized: "no" } },
      { url: "redis://h", tls: { checkServerIdentity: true } },
      { url: "redis://h", tls: { ca: secret, pfx: secret } },
      { path: "/run/redis.sock", tls: true },
      { url: "unix:///run/redis.sock", tls: { key: secret, cert: secret } },
      { host: "/run/redis.sock", tls: {} }
    ]
    for (const options of wrong) {
      const result = RedisOptions.resolve(options as Options)
      assert.ok(Result.isFailure(result), inspect(options))
      assert.match(result.failure.message, /`tls`/)
      assert.notInclude(inspect(result.failure, { depth: 9 }), "s3cret")
    }
    const resolved = RedisOptions.resolve({ tls: { cert: secret, key: secret, passphrase: secret, ca: secret } })
    assert.ok(Result.isSuccess(resolved))
    assert.notInclude(inspect(resolved, { depth: 20, showHidden: true }) + JSON.stringify(resolved), "s3cret")
  })
})

describe("the options of TLS", () => {
  const resolved = (options: Options) => Result.getOrThrow(RedisOptions.resolve(options)).tls

  it("OPT-023 verifies the server by default, its chain and its name", () => {
    for (const options of [{ tls: true }, { tls: {} }, { url: "rediss://cache" }]) {
      const tls = resolved(options)
      assert.strictEqual(tls?.rejectUnauthorized, true)
      assert.strictEqual(tls?.checkServerIdentity, undefined)
    }
  })

  it("OPT-024 keeps the other defaults when verification is off", () => {
    const tls = resolved({ tls: { rejectUnauthorized: false } })
    assert.strictEqual(tls?.rejectUnauthorized, false)
    assert.strictEqual(tls?.checkServerIdentity, undefined)
    assert.strictEqual(tls?.ca, undefined)
  })

  it.live("OPT-025 OPT-026 checks the server's name by the user's own function, once per session", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const { ca } = tlsOf(server)
      const asked: Array<string> = []
      const tls = {
        ca,
        serverName: "redis.example",
        checkServerIdentity: (name: string, certificate: Tls.PeerCertificate) => {
          asked.push(`${name} ${certificate.subject.CN}`)
          return undefined
        }
      }
      assert.strictEqual(yield* ping({ port: server.port, tls }), "PONG")
      assert.deepStrictEqual(asked, ["redis.example localhost"])
      const pinned = { ca, checkServerIdentity: () => new Error("another fingerprint") }
      yield* refused({ port: server.port, tls: pinned }, /refused by `tls.checkServerIdentity`: another fingerprint/)
    })
  )

  it.live("OPT-027 adds nothing of TLS to a plain connection", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.serve(FakeServer.handshake))
      assert.strictEqual(resolved({ port: fake.port }), undefined)
      assert.strictEqual(yield* ping({ port: fake.port }), "PONG")
      const [first] = yield* fake.received(0)
      assert.strictEqual(first, "*".charCodeAt(0))
    })
  )

  it.live(
    "OPT-028 trusts the authorities that Node knows, or else those that are given",
    () =>
      Effect.gen(function* () {
        assert.strictEqual(resolved({ tls: true })?.ca, undefined)
        const server = yield* RedisServer.make({ tls: true })
        yield* refused({ port: server.port, tls: true }, /not trusted/)
        assert.strictEqual(yield* ping({ port: server.port, tls: { ca: tlsOf(server).ca } }), "PONG")
      }),
    departs(notApplicable("OPT-026", "Node has no option for the depth of a chain"))
  )
})
