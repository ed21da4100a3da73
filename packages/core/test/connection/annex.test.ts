/** What an idle connection does without: the supervisors of leases and of subscribers start when they are first needed. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"

describe("The supervisors of leases and of subscribers", () => {
  it.live("start when they are first needed, and keep their place in the tree", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const Name = Redis.Name("redis")
      const registry = yield* Registry.make()
      const supervisor = yield* Supervisor.start(
        Supervisor.make({ children: [Redis.childSpec({ id: "redis", register: Name, port: server.port })] })
      ).pipe(Effect.provideService(Registry.Registry, registry))
      const service = yield* Redis.named(Name).pipe(Effect.provideService(Registry.Registry, registry))
      const children = Effect.map(supervisor.tree, (root) =>
        (root.children[0]?.children ?? []).map(({ id, state }) => `${id} ${state}`)
      )
      assert.deepStrictEqual(yield* service.command(["PING"]), "PONG")
      assert.deepStrictEqual(yield* children, [
        "deadlines running",
        "leases stopped",
        "pubsub stopped",
        "session running",
        "intake running"
      ])
      // Several at once, before there is a supervisor: each gets a connection of its own.
      const ids = yield* Effect.all(
        Array.from({ length: 3 }, () =>
          Effect.scoped(
            Effect.flatMap(service.lease(), (lease) => Effect.delay(lease.command(["CLIENT", "ID"]), "20 millis"))
          )
        ),
        { concurrency: 3 }
      )
      assert.strictEqual(new Set(ids).size, 3)
      assert.deepStrictEqual(yield* children, [
        "deadlines running",
        "leases running",
        "pubsub stopped",
        "session running",
        "intake running"
      ])
    }).pipe(Effect.scoped)
  )
})
