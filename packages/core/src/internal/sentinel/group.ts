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
import { RedisError } from "../../RedisError.ts"
import type { SentinelStatus, Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { gather } from "./gather.ts"
import { readEpoch, readEvent, readNamed, readServers } from "./replies.ts"
import type { Described } from "./replies.ts"
import { nameOf, Roster } from "./roster.ts"
import type { View } from "./roster.ts"

/** The channels that tell of what may change where a connection belongs. */
export const channels = [
  "+switch-master",
  "+promoted-slave",
  "+monitor",
  "+slave",
  "+sdown",
  "-sdown",
  "-odown",
  "+reboot",
  "+convert-to-slave",
  "+role-change",
  "+sentinel"
] as const

/** Those after which a server may be used that could not be before. */
const returns: ReadonlySet<string> = new Set(["+slave", "-sdown", "+reboot"])

/** Why no server was found: what each Sentinel said. */
export class NotFound extends AggregateError {}

const HEAD_START_MILLIS = 200
const GRACE_MILLIS = 200

/** The place of a connection that was not told one. */
const nowhere = ""

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
  // Nothing that is under way there is worth a wait at the end.
  closeTimeoutMillis: 0,
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
  /** Where each connection was sent; `undefined` while it asks for that. */
  private readonly connections = new Map<RedisConnection, string | undefined>()
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
    this.connections.set(connection, undefined)
    return () => void this.connections.delete(connection)
  }

  /** The present server, for one session. */
  readonly resolve = (connection: RedisConnection): Effect.Effect<Located, Error> =>
    Effect.suspend(() => {
      this.sent(connection, undefined)
      this.seek()
      return Effect.onError(
        this.find((view, now) => this.locate(view, connection, now)),
        () => Effect.sync(() => this.sent(connection, nowhere))
      )
    })

  private sent(connection: RedisConnection, place: string | undefined): void {
    if (this.connections.has(connection)) this.connections.set(connection, place)
  }

  /** Asks the Sentinels, believes the best of their views, and uses it in the same step: nothing can be heard in between. */
  private readonly find = <A>(use: (view: View, now: number) => Effect.Effect<A, Error>): Effect.Effect<A, Error> =>
    Effect.suspend(() => {
      const { epoch } = this.roster
      const gathered = gather(this.roster.order, this.ask, (views) => this.roster.isEnough(views), {
        headStartMillis: HEAD_START_MILLIS,
        graceMillis: GRACE_MILLIS
      })
      return Effect.flatMap(Effect.zip(gathered, Clock.currentTimeMillis), ([{ failures, replies }, now]) => {
        for (const view of replies) this.learn(view)
        for (const { sentinel } of failures) this.roster.mistrust(sentinel)
        const before = this.roster.primary
        const best = this.roster.best(replies, now)
        if (best !== undefined) {
          this.believed(best, before)
          return use(best, now)
        }
        // Where a switch has overtaken them, they are asked again.
        return this.roster.epoch > epoch ? this.find(use) : Effect.fail(this.notFound(replies, failures))
      })
    })

  private locate(view: View, connection: RedisConnection, now: number): Effect.Effect<Located, Error> {
    const { group, role } = this.options
    const [chosen] = this.roster.candidates(view, role, this.random(), now)
    if (chosen === undefined) {
      const known = view.replicas.length
      const detail = `${group} has no replica that is up and in sync (${known} ${known === 1 ? "is" : "are"} known)`
      return Effect.fail(new NotFound([], detail))
    }
    this.sent(connection, nameOf(chosen))
    return Effect.succeed({
      endpoint: { _tag: "Tcp", ...chosen },
      role: chosen === view.primary ? "primary" : "replica",
      rejected: (isOther) => {
        this.roster.mistrust(view.sentinel)
        this.roster.avoid(chosen, now)
        if (isOther && chosen === view.primary) this.roster.refute(view)
      }
    })
  }

  private notFound(replies: ReadonlyArray<View>, failures: ReadonlyArray<AskFailed>): NotFound {
    const { group } = this.options
    const said = [
      ...failures.map((failure) => failure.message),
      ...replies.map(
        ({ primary, sentinel }) =>
          `${nameOf(sentinel.endpoint)} names ${nameOf(primary)}, as it was before a switch that another one has told of`
      )
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
    for (const { state } of this.connections.keys()) if (state !== "ready") return 0
    return this.connections.size === 0 ? 0 : SETTLED_MILLIS
  }

  /** A server is sought: who is gone may be back. */
  private seek(): void {
    for (const node of this.nodes.keys()) this.dialAgain(node)
  }

  private dialAgain(node: SentinelNode): void {
    const connection = this.nodes.get(node)?.connection
    if (connection?.state === "backoff") connection.redial("a server is sought")
  }

  private readonly ask = (node: SentinelNode): Effect.Effect<View, AskFailed> =>
    Effect.suspend(() => {
      const asked = this.nodes.get(node)
      return asked === undefined ? Effect.fail(new AskFailed(node, "it is not connected yet")) : this.askOn(asked, node)
    })

  private askOn({ service }: Asked, node: SentinelNode): Effect.Effect<View, AskFailed> {
    const { group, role } = this.options
    const commands = [
      // Before the address: should there be a switch between the two, the address is the newer one.
      ["SENTINEL", "MASTER", group],
      ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", group],
      ["SENTINEL", "SENTINELS", group],
      ["SENTINEL", "MYID"],
      ...(role === "primary" ? [] : [["SENTINEL", "REPLICAS", group]])
    ]
    return Effect.matchEffect(service.pipeline(commands), {
      onFailure: (error) => Effect.fail(new AskFailed(node, detailOf(error), error)),
      onSuccess: (replies) =>
        Effect.try({
          try: () => this.read(node, replies),
          catch: (error) =>
            error instanceof AskFailed
              ? error
              : new AskFailed(node, `the option \`sentinel.mapAddress\` failed: ${messageOf(error)}`, error)
        })
    })
  }

  private read(sentinel: SentinelNode, [master, named, sentinels, id, replicas]: ReadonlyArray<unknown>): View {
    const { group, mapAddress } = this.options
    const primary = readNamed(named)
    if (primary === undefined) throw new AskFailed(sentinel, refusalOf(named, master, group))
    const reachable = (servers: ReadonlyArray<Described>) =>
      servers.map((server) => ({ ...server, address: mapAddress(server.address) }))
    return {
      sentinel,
      id: typeof id === "string" ? id : undefined,
      primary: mapAddress(primary),
      epoch: readEpoch(master),
      replicas: reachable(readServers(replicas)),
      others: reachable(readServers(sentinels))
    }
  }

  private learn(view: View): void {
    for (const node of this.roster.learn(view)) Queue.offerUnsafe(this.learned, node)
  }

  /** Looks at what a Sentinel knows now: it can be asked again, or something has happened. */
  readonly look = (node: SentinelNode): Effect.Effect<void> =>
    Effect.matchEffect(this.ask(node), {
      // What has happened is not to be missed: it is asked until it replies, or until its connection is there again.
      onFailure: (failure) => (failure.isLate ? this.look(node) : Effect.sync(() => this.dialAgain(node))),
      onSuccess: (view) =>
        Effect.suspend(() => {
          this.learn(view)
          const before = this.roster.primary
          if (this.roster.isNewer(view)) this.believed(view, before)
          // A server that was not found may be found now.
          this.wake(`Sentinel ${nameOf(node.endpoint)} can be asked`)
          // It may be stale, or all of them were set up again: they know together.
          return this.roster.isBelieved(view)
            ? Effect.flatMap(Clock.currentTimeMillis, (now) => this.prefer(view, now))
            : Effect.ignore(this.find(this.prefer))
        })
    })

  /** A message of a Sentinel: `kind` is its channel. */
  readonly told = (node: SentinelNode, kind: string, payload: string): Effect.Effect<void> => {
    const event = readEvent(kind, payload)
    if (event === undefined || event.group !== this.options.group) return Effect.void
    const isBack = event._tag === "Change" && returns.has(kind)
    // A user's function, which may throw: the look says so.
    const welcomed = Effect.try(() => isBack && this.roster.welcome(this.options.mapAddress(event.address)))
    return Effect.andThen(Effect.ignore(welcomed), this.look(node))
  }

  /** A replica is preferred to the primary also when it comes late: what is at the primary goes there, without any loss. */
  private readonly prefer = (view: View, now: number): Effect.Effect<void> =>
    Effect.sync(() => {
      const { group, role } = this.options
      const [wanted] = this.roster.candidates(view, role, this.random(), now)
      if (role !== "preferReplica" || wanted === view.primary) return
      for (const [connection, place] of Arr.fromIterable(this.connections)) {
        if (place === nameOf(view.primary) && connection.state === "ready") {
          connection.leave(`${group} has a replica again`)
        }
      }
    })

  /** No event tells that a replica is in sync again: what is at the primary for want of one is looked after. */
  readonly reconsider: Effect.Effect<void> = Effect.suspend(() => {
    const { primary } = this.roster
    const isThere = (place: string | undefined) => primary !== undefined && place === nameOf(primary)
    return [...this.connections.values()].some(isThere) ? Effect.ignore(this.find(this.prefer)) : Effect.void
  })

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
    for (const [connection, place] of Arr.fromIterable(this.connections)) {
      // Those that ask now are about to be told.
      if (place === undefined) continue
      const isThere = place === to
      // A replica follows the new primary by itself, unless it is the one.
      if (role === "primary" ? !isThere : isThere || connection.state !== "ready") connection.redial(detail)
    }
  }

  private wake(detail: string): void {
    for (const connection of Arr.fromIterable(this.connections.keys())) {
      if (connection.state === "backoff" || connection.state === "failed") connection.redial(detail)
    }
  }
}

/** Why a Sentinel said nothing of use. */
export class AskFailed extends Error {
  readonly sentinel: SentinelNode
  /** Whether it did not reply in time. */
  readonly isLate: boolean

  constructor(sentinel: SentinelNode, detail: string, cause?: unknown) {
    super(`${nameOf(sentinel.endpoint)}: ${detail}`, { cause })
    this.sentinel = sentinel
    this.isLate = cause instanceof RedisError && cause.reason._tag === "TimeoutError"
  }
}

const detailOf = ({ message, reason }: RedisError): string => {
  if (reason._tag === "TimeoutError") return `it did not reply within ${reason.timeoutMillis} ms`
  return reason._tag === "ConnectionError" ? reason.detail : message
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Why it names no server. */
const refusalOf = (named: unknown, master: unknown, group: string): string => {
  const isUnknown = master instanceof Resp.ReplyError && /no such master/i.test(master.message)
  if (isUnknown || named === null) return `it does not watch ${group}`
  return named instanceof Resp.ReplyError ? named.message : `it did not say where ${group} is`
}
