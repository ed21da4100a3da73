/** A group under real Sentinels: found, followed, and left at a switch. */
import { assert, layer } from "@effect/vitest"
import { Redis } from "@relive/core"
import { RedisSentinel } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { awaitState } from "../behaviours/support.ts"

const portOf = Effect.map(Redis.command(["CONFIG", "GET", "port"]), (reply) =>
  Number(reply instanceof Map ? reply.get("port") : Array.isArray(reply) ? reply[1] : undefined)
)

const roleOf = Effect.map(Redis.command(["ROLE"]), (reply) => (Array.isArray(reply) ? reply[0] : undefined))

layer(RedisSentinel.layer({ replicas: 2, downAfterMillis: 300, password: "secret", sentinelPassword: "other" }), {
  timeout: "30 seconds",
  excludeTestServices: true
})("a group under Sentinels", (it) => {
  const sentinelOf = (group: RedisSentinel.RedisSentinel) => ({
    sentinels: group.sentinels.map(({ host, port }, index) =>
      index === 1 ? { host, port } : `redis://${host}:${port}`
    ),
    group: group.group,
    password: Redacted.make("other")
  })

  it.effect("SENT-001 SENT-005 finds the primary, with a password of its own for each", () =>
    Effect.gen(function* () {
      const group = yield* RedisSentinel.RedisSentinel
      const found = Effect.all([Redis.command(["PING"]), portOf, roleOf])
      const redis = Redis.layer({ sentinel: sentinelOf(group), password: "secret", start: "await" })
      assert.deepStrictEqual(yield* Effect.provide(found, redis), ["PONG", group.primary.port, "master"])
    })
  )

  it.effect("goes where the group goes", () =>
    Effect.gen(function* () {
      const group = yield* RedisSentinel.RedisSentinel
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        const elected = yield* group.failover
        const agreed = performance.now()
        while ((yield* Effect.result(portOf)).pipe((r) => r._tag !== "Success" || r.success !== elected.port))
          yield* Effect.yieldNow
        console.log("there after", performance.now() - agreed)
        const status = yield* Redis.status
        assert.strictEqual(status.address, `127.0.0.1:${elected.port}`)
        assert.strictEqual(status.sentinel?.lastSwitch?.to, `127.0.0.1:${elected.port}`)
        return elected
      })
      yield* Effect.provide(program, Redis.layer({ sentinel: sentinelOf(group), password: "secret" }))
    })
  )
})
