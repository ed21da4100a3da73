/**
 * Keyspace notifications of a cluster: each node tells those of its own keys alone, so they are listened to at every primary.
 * A primary that joins is listened to as well; what it told before is missing, and a `Gap` says so.
 *
 * @internal
 */
import type { RedisError } from "@relive/core/RedisError"
import type { Event, Name, Wanted } from "@relive/core/RedisPubSub"
import type { Service } from "@relive/core/RedisService"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ClusterNode } from "./node.ts"
import { Patience } from "./patience.ts"
import type { ClusterState } from "./state.ts"

type Any = Event<string | Uint8Array, Name>

/** The interval between two looks for primaries, in milliseconds. */
const LOOK_MILLIS = 50

const prefix = /^__key(?:space|event)@/

/** Whether these are channels that nodes tell each for itself. */
export const isKeyspace = ({ kind, names }: Wanted): boolean =>
  kind !== "shard" &&
  Array.isArray(names) &&
  names.length > 0 &&
  names.every((name) => prefix.test(typeof name === "string" ? name : Buffer.from(name).toString("latin1")))

/** The events of all nodes together, so that they are one subscription. */
class Together {
  private readonly names: ReadonlyArray<Name>
  private missing = 0
  private readonly patience: Patience
  private wasSubscribed = false
  private inGap = false

  constructor(names: ReadonlyArray<Name>, patience: Patience) {
    this.names = names
    this.patience = patience
  }

  /** A node is listened to from now on, once it says so. */
  joined(since: number): ReadonlyArray<Any> {
    this.missing++
    return this.gap(since, undefined)
  }

  /** A node that was subscribed to is no primary any more, or is lost. */
  left(wasIn: boolean, since: number): ReadonlyArray<Any> {
    if (!wasIn) this.missing--
    return [...this.gap(since, undefined), ...this.whole()]
  }

  /** An event of a node, and whether that node is subscribed to now. */
  told(event: Any): ReadonlyArray<Any> {
    switch (event._tag) {
      case "Subscribed":
      case "Resubscribed":
        this.missing--
        return this.whole()
      case "Gap":
        if (event.reason !== "disconnected") return [event]
        this.missing++
        return this.gap(event.since, event.cause)
      case "Message":
        return [event]
    }
  }

  private gap(since: number, cause: RedisError | undefined): ReadonlyArray<Any> {
    if (!this.wasSubscribed || this.inGap) return []
    this.inGap = true
    return [{ _tag: "Gap", reason: "disconnected", since, dropped: undefined, cause }]
  }

  private whole(): ReadonlyArray<Any> {
    if (this.missing > 0 || (this.wasSubscribed && !this.inGap)) return []
    const _tag = this.wasSubscribed ? "Resubscribed" : "Subscribed"
    this.wasSubscribed = true
    this.patience.confirmed()
    this.inGap = false
    return [{ _tag, channels: this.names }]
  }
}

/**
 * The events of these channels at every primary. `at` subscribes to them at one; all together have `timeout` milliseconds for the
 * first confirmation.
 */
export const everywhere = (
  state: ClusterState,
  wanted: Wanted,
  timeout: number,
  at: (service: Service, patience: Patience) => Stream.Stream<Any, RedisError>
): Stream.Stream<Any, RedisError> =>
  Stream.suspend(() => {
    const patience = new Patience(state, timeout)
    const together = new Together(wanted.names, patience)
    const followed = new Map<ClusterNode, Service>()

    /** One node's, until it is no primary any more. */
    const following = (node: ClusterNode, service: Service): Stream.Stream<ReadonlyArray<Any>, RedisError> => {
      let isIn = false
      const stays = (): boolean =>
        state.ownersNow.includes(node) && node.primary.running?.service === service && !state.closing
      const leaves: Effect.Effect<void> = Effect.suspend(() =>
        stays() ? Effect.andThen(Effect.sleep(LOOK_MILLIS), leaves) : Effect.void
      )
      const joined = Effect.map(Clock.currentTimeMillis, (since) => together.joined(since))
      const left = Effect.map(Clock.currentTimeMillis, (since) => {
        followed.delete(node)
        return together.left(isIn, since)
      })
      const told = at(service, patience).pipe(
        Stream.map((event) => {
          if (event._tag === "Subscribed" || event._tag === "Resubscribed") isIn = true
          if (event._tag === "Gap" && event.reason === "disconnected") isIn = false
          return together.told(event)
        }),
        Stream.interruptWhen(leaves),
        // A node whose connections have ended is looked for again.
        Stream.catch((error: RedisError) => (stays() || state.closing ? Stream.fail(error) : Stream.empty))
      )
      return Stream.concat(Stream.concat(Stream.fromEffect(joined), told), Stream.fromEffect(left))
    }

    /** The primaries that are not listened to yet, as they come. */
    const next: Effect.Effect<ReadonlyArray<readonly [ClusterNode, Service]>, RedisError> = Effect.suspend(() => {
      const fresh: Array<readonly [ClusterNode, Service]> = []
      for (const node of state.ownersNow) {
        const service = node.primary.running?.service
        if (service === undefined || followed.has(node)) continue
        followed.set(node, service)
        fresh.push([node, service])
      }
      if (fresh.length === 0 && patience.isLate) return Effect.fail(patience.error("PSUBSCRIBE"))
      return fresh.length > 0 || state.closing ? Effect.succeed(fresh) : Effect.andThen(Effect.sleep(LOOK_MILLIS), next)
    })

    return Stream.paginate(undefined, () =>
      Effect.map(next, (fresh) => [fresh, state.closing ? Option.none() : Option.some(undefined)] as const)
    ).pipe(
      Stream.flatMap(([node, service]) => following(node, service), { concurrency: "unbounded" }),
      Stream.flatMap((events) => Stream.fromIterable(events))
    )
  })
