/** Persisted queues: Effect's own store on Relive, and the woken one; each case for both, on real servers. */
import { Redis } from "@relive/core"
import { RedisPersistedQueue, RedisPersistence } from "@relive/persistence"
import { RedisServer } from "@relive/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import { toMillis } from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { PersistedQueue } from "effect/persistence"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { ask, awaitBlocked, clients, connected, server, withServer } from "./support.ts"

const soon = { retrySchedule: Schedule.spaced("50 millis") } as const

const stores = {
  theirs: (options: RedisPersistedQueue.Options) =>
    Layer.provideMerge(
      Layer.provideMerge(
        PersistedQueue.layer,
        PersistedQueue.layerStoreRedis({ pollInterval: "50 millis", ...options })
      ),
      RedisPersistence.layer
    ),
  woken: (options: RedisPersistedQueue.Options) =>
    Layer.provideMerge(PersistedQueue.layer, RedisPersistedQueue.layerStore(options))
}

const text = (name: string, options: { readonly maxAttempts?: number } = {}) =>
  PersistedQueue.make({ name, schema: Schema.String, ...soon, ...options })

for (const [kind, store] of Object.entries(stores)) {
  const live = (options: RedisPersistedQueue.Options = {}) => Layer.provideMerge(store(options), withServer())

  describe(`a queue on the store: ${kind}`, () => {
    it.live("PS-01 gives back what was offered, through its schema", () =>
      Effect.gen(function* () {
        const queue = yield* PersistedQueue.make({ name: "q", schema: Schema.Struct({ n: Schema.BigInt }) })
        const id = yield* queue.offer({ n: 2n ** 70n })
        yield* queue.take((value, metadata) =>
          Effect.sync(() => {
            assert.deepStrictEqual(value, { n: 2n ** 70n })
            assert.deepStrictEqual(metadata, { id, attempts: 1 })
          })
        )
        assert.strictEqual(yield* ask("HLEN", "effectq:q:pending"), 0)
      }).pipe(Effect.provide(live()))
    )

    it.live("PS-02 gives the element of an interrupted handler to the next taker, as the same attempt", () =>
      Effect.gen(function* () {
        const queue = yield* text("q")
        yield* queue.offer("x")
        const begun = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(
          queue.take(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(first)
        assert.strictEqual(yield* queue.take((_value, { attempts }) => Effect.succeed(attempts)), 1)
      }).pipe(Effect.provide(live()))
    )

    it.live("PS-03 tries again after the schedule, and keeps what failed for good, with why", () =>
      Effect.gen(function* () {
        const queue = yield* text("q", { maxAttempts: 2 })
        yield* queue.offer("x", { id: "the-id" })
        const fail = queue.take((_value, { attempts }) => Effect.fail(`attempt ${attempts}`))
        assert.strictEqual(yield* Effect.flip(fail), "attempt 1")
        const [time, error] = yield* Effect.timed(Effect.flip(fail))
        assert.strictEqual(error, "attempt 2")
        assert.isAtLeast(toMillis(time), 40)
        const failed = yield* ask("LRANGE", "effectq:q:failed", "0", "-1")
        assert.ok(Array.isArray(failed) && failed.length === 1)
        const record = JSON.parse(String(failed[0]))
        assert.deepInclude(record, { id: "the-id", element: "x", attempts: 2 })
        assert.match(record.lastFailure, /attempt 2/)
        assert.strictEqual(Object.keys(record).pop(), "failedAt")
        assert.strictEqual(yield* ask("HLEN", "effectq:q:pending"), 0)
        assert.strictEqual(yield* ask("ZSCORE", "effectq:q:ids", "the-id"), "inf")
      }).pipe(Effect.provide(live()))
    )

    it.live("PS-04 delivers an id once in a queue, also when it is offered again after its completion", () =>
      Effect.gen(function* () {
        const [one, other] = [yield* text("one"), yield* text("other")]
        yield* one.offer("first", { id: "i" })
        yield* one.offer("second", { id: "i", delay: "10 millis" })
        yield* other.offer("another", { id: "i" })
        const value = (value: string) => Effect.succeed(value)
        assert.strictEqual(yield* one.take(value), "first")
        assert.strictEqual(yield* other.take(value), "another")
        yield* one.offer("third", { id: "i" })
        assert.strictEqual(yield* Effect.timeoutOrElse(one.take(value), none), "none")
      }).pipe(Effect.provide(live()))
    )

    it.live("PS-05 lets nobody else have an element while its handler runs, over the recovery of others", () =>
      Effect.gen(function* () {
        const queue = yield* text("q")
        yield* queue.offer("x")
        const value = (value: string) => Effect.succeed(value)
        const begun = yield* Deferred.make<void>()
        const slow = yield* Effect.forkChild(
          queue.take((value) =>
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.delay(Effect.succeed(value), "1 second"))
          )
        )
        yield* Deferred.await(begun)
        assert.strictEqual(yield* Effect.timeoutOrElse(queue.take(value), { ...none, duration: "700 millis" }), "none")
        assert.strictEqual(yield* Fiber.join(slow), "x")
        assert.strictEqual(yield* Effect.timeoutOrElse(queue.take(value), none), "none")
      }).pipe(Effect.provide(live({ lockExpiration: "200 millis", lockRefreshInterval: "50 millis" })))
    )

    it.live("PS-06 puts what does not decode aside, and takes the next", () =>
      Effect.gen(function* () {
        yield* (yield* text("q")).offer("no number")
        const numbers = yield* PersistedQueue.make({ name: "q", schema: Schema.Number })
        yield* numbers.offer(42)
        assert.strictEqual(yield* numbers.take((value) => Effect.succeed(value)), 42)
        assert.strictEqual(yield* ask("LLEN", "effectq:q:failed"), 1)
      }).pipe(Effect.provide(live()))
    )

    it.live("gives an element to another process when its taker is gone", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        // A process that dies: its store is closed, and nothing of it settles its claim.
        yield* ask("RPUSH", "effectq:q", '{"id":"i","element":"x"}')
        yield* ask("HSET", "effectq:q:pending", "j", '{"id":"j","element":"y"}')
        yield* ask("HSET", "effectq:q:owners", "j", "effectq:lock:gone:1")
        yield* ask("HSET", "effectq:q:attempts", "j", "1")
        yield* ask("HSET", "effectq:q:pending", "k", '{"id":"k","element":"z"}')
        yield* ask("HSET", "effectq:q:attempts", "k", "7")
        const queue = yield* text("q", { maxAttempts: 7 })
        const taken = yield* Effect.forEach([1, 2], () =>
          queue.take((value, { attempts }) => Effect.succeed(`${value}${attempts}`))
        )
        assert.deepStrictEqual(taken.sort(), ["x1", "y2"])
        const record = JSON.parse(String(yield* ask("LINDEX", "effectq:q:failed", "0")))
        assert.deepInclude(record, { id: "k", element: "z", attempts: 7 })
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.provide(live()))
    )

    it.live("delivers what is put off when its time has come, not before", () =>
      Effect.gen(function* () {
        const queue = yield* text("q")
        const taken = yield* Effect.forkChild(Effect.timed(queue.take((value) => Effect.succeed(value))), {
          startImmediately: true
        })
        yield* queue.offer("later", { delay: "300 millis" })
        const [time, value] = yield* Fiber.join(taken)
        assert.strictEqual(value, "later")
        assert.isAtLeast(toMillis(time), 299)
        assert.isBelow(toMillis(time), 900)
      }).pipe(Effect.provide(live()))
    )

    it.live("forgets what was completed and what failed when their times are over, not before", () =>
      Effect.gen(function* () {
        const queue = yield* text("q", { maxAttempts: 1 })
        const store = yield* PersistedQueue.PersistedQueueStore
        yield* queue.offer("done", { id: "done" })
        yield* queue.take(() => Effect.void)
        yield* queue.offer("dead", { id: "dead" })
        yield* Effect.exit(queue.take(() => Effect.fail("dead")))
        yield* store.cleanup({ timeToLive: hour, failedTimeToLive: hour })
        assert.deepStrictEqual(yield* ask("ZCARD", "effectq:q:ids"), 2)
        yield* Effect.sleep("5 millis")
        yield* store.cleanup({ timeToLive: zero, failedTimeToLive: undefined })
        assert.deepStrictEqual(yield* ask("ZRANGE", "effectq:q:ids", "0", "-1"), ["dead"])
        yield* store.cleanup({ timeToLive: zero, failedTimeToLive: zero })
        assert.deepStrictEqual(yield* ask("EXISTS", "effectq:q:ids", "effectq:q:failed"), 0)
      }).pipe(Effect.provide(live()))
    )
  })
}

describe("the woken store", () => {
  const live = (options: RedisPersistedQueue.Options = {}) => Layer.provideMerge(stores.woken(options), withServer())

  it.live("takes at once what another process offers, without asking for it", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const queue = yield* text("q")
      const elsewhere = yield* Layer.build(Layer.provide(stores.theirs({}), Redis.layer({ url })))
      const offered = yield* Effect.provide(text("q"), elsewhere)
      for (let i = 0; i < 5; i++) {
        const taken = yield* Effect.forkChild(
          queue.take((value) => Effect.succeed(value)),
          { startImmediately: true }
        )
        yield* awaitBlocked(1)
        const before = yield* scripts
        yield* Effect.sleep("100 millis")
        assert.strictEqual(yield* scripts, before)
        const [time] = yield* Effect.timed(Effect.andThen(offered.offer(`${i}`), Fiber.join(taken)))
        assert.isBelow(toMillis(time), 400)
      }
    }).pipe(Effect.scoped, Effect.provide(live({ pollInterval: "1 minute" })))
  )

  it.live("waits once for all takers of a queue, and serves them in their order", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      const takers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.forkChild(
          queue.take((value) => Effect.succeed(value)),
          { startImmediately: true }
        )
      )
      yield* awaitBlocked(1)
      for (let i = 0; i < 20; i++) yield* queue.offer(`${i}`)
      const values = yield* Effect.forEach(takers, Fiber.join)
      assert.deepStrictEqual(
        values,
        Array.from({ length: 20 }, (_, i) => `${i}`)
      )
    }).pipe(Effect.provide(live({ pollInterval: "1 minute" })))
  )

  it.live("leaves nothing blocked, and takes nothing, when nobody waits any more", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      const taker = yield* Effect.forkChild(
        queue.take(() => Effect.void),
        { startImmediately: true }
      )
      yield* awaitBlocked(1)
      yield* Fiber.interrupt(taker)
      yield* awaitBlocked(0)
      yield* queue.offer("x")
      assert.strictEqual(yield* ask("LLEN", "effectq:q"), 1)
      assert.strictEqual(yield* queue.take((value) => Effect.succeed(value)), "x")
    }).pipe(Effect.provide(live({ pollInterval: "1 minute" })))
  )

  it.live("loses nothing when takers are interrupted in whatever moment", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      const seen = new Set<string>()
      const worker = queue.take((value) => Effect.sync(() => seen.add(value)))
      const interrupted = Effect.forEach(
        Array.from({ length: 400 }, (_, i) => i),
        (i) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(worker, { startImmediately: true })
            for (let turn = 0; turn < i % 23; turn++) yield* Effect.yieldNow
            yield* Fiber.interrupt(fiber)
          }),
        { concurrency: 4, discard: true }
      )
      const offers = Effect.forEach(Array.from({ length: 200 }), (_, i) => queue.offer(`${i}`), { discard: true })
      yield* Effect.all([interrupted, offers], { concurrency: 2 })
      while (seen.size < 200) yield* worker
      assert.strictEqual(yield* ask("HLEN", "effectq:q:pending"), 0)
      assert.strictEqual(yield* ask("LLEN", "effectq:q"), 0)
      assert.deepStrictEqual(yield* ask("KEYS", "effectq:lock:*"), [])
    }).pipe(Effect.provide(live()))
  )

  it.live("goes on after the server was away, and fails who waits when the connection is closed for good", () =>
    Effect.gen(function* () {
      const { kill, start } = yield* server
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.provideMerge(stores.woken({}), connected({ backoffCap: "100 millis" })),
        scope
      )
      const queue = yield* Effect.provide(text("q"), context)
      const taker = yield* Effect.forkChild(
        queue.take((value) => Effect.succeed(value)),
        { startImmediately: true }
      )
      yield* awaitBlocked(1)
      yield* kill
      yield* start
      yield* Effect.retry(queue.offer("x"), { times: 50 })
      assert.strictEqual(yield* Fiber.join(taker), "x")
      const last = yield* Effect.forkChild(
        queue.take((value) => Effect.succeed(value)),
        { startImmediately: true }
      )
      yield* awaitBlocked(1)
      yield* Scope.close(scope, Exit.void)
      const exit = yield* Fiber.await(last)
      assert.ok(Exit.isFailure(exit) && String(Cause.squash(exit.cause)).includes("PersistedQueueError"))
      assert.match(String(yield* Effect.flip(queue.take(() => Effect.void))), /closed/)
      yield* Effect.repeat(clients, { until: (clients) => clients.length === 0 })
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("puts aside what is no element at all", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      yield* ask("RPUSH", "effectq:q", "rubbish", '{"id":"a\\"b\\\\","element":', '{"id":"é","element":"good"}')
      assert.deepStrictEqual(yield* queue.take((value, { id }) => Effect.succeed([value, id])), ["good", "é"])
      assert.strictEqual(yield* ask("LINDEX", "effectq:q:failed", "0"), "rubbish")
      const record = JSON.parse(String(yield* ask("LINDEX", "effectq:q:failed", "1")))
      assert.deepInclude(record, { id: 'a"b\\', attempts: 1 })
    }).pipe(Effect.provide(live()))
  )

  it.live("asks from time to time where the server does not know BLMOVE", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      const taker = yield* Effect.forkChild(
        queue.take((value) => Effect.succeed(value)),
        { startImmediately: true }
      )
      yield* Effect.sleep("50 millis")
      yield* queue.offer("x")
      assert.strictEqual(yield* Fiber.join(taker), "x")
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          stores.woken({ pollInterval: "100 millis" }),
          withServer({}, { config: { "rename-command": 'BLMOVE ""' } })
        )
      )
    )
  )

  it.live("PS-07 loses nothing that was acknowledged, and delivers nothing twice, while connections are killed", () =>
    Effect.gen(function* () {
      const queue = yield* text("q")
      const acknowledged = new Set<string>()
      const delivered: Array<string> = []
      const unknown = new Set<string>()
      const killing = yield* Effect.forkChild(
        Effect.forever(Effect.delay(Effect.ignore(ask("CLIENT", "KILL", "TYPE", "normal")), "250 millis"))
      )
      const workers = yield* Effect.forEach(Array.from({ length: 8 }), () =>
        Effect.forkChild(
          Effect.forever(
            queue.take((value) =>
              Effect.andThen(
                Effect.sleep("5 millis"),
                Effect.sync(() => delivered.push(value))
              )
            )
          )
        )
      )
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, i) => `${i}`),
        (value) =>
          Effect.matchEffect(Effect.delay(queue.offer(value), "8 millis"), {
            onSuccess: () => Effect.sync(() => acknowledged.add(value)),
            onFailure: (error) =>
              Effect.sync(() => {
                const ours = RedisPersistence.findError(error)
                assert.ok(ours?.delivery === "unknown" || ours?.delivery === "unsent", String(error))
                unknown.add(value)
              })
          })
      )
      yield* Fiber.interrupt(killing)
      // What was taken by a worker whose reply was lost comes back when its lock has expired.
      yield* Effect.repeat(Effect.sleep("20 millis"), {
        until: () => [...acknowledged].every((value) => delivered.includes(value))
      }).pipe(Effect.timeout("10 seconds"))
      yield* Effect.forEach(workers, Fiber.interrupt)
      assert.strictEqual(new Set(delivered).size, delivered.length)
      assert.isBelow(unknown.size, 30)
      for (const value of delivered) assert.ok(acknowledged.has(value) || unknown.has(value))
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          stores.woken({ lockExpiration: "2 seconds", lockRefreshInterval: "500 millis" }),
          withServer({ backoffCap: "100 millis" })
        )
      )
    )
  )
})

const none = { duration: "400 millis", orElse: () => Effect.succeed("none") } as const
const hour = Duration.hours(1)
const zero = Duration.zero

/** The number of scripts that the server has run. */
const scripts = Effect.map(ask("INFO", "commandstats"), (stats) =>
  Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(stats))?.[1] ?? 0)
)
