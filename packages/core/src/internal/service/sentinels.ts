/**
 * The supervision of a group's Sentinels, beside the connections that it serves.
 *
 * ```
 *   sentinels (supervisor, oneForAll)
 *   ├─ nodes (dynamic supervisor)
 *   │   └─ sentinel host:26379 (supervisor, one for each)
 *   │       ├─ asking   the connection on which it is asked, and what that needs
 *   │       ├─ look     worker: looks at what it knows as soon as it can be asked
 *   │       ├─ events…  what a subscription needs, and its connection
 *   │       └─ watch    worker: reads the events
 *   ├─ roster (worker: starts what is needed for Sentinels that the others name)
 *   └─ prefer (worker, where replicas are preferred: looks for one while there is none)
 * ```
 *
 * @internal
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as DynamicSupervisor from "@relive/otp/DynamicSupervisor"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ChildOptions, RedisConnection, Shared } from "../../RedisConnection.ts"
import type { Resolved, SentinelNode } from "../../RedisOptions.ts"
import type { Subscribe } from "../../RedisPubSub.ts"
import { addressOf } from "../options/url.ts"
import { channels, optionsOf, SentinelGroup } from "../sentinel/group.ts"
import { serverGroupOf } from "./shared.ts"

/** How a connection to a Sentinel is made: as every other. */
interface Makers {
  readonly makeShared: (options: Resolved) => Effect.Effect<Shared, never, Scope.Scope>
  readonly memberSpec: (options: ChildOptions) => ChildSpec.ChildSpec<RedisConnection, Registry.Registry>
}

/** How often a replica is looked for while there is none, and one is preferred. */
const RECONSIDER_MILLIS = 3_000

/** How long until a Sentinel's events are subscribed to again, after it has refused. */
const WATCH_AGAIN_MILLIS = 1000

/** Reads the events of one Sentinel, and looks at what it knows whenever some may have been missed. */
const watchSpec = (group: SentinelGroup, node: SentinelNode, subscribe: Subscribe) =>
  ChildSpec.effect({
    id: "watch",
    backoff: Schedule.spaced(WATCH_AGAIN_MILLIS),
    logEnds: false,
    run: Stream.runForEach(subscribe({ kind: "channel", names: channels }, { timeout: "infinite" }), (event) =>
      event._tag === "Message"
        ? group.told(node, event.channel, event.payload)
        : event._tag === "Gap"
          ? Effect.void
          : group.look(node)
    )
  })

const nodeSpec = (group: SentinelGroup, options: Resolved, node: SentinelNode, { makeShared, memberSpec }: Makers) =>
  ChildSpec.make({
    id: `sentinel ${addressOf(node.endpoint)}`,
    type: "supervisor",
    start: Effect.gen(function* () {
      const asked = yield* makeShared(optionsOf(options, group.options, node, "asked"))
      const heard = yield* makeShared(optionsOf(options, group.options, node, "heard"))
      const ready = yield* Queue.sliding<void>(1)
      const asking = memberSpec({
        id: "asking",
        shared: asked,
        hooks: {
          onChange: (_, { state }) => {
            if (state === "ready") Queue.offerUnsafe(ready, undefined)
            else if (state === "backoff" || state === "failed") group.roster.missed(node)
          },
          dialDelayMillis: () => group.dialDelayMillis
        },
        onStart: (connection, service) => group.attachNode(node, connection, service)
      })
      const look = ChildSpec.effect({
        id: "look",
        run: Effect.forever(Effect.andThen(Queue.take(ready), group.look(node)))
      })
      const children = [
        ...asked.children,
        look,
        asking,
        // The same kinds of children once more, under names of their own.
        ...heard.children.map((child) => ({ ...child, id: `events: ${child.id}` })),
        watchSpec(group, node, serverGroupOf(heard).subscribe)
      ]
      // Its names are nobody else's.
      const registry = yield* Registry.make()
      return yield* Effect.provideService(Supervisor.init(Supervisor.make({ children })), Registry.Registry, registry)
    })
  })

const sentinelsSpec = (group: SentinelGroup, options: Resolved, makers: Makers) => {
  let nodes: Supervisor.SupervisorRef | undefined
  const start = (node: SentinelNode) =>
    Effect.suspend(() => nodes?.startChild(nodeSpec(group, options, node, makers)) ?? Effect.void)
  const nodesSpec = ChildSpec.make({
    id: "nodes",
    type: "supervisor",
    start: Effect.map(Supervisor.init(DynamicSupervisor.make()), (started) => {
      nodes = started.info
      return started
    })
  })
  const rosterSpec = ChildSpec.make({
    id: "roster",
    // Those that are known are there before anything is dialled.
    start: Effect.as(
      Effect.forEach(group.roster.order, start, { discard: true }),
      ChildSpec.started({ run: Effect.forever(Effect.flatMap(Queue.take(group.learned), start)) })
    )
  })
  const preferSpec = ChildSpec.effect({
    id: "prefer",
    run: Effect.forever(Effect.andThen(Effect.sleep(RECONSIDER_MILLIS), group.reconsider))
  })
  const children = [nodesSpec, rosterSpec, ...(group.options.role === "preferReplica" ? [preferSpec] : [])]
  return ChildSpec.make({
    id: "sentinels",
    type: "supervisor",
    start: Supervisor.init(Supervisor.make({ strategy: "oneForAll", children }))
  })
}

/** With the option `sentinel`: the options with what finds the server, and the children that this takes. */
export const withSentinels = (
  options: Resolved,
  makers: Makers
): Effect.Effect<{
  readonly options: Resolved
  readonly children: ReadonlyArray<ChildSpec.ChildSpec<unknown, Registry.Registry>>
}> =>
  Effect.gen(function* () {
    const { sentinel } = options
    if (sentinel === undefined) return { options, children: [] }
    const random = yield* Random.Random
    const learned = yield* Queue.unbounded<SentinelNode>()
    const group = new SentinelGroup(sentinel, learned, () => random.nextDoubleUnsafe())
    return { options: { ...options, resolver: group }, children: [sentinelsSpec(group, options, makers)] }
  })
