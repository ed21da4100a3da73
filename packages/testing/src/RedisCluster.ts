/**
 * A real Redis Cluster, for tests of clients: primaries and replicas on loopback, and all that can be done to them. Slots
 * can be moved, with their keys, in one step or step by step; nodes fail over, die, are paused, join and leave.
 *
 * Every node is a `RedisServer` of its own, so what is known of one (`kill`, `pause`, `command`) holds here too.
 *
 * **Example** (A slot moves)
 *
 * ```ts
 * import { RedisCluster } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const cluster = yield* RedisCluster.make()
 *   const owner = yield* cluster.ownerOf(866)
 *   const other = cluster.nodes.find((node) => node !== owner) ?? owner
 *   yield* cluster.migrate(866, other)
 *   return (yield* cluster.ownerOf(866)) === other
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => true
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { quoted, revealed, sharedTls } from "./internal/configurationFile.ts"
import * as Ports from "./internal/ports.ts"
import * as RealTime from "./internal/realTime.ts"
import * as RedisServer from "./RedisServer.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of the cluster: those of each of its servers, and
 *
 * - `primaries`: how many primaries, which share the slots evenly; default 3
 * - `replicas`: how many replicas each of them has; default 0
 * - `nodeTimeoutMillis`: how long a node may be silent before the others call it failed; default 2 000
 * - `hostnames`: announce names such as `node-1.redis.test` (under which they are certified, and cannot be looked up); with
 *   `"preferred"` the nodes tell them in place of addresses. Default: none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<RedisServer.Options, "sentinel" | "unixSocket"> {
  readonly primaries?: number | undefined
  readonly replicas?: number | undefined
  readonly nodeTimeoutMillis?: number | undefined
  readonly hostnames?: "announced" | "preferred" | undefined
}

/**
 * A node: its server and its id in the cluster. `name` is A, B, … for primaries, and A1, A2, … for their replicas, as they
 * were at the start.
 *
 * @since 0.1.0
 * @category models
 */
export interface Node {
  readonly name: string
  readonly id: string
  readonly server: RedisServer.RedisServer
}

/**
 * A slot that is on its way: its keys can be moved in steps.
 *
 * @since 0.1.0
 * @category models
 */
export interface Migration {
  readonly slot: number
  readonly from: Node
  readonly to: Node
  /** Moves at most so many keys, all when not said. Returns how many were moved. */
  readonly moveKeys: (count?: number) => Effect.Effect<number, RedisServer.RedisServerError>
  /** Moves the rest and gives the slot to its new owner, at all nodes that run. */
  readonly finish: Effect.Effect<void, RedisServer.RedisServerError>
}

/**
 * A running cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisCluster {
  /** All nodes that were started and have not left, primaries first. */
  readonly nodes: ReadonlyArray<Node>
  /** The URLs of all nodes. They hold the password, if there is one. */
  readonly urls: ReadonlyArray<string>
  /** Certificates for a client, if TLS was asked for. */
  readonly tls: RedisServer.TlsFiles | undefined
  /** The node with this name. Dies when there is none. */
  readonly node: (name: string) => Node
  /** The nodes that are primaries with slots now, as the first node that runs sees it. */
  readonly primaries: Effect.Effect<ReadonlyArray<Node>, RedisServer.RedisServerError>
  /** The primary that has a slot now. */
  readonly ownerOf: (slot: number) => Effect.Effect<Node, RedisServer.RedisServerError>
  /** Waits until every node that runs says that the cluster is up and all its slots are served. Fails after 20 s. */
  readonly awaitUp: Effect.Effect<void, RedisServer.RedisServerError>
  /** Opens a slot at its owner and at `to`: from then on keys that are not there are asked for at `to`. */
  readonly beginMigration: (slot: number, to: Node) => Effect.Effect<Migration, RedisServer.RedisServerError>
  /** Moves a slot with its keys. Only one migration ends at a time: servers do not survive two. */
  readonly migrate: (slot: number, to: Node) => Effect.Effect<void, RedisServer.RedisServerError>
  /** Makes a replica the primary of its shard, in agreement with the old one, and waits until it is. */
  readonly failover: (replica: Node) => Effect.Effect<void, RedisServer.RedisServerError>
  /** Waits until one of the other nodes has taken over from `dead`, and returns it. Fails after 20 s. */
  readonly awaitSuccessor: (dead: Node) => Effect.Effect<Node, RedisServer.RedisServerError>
  /** Starts another node and lets it join: an empty primary, or a replica of `of`. */
  readonly grow: (of?: Node) => Effect.Effect<Node, RedisServer.RedisServerError>
  /** Moves a node's slots to the other primaries, lets the others forget it, and stops it. */
  readonly shrink: (node: Node) => Effect.Effect<void, RedisServer.RedisServerError>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const RedisCluster = Context.Service<RedisCluster>("@relive/testing/RedisCluster")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts a cluster that lives until the scope closes, and waits until it is up. Fails as `RedisServer.make` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<RedisCluster, RedisServer.RedisServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const { primaries: primaryCount = 3, replicas: replicaCount = 0 } = options
    const scope = yield* Effect.scope
    const cluster = new Cluster({ ...options, tls: sharedTls(options.tls) }, scope)
    const names = Array.from({ length: primaryCount }, (_, i) => String.fromCharCode(65 + i))
    const followers = names.flatMap((name) => Array.from({ length: replicaCount }, (_, i) => `${name}${i + 1}`))
    const started = yield* Effect.all(
      [...names, ...followers].map((name) => cluster.startNode(name)),
      { concurrency: "unbounded" }
    )
    yield* cluster.form(started.slice(0, primaryCount), started.slice(primaryCount))
    return cluster
  })

/**
 * A cluster as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RedisCluster, RedisServer.RedisServerError> =>
  Layer.effect(RedisCluster, make(options))

// -----------------------------------------------------------------------------
// The cluster
// -----------------------------------------------------------------------------

const SLOTS = 16_384
const FORMING_MILLIS = 500
const NODE_TIMEOUT_MILLIS = 2_000
const POLL_MILLIS = 20
const UP_MILLIS = 20_000
const MIGRATED_AT_ONCE = 100

type Failure = RedisServer.RedisServerError
type Ran<A> = Effect.Effect<A, Failure>

const failed = (message: string): Effect.Effect<never, Failure> =>
  Effect.fail(new RedisServer.RedisServerError({ kind: "start", message: `RedisCluster: ${message}` }))

/** A line of `CLUSTER NODES`. Only a node's own line tells `open` slots, as `[866->-id]` and `[866-<-id]`. */
interface Line {
  readonly id: string
  readonly flags: ReadonlyArray<string>
  readonly primary: string
  readonly epoch: string
  readonly ranges: ReadonlyArray<readonly [from: number, to: number]>
  readonly open: ReadonlyArray<string>
}

const readLine = (line: string): Line => {
  const [id = "", , flags = "", primary = "", , , epoch = "", , ...slots] = line.trim().split(" ")
  const ranges = slots
    .filter((range) => !range.startsWith("["))
    .map((range) => {
      const [from = 0, to = from] = range.split("-").map(Number)
      return [from, to] as const
    })
  const open = slots.filter((range) => range.startsWith("["))
  return { id, flags: flags.split(","), primary, epoch, ranges, open }
}

/** The owners of the slots, by what right, and which slots are open: the same for all nodes that agree, but for open ones. */
const claimsOf = (lines: ReadonlyArray<Line>): string =>
  lines
    .filter(({ ranges }) => ranges.length > 0)
    .map(({ epoch, id, ranges }) => `${id} ${epoch} ${ranges.join(" ")}`)
    .sort()
    .join("\n")

class Cluster implements RedisCluster {
  readonly nodes: Array<Node> = []
  private readonly options: Options
  private readonly scope: Scope.Scope
  /** Held while the owner of a slot is changed: servers do not survive two of these at once. */
  private readonly ending = Semaphore.makeUnsafe(1)
  /** `MIGRATE` stops both servers: two that migrate to one another stop each other. */
  private readonly migrating = Semaphore.makeUnsafe(1)
  private grown = 0

  constructor(options: Options, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
  }

  get urls(): ReadonlyArray<string> {
    return this.nodes.map(({ server }) => server.url)
  }

  get tls(): RedisServer.TlsFiles | undefined {
    return this.nodes[0]?.server.tls
  }

  readonly node = (name: string): Node => {
    const found = this.nodes.find((node) => node.name === name)
    if (found === undefined) throw new Error(`RedisCluster: there is no node ${name}`)
    return found
  }

  // -------------------------------------------------------------------------------------------------------- starting

  startNode(name: string): Ran<Node> {
    const { hostnames, nodeTimeoutMillis: _n, primaries: _p, replicas: _r, ...options } = this.options
    const host: RedisServer.Directives =
      hostnames === undefined
        ? {}
        : {
            "cluster-announce-hostname": `${name.toLowerCase()}.redis.test`,
            ...(hostnames === "preferred" ? { "cluster-preferred-endpoint-type": "hostname" } : {})
          }
    return Effect.gen(function* () {
      const bus = yield* Ports.reserve("127.0.0.1")
      const config: RedisServer.Directives = {
        "cluster-enabled": true,
        "cluster-config-file": "nodes.conf",
        // A node that was down stays down for as long once it knows all slots: it is set when the cluster is up.
        "cluster-node-timeout": FORMING_MILLIS,
        "cluster-port": bus,
        // A replica that was cut off for long may take over all the same: tests pause primaries.
        "cluster-replica-validity-factor": 0,
        "repl-diskless-sync": true,
        "repl-diskless-sync-delay": 0,
        "repl-ping-replica-period": 1,
        ...(options.tls === undefined || options.tls === false ? {} : { "tls-cluster": true, "tls-replication": true }),
        ...(options.password === undefined ? {} : { masterauth: quoted(revealed(options.password)) }),
        ...host,
        ...options.config
      }
      const server = yield* RedisServer.make({ ...options, config })
      const id = String(yield* server.command(["CLUSTER", "MYID"]))
      return { name, id, server, bus }
    }).pipe(
      Scope.provide(this.scope),
      Effect.map(({ bus, ...node }) => {
        this.buses.set(node.id, bus)
        return node
      })
    )
  }

  private readonly buses = new Map<string, number>()

  private meet(from: Node, to: Node): Ran<unknown> {
    return from.server.command(["CLUSTER", "MEET", to.server.host, to.server.port, this.buses.get(to.id) ?? 0])
  }

  form(primaries: ReadonlyArray<Node>, replicas: ReadonlyArray<Node>): Ran<void> {
    this.nodes.push(...primaries, ...replicas)
    const [first] = primaries
    if (first === undefined) return failed("it needs a primary")
    return Effect.gen({ self: this }, function* () {
      const share = SLOTS / primaries.length
      for (const [i, node] of primaries.entries()) {
        const range = [Math.floor(i * share), Math.floor((i + 1) * share) - 1]
        yield* node.server.commands([
          ["CLUSTER", "SET-CONFIG-EPOCH", i + 1],
          ["CLUSTER", "ADDSLOTSRANGE", ...range]
        ])
      }
      for (const other of this.nodes) if (other !== first) yield* this.meet(first, other)
      yield* this.awaitKnown
      for (const replica of replicas) {
        const of = this.node(replica.name.slice(0, 1))
        yield* replica.server.command(["CLUSTER", "REPLICATE", of.id])
      }
      yield* this.awaitUp
      if (replicas.length > 0) yield* this.awaitReplicas
      for (const node of this.nodes) yield* this.setTimeout(node)
    })
  }

  private setTimeout(node: Node): Ran<unknown> {
    const millis = this.options.nodeTimeoutMillis ?? NODE_TIMEOUT_MILLIS
    // Written to the file, too, so that a node that is started again has it.
    return node.server.commands([
      ["CONFIG", "SET", "cluster-node-timeout", millis],
      ["CONFIG", "REWRITE"]
    ])
  }

  /** Every node knows every other. */
  private readonly awaitKnown: Ran<void> = Effect.suspend(() =>
    this.until("its nodes do not know each other", (node) =>
      Effect.map(this.linesOf(node), (lines) =>
        this.nodes.every(({ id }) => lines.some((line) => line.id === id && !line.flags.includes("handshake")))
      )
    )
  )

  private readonly awaitReplicas: Ran<void> = Effect.suspend(() =>
    this.until("its replicas are not in sync", (node) =>
      Effect.map(
        node.server.command(["INFO", "replication"]),
        (info) => String(info).includes("role:master") || String(info).includes("master_link_status:up")
      )
    )
  )

  readonly awaitUp: Ran<void> = Effect.suspend(() =>
    this.until("it is not up", (node) =>
      Effect.map(
        node.server.command(["CLUSTER", "INFO"]),
        (info) => /cluster_state:ok/.test(String(info)) && /cluster_slots_ok:16384/.test(String(info))
      )
    )
  )

  /** Waits until all nodes that run pass. */
  private until(problem: string, passes: (node: Node) => Ran<boolean>): Ran<void> {
    const check: Ran<void> = Effect.gen({ self: this }, function* () {
      for (const node of yield* this.running) {
        const passed = yield* Effect.catch(passes(node), () => Effect.succeed(false))
        if (!passed) return yield* Effect.andThen(RealTime.sleep(POLL_MILLIS), check)
      }
    })
    return RealTime.timeoutOrElse(check, UP_MILLIS, () => failed(`${problem} after ${UP_MILLIS} ms`))
  }

  private readonly running: Effect.Effect<ReadonlyArray<Node>> = Effect.suspend(() =>
    Effect.filter(this.nodes, ({ server }) => Effect.map(server.pid, (pid) => pid !== undefined))
  )

  // --------------------------------------------------------------------------------------------------------- looking

  private linesOf(node: Node): Ran<ReadonlyArray<Line>> {
    return Effect.map(node.server.command(["CLUSTER", "NODES"]), (text) =>
      String(text).trim().split("\n").map(readLine)
    )
  }

  /** The reply of the first node that replies within a second: others may be paused. */
  private readonly lines: Ran<ReadonlyArray<Line>> = Effect.gen({ self: this }, function* () {
    for (const node of yield* this.running) {
      const lines = yield* this.soon(this.linesOf(node))
      if (lines !== undefined) return lines
    }
    return yield* failed("no node answers")
  })

  readonly primaries: Ran<ReadonlyArray<Node>> = Effect.suspend(() =>
    Effect.map(this.lines, (lines) => {
      const ids = new Set(lines.filter((line) => line.ranges.length > 0).map((line) => line.id))
      return this.nodes.filter((node) => ids.has(node.id))
    })
  )

  readonly ownerOf = (slot: number): Ran<Node> =>
    Effect.flatMap(this.lines, (lines) => {
      const line = lines.find(({ ranges }) => ranges.some(([from, to]) => from <= slot && slot <= to))
      const node = this.nodes.find(({ id }) => id === line?.id)
      return node === undefined ? failed(`no node of it has slot ${slot}`) : Effect.succeed(node)
    })

  // --------------------------------------------------------------------------------------------------------- moving

  readonly beginMigration = (slot: number, to: Node): Ran<Migration> =>
    Effect.gen({ self: this }, function* () {
      const from = yield* this.ownerOf(slot)
      yield* to.server.command(["CLUSTER", "SETSLOT", slot, "IMPORTING", from.id])
      yield* from.server.command(["CLUSTER", "SETSLOT", slot, "MIGRATING", to.id])
      const moveKeys = (count = Infinity) => this.moveKeys(slot, from, to, count)
      const finish = this.ending.withPermit(
        Effect.andThen(
          moveKeys(),
          Effect.suspend(() => this.giveSlot(slot, from, to))
        )
      )
      return { slot, from, to, moveKeys, finish }
    })

  readonly migrate = (slot: number, to: Node): Ran<void> =>
    Effect.flatMap(this.beginMigration(slot, to), (migration) => migration.finish)

  private moveKeys(slot: number, from: Node, to: Node, count: number): Ran<number> {
    const { password } = this.options
    const auth = password === undefined ? [] : ["AUTH", revealed(password)]
    const { migrating } = this
    const step = (moved: number): Ran<number> =>
      Effect.gen(function* () {
        const wanted = Math.min(MIGRATED_AT_ONCE, count - moved)
        if (wanted <= 0) return moved
        const keys = yield* from.server.command(["CLUSTER", "GETKEYSINSLOT", slot, wanted])
        if (!Array.isArray(keys) || keys.length === 0) return moved
        const command = ["MIGRATE", to.server.host, to.server.port, "", 0, 5000, ...auth, "KEYS", ...keys.map(String)]
        yield* migrating.withPermit(from.server.command(command))
        return yield* step(moved + keys.length)
      })
    return step(0)
  }

  /**
   * First the new owner, so that the slot is never without one. Then all the others, but replicas, who hear of it.
   *
   * A node that takes a slot claims it with a config epoch above all that it knows. One that has not heard of the last claim
   * yet claims with an old epoch: the former owner's next message wins, and then each says that the other has the slot, for
   * ever. So all must agree before, and again before the next migration.
   */
  private giveSlot(slot: number, from: Node, to: Node): Ran<void> {
    const command = ["CLUSTER", "SETSLOT", slot, "NODE", to.id] as const
    const give = (node: Node): Ran<unknown> =>
      Effect.catch(node.server.command(command), (error) =>
        // With its last slot gone it may have made itself a replica already: then it knows.
        /only with masters/i.test(error.message) ? Effect.void : Effect.fail(error)
      )
    return Effect.gen({ self: this }, function* () {
      yield* this.awaitAgreed
      yield* to.server.command(command)
      yield* give(from)
      for (const node of yield* this.primaries) {
        if (node === from || node === to) continue
        // One that is dead or paused hears of it later.
        yield* Effect.ignore(give(node))
      }
      yield* this.awaitAgreed
      const open = (yield* this.linesOf(from)).concat(yield* this.linesOf(to)).flatMap((line) => line.open)
      if (open.some((mark) => mark.startsWith(`[${slot}-`)))
        yield* failed(`slot ${slot} is still open: ${open.join(" ")}`)
    })
  }

  /** Waits until all nodes that reply say the same of all slots. */
  private readonly awaitAgreed: Ran<void> = Effect.suspend(() => {
    const check: Ran<boolean> = Effect.gen({ self: this }, function* () {
      const views = yield* Effect.forEach(yield* this.running, (node) => this.soon(this.linesOf(node)), {
        concurrency: "unbounded"
      })
      return new Set(views.flatMap((lines) => (lines === undefined ? [] : [claimsOf(lines)]))).size === 1
    })
    return this.poll("its nodes do not agree who has which slots", check)
  })

  /** `undefined` where a node does not reply within a second: it may be paused, or have died. */
  private soon<A>(ran: Ran<A>): Effect.Effect<A | undefined> {
    const settled = Effect.catch(ran, () => Effect.succeed(undefined))
    return RealTime.timeoutOrElse(settled, 1000, () => Effect.succeed(undefined))
  }

  // ------------------------------------------------------------------------------------------------------- failing

  readonly failover = (replica: Node): Ran<void> =>
    Effect.gen({ self: this }, function* () {
      yield* replica.server.command(["CLUSTER", "FAILOVER"])
      const isPrimary = Effect.map(
        replica.server.command(["ROLE"]),
        (role) => Array.isArray(role) && role[0] === "master"
      )
      yield* this.poll(`${replica.name} did not become primary`, isPrimary)
      yield* this.until(`its nodes do not know that ${replica.name} is a primary`, (node) =>
        Effect.map(this.linesOf(node), (lines) =>
          lines.some(({ id, ranges }) => id === replica.id && ranges.length > 0)
        )
      )
      yield* this.awaitUp
    })

  readonly awaitSuccessor = (dead: Node): Ran<Node> =>
    Effect.gen({ self: this }, function* () {
      const shard = this.nodes.filter((node) => node !== dead && node.name[0] === dead.name[0])
      let successor: Node | undefined
      const look = Effect.gen(function* () {
        for (const node of shard) {
          const role = yield* Effect.catch(node.server.command(["ROLE"]), () => Effect.succeed(null))
          if (Array.isArray(role) && role[0] === "master") successor = node
        }
        return successor !== undefined
      })
      yield* this.poll(`nobody took over from ${dead.name}`, look)
      return successor ?? (yield* failed(`nobody took over from ${dead.name}`))
    })

  private poll(problem: string, passes: Ran<boolean>): Ran<void> {
    const check: Ran<void> = Effect.flatMap(
      Effect.catch(passes, () => Effect.succeed(false)),
      (passed) => (passed ? Effect.void : Effect.andThen(RealTime.sleep(POLL_MILLIS), check))
    )
    return RealTime.timeoutOrElse(check, UP_MILLIS, () => failed(`${problem} within ${UP_MILLIS} ms`))
  }

  // --------------------------------------------------------------------------------------------------- joining, leaving

  readonly grow = (of?: Node): Ran<Node> =>
    Effect.gen({ self: this }, function* () {
      const node = yield* this.startNode(of === undefined ? `N${++this.grown}` : `${of.name[0]}G${++this.grown}`)
      const [known] = yield* this.running
      this.nodes.push(node)
      if (known !== undefined) yield* this.meet(known, node)
      yield* this.awaitKnown
      yield* this.awaitUp
      if (of !== undefined) {
        yield* node.server.command(["CLUSTER", "REPLICATE", of.id])
        yield* this.awaitReplicas
      }
      yield* this.setTimeout(node)
      return node
    })

  readonly shrink = (node: Node): Ran<void> =>
    Effect.gen({ self: this }, function* () {
      const lines = yield* this.linesOf(node)
      const others = (yield* this.primaries).filter((other) => other !== node)
      let next = 0
      for (const [from, to] of lines.find((line) => line.id === node.id)?.ranges ?? []) {
        for (let slot = from; slot <= to; slot++) {
          const heir = others[next++ % others.length]
          if (heir !== undefined) yield* this.migrate(slot, heir)
        }
      }
      this.nodes.splice(this.nodes.indexOf(node), 1)
      for (const other of yield* this.running)
        yield* Effect.ignore(other.server.command(["CLUSTER", "FORGET", node.id]))
      yield* node.server.stop
    })
}
