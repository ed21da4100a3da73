/**
 * Corruption: a byte of a reply is changed where every decoder must notice. One check: fail closed. The replies before that
 * byte are right, no reply after it is delivered, the session ends, and the next one works.
 *
 * A changed byte in a *payload* is what no client can detect, since RESP has no checksums. TLS is the answer to that: there
 * any changed byte of a record ends the session.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, RedisService, type RedisError, type Resp } from "@relive/core"
import { Fault, FaultProxy, FaultSchedule, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as References from "effect/References"

const calls = 300

/** A call and what its reply is: numbers, texts, nulls, arrays, maps, errors in turns. */
interface Exchange {
  readonly command: Resp.Command
  readonly isRight: (reply: Exit.Exit<Resp.Reply, RedisError.RedisError>) => boolean
}

const answers =
  (expected: Resp.Reply): Exchange["isRight"] =>
  (reply) => {
    if (!Exit.isSuccess(reply)) return false
    assert.deepStrictEqual(reply.value, expected)
    return true
  }

const failsAs =
  (code: string): Exchange["isRight"] =>
  (reply) => {
    const error = failureOf(reply)
    return error?.reason._tag === "ReplyError" && error.reason.code === code
  }

const failureOf = (exit: Exit.Exit<unknown, RedisError.RedisError>): RedisError.RedisError | undefined =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

const exchange = (index: number, protocol: 2 | 3): Exchange => {
  const text = `text ${index} ${"x".repeat(index % 50)}`
  switch (index % 7) {
    case 0:
      return { command: ["ECHO", text], isRight: answers(text) }
    case 1:
      return {
        command: ["GETRANGE", "digits", index, index + 3],
        isRight: answers("0123456789".repeat(100).slice(index, index + 4))
      }
    case 2:
      return { command: ["STRLEN", "digits"], isRight: answers(1_000) }
    case 3:
      return { command: ["GET", "absent"], isRight: answers(null) }
    case 4:
      return { command: ["MGET", "digits", "absent"], isRight: answers(["0123456789".repeat(100), null]) }
    case 5:
      return {
        command: ["HGETALL", "hash"],
        isRight: answers(protocol === 3 ? new Map([["field", "value"]]) : ["field", "value"])
      }
    default:
      return { command: ["GET", "hash"], isRight: failsAs("WRONGTYPE") }
  }
}

const services = (protocol: 2 | 3, tls = false) => {
  const server = RedisServer.layer({ tls })
  const proxy = Layer.provideMerge(FaultProxy.layer(RedisServer.RedisServer, { seed: 5 }), server)
  const redis = Layer.unwrap(
    Effect.gen(function* () {
      const { host, port } = yield* FaultProxy.FaultProxy
      const { tls } = yield* RedisServer.RedisServer
      const common = {
        host,
        port,
        protocol,
        backoffFirst: 1,
        backoffInitial: 1,
        stableAfter: 1,
        start: "await"
      } as const
      return Redis.layer(tls === undefined ? common : { ...common, tls: { ca: tls.ca } })
    })
  )
  return Layer.provideMerge(redis, proxy)
}

/** Makes all calls at once, on one session: what each settled with, in order. */
const makeAll = (protocol: 2 | 3) => {
  const all = Array.from({ length: calls }, (_, index) => exchange(index, protocol))
  const made = Effect.forEach(all, ({ command }) => Effect.exit(Redis.command(command, { retry: false })), {
    concurrency: "unbounded"
  })
  return Effect.map(made, (exits) => ({ all, exits }))
}

const sessionHas = (protocol: 2 | 3, fault: Fault.Fault, kind = "protocol") =>
  Effect.gen(function* () {
    const server = yield* RedisServer.RedisServer
    const proxy = yield* FaultProxy.FaultProxy
    const redis = yield* RedisService
    yield* server.commands([
      ["SET", "digits", "0123456789".repeat(100)],
      ["HSET", "hash", "field", "value"]
    ])
    // A first one, whole: the session works.
    const whole = yield* makeAll(protocol)
    assert.ok(whole.all.every(({ isRight }, index) => isRight(whole.exits[index] ?? Exit.void)))

    const before = (yield* redis.status).sessions
    const injection = yield* proxy.inject(fault)
    const { all, exits } = yield* makeAll(protocol)
    assert.strictEqual(yield* injection.hits, 1, "the fault has struck")

    const first = exits.findIndex((exit, index) => !all[index]?.isRight(exit))
    assert.ok(first >= 0, "a call has failed")
    for (const exit of exits.slice(first)) {
      const error = failureOf(exit)
      assert.ok(error?.reason._tag === "ConnectionError", "no reply is delivered after the first that failed")
      assert.strictEqual(error.reason.kind, kind)
      assert.strictEqual(error.reason.delivery, "unknown")
    }
    // The next session is a good one.
    assert.strictEqual(yield* Redis.command(["STRLEN", "digits"]), 1_000)
    assert.strictEqual((yield* redis.status).sessions, before + 1)
  })

const name = (fault: Fault.Fault): string => (Fault.isCorruption(fault) ? `${fault.at} ${fault.how}` : fault._tag)

/** The first byte that fits, and one in the midst of it all. */
const depths = [0, 9_000]

for (const protocol of [2, 3] as const) {
  describe(`RESP${protocol}: a corrupted reply ends the session, and nothing after it is delivered`, () => {
    const random: FaultSchedule.Random = { next: () => 0, integer: (min) => min, pick: (items) => items[0] }
    for (const kind of FaultSchedule.corruptionFaults) {
      const fault = kind(random)
      for (const afterBytes of depths) {
        it.live(`${name(fault)}, after ${afterBytes} bytes`, () =>
          sessionHas(protocol, Fault.isCorruption(fault) ? { ...fault, afterBytes } : fault).pipe(
            Effect.provide(services(protocol)),
            // Each session that ends is a line of the log.
            Effect.provideService(References.MinimumLogLevel, "None")
          )
        )
      }
    }
  })
}

describe("TLS: a corrupted record ends the session, and nothing after it is delivered", () => {
  for (const how of ["flip", "insert", "duplicate"] as const) {
    for (const afterBytes of depths) {
      // A CR of the ciphertext is a byte like any other.
      it.live(`${how}, after ${afterBytes} bytes`, () =>
        sessionHas(3, Fault.corrupt({ at: "cr", how, afterBytes }), "disconnected").pipe(
          Effect.provide(services(3, true)),
          Effect.provideService(References.MinimumLogLevel, "None")
        )
      )
    }
  }
})
