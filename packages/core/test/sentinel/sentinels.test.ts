/** Sentinels that disagree, say nothing, refuse, or lag behind. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import type { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { awaitState, better, callsOf, departs, eager, overridden, reasonOf, submit } from "../behaviours/support.ts"
import { closedPort, fakeSentinel, fakeServer, knowing } from "./support.ts"

const who = Redis.command(["WHO"], { timeout: "10 seconds", retry: { for: "any" } })

const under = (
  sentinels: ReadonlyArray<{ readonly port: number }>,
  options: RedisOptions.Options = {},
  more: Partial<RedisOptions.Sentinel> = {}
) =>
  Redis.layer({
    ...eager,
    closeTimeout: 100,
    ...options,
    sentinel: { sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })), group: "mymaster", ...more }
  })

/** Ends the connections to a server. */
const dropped = (server: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    for (let index = 0; index < (yield* server.accepted); index++) yield* (yield* server.connection(index)).reset
  })

/** How often a Sentinel was asked. */
const asked = (sentinel: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    let times = 0
    for (let index = 0; index < (yield* sentinel.accepted); index++) {
      times += (yield* callsOf(sentinel, index)).filter((call) => call === "SENTINEL MASTER mymaster").length
    }
    return times
  })

describe("Sentinels", () => {
  it.live(
    "SENT-009 one that refuses and one that is mute cost little: the third is asked",
    () =>
      Effect.gen(function* () {
        const server = yield* fakeServer("primary")
        const mute = yield* fakeSentinel(knowing(server.port, { mute: true }))
        const good = yield* fakeSentinel(knowing(server.port))
        const sentinels = [{ port: yield* closedPort }, mute, good]
        assert.strictEqual(yield* Effect.provide(who, under(sentinels)), "primary")
      }),
    departs(better("SENT-009", "the next one is asked after 200 ms, and need not wait for the whole timeout"))
  )

  it.live("the highest configuration epoch wins, whoever replied first", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const sentinels = [
        yield* fakeSentinel(knowing(old.port, { epoch: 4, id: "a" })),
        yield* fakeSentinel(knowing(fresh.port, { epoch: 5, id: "b" })),
        yield* fakeSentinel(knowing(fresh.port, { epoch: 5, id: "c" }))
      ]
      assert.strictEqual(yield* Effect.provide(who, under(sentinels)), "fresh")
    })
  )

  it.live("one that lags behind sends nobody back, also when it is the only one that can be asked", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const stale = knowing(old.port, { epoch: 4, id: "a" })
      const known = [knowing(fresh.port, { epoch: 5, id: "b" }), knowing(fresh.port, { epoch: 5, id: "c" })]
      const sentinels = [yield* fakeSentinel(stale), ...(yield* Effect.forEach(known, (one) => fakeSentinel(one)))]
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "fresh")
        for (const one of known) one.mute = true
        yield* dropped(fresh)
        yield* reasonOf(Redis.command(["WHO"], { timeout: "1 second", retry: { for: "any" } }))
        assert.include((yield* Redis.status).lastError?.message ?? "", "as it was before a switch")
        for (const one of known) one.mute = false
        assert.strictEqual(yield* who, "fresh")
        assert.strictEqual(yield* old.accepted, 0)
      })
      yield* Effect.provide(program, under(sentinels, {}, { timeout: 100 }))
    })
  )

  it.live(
    "SENT-016 SENT-020 when none of them knows, every cause is told, and it is tried again",
    () =>
      Effect.gen(function* () {
        const server = yield* fakeServer("primary")
        const known = knowing(server.port, { mute: true })
        const mute = yield* fakeSentinel(known)
        const other = yield* fakeSentinel(knowing(server.port))
        const refusing = { port: yield* closedPort }
        const program = Effect.gen(function* () {
          yield* awaitState("backoff")
          const { lastError } = yield* Redis.status
          const message = lastError?.message ?? ""
          for (const part of ["mymaster2", `${mute.port}`, `${other.port}`, `${refusing.port}`]) {
            assert.include(message, part)
          }
          assert.include(message, "it does not watch mymaster2")
          assert.include(message, "refused")
        })
        yield* Effect.provide(program, under([mute, other, refusing], {}, { group: "mymaster2", timeout: 100 }))
        const found = yield* submit(Effect.provide(who, under([mute], {}, { timeout: 100 })))
        known.mute = false
        assert.strictEqual(yield* Fiber.join(found), "primary")
      }),
    departs(
      overridden("SENT-016", "one error holds what each Sentinel said"),
      better("SENT-020", "the causes stay in the error")
    )
  )

  it.live("SENT-018 names, IPv4 and IPv6 addresses can be dialled, and addresses are mapped", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      for (const host of ["localhost", "127.0.0.1"]) {
        const sentinel = yield* fakeSentinel(knowing(server.port, { host }))
        assert.strictEqual(yield* Effect.provide(who, under([sentinel])), "primary")
      }
      const sentinel = yield* fakeSentinel(knowing(6379, { host: "fd00::1" }))
      const mapAddress = { "[fd00::1]:6379": `127.0.0.1:${server.port}` }
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { mapAddress })), "primary")
    })
  )

  it.live("SENT-011 replicas that are down or out of sync are skipped; the primary is preferred to none", () =>
    Effect.gen(function* () {
      const primary = yield* fakeServer("primary")
      const replica = yield* fakeServer("replica", "slave")
      const bad = yield* closedPort
      const known = knowing(primary.port, {
        replicas: [
          { port: bad, flags: "s_down,slave" },
          { port: bad, flags: "slave", link: "err" },
          { port: bad, flags: "slave,disconnected" },
          { port: replica.port }
        ]
      })
      const sentinel = yield* fakeSentinel(known)
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "replica" })), "replica")
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "preferReplica" })), "replica")
      known.replicas = known.replicas.slice(0, 3)
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "preferReplica" })), "primary")
      const error = yield* reasonOf(
        Effect.provide(
          Redis.command(["WHO"]),
          under([sentinel], { whenDown: "fail", start: "await" }, { role: "replica" })
        )
      )
      assert.include(error.message, "mymaster has no replica that is up and in sync (3 are known)")
    })
  )

  it.live("learns of others, and asks them when its own are gone", () =>
    Effect.gen(function* () {
      const primary = yield* fakeServer("primary")
      const learned = yield* fakeSentinel(knowing(primary.port, { id: "b" }))
      const known = knowing(primary.port, { id: "a", others: [{ port: learned.port, id: "b" }] })
      const configured = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "primary")
        known.mute = true
        const before = yield* asked(learned)
        yield* dropped(primary)
        assert.strictEqual(yield* who, "primary")
        assert.isAbove(yield* asked(learned), before)
      })
      yield* Effect.provide(program, under([configured], {}, { timeout: 100 }))
    })
  )
})
