/**
 * A primary with replicas under Sentinels, for tests of high availability: real servers, real elections.
 *
 * The servers are a `RedisReplication`, the Sentinels are `RedisServer`s that run with `--sentinel`; each can be stopped,
 * killed, paused and asked by itself. The group is ready when every Sentinel knows the primary, all replicas and all other
 * Sentinels.
 *
 * **Example** (The primary is killed, the Sentinels elect another)
 *
 * ```ts
 * import { RedisSentinel } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const group = yield* RedisSentinel.make({ replicas: 2, downAfterMillis: 500 })
 *   yield* group.primary.kill
 *   const elected = yield* group.awaitSwitch(group.primary)
 *   return yield* elected.command(["ROLE"])
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { quoted, revealed, sharedTls } from "./internal/configurationFile.ts"
import * as RealTime from "./internal/realTime.ts"
import * as RedisReplication from "./RedisReplication.ts"
import * as RedisServer from "./RedisServer.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of the group: those of its servers and of its Sentinels. `tls` is for both, with one authority.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends RedisReplication.Options {
  /** The name under which the Sentinels know the group. Default: `mymaster`. */
  readonly group?: string | undefined
  /** The number of Sentinels. Default: 3. */
  readonly sentinels?: number | undefined
  /** The quorum: the number of Sentinels that must find the primary down. Default: the majority. */
  readonly quorum?: number | undefined
  /** The time for which the primary may be silent, in milliseconds. Default: 1 000. */
  readonly downAfterMillis?: number | undefined
  /** The time that a failover may take before another one is tried, in milliseconds. Default: 4 000. */
  readonly failoverTimeoutMillis?: number | undefined
  /** Password of the Sentinels themselves. Default: none. */
  readonly sentinelPassword?: string | Redacted.Redacted | undefined
}

/**
 * A running group under its Sentinels.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisSentinel {
  /** The name of the group. */
  readonly group: string
  readonly sentinels: ReadonlyArray<RedisServer.RedisServer>
  /** The server that the group was started around: after a switch another one is the primary. */
  readonly primary: RedisServer.RedisServer
  /** The servers that were started as replicas. */
  readonly replicas: ReadonlyArray<RedisServer.RedisServer>
  /** Waits until the replicas that run have all that was written to the primary of the start. */
  readonly synced: Effect.Effect<void, RedisServer.RedisServerError>
  /** The server that one Sentinel names as the primary; fails when the Sentinel cannot be asked. */
  readonly namedBy: (
    sentinel: RedisServer.RedisServer
  ) => Effect.Effect<RedisServer.RedisServer | undefined, RedisServer.RedisServerError>
  /** The server that a majority of all Sentinels names; waits until there is one. */
  readonly currentPrimary: Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError>
  /**
   * Waits until a majority of all Sentinels name one and the same other server than `from`, and returns it. Sentinels that
   * are down or paused count as silent. Fails with kind `start` after 30 s.
   */
  readonly awaitSwitch: (
    from: RedisServer.RedisServer
  ) => Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError>
  /**
   * A planned failover (`SENTINEL FAILOVER`, asked of the first Sentinel that takes it): returns the new primary when a
   * majority names it. The old one stays up, and goes on as an ordinary primary for some ten seconds.
   */
  readonly failover: Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError>
  /** Starts one more replica, and waits until all Sentinels that run know it. */
  readonly addReplica: Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError, Scope.Scope>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const RedisSentinel = Context.Service<RedisSentinel>("@relive/testing/RedisSentinel")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts the servers and their Sentinels, which live until the scope closes, and waits until all know one another: two to
 * three seconds, since Sentinels greet each other every two. Fails as `RedisServer.make` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<RedisSentinel, RedisServer.RedisServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const { downAfterMillis, failoverTimeoutMillis, group, quorum, sentinelPassword, sentinels, ...given } = options
    const servers = { ...given, tls: sharedTls(given.tls) }
    const replication = yield* RedisReplication.make(servers)
    const count = sentinels ?? 3
    const name = group ?? "mymaster"
    const { primary } = replication
    const watch = [
      `monitor ${name} ${primary.host} ${primary.port} ${quorum ?? majorityOf(count)}`,
      `down-after-milliseconds ${name} ${downAfterMillis ?? 1_000}`,
      `failover-timeout ${name} ${failoverTimeoutMillis ?? 4_000}`,
      ...(options.password === undefined ? [] : [`auth-pass ${name} ${quoted(revealed(options.password))}`])
    ]
    const started = yield* Effect.all(
      Array.from({ length: count }, () =>
        RedisServer.make({
          sentinel: true,
          password: sentinelPassword,
          tls: servers.tls,
          binary: options.binary,
          startTimeoutMillis: options.startTimeoutMillis,
          config: {
            sentinel: watch,
            ...(servers.tls === undefined || servers.tls === false ? {} : { "tls-replication": true })
          }
        })
      ),
      { concurrency: "unbounded" }
    )
    const watched = new Group(name, replication, started)
    yield* watched.known
    return watched
  })

/**
 * A group under Sentinels as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RedisSentinel, RedisServer.RedisServerError> =>
  Layer.effect(RedisSentinel, make(options))

// -----------------------------------------------------------------------------
// The group
// -----------------------------------------------------------------------------

const POLL_MILLIS = 10
const WAIT_MILLIS = 30_000
/** A paused Sentinel accepts connections and says nothing. */
const ASK_MILLIS = 500

const majorityOf = (count: number): number => Math.floor(count / 2) + 1

class Group implements RedisSentinel {
  readonly group: string
  readonly sentinels: ReadonlyArray<RedisServer.RedisServer>
  private readonly replication: RedisReplication.RedisReplication
  private readonly added: Array<RedisServer.RedisServer> = []

  constructor(
    group: string,
    replication: RedisReplication.RedisReplication,
    sentinels: ReadonlyArray<RedisServer.RedisServer>
  ) {
    this.group = group
    this.replication = replication
    this.sentinels = sentinels
  }

  get primary(): RedisServer.RedisServer {
    return this.replication.primary
  }

  get replicas(): ReadonlyArray<RedisServer.RedisServer> {
    return this.replication.replicas
  }

  get synced(): RedisSentinel["synced"] {
    return this.replication.synced
  }

  /** Waits until each Sentinel that runs knows all replicas and all other Sentinels. */
  readonly known: Effect.Effect<void, RedisServer.RedisServerError> = Effect.suspend(() =>
    Effect.forEach(this.sentinels, (sentinel) => this.until(`Sentinel ${sentinel.port}`, this.knows(sentinel)), {
      discard: true,
      concurrency: "unbounded"
    })
  )

  readonly namedBy: RedisSentinel["namedBy"] = (sentinel) =>
    Effect.map(sentinel.command(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.group]), (reply) => {
      const port = Array.isArray(reply) ? Number(reply[1]) : undefined
      return this.servers.find((server) => server.port === port)
    })

  readonly awaitSwitch: RedisSentinel["awaitSwitch"] = (from) =>
    this.until(
      "the Sentinels",
      Effect.map(this.named, (named) => (named === from ? undefined : named))
    )

  readonly currentPrimary: RedisSentinel["currentPrimary"] = Effect.suspend(() =>
    this.until("the Sentinels", this.named)
  )

  readonly failover: RedisSentinel["failover"] = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const from = yield* this.currentPrimary
      const ask = Effect.firstSuccessOf(
        this.sentinels.map((sentinel) => sentinel.command(["SENTINEL", "FAILOVER", this.group]))
      )
      yield* ask
      return yield* this.awaitSwitch(from)
    })
  )

  readonly addReplica: RedisSentinel["addReplica"] = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const primary = yield* this.currentPrimary
      const replica = yield* this.replication.addReplica(primary)
      this.added.push(replica)
      yield* this.known
      return replica
    })
  )

  private get servers(): ReadonlyArray<RedisServer.RedisServer> {
    return [this.primary, ...this.replicas, ...this.added]
  }

  /** The server that a majority names now. */
  private readonly named: Effect.Effect<RedisServer.RedisServer | undefined> = Effect.suspend(() =>
    Effect.map(
      Effect.forEach(
        this.sentinels,
        (sentinel) =>
          RealTime.timeoutOrElse(
            Effect.catch(this.namedBy(sentinel), () => Effect.succeed(undefined)),
            ASK_MILLIS,
            () => Effect.succeed(undefined)
          ),
        { concurrency: "unbounded" }
      ),
      (named) => {
        const needed = majorityOf(this.sentinels.length)
        return this.servers.find((server) => named.filter((other) => other === server).length >= needed)
      }
    )
  )

  private knows(sentinel: RedisServer.RedisServer): Effect.Effect<true | undefined, RedisServer.RedisServerError> {
    return Effect.gen({ self: this }, function* () {
      if ((yield* sentinel.pid) === undefined) return true
      const master = fieldsOf(yield* sentinel.command(["SENTINEL", "MASTER", this.group]))
      const replicas = Number(master.get("num-slaves"))
      const others = Number(master.get("num-other-sentinels"))
      const all = replicas >= this.servers.length - 1 && others >= this.sentinels.length - 1
      return all && master.get("flags") === "master" ? true : undefined
    })
  }

  /** Asks again and again until there is something. */
  private until<A>(
    who: string,
    ask: Effect.Effect<A | undefined, RedisServer.RedisServerError>
  ): Effect.Effect<A, RedisServer.RedisServerError> {
    const loop: Effect.Effect<A, RedisServer.RedisServerError> = Effect.flatMap(ask, (value) =>
      value === undefined ? Effect.andThen(RealTime.sleep(POLL_MILLIS), loop) : Effect.succeed(value)
    )
    return RealTime.timeoutOrElse(loop, WAIT_MILLIS, () =>
      Effect.fail(
        new RedisServer.RedisServerError({
          kind: "start",
          message: `RedisSentinel: ${who} did not come to one view of the group ${this.group} within ${WAIT_MILLIS} ms`
        })
      )
    )
  }
}

/** The flat list of names and values with which a Sentinel describes a server. */
const fieldsOf = (reply: RedisServer.Reply): ReadonlyMap<string, string> => {
  const fields = new Map<string, string>()
  if (!Array.isArray(reply)) return fields
  for (let index = 0; index + 1 < reply.length; index += 2) fields.set(String(reply[index]), String(reply[index + 1]))
  return fields
}
