/**
 * A proxy between a client and any server that makes the faults of `Fault` happen, while it runs and as often as told.
 *
 * Point the client at the proxy instead of the server. Faults are injected and healed at any time, act on existing and
 * on new connections, and add up when there are several. Each injection tells how many connections it hit, since a fault
 * that nobody felt shows nothing. The proxy uses real time only.
 *
 * Two things it cannot do: it has accepted a connection before it knows whether the server takes it, so that a server
 * that is down looks like a reset, not like a refusal (use `Fault.refuse` for that); and what is inside of TLS it can
 * delay and cut but not corrupt: there a corruption changes some byte of a record.
 *
 * **Example** (A connection is cut, and the server does not notice)
 *
 * ```ts
 * import { Fault, FaultProxy, RedisServer } from "@relive/testing"
 * import { Effect } from "effect"
 * import * as Net from "node:net"
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* RedisServer.make()
 *   const proxy = yield* FaultProxy.make(server)
 *   // After three bytes of a reply the connection is reset.
 *   const cut = yield* proxy.inject(Fault.cut({ afterBytes: 3, how: "rst" }))
 *   Net.connect(proxy.port, proxy.host).on("error", () => {}).write("SET k v\r\n")
 *   yield* cut.awaitHit
 *   return yield* server.command(["GET", "k"])
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => "v"
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Direction, Fault } from "./Fault.ts"
import type { Entry, Schedule } from "./FaultSchedule.ts"
import { Injection as ActiveInjection } from "./internal/injection.ts"
import * as Listener from "./internal/listener.ts"
import * as PeerSocket from "./internal/peerSocket.ts"
import { ProxiedConnection } from "./internal/proxiedConnection.ts"
import * as Random from "./internal/random.ts"
import * as RealTime from "./internal/realTime.ts"
import { Signal } from "./internal/signal.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Where the proxy dials: the Unix socket if there is a `path`, else the port. A `RedisServer` or `FakeServer` is one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Upstream {
  readonly host: string
  readonly port: number
  readonly path?: string | undefined
}

/**
 * The options of the proxy.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Seed of all random choices (jitter, the bytes of corruptions). Default: 1. */
  readonly seed?: number | undefined
  /** Listen on a Unix socket instead of a port. Default: false. */
  readonly unixSocket?: boolean | undefined
}

/**
 * A fault in force.
 *
 * @since 0.1.0
 * @category models
 */
export interface Injection {
  readonly fault: Fault
  /** The number of connections that felt it; 1 for a `refuse` with `closed`, where nobody can count. */
  readonly hits: Effect.Effect<number>
  /** Waits for the first hit. */
  readonly awaitHit: Effect.Effect<void>
  /** Takes the fault away; does nothing when it is gone already (because it struck as often as it may, say). */
  readonly heal: Effect.Effect<void>
}

/**
 * The number of times that each kind of fault hit a connection.
 *
 * @since 0.1.0
 * @category models
 */
export type Hits = Readonly<Record<Fault["_tag"], number>>

/**
 * A running proxy.
 *
 * @since 0.1.0
 * @category models
 */
export interface FaultProxy {
  /** Always `127.0.0.1`. */
  readonly host: string
  /** The port to dial instead of the server's; 0 for a Unix socket. */
  readonly port: number
  /** The Unix socket, if asked for. */
  readonly path?: string | undefined
  /** Puts a fault in force, for the connections there are and for those to come. */
  readonly inject: (fault: Fault) => Effect.Effect<Injection>
  /** Takes all faults away. */
  readonly healAll: Effect.Effect<void>
  /** Dials another server for the connections to come. */
  readonly redirect: (upstream: Upstream) => Effect.Effect<void>
  /**
   * Plays a schedule in real time: injects each entry at its time and heals it after its length. Ends with the last
   * entry; interrupting it heals what is in force. Gives for each entry how many connections it hit.
   */
  readonly play: (schedule: Schedule<Fault>) => Effect.Effect<ReadonlyArray<Played>>
  /** Hits of all injections so far, by kind of fault. */
  readonly hits: Effect.Effect<Hits>
  /** The number of open connections. */
  readonly connections: Effect.Effect<number>
  /** The number of connections accepted so far. */
  readonly accepted: Effect.Effect<number>
  /** The number of bytes that came in so far, by direction. */
  readonly bytes: Effect.Effect<Readonly<Record<Direction, number>>>
}

/**
 * An entry of a schedule that was played.
 *
 * @since 0.1.0
 * @category models
 */
export interface Played {
  readonly entry: Entry<Fault>
  readonly hits: number
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const FaultProxy = Context.Service<FaultProxy>("@relive/testing/FaultProxy")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts a proxy before `upstream` that lives until the scope closes. It starts without faults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (upstream: Upstream, options: Options = {}): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const listener = yield* Listener.make({ unixSocket: options.unixSocket === true })
    const proxy = new ProxyImpl(listener, upstream, Random.make(options.seed ?? 1))
    yield* Effect.addFinalizer(() => proxy.release)
    yield* listener.open
    return proxy
  })

/**
 * A proxy as a service, before a server that is one: `FaultProxy.layer(RedisServer.RedisServer)`, or a fixed address.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E = never, R = never>(
  upstream: Upstream | Effect.Effect<Upstream, E, R>,
  options: Options = {}
): Layer.Layer<FaultProxy, E, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    FaultProxy,
    Effect.flatMap(Effect.isEffect(upstream) ? upstream : Effect.succeed(upstream), (address) => make(address, options))
  )

// -----------------------------------------------------------------------------
// The proxy
// -----------------------------------------------------------------------------

class ProxyImpl implements FaultProxy {
  readonly host: string
  readonly port: number
  readonly path: string | undefined

  private readonly listener: Listener.Listener
  private readonly random: Random.Random
  private upstream: Upstream
  private injections: ReadonlyArray<ActiveInjection> = []
  private readonly live = new Map<number, ProxiedConnection>()
  private readonly closed = new Signal()
  private acceptedCount = 0
  private readonly byteCounts: Record<Direction, number> = { toServer: 0, toClient: 0 }
  private readonly hitCounts: Record<Fault["_tag"], number> = {
    Cut: 0,
    HalfClose: 0,
    Delay: 0,
    Throttle: 0,
    SlowLoris: 0,
    BlackHole: 0,
    Stall: 0,
    Refuse: 0,
    Corrupt: 0,
    Interject: 0
  }

  constructor(listener: Listener.Listener, upstream: Upstream, random: Random.Random) {
    this.listener = listener
    this.upstream = upstream
    this.random = random
    this.host = listener.host
    this.port = listener.port
    this.path = listener.path
    listener.onConnection = (socket) => this.accept(socket)
  }

  readonly inject = (fault: Fault): Effect.Effect<Injection> =>
    Effect.suspend(() => {
      const injection = new ActiveInjection(fault)
      this.injections = [...this.injections, injection]
      if (fault._tag === "Refuse" && fault.how === "closed") this.strike(injection, -1)
      this.faultsChanged()
      const handle: Injection = {
        fault,
        hits: Effect.sync(() => injection.hitCount),
        awaitHit: injection.awaitHit,
        heal: Effect.suspend(() => this.heal([injection]))
      }
      return Effect.as(this.listenAsTold, handle)
    })

  readonly healAll: Effect.Effect<void> = Effect.suspend(() => this.heal(this.injections))

  readonly redirect = (upstream: Upstream): Effect.Effect<void> =>
    Effect.sync(() => {
      this.upstream = upstream
    })

  readonly play = (schedule: Schedule<Fault>): Effect.Effect<ReadonlyArray<Played>> =>
    Effect.forEach(schedule, (entry) => this.playEntry(entry), { concurrency: "unbounded" })

  readonly hits = Effect.sync(() => ({ ...this.hitCounts }))
  readonly connections = Effect.sync(() => this.live.size)
  readonly accepted = Effect.sync(() => this.acceptedCount)
  readonly bytes = Effect.sync(() => ({ ...this.byteCounts }))

  readonly release: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(
      this.listener.close,
      Effect.suspend(() => {
        for (const connection of this.live.values()) connection.destroy()
        return this.closed.waitFor<void, never>(() => (this.live.size === 0 ? Exit.void : undefined))
      })
    )
  )

  private playEntry(entry: Entry<Fault>): Effect.Effect<Played> {
    const inForce = Effect.acquireUseRelease(
      this.inject(entry.value),
      (injection) => Effect.as(RealTime.sleep(entry.forMillis), injection),
      (injection) => injection.heal
    )
    return RealTime.sleep(entry.atMillis).pipe(
      Effect.andThen(inForce),
      Effect.flatMap((injection) => injection.hits),
      Effect.map((hits) => ({ entry, hits }))
    )
  }

  private heal(healed: ReadonlyArray<ActiveInjection>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.injections = this.injections.filter((injection) => !healed.includes(injection))
      this.faultsChanged()
      return this.listenAsTold
    })
  }

  private faultsChanged(): void {
    for (const connection of this.live.values()) connection.onChange()
  }

  /** Opens or closes the listener, as the faults of now want it. */
  private readonly listenAsTold: Effect.Effect<void> = Effect.suspend(() =>
    this.refusing("closed") === undefined ? this.listener.open : this.listener.close
  )

  private refusing(how: "closed" | "reset"): ActiveInjection | undefined {
    return this.injections.find(({ fault }) => fault._tag === "Refuse" && fault.how === how)
  }

  private accept(client: Net.Socket): void {
    const index = this.acceptedCount++
    const refusal = this.refusing("reset")
    if (refusal !== undefined) {
      client.on("error", () => {})
      PeerSocket.reset(client)
      return this.strike(refusal, index)
    }
    const connection = new ProxiedConnection(
      index,
      client,
      this.dial(),
      {
        random: this.random,
        injections: () => this.injections,
        strike: (injection) => this.strike(injection, index),
        onBytes: (direction, count) => {
          this.byteCounts[direction] += count
        }
      },
      () => {
        this.live.delete(index)
        this.closed.notify()
      }
    )
    this.live.set(index, connection)
    connection.onChange()
  }

  private dial(): Net.Socket {
    const { host, path, port } = this.upstream
    const target = path === undefined ? { host, port } : { path }
    return Net.connect({ ...target, noDelay: true, allowHalfOpen: true })
  }

  /** Counts a hit, and takes away the fault that has struck often enough. */
  private strike(injection: ActiveInjection, connection: number): void {
    if (!injection.mark(connection)) return
    this.hitCounts[injection.fault._tag]++
    if (injection.isSpent) this.injections = this.injections.filter((other) => other !== injection)
    // Later, because the lane that strikes is in the middle of it: the waiter for the hit is to find it done.
    queueMicrotask(() => injection.announce())
  }
}
