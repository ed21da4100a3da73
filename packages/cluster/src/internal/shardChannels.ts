/**
 * Pub/sub of a cluster. Channels and patterns are told to all nodes, so one connection to any of them serves them. A sharded
 * channel belongs to a slot: it is subscribed to at the slot's primary, and again at the next one when the slot moves or its
 * node is lost. In between there is a `Gap`.
 *
 * @internal
 */
import { ClusterError, RedisError } from "@relive/core/RedisError"
import type { Event, Name, Subscribe, SubscribeOptions, Wanted } from "@relive/core/RedisPubSub"
import type { Service } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { everywhere, isKeyspace } from "./keyspaceEvents.ts"
import type { ClusterNode } from "./node.ts"
import { Patience } from "./patience.ts"
import { slotOf } from "./slots.ts"
import type { ClusterState } from "./state.ts"

/** The interval between two looks for another owner of a slot, in milliseconds. */
const LOOK_MILLIS = 50

type Any = Event<string | Uint8Array, Name>

/** The state of one slot's subscription, kept from one owner to the next. */
interface Memory {
  wasSubscribed: boolean
  inGap: boolean
  hops: number
}

export const subscribeTo = (state: ClusterState): Subscribe => {
  const subscribe = (wanted: Wanted, options?: SubscribeOptions): Stream.Stream<Any, RedisError> => {
    const timeout = state.calls.timeoutMillis({ timeout: options?.timeout })
    if (typeof timeout !== "number") return Stream.fail(timeout)
    if (isKeyspace(wanted)) {
      return everywhere(state, wanted, timeout, (service, patience) =>
        serviceStream(service, wanted, patience.at(options))
      )
    }
    if (wanted.kind !== "shard" || !Array.isArray(wanted.names) || wanted.names.length === 0) {
      return sharedStream(state, wanted, options)
    }
    const bySlot = new Map<number, Array<Name>>()
    for (const name of wanted.names) {
      const slot = slotOf(name)
      const names = bySlot.get(slot) ?? []
      names.push(name)
      bySlot.set(slot, names)
    }
    const streams = [...bySlot].map(([slot, names]) => slotStream(state, slot, names, options, timeout))
    const [first] = streams
    return streams.length === 1 && first !== undefined ? first : together(streams, wanted.names)
  }
  return subscribe as Subscribe
}

const sharedStream = (
  state: ClusterState,
  wanted: Wanted,
  options: SubscribeOptions | undefined
): Stream.Stream<Any, RedisError> =>
  options?.decode === "bytes"
    ? state.shared.subscribe(wanted, { ...options, decode: "bytes" })
    : state.shared.subscribe(wanted, options)

const serviceStream = (
  service: Service,
  wanted: Wanted,
  options: SubscribeOptions | undefined
): Stream.Stream<Any, RedisError> =>
  options?.decode === "bytes"
    ? service.subscribe(wanted, { ...options, decode: "bytes" })
    : service.subscribe(wanted, options)

const closed = (): RedisError =>
  new RedisError({
    reason: new ClusterError({
      kind: "down",
      delivery: "unsent",
      slot: -1,
      hops: 0,
      command: "SSUBSCRIBE",
      detail: "the cluster's client was closed"
    })
  })

/** The owner of a slot, as soon as it can be subscribed at. */
const ownerOf = (
  state: ClusterState,
  slot: number,
  patience: Patience
): Effect.Effect<{ readonly node: ClusterNode; readonly service: Service }, RedisError> =>
  Effect.suspend(() => {
    if (state.closing) return Effect.fail(closed())
    if (state.refusing !== undefined && state.topology === undefined) return Effect.fail(state.refusing)
    const node = state.table.ownerOf(slot)
    const service = node?.primary.running?.service
    if (node !== undefined && service !== undefined) return Effect.succeed({ node, service })
    if (patience.isLate) return Effect.fail(patience.error("SSUBSCRIBE"))
    return Effect.andThen(Effect.sleep(LOOK_MILLIS), ownerOf(state, slot, patience))
  })

/** Ends when the slot has another owner, or its owner another connection. */
const leaves = (state: ClusterState, slot: number, node: ClusterNode, service: Service): Effect.Effect<void> =>
  Effect.suspend(() => {
    const stays = state.table.ownerOf(slot) === node && node.primary.running?.service === service
    return stays && !state.closing
      ? Effect.andThen(Effect.sleep(LOOK_MILLIS), leaves(state, slot, node, service))
      : Effect.void
  })

/** The channels of one slot, over all its owners. */
const slotStream = (
  state: ClusterState,
  slot: number,
  names: ReadonlyArray<Name>,
  options: SubscribeOptions | undefined,
  timeout: number
): Stream.Stream<Any, RedisError> =>
  Stream.suspend(() => {
    const patience = new Patience(state, timeout)
    const memory: Memory = { wasSubscribed: false, inGap: false, hops: 0 }
    const note = (event: Any): Any => {
      if (event._tag === "Gap" && event.reason === "disconnected") memory.inGap = true
      if (event._tag !== "Subscribed" && event._tag !== "Resubscribed") return event
      const isFirst = !memory.wasSubscribed
      memory.wasSubscribed = true
      patience.confirmed()
      memory.inGap = false
      memory.hops = 0
      return isFirst ? event : { ...event, _tag: "Resubscribed" }
    }
    /** The event between two owners. */
    const gap = (cause: RedisError | undefined): Stream.Stream<Any> =>
      Stream.unwrap(
        Effect.map(Clock.currentTimeMillis, (since) => {
          if (!memory.wasSubscribed || memory.inGap) return Stream.empty
          memory.inGap = true
          return Stream.make<[Any]>({ _tag: "Gap", reason: "disconnected", since, dropped: undefined, cause })
        })
      )
    const next = (cause: RedisError | undefined, wait: number): Stream.Stream<Any, RedisError> =>
      Stream.concat(
        gap(cause),
        Stream.unwrap(
          Effect.delay(
            Effect.sync(() => attempt()),
            wait
          )
        )
      )
    const attempt = (): Stream.Stream<Any, RedisError> =>
      Stream.unwrap(
        Effect.map(ownerOf(state, slot, patience), ({ node, service }) =>
          serviceStream(service, { kind: "shard", names }, patience.at(options)).pipe(
            Stream.map(note),
            Stream.interruptWhen(leaves(state, slot, node, service)),
            Stream.concat(Stream.suspend(() => (state.closing ? Stream.fail(closed()) : next(undefined, 0)))),
            Stream.catch((error: RedisError) => again(error, node))
          )
        )
      )
    const again = (error: RedisError, node: ClusterNode): Stream.Stream<Any, RedisError> => {
      if (state.closing) return Stream.fail(error)
      const { reason } = error
      if (reason instanceof Resp.ReplyError) {
        const refusal = state.refusalOf(reason, "SSUBSCRIBE", slot, node)
        if (refusal === undefined) return Stream.fail(error)
        const way = state.follow(refusal, node, slot, ++memory.hops)
        return next(error, Math.max(way.wait, 1))
      }
      // The node's connections were ended, since it has left or moved: the next owner has the slot.
      const isGone = reason._tag === "ConnectionError" && (reason.kind === "shutdown" || reason.kind === "closed")
      return isGone ? next(error, LOOK_MILLIS) : Stream.fail(error)
    }
    return attempt()
  })

/** Several slots as one stream: the first event is that all of them are subscribed to. */
const together = (
  streams: ReadonlyArray<Stream.Stream<Any, RedisError>>,
  names: ReadonlyArray<Name>
): Stream.Stream<Any, RedisError> =>
  Stream.suspend(() => {
    let missing = streams.length
    const early: Array<Any> = []
    return Stream.mergeAll(streams, { concurrency: "unbounded" }).pipe(
      Stream.map((event): ReadonlyArray<Any> => {
        if (event._tag === "Subscribed") {
          missing--
          return missing === 0 ? [{ ...event, channels: names }, ...early.splice(0)] : []
        }
        if (missing === 0) return [event]
        early.push(event)
        return []
      }),
      Stream.flatMap((events) => Stream.fromIterable(events))
    )
  })
