/**
 * The state of a pool: its members, which of them calls may go to, and what waits. Plain mutable state in one class; the
 * supervisor starts and restarts the members, and the mover (`run`) moves what a member that is down has not written.
 *
 * ```
 *   call ──choose──▶ usable members (ready ones; if there is none, those that take calls; if there is none, any)
 *                       └─ no member there at all ──▶ the waiting room, and on to the first member that takes calls
 * ```
 *
 * The list of usable members changes with the members' states, not with calls: choosing is what the strategy costs.
 *
 * @internal
 */
import type { Hooks, RedisConnection, Shared } from "@relive/core/RedisConnection"
import type { RedisError } from "@relive/core/RedisError"
import type { CallOptions, ConnectionState, Status, StatusChange } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import { Alarm } from "@relive/otp/Alarm"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type { PoolEvent, PoolStatus } from "../RedisPool.ts"
import { MemberSlot } from "./memberSlot.ts"
import type { Chooser } from "./strategies.ts"

/** The options that the pool needs. */
export interface PoolSettings {
  readonly size: number
  readonly moveAfterMillis: number
  readonly staggerMillis: number
}

/** The best of the members' states stands for the pool. */
const ranks: ReadonlyArray<ConnectionState> = ["ready", "handshaking", "connecting", "backoff", "failed"]

/** How often to look for room at least, in milliseconds. */
const PAUSE_MILLIS = 5

export class PoolState {
  readonly slots: ReadonlyArray<MemberSlot>
  readonly changes: PubSub.PubSub<StatusChange>
  readonly events: PubSub.PubSub<PoolEvent>
  private readonly settings: PoolSettings
  private readonly chooser: Chooser
  private readonly random: () => number
  private readonly alarm: Alarm
  private room: Shared | undefined = undefined
  private usable: ReadonlyArray<MemberSlot> = []
  private state: ConnectionState = "connecting"
  private lastError: RedisError | undefined = undefined
  private closing = false
  private moved = 0

  constructor(
    settings: PoolSettings,
    address: string,
    chooser: Chooser,
    random: () => number,
    changes: PubSub.PubSub<StatusChange>,
    events: PubSub.PubSub<PoolEvent>
  ) {
    this.settings = settings
    this.chooser = chooser
    this.random = random
    this.changes = changes
    this.events = events
    this.slots = Array.from({ length: settings.size }, (_, index) => new MemberSlot(index, address))
    this.alarm = new Alarm(() => this.shared.waiting.now())
  }

  /** Set once, before anything starts. */
  set shared(shared: Shared) {
    this.room = shared
  }

  get shared(): Shared {
    if (this.room === undefined) throw new Error("The pool has not been set up")
    return this.room
  }

  // ---------------------------------------------------------------------------------------------------------- calls

  readonly choose = (
    command: Resp.Command,
    options: CallOptions | undefined,
    group: ReadonlyArray<Resp.Command> | undefined
  ): RedisConnection | RedisError => {
    if (this.usable.length === 0) return this.shared.waiting
    const chosen = this.chooser(this.usable, this.slots, command, options, group)
    return chosen instanceof MemberSlot ? (chosen.connection ?? this.shared.waiting) : chosen
  }

  // -------------------------------------------------------------------------------------------------------- members

  /** A member has started: from now on it is the one in its place. */
  memberStarted(slot: MemberSlot, connection: RedisConnection): void {
    slot.connection = connection
    if (this.closing) connection.beginClose()
    this.publish(this.update(undefined))
    this.alarm.ring()
  }

  /** The hooks of the connections of a place. A former one of the place may still be closing: it counts no more. */
  hooksOf(slot: MemberSlot): Hooks {
    return {
      onChange: (connection, change) => {
        if (slot.connection === connection) this.memberChanged(slot, change)
      },
      onWaiting: (connection) => this.callQueued(connection),
      onGivingUp: (connection, closing) => this.moveAway(slot, connection, closing),
      dialDelayMillis: () => this.dialDelay(slot)
    }
  }

  /** The hooks of the waiting room. */
  readonly waitingRoomHooks: Hooks = { onWaiting: () => this.alarm.ring() }

  private memberChanged(slot: MemberSlot, { cause, previous, state }: StatusChange): void {
    if (state === "ready") this.lastError = undefined
    else if (cause !== undefined) this.lastError = cause
    const event: PoolEvent = { _tag: "MemberChanged", index: slot.index, previous, state, cause }
    // Publishing resumes subscribers synchronously, so the state must be final first.
    const change = this.update(cause)
    PubSub.publishUnsafe(this.events, event)
    this.publish(change)
    this.alarm.ring()
  }

  /**
   * A dial waits a little for each other member that is down too: one that is alone is replaced at once, and a server that
   * comes back is not asked by all in one moment.
   */
  private dialDelay(slot: MemberSlot): number {
    let down = 0
    for (const other of this.slots) if (other !== slot && other.isOpen && !other.isReady) down++
    return down * this.settings.staggerMillis * this.random()
  }

  /** Settles who is usable, and the state as a whole, after a change of a member's; returns whether that has changed. */
  private update(cause: RedisError | undefined): StatusChange | undefined {
    // Frozen, as strategies of users get it into their hands.
    this.usable = Object.freeze(this.closing ? [] : this.usableNow())
    const previous = this.state
    const state = this.stateNow()
    if (state === previous || previous === "closed") return undefined
    this.state = state
    return { previous, state, cause, sessions: this.sessions }
  }

  private publish(change: StatusChange | undefined): void {
    if (change !== undefined) PubSub.publishUnsafe(this.changes, change)
  }

  private usableNow(): ReadonlyArray<MemberSlot> {
    const open = this.slots.filter((slot) => slot.isOpen)
    const ready = open.filter((slot) => slot.isReady)
    if (ready.length > 0) return ready
    const accepting = open.filter((slot) => slot.isAccepting)
    return accepting.length > 0 ? accepting : open
  }

  private stateNow(): ConnectionState {
    if (this.closing) return this.slots.every((slot) => slot.state === "closed") ? "closed" : "draining"
    return ranks.find((state) => this.slots.some((slot) => slot.state === state)) ?? "backoff"
  }

  // --------------------------------------------------------------------------------------------------------- moving

  /** The calls of a member are about to fail: others take them, if there are any that would. */
  private moveAway(slot: MemberSlot, connection: RedisConnection, closing: boolean): void {
    if (this.closing || connection.queued === 0) return
    this.moveFrom(connection, slot.index, this.readyTargets())
    for (const other of this.slots) {
      if (other.isOpen && !other.isReady) this.move(connection, slot.index, other)
    }
    // With nobody else there at all they wait for the next one.
    if (closing && !this.slots.some((other) => other.isOpen && other.connection !== connection)) {
      this.count(connection.moveUnsent(this.shared.waiting), slot.index, undefined)
    }
  }

  /** A call was queued on a member that is down: its move is due when another member is ready. */
  private callQueued(connection: RedisConnection): void {
    if (connection.downSince !== undefined && this.state === "ready") {
      this.alarm.ringBy(connection.downSince + this.settings.moveAfterMillis)
    }
  }

  /** The mover: runs until it is interrupted. */
  readonly run: Effect.Effect<never> = Effect.suspend(() => this.alarm.run(this.moveDue))

  /** Moves what has waited long enough; returns when to look again, on the connections' clock. */
  private readonly moveDue = (now: number): number => {
    if (this.closing) return Infinity
    this.emptyWaitingRoom()
    const targets = this.readyTargets()
    if (targets.length === 0) return Infinity
    let next = Infinity
    for (const { connection, index } of this.slots) {
      if (connection?.downSince === undefined || connection.queued === 0) continue
      const due = connection.downSince + this.settings.moveAfterMillis
      if (due <= now) this.moveFrom(connection, index, targets)
      // Calls that found no room wait for some.
      const again = now + Math.max(this.settings.moveAfterMillis, PAUSE_MILLIS)
      if (connection.queued > 0) next = Math.min(next, Math.max(due, again))
    }
    return next
  }

  /** The waiting room is for when there is no member: the first one that comes takes all. */
  private emptyWaitingRoom(): void {
    const { waiting } = this.shared
    if (waiting.queued === 0) return
    this.moveFrom(waiting, undefined, this.readyTargets())
    for (const slot of this.slots) if (slot.isOpen) this.move(waiting, undefined, slot)
  }

  /** The members to move to, the least loaded first. */
  private readyTargets(): ReadonlyArray<MemberSlot> {
    return this.slots.filter((slot) => slot.isReady).sort((a, b) => a.load - b.load)
  }

  private moveFrom(from: RedisConnection, index: number | undefined, targets: ReadonlyArray<MemberSlot>): void {
    for (const target of targets) {
      if (from.queued === 0) return
      this.move(from, index, target)
    }
  }

  private move(from: RedisConnection, index: number | undefined, target: MemberSlot): void {
    if (target.connection === undefined || target.connection === from) return
    this.count(from.moveUnsent(target.connection), index, target.index)
  }

  private count(commands: number, from: number | undefined, to: number | undefined): void {
    if (commands === 0) return
    this.moved += commands
    PubSub.publishUnsafe(this.events, { _tag: "CallsMoved", from, to, commands })
  }

  // ---------------------------------------------------------------------------------------------------------- close

  /** All members at once, so that they share one `closeTimeout`. */
  beginClose(): void {
    if (this.closing) return
    this.closing = true
    this.usable = []
    this.shared.waiting.beginClose()
    for (const slot of this.slots) slot.connection?.beginClose()
    this.publish(this.update(undefined))
  }

  // --------------------------------------------------------------------------------------------------------- status

  private get sessions(): number {
    return this.slots.reduce((sum, slot) => sum + slot.status.sessions, 0)
  }

  /** The pool as if it was one connection. */
  get status(): Status {
    const all = [...this.slots.map((slot) => slot.status), this.shared.waiting.status]
    const sum = (of: (status: Status) => number): number => all.reduce((total, status) => total + of(status), 0)
    return {
      state: this.state,
      address: this.shared.waiting.status.address,
      protocol: this.shared.waiting.status.protocol,
      sessions: sum((status) => status.sessions),
      queued: sum((status) => status.queued),
      queuedBytes: sum((status) => status.queuedBytes),
      inFlight: sum((status) => status.inFlight),
      inFlightBytes: sum((status) => status.inFlightBytes),
      repeated: sum((status) => status.repeated),
      lastError: this.state === "ready" ? undefined : this.lastError
    }
  }

  get poolStatus(): PoolStatus {
    return {
      ...this.status,
      size: this.slots.length,
      ready: this.slots.filter((slot) => slot.isReady).length,
      members: this.slots.map((slot) => slot.status),
      waiting: this.shared.waiting.queued,
      leases: { ...this.shared.leases },
      moved: this.moved
    }
  }
}
