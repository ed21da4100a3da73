/**
 * A cluster and its supervision.
 *
 * ```
 *   cluster (supervisor, one for one)
 *   ├─ deadlines, leases, pubsub   of the whole cluster: what waits for the map, and classic pub/sub
 *   ├─ nodes (dynamic supervisor)  one temporary child per connection of a node: the topology starts and ends them
 *   │   └─ 9f3c… (supervisor)      its deadlines, leases and pub/sub, and its connection with its own backoff
 *   ├─ topology (worker)           asks for the map, starts and ends nodes
 *   └─ router (worker)             sends on what had to wait; stopped first, it closes all nodes at once
 * ```
 *
 * @internal
 */
import * as RedisConnection from "@relive/core/RedisConnection"
import type { RedisError } from "@relive/core/RedisError"
import type * as RedisOptions from "@relive/core/RedisOptions"
import type { StatusChange } from "@relive/core/RedisService"
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as DynamicSupervisor from "@relive/otp/DynamicSupervisor"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ChildSpecOptions, Cluster, ClusterEvent, Options } from "../RedisCluster.ts"
import { addressText } from "./addresses.ts"
import { clusterName } from "./names.ts"
import type { Place } from "./node.ts"
import { resolveCluster } from "./options.ts"
import type { ResolvedCluster } from "./options.ts"
import { ClusterService } from "./service.ts"
import { ClusterState } from "./state.ts"
import { TopologyWorker } from "./topology.ts"
import { isName } from "./topologyReply.ts"
import { TypeId } from "./typeId.ts"

/** The number of changes that a slow reader may be behind. */
const KEPT_CHANGES = 64
const KEPT_EVENTS = 256

/** The name that a node's certificate is checked against. */
const serverNameOf = ({ connection, seeds, serverName }: ResolvedCluster, place: Place): string | undefined => {
  const { address, hostname, id } = place.node
  const seed = seeds.find(({ host }) => isName(host))?.host
  return (
    serverName?.({ id, hostname }) ??
    hostname ??
    (isName(address.host) ? address.host : undefined) ??
    connection.tls?.serverName ??
    seed
  )
}

/** The options that a node's connection is started from. */
const optionsOf = (options: ResolvedCluster, place: Place): RedisOptions.Resolved => {
  const { connection } = options
  const { address } = place.node
  return {
    ...connection,
    endpoint: { _tag: "Tcp", ...address },
    address: addressText(address),
    tls: connection.tls === undefined ? undefined : { ...connection.tls, serverName: serverNameOf(options, place) },
    // A replica serves reads on a connection that has said so, in every session of it.
    onConnect: place.kind === "read" ? [["READONLY"], ...connection.onConnect] : connection.onConnect
  }
}

const placeSpec =
  (state: ClusterState) =>
  (place: Place): ChildSpec.ChildSpec =>
    ChildSpec.make({
      id: place.kind === "read" ? `${place.node.id}/read` : place.node.id,
      type: "supervisor",
      restart: "temporary",
      start: Effect.gen(function* () {
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            place.running = undefined
          })
        )
        // One bound for the leases of all nodes.
        const shared = yield* RedisConnection.makeShared(optionsOf(state.options, place), {}, state.shared)
        const connection = RedisConnection.childSpec({
          id: "connection",
          shared,
          hooks: state.hooksOf(place),
          onStart: (connection, service) => state.opened(place, { connection, service, shared })
        })
        const spec = Supervisor.make({ children: [...shared.children, connection] })
        return yield* Effect.provideService(Supervisor.init(spec), Registry.Registry, yield* Registry.make())
      })
    })

const nodesSpec = (worker: TopologyWorker) =>
  ChildSpec.make({
    id: "nodes",
    type: "supervisor",
    start: Effect.gen(function* () {
      yield* Effect.addFinalizer(() => Effect.sync(() => worker.detach()))
      const started = yield* Supervisor.init(DynamicSupervisor.make())
      worker.attach(started.info)
      return started
    })
  })

const routerSpec = (state: ClusterState) =>
  ChildSpec.make({
    id: "router",
    start: Effect.succeed(
      ChildSpec.started({
        run: state.waitsAlarm.run(state.lookAtWaits),
        // Only the cluster's own supervisor can stop it by a shutdown: others' signals do not end it.
        terminate: (reason) => Effect.sync(() => (reason._tag === "Shutdown" ? state.beginClose() : undefined))
      })
    )
  })

const treeOf = (state: ClusterState) => {
  const worker = new TopologyWorker(state, placeSpec(state))
  return Supervisor.make({
    strategy: "oneForOne",
    children: [
      ...state.shared.children,
      nodesSpec(worker),
      ChildSpec.effect({ id: "topology", run: worker.run }),
      routerSpec(state)
    ]
  })
}

/** Where classic pub/sub is: at any node that is up, found again for each session. */
const anyNode = (state: () => ClusterState): RedisOptions.Resolver => ({
  label: "any node of the cluster",
  resolve: () =>
    Effect.suspend(() => {
      const up = state().ownersNow.filter((node) => node.primary.isReady)
      const node = up[Math.floor(state().random() * up.length)]
      return node === undefined
        ? Effect.fail(new Error("no node of the cluster is connected"))
        : Effect.succeed({ endpoint: { _tag: "Tcp" as const, ...node.address } })
    }),
  attach: (connection) => {
    state().roaming.add(connection)
    return () => state().roaming.delete(connection)
  }
})

/** The state, for as long as the scope is open; whatever waits is settled when it closes. */
const makeState = Effect.fnUntraced(function* (options: ResolvedCluster) {
  const random = yield* Random.Random
  const changes = yield* PubSub.sliding<StatusChange>(KEPT_CHANGES)
  const events = yield* PubSub.sliding<ClusterEvent>(KEPT_EVENTS)
  yield* Effect.addFinalizer(() => Effect.andThen(PubSub.shutdown(changes), PubSub.shutdown(events)))
  const state = new ClusterState(options, () => random.nextDoubleUnsafe(), changes, events)
  const resolver = anyNode(() => state)
  const shared = yield* RedisConnection.makeShared({ ...options.connection, resolver })
  const calls = RedisConnection.routedCalls(options.connection, shared.waiting.now, state.follows)
  state.setUp(shared, calls)
  return state
})

const clusterOf = (state: ClusterState): Cluster => {
  const service = new ClusterService(state)
  return {
    [TypeId]: TypeId,
    service: RedisConnection.observed(state.shared, service),
    status: Effect.sync(() => state.status),
    events: Stream.fromPubSub(state.events),
    topology: Effect.sync(() => state.topology ?? { shards: [], covered: 0 }),
    refresh: Effect.callback<void>((resume) => {
      state.refreshed.push(() => resume(Effect.void))
      state.trigger("asked")
    }),
    onNode: service.onNode,
    onEveryPrimary: service.everyPrimary
  }
}

/** Waits until the cluster is ready; fails with why it cannot be. */
const awaitFirst = (state: ClusterState): Effect.Effect<void, RedisError> =>
  Effect.callback<void, RedisError>((resume) => {
    state.onFirst(() => {
      const error = state.refusing ?? state.firstError
      resume(error === undefined ? Effect.void : Effect.fail(error))
    })
  })

/** A cluster as the root of a tree of its own, stopped when the scope closes. */
export const open = (input: Options): Effect.Effect<Cluster, RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const options = yield* resolveCluster(input)
    const state = yield* makeState(options)
    const registry = yield* Registry.make()
    const supervisor = yield* Supervisor.start(treeOf(state), { id: options.connection.name ?? "redis-cluster" }).pipe(
      Effect.provideService(Registry.Registry, registry),
      // Nothing of it can fail: dialling is not a part of the start.
      Effect.orDie
    )
    // A tree that has ended by itself serves nobody: what waits must not wait for ever.
    supervisor.process.addObserver(() => state.shared.close())
    if (options.connection.start === "await") yield* awaitFirst(state)
    return clusterOf(state)
  })

/** A cluster as a child of a user's supervisor. */
export const childSpec = (options: ChildSpecOptions) => {
  const { id, register, restart, shutdown, ...input } = options
  return ChildSpec.make({
    id: id ?? "redis-cluster",
    type: "supervisor",
    restart,
    shutdown,
    start: Effect.gen(function* () {
      const resolved = yield* resolveCluster(input)
      const state = yield* makeState(resolved)
      const started = yield* Supervisor.init(treeOf(state))
      if (resolved.connection.start === "await") yield* awaitFirst(state)
      const cluster = clusterOf(state)
      if (register !== undefined) {
        yield* Registry.register(register, cluster.service)
        yield* Registry.register(clusterName(register), cluster)
      }
      return ChildSpec.started<Cluster>({ ...started, info: cluster })
    })
  })
}
