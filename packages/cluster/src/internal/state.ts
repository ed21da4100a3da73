/**
 * The state of a cluster's client: who has which slot, the nodes, and what waits. Plain mutable state in one class; no call
 * waits for an effect of it.
 *
 * ```
 *   call ─▶ slot ─▶ table ─▶ node ─▶ its mailbox ─▶ …         refused: `follow` says where to, with `ASKING` or not, and when
 *             │                └ not started yet ─┐
 *             └ nobody has it ────────────────────┴▶ the waiting room: until the map says otherwise, or its deadline
 * ```
 *
 * The topology worker (`topology`) asks for the map and starts and ends nodes; the router (`router`) sends on what had to wait
 * a little after a refusal. If either crashes nothing is lost: all of it is here.
 *
 * @internal
 */
import type { Hooks, RedisConnection, RoutedCall, RoutedCalls, Shared } from "@relive/core/RedisConnection"
import { ClusterError, RedisError, TimeoutError } from "@relive/core/RedisError"
import type { ConnectionState, Service, StatusChange } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import * as Alarm from "@relive/otp/Alarm"
import * as PubSub from "effect/PubSub"
import type { Address, Node, Topology } from "../ClusterTopology.ts"
import type { ClusterEvent, ClusterStatus, NodeStatus } from "../RedisCluster.ts"
import { addressText } from "./addresses.ts"
import { Adoption, signatureOf } from "./adopt.ts"
import { Bell } from "./bell.ts"
import { ClusterNode } from "./node.ts"
import type { Place } from "./node.ts"
import type { ResolvedCluster } from "./options.ts"
import { readRefusal, waitMillis } from "./redirect.ts"
import type { Refusal } from "./redirect.ts"
import { Refresher } from "./refresher.ts"
import type { RefreshReason } from "./refresher.ts"
import { SLOTS } from "./slots.ts"
import { SlotTable } from "./table.ts"

/** Why a call waits: a server has refused it, or no node is known to have its slot. */
export type WaitTag = Refusal["_tag"] | "uncovered"

/** Where a refused command goes, and how long it waits before. Without `to` it is the owner by the table of that moment. */
export interface Way {
  readonly to: ClusterNode | undefined
  readonly asking: boolean
  readonly wait: number
  readonly tag: WaitTag
}

/** A command whose slot nobody has looks again so often. */
const UNCOVERED_MILLIS = 20

/** The way of a command whose slot nobody has. */
export const uncoveredWay: Way = { to: undefined, asking: false, wait: UNCOVERED_MILLIS, tag: "uncovered" }

/** A call or a part that waits a little after a refusal. */
export interface Held {
  readonly dueAt: number
  /** When its deadline must have been noticed, and what it is. */
  readonly wakeBy: number
  readonly deadline: number
  readonly tag: WaitTag | undefined
  readonly isSettled: boolean
  readonly go: () => void
  readonly expire: () => void
}

/** Puts itself somewhere else: a part of a pipeline. */
export interface Rerouted {
  readonly reroute: () => void
  /** Whether a part of it belongs to another node than this one. */
  readonly isMisplaced: (node: ClusterNode) => boolean
}

const isRerouted = (data: unknown): data is Rerouted => typeof data === "object" && data !== null && "reroute" in data

/** The time for which a slot counts as open after an ASK or TRYAGAIN. */
const OPEN_MILLIS = 5_000
/** The time for which a node without slots is kept after a call was sent there. */
const KEEP_MILLIS = 2_000
/** A reader that cannot serve is passed over for so long. */
const SKIP_MILLIS = 1_000
/** The time for which a node may be silent while something waits before others are asked about it. */
export const SUSPECT_MILLIS = 1_000
/** A node without slots is let go so long after it was last needed. */
const GRACE_MILLIS = 2_000
/** Calls that go on without a refusal for so long after a CLUSTERDOWN say that it is over. */
const RECOVERED_MILLIS = 15
/** Without a deadline a call is refused for so long at most. */
export const ENDLESS_MILLIS = 10_000
/** The interval at which those that wait for a node that is being started look again. */
const STARTING_MILLIS = 5
/** A MOVED so soon after a view that has undone one which said the same contradicts that view. */
const CONTRADICTION_MILLIS = 2_000
/** A socket that is stale is replaced this often at most. */
const REDIAL_MILLIS = 1_000
/** The owner's silence after which a node that has lost its slots is not waited for. */
const DEPOSED_SILENCE_MILLIS = 300

export class ClusterState {
  readonly options: ResolvedCluster
  readonly table = new SlotTable<ClusterNode>()
  /** By id, or by address while the id is not known. */
  readonly nodes = new Map<string, ClusterNode>()
  readonly refresher: Refresher
  readonly adoption = new Adoption()
  readonly changes: PubSub.PubSub<StatusChange>
  readonly events: PubSub.PubSub<ClusterEvent>
  /** Rung when the topology worker has something to do. */
  readonly topologyBell = new Bell()
  readonly waitsAlarm: Alarm.Alarm
  readonly random: () => number
  topology: Topology | undefined = undefined
  /** Why calls fail at once while there is no map: the nodes refuse us, and will again. */
  refusing: RedisError | undefined = undefined
  closing = false
  private parts: { shared: Shared; calls: RoutedCalls } | undefined = undefined
  private replicas = new Map<ClusterNode, ReadonlyArray<ClusterNode>>()
  private readonly openSlots = new Map<number, number>()
  private waits: Array<Held> = []
  /** When calls went on after a CLUSTERDOWN, while none of them was refused since; 0 otherwise. */
  private downRetriedAt = 0
  private adoptedAt = -Infinity
  private signature = ""
  private state: ConnectionState = "connecting"
  private lastError: RedisError | undefined = undefined
  private next = 0
  readonly redirects = { moved: 0, ask: 0, tryAgain: 0, clusterDown: 0 }
  readonly refreshes: { asked: number; adopted: number; failed: number; last: RefreshReason | undefined } = {
    asked: 0,
    adopted: 0,
    failed: 0,
    last: undefined
  }
  private readonly firstWaiters: Array<() => void> = []

  constructor(
    options: ResolvedCluster,
    random: () => number,
    changes: PubSub.PubSub<StatusChange>,
    events: PubSub.PubSub<ClusterEvent>
  ) {
    this.options = options
    this.random = random
    this.changes = changes
    this.events = events
    this.refresher = new Refresher(options, random)
    this.waitsAlarm = new Alarm.Alarm(() => this.now())
  }

  /** Set once, before anything starts. */
  setUp(shared: Shared, calls: RoutedCalls): void {
    this.parts = { shared, calls }
    this.trigger("start")
  }

  get shared(): Shared {
    if (this.parts === undefined) throw new Error("The cluster has not been set up")
    return this.parts.shared
  }

  get calls(): RoutedCalls {
    if (this.parts === undefined) throw new Error("The cluster has not been set up")
    return this.parts.calls
  }

  now(): number {
    return this.shared.waiting.now()
  }

  // ---------------------------------------------------------------------------------------------------------- placing

  /** Puts a call where its slot is, or where any primary is, or into the waiting room. */
  place(call: RoutedCall): void {
    const node = call.slot >= 0 ? this.table.ownerOf(call.slot) : this.anyPrimary()
    const connection = node?.connection
    if (connection !== undefined) return connection.accept(call, false)
    if (this.refusing !== undefined && this.topology === undefined) return call.fail(this.refusing)
    if (node === undefined && this.topology !== undefined) {
      this.trigger("uncovered")
      return this.hold(call, uncoveredWay)
    }
    this.shared.waiting.accept(call, false)
  }

  /** The primary with least to do; those that are not connected come last. */
  anyPrimary(): ClusterNode | undefined {
    let best: ClusterNode | undefined
    let lowest = Infinity
    const owners = this.owners
    const offset = owners.length === 0 ? 0 : this.next++ % owners.length
    for (let i = 0; i < owners.length; i++) {
      const node = owners[(i + offset) % owners.length]
      if (node === undefined) continue
      const load = node.primary.load + (node.primary.isReady ? 0 : 1e9)
      if (load < lowest) {
        best = node
        lowest = load
      }
    }
    return best
  }

  /** All that have slots; kept, since it is asked for with each keyless call. */
  private owners: ReadonlyArray<ClusterNode> = []

  get ownersNow(): ReadonlyArray<ClusterNode> {
    return this.owners
  }

  /** Sends a call to a node of which it is known that it may not be started yet. */
  private send(call: RoutedCall, node: ClusterNode, asking: boolean): void {
    const connection = node.connection
    if (connection !== undefined) return connection.accept(call, asking)
    this.need(node)
    this.hold(call, { to: node, asking, wait: STARTING_MILLIS, tag: "moved" })
  }

  /** Keeps a call for a while after a refusal. */
  private hold(call: RoutedCall, way: Way): void {
    const now = this.now()
    call.data ??= now
    const endless = call.deadline === 0 && typeof call.data === "number" ? call.data + ENDLESS_MILLIS : 0
    const held: Held = {
      dueAt: now + way.wait,
      wakeBy: endless === 0 ? call.wakeBy : endless,
      deadline: endless === 0 ? call.deadline : endless,
      tag: way.tag,
      get isSettled() {
        return call.isSettled
      },
      go: () => (way.to === undefined ? this.place(call) : this.send(call, way.to, way.asking)),
      expire: () => call.fail(this.expired(call, way.tag))
    }
    call.hold(() => {})
    this.keep(held)
  }

  /** Keeps something that waits after a refusal. */
  keep(held: Held): void {
    if (this.closing) return held.expire()
    this.waits.push(held)
    this.waitsAlarm.ringBy(Math.min(held.dueAt, held.wakeBy))
  }

  /** The failure of a call whose time is over while no server has it. */
  private expired(call: RoutedCall, tag: WaitTag): RedisError {
    const { command, hops, refusal, slot, timeoutMillis } = call
    if (call.mayHaveRun) {
      return new RedisError({
        reason: new TimeoutError({ phase: "queued", delivery: "unknown", command, timeoutMillis })
      })
    }
    return clusterError(tag, { command, slot, hops, last: refusal, closing: this.closing })
  }

  /** The router: sends on what has waited long enough. Returns when to look again. */
  readonly lookAtWaits = (now: number): number => {
    const waits = this.waits
    this.waits = []
    let next = Infinity
    for (const held of waits) {
      if (held.isSettled) continue
      if (held.deadline !== 0 && held.deadline <= now) held.expire()
      else if (held.dueAt <= now) {
        if (held.tag === "down" && this.downRetriedAt === 0) this.downRetriedAt = now
        held.go()
      } else {
        this.waits.push(held)
        next = Math.min(next, held.dueAt, held.wakeBy)
      }
    }
    return Math.min(next, this.lookForRecovery(now))
  }

  /**
   * Whether calls are served again after a CLUSTERDOWN: those that went on a moment ago have not been refused. Then there is
   * a new map, and it is asked for at once.
   */
  private lookForRecovery(now: number): number {
    if (this.downRetriedAt === 0) return Infinity
    const due = this.downRetriedAt + RECOVERED_MILLIS
    if (now < due) return due
    this.downRetriedAt = 0
    this.refresher.recovered(now)
    this.topologyBell.ring()
    return Infinity
  }

  /** Calls in the waiting room that have a place now. */
  private emptyWaitingRoom(): void {
    const { waiting } = this.shared
    if (waiting.queued === 0) return
    const placed = waiting.takeUnsent((call) => {
      if (isRerouted(call.data)) return true
      const node = call.slot >= 0 ? this.table.ownerOf(call.slot) : this.anyPrimary()
      return node?.connection !== undefined
    })
    for (const call of placed) this.reroute(call)
  }

  /** Out of a hook: another connection may refuse a call, and that runs its caller's code. */
  private rerouteSoon(calls: ReadonlyArray<RoutedCall>): void {
    if (calls.length === 0) return
    queueMicrotask(() => {
      for (const call of calls) this.reroute(call)
    })
  }

  private reroute(call: RoutedCall): void {
    if (isRerouted(call.data)) call.data.reroute()
    else this.place(call)
  }

  // -------------------------------------------------------------------------------------------------------- redirects

  /** Whether an error of a server is a refusal that is followed. Decides, and does nothing else. */
  readonly follows = (call: RoutedCall, error: Resp.ReplyError): boolean => readRefusal(error, call, "") !== undefined

  /** The refusal in an error that a node has returned to a command, if it is one. */
  refusalOf(
    error: Resp.ReplyError,
    command: string,
    slot: number,
    node: ClusterNode,
    blocking = false
  ): Refusal | undefined {
    return readRefusal(error, { command, slot, blocking }, node.address.host)
  }

  /** Takes note of a refusal that a node has given to a command with this slot, the how many-th in a row, and says where it goes. */
  follow(refusal: Refusal, saidBy: ClusterNode, slot: number, hops: number): Way {
    const now = this.now()
    const wait = waitMillis(refusal._tag, hops, this.random())
    const tag = refusal._tag
    switch (refusal._tag) {
      case "moved": {
        this.redirects.moved++
        const to = this.nodeFor(refusal.to)
        if (to === undefined) return { to, asking: false, wait: Math.max(wait, 20), tag }
        if (to === saidBy) {
          this.redial(saidBy, now)
          return { to: undefined, asking: false, wait: Math.max(wait, 2), tag }
        }
        this.patch(refusal.slot, to, now)
        return { to, asking: false, wait, tag }
      }
      case "ask": {
        this.redirects.ask++
        this.openSlots.set(refusal.slot, now + OPEN_MILLIS)
        const to = this.nodeFor(refusal.to)
        return { to, asking: to !== undefined, wait: to === undefined ? Math.max(wait, 20) : wait, tag }
      }
      case "tryAgain":
        this.redirects.tryAgain++
        if (slot >= 0) this.openSlots.set(slot, now + OPEN_MILLIS)
        return { to: undefined, asking: false, wait, tag }
      case "down":
        this.redirects.clusterDown++
        this.downRetriedAt = 0
        if (saidBy.role === "replica") {
          saidBy.skipUntil = now + SKIP_MILLIS
          return { to: undefined, asking: false, wait: hops > 1 ? wait : 0, tag }
        }
        this.trigger("down")
        return { to: undefined, asking: false, wait, tag }
      case "unblocked":
        return { to: undefined, asking: false, wait, tag }
    }
  }

  /**
   * A node redirects to its own address: another server is behind it by now, or behind its name, and the socket is stale. It is
   * dialled again once nothing is under way there, and not again and again where that does not help.
   */
  private redial(node: ClusterNode, now: number): void {
    this.trigger("down")
    const { connection } = node
    if (connection === undefined || connection.inFlight > 0 || now - node.redialledAt < REDIAL_MILLIS) return
    node.redialledAt = now
    connection.endSession("the node redirects to its own address, so another server is behind it: it is dialled again")
  }

  private patch(slot: number, to: ClusterNode, now: number): void {
    if (this.table.ownerOf(slot) !== to) {
      if (now - this.adoptedAt < CONTRADICTION_MILLIS && this.table.wasUndone(slot, to)) this.refresher.contradict()
      this.table.patch(slot, to, now)
      to.role = "primary"
      this.need(to)
      if (!this.owners.includes(to)) this.owners = this.table.ownersNow
    }
    this.trigger("moved", to.id)
  }

  /** A node has said itself that another one has a slot of its own, as it does by MOVED. */
  learn(slot: number, to: ClusterNode): void {
    this.patch(slot, to, this.now())
  }

  /** Whether a slot is on its way, as far as a call was told lately. */
  isOpen(slot: number): boolean {
    const until = this.openSlots.get(slot)
    if (until === undefined) return false
    if (until > this.now()) return true
    this.openSlots.delete(slot)
    return false
  }

  /** A call of one command, or a transaction, was refused, or found nothing at a replica. It belongs to nobody now. */
  private refused(node: ClusterNode, call: RoutedCall): void {
    const error = call.refusal
    if (error === undefined) {
      call.doubtsMisses = false
      return this.place(call)
    }
    const refusal = this.refusalOf(error, call.command, call.slot, node)
    // Before it settles the state is that of a call which was never sent.
    if (refusal === undefined) return this.place(call)
    call.hops++
    call.doubtsMisses = false
    if (this.closing) return this.failSoon(call, refusal._tag)
    const way = this.follow(refusal, node, call.slot, call.hops)
    if (way.wait > 0) this.hold(call, way)
    else if (way.to === undefined) this.place(call)
    else this.send(call, way.to, way.asking)
  }

  /** It was refused, and goes nowhere any more. Out of a hook, as it runs its caller's code. */
  private failSoon(call: RoutedCall, tag: WaitTag): void {
    call.hold(() => {})
    queueMicrotask(() => {
      if (!call.isSettled) call.fail(this.expired(call, tag))
    })
  }

  // ------------------------------------------------------------------------------------------------------------ nodes

  private find(address: Address): ClusterNode | undefined {
    let found: ClusterNode | undefined
    for (const node of this.nodes.values()) {
      if (node.address.port !== address.port || node.address.host !== address.host) continue
      // One that has been reset has another id by now, at the same address.
      if (node.isTold) return node
      found ??= node
    }
    return found
  }

  /** The node with this address as a text. */
  byText(text: string): ClusterNode | undefined {
    return [...this.nodes.values()].find(({ address }) => addressText(address) === text)
  }

  /** The node at an address, which may be a stranger. */
  nodeAt(address: Address): ClusterNode {
    const known = this.find(address)
    if (known !== undefined) return known
    const node = new ClusterNode(addressText(address), address, undefined, "primary")
    node.keepUntil = this.now() + KEEP_MILLIS
    this.nodes.set(node.id, node)
    return node
  }

  /** The node that a redirect names, unless it is a stranger that is not to be followed. */
  private nodeFor(announced: Address): ClusterNode | undefined {
    const address = this.options.mapAddress(announced, { id: "", hostname: undefined })
    const known = this.find(address)
    if (known !== undefined) return known
    this.trigger("stranger")
    return this.options.strangers === "follow" ? this.nodeAt(address) : undefined
  }

  /** Keeps a node that a caller wants to speak with, and starts it if it is not. */
  need(node: ClusterNode): void {
    // Those that have slots are kept for that.
    if (!this.owners.includes(node)) node.keepUntil = this.now() + KEEP_MILLIS
    // It may have been let go while a call waited to be sent there.
    if (!this.nodes.has(node.id)) this.nodes.set(node.id, node)
    node.primary.unneededSince = undefined
    if (node.primary.process === undefined) this.topologyBell.ring()
  }

  replicasOf(node: ClusterNode): ReadonlyArray<ClusterNode> {
    return this.replicas.get(node) ?? []
  }

  get readsReplicas(): boolean {
    return this.options.readFrom !== "primary" || this.replicasWanted
  }

  /** A call has asked for a replica by itself. */
  private replicasWanted = false

  wantReplicas(): void {
    if (this.replicasWanted) return
    this.replicasWanted = true
    this.topologyBell.ring()
  }

  // ---------------------------------------------------------------------------------------------------------- adoption

  trigger(reason: RefreshReason, prefer?: string): void {
    this.refresher.trigger(reason, this.now(), prefer)
    this.topologyBell.ring()
  }

  /** Puts a view in force that was asked for at `askedAt`. Returns whether it was believed. */
  adopt(view: Topology, from: string, askedAt: number, reason: RefreshReason): boolean {
    if (!this.adoption.believes(view, from, this.table.covered)) return false
    const signature = signatureOf(view)
    const isSame = signature === this.signature && this.topology !== undefined
    const before = new Set([...this.nodes.values()].filter((node) => node.isTold).map((node) => node.id))
    const told = new Set<ClusterNode>()
    const ranges: Array<readonly [number, number, ClusterNode]> = []
    const replicas = new Map<ClusterNode, ReadonlyArray<ClusterNode>>()
    for (const shard of view.shards) {
      const primary = this.tell(shard.primary)
      told.add(primary)
      for (const [start, end] of shard.ranges) ranges.push([start, end, primary])
      const followers = shard.replicas.map((replica) => this.tell(replica))
      for (const follower of followers) told.add(follower)
      replicas.set(primary, followers)
    }
    this.replicas = replicas
    const slotsMoved = this.table.replace(ranges, askedAt)
    this.owners = this.table.ownersNow
    const removed: Array<string> = []
    for (const node of this.nodes.values()) {
      if (told.has(node) || this.owners.includes(node)) continue
      if (node.isTold) {
        removed.push(node.id)
        this.leaveNode(node)
      }
      node.isTold = false
      node.role = "primary"
    }
    const added = [...told].filter((node) => !before.has(node.id)).map((node) => node.id)
    this.topology = view
    this.firstError = undefined
    this.signature = signature
    this.refusing = undefined
    this.adoptedAt = this.now()
    if (!isSame) this.refreshes.adopted++
    if (slotsMoved > 0) this.leaveDeposed()
    this.routeQueues()
    if (added.length > 0 || removed.length > 0 || slotsMoved > 0) {
      PubSub.publishUnsafe(this.events, { _tag: "TopologyChanged", added, removed, slotsMoved, reason })
      if (this.table.covered < SLOTS) {
        PubSub.publishUnsafe(this.events, { _tag: "SlotsUncovered", slots: SLOTS - this.table.covered })
      }
    }
    this.update(undefined)
    this.topologyBell.ring()
    return true
  }

  /** A node of a view: known by its id, or by its address while its id was not known. */
  private tell(node: Node): ClusterNode {
    let known = this.nodes.get(node.id)
    const there = this.find(node.address)
    if (known === undefined && there !== undefined && !there.isTold) {
      this.nodes.delete(there.id)
      there.id = node.id
      this.nodes.set(node.id, there)
      known = there
    }
    if (known === undefined) {
      known = new ClusterNode(node.id, node.address, node.hostname, node.role)
      this.nodes.set(node.id, known)
    }
    if (known.address.host !== node.address.host || known.address.port !== node.address.port) {
      known.address = node.address
      for (const place of [known.primary, known.read]) if (place.process !== undefined) this.moveAway.add(place)
    }
    known.isTold = true
    known.hostname = node.hostname
    known.role = node.role
    known.health = node.health
    return known
  }

  /** Places whose node has another address now: they are ended, and started again. */
  readonly moveAway = new Set<Place>()

  /** Connections that may be at any node: those of classic pub/sub. */
  readonly roaming = new Set<RedisConnection>()

  /** A node that has left the cluster is told nothing any more: its listeners listen elsewhere. */
  private leaveNode(node: ClusterNode): void {
    const address = addressText(node.address)
    for (const connection of this.roaming) {
      if (connection.address === address) connection.endSession("its node has left the cluster")
    }
  }

  /** A node that was silent when it lost its slots is not waited for: what it acknowledges later is lost. */
  private leaveDeposed(): void {
    for (const node of this.nodes.values()) {
      const connection = node.connection
      if (connection === undefined || this.owners.includes(node)) continue
      if (connection.silentMillis < DEPOSED_SILENCE_MILLIS) continue
      connection.endSession("another node has its slots, and it does not answer")
    }
  }

  /** Moves what is queued at nodes that are not its owners any more to those that are. */
  private routeQueues(): void {
    for (const node of this.nodes.values()) {
      const { connection } = node
      if (connection === undefined || connection.queued === 0) continue
      const isOwner = this.owners.includes(node)
      const misplaced = connection.takeUnsent((call) => {
        if (isRerouted(call.data)) return call.data.isMisplaced(node)
        return call.slot >= 0 ? this.table.ownerOf(call.slot) !== node : !isOwner
      })
      for (const call of misplaced) this.reroute(call)
    }
    this.emptyWaitingRoom()
  }

  /** Whether a slot's node does not serve it now. */
  get isUnserved(): boolean {
    return this.owners.some(({ connection }) => {
      if (connection === undefined) return false
      return connection.downSince !== undefined || connection.silentMillis >= SUSPECT_MILLIS
    })
  }

  /** Asks about nodes that are silent. */
  lookForSilence(): void {
    if (this.owners.some(({ connection }) => (connection?.silentMillis ?? 0) >= SUSPECT_MILLIS)) this.trigger("silent")
  }

  // -------------------------------------------------------------------------------------------------------- connections

  /** The hooks of the connections of a place. */
  hooksOf(place: Place): Hooks {
    const { node } = place
    return {
      keepsReplica: true,
      onRefused: (_connection, call) => this.refused(node, call),
      onChange: (connection, change) => {
        if (place.running === undefined || place.running.connection === connection) this.nodeChanged(place, change)
      },
      onGivingUp: (connection, closing) => {
        if (this.closing || !closing) return
        this.rerouteSoon(connection.takeUnsent(() => true))
      },
      // The backoff's cap is low, for the first seconds of an outage.
      dialDelayMillis: (connection) => {
        const { downSince } = connection
        return downSince !== undefined && connection.now() - downSince > 10_000 ? 2_750 * this.random() : 0
      }
    }
  }

  opened(place: Place, running: NonNullable<Place["running"]>): void {
    place.running = running
    if (this.closing) running.connection.beginClose()
    this.emptyWaitingRoom()
  }

  /** The supervisor of a place has ended. */
  ended(place: Place): void {
    place.running = undefined
    place.process = undefined
    if (this.closing) return
    place.failures++
    place.startAt = this.now() + Math.min(100 * 2 ** Math.min(place.failures - 1, 10), 3_000)
    this.topologyBell.ring()
  }

  private nodeChanged(place: Place, { cause, previous, state }: StatusChange): void {
    const { node } = place
    if (state === "ready") {
      place.failures = 0
      this.lastError = undefined
    } else if (cause !== undefined) this.lastError = cause
    const event = { id: node.id, address: addressText(node.address), previous, state, cause }
    PubSub.publishUnsafe(this.events, { _tag: "NodeChanged", ...event })
    if (this.closing) return this.update(cause)
    // Reads that wait for this replica need not.
    if (place.kind === "read" && state !== "ready") {
      this.rerouteSoon(place.connection?.takeUnsent(() => true) ?? [])
    }
    if (previous === "ready" && place.kind === "primary" && this.owners.includes(node)) this.trigger("session-ended")
    this.update(cause)
    this.topologyBell.ring()
  }

  /** The places to start and those to end now, and when to look again. */
  reconcile(now: number): { readonly start: Array<Place>; readonly end: Array<Place>; readonly next: number } {
    const start: Array<Place> = []
    const end: Array<Place> = []
    let next = Infinity
    for (const node of this.nodes.values()) {
      for (const place of [node.primary, node.read]) {
        if (place.changing) continue
        if (this.moveAway.has(place)) {
          this.moveAway.delete(place)
          if (place.process !== undefined) end.push(place)
          continue
        }
        const needed =
          place.kind === "primary"
            ? this.owners.includes(node) || node.keepUntil > now
            : this.readsReplicas && node.isTold && node.role === "replica" && node.health !== "fail"
        if (needed) {
          place.unneededSince = undefined
          if (place.process !== undefined) continue
          if (place.startAt <= now) start.push(place)
          else next = Math.min(next, place.startAt)
        } else if (place.process !== undefined) {
          place.unneededSince ??= now
          const due = place.unneededSince + GRACE_MILLIS
          if (due <= now) end.push(place)
          else next = Math.min(next, due)
        }
        if (place.kind === "primary" && node.keepUntil > now) next = Math.min(next, node.keepUntil)
      }
      const isGone = !node.isTold && node.keepUntil <= now && !this.owners.includes(node)
      if (isGone && node.primary.process === undefined && node.read.process === undefined && !node.primary.changing) {
        this.nodes.delete(node.id)
      }
    }
    return { start, end, next }
  }

  // -------------------------------------------------------------------------------------------------------------- close

  /** All nodes at once, so that they share one `closeTimeout`. */
  beginClose(): void {
    if (this.closing) return
    this.closing = true
    const waits = this.waits
    this.waits = []
    for (const held of waits) if (!held.isSettled) held.expire()
    this.shared.waiting.beginClose()
    for (const node of this.nodes.values()) {
      node.primary.running?.connection.beginClose()
      node.read.running?.connection.beginClose()
    }
    this.update(undefined)
    this.tellFirst()
  }

  // ------------------------------------------------------------------------------------------------------------- status

  private stateNow(): ConnectionState {
    if (this.closing) {
      const open = [...this.nodes.values()].some(
        ({ primary }) => primary.connection !== undefined && primary.connection.state !== "closed"
      )
      return open ? "draining" : "closed"
    }
    if (this.topology === undefined) return this.refusing === undefined ? "connecting" : "failed"
    if (this.owners.some((node) => node.primary.isReady)) return "ready"
    const states = this.owners.map((node) => node.connection?.state ?? "connecting")
    return (
      (["handshaking", "connecting", "backoff", "failed"] as const).find((state) => states.includes(state)) ?? "backoff"
    )
  }

  /** Settles the state as a whole, and tells of its change. */
  update(cause: RedisError | undefined): void {
    const previous = this.state
    const state = this.stateNow()
    if (state === previous || previous === "closed") return
    this.state = state
    if (state === "ready" || state === "failed") this.tellFirst()
    PubSub.publishUnsafe(this.changes, { previous, state, cause, sessions: this.sessions })
  }

  /** All seeds refuse us: none could be asked, and none will be. */
  refuse(error: RedisError): void {
    this.refusing = error
    this.lastError = error
    for (const call of this.shared.waiting.takeUnsent(() => true)) {
      if (isRerouted(call.data)) call.data.reroute()
      else call.fail(error)
    }
    this.update(error)
  }

  /** Called when the next refresh that begins from now on has ended. */
  readonly refreshed: Array<() => void> = []

  /** Why the map could not be had, before it was had once. */
  firstError: RedisError | undefined = undefined

  /** No node could tell the map. Calls wait on; a start that waits for it fails. */
  unreached(error: RedisError): void {
    this.firstError = error
    this.lastError = error
    this.tellFirst()
  }

  /** Called once when the cluster is ready, or is refused, or closes, or could not be reached. */
  onFirst(look: () => void): void {
    if (this.state === "ready" || this.state === "failed" || this.closing || this.firstError !== undefined) look()
    else this.firstWaiters.push(look)
  }

  /** Out of a hook, as it runs the code of those who wait. */
  private tellFirst(): void {
    const waiters = this.firstWaiters.splice(0)
    if (waiters.length > 0) queueMicrotask(() => waiters.forEach((look) => look()))
  }

  private get sessions(): number {
    return [...this.nodes.values()].reduce((sum, node) => sum + (node.connection?.status.sessions ?? 0), 0)
  }

  get status(): ClusterStatus {
    const places = [...this.nodes.values()].flatMap((node) => [node.primary, node.read])
    const all = [this.shared.waiting.status, ...places.flatMap((place) => place.connection?.status ?? [])]
    const sum = (of: (status: (typeof all)[number]) => number): number => all.reduce((total, one) => total + of(one), 0)
    return {
      state: this.state,
      address: this.options.connection.address,
      protocol: all.find((one) => one.protocol !== undefined)?.protocol,
      sessions: sum((one) => one.sessions),
      queued: sum((one) => one.queued) + this.waits.filter((held) => !held.isSettled).length,
      queuedBytes: sum((one) => one.queuedBytes),
      inFlight: sum((one) => one.inFlight),
      inFlightBytes: sum((one) => one.inFlightBytes),
      repeated: sum((one) => one.repeated),
      lastError: this.state === "ready" ? undefined : this.lastError,
      shards: this.owners.map((primary) => ({
        ranges: this.table.rangesOf(primary),
        primary: statusOf(primary, primary.primary),
        replicas: this.replicasOf(primary)
          .filter((replica) => replica.read.process !== undefined)
          .map((replica) => statusOf(replica, replica.read))
      })),
      uncovered: SLOTS - this.table.covered,
      redirects: { ...this.redirects },
      refreshes: { ...this.refreshes }
    }
  }
}

const statusOf = (node: ClusterNode, place: Place): NodeStatus => {
  const status = place.connection?.status
  return {
    id: node.id,
    address: addressText(node.address),
    role: node.role,
    state: status?.state ?? "connecting",
    queued: status?.queued ?? 0,
    inFlight: status?.inFlight ?? 0,
    sessions: status?.sessions ?? 0
  }
}

/** The failure of a call that was refused until its time was over. */
export const clusterError = (
  tag: WaitTag,
  told: {
    readonly command: string
    readonly slot: number
    readonly hops: number
    readonly last: Resp.ReplyError | undefined
    readonly closing?: boolean
  }
): RedisError => {
  const kind = told.closing === true ? "down" : tag === "down" || tag === "uncovered" ? tag : "moving"
  const details = {
    down: "the cluster served nothing for its slot within its deadline",
    uncovered: "no node was known to have its slot within its deadline",
    moving: "its slot was on the move within all of its deadline"
  }
  const detail = told.closing === true ? "the cluster's client was closed while it waited" : details[kind]
  return new RedisError({
    reason: new ClusterError({
      kind,
      delivery: "unsent",
      slot: told.slot,
      hops: told.hops,
      command: told.command,
      ...(told.last === undefined ? {} : { last: told.last.message }),
      detail
    })
  })
}

/** A service that may not be there yet. */
export const serviceOf = (node: ClusterNode): Service | undefined => node.primary.running?.service
