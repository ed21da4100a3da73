/**
 * A group of servers under Sentinels, as its connections need it: where the server is now, and when that has changed.
 *
 * ```
 *   Sentinels ──events──▶ told ──▶ look ──▶ Roster ──▶ move: ends all sessions that point elsewhere, wakes all that wait
 *             ◀──asked─── resolve ◀────────────────── session, lease, pub/sub connection: each before its dial
 * ```
 *
 * An event is a reason to look, and no more: what counts is the view of the Sentinel that sent it. So a Sentinel that lags behind,
 * or one that was set up wrong, moves nobody.
 *
 * @internal
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { RedisConnection } from "../../RedisConnection.ts"
import type { Address, Located, Resolved, ResolvedSentinel, Resolver, SentinelNode } from "../../RedisOptions.ts"
import type { RedisError } from "../../RedisError.ts"
import type { SentinelStatus, Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { gather } from "./gather.ts"
import { readEvent, readServer, readServers } from "./replies.ts"
import { candidates, nameOf, Roster } from "./roster.ts"
import type { View } from "./roster.ts"

/** The channels that tell of what may change where a connection belongs. */
export const channels = [
  "+switch-master",
  "+slave",
  "+sdown",
  "-sdown",
  "-odown",
  "+reboot",
  "+convert-to-slave",
  "+role-change",
  "+sentinel"
] as const

/** Why no server was found: what each Sentinel said. */
export class NotFound extends AggregateError {}

const HEAD_START_MILLIS = 200
const GRACE_MILLIS = 200

/** How often a Sentinel that is gone is dialled while a server is sought, and else. */
const SEEKING_MILLIS = 100
const SETTLED_MILLIS = 1_000

/**
 * How a Sentinel is reached: its options, those of the servers where it has none, and none of what is the servers' alone. One that
 * is `asked` is dialled quickly, since it may be the one that everybody waits for; see `dialDelayMillis`.
 */
export const optionsOf = (
  options: Resolved,
  sentinel: ResolvedSentinel,
  node: SentinelNode,
  purpose: "asked" | "heard"
): Resolved => ({
  ...options,
  ...node,
  address: `Sentinel ${nameOf(node.endpoint)}`,
  database: 0,
  readonly: false,
  onConnect: [],
  // Sentinels refuse it, and some proxies close on it.
  libraryName: "",
  sentinel: undefined,
  resolver: undefined,
  timeoutMillis: sentinel.timeoutMillis,
  connectTimeoutMillis: sentinel.timeoutMillis,
  // A path that has gone silent must not keep the next question back for long.
  healthCheckIntervalMillis: Math.min(options.healthCheckIntervalMillis, Math.max(1_000, 2 * sentinel.timeoutMillis)),
  // One that is down is no reason to wait: another one is asked.
  whenDown: "fail",
  start: "background",
  backoffInitialMillis: SEEKING_MILLIS / 2,
  backoffCapMillis: purpose === "asked" ? SEEKING_MILLIS : SETTLED_MILLIS
})

/** A connection to a Sentinel. */
interface Asked {
  readonly connection: RedisConnection
  readonly service: Service
}

export class SentinelGroup implements Resolver {
  readonly label: string
  readonly options: ResolvedSentinel
  readonly roster: Roster
  /** Sentinels that were learned: the supervisor starts their connections. */
  readonly learned: Queue.Queue<SentinelNode>

  private readonly random: () => number
  private readonly connections = new Set<RedisConnection>()
  /** Those that ask where to dial now: they are about to be told. */
  private readonly resolving = new Set<RedisConnection>()
  private readonly nodes = new Map<SentinelNode, Asked>()
  private lastSwitch: SentinelStatus["lastSwitch"] = undefined

  constructor(options: ResolvedSentinel, learned: Queue.Queue<SentinelNode>, random: () => number) {
    this.learned = learned
    this.options = options
    this.label = `Sentinel's group ${options.group}`
    this.random = random
    this.roster = new Roster(options)
  }

  get status(): SentinelStatus {
    const { group, role } = this.options
    return { group, role, lastSwitch: this.lastSwitch }
  }

  // ------------------------------------------------------------------------------------------------------- connections

  /** A connection that this group serves. Returns what takes it out again. */
  attach(connection: RedisConnection): () => void {
    this.connections.add(connection)
    return () => this.connections.delete(connection)
  }

  /** The present server, for one session. */
  readonly resolve = (connection: RedisConnection): Effect.Effect<Located, Error> =>
    Effect.suspend(() => {
      this.resolving.add(connection)
      this.seek()
      return Effect.ensuring(
        this.find,
        Effect.sync(() => this.resolving.delete(connection))
      )
    })

  private readonly find: Effect.Effect<Located, Error> = Effect.suspend(() =>
    Effect.flatMap(
      gather(this.roster.order, this.ask, (views) => this.roster.isMajority(views), {
        headStartMillis: HEAD_START_MILLIS,
        graceMillis: GRACE_MILLIS
      }),
      ({ failures, replies }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          for (const view of replies) this.learn(view)
          for (const { sentinel } of failures) this.roster.mistrust(sentinel)
          const before = this.roster.primary
          const best = this.roster.best(replies, now)
          if (best === undefined) return Effect.fail(this.notFound(replies, failures))
          this.believed(best, before)
          return this.locate(best)
        })
    )
  )

  private locate(view: View): Effect.Effect<Located, Error> {
    const { group, mapAddress, role } = this.options
    const [chosen] = candidates(view, role, this.random())
    if (chosen === undefined) {
      const known = view.replicas.length
      const detail = `${group} has no replica that is up and in sync (${known} ${known === 1 ? "is" : "are"} known)`
      return Effect.fail(new NotFound([], detail))
    }
    const isPrimary = chosen === view.primary.address
    return Effect.succeed({
      endpoint: { _tag: "Tcp", ...mapAddress(chosen) },
      role: isPrimary ? "primary" : "replica",
      rejected: () => this.roster.mistrust(view.sentinel)
    })
  }

  private notFound(replies: ReadonlyArray<View>, failures: ReadonlyArray<AskFailed>): NotFound {
    const { group } = this.options
    const said = [
      ...failures.map((failure) => failure.message),
      ...replies.map(({ primary, sentinel }) => {
        const named = nameOf(this.options.mapAddress(primary.address))
        return `${nameOf(sentinel.endpoint)} names ${named}, as it was before a switch that another one has told of`
      })
    ]
    // In one order, so that the log sees whether anything has changed.
    return new NotFound(failures, `no Sentinel says where ${group} is: ${said.toSorted().join("; ")}`)
  }

  // -------------------------------------------------------------------------------------------------------- Sentinels

  /** The connection on which a Sentinel is asked has started. */
  attachNode(node: SentinelNode, connection: RedisConnection, service: Service): void {
    this.nodes.set(node, { connection, service })
  }

  /** How much longer the dial of a Sentinel may wait: while all is well there is no hurry. */
  get dialDelayMillis(): number {
    for (const { state } of this.connections) if (state !== "ready") return 0
    return this.connections.size === 0 ? 0 : SETTLED_MILLIS
  }

  /** A server is sought: who is gone may be back. */
  private seek(): void {
    for (const { connection } of this.nodes.values()) {
      if (connection.state === "backoff") connection.redial("a server is sought")
    }
  }

  private readonly ask = (node: SentinelNode): Effect.Effect<View, AskFailed> => {
    const asked = this.nodes.get(node)
    if (asked === undefined) return Effect.fail(new AskFailed(node, "it is not connected yet"))
    const { group, role } = this.options
    const commands = [
      ["SENTINEL", "MASTER", group],
      ["SENTINEL", "SENTINELS", group],
      ["SENTINEL", "MYID"],
      ...(role === "primary" ? [] : [["SENTINEL", "REPLICAS", group]])
    ]
    return Effect.matchEffect(asked.service.pipeline(commands), {
      onFailure: (error) => Effect.fail(new AskFailed(node, detailOf(error), error)),
      onSuccess: ([master, sentinels, id, replicas]) => {
        const primary = readServer(master)
        if (primary === undefined) return Effect.fail(new AskFailed(node, refusalOf(master, group)))
        return Effect.succeed<View>({
          sentinel: node,
          id: typeof id === "string" ? id : undefined,
          primary,
          replicas: readServers(replicas),
          others: readServers(sentinels)
        })
      }
    })
  }

  private learn(view: View): void {
    for (const node of this.roster.learn(view)) Queue.offerUnsafe(this.learned, node)
  }

  /** Looks at what a Sentinel knows now: it can be asked again, or something has happened. */
  readonly look = (node: SentinelNode): Effect.Effect<void> =>
    Effect.matchEffect(this.ask(node), {
      onFailure: () => Effect.void,
      onSuccess: (view) =>
        Effect.sync(() => {
          this.learn(view)
          const before = this.roster.primary
          if (this.roster.isNewer(view)) this.believed(view, before)
          // A server that was not found may be found now.
          this.wake(`Sentinel ${nameOf(node.endpoint)} can be asked`)
        })
    })

  /** A message of a Sentinel: `kind` is its channel. */
  readonly told = (node: SentinelNode, kind: string, payload: string): Effect.Effect<void> => {
    const event = readEvent(kind, payload)
    return event === undefined || event.group !== this.options.group ? Effect.void : this.look(node)
  }

  /** When the group has another primary now, what points elsewhere ends at once, and is dialled where it belongs. */
  private believed(view: View, before: Address | undefined): void {
    const { group, role } = this.options
    const after = this.roster.primary
    if (before === undefined || after === undefined || nameOf(before) === nameOf(after)) return
    const to = nameOf(after)
    const by = nameOf(view.sentinel.endpoint)
    this.roster.trust(view.sentinel)
    this.lastSwitch = { from: nameOf(before), to, by }
    const detail = `Sentinel ${by} says that the primary of ${group} is ${to} now`
    for (const connection of Arr.fromIterable(this.connections)) {
      if (this.resolving.has(connection)) continue
      const isThere = connection.address === to
      // A replica follows the new primary by itself, unless it is the one.
      if (role === "primary" ? !isThere : isThere || connection.state !== "ready") connection.redial(detail)
    }
  }

  private wake(detail: string): void {
    for (const connection of Arr.fromIterable(this.connections)) {
      if (connection.state === "backoff" || connection.state === "failed") connection.redial(detail)
    }
  }
}

/** Why a Sentinel said nothing of use. */
export class AskFailed extends Error {
  readonly sentinel: SentinelNode

  constructor(sentinel: SentinelNode, detail: string, cause?: unknown) {
    super(`${nameOf(sentinel.endpoint)}: ${detail}`, { cause })
    this.sentinel = sentinel
  }
}

const detailOf = ({ message, reason }: RedisError): string => {
  if (reason._tag === "TimeoutError") return `it did not reply within ${reason.timeoutMillis} ms`
  return reason._tag === "ConnectionError" ? reason.detail : message
}

const refusalOf = (reply: unknown, group: string): string => {
  if (reply instanceof Resp.ReplyError) {
    return /no such master/i.test(reply.message) ? `it does not watch ${group}` : reply.message
  }
  return `it did not describe ${group}`
}
