/** Calls that servers send on to one another, over two scripted servers: the seam that a cluster is built on. */
import { assert, describe, it } from "@effect/vitest"
import { RedisConnection, RedisOptions } from "@relive/core"
import type { Resp } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { FakeServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"

type Handler = FakeServer.Handler

interface Pair {
  readonly a: RedisConnection.RedisConnection
  readonly b: RedisConnection.RedisConnection
  readonly calls: RedisConnection.RoutedCalls
  /** What was refused, in order. */
  readonly refused: Array<RedisConnection.RoutedCall>
}

const followed = new Set(["MOVED", "ASK", "TRYAGAIN"])

/** Two connections; a refusal of one sends the call to the other, with `ASKING` when it says so. */
const makePair = Effect.fnUntraced(function* (
  first: Handler,
  second: Handler,
  options: { readonly follow?: boolean; readonly options?: RedisOptions.Options } = {}
) {
  const open = Effect.fnUntraced(function* (handler: Handler, other: () => RedisConnection.RedisConnection) {
    const server = yield* FakeServer.make((connection) => connection.serve(handler, FakeServer.handshake))
    const resolved = Result.getOrThrow(
      RedisOptions.resolve({ host: server.host, port: server.port, protocol: 3, ...options.options })
    )
    const shared = yield* RedisConnection.makeShared(resolved)
    let made: RedisConnection.RedisConnection | undefined
    const spec = RedisConnection.childSpec({
      id: "node",
      shared,
      onStart: (connection) => {
        made = connection
      },
      hooks: {
        keepsReplica: true,
        onRefused: (_connection, call) => {
          refused.push(call)
          call.hops++
          if (options.follow !== false) other().accept(call, call.refusal?.code === "ASK")
        }
      }
    })
    yield* Supervisor.start(Supervisor.make({ children: [...shared.children, spec] }))
    assert.ok(made !== undefined)
    yield* made.awaitFirst
    return { connection: made, resolved }
  })
  const refused: Array<RedisConnection.RoutedCall> = []
  const ends: { a?: RedisConnection.RedisConnection; b?: RedisConnection.RedisConnection } = {}
  const a = yield* open(first, () => ends.b!)
  const b = yield* open(second, () => ends.a!)
  ends.a = a.connection
  ends.b = b.connection
  const calls = RedisConnection.routedCalls(a.resolved, a.connection.now, (_call, error) => followed.has(error.code))
  return { a: a.connection, b: b.connection, calls, refused } satisfies Pair
})

const submitTo =
  (to: RedisConnection.RedisConnection, { calls }: Pair): RedisConnection.Submitter["submitCommand"] =>
  (args, options) => {
    const flags = calls.check(args, "shared")
    if (typeof flags !== "number") return Effect.fail(flags)
    const call = calls.command(args, flags, options)
    if ("reason" in call) return Effect.fail(call)
    to.accept(call, false)
    return call
  }

const command = (pair: Pair, args: Resp.Command, options?: { readonly timeout?: number }) =>
  RedisConnection.commandEffect({ submitCommand: submitTo(pair.a, pair) }, args, options)

const transaction = ({ a, calls }: Pair, commands: ReadonlyArray<Resp.Command>) =>
  RedisConnection.transactionEffect(() => {
    const call = calls.transaction(commands, undefined)
    if ("reason" in call) return Effect.fail(call)
    a.accept(call, false)
    return call
  })

/** Answers from a table, and remembers the lines. */
const table = (answers: Readonly<Record<string, string>>) => {
  const seen: Array<string> = []
  const handler: Handler = (line) => {
    if (line[0] === "HELLO" || line[0] === "CLIENT" || line[0] === "PING") return undefined
    seen.push(line.join(" "))
    return answers[line.join(" ")] ?? "+OK\r\n"
  }
  return { seen, handler }
}

const live = (name: string, effect: Effect.Effect<void, unknown, Registry.Registry | Scope.Scope>) =>
  it.live(name, () => effect.pipe(Effect.scoped, Effect.provide(Registry.layer)))

describe("a call that is refused", () => {
  live(
    "goes on as the same call, a write too, in the middle of a batch",
    Effect.gen(function* () {
      const first = table({ "SET b 2": "-MOVED 1 host:1\r\n", "GET a": "$1\r\nx\r\n" })
      const second = table({})
      const pair = yield* makePair(first.handler, second.handler)
      const replies = yield* Effect.all(
        [command(pair, ["GET", "a"]), command(pair, ["SET", "b", 2]), command(pair, ["GET", "a"])],
        { concurrency: 3 }
      )
      assert.deepStrictEqual(replies, ["x", "OK", "x"])
      assert.deepStrictEqual(second.seen, ["SET b 2"])
      assert.deepStrictEqual(
        pair.refused.map((call) => [call.command, call.hops, call.refusal?.code]),
        [["SET", 1, "MOVED"]]
      )
    })
  )

  live(
    "is asked for with ASKING, as one entry, and without it the next time",
    Effect.gen(function* () {
      const first = table({ "SET b 2": "-ASK 1 host:1\r\n" })
      const second = table({ "GET c": "$1\r\nc\r\n" })
      let asked = 0
      const handler: Handler = (line, connection) => {
        if (line.join(" ") === "SET b 2" && ++asked === 1) {
          second.seen.push("SET b 2")
          return "-MOVED 1 host:1\r\n"
        }
        return second.handler(line, connection)
      }
      let tries = 0
      const source: Handler = (line, connection) =>
        line[0] === "SET" && ++tries === 2 ? "+DONE\r\n" : first.handler(line, connection)
      const pair = yield* makePair(source, handler)
      const alongside = RedisConnection.commandEffect(
        { submitCommand: submitTo(pair.b, pair) },
        ["GET", "c"],
        undefined
      )
      const replies = yield* Effect.all([command(pair, ["SET", "b", 2]), alongside], { concurrency: 2 })
      assert.deepStrictEqual(replies, ["DONE", "c"])
      assert.deepStrictEqual(second.seen, ["GET c", "ASKING", "SET b 2"])
      assert.strictEqual(tries, 2)
    })
  )

  live(
    "is nobody's when its caller is gone, and its deadline is its own",
    Effect.gen(function* () {
      const first = table({ "SET b 2": "-MOVED 1 host:1\r\n" })
      const held = yield* Deferred.make<void>()
      const second: Handler = (line) => (line[0] === "SET" ? Effect.as(Deferred.await(held), "+OK\r\n") : undefined)
      const pair = yield* makePair(first.handler, second)
      const error = yield* Effect.flip(command(pair, ["SET", "b", 2], { timeout: 50 }))
      assert.ok(error.reason._tag === "TimeoutError")
      // On the wire for the last time: the earlier refusal does not make it unsent.
      assert.deepStrictEqual([error.reason.phase, error.reason.delivery], ["written", "unknown"])
      const fiber = yield* Effect.forkChild(command(pair, ["SET", "b", 2]), { startImmediately: true })
      while (pair.refused.length < 2) yield* Effect.sleep(1)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(pair.refused[1]?.isSettled)
      yield* Deferred.succeed(held, undefined)
    })
  )

  live(
    "can be kept for a while, and taken out of a queue",
    Effect.gen(function* () {
      const first = table({ "SET b 2": "-TRYAGAIN wait\r\n" })
      const pair = yield* makePair(first.handler, table({}).handler, { follow: false })
      const fiber = yield* Effect.forkChild(command(pair, ["SET", "b", 2]), { startImmediately: true })
      while (pair.refused.length < 1) yield* Effect.sleep(1)
      const call = pair.refused[0]
      assert.ok(call !== undefined)
      let dropped = 0
      call.hold(() => dropped++)
      assert.isFalse(call.isSettled)
      assert.isFalse(call.mayHaveRun)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual([dropped, call.isSettled], [1, true])
    })
  )

  live(
    "leaves a queue for another server",
    Effect.gen(function* () {
      const second = table({})
      const silent: Handler = (line) => (line[0] === "GET" ? Effect.void : undefined)
      const pair = yield* makePair(silent, second.handler, { options: { inFlightCommands: 1 } })
      // The first takes all the room on the wire, so the others stay queued.
      const first = yield* Effect.forkChild(command(pair, ["GET", "held"]), { startImmediately: true })
      const rest = yield* Effect.forkChild(
        Effect.all([command(pair, ["SET", "a", 1]), command(pair, ["SET", "b", 2])], { concurrency: 2 }),
        { startImmediately: true }
      )
      while (pair.a.queued < 2) yield* Effect.sleep(1)
      for (const call of pair.a.takeUnsent(() => true)) pair.b.accept(call, false)
      assert.deepStrictEqual(yield* Fiber.join(rest), ["OK", "OK"])
      assert.deepStrictEqual(second.seen, ["SET a 1", "SET b 2"])
      assert.isAbove(pair.a.silentMillis, -1)
      pair.a.endSession("the test ended it")
      const exit = yield* Effect.timeoutOption(Fiber.await(first), "1 second")
      assert.strictEqual(exit._tag, "None", "a read is repeated, so it waits for the next session's reply")
      yield* Fiber.interrupt(first)
    })
  )
})

describe("a transaction that is refused", () => {
  const answered = (script: Readonly<Record<string, string>>) => {
    const { handler, seen } = table({ MULTI: "+OK\r\n", "SET k 1": "+QUEUED\r\n", ...script })
    return { handler, seen }
  }
  const ran = { EXEC: "*1\r\n+OK\r\n" }

  for (const code of ["MOVED 1 host:1", "TRYAGAIN wait"]) {
    live(
      `by EXEC itself (${code}) goes on whole, and its session lives`,
      Effect.gen(function* () {
        const first = answered({ EXEC: `-${code}\r\n`, "GET k": "$1\r\nx\r\n" })
        const second = answered(ran)
        const pair = yield* makePair(first.handler, second.handler)
        assert.deepStrictEqual(yield* transaction(pair, [["SET", "k", 1]]), ["OK"])
        assert.deepStrictEqual(second.seen, ["MULTI", "SET k 1", "EXEC"])
        assert.strictEqual(yield* command(pair, ["GET", "k"]), "x")
        assert.strictEqual(pair.a.status.sessions, 1)
      })
    )
  }

  live(
    "by a command of it goes on whole, with ASKING before MULTI",
    Effect.gen(function* () {
      const first = answered({ "SET k 1": "-ASK 1 host:1\r\n", EXEC: "-EXECABORT discarded\r\n" })
      const second = answered(ran)
      const pair = yield* makePair(first.handler, second.handler)
      assert.deepStrictEqual(yield* transaction(pair, [["SET", "k", 1]]), ["OK"])
      assert.deepStrictEqual(second.seen, ["ASKING", "MULTI", "SET k 1", "EXEC"])
    })
  )

  live(
    "by MULTI, or for another reason, does not",
    Effect.gen(function* () {
      const other = answered({ "SET k 1": "-ERR wrong\r\n", EXEC: "-EXECABORT discarded\r\n" })
      const second = answered(ran)
      const pair = yield* makePair(other.handler, second.handler)
      const aborted = yield* Effect.flip(transaction(pair, [["SET", "k", 1]]))
      assert.strictEqual(aborted.reason._tag, "TransactionAborted")
      const outside = answered({
        MULTI: "-MOVED 1 host:1\r\n",
        "SET k 1": "+OK\r\n",
        EXEC: "-ERR EXEC without MULTI\r\n"
      })
      const pair2 = yield* makePair(outside.handler, second.handler)
      const ranOutside = yield* Effect.exit(transaction(pair2, [["SET", "k", 1]]))
      assert.isTrue(Exit.isFailure(ranOutside))
      assert.deepStrictEqual(second.seen, [])
      assert.deepStrictEqual(pair2.refused, [])
    })
  )
})
