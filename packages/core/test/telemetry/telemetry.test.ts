/**
 * What a connection tells: spans and metrics by OpenTelemetry's conventions, log lines, and the rows of telemetry.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions, type RedisService } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { StateLog } from "../../src/internal/telemetry/logging.ts"
import { connectionError } from "../../src/internal/errors.ts"
import {
  awaitState,
  better,
  departs,
  eager,
  notApplicable,
  overridden,
  serving,
  submit
} from "../behaviours/support.ts"

// ------------------------------------------------------------------------------------------------------------- watching

/** Keeps every span. */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

/** Runs with a connection to a real server, and answers the spans of its calls and what is measured in the end. */
const observed = <A, E>(
  telemetry: { readonly spans: boolean; readonly metrics: boolean },
  test: (server: RedisServer.RedisServer) => Effect.Effect<A, E, RedisService>,
  options: RedisOptions.Options = {}
) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make()
    const { spans, tracer } = recording()
    const inside = Effect.gen(function* () {
      const result = yield* test(server)
      return { result, metrics: yield* Metric.snapshot }
    }).pipe(
      Effect.provide(Redis.layer({ port: server.port, ...options })),
      Effect.provideService(Redis.Telemetry, telemetry),
      Effect.withTracer(tracer)
    )
    const registry: Context = new Map()
    const { metrics, result } = yield* Effect.provideService(inside, Metric.MetricRegistry, registry)
    return { server, spans, metrics, result, left: registry }
  })

type Context = typeof Metric.MetricRegistry extends { readonly defaultValue: () => infer A } ? A : never

const attributesOf = (span: Tracer.Span): Record<string, unknown> => Object.fromEntries(span.attributes)

const seriesOf = (metrics: ReadonlyArray<Metric.Metric.Snapshot>, id: string) =>
  metrics.filter((metric) => metric.id === id)

/** Runs, and answers the log lines from a level on, with their levels. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>, level: "Debug" | "Info" = "Info") =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make((entry) => {
      lines.push(`${entry.logLevel} ${String(entry.message)}`)
    })
    yield* effect.pipe(Effect.provide(Logger.layer([logger])), Effect.provideService(References.MinimumLogLevel, level))
    return lines
  })

const all = { spans: true, metrics: true }

// ---------------------------------------------------------------------------------------------------------------- spans

describe("spans", () => {
  it.live("TEL-001 TEL-002 TEL-007 are one for each call, of kind client, below the caller's", () =>
    Effect.gen(function* () {
      const { server, spans } = yield* observed(all, () =>
        Effect.gen(function* () {
          yield* Redis.command(["SET", "k", "v"])
          yield* Redis.pipeline([
            ["get", "k"],
            ["get", "k"]
          ])
          yield* Redis.pipeline([
            ["GET", "k"],
            ["INCR", "n"]
          ])
          yield* Redis.pipeline([["PING"]])
          yield* Redis.transaction([
            ["INCR", "n"],
            ["INCR", "n"],
            ["INCR", "n"]
          ])
          yield* Redis.noreply([["SET", "a", 1]])
          yield* Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["PING"])))
        }).pipe(Effect.withSpan("parent"))
      )
      const [parent, ...calls] = spans
      assert.deepStrictEqual(
        calls.map((span) => [span.name, span.attributes.get("db.operation.batch.size")]),
        [
          ["SET", undefined],
          ["PIPELINE get", 2],
          ["PIPELINE", 2],
          ["PIPELINE PING", undefined],
          ["MULTI INCR", 3],
          ["PIPELINE SET", undefined],
          ["PING", undefined]
        ]
      )
      for (const span of calls) {
        assert.strictEqual(span.kind, "client")
        assert.strictEqual(Option.getOrUndefined(span.parent)?.spanId, parent?.spanId)
        assert.strictEqual(span.status._tag, "Ended")
        assert.ok(span.status._tag === "Ended" && span.status.endTime > span.startTime)
      }
      assert.deepStrictEqual(attributesOf(calls[0]!), {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "SET",
        "server.address": "127.0.0.1",
        "server.port": String(server.port)
      })
    })
  )

  it.live(
    "TEL-003 TEL-009 say how a call failed: the server's code, or what went wrong",
    () =>
      Effect.gen(function* () {
        const { spans } = yield* observed(all, () =>
          Effect.gen(function* () {
            yield* Redis.command(["SET", "k", "v"])
            yield* Effect.flip(Redis.command(["LPUSH", "k", "x"]))
            yield* Effect.flip(Redis.command(["BLPOP", "list", 0], { timeout: 10 }))
            yield* Effect.flip(Redis.command(["SUBSCRIBE", "c"]))
            const blocked = yield* submit(Redis.command(["BLPOP", "list", 0]))
            yield* Fiber.interrupt(blocked)
          })
        )
        const failures = spans.slice(1).map((span) => {
          const { "db.response.status_code": code, "error.type": type } = attributesOf(span)
          const failed = span.status._tag === "Ended" && Exit.isFailure(span.status.exit)
          return [span.name, type, code, failed]
        })
        assert.deepStrictEqual(failures, [
          ["LPUSH", "WRONGTYPE", "WRONGTYPE", true],
          ["BLPOP", "TimeoutError", undefined, true],
          ["SUBSCRIBE", "RedisArgumentError", undefined, true],
          ["BLPOP", "interrupted", undefined, true]
        ])
      }),
    departs(better("TEL-009", "a server's error is marked too, with its code"))
  )

  it.live(
    "TEL-005 TEL-006 TEL-008 carry what the caller annotates",
    () =>
      Effect.gen(function* () {
        const { spans } = yield* observed(all, () =>
          Effect.annotateSpans(Redis.transaction([["PING"], ["GET", "k"]]), { extra: 42 })
        )
        assert.deepStrictEqual(
          spans.map((span) => [span.name, span.attributes.get("extra")]),
          [["MULTI", 42]]
        )
      }),
    departs(
      overridden("TEL-005", "a span says where the server is, as the conventions ask; the name is in the metrics"),
      overridden("TEL-008", "commands hold secrets and are never a part of telemetry; the name says that it was MULTI")
    )
  )

  it.live("show no command that is not known: it may be anything", () =>
    Effect.gen(function* () {
      const { spans } = yield* observed(all, () => Effect.ignore(Redis.command(["s3cret", "s3cret"])))
      assert.deepStrictEqual(
        spans.map((span) => span.name),
        ["_OTHER"]
      )
      assert.notInclude(JSON.stringify(spans.map(attributesOf)), "s3cret")
    })
  )

  it.live("cost nothing when off: there is none, and no metric", () =>
    Effect.gen(function* () {
      const { metrics, spans } = yield* observed({ spans: false, metrics: false }, () =>
        Effect.andThen(Redis.command(["PING"]), Effect.scoped(Redis.lease))
      )
      assert.deepStrictEqual([spans.length, metrics.length], [0, 0])
    })
  )
})

// -------------------------------------------------------------------------------------------------------------- metrics

describe("metrics", () => {
  it.live("measure the duration of each operation, in seconds, with the conventions' boundaries", () =>
    Effect.gen(function* () {
      const { metrics, server, spans } = yield* observed({ spans: false, metrics: true }, () =>
        Effect.gen(function* () {
          yield* Redis.command(["SET", "k", "v"])
          yield* Redis.command(["SET", "k", "v"])
          yield* Effect.flip(Redis.command(["LPUSH", "k", "v"]))
          yield* Redis.pipeline([["PING"], ["PING"]])
        })
      )
      assert.deepStrictEqual(spans, [])
      const series = seriesOf(metrics, "db.client.operation.duration")
      assert.deepStrictEqual(
        series.map((one) => one.type === "Histogram" && [one.attributes?.["db.operation.name"], one.state.count]),
        [
          ["SET", 2],
          ["LPUSH", 1],
          ["PIPELINE PING", 1]
        ]
      )
      const [set, failed] = series
      assert.ok(set?.type === "Histogram")
      const boundaries = set.state.buckets.map(([boundary]) => boundary)
      assert.deepStrictEqual(boundaries, [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10])
      assert.isAbove(set.state.sum, 0)
      assert.isBelow(set.state.sum, 5)
      assert.deepStrictEqual(set.attributes, {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "SET",
        "server.address": "127.0.0.1",
        "server.port": String(server.port),
        unit: "s"
      })
      assert.strictEqual(failed?.attributes?.["error.type"], "WRONGTYPE")
      assert.strictEqual(failed?.attributes?.["db.response.status_code"], "WRONGTYPE")
    })
  )

  it.live(
    "count connections, leases and what waits, read when they are collected, and are gone with the connection",
    () =>
      Effect.gen(function* () {
        const valueOf = (id: string, state?: string) =>
          Effect.map(Metric.snapshot, (metrics) => {
            const series = seriesOf(metrics, id).filter(
              (one) => state === undefined || one.attributes?.["db.client.connection.state"] === state
            )
            const [one] = series
            assert.strictEqual(series.length, 1, id)
            return one?.type === "Gauge"
              ? one.state.value
              : one?.type === "Histogram" || one?.type === "Counter"
                ? one.state.count
                : undefined
          })
        const { left } = yield* observed(
          { spans: false, metrics: true },
          (server) =>
            Effect.gen(function* () {
              yield* Redis.command(["PING"])
              assert.strictEqual(yield* valueOf("db.client.connection.count", "used"), 1)
              assert.strictEqual(yield* valueOf("db.client.connection.max"), 2)
              yield* Effect.scoped(
                Effect.gen(function* () {
                  yield* Redis.lease
                  assert.strictEqual(yield* valueOf("db.client.connection.count", "used"), 2)
                  const second = yield* submit(Effect.exit(Effect.scoped(Redis.lease)))
                  assert.strictEqual(yield* valueOf("db.client.connection.pending_requests"), 1)
                  assert.ok(Exit.isFailure(yield* Fiber.join(second)))
                  assert.strictEqual(yield* valueOf("db.client.connection.timeouts"), 1)
                })
              )
              assert.strictEqual(yield* valueOf("db.client.connection.count", "used"), 1)
              assert.strictEqual(yield* valueOf("db.client.connection.count", "idle"), 1)
              assert.strictEqual(yield* valueOf("db.client.connection.wait_time"), 1)
              assert.strictEqual(yield* valueOf("db.client.connection.use_time"), 1)
              assert.strictEqual(yield* valueOf("db.client.connection.create_time"), 1)
              yield* server.command(["CLIENT", "KILL", "TYPE", "normal"])
              yield* awaitState("backoff", "connecting")
              assert.strictEqual(yield* valueOf("db.client.connection.count", "used"), 0)
              assert.strictEqual(yield* valueOf("redis.client.connection.closed"), 1)
              yield* Redis.command(["PING"])
              assert.strictEqual(yield* valueOf("db.client.connection.create_time"), 2)
            }),
          { leases: 1, timeout: 200, backoffFirst: 20, backoffInitial: 20 }
        )
        const gauges = Array.from(left.values()).filter((metric) => metric.type === "Gauge")
        assert.deepStrictEqual(gauges, [])
      })
  )

  it.live("tell two connections to one server apart, and use the names again", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const layer = () => Redis.layer({ port: server.port })
      const names = yield* Effect.gen(function* () {
        yield* Effect.scoped(Layer.build(Layer.fresh(layer())))
        yield* Layer.build(layer())
        yield* Layer.build(Layer.fresh(layer()))
        const series = seriesOf(yield* Metric.snapshot, "db.client.connection.max")
        return series.map((one) => one.attributes?.["db.client.connection.pool.name"])
      }).pipe(
        Effect.scoped,
        Effect.provideService(Redis.Telemetry, all),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.deepStrictEqual(names, [`127.0.0.1:${server.port}/0`, `127.0.0.1:${server.port}/0#2`])
    })
  )
})

// ----------------------------------------------------------------------------------------------------------------- logs

describe("the log", () => {
  it.live("TEL-012 TEL-015 says that a connection was lost and is back, and nothing of the first success", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const lines = yield* logged(
        Effect.gen(function* () {
          yield* Redis.command(["PING"])
          // Watched from before the kill: it may be back before the server's own client is.
          const isReady = Stream.filter(Redis.events, ({ state }) => state === "ready")
          const back = yield* Effect.forkScoped(Stream.runHead(isReady), { startImmediately: true })
          yield* server.command(["CLIENT", "KILL", "TYPE", "normal"])
          yield* Fiber.join(back)
        }).pipe(Effect.scoped, Effect.provide(Redis.layer({ port: server.port, name: "cache", ...eager })))
      )
      assert.deepStrictEqual(lines, [
        `Error Connection "cache" disconnected from Redis at 127.0.0.1:${server.port}: the server closed the connection`,
        `Info Connection "cache" reconnected to Redis at 127.0.0.1:${server.port} after 0.0 s`
      ])
    })
  )

  it.live("TEL-013 TEL-011 TEL-024 says once that a server cannot be reached, and the event has the cause", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const [change] = yield* Redis.events.pipe(
            Stream.filter(({ state }) => state === "backoff"),
            Stream.take(5),
            Stream.runCollect
          )
          assert.ok(change?.cause?.reason._tag === "ConnectionError")
          assert.strictEqual(change.cause.reason.address, "localhost:1")
          assert.match(change.cause.reason.detail, /ECONNREFUSED/)
        }).pipe(Effect.provide(Redis.layer({ host: "localhost", port: 1, ...eager })))
      )
      assert.strictEqual(lines.length, 1)
      assert.match(String(lines[0]), /^Error Connection failed to connect to Redis at localhost:1: .*ECONNREFUSED/)

      const awaited = yield* logged(Effect.ignore(Effect.scoped(Layer.build(Redis.layer({ port: 1, start: "await" })))))
      assert.strictEqual(awaited.length, 1)
      assert.match(String(awaited[0]), /failed to connect to Redis at 127\.0\.0\.1:1/)
    })
  )

  it.live(
    "TEL-026 says that a server refuses us, and the event has what it said",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        const lines = yield* logged(
          Effect.gen(function* () {
            yield* awaitState("failed")
            const { address, lastError } = yield* Redis.status
            assert.strictEqual(address, `127.0.0.1:${server.port}`)
            assert.match(String(lastError?.message), /DB index is out of range/)
          }).pipe(Effect.provide(Redis.layer({ port: server.port, database: 99, ...eager })))
        )
        assert.strictEqual(lines.length, 1)
        assert.match(String(lines[0]), /^Error .*DB index is out of range.*calls fail until that has changed/)
      }),
    departs(overridden("TEL-026", "the connection does not terminate: it stays in `failed` and tries again"))
  )

  it.live("events tell every change, the first success too", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make(serving())
      const changes = yield* Effect.gen(function* () {
        const seen = yield* Redis.events.pipe(
          Stream.map(({ state }) => state),
          Stream.takeUntil((state) => state === "ready"),
          Stream.runCollect
        )
        return seen
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      assert.deepStrictEqual(changes, ["handshaking", "ready"])
    })
  )

  it.live("TEL-010 TEL-025 tells of the connection for pub/sub as of one of its own, the first success too", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      let names: ReadonlyArray<unknown> = []
      const lines = yield* logged(
        Effect.gen(function* () {
          yield* awaitState("ready")
          const tags = yield* Redis.subscribe("c").pipe(
            Stream.tap((event) =>
              event._tag === "Subscribed"
                ? Effect.asVoid(server.command(["CLIENT", "KILL", "TYPE", "pubsub"]))
                : Effect.void
            ),
            Stream.takeUntil((event) => event._tag === "Resubscribed"),
            Stream.map(({ _tag }) => _tag),
            Stream.runCollect
          )
          assert.deepStrictEqual(tags, ["Subscribed", "Gap", "Resubscribed"])
          const closed = seriesOf(yield* Metric.snapshot, "redis.client.connection.closed")
          names = closed.map(({ attributes }) => attributes?.["db.client.connection.pool.name"])
        }).pipe(
          Effect.provide(Redis.layer({ port: server.port, name: "cache", ...eager })),
          Effect.provideService(Redis.Telemetry, all),
          Effect.provideService(Metric.MetricRegistry, new Map())
        ),
        "Debug"
      )
      const at = `Redis at 127.0.0.1:${server.port}`
      assert.deepStrictEqual(
        lines
          .filter((line) => line.includes("(pub/sub)"))
          .map((line) => line.replace(/after \d+\.\d s$/, "after a while")),
        [
          `Debug Connection "cache (pub/sub)" connected to ${at}`,
          `Error Connection "cache (pub/sub)" disconnected from ${at}: the server closed the connection`,
          `Info Connection "cache (pub/sub)" reconnected to ${at} after a while`,
          `Debug Connection "cache (pub/sub)" to ${at} closed`
        ]
      )
      assert.deepStrictEqual(names, ["cache (pub/sub)"])
    })
  )

  it(
    "TEL-014 TEL-016 TEL-017 TEL-018 TEL-019 sentinels and clusters have no log yet",
    departs(
      ...["TEL-014", "TEL-016", "TEL-017", "TEL-018", "TEL-019"].map((id) =>
        notApplicable(id, "there is no Sentinel and no cluster here yet")
      )
    ),
    () => {
      assert.notProperty(Redis, "sentinel")
    }
  )

  it.live("is quiet about a connection that is closed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const lines = yield* logged(Effect.provide(Redis.command(["PING"]), Redis.layer({ port: server.port })))
      assert.deepStrictEqual(lines, [])
      const every = yield* logged(Effect.provide(Redis.command(["PING"]), Redis.layer({ port: server.port })), "Debug")
      assert.deepStrictEqual(every, [
        `Debug Connection connected to Redis at 127.0.0.1:${server.port}`,
        `Debug Connection to Redis at 127.0.0.1:${server.port} closed`
      ])
    })
  )
})

const cacheAddress = "cache:6379"

/** A log that is told of changes at times of the test's choosing. */
const makeLog = () => {
  const lines: Array<string> = []
  const logger = Logger.make((entry) => {
    lines.push(`${entry.logLevel} ${String(entry.message)}`)
  })
  const subject = {
    name: undefined,
    address: cacheAddress,
    endpoint: { _tag: "Tcp", host: "cache", port: 6379 } as const
  }
  const log = new StateLog(subject, subject.name, (line) => {
    Effect.runSync(Effect.provide(line, Logger.layer([logger])))
  })
  const cause = (detail: string) => connectionError({ kind: "disconnected", address: cacheAddress, detail }, "unsent")
  const change = (previous: "ready" | "connecting", state: "ready" | "backoff", now: number, detail = "gone") =>
    log.changed({ previous, state, cause: state === "ready" ? undefined : cause(detail), sessions: 1 }, now)
  const owed: Array<number> = []
  log.onOwed = (at) => owed.push(at)
  return {
    lines,
    look: (now: number) => log.look(now),
    owed,
    up: (now: number) => change("connecting", "ready", now),
    lost: (now: number, detail?: string) => change("ready", "backoff", now, detail),
    unreached: (now: number, detail?: string) => change("connecting", "backoff", now, detail)
  }
}

describe("the rate of the log", () => {
  it("tells an outage once, again when its cause changes, and once a minute", () => {
    const { lines, lost, unreached, up } = makeLog()
    up(0)
    lost(1000, "reset")
    for (let at = 2000; at < 100_000; at += 1000) unreached(at, at < 50_000 ? "refused" : "no route")
    up(100_000)
    assert.deepStrictEqual(lines, [
      `Error Connection disconnected from Redis at ${cacheAddress}: reset`,
      `Error Connection failed to connect to Redis at ${cacheAddress}: refused (1 attempts in 1.0 s)`,
      `Error Connection failed to connect to Redis at ${cacheAddress}: no route (49 attempts in 49 s)`,
      `Info Connection reconnected to Redis at ${cacheAddress} after 99 s`
    ])
    lines.length = 0
    lost(200_000, "reset")
    for (let at = 201_000; at < 330_000; at += 1000) unreached(at, "reset")
    assert.deepStrictEqual(
      lines.map((line) => /\((.*)\)/.exec(line)?.[1]),
      [undefined, "60 attempts in 60 s", "120 attempts in 120 s"]
    )
  })

  it("tells five outages of a flapping connection in ten seconds, in pairs, and counts the others", () => {
    const { lines, lost, up } = makeLog()
    up(0)
    for (let at = 0; at < 10_000; at += 100) {
      lost(at)
      up(at + 50)
    }
    assert.strictEqual(lines.length, 10)
    assert.match(String(lines.at(-1)), /reconnected/)
    lost(10_000)
    assert.match(String(lines.at(-1)), /disconnected .*\(95 more failures before this one were not logged\)/)
  })
})

describe("the log after a flood of changes", () => {
  it("says what holds, when it was not said before", () => {
    const { lines, look, lost, owed, unreached, up } = makeLog()
    up(0)
    for (let at = 0; at < 500; at += 50) {
      lost(at)
      up(at + 10)
    }
    lost(500)
    unreached(600)
    assert.match(String(lines.at(-1)), /reconnected/)
    assert.strictEqual(owed.at(-1), 10_000)
    assert.strictEqual(look(5_000), 10_000)
    assert.match(String(lines.at(-1)), /reconnected/)
    assert.strictEqual(look(10_000), Infinity)
    assert.match(String(lines.at(-1)), /failed to connect to .*\(6 more failures before this one were not logged\)/)
    const count = lines.length
    assert.strictEqual(look(20_000), Infinity)
    unreached(20_000)
    assert.strictEqual(lines.length, count)
    up(21_000)
    assert.match(String(lines.at(-1)), /reconnected/)
  })

  it("says nothing more when it is up again", () => {
    const { lines, look, lost, up } = makeLog()
    up(0)
    for (let at = 0; at < 500; at += 50) {
      lost(at)
      up(at + 10)
    }
    const count = lines.length
    assert.strictEqual(look(10_000), Infinity)
    assert.strictEqual(lines.length, count)
    assert.match(String(lines.at(-1)), /reconnected/)
  })
})

describe("addresses", () => {
  const addressOf = (options: RedisOptions.Options) =>
    Effect.map(Effect.provide(Redis.status, Redis.layer(options)), ({ address }) => address)

  it.live("TEL-020 TEL-021 TEL-022 are host:port, or the path of a socket", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* addressOf({ host: "localhost", port: 9999 }), "localhost:9999")
      assert.strictEqual(yield* addressOf({ host: "::1", port: 1 }), "[::1]:1")
      assert.strictEqual(yield* addressOf({ path: "/tmp/no.sock" }), "/tmp/no.sock")
      assert.strictEqual(yield* addressOf({}), "127.0.0.1:6379")
    })
  )

  it.live("TEL-023 that make no sense are refused as options", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(addressOf({ host: "127.0.0.1:1:2" }))
      assert.match(error.message, /The option `host` must be/)
    })
  )
})
