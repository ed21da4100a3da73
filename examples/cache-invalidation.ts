/**
 * A cache in the memory of each process, told by pub/sub what to forget.
 *
 * For what is read very often and may be old for the time that a message takes. Whoever changes an entry says so on a channel, and
 * each process forgets it. The question is what is true while nobody tells: a message that was lost would leave an old entry for
 * ever. So the cache is used only while its subscription is whole. At a `Gap` everything is forgotten, and until the server has
 * confirmed the subscription again all reads go to the source. A load that was under way when its entry was changed, or at a gap, is
 * given to its callers and not kept. A connection that died without a word is noticed within two `healthCheckInterval`s: that is how
 * old an entry can be then.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/cache-invalidation.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Redis, RedisLive, type RedisPubSub } from "@relive/core"
import { Console, Deferred, Effect, Stream } from "effect"

const channel = "example:changed"

/** The cache of one process. It remembers nothing while it is not told of changes. */
class Memory<A> {
  private readonly entries = new Map<string, A>()
  /** Changes of each key that were told since its load began; a load keeps nothing that was changed meanwhile. */
  private version = 0
  whole = false

  get(key: string): A | undefined {
    return this.whole ? this.entries.get(key) : undefined
  }

  /** To be called before a load; what it returns keeps the result. */
  begin(key: string): (value: A) => void {
    const { version } = this
    return (value) => {
      if (this.whole && version === this.version) this.entries.set(key, value)
    }
  }

  forget(key: string): void {
    this.version++
    this.entries.delete(key)
  }

  told(event: RedisPubSub.Event): void {
    switch (event._tag) {
      case "Message":
        return this.forget(event.payload)
      case "Gap":
        this.version++
        this.entries.clear()
        this.whole = event.reason === "overflow"
        return
      case "Subscribed":
      case "Resubscribed":
        this.whole = true
    }
  }
}

/** A cache in front of `load`, for as long as the scope is open. It works from its first moment, from the source if need be. */
export const makeCache = Effect.fnUntraced(function* <A, E, R>(load: (key: string) => Effect.Effect<A, E, R>) {
  const memory = new Memory<A>()
  const whole = yield* Deferred.make<void>()
  yield* Redis.subscribe(channel).pipe(
    Stream.runForEach((event) =>
      Effect.andThen(
        Effect.sync(() => memory.told(event)),
        event._tag === "Subscribed" ? Deferred.succeed(whole, undefined) : Effect.void
      )
    ),
    // Without a subscription nothing is remembered, and reads go on.
    Effect.onError((cause) =>
      Effect.andThen(
        Effect.sync(() => (memory.whole = false)),
        Effect.logError(cause)
      )
    ),
    Effect.forkScoped
  )
  return {
    awaitWhole: Deferred.await(whole),
    get: (key: string) =>
      Effect.suspend(() => {
        const known = memory.get(key)
        if (known !== undefined) return Effect.succeed(known)
        const keep = memory.begin(key)
        return Effect.tap(load(key), (value) => Effect.sync(() => keep(value)))
      })
  }
})

/** To be called after the source was changed. It may be told twice: that only forgets once more. */
export const changed = (key: string) => Redis.publish(channel, key, { retry: { for: "any" } })

export const program = Effect.scoped(
  Effect.gen(function* () {
    let loads = 0
    const source = new Map([["colour", "red"]])
    const cache = yield* makeCache((key) =>
      Effect.sync(() => {
        loads++
        return source.get(key) ?? "none"
      })
    )
    yield* cache.awaitWhole
    yield* cache.get("colour")
    const cached = yield* cache.get("colour")
    source.set("colour", "blue")
    yield* changed("colour")
    // The message is on its way.
    const fresh = yield* Effect.repeat(cache.get("colour"), { until: (colour) => colour === "blue" })
    return { cached, fresh, loads }
  })
)

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
