/**
 * Large things, while other callers of the process go on. What is bounded is the work of one turn of the event loop, measured
 * as CPU time of the main thread, so that a machine that does other things does not count; and the resident memory.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

const MiB = 2 ** 20

/** One turn may take this much. */
const TURN_MILLIS = 50

interface Cost {
  /** CPU milliseconds of the longest turn. */
  readonly turn: number
  /** How long others waited for a `PING` on a connection of their own, in milliseconds, sorted. */
  readonly others: ReadonlyArray<number>
  /** How much the resident memory grew at most, in bytes. */
  readonly growth: number
}

const cpuMillis = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** Watches the turns of the event loop until it is told to stop. */
const watchTurns = () => {
  let longest = 0
  let last = cpuMillis()
  let on = true
  const look = (): void => {
    const now = cpuMillis()
    longest = Math.max(longest, now - last)
    last = now
    if (on) setImmediate(look)
  }
  setImmediate(look)
  return () => {
    on = false
    return longest
  }
}

type Service = (typeof RedisService)["Service"]

/** Runs the work while another caller asks for a PING again and again. */
const measured = <A, E, R>(other: Service, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = process.memoryUsage.rss()
    let peak = before
    const others: Array<number> = []
    let done = false
    const asking = Effect.gen(function* () {
      while (!done) {
        const start = performance.now()
        yield* other.command(["PING"], { timeout: "1 minute" })
        others.push(performance.now() - start)
        peak = Math.max(peak, process.memoryUsage.rss())
        yield* Effect.sleep(2)
      }
    })
    const asker = yield* Effect.forkChild(asking, { startImmediately: true })
    // The first turn is the test's own.
    yield* Effect.yieldNow
    const stop = watchTurns()
    const result = yield* work
    const turn = stop()
    done = true
    yield* Fiber.join(asker)
    const cost: Cost = { turn, others: others.toSorted((a, b) => a - b), growth: peak - before }
    return { result, cost }
  })

const p99 = ({ others }: Cost): number => others[Math.floor(others.length * 0.99)] ?? Infinity

/** A turn is bounded, and others hardly notice. */
const isFair = (cost: Cost, turn = TURN_MILLIS): void => {
  const text = `longest turn ${cost.turn.toFixed(1)} ms CPU, p99 of ${cost.others.length} others ${p99(cost).toFixed(1)} ms`
  assert.isBelow(cost.turn, turn, text)
  assert.isBelow(p99(cost), 1000, text)
  assert.isAtLeast(cost.others.length, 2, text)
}

const connect = (server: RedisServer.RedisServer) =>
  Effect.map(Layer.build(Layer.fresh(Redis.layer({ port: server.port }))), (context) =>
    Context.get(context, RedisService)
  )

const patient = { timeout: "4 minutes" } as const

/** A connection for large things, and one of others, to another server. */
const withTwo = <A, E, R>(test: (service: Service, other: Service) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const [server, small] = yield* Effect.all([RedisServer.make(), RedisServer.make()])
    const [service, other] = yield* Effect.all([connect(server), connect(small)])
    yield* Effect.all([service.command(["PING"]), other.command(["PING"])])
    return yield* test(service, other)
  })

describe("Large things", () => {
  it.live("a value of 512 MiB, set and read back as bytes, in 2.3 times its memory", () =>
    withTwo((service, other) =>
      Effect.gen(function* () {
        const before = process.memoryUsage.rss()
        const value = new Uint8Array(512 * MiB)
        for (let i = 0; i < value.length; i += 4096) value[i] = (i / 4096) % 251
        const set = yield* measured(other, service.command(["SET", "large", value], patient))
        assert.strictEqual(set.result, "OK")
        isFair(set.cost)
        // It was handed to the socket as it is.
        assert.isBelow(set.cost.growth, 128 * MiB)
        const got = yield* measured(other, service.command(["GET", "large"], { ...patient, decode: "bytes" }))
        isFair(got.cost)
        assert.ok(got.result instanceof Uint8Array)
        assert.strictEqual(Buffer.compare(got.result, value), 0)
        assert.isBelow((process.memoryUsage.rss() - before) / value.length, 2.3)
        assert.isBelow(got.cost.growth / value.length, 1.3)
      })
    )
  )

  it.live("a reply of a million elements, as text and as bytes", () =>
    withTwo((service, other) =>
      Effect.gen(function* () {
        const fill =
          "for i = 1, 1000 do local t = {}; for j = 1, 1000 do t[j] = 'element ' .. ((i - 1) * 1000 + j) end; redis.call('RPUSH', KEYS[1], unpack(t)) end"
        yield* service.command(["EVAL", fill, 1, "list"], patient)
        const text = yield* measured(other, service.command(["LRANGE", "list", 0, -1], patient))
        isFair(text.cost)
        assert.ok(Array.isArray(text.result) && text.result.length === 1_000_000)
        assert.strictEqual(text.result[999_999], "element 1000000")
        const bytes = yield* measured(
          other,
          service.command(["LRANGE", "list", 0, -1], { ...patient, decode: "bytes" })
        )
        // Collecting a million small buffers is the engine's work, and may come in one piece.
        isFair(bytes.cost, 4 * TURN_MILLIS)
        assert.ok(Array.isArray(bytes.result) && bytes.result.length === 1_000_000)
      })
    )
  )

  it.live("a pipeline of 100 000 commands, more than may be queued or in flight", () =>
    withTwo((service, other) =>
      Effect.gen(function* () {
        const commands = Array.from({ length: 100_000 }, (_, i) => ["SET", `key:${i}`, `value:${i}`])
        const { cost, result } = yield* measured(other, service.pipeline(commands, patient))
        // It is checked and encoded in the turn of its caller, as any call is: that is most of the longest turn.
        isFair(cost, 3 * TURN_MILLIS)
        assert.isBelow(cost.growth, 256 * MiB)
        assert.strictEqual(result.length, 100_000)
        assert.ok(result.every((reply) => reply === "OK"))
        assert.strictEqual(yield* service.command(["GET", "key:99999"]), "value:99999")
      })
    )
  )

  it.live("a transaction of 10 000 commands", () =>
    withTwo((service, other) =>
      Effect.gen(function* () {
        const commands = Array.from({ length: 10_000 }, () => ["INCR", "n"])
        const { cost, result } = yield* measured(other, service.transaction(commands, patient))
        assert.isBelow(cost.turn, TURN_MILLIS)
        assert.deepStrictEqual(
          result,
          commands.map((_, i) => i + 1)
        )
      })
    )
  )

  it.live("large values of many callers at once, all within the bounds of the connection", () =>
    withTwo((service, other) =>
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
        isFair(cost)
        assert.deepStrictEqual(
          result,
          indexes.map(() => 4 * MiB)
        )
      })
    )
  )
})
