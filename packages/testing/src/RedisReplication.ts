/**
 * A primary with replicas, for tests of reads from replicas, of `READONLY` errors and of failovers.
 *
 * All servers are `RedisServer`s of their own, with all that one can do to them. The replicas are in sync when the group
 * is ready. For automatic failover put Sentinels beside it; `failover` here is what an operator does by hand.
 *
 * **Example** (The primary dies, a replica takes over)
 *
 * ```ts
 * import { RedisReplication } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const group = yield* RedisReplication.make({ replicas: 1 })
 *   yield* group.primary.command(["SET", "k", "v"])
 *   yield* group.synced
 *   yield* group.primary.kill
 *   const promoted = yield* group.failover(0)
 *   return yield* promoted.command(["GET", "k"])
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => "v"
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { quoted, revealed, sharedTls } from "./internal/configurationFile.ts"
import * as RealTime from "./internal/realTime.ts"
import * as RedisServer from "./RedisServer.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of the group: those of each of its servers, and how many replicas there are (default 1). With
 * `tls` all of them share one authority, and replicate over TLS too.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<RedisServer.Options, "sentinel"> {
  readonly replicas?: number | undefined
}

/**
 * A running group.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisReplication {
  /** The server that the group was started around. After a failover it is another one: see `currentPrimary`. */
  readonly primary: RedisServer.RedisServer
  /** The servers that were started as replicas. */
  readonly replicas: ReadonlyArray<RedisServer.RedisServer>
  /** The server that is the primary now. */
  readonly currentPrimary: Effect.Effect<RedisServer.RedisServer>
  /**
   * Waits until each replica that runs is connected to the current primary and has all that was written before. Fails
   * with kind `start` after 10 s.
   */
  readonly synced: Effect.Effect<void, RedisServer.RedisServerError>
  /**
   * Makes the replica with this index the primary, and lets the others that run follow it, the old primary too. One that
   * is down keeps its old role: call `follow` for it once it is up. The roles outlive restarts.
   */
  readonly failover: (replica: number) => Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError>
  /** Lets a server follow the current primary, forgetting what it had. */
  readonly follow: (server: RedisServer.RedisServer) => Effect.Effect<void, RedisServer.RedisServerError>
  /** Starts one more replica of `of`, with the options of the group; it lives until the scope closes. */
  readonly addReplica: (
    of: RedisServer.RedisServer
  ) => Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError, Scope.Scope>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const RedisReplication = Context.Service<RedisReplication>("@relive/testing/RedisReplication")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts a primary and its replicas, which live until the scope closes, and waits until they are in sync. Fails as
 * `RedisServer.make` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<RedisReplication, RedisServer.RedisServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const { replicas: count = 1, ...serverOptions } = options
    const shared = { ...serverOptions, tls: sharedTls(serverOptions.tls) }
    const primary = yield* RedisServer.make(withDirectives(shared, {}))
    const addReplica = (of: RedisServer.RedisServer) =>
      RedisServer.make(withDirectives(shared, { replicaof: `${of.host} ${of.port}` }))
    const replicas = yield* Effect.all(
      Array.from({ length: count }, () => addReplica(primary)),
      { concurrency: "unbounded" }
    )
    const group = new Group(primary, replicas, addReplica)
    yield* group.synced
    return group
  })

/**
 * A group as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RedisReplication, RedisServer.RedisServerError> =>
  Layer.effect(RedisReplication, make(options))

// -----------------------------------------------------------------------------
// The group
// -----------------------------------------------------------------------------

const withDirectives = (options: RedisServer.Options, more: RedisServer.Directives): RedisServer.Options => {
  const password = options.password === undefined ? {} : { masterauth: quoted(revealed(options.password)) }
  // No waiting for more replicas to begin with, and pings often enough to notice a dead link in a test.
  const fast = { "repl-diskless-sync": true, "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1 }
  const tls = options.tls === undefined || options.tls === false ? {} : { "tls-replication": true }
  return { ...options, config: { ...fast, ...password, ...tls, ...more, ...options.config } }
}

const POLL_MILLIS = 10
const SYNC_MILLIS = 10_000

class Group implements RedisReplication {
  readonly primary: RedisServer.RedisServer
  readonly replicas: ReadonlyArray<RedisServer.RedisServer>
  readonly addReplica: RedisReplication["addReplica"]
  private current: RedisServer.RedisServer

  constructor(
    primary: RedisServer.RedisServer,
    replicas: ReadonlyArray<RedisServer.RedisServer>,
    addReplica: RedisReplication["addReplica"]
  ) {
    this.primary = primary
    this.replicas = replicas
    this.addReplica = addReplica
    this.current = primary
  }

  readonly currentPrimary = Effect.sync(() => this.current)

  readonly synced: Effect.Effect<void, RedisServer.RedisServerError> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const target = replicationOffset(yield* replicationInfo(this.current))
      const followers = yield* this.runningFollowers
      const all = Effect.forEach(followers, (replica) => this.awaitOffset(replica, target), { discard: true })
      return yield* RealTime.timeoutOrElse(all, SYNC_MILLIS, () =>
        Effect.fail(
          new RedisServer.RedisServerError({
            kind: "start",
            message: `RedisReplication: the replicas of port ${this.current.port} are not in sync after ${SYNC_MILLIS} ms`
          })
        )
      )
    })
  )

  readonly failover = (index: number): Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError> =>
    Effect.gen({ self: this }, function* () {
      const promoted = this.replicas[index]
      if (promoted === undefined) return yield* Effect.die(new Error(`RedisReplication: there is no replica ${index}`))
      yield* setRole(promoted, ["NO", "ONE"])
      this.current = promoted
      const followers = yield* this.runningFollowers
      yield* Effect.forEach(followers, this.follow, { discard: true })
      return promoted
    })

  readonly follow = (server: RedisServer.RedisServer): Effect.Effect<void, RedisServer.RedisServerError> =>
    Effect.suspend(() => setRole(server, [this.current.host, this.current.port]))

  private readonly runningFollowers = Effect.suspend(() =>
    Effect.filter(
      [this.primary, ...this.replicas].filter((server) => server !== this.current),
      (server) => Effect.map(server.pid, (pid) => pid !== undefined)
    )
  )

  private awaitOffset(
    replica: RedisServer.RedisServer,
    target: number
  ): Effect.Effect<void, RedisServer.RedisServerError> {
    const ask: Effect.Effect<void, RedisServer.RedisServerError> = Effect.flatMap(replicationInfo(replica), (info) => {
      const follows = info.get("master_port") === String(this.current.port) && info.get("master_link_status") === "up"
      const offset = Number(info.get("slave_repl_offset") ?? -1)
      return follows && offset >= target ? Effect.void : Effect.andThen(RealTime.sleep(POLL_MILLIS), ask)
    })
    return ask
  }
}

/** The role is written to the configuration file, so that a restart keeps it. */
const setRole = (
  server: RedisServer.RedisServer,
  role: ReadonlyArray<RedisServer.Argument>
): Effect.Effect<void, RedisServer.RedisServerError> =>
  Effect.asVoid(
    server.commands([
      ["REPLICAOF", ...role],
      ["CONFIG", "REWRITE"]
    ])
  )

const replicationInfo = (
  server: RedisServer.RedisServer
): Effect.Effect<ReadonlyMap<string, string>, RedisServer.RedisServerError> =>
  Effect.map(server.command(["INFO", "replication"]), (text) => {
    const lines = String(text)
      .split("\r\n")
      .filter((line) => line.includes(":"))
    return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]))
  })

const replicationOffset = (info: ReadonlyMap<string, string>): number => Number(info.get("master_repl_offset") ?? 0)
