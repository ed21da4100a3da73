/** The pool on a group under real Sentinels: all of its members go where the group goes. */
import { assert, layer } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { RedisPool } from "@relive/pool"
import { RedisSentinel } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { submit } from "./support.ts"

const group = RedisSentinel.RedisSentinel

const SIZE = 4
const WRITERS = 8
/** A write that is acknowledged more than this after the Sentinels agreed must be there. */
const LATE_MILLIS = 250

const pooled = ({ group, sentinels }: RedisSentinel.RedisSentinel, role: RedisOptions.Sentinel["role"] = "primary") =>
  RedisPool.layer({
    size: SIZE,
    start: "await",
    sentinel: { sentinels: sentinels.map(({ host, port }) => ({ host, port })), group, role }
  })

const places = Effect.map(RedisPool.status, ({ members }) =>
  members.map(({ address, state }) => (state === "ready" ? address : state))
)

/** Waits until all members are ready at these addresses: looks after each event of the pool. */
const awaitPlaces = (...addresses: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const areThere = Effect.map(places, (all) => all.every((place) => addresses.includes(place)))
      const coming = yield* Effect.forkScoped(
        RedisPool.events.pipe(
          Stream.mapEffect(() => areThere),
          Stream.filter((there) => there),
          Stream.take(1),
          Stream.runDrain
        ),
        { startImmediately: true }
      )
      if (!(yield* areThere)) yield* Fiber.join(coming)
    })
  )

const addressOf = ({ host, port }: { readonly host: string; readonly port: number }) => `${host}:${port}`

const roleOf = Effect.map(Redis.command(["ROLE"]), (reply) => (Array.isArray(reply) ? reply[0] : undefined))

layer(RedisSentinel.layer({ replicas: 2, downAfterMillis: 300 }), {
  timeout: "30 seconds",
  excludeTestServices: true
})("a pool under Sentinels", (it) => {
  it.effect(
    "all members and a blocked worker switch in a failover: no wrong reply, nothing twice, nothing lost late",
    () =>
      Effect.gen(function* () {
        const its = yield* group
        const acknowledged: Array<{ readonly id: string; readonly at: number }> = []
        const wrong: Array<unknown> = []
        const state = { isOver: false }
        const writer = (index: number) =>
          Effect.gen(function* () {
            for (let n = 0; !state.isOver; n++) {
              const id = `${index}-${n}`
              const [pushed, echoed] = yield* Effect.all(
                [
                  Effect.exit(Redis.command(["RPUSH", `writes:${index}`, id])),
                  Effect.exit(Redis.command(["ECHO", id]))
                ],
                { concurrency: 2 }
              )
              if (Exit.isSuccess(pushed)) {
                acknowledged.push({ id, at: yield* Clock.currentTimeMillis })
                if (typeof pushed.value !== "number") wrong.push(pushed.value)
              }
              if (!Exit.isSuccess(echoed) || echoed.value !== id) wrong.push(echoed)
            }
          })
        const program = Effect.gen(function* () {
          const writers = yield* Effect.forEach(Array.from({ length: WRITERS }), (_, index) => submit(writer(index)))
          const leases = yield* submit(
            Effect.forEach(
              Array.from({ length: 100 }),
              (_, index) => Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["ECHO", index]))),
              { concurrency: "unbounded" }
            )
          )
          const elected = yield* its.failover
          const agreed = yield* Clock.currentTimeMillis
          yield* awaitPlaces(addressOf(elected))
          assert.isBelow((yield* Clock.currentTimeMillis) - agreed, 2_000)
          const worker = yield* submit(Redis.command(["BLPOP", "jobs", 0]))
          yield* Redis.command(["RPUSH", "jobs", "one"])
          assert.deepStrictEqual(yield* Fiber.join(worker), ["jobs", "one"])
          yield* Effect.sleep(2 * LATE_MILLIS)
          state.isOver = true
          for (const one of writers) yield* Fiber.join(one)
          const echoed = yield* Fiber.join(leases)
          assert.deepStrictEqual(
            echoed,
            echoed.map((_, index) => String(index))
          )
          const stored: Array<string> = []
          for (let index = 0; index < WRITERS; index++) {
            const values = yield* elected.command(["LRANGE", `writes:${index}`, 0, -1])
            if (Array.isArray(values)) stored.push(...values.map(String))
          }
          const has = new Set(stored)
          assert.deepStrictEqual(wrong, [])
          assert.strictEqual(has.size, stored.length)
          const late = acknowledged.filter(({ at }) => at > agreed + LATE_MILLIS)
          assert.isAbove(late.length, 0)
          assert.deepStrictEqual(
            late.filter(({ id }) => !has.has(id)),
            []
          )
        })
        yield* Effect.provide(program, pooled(its))
      })
  )

  it.effect("members that prefer replicas leave the one that dies, and come back to one that is there again", () =>
    Effect.gen(function* () {
      const its = yield* group
      const primary = yield* its.currentPrimary
      const replicas = [its.primary, ...its.replicas].filter((server) => server !== primary)
      // The one that was the primary before follows some seconds later.
      for (const replica of replicas) yield* replica.command(["REPLICAOF", primary.host, primary.port])
      const [stays, goes] = replicas
      assert.ok(stays !== undefined && goes !== undefined)
      const reads = Redis.command(["ECHO", "x"])
      const program = Effect.gen(function* () {
        yield* awaitPlaces(...replicas.map(addressOf))
        assert.strictEqual(yield* roleOf, "slave")
        yield* goes.kill
        yield* awaitPlaces(addressOf(stays))
        assert.strictEqual(yield* reads, "x")
        yield* stays.kill
        yield* awaitPlaces(addressOf(primary))
        assert.strictEqual(yield* reads, "x")
        yield* stays.start
        yield* stays.command(["REPLICAOF", primary.host, primary.port])
        yield* awaitPlaces(addressOf(stays))
        assert.strictEqual(yield* roleOf, "slave")
      })
      yield* Effect.provide(program, pooled(its, "preferReplica"))
    })
  )
})
