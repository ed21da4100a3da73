import { assert, describe, it } from "@effect/vitest"
import { RedisSentinel } from "@relive/testing"
import { Effect } from "effect"

const roleOf = (server: { readonly command: (args: ReadonlyArray<string>) => Effect.Effect<unknown, unknown> }) =>
  Effect.map(server.command(["ROLE"]), (reply) => (Array.isArray(reply) ? String(reply[0]) : ""))

describe("RedisSentinel", () => {
  it.live("elects another primary when the first is killed, also with a Sentinel less", () =>
    Effect.gen(function* () {
      const group = yield* RedisSentinel.make({ replicas: 2, downAfterMillis: 300, password: "a b" })
      for (const sentinel of group.sentinels) assert.strictEqual(yield* group.namedBy(sentinel), group.primary)
      yield* group.sentinels[0].pause
      yield* group.primary.kill
      const elected = yield* group.awaitSwitch(group.primary)
      assert.include(group.replicas, elected)
      assert.strictEqual(yield* roleOf(elected), "master")
    })
  )

  it.live("fails over as planned, with passwords and TLS, and learns of a new replica", () =>
    Effect.gen(function* () {
      const group = yield* RedisSentinel.make({ tls: true, password: "secret", sentinelPassword: "other secret" })
      const added = yield* group.addReplica
      const elected = yield* group.failover
      assert.include([...group.replicas, added], elected)
      assert.strictEqual(yield* roleOf(elected), "master")
    })
  )
})
