/**
 * Large things, while other callers of the process go on. What is asserted does not depend on the speed of the machine: how much
 * is decoded in one turn of the event loop, that others get their replies meanwhile, and the resident memory. (How much is
 * encoded in one turn: `manyCommands.test.ts`.) Times are shown only: of them most is the engine's, which collects garbage.
 */
import { assert, describe, it } from "@effect/vitest"
import type { TestContext } from "@effect/vitest"
import { Redis, RedisService } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { PerformanceObserver } from "node:perf_hooks"
import { Session } from "../../src/internal/connection/session.ts"
import { serving } from "../behaviours/support.ts"

const MiB = 2 ** 20

/** So much may be decoded in one turn. Left to itself, a socket that has much is read up to 2 MiB. */
const TURN_BYTES = MiB

/** So many bytes of a reply at most per reply that another caller gets meanwhile: at least eight turns, and it needs a few. */
const BYTES_PER_OTHER = 8 * TURN_BYTES

interface Cost {
  /** Bytes that were decoded in all, and in one turn at most. */
  readonly decoded: number
  readonly decodedInTurn: number
  /** How often others got the reply to a `PING` meanwhile, on a connection of their own. */
  readonly others: number
  /** How much the resident memory grew at most, in bytes. */
  readonly growth: number
  /** The times, for people. */
  readonly text: string
}

/** Counts what all sessions decode, until it is told to stop. */
const watchDecoding = () => {
  const { inbound } = Session.prototype
  const seen = { all: 0, inTurn: 0 }
  let turn = 0
  Session.prototype.inbound = function (this: Session, bytes) {
    if (turn === 0) setImmediate(() => (turn = 0))
    turn += bytes.length
    seen.all += bytes.length
    seen.inTurn = Math.max(seen.inTurn, turn)
    return inbound.call(this, bytes)
  }
  return () => {
    Session.prototype.inbound = inbound
    return seen
  }
}

const cpuMillis = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** The longest turn of the event loop, as CPU time, and the longest pause of the collector, until it is told to stop. */
const watchTurns = () => {
  let longest = 0
  let pause = 0
  let last = cpuMillis()
  let on = true
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) pause = Math.max(pause, duration)
  })
  observer.observe({ entryTypes: ["gc"] })
  const look = (): void => {
    const now = cpuMillis()
    longest = Math.max(longest, now - last)
    last = now
    if (on) setImmediate(look)
  }
  setImmediate(look)
  return () => {
    on = false
    observer.disconnect()
    return `longest turn ${longest.toFixed(1)} ms CPU, longest pause of the collector ${pause.toFixed(1)} ms`
  }
}

type Service = (typeof RedisService)["Service"]

/** Runs the work while another caller asks for a PING again and again. */
const measured = <A, E, R>(other: Service, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = process.memoryUsage.rss()
    let peak = before
    const waits: Array<number> = []
    let done = false
    const asking = Effect.gen(function* () {
      while (!done) {
        const start = performance.now()
        yield* other.command(["PING"], { timeout: "1 minute" })
        waits.push(performance.now() - start)
        peak = Math.max(peak, process.memoryUsage.rss())
      }
    })
    const asker = yield* Effect.forkChild(asking, { startImmediately: true })
    // The first turn is the test's own.
    yield* Effect.yieldNow
    const decoding = watchDecoding()
    const turns = watchTurns()
    const result = yield* work
    const times = turns()
    const { all, inTurn } = decoding()
    const others = waits.length
    done = true
    yield* Fiber.join(asker)
    const p99 = waits.toSorted((a, b) => a - b)[Math.floor(waits.length * 0.99)] ?? Infinity
    const text = `${times}, p99 of ${others} others ${p99.toFixed(1)} ms, ${inTurn} bytes decoded in one turn`
    const cost: Cost = { decoded: all, decodedInTurn: inTurn, others, growth: peak - before, text }
    return { result, cost }
  })

/** A turn is bounded, and others go on. `bytes`: at least so much was decoded, or the watch saw nothing. */
const isFair = ({ decoded, decodedInTurn, others, text }: Cost, bytes: number): void => {
  assert.isAtLeast(decoded, bytes)
  assert.isAtMost(decodedInTurn, TURN_BYTES, text)
  assert.isAtLeast(others, Math.floor(decoded / BYTES_PER_OTHER), text)
}

const connect = (server: { readonly port: number }) =>
  Effect.map(Layer.build(Layer.fresh(Redis.layer({ port: server.port }))), (context) =>
    Context.get(context, RedisService)
  )

const patient = { timeout: "4 minutes" } as const

/**
 * A connection for large things, and one of others. The server of these is in this process, so that how often it answers does
 * not depend on what the machine does besides.
 */
const withTwo = <A, E, R>(
  ctx: TestContext,
  test: (service: Service, other: Service, show: (cost: Cost) => Effect.Effect<void>) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make()
    const fake = yield* FakeServer.make(serving())
    const [service, other] = yield* Effect.all([connect(server), connect(fake)])
    yield* Effect.all([service.command(["PING"]), other.command(["PING"])])
    return yield* test(service, other, ({ text }) => Effect.promise(() => ctx.annotate(text)))
  })

describe("Large things", () => {
  it.live("a value of 512 MiB, set and read back as bytes, in 2.3 times its memory", (ctx) =>
    withTwo(ctx, (service, other, show) =>
      Effect.gen(function* () {
        const before = process.memoryUsage.rss()
        const value = new Uint8Array(512 * MiB)
        for (let i = 0; i < value.length; i += 4096) value[i] = (i / 4096) % 251
        const set = yield* measured(other, service.command(["SET", "large", value], patient))
        assert.strictEqual(set.result, "OK")
        yield* show(set.cost)
        isFair(set.cost, 0)
        // It was handed to the socket as it is.
        assert.isBelow(set.cost.growth, 128 * MiB)
        const got = yield* measured(other, service.command(["GET", "large"], { ...patient, decode: "bytes" }))
        yield* show(got.cost)
        isFair(got.cost, value.length)
        assert.ok(got.result instanceof Uint8Array)
        assert.strictEqual(Buffer.compare(got.result, value), 0)
        assert.isBelow((process.memoryUsage.rss() - before) / value.length, 2.3)
        assert.isBelow(got.cost.growth / value.length, 1.3)
      })
    )
  )

  it.live("a reply of a million elements, as text and as bytes", (ctx) =>
    withTwo(ctx, (service, other, show) =>
      Effect.gen(function* () {
        const fill =
          "for i = 1, 1000 do local t = {}; for j = 1, 1000 do t[j] = 'element ' .. ((i - 1) * 1000 + j) end; redis.call('RPUSH', KEYS[1], unpack(t)) end"
        yield* service.command(["EVAL", fill, 1, "list"], patient)
        const text = yield* measured(other, service.command(["LRANGE", "list", 0, -1], patient))
        yield* show(text.cost)
        isFair(text.cost, 1_000_000 * "$9\r\nelement 1\r\n".length)
        assert.ok(Array.isArray(text.result) && text.result.length === 1_000_000)
        assert.strictEqual(text.result[999_999], "element 1000000")
        const bytes = yield* measured(
          other,
          service.command(["LRANGE", "list", 0, -1], { ...patient, decode: "bytes" })
        )
        yield* show(bytes.cost)
        isFair(bytes.cost, 1_000_000 * "$9\r\nelement 1\r\n".length)
        assert.ok(Array.isArray(bytes.result) && bytes.result.length === 1_000_000)
      })
    )
  )

  it.live("a pipeline of 100 000 commands, more than may be queued or in flight", (ctx) =>
    withTwo(ctx, (service, other, show) =>
      Effect.gen(function* () {
        const commands = Array.from({ length: 100_000 }, (_, i) => ["SET", `key:${i}`, `value:${i}`])
        const { cost, result } = yield* measured(other, service.pipeline(commands, patient))
        yield* show(cost)
        isFair(cost, commands.length * "+OK\r\n".length)
        assert.isBelow(cost.growth, 256 * MiB)
        assert.strictEqual(result.length, 100_000)
        assert.ok(result.every((reply) => reply === "OK"))
        assert.strictEqual(yield* service.command(["GET", "key:99999"]), "value:99999")
      })
    )
  )

  it.live("a transaction of 10 000 commands", (ctx) =>
    withTwo(ctx, (service, other, show) =>
      Effect.gen(function* () {
        const commands = Array.from({ length: 10_000 }, () => ["INCR", "n"])
        const { cost, result } = yield* measured(other, service.transaction(commands, patient))
        yield* show(cost)
        isFair(cost, commands.length * "+QUEUED\r\n".length)
        assert.deepStrictEqual(
          result,
          commands.map((_, i) => i + 1)
        )
      })
    )
  )

  it.live("large values of many callers at once, all within the bounds of the connection", (ctx) =>
    withTwo(ctx, (service, other, show) =>
      Effect.gen(function* () {
        const value = new Uint8Array(4 * MiB).fill(7)
        const indexes = Array.from({ length: 64 }, (_, i) => i)
        const all = Effect.forEach(
          indexes,
          (i) =>
            Effect.flatMap(service.command(["SET", `k${i}`, value], patient), () =>
              Effect.map(service.command(["GET", `k${i}`], { ...patient, decode: "bytes" }), (reply) =>
                reply instanceof Uint8Array ? reply.length : 0
              )
            ),
          { concurrency: "unbounded" }
        )
        const { cost, result } = yield* measured(other, all)
        yield* show(cost)
        isFair(cost, indexes.length * value.length)
        assert.deepStrictEqual(
          result,
          indexes.map(() => 4 * MiB)
        )
      })
    )
  )
})
