/**
 * The Sentinels of a group: who is asked, in which order, and whom to believe. Pure state, without effects.
 *
 * The order is that of the options. A Sentinel that has named a server which turned out to be another one, or that did not reply,
 * is asked last; one that has told of a switch is asked first, since it knows. Those that the others name are learned; those of
 * the options are never forgotten, and keep their names, which are resolved again for each connection.
 *
 * Sentinels disagree for a while: one that was stopped or cut off names the primary of the past, and the old primary still says
 * that it is one. The configuration epoch grows with each switch, so the highest one is right, and an answer below one that was
 * seen is stale. It is not used, unless there has been no better one for `staleMillis`: Sentinels that were set up again count
 * from 0.
 *
 * @internal
 */
import type { Address, SentinelNode } from "../../RedisOptions.ts"
import { isUsable } from "./replies.ts"
import type { Described } from "./replies.ts"

/** How long nothing but stale answers must have come for one of them to be used, in milliseconds. */
const staleMillis = 15_000

/** What one Sentinel knows of the group. */
export interface View {
  readonly sentinel: SentinelNode
  readonly primary: Described
  readonly replicas: ReadonlyArray<Described>
}

export const nameOf = ({ endpoint: { host, port } }: SentinelNode): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

export class Roster {
  private nodes: Array<SentinelNode>
  private readonly names: Set<string>
  /** The highest epoch seen, or the least that the next answer must have after a switch was told. */
  private epoch = 0
  private staleSince: number | undefined = undefined

  constructor(configured: ReadonlyArray<SentinelNode>) {
    const names = configured.map(nameOf)
    this.nodes = configured.filter((_, index) => names.indexOf(names[index] ?? "") === index)
    this.names = new Set(names)
  }

  /** All of them, in the order in which they are to be asked. */
  get order(): ReadonlyArray<SentinelNode> {
    return this.nodes
  }

  /** How many must agree to be the majority. */
  get majority(): number {
    return Math.floor(this.nodes.length / 2) + 1
  }

  /** Adds a Sentinel that another one has named. Returns whether it is new. */
  learn(node: SentinelNode): boolean {
    const name = nameOf(node)
    if (this.names.has(name)) return false
    this.names.add(name)
    this.nodes = [...this.nodes, node]
    return true
  }

  /** It was wrong, or silent: ask it last. */
  mistrust(node: SentinelNode): void {
    this.nodes = [...this.nodes.filter((other) => other !== node), node]
  }

  /** It has told of a switch: ask it first, and do not believe those that do not know of it yet. */
  switched(node: SentinelNode): void {
    this.nodes = [node, ...this.nodes.filter((other) => other !== node)]
  }

  /** A switch was told while the group was at this epoch: what comes next is above it. */
  expectAfter(epoch: number): void {
    this.epoch = Math.max(this.epoch, epoch + 1)
  }

  /** The view to go by, if there is one at `now` that is not stale. */
  best(views: ReadonlyArray<View>, now: number): View | undefined {
    let best: View | undefined
    for (const view of views) if (best === undefined || view.primary.epoch > best.primary.epoch) best = view
    if (best === undefined) return undefined
    if (best.primary.epoch >= this.epoch) {
      this.epoch = best.primary.epoch
      this.staleSince = undefined
      return best
    }
    this.staleSince ??= now
    if (now - this.staleSince < staleMillis) return undefined
    this.epoch = best.primary.epoch
    this.staleSince = undefined
    return best
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
