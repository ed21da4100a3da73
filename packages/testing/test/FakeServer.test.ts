import { assert, describe, it, layer } from "@effect/vitest"
import { FakeServer } from "@relive/testing"
import { Cause, Effect, Exit, Fiber, Scope } from "effect"
import * as Fs from "node:fs"
import * as Tls from "node:tls"
import { Client, dial } from "./client.ts"

layer(
  FakeServer.layer((connection) =>
    connection.serve(FakeServer.handshake, ([name]) => (name === "PING" ? "+PONG\r\n" : undefined))
  )
)("a fake server as a layer", (it) => {
  it.effect("answers by handlers, under TestClock", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.FakeServer
      const client = yield* dial(fake, "HELLO 3\r\nSELECT 1\r\nCLIENT ID\r\nPING\r\n")
      yield* client.until("+PONG\r\n")
      assert.match(client.text, /^%7\r\n\$6\r\nserver\r\n[^]*:3\r\n[^]*\+OK\r\n:\d+\r\n\+PONG\r\n$/)
    })
  )
})

describe("FakeServer", () => {
  it.effect("sends in the cuts it is told", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (connection) =>
          Effect.gen(function* () {
            yield* connection.expect(["get", "k"])
            yield* connection.send(FakeServer.bulk("hello"), { cuts: [1, 6], gapMillis: 20 })
            yield* connection.expectBytes("*1\r\n$4\r\nPING\r\n")
            yield* connection.send("+PONG\r\n", { cuts: 3, gapMillis: 20, delayMillis: 5 })
            yield* connection.close
          })
      ])
      const client = yield* dial(fake, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n")
      yield* client.ended
      yield* fake.done
      assert.deepStrictEqual(client.chunks, ["$", "5\r\nhe", "llo\r\n", "+PO", "NG\r", "\n"])
      const sent = (yield* fake.log).filter((entry) => entry.event === "sent")
      assert.strictEqual(sent.length, 6)
      assert.include(Buffer.from(yield* fake.received(0)).toString(), "$4\r\nPING")
    })
  )

  it.effect("ends, half-closes, resets and stays silent", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (connection) => Effect.andThen(connection.end, connection.expect(["AFTER"])),
        (connection) => Effect.andThen(connection.expect(["PING"]), connection.reset),
        (connection) => connection.silent
      ])
      const half = yield* dial(fake)
      yield* half.ended
      half.socket.write("AFTER\r\n")
      const reset = yield* dial(fake, "PING\r\n")
      yield* reset.closed
      assert.strictEqual(reset.error, "ECONNRESET")
      const silent = yield* dial(fake, "PING\r\nPING\r\n")
      yield* fake.connection(2)
      silent.socket.end()
      yield* fake.done
      assert.strictEqual(silent.text, "")
    })
  )

  it.effect("tells what was unexpected", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (connection) => connection.expect(["GET", "a"]),
        (connection) => connection.expectBytes("PONG"),
        (connection) => connection.expect(["PING"]),
        (connection) => connection.serve(FakeServer.handshake),
        () => Effect.void,
        (connection) => connection.command
      ])
      const problem = (text: string, end = false) =>
        Effect.gen(function* () {
          const client = yield* dial(fake, text)
          if (end) client.socket.end()
          yield* client.closed
          return (yield* Effect.flip(fake.done)).message.replace(/^FakeServer: /, "")
        })
      assert.strictEqual(yield* problem("GET b\r\n"), `connection 0: expected ["GET","a"], got ["GET","b"]`)
      assert.strictEqual(yield* problem("PI"), `connection 1: expected the bytes "PONG", got "PI"`)
      assert.strictEqual(
        yield* problem("PIN", true),
        `connection 2: the client closed the connection, expected ["PING"]`
      )
      assert.strictEqual(yield* problem("GET k\r\n"), `connection 3: no handler takes ["GET","k"]`)
      assert.strictEqual(yield* problem("PING\r\n"), `connection 4: the script has ended, got "PING\\r\\n"`)
      assert.strictEqual(yield* problem("*1\r\n$x\r\n"), `connection 5: Not an integer: "x"`)
      assert.strictEqual(yield* problem(""), "connection 6 was not expected: no script is left")
    })
  )

  it.effect("fails the scope with what nobody asked about", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) => connection.expect(["PING"]))
        const client = yield* dial(fake, "PONG\r\n")
        yield* client.closed
      }).pipe(Effect.scoped, Effect.exit)
      assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), `expected ["PING"], got ["PONG"]`)
    })
  )

  it.effect("tells a defect of a script", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(() => Effect.die(new Error("script bug")))
      const client = yield* dial(fake)
      yield* client.closed
      assert.include((yield* Effect.flip(fake.verify)).message, "script bug")
      yield* fake.verify
    })
  )

  it.effect("waits for scripts that have not run", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make([
        (connection) => connection.expect(["PING"]),
        (connection) => connection.close
      ])
      yield* dial(fake, "PING\r\n")
      yield* fake.connection(0)
      const done = yield* Effect.forkChild(fake.done, { startImmediately: true })
      assert.isUndefined(done.pollUnsafe())
      yield* dial(fake)
      yield* Fiber.join(done)
    })
  )

  it.effect("answers what it can, then goes on with the script", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.answer(FakeServer.handshake)
          yield* connection.expect(["GET", "é"])
          yield* connection.send(FakeServer.array(FakeServer.bulk("é"), ":1\r\n"))
        })
      )
      const client = yield* dial(fake, "HELLO 2\r\nAUTH secret\r\nGET é\r\n")
      yield* client.until("*2\r\n$2\r\né\r\n:1\r\n")
      assert.match(client.text, /^\*14\r\n/)
    })
  )

  it.effect("is scripted from the test itself", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const client = yield* dial(fake)
      const connection = yield* fake.connection(0)
      yield* connection.send("+early\r\n")
      yield* client.until("early")
      client.socket.write("PING\r\n")
      assert.deepStrictEqual(yield* connection.command, ["PING"])
      client.socket.end()
      yield* connection.closed
      yield* fake.done
    })
  )

  it.effect("refuses and comes back at the same address", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.silent)
      const before = yield* dial(fake)
      yield* fake.connection(0)
      yield* fake.stop
      yield* before.closed
      const refused = yield* dial(fake)
      yield* refused.closed
      assert.strictEqual(refused.error, "ECONNREFUSED")
      yield* fake.start
      yield* dial(fake)
      yield* fake.connection(1)
    })
  )

  it.effect("stops reading", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make()
      const client = yield* dial(fake)
      const connection = yield* fake.connection(0)
      yield* connection.pauseReading
      const drained = Effect.callback<void>((resume) => void client.socket.once("drain", () => resume(Effect.void)))
      client.socket.write(Buffer.alloc(32 * 1024 * 1024, "x"))
      const waiting = yield* Effect.forkChild(drained, { startImmediately: true })
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 50)))
      assert.isUndefined(waiting.pollUnsafe())
      const reading = yield* Effect.forkChild(connection.silent, { startImmediately: true })
      yield* connection.resumeReading
      yield* Fiber.join(waiting)
      client.socket.end()
      yield* Fiber.join(reading)
    })
  )

  it.effect("listens on a Unix socket", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const fake = yield* FakeServer.make(
        [(connection) => connection.close, (connection) => connection.reset, (connection) => connection.silent],
        { unixSocket: true }
      ).pipe(Scope.provide(scope))
      for (let index = 0; index < 2; index++) {
        const client = yield* dial(fake)
        yield* client.ended
        assert.isUndefined(client.error)
      }
      const last = yield* dial(fake)
      yield* fake.connection(2)
      yield* Scope.close(scope, Exit.void)
      yield* last.ended
      assert.isFalse(Fs.existsSync(fake.path ?? ""))
    })
  )

  it.effect("speaks TLS, and resets it", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(
        (connection) =>
          Effect.gen(function* () {
            yield* connection.expect(["PING"])
            yield* connection.send("+PONG\r\n")
            yield* connection.expect(["PING"])
            yield* connection.reset
          }),
        { tls: true }
      )
      const client = new Client(Tls.connect({ host: fake.host, port: fake.port, ca: fake.tls?.ca }), "PING\r\n")
      yield* client.until("+PONG")
      client.socket.write("PING\r\n")
      yield* client.closed
      assert.strictEqual(client.error, "ECONNRESET")
      yield* fake.done
    })
  )
})
