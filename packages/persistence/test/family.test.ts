/** Caches, limiters and breakers of Effect on Relive; the last two beside NodeRedis, on one server. */
import { RedisPersistence } from "@relive/persistence"
import { RedisServer } from "@relive/testing"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { CircuitBreaker, Persistable, PersistedCache, Persistence, RateLimiter } from "effect/persistence"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { ask, connected, server, withServer } from "./support.ts"

class NoUser extends Schema.TaggedError<NoUser>()("NoUser", {}) {}

class GetUser extends Persistable.Class<{ payload: { readonly id: number } }>()("GetUser", {
  primaryKey: ({ id }) => `user ${id}`,
  success: Schema.Struct({ name: Schema.String, since: Schema.Date }),
  error: NoUser
}) {}

const backings = {
  theirs: Layer.provide(Layer.provide(Persistence.layer, Persistence.layerBackingRedis), RedisPersistence.layer),
  ours: RedisPersistence.layerPersistence
}

const userOf = (id: number) => ({ name: `user ${id}`, since: new Date(0) })

for (const [kind, backing] of Object.entries(backings)) {
  const live = Layer.provideMerge(backing, withServer())

  describe(`a cache on the store: ${kind}`, () => {
    it.live("PS-08 is shared, keeps failures too, and forgets by its time", () =>
      Effect.gen(function* () {
        let lookups = 0
        const make = PersistedCache.make(
          (request: GetUser) => {
            lookups++
            return request.id === 0 ? Effect.fail(new NoUser()) : Effect.succeed(userOf(request.id))
          },
          { storeId: "users:50%", timeToLive: () => "1 minute" }
        )
        const [one, other] = [yield* make, yield* make]
        assert.deepStrictEqual(yield* one.get(new GetUser({ id: 1 })), userOf(1))
        assert.deepStrictEqual(yield* other.get(new GetUser({ id: 1 })), userOf(1))
        assert.strictEqual((yield* Effect.flip(one.get(new GetUser({ id: 0 }))))._tag, "NoUser")
        assert.strictEqual((yield* Effect.flip(other.get(new GetUser({ id: 0 }))))._tag, "NoUser")
        assert.strictEqual(lookups, 2)
        const keys = yield* ask("KEYS", "*")
        assert.ok(Array.isArray(keys))
        assert.deepStrictEqual([...keys].sort(), ["users%3A50%25:user 0", "users%3A50%25:user 1"])
        const left = Number(yield* ask("PTTL", "users%3A50%25:user 1"))
        assert.ok(left > 50_000 && left <= 60_000)
        yield* one.invalidate(new GetUser({ id: 1 }))
        const third = yield* make
        yield* third.get(new GetUser({ id: 1 }))
        assert.strictEqual(lookups, 3)
      }).pipe(Effect.scoped, Effect.provide(live))
    )

    it.live("PS-08 gives many in their order, and clears its own alone", () =>
      Effect.gen(function* () {
        const { make } = yield* Persistence.Persistence
        const store = yield* make({ storeId: "s", timeToLive: () => 1.5 })
        const lasting = yield* make({ storeId: "t*" })
        const near = yield* make({ storeId: "t2" })
        const [a, b, c] = [1, 2, 3].map((id) => new GetUser({ id }))
        assert.ok(a !== undefined && b !== undefined && c !== undefined)
        yield* store.set(a, Exit.succeed(userOf(1)))
        yield* ask("PTTL", "s:user 1")
        yield* Effect.sleep("5 millis")
        assert.strictEqual(yield* store.get(a), undefined)
        yield* lasting.setMany([
          [a, Exit.succeed(userOf(1))],
          [c, Exit.fail(new NoUser())]
        ])
        yield* ask("SET", "t*:user 2", "no JSON")
        yield* near.set(a, Exit.succeed(userOf(7)))
        const many = yield* lasting.getMany([c, b, a])
        assert.strictEqual(many[1], undefined)
        assert.deepStrictEqual(many[2], Exit.succeed(userOf(1)))
        assert.ok(many[0] !== undefined && Exit.isFailure(many[0]))
        yield* store.clear
        yield* lasting.clear
        assert.strictEqual(yield* lasting.get(a), undefined)
        assert.deepStrictEqual(yield* near.get(a), Exit.succeed(userOf(7)))
      }).pipe(Effect.scoped, Effect.provide(live))
    )
  })
}

describe("the store: ours", () => {
  it.live("PS-08 clears 120 000 keys, and others are answered meanwhile", () =>
    Effect.gen(function* () {
      const fill = "for i = 1, 120000 do redis.call('SET', 'big:' .. i, i) end"
      yield* ask("EVAL", fill, "0")
      yield* ask("SET", "bigger:1", "kept")
      const store = yield* (yield* Persistence.Persistence).make({ storeId: "big" })
      yield* store.clear
      assert.strictEqual(yield* ask("DBSIZE"), 1)
      const stats = String(yield* ask("INFO", "commandstats"))
      assert.notMatch(stats, /cmdstat_keys/)
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(backings.ours, withServer())))
  )

  it.live("sends a time to live of 1.5 ms as 2", () =>
    Effect.gen(function* () {
      const { make } = yield* Persistence.BackingPersistence
      const store = yield* make("s")
      yield* ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
      yield* store.set("k", { a: 1 }, Duration.millis(1.5))
      const log = JSON.stringify(yield* ask("SLOWLOG", "GET", "10"))
      assert.ok(log.includes('"SET","s:k","{\\"a\\":1}","PX","2"'), log)
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(RedisPersistence.layerBacking, withServer())))
  )

  it.live("PS-22 says what failed without the key or the value", () =>
    Effect.gen(function* () {
      const { make } = yield* Persistence.BackingPersistence
      const store = yield* make("s")
      yield* ask("SET", "s:secret", "secret, no JSON")
      const broken = yield* Effect.flip(store.get("secret"))
      yield* ask("DEL", "s:secret")
      yield* ask("LPUSH", "s:secret", "secret")
      const wrong = yield* Effect.flip(store.get("secret"))
      const many = yield* Effect.flip(store.getMany(["secret"]))
      for (const error of [broken, wrong, many]) {
        assert.notMatch(`${String(error)} ${JSON.stringify(error)} ${String(error.cause)}`, /secret/)
      }
      assert.strictEqual(RedisPersistence.findError(many)?.reason._tag, "ReplyError")
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(RedisPersistence.layerBacking, withServer())))
  )
})

// ---------------------------------------------------------------------------------------------------------------- limits

const millis = (duration: Duration.Duration) => Math.round(Duration.toMillis(duration))

const limited = (key: string, algorithm: "fixed-window" | "token-bucket", onExceeded: "fail" | "delay") =>
  Effect.flatMap(RateLimiter.RateLimiter, (limiter) =>
    Effect.match(limiter.consume({ key, algorithm, onExceeded, limit: 3, window: "900 millis" }), {
      onSuccess: ({ delay, remaining, resetAfter }) => ({
        remaining,
        delay: millis(delay),
        resetAfter: millis(resetAfter)
      }),
      onFailure: ({ reason }) =>
        reason._tag === "RateLimitExceeded"
          ? { retryAfter: millis(reason.retryAfter), remaining: reason.remaining }
          : { unexpected: 1 }
    })
  )

/** What is done, and after how many milliseconds without anything. */
interface Step<A, R> {
  readonly after: number
  readonly run: Effect.Effect<A, never, R>
}

const step = <A, R>(run: Effect.Effect<A, never, R>, after = 0): Step<A, R> => ({ after, run })

/** Five calls, a pause, one more. */
const limiterSteps = (key: string, algorithm: "fixed-window" | "token-bucket", onExceeded: "fail" | "delay") => {
  const call = limited(key, algorithm, onExceeded)
  return [step(call), step(call), step(call), step(call), step(call), step(call, 1200)]
}

const adaptiveSteps = (key: string) => {
  let epoch = 0
  const look = Effect.flatMap(RateLimiter.RateLimiter, (limiter) =>
    Effect.map(
      Effect.orDie(
        limiter.adaptiveConsume({ key, tokens: 1, fallbackLimit: 10, fallbackWindow: Duration.millis(500) })
      ),
      (result) => {
        epoch = result.epoch
        return [result.phase, { delay: millis(result.delay), epoch }] as const
      }
    )
  )
  const feedback = (status: number, retryAfter?: Duration.Duration, age = 0) =>
    Effect.flatMap(RateLimiter.RateLimiter, (limiter) =>
      Effect.as(
        Effect.orDie(limiter.adaptiveFeedback({ key, epoch: epoch - age, tokens: 1, status, retryAfter })),
        undefined
      )
    )
  return [
    step(look),
    step(feedback(429, Duration.millis(300))),
    step(look),
    step(feedback(429, Duration.seconds(100), 1)),
    step(look, 400),
    step(feedback(200)),
    step(look),
    step(feedback(429, Duration.millis(200))),
    step(look),
    step(look, 400)
  ]
}

const breakerSteps = (key: string) => {
  const outcome = <A>(effect: Effect.Effect<A, string>) =>
    Effect.flatMap(CircuitBreaker.CircuitBreaker, (breaker) =>
      Effect.match(breaker.execute(effect, { key }), {
        onSuccess: (value) => String(value),
        onFailure: (error) => (typeof error === "string" ? error : error.reason._tag)
      })
    )
  const probe = Effect.forkDetach(outcome(Effect.delay(Effect.succeed("probe"), "200 millis")), {
    startImmediately: true
  })
  return [
    step(outcome(Effect.fail("one"))),
    step(outcome(Effect.fail("two"))),
    step(outcome(Effect.succeed("not let through"))),
    step(Effect.as(probe, "probing"), 500),
    step(outcome(Effect.succeed("beside the probe")), 60),
    step(outcome(Effect.succeed("closed")), 400)
  ]
}

const family = Layer.mergeAll(
  Layer.provide(RateLimiter.layer, RateLimiter.layerStoreRedis()),
  Layer.provide(
    CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(2), openDuration: "400 millis" }),
    CircuitBreaker.layerStoreRedis({ probeLease: "5 seconds" })
  )
)

const onRelive = Layer.provide(family, Layer.provide(RedisPersistence.layer, connected()))
const onNodeRedis = Layer.provide(family, Layer.unwrap(Effect.map(server, ({ url }) => NodeRedis.layer({ url }))))

type Family = RateLimiter.RateLimiter | CircuitBreaker.CircuitBreaker

/** Does each step on both, one right after the other, so that a slow machine is slow for both. */
const onBoth = <A>(steps: (key: string) => ReadonlyArray<Step<A, Family>>) =>
  Effect.gen(function* () {
    const [relive, nodeRedis] = [yield* Layer.build(onRelive), yield* Layer.build(onNodeRedis)]
    const warm = Effect.ignore(limited("warm", "fixed-window", "fail"))
    yield* Effect.provide(warm, relive)
    yield* Effect.provide(warm, nodeRedis)
    const [ours, theirs] = [steps("ours"), steps("theirs")]
    const results: Array<readonly [ours: A, theirs: A]> = []
    for (const [index, { after, run }] of ours.entries()) {
      yield* Effect.sleep(after)
      const other = theirs[index]
      assert.isDefined(other)
      results.push([yield* Effect.provide(run, relive), yield* Effect.provide(other.run, nodeRedis)])
    }
    return results
  }).pipe(Effect.scoped)

const assertNear = (ours: Record<string, number>, theirs: Record<string, number>, line: number) => {
  assert.deepStrictEqual(Object.keys(ours), Object.keys(theirs), `line ${line}`)
  for (const [name, value] of Object.entries(ours)) {
    assert.approximately(value, theirs[name] ?? NaN, 100, `${name} of line ${line}`)
  }
}

describe("beside NodeRedis, on one server", () => {
  for (const algorithm of ["fixed-window", "token-bucket"] as const) {
    for (const onExceeded of ["fail", "delay"] as const) {
      it.live(`PS-09 ${algorithm} that ${onExceeded}s limits alike`, () =>
        Effect.gen(function* () {
          const lines = yield* onBoth<Record<string, number>>((key) => limiterSteps(key, algorithm, onExceeded))
          assert.strictEqual(lines.length, 6)
          for (const [line, [ours, theirs]] of lines.entries()) assertNear(ours, theirs, line)
        }).pipe(Effect.provide(RedisServer.layer()))
      )
    }
  }

  it.live("PS-10 the adaptive limit learns alike", () =>
    Effect.gen(function* () {
      const lines = yield* onBoth(adaptiveSteps)
      const phases: Array<string> = []
      for (const [line, [ours, theirs]] of lines.entries()) {
        if (ours === undefined || theirs === undefined) continue
        phases.push(ours[0])
        assert.strictEqual(ours[0], theirs[0], `line ${line}`)
        assertNear(ours[1], theirs[1], line)
      }
      assert.deepStrictEqual(phases.slice(0, 3), ["inactive", "cooldown", "learning"])
      assert.ok(phases.includes("learned"), phases.join())
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("PS-11 the breaker opens, probes and closes alike", () =>
    Effect.gen(function* () {
      const lines = yield* onBoth<string>(breakerSteps)
      assert.deepStrictEqual(
        lines.map(([ours]) => ours),
        ["one", "two", "CircuitOpen", "probing", "CircuitHalfOpen", "closed"]
      )
      for (const [ours, theirs] of lines) assert.strictEqual(theirs, ours)
    }).pipe(Effect.provide(RedisServer.layer()))
  )
})

describe("a breaker", () => {
  it.live("PS-11 frees a probe whose process is gone", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const execute = (effect: Effect.Effect<string, string>) =>
        Effect.flatMap(CircuitBreaker.CircuitBreaker, (breaker) => breaker.execute(effect, { key: "k" }))
      yield* Effect.exit(execute(Effect.fail("one")))
      yield* Effect.exit(execute(Effect.fail("two")))
      yield* Effect.sleep("250 millis")
      // Another process takes the probe and dies with it: its connection is closed under it.
      const elsewhere = yield* Layer.buildWithScope(Layer.fresh(breaker), scope)
      yield* Effect.forkChild(Effect.provide(execute(Effect.never), elsewhere), { startImmediately: true })
      yield* Effect.sleep("100 millis")
      const held = yield* Effect.flip(execute(Effect.succeed("x")))
      assert.ok(typeof held !== "string" && held.reason._tag === "CircuitHalfOpen")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Effect.retry(execute(Effect.succeed("freed")), { times: 400, schedule }), "freed")
    }).pipe(Effect.provide(Layer.provideMerge(breaker, RedisServer.layer())))
  )
})

const breaker = Layer.provide(
  CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(2), openDuration: "200 millis" }),
  Layer.provide(
    CircuitBreaker.layerStoreRedis({ probeLease: "500 millis" }),
    Layer.provide(RedisPersistence.layer, connected())
  )
)
const schedule = Schedule.spaced("20 millis")
