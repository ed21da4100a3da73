/**
 * The Sentinels of a group: who is asked, in which order, and whom to believe. Pure state, without effects.
 *
 * The order is that of the options. A Sentinel that has named a server which turned out to be another one, or that did not reply,
 * is asked last; one that has told of a switch is asked first, since it knows. Those that the others name are learned; those of
 * the options are never forgotten, and keep their names, which are resolved again for each connection.
 *
 * Sentinels disagree for a while: one that was stopped or cut off names the primary of the past, and the old primary still says
 * that it is one. The configuration epoch grows with each switch, so the highest one is right, and a view below one that was
 * seen is stale, however many have it: the leader of a failover is the first to know of it. Sentinels that were set up again count
 * from 0. So a lower epoch is used when a majority has gone back to it, or when there has been no better one for `STALE_MILLIS`.
 *
 * A view whose primary has said itself that it is none is refuted: it counts for nothing as soon as a majority has another one.
 *
 * @internal
 */
import type { Address, ResolvedSentinel, SentinelNode } from "../../RedisOptions.ts"
import { isUsable } from "./replies.ts"
import type { Described } from "./replies.ts"

/** How long nothing but stale views must have come for one of them to be used. */
const STALE_MILLIS = 15_000

/** How long a server that could not be used is wanted less than the others. */
const AVOIDED_MILLIS = 5_000

/** A Sentinel more than this is not learned. */
const MAX_SENTINELS = 32

/** One Sentinel's view of the group. Addresses are as they are reached from here. */
export interface View {
  readonly sentinel: SentinelNode
  /** The Sentinel's own id; `undefined` from servers before 6.2. */
  readonly id: string | undefined
  /** Where the primary is. */
  readonly primary: Address
  /** The number of the last configuration of the group that the Sentinel knows: it grows with each switch. */
  readonly epoch: number
  readonly replicas: ReadonlyArray<Described>
  /** The other Sentinels that it knows. */
  readonly others: ReadonlyArray<Described>
}

export const nameOf = ({ host, port }: Address): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

const isSame = (one: Address, other: Address): boolean => one.host === other.host && one.port === other.port

export class Roster {
  private nodes: ReadonlyArray<SentinelNode>
  private readonly configured: number
  private readonly template: SentinelNode
  /** The ids of those that have said theirs, by their names. */
  private readonly ids = new Map<string, string>()
  /** Those that have replied once, or were out of reach. */
  private readonly spoken = new Set<string>()
  /** The highest epoch that each has told of, by its name. */
  private readonly told = new Map<string, number>()
  /** The view whose primary has said that it is none. */
  private refuted: Pick<View, "epoch" | "primary"> | undefined = undefined
  /** Until when a server is wanted less, by its name. */
  private readonly avoided = new Map<string, number>()
  private staleSince: number | undefined = undefined
  /** The epoch of the view that was believed last, and its primary. */
  epoch = -1
  primary: Address | undefined = undefined

  constructor({ sentinels, template }: Pick<ResolvedSentinel, "sentinels" | "template">) {
    const names = sentinels.map(({ endpoint }) => nameOf(endpoint))
    this.nodes = sentinels.filter((_, index) => names.indexOf(names[index] ?? "") === index)
    this.configured = this.nodes.length
    this.template = template
  }

  /** All of them, in the order in which they are to be asked. */
  get order(): ReadonlyArray<SentinelNode> {
    return this.nodes
  }

  /** Whether nobody else need be asked: a majority has replied, and not all of them are stale. */
  isEnough(views: ReadonlyArray<View>): boolean {
    return this.isMajority(views) && views.some((view) => view.epoch >= this.epoch && !this.isRefuted(view))
  }

  /** Whether this number of views is a majority of all Sentinels, as far as is known. */
  private isMajority(views: ReadonlyArray<View>): boolean {
    const all = Math.max(this.configured, ...views.map(({ others }) => others.length + 1))
    // One that is known by two names counts once.
    const different = new Set(views.map(({ id, sentinel }) => id ?? nameOf(sentinel.endpoint)))
    return different.size > Math.floor(all / 2)
  }

  /** Takes in whom a Sentinel has named; returns those that are new. */
  learn(view: View): ReadonlyArray<SentinelNode> {
    if (view.id !== undefined) this.ids.set(nameOf(view.sentinel.endpoint), view.id)
    this.spoken.add(nameOf(view.sentinel.endpoint))
    const isKnown = (id: string | undefined) => id !== undefined && [...this.ids.values()].includes(id)
    // Until each of the options has said who it is, or was out of reach, one that is named may be one of them under another name.
    if (this.spoken.size < this.configured) return []
    const fresh = view.others
      .filter(({ id }) => !isKnown(id))
      .map(({ address }): SentinelNode => ({
        ...this.template,
        endpoint: { _tag: "Tcp", ...address }
      }))
      .filter(({ endpoint }) => !this.nodes.some((node) => isSame(node.endpoint, endpoint)))
      .slice(0, MAX_SENTINELS - this.nodes.length)
    this.nodes = [...this.nodes, ...fresh]
    return fresh
  }

  /** It is out of reach, and need not be waited for before others are learned. */
  missed({ endpoint }: SentinelNode): void {
    this.spoken.add(nameOf(endpoint))
  }

  /** It was wrong, or silent: ask it last. */
  mistrust(node: SentinelNode): void {
    this.nodes = [...this.nodes.filter((other) => other !== node), node]
  }

  /** The primary of this view has said that it is none. */
  refute({ epoch, primary }: View): void {
    this.refuted = { epoch, primary }
  }

  private isRefuted({ epoch, primary }: Pick<View, "epoch" | "primary">): boolean {
    return this.refuted?.epoch === epoch && isSame(this.refuted.primary, primary)
  }

  /** A server could not be reached, or was another one: the others are better for a while. */
  avoid(address: Address, now: number): void {
    for (const [name, until] of this.avoided) if (until <= now) this.avoided.delete(name)
    this.avoided.set(nameOf(address), now + AVOIDED_MILLIS)
  }

  /** A server is there again. */
  welcome(address: Address): void {
    this.avoided.delete(nameOf(address))
  }

  /**
   * The servers of a view that fit the role, the most wanted first. `pick` is from [0, 1): replicas share the load. Sentinels find a
   * replica down only after a while, and not at all from here: so those that could not be used come last.
   */
  candidates(view: View, role: ResolvedSentinel["role"], pick: number, now: number): ReadonlyArray<Address> {
    const { primary } = view
    if (role === "primary") return [primary]
    // In a failover its leader still lists the new primary among the replicas.
    const usable = view.replicas
      .filter((replica) => isUsable(replica) && !isSame(replica.address, primary))
      .map(({ address }) => address)
    const first = Math.floor(pick * usable.length)
    const replicas = [...usable.slice(first), ...usable.slice(0, first)]
    const isAvoided = (address: Address) => (this.avoided.get(nameOf(address)) ?? -Infinity) > now
    return [
      ...replicas.filter((address) => !isAvoided(address)),
      ...(role === "replica" ? [] : [primary]),
      ...replicas.filter(isAvoided)
    ]
  }

  /** It was the first to tell of a switch: ask it first. */
  trust(node: SentinelNode): void {
    this.nodes = [node, ...this.nodes.filter((other) => other !== node)]
  }

  /** Whether the view is of a later configuration than any that was believed before. It is believed from now on. */
  isNewer(view: View): boolean {
    this.note(view)
    if (view.epoch <= this.epoch || this.isRefuted(view)) return false
    this.believe(view)
    return true
  }

  /** Whether the view is what is believed. */
  isBelieved({ epoch, primary }: View): boolean {
    return epoch === this.epoch && this.primary !== undefined && isSame(primary, this.primary)
  }

  /** The view to go by, if there is one at `now` that is not stale. */
  best(given: ReadonlyArray<View>, now: number): View | undefined {
    const others = given.filter((view) => !this.isRefuted(view))
    const views = this.isMajority(others) ? others : given
    const highest = views.reduce((epoch, view) => Math.max(epoch, view.epoch), -1)
    const latest = views.filter(({ epoch }) => epoch === highest)
    const best = this.mostNamed(latest)
    if (best === undefined) return undefined
    const isOverruled = this.hasRefutedItself && this.isAgreed(latest, best)
    const isStale = highest < this.epoch && !isOverruled && !this.isOutlived(best, latest, now)
    for (const view of given) this.note(view)
    if (isStale) return undefined
    if (highest < this.epoch) this.told.clear()
    this.believe(best)
    return best
  }

  /**
   * Of views of one epoch, the one that most agree with, and of as many the one that is believed. An election has one result, but two
   * Sentinels may be told to fail over at once, or set up apart, and what only speaks like Sentinel may count no epochs.
   */
  private mostNamed(views: ReadonlyArray<View>): View | undefined {
    let best: View | undefined
    let most = 0
    for (const view of views) {
      const votes = views.filter(({ primary }) => isSame(primary, view.primary)).length
      if (votes > most || (votes === most && this.isBelieved(view))) {
        best = view
        most = votes
      }
    }
    return best
  }

  private believe({ epoch, primary }: View): void {
    this.epoch = epoch
    this.primary = primary
    this.staleSince = undefined
  }

  /** Whether what is believed is refuted. */
  private get hasRefutedItself(): boolean {
    const { epoch, primary } = this
    return primary !== undefined && this.isRefuted({ epoch, primary })
  }

  private note({ epoch, sentinel }: View): void {
    const name = nameOf(sentinel.endpoint)
    this.told.set(name, Math.max(epoch, this.told.get(name) ?? -1))
  }

  /** Whether a view below the epoch that was seen is the truth all the same; `views` are those of its epoch. */
  private isOutlived(best: View, views: ReadonlyArray<View>, now: number): boolean {
    this.staleSince ??= now
    if (now - this.staleSince >= STALE_MILLIS) return true
    const hasGoneBack = ({ epoch, sentinel }: View) => (this.told.get(nameOf(sentinel.endpoint)) ?? -1) > epoch
    return this.isAgreed(views.filter(hasGoneBack), best)
  }

  private isAgreed(views: ReadonlyArray<View>, { primary }: View): boolean {
    return this.isMajority(views.filter((view) => isSame(view.primary, primary)))
  }
}
