/**
 * The program stands still: its event loop is held up, or its process is frozen. When it goes on, its timers are due before
 * its sockets were read. What the server had answered in time is handed out all the same, and nothing is written to a
 * connection whose end has come in.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { awaitBlocked, eager, outcomeOf, submit } from "../behaviours/support.ts"

/** Nobody else runs meanwhile. */
const block = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

/** The turns of the event loop in which a program can be held up. */
const turns: Record<string, (then: () => void) => void> = {
  "an I/O turn": (then) => Fs.stat(".", then),
  "a timer": (then) => setTimeout(then, 1),
  "a microtask": (then) => queueMicrotask(then),
  "an immediate": (then) => setImmediate(then)
}

const hold = (enter: (then: () => void) => void, millis: number) =>
  Effect.callback<void>((resume) =>
    enter(() => {
      block(millis)
      resume(Effect.void)
    })
  )

/** A connection of the test's own, which writes without waiting for replies. */
const rawSocket = (server: RedisServer.RedisServer) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(server.port, server.host)
      socket.resume()
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** On a slow machine a call may have been submitted after a silence: then it is written some turns later. */
const written = Effect.sleep(5)

/** The server answers nobody for so long, and then everybody. */
const lateBy = (millis: number) => `CLIENT PAUSE ${millis} ALL\r\n`

describe("law 1: a reply that came in time is handed out, whatever held the program up", () => {
  for (const [name, enter] of Object.entries(turns)) {
    it.live(`in ${name}: a call, a transaction, a call on a lease, a blocked call`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ config: { "enable-debug-command": "yes" } })
        const other = yield* rawSocket(server)
        const deadline = { timeout: 600 }
        yield* Effect.gen(function* () {
          const lease = yield* Redis.lease
          const lates: ReadonlyArray<Effect.Effect<unknown, RedisError.RedisError, RedisService>> = [
            Redis.command(["INCR", "n"], deadline),
            Redis.transaction([["INCR", "n"]], deadline),
            lease.command(["INCR", "n"], deadline),
            lease.transaction([["INCR", "n"]], deadline)
          ]
          yield* Redis.command(["PING"])
          for (const late of lates) {
            yield* lease.command(["PING"])
            other.write(lateBy(100))
            yield* Effect.sleep(30)
            const call = yield* submit(Effect.exit(late))
            yield* written
            yield* hold(enter, 900)
            assert.ok(Exit.isSuccess(yield* Fiber.join(call)), name)
          }
          assert.strictEqual(yield* Redis.command(["GET", "n"]), "4")
          const worker = yield* submit(Effect.exit(Redis.command(["BLPOP", "jobs", 5], { timeout: 900 })))
          yield* awaitBlocked(server)
          other.write("DEBUG SLEEP 0.1\r\nRPUSH jobs job\r\n")
          yield* Effect.sleep(1)
          yield* hold(enter, 1200)
          assert.deepStrictEqual(yield* Fiber.join(worker), Exit.succeed(["jobs", "job"]))
          assert.strictEqual((yield* Redis.status).sessions, 1)
        }).pipe(Effect.scoped, Effect.provide(Redis.layer({ port: server.port, ...eager })))
      })
    )

    it.live(`in ${name}: a dial goes on, and so does that of a lease`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        yield* Effect.gen(function* () {
          const call = yield* submit(Redis.command(["PING"]))
          yield* hold(enter, 700)
          yield* Fiber.join(call)
          const { lastError, sessions } = yield* Redis.status
          assert.deepStrictEqual([sessions, lastError], [1, undefined])
          const lease = yield* submit(Redis.leaseWith({ timeout: 300 }))
          yield* hold(enter, 700)
          assert.strictEqual(yield* (yield* Fiber.join(lease)).command(["PING"]), "PONG")
        }).pipe(Effect.scoped, Effect.provide(Redis.layer({ port: server.port, connectTimeout: 300, ...eager })))
      })
    )

    it.live(`in ${name}: calls that drain at the close, and one who waits for a lease`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        const other = yield* rawSocket(server)
        const scope = yield* Scope.make()
        const layer = Redis.layer({ port: server.port, closeTimeout: 300, leases: 1, ...eager })
        const context = yield* Layer.buildWithScope(layer, scope)
        yield* Effect.gen(function* () {
          yield* Redis.command(["PING"])
          const used = yield* submit(
            Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["INCR", "n"])))
          )
          yield* Fiber.join(used)
          other.write(lateBy(100))
          yield* Effect.sleep(30)
          const held = yield* submit(
            Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["INCR", "n"])))
          )
          yield* written
          const waiting = yield* submit(Effect.exit(Effect.scoped(Redis.leaseWith({ timeout: 300 }))))
          yield* hold(enter, 700)
          assert.ok(Exit.isSuccess(yield* Fiber.join(waiting)), "the lease was given back in time")
          assert.strictEqual(yield* Fiber.join(held), 2)
          yield* Redis.command(["PING"])
          other.write(lateBy(100))
          yield* Effect.sleep(30)
          const call = yield* submit(Effect.exit(Redis.command(["INCR", "n"])))
          yield* written
          const closing = yield* submit(Scope.close(scope, Exit.void))
          // More than the close has, and more than its supervisor gives it after that.
          yield* hold(enter, 1700)
          assert.deepStrictEqual(yield* Fiber.join(call), Exit.succeed(3))
          yield* Fiber.join(closing)
        }).pipe(Effect.provide(context))
      })
    )
  }
})

describe("law 2: nothing is written to a connection whose end has come in", () => {
  for (const [name, enter] of Object.entries(turns)) {
    it.live(`after ${name} that took long: by the shared connection, a lease, and a blocking call`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        const other = yield* rawSocket(server)
        yield* Effect.gen(function* () {
          yield* Redis.command(["PING"])
          // It leaves an idle lease behind.
          yield* Redis.command(["BLPOP", "jobs", 0.01])
          other.write("CLIENT KILL TYPE normal SKIPME yes\r\n")
          yield* hold(enter, 300)
          const first = yield* submit(outcomeOf(Redis.command(["RPUSH", "log", "first"])))
          assert.deepStrictEqual(yield* outcomeOf(Redis.command(["BLPOP", "jobs", 0.01])), [null])
          assert.deepStrictEqual(yield* Fiber.join(first), [1])
          other.write("CLIENT KILL TYPE normal SKIPME yes\r\n")
          yield* hold(enter, 300)
          yield* Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["RPUSH", "log", "second"])))
        }).pipe(Effect.provide(Redis.layer({ port: server.port, ...eager })))
        assert.strictEqual(yield* server.command(["LLEN", "log"]), 2)
      })
    )
  }
})

describe("law 2: a reply that comes with the end of its connection", () => {
  for (const [name, enter] of Object.entries(turns)) {
    it.live(`is handed out after ${name} that took long, and what its caller writes then goes to the next one`, () =>
      Effect.gen(function* () {
        // The server closes what has been idle for a second or two.
        const server = yield* RedisServer.make({ config: { timeout: 1 } })
        const other = yield* rawSocket(server)
        yield* Effect.gen(function* () {
          yield* Redis.command(["PING"])
          other.write(lateBy(100))
          yield* Effect.sleep(30)
          const both = Effect.andThen(Redis.command(["INCR", "n"]), () => Redis.command(["RPUSH", "log", "first"]))
          const calls = yield* submit(Effect.exit(both))
          yield* written
          yield* hold(enter, 3000)
          assert.deepStrictEqual(yield* Fiber.join(calls), Exit.succeed(1))
          assert.strictEqual((yield* Redis.status).sessions, 2)
        }).pipe(Effect.provide(Redis.layer({ port: server.port, ...eager })))
      })
    )
  }
})

/** A client in a process of its own, its lines as they come. */
const frozenClient = (server: RedisServer.RedisServer, what: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const program = Path.join(import.meta.dirname, "../programs/frozen.ts")
      const child = ChildProcess.spawn(process.execPath, [program, String(server.port), what], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      const lines = Readline.createInterface(child.stdout)[Symbol.asyncIterator]()
      return { child, line: Effect.promise(async () => String((await lines.next()).value)) }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

describe("a process that is frozen (SIGSTOP) and goes on (SIGCONT)", () => {
  const frozen = (
    what: string,
    before: (server: RedisServer.RedisServer, child: ChildProcess.ChildProcess) => Effect.Effect<unknown, unknown>,
    meanwhile: (server: RedisServer.RedisServer, child: ChildProcess.ChildProcess) => Effect.Effect<unknown, unknown>
  ) =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const { child, line } = yield* frozenClient(server, what)
      assert.strictEqual(yield* line, "ready")
      yield* before(server, child)
      child.kill("SIGSTOP")
      yield* meanwhile(server, child)
      yield* Effect.sleep(1200)
      child.kill("SIGCONT")
      return yield* line
    }).pipe(Effect.scoped)

  const go = (child: ChildProcess.ChildProcess) => Effect.sync(() => child.stdin?.write("go"))

  for (const [what, reply] of [
    ["call", "1"],
    ["transaction", "[1]"]
  ] as const) {
    it.live(`gets the reply to its ${what}`, () =>
      Effect.gen(function* () {
        // Written before the freeze, and answered in it.
        const before = (server: RedisServer.RedisServer, child: ChildProcess.ChildProcess) =>
          server.command(["CLIENT", "PAUSE", 300, "ALL"]).pipe(Effect.andThen(go(child)))
        const outcome = yield* frozen(
          what,
          (server, child) => Effect.andThen(before(server, child), Effect.sleep(150)),
          () => Effect.void
        )
        assert.strictEqual(outcome, `done ${reply}`)
      })
    )
  }

  it.live("gets what was popped for it", () =>
    Effect.gen(function* () {
      const outcome = yield* frozen(
        "blocked",
        (_, child) => Effect.andThen(go(child), Effect.sleep(150)),
        (server) => server.command(["RPUSH", "jobs", "job"])
      )
      assert.strictEqual(outcome, 'done ["jobs","job"]')
    })
  )

  it.live("dials on", () =>
    Effect.gen(function* () {
      const outcome = yield* frozen(
        "dial",
        () => Effect.void,
        () => Effect.void
      )
      assert.match(outcome, /"state":"ready".*"sessions":1,/)
    })
  )

  it.live("writes to the next connection when its own has ended", () =>
    Effect.gen(function* () {
      const outcome = yield* frozen(
        "write",
        () => Effect.void,
        (server, child) =>
          Effect.andThen(server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), go(child))
      )
      assert.strictEqual(outcome, "done 1")
    })
  )
})
