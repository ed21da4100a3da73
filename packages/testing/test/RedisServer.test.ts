import { assert, describe, it, layer } from "@effect/vitest"
import { RedisServer } from "@relive/testing"
import { Effect, Exit, Fiber, Redacted, Scope } from "effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Tls from "node:tls"
import { inspect } from "node:util"

const exists = (pid: number | undefined): boolean => {
  try {
    return pid !== undefined && process.kill(pid, 0)
  } catch {
    return false
  }
}

const kindOf = <A>(effect: Effect.Effect<A, RedisServer.RedisServerError>) =>
  Effect.map(Effect.flip(effect), (error) => error.kind)

layer(RedisServer.layer({ appendOnly: true }))("a server as a layer", (it) => {
  it.effect("keeps its port and its data over a crash, under TestClock", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* server.command(["SET", "greeting", "hello"])
      const before = yield* server.pid
      yield* server.kill
      assert.isFalse(exists(before))
      assert.strictEqual(yield* kindOf(server.command(["PING"])), "connection")
      yield* server.start
      assert.notStrictEqual(yield* server.pid, before)
      assert.strictEqual(yield* server.command(["GET", "greeting"]), "hello")
    })
  )

  it.effect("gives replies of every RESP2 type", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      assert.deepStrictEqual(
        yield* server.commands([
          ["DEL", "k", "list"],
          ["SET", "k", Buffer.from([0xc3, 0xa9])],
          ["GET", "k"],
          ["RPUSH", "list", 1, 2n],
          ["LRANGE", "list", 0, -1],
          ["GET", "absent"],
          ["EVAL", "return {1, {'a', {}}, false, redis.error_reply('MY bad')}", 0]
        ]),
        [0, "OK", "é", 2, ["1", "2"], null, [1, ["a", []], null, { _tag: "ErrorReply", message: "MY bad" }]]
      )
      const error = yield* Effect.flip(server.command(["NOSUCHCOMMAND"]))
      assert.strictEqual(error.kind, "reply")
      assert.include(error.message, "unknown command")
    })
  )

  it.effect("reads a reply of many chunks", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const reply = yield* server.command(["EVAL", "local t = {} for i = 1, 200000 do t[i] = 'v' .. i end return t", 0])
      assert.strictEqual(Array.isArray(reply) && reply.length, 200_000)
      assert.strictEqual(Array.isArray(reply) && reply[199_999], "v200000")
    })
  )
})

describe("RedisServer", () => {
  it.live("starts several side by side and leaves nothing behind", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const servers = yield* Effect.all(
        Array.from({ length: 6 }, () => RedisServer.make()),
        {
          concurrency: "unbounded"
        }
      ).pipe(Scope.provide(scope))
      assert.strictEqual(new Set(servers.map((server) => server.port)).size, 6)
      const pids = yield* Effect.forEach(servers, (server) => server.pid)
      assert.isTrue(pids.every(exists))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(pids.some(exists))
      assert.isFalse(servers.some((server) => Fs.existsSync(server.directory)))
      const [server] = servers
      assert.strictEqual(server && (yield* kindOf(server.start)), "start")
    })
  )

  it.live("stops in good order, also from a pause, and starts again", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ config: { save: "3600 1" } })
      yield* server.command(["SET", "k", "v"])
      yield* server.pause
      const stuck = yield* Effect.forkChild(server.command(["PING"]))
      yield* Effect.sleep(50)
      assert.isUndefined(stuck.pollUnsafe())
      yield* server.resume
      assert.strictEqual(yield* Fiber.join(stuck), "PONG")
      yield* server.pause
      yield* server.stop
      assert.isUndefined(yield* server.pid)
      yield* server.stop
      yield* server.start
      assert.strictEqual(yield* server.command(["GET", "k"]), "v")
      assert.isTrue((yield* server.logs).some((line) => line.includes("User requested shutdown")))
    })
  )

  it.live("can be killed while it starts", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* server.stop
      const starting = yield* Effect.forkChild(kindOf(server.start), { startImmediately: true })
      yield* server.kill
      assert.strictEqual(yield* Fiber.join(starting), "start")
      yield* server.start
      assert.strictEqual(yield* server.command(["PING"]), "PONG")
    })
  )

  it.live("asks for a password", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ password: Redacted.make(`p"a\\s s`) })
      assert.strictEqual(yield* server.command(["PING"]), "PONG")
      assert.strictEqual(decodeURIComponent(new URL(server.url).password), `p"a\\s s`)
      for (const shown of [inspect(server, { depth: 9 }), JSON.stringify(server)]) assert.notInclude(shown, "s s")
      assert.match(yield* firstLine(Net.connect(server.port, server.host), "PING\r\n"), /^-NOAUTH/)
    })
  )

  it.live("has ACL users", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ users: { default: "off", app: "on >secret ~app:* +@all" } })
      assert.strictEqual(yield* server.command(["SET", "other", 1]), "OK")
      const asApp = (command: string) =>
        firstLine(Net.connect(server.port, server.host), `AUTH app secret\r\n${command}\r\n`, 2)
      assert.strictEqual(yield* asApp("SET app:k v"), "+OK")
      assert.match(yield* asApp("SET other v"), /^-NOPERM/)
    })
  )

  it.live("speaks TLS with certificates a strict client accepts", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: { clientCertificate: "required" } })
      assert.strictEqual(yield* server.command(["PING"]), "PONG")
      assert.match(server.url, /^rediss:/)
      const { ca = "", cert, key } = server.tls ?? {}
      const dial = (options: Tls.ConnectionOptions) => Tls.connect({ port: server.port, host: server.host, ...options })
      for (const servername of ["localhost", ""]) {
        assert.strictEqual(yield* firstLine(dial({ ca, cert, key, servername }), "PING\r\n"), "+PONG")
      }
      assert.match(yield* firstLine(dial({ cert, key }), "PING\r\n"), /certificate/)
      assert.match(yield* firstLine(dial({ ca, cert, key, servername: "example.org" }), "PING\r\n"), /altnames/)
      assert.notStrictEqual(yield* firstLine(dial({ ca }), "PING\r\n"), "+PONG")
    })
  )

  it.live("takes clients without a certificate by default", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ tls: true })
      const socket = Tls.connect({ port: server.port, host: server.host, ca: server.tls?.ca })
      assert.strictEqual(yield* firstLine(socket, "PING\r\n"), "+PONG")
    })
  )

  it.live("listens on a Unix socket", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ unixSocket: true })
      assert.strictEqual(yield* server.command(["PING"]), "PONG")
      assert.strictEqual(yield* firstLine(Net.connect(server.path ?? ""), "PING\r\n"), "+PONG")
    })
  )

  it.live("can be as old as before HELLO", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({ resp2Only: true })
      assert.include((yield* Effect.flip(server.command(["HELLO", 3]))).message, "unknown command")
    })
  )

  it.live("takes any directive", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({
        config: { "rename-command": ['KEYS ""', 'FLUSHALL ""'], appendonly: true, "slowlog-max-len": 7 }
      })
      assert.deepStrictEqual(yield* server.command(["CONFIG", "GET", "slowlog-max-len"]), ["slowlog-max-len", "7"])
      assert.strictEqual(yield* kindOf(server.command(["FLUSHALL"])), "reply")
      assert.strictEqual(yield* kindOf(server.command(["KEYS", "*"])), "reply")
    })
  )

  it.live("says what is wrong when there is no program", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(RedisServer.make({ binary: "no-such-server" }))
      assert.strictEqual(error.kind, "no-binary")
      assert.include(error.message, "no-such-server")
      assert.include(error.message, "RELIVE_REDIS_SERVER")
    })
  )

  it.live("shows the log when the server cannot start", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(RedisServer.make({ config: { "no-such-directive": 1 } }))
      assert.strictEqual(error.kind, "start")
      // The words differ between versions; the name of the directive does not.
      assert.include(error.message, "no-such-directive")
    })
  )

  it.live("leaves nothing when it is interrupted, at any moment", () =>
    Effect.gen(function* () {
      const before = process.env.TMPDIR
      const directory = Fs.mkdtempSync("/tmp/relive-interrupted-")
      process.env.TMPDIR = directory
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (before === undefined) delete process.env.TMPDIR
          else process.env.TMPDIR = before
          Fs.rmSync(directory, { recursive: true })
        })
      )
      let seen = 0
      for (const millis of [0, 1, 2, 5, 10, 20, 40]) {
        const server = Effect.andThen(RedisServer.make(), Effect.never)
        const fiber = yield* Effect.forkChild(Effect.scoped(server))
        yield* Effect.sleep(millis)
        seen += Fs.readdirSync(directory).length
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(Fs.readdirSync(directory), [])
      }
      assert.isAbove(seen, 0)
    })
  )

  it.live("lets a program end by itself", () =>
    Effect.gen(function* () {
      const file = Path.join(import.meta.dirname, "fixtures", "holdServer.ts")
      const program = spawn(process.execPath, [file, "briefly"], { stdio: ["ignore", "pipe", "inherit"] })
      const code = yield* Effect.callback<number | null>((resume) => {
        program.once("exit", (exitCode) => resume(Effect.succeed(exitCode)))
      })
      // Node's 13: the event loop ran empty while something was awaited.
      assert.strictEqual(code, 0)
    })
  )

  it.live("dies with a test process that is killed", () =>
    Effect.gen(function* () {
      const file = Path.join(import.meta.dirname, "fixtures", "holdServer.ts")
      const holder = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] })
      const line = yield* Effect.callback<string>((resume) => {
        holder.stdout.setEncoding("utf8").once("data", (text: string) => resume(Effect.succeed(text)))
      })
      const [pid, directory = ""] = line.trim().split(" ")
      assert.isTrue(exists(Number(pid)))
      holder.kill("SIGKILL")
      // Ends by the timeout of the test if they stay.
      while (exists(Number(pid)) || Fs.existsSync(directory)) yield* Effect.sleep(5)
    })
  )
})

/** Sends `text` and gives line number `count`, or the message of the error that came first. */
const firstLine = (socket: Net.Socket, text: string, count = 1): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    let received = ""
    socket.setEncoding("utf8")
    socket.on("error", (error) => resume(Effect.succeed(error.message)))
    socket.on("close", () => resume(Effect.succeed("closed")))
    socket.on("data", (chunk: string) => {
      received += chunk
      const lines = received.split("\r\n")
      if (lines.length <= count) return
      resume(Effect.succeed(lines[count - 1] ?? ""))
      socket.destroy()
    })
    socket.write(text)
    return Effect.sync(() => socket.destroy())
  })
