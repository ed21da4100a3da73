/** A group under real Sentinels: found, followed, and left at a switch. */
import { assert, layer } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { RedisSentinel } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { awaitState, better, departs, outcomeOf, overridden, submit } from "../behaviours/support.ts"

const portOf = Effect.map(Redis.command(["CONFIG", "GET", "port"]), (reply) =>
  Number(reply instanceof Map ? reply.get("port") : Array.isArray(reply) ? reply[1] : undefined)
)

const roleOf = Effect.map(Redis.command(["ROLE"]), (reply) => (Array.isArray(reply) ? reply[0] : undefined))

const found = Effect.all([Redis.command(["PING"]), portOf, roleOf])

const secret = Effect.sync(() => Redacted.make("other"))

const redis = (
  group: RedisSentinel.RedisSentinel,
  more: Partial<RedisOptions.Sentinel> = {},
  options: RedisOptions.Options = {}
) => {
  const sentinels = group.sentinels.map(({ host, port }, index) =>
    index === 1 ? { host, port } : `redis://${host}:${port}`
  )
  return Redis.layer({
    sentinel: { sentinels, group: group.group, password: "other", ...more },
    password: "secret",
    start: "await",
    ...options
  })
}

const group = RedisSentinel.RedisSentinel

layer(RedisSentinel.layer({ replicas: 2, downAfterMillis: 300, password: "secret", sentinelPassword: "other" }), {
  timeout: "30 seconds",
  excludeTestServices: true
})("a group under Sentinels", (it) => {
  it.effect("SENT-001 SENT-005 finds the primary, with a password of its own for each", () =>
    Effect.gen(function* () {
      const { primary } = yield* group
      assert.deepStrictEqual(yield* Effect.provide(found, redis(yield* group)), ["PONG", primary.port, "master"])
    })
  )

  it.effect("SENT-006 SENT-007 takes a password of the Sentinels as an effect, for one and for all", () =>
    Effect.gen(function* () {
      const its = yield* group
      const lazy = redis(its, { password: secret })
      assert.strictEqual(yield* Effect.provide(Redis.command(["PING"]), lazy), "PONG")
      const sentinels = its.sentinels.map(({ host, port }) => ({ host, port, password: secret }))
      const own = redis(its, { sentinels, password: null })
      assert.strictEqual(yield* Effect.provide(Redis.command(["PING"]), own), "PONG")
    })
  )

  it.effect("SENT-002 finds a replica", () =>
    Effect.gen(function* () {
      const its = yield* group
      const [pong, port, role] = yield* Effect.provide(found, redis(its, { role: "replica" }))
      assert.deepStrictEqual([pong, role], ["PONG", "slave"])
      assert.include(
        its.replicas.map((replica) => replica.port),
        port
      )
    })
  )

  it.effect(
    "SENT-019 keeps one connection to each Sentinel to ask it, and one to hear it, and none after the end",
    () =>
      Effect.gen(function* () {
        const { sentinels } = yield* group
        const clients = Effect.forEach(sentinels, (sentinel) =>
          Effect.map(
            sentinel.command(["CLIENT", "LIST"]),
            (text) =>
              String(text)
                .split("\n")
                .filter((line) => line.includes("name=ours")).length
          )
        )
        const inside = Effect.andThen(
          Redis.command(["PING"]),
          Effect.repeat(clients, { until: (counts) => counts.every((count) => count === 2) })
        )
        yield* Effect.provide(inside, redis(yield* group, {}, { name: "ours" }))
        yield* Effect.repeat(clients, { until: (counts) => counts.every((count) => count === 0) })
      }),
    departs(
      overridden("SENT-019", "the Sentinels are watched, so that a switch is noticed at once and not at the next dial")
    )
  )

  it.effect(
    "SENT-003 goes where the group goes: commands, a blocked worker, an idle lease, and pub/sub with a gap",
    () =>
      Effect.gen(function* () {
        const its = yield* group
        const program = Effect.gen(function* () {
          // An idle lease, a busy one, and a subscriber, all at the old primary.
          yield* Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["PING"])))
          const worker = yield* submit(outcomeOf(Redis.command(["BLPOP", "jobs", 0], { timeout: "infinite" })))
          const subscribed = yield* Deferred.make<void>()
          const events = yield* submit(
            Redis.subscribe("news").pipe(
              Stream.tap(({ _tag }) => (_tag === "Subscribed" ? Deferred.succeed(subscribed, undefined) : Effect.void)),
              Stream.takeUntil(({ _tag }) => _tag === "Message"),
              Stream.runCollect
            )
          )
          yield* Deferred.await(subscribed)
          const elected = yield* its.failover
          // The old primary would take all of it for ten seconds more.
          assert.deepStrictEqual(yield* Fiber.join(worker), ["disconnected", "unknown"])
          const there = Effect.retry(
            Effect.flatMap(portOf, (port) => (port === elected.port ? Effect.void : Effect.fail("elsewhere"))),
            { times: 10_000 }
          )
          yield* there
          const lease = yield* Effect.scoped(
            Effect.flatMap(Redis.lease, (own) => own.command(["CONFIG", "GET", "port"]))
          )
          assert.strictEqual(lease instanceof Map ? lease.get("port") : "", String(elected.port))
          const { address, sentinel } = yield* Redis.status
          assert.strictEqual(address, `127.0.0.1:${elected.port}`)
          assert.strictEqual(sentinel?.lastSwitch?.to, address)
          yield* Effect.repeat(Redis.publish("news", "there"), { until: (receivers) => receivers === 1 })
          const tags = (yield* Fiber.join(events)).map(({ _tag }) => _tag)
          assert.deepStrictEqual(tags, ["Subscribed", "Gap", "Resubscribed", "Message"])
        })
        yield* Effect.provide(program, redis(its))
      }),
    departs(better("SENT-003", "a subscriber goes along at a switch, and is told"))
  )

  it.effect("a primary that is killed costs a caller nothing but time", () =>
    Effect.gen(function* () {
      const its = yield* group
      const old = yield* its.currentPrimary
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        yield* old.kill
        // Sent to nobody, they wait for the next primary.
        const calls = yield* Effect.forEach(Array.from({ length: 20 }), (_, index) =>
          submit(Redis.command(["SET", `k${index}`, index], { timeout: "20 seconds" }))
        )
        const elected = yield* its.awaitSwitch(old)
        for (const call of calls) assert.strictEqual(yield* Fiber.join(call), "OK")
        assert.strictEqual(yield* portOf, elected.port)
      })
      yield* Effect.provide(program, redis(its))
    })
  )
})
