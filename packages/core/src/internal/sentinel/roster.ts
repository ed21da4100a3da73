/**
 * The Sentinels of a group: who is asked, in which order, and whom to believe. Pure state, without effects.
 *
 * The order is that of the options. A Sentinel that has named a server which turned out to be another one, or that did not reply,
 * is asked last; one that has told of a switch is asked first, since it knows. Those that the others name are learned; those of
 * the options are never forgotten, and keep their names, which are resolved again for each connection.
 *
 * Sentinels disagree for a while: one that was stopped or cut off names the primary of the past, and the old primary still says
 * that it is one. The configuration epoch grows with each switch, so the highest one is right, and a view below one that was
 * seen is stale. It is used only when a majority has it, or when there has been no better one for `STALE_MILLIS`: Sentinels that
 * were set up again count from 0.
 *
 * @internal
 */
import type { Address, ResolvedSentinel, SentinelNode } from "../../RedisOptions.ts"
import { isUsable } from "./replies.ts"
import type { Described } from "./replies.ts"

/** How long nothing but stale views must have come for one of them to be used. */
const STALE_MILLIS = 15_000

/** A Sentinel more than this is not learned. */
const MAX_SENTINELS = 32

/** One Sentinel's view of the group. */
export interface View {
  readonly sentinel: SentinelNode
  /** The Sentinel's own id; `undefined` from servers before 6.2. */
  readonly id: string | undefined
  readonly primary: Described
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
  private readonly mapAddress: ResolvedSentinel["mapAddress"]
  /** The ids of those that have said theirs, by their names. */
  private readonly ids = new Map<string, string>()
  /** The highest epoch seen. */
  private epoch = -1
  private staleSince: number | undefined = undefined
  /** The primary of the view that was believed last, as it is reached from here. */
  primary: Address | undefined = undefined

  constructor({ mapAddress, sentinels, template }: ResolvedSentinel) {
    const names = sentinels.map(({ endpoint }) => nameOf(endpoint))
    this.nodes = sentinels.filter((_, index) => names.indexOf(names[index] ?? "") === index)
    this.configured = this.nodes.length
    this.template = template
    this.mapAddress = mapAddress
  }

  /** All of them, in the order in which they are to be asked. */
  get order(): ReadonlyArray<SentinelNode> {
    return this.nodes
  }

  /** Whether so many views are a majority of all Sentinels, as far as is known. */
  isMajority(views: ReadonlyArray<View>): boolean {
    const all = Math.max(this.configured, ...views.map(({ others }) => others.length + 1))
    return views.length > Math.floor(all / 2)
  }

  /** Takes in whom a Sentinel has named; returns those that are new. */
  learn(view: View): ReadonlyArray<SentinelNode> {
    if (view.id !== undefined) this.ids.set(nameOf(view.sentinel.endpoint), view.id)
    // Until each of the options has said who it is, one that is named may be one of them under another name.
    const isKnown = (id: string | undefined) => id !== undefined && [...this.ids.values()].includes(id)
    if (this.ids.size < this.configured) return []
    const fresh = view.others
      .filter(({ id }) => !isKnown(id))
      .map(({ address }): SentinelNode => ({
        ...this.template,
        endpoint: { _tag: "Tcp", ...this.mapAddress(address) }
      }))
      .filter(({ endpoint }) => !this.nodes.some((node) => isSame(node.endpoint, endpoint)))
      .slice(0, MAX_SENTINELS - this.nodes.length)
    this.nodes = [...this.nodes, ...fresh]
    return fresh
  }

  /** It was wrong, or silent: ask it last. */
  mistrust(node: SentinelNode): void {
    this.nodes = [...this.nodes.filter((other) => other !== node), node]
  }

  /** It was the first to tell of a switch: ask it first. */
  trust(node: SentinelNode): void {
    this.nodes = [node, ...this.nodes.filter((other) => other !== node)]
  }

  /** Whether the view is of a later configuration than any that was believed before. It is believed from now on. */
  isNewer(view: View): boolean {
    if (view.primary.epoch <= this.epoch) return false
    this.believe(view)
    return true
  }

  /** The view to go by, if there is one at `now` that is not stale. */
  best(views: ReadonlyArray<View>, now: number): View | undefined {
    let best: View | undefined
    for (const view of views) if (best === undefined || view.primary.epoch > best.primary.epoch) best = view
    if (best === undefined) return undefined
    if (best.primary.epoch < this.epoch && !this.isOutlived(best, views, now)) return undefined
    this.believe(best)
    return best
  }

  private believe(view: View): void {
    this.epoch = view.primary.epoch
    this.primary = this.mapAddress(view.primary.address)
    this.staleSince = undefined
  }

  /** Whether a view below the epoch that was seen is the truth all the same. */
  private isOutlived(best: View, views: ReadonlyArray<View>, now: number): boolean {
    this.staleSince ??= now
    if (now - this.staleSince >= STALE_MILLIS) return true
    const { address, epoch } = best.primary
    return this.isMajority(views.filter(({ primary }) => primary.epoch === epoch && isSame(primary.address, address)))
  }
}

/** The servers that fit the role, the most wanted first. `pick` is from [0, 1): replicas share the load. */
export const candidates = (
  view: View,
  role: "primary" | "replica" | "preferReplica",
  pick: number
): ReadonlyArray<Address> => {
  const primary = view.primary.address
  if (role === "primary") return [primary]
  const usable = view.replicas.filter(isUsable).map(({ address }) => address)
  const first = Math.floor(pick * usable.length)
  const replicas = [...usable.slice(first), ...usable.slice(0, first)]
  return role === "replica" ? replicas : [...replicas, primary]
}
