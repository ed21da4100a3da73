/**
 * The subscriptions of one connection, as a pure machine: the wanted set against the one that the server has confirmed.
 *
 * ```
 *                      want                  acknowledged
 *        out ───────────────────▶ joining ────────────────▶ in          each name has at most one command on its way, so
 *         ▲                          │ refused               │          acknowledgements belong to their commands by order
 *         └──────────────────────────┘                       │ unwant   alone, and an old UNSUBSCRIBE cannot come behind a
 *         ▲           acknowledged                           ▼          new SUBSCRIBE
 *         └────────────────────────────────────────────── leaving
 * ```
 *
 * Whatever is wanted meanwhile is settled when the acknowledgement comes. A lost connection puts every name back to `out`.
 *
 * Follows `Redix.PubSub.Connection`, whose states these are.
 *
 * @internal
 */
import type { Kind, Name } from "../../RedisPubSub.ts"
import type { Audience } from "./audience.ts"
import { NameMap } from "./names.ts"

/** A subscription that wants names. `missing` is how many of them the server has not confirmed: the machine counts it. */
export interface Member {
  missing: number
  /** The last missing name was confirmed. */
  readonly confirmed: () => void
}

/** One name. `members` want it. */
export class Topic<M extends Member> {
  readonly kind: Kind
  /** In its canonical form. */
  readonly name: Name
  readonly members = new Set<M>()
  /** The members, as those who deliver to them know them; `undefined` when they have changed. */
  audience: Audience | undefined = undefined
  state: "out" | "joining" | "in" | "leaving" = "out"

  constructor(kind: Kind, name: Name) {
    this.kind = kind
    this.name = name
  }
}

/** A command to write: the server is to be told of this name. */
export interface Change<M extends Member> {
  readonly topic: Topic<M>
  readonly subscribes: boolean
}

export class Subscriptions<M extends Member> {
  private readonly topics: Record<Kind, NameMap<Topic<M>>> = {
    channel: new NameMap(),
    pattern: new NameMap(),
    shard: new NameMap()
  }
  /** All of them, in the order in which they were first wanted. */
  private readonly all = new Set<Topic<M>>()
  /** Those for which the server may have to be told something. */
  private readonly changed = new Set<Topic<M>>()

  /** How many names are known: wanted, or not yet given up by the server. */
  get size(): number {
    return this.all.size
  }

  /** `name` in its canonical form. */
  get(kind: Kind, name: Name): Topic<M> | undefined {
    return this.topics[kind].get(name)
  }

  /** A member wants one more name. Canonical, and not one that it has already. */
  want(kind: Kind, name: Name, member: M): Topic<M> {
    const table = this.topics[kind]
    let topic = table.get(name)
    if (topic === undefined) {
      topic = new Topic<M>(kind, name)
      table.set(name, topic)
      this.all.add(topic)
    }
    topic.members.add(member)
    topic.audience = undefined
    if (topic.state !== "in") member.missing++
    this.changed.add(topic)
    return topic
  }

  /** A member does not want this name any more. */
  unwant(topic: Topic<M>, member: M): void {
    if (!topic.members.delete(member)) return
    topic.audience = undefined
    if (topic.state !== "in") member.missing--
    this.settle(topic)
  }

  /** The connection is gone, and with it what the server knew. */
  reset(): void {
    for (const topic of this.all) {
      if (topic.state === "in") for (const member of topic.members) member.missing++
      topic.state = "out"
      this.settle(topic)
    }
  }

  /** The changes to write so that the server's set becomes the wanted one. They count as written. */
  reconcile(): Array<Change<M>> {
    const changes: Array<Change<M>> = []
    for (const topic of this.changed) {
      const isWanted = topic.members.size > 0
      if (topic.state === "out" && isWanted) topic.state = "joining"
      else if (topic.state === "in" && !isWanted) topic.state = "leaving"
      else continue
      changes.push({ topic, subscribes: isWanted })
    }
    this.changed.clear()
    return changes
  }

  /** The server has done what a command asked for, or has taken the name from us by itself. */
  acknowledged(topic: Topic<M>, subscribes: boolean): void {
    const wasIn = topic.state === "in"
    topic.state = subscribes ? "in" : "out"
    if (subscribes && !wasIn) {
      for (const member of topic.members) {
        member.missing--
        if (member.missing === 0) member.confirmed()
      }
    }
    if (!subscribes && wasIn) for (const member of topic.members) member.missing++
    this.settle(topic)
  }

  /**
   * The server has refused a command. Returns those who wanted the name, to be told why: they must give it up. When it was
   * the end that was refused nobody is told, and the name counts as ended: its messages find nobody.
   */
  refused(topic: Topic<M>): ReadonlyArray<M> {
    const members = topic.state === "joining" ? [...topic.members] : []
    topic.state = "out"
    this.settle(topic)
    return members
  }

  /** Something may have to be written for it, or it may be forgotten. */
  private settle(topic: Topic<M>): void {
    if (topic.members.size > 0 || topic.state !== "out") {
      this.changed.add(topic)
      return
    }
    this.topics[topic.kind].delete(topic.name)
    this.all.delete(topic)
    this.changed.delete(topic)
  }
}
