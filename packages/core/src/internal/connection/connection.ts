/**
 * A connection: the permanent identity behind its sessions. It owns the mailbox, the deadlines, the state and the counters;
 * a session comes and goes. It dials nothing and restarts nothing: the supervisor does.
 *
 * Every call that is submitted is settled here exactly once: by its reply (through the session), its deadline, its
 * interruption, the end of its session, or the close.
 *
 * @internal
 */
import { Mailbox } from "@relive/otp/Mailbox"
import type { EntryList } from "@relive/otp/Mailbox"
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Hooks, RedisConnection, RoutedCall as Routed } from "../../RedisConnection.ts"
import { TimeoutError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Endpoint, Resolved } from "../../RedisOptions.ts"
import type { ConnectionState, Status, StatusChange } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { BLOCKING, INTERNAL, REPEATABLE, settle } from "../call/call.ts"
import type { Call, Outcome } from "../call/call.ts"
import { RoutedCall } from "../call/routed.ts"
import { monotonicMillis } from "../clock.ts"
import { Circle } from "./circle.ts"
import type { Finding, Member } from "./circle.ts"
import { saysLetGo, saysNotServing } from "../commands/serverErrors.ts"
import { Settling } from "./settling.ts"
import type { Settlements } from "./settling.ts"
import { Deadlines } from "./deadlines.ts"
import { argumentError, connectionError, failure, SharedFailure, withoutStack } from "../errors.ts"
import { SafeInspectable } from "../inspect.ts"
import { addressOf } from "../options/url.ts"
import { delayMillis, eagerDelayMillis, youngDelayMillis } from "./backoff.ts"
import { Secrets } from "./secrets.ts"
import type { Owner, Capacity, Session } from "./session.ts"
import { isSpoiled } from "../resp/encoder.ts"
import { sessionEnd } from "../transport/sessionEnd.ts"
import type { SessionEnd } from "../transport/sessionEnd.ts"

const abandonedBlocking = sessionEnd({
  kind: "closed",
  detail: "a blocking command was given up, so its connection was closed: nothing is taken for nobody",
  permanent: false
})

const killed = sessionEnd({ kind: "shutdown", detail: "the connection was ended", permanent: false })

const becameReplica = sessionEnd({
  kind: "disconnected",
  detail: "the server has become a replica (READONLY); it is dialled again, in case another one has its name now",
  permanent: false
})

const servesNothing = sessionEnd({
  kind: "disconnected",
  detail: "the server serves nothing for now (LOADING or MASTERDOWN); it is asked again which one to talk to",
  permanent: false
})

const othersAreSilent = sessionEnd({
  kind: "health-check",
  detail:
    "the server said nothing to another connection of this program while a command waited, and nothing to this one since",
  permanent: false
})

const moved = (detail: string): SessionEnd => sessionEnd({ kind: "disconnected", detail, permanent: false })

/** How many changes of state a slow reader of `events` may be behind. */
const KEPT_CHANGES = 64

/** The most calls that one look gives up; the next look comes when the event loop has gone round. */
const LOOK_CALLS = 16_384

/** The failure, and its place, in a few words. */
export const failureOf = ({ reason }: RedisError): string =>
  reason._tag === "ConnectionError" ? `${reason.detail}, at ${reason.address}` : reason.message

/** The errors of calls that are given up together: one for all that differ in nothing. */
class Timeouts {
  private readonly made = new Map<string, Outcome>()
  /** Why there is no session, if there is none. */
  private readonly lastFailure: string | undefined

  constructor(lastError: RedisError | undefined) {
    this.lastFailure = lastError === undefined ? undefined : failureOf(lastError)
  }

  of(call: Call, phase: "queued" | "written"): Outcome {
    const delivery = phase === "queued" && !call.repeated ? "unsent" : "unknown"
    const { name: command, timeoutMillis } = call
    const key = `${phase} ${delivery} ${timeoutMillis} ${command}`
    const known = this.made.get(key)
    if (known !== undefined) return known
    const lastFailure = phase === "queued" && this.lastFailure !== undefined ? { lastFailure: this.lastFailure } : {}
    const outcome = failure(
      withoutStack(() => new TimeoutError({ phase, delivery, command, timeoutMillis, ...lastFailure }))
    )
    this.made.set(key, outcome)
    return outcome
  }
}

/** Its own fault, and nobody else's. */
const spoiled = (call: Call): RedisError =>
  argumentError(
    `${call.name} was not sent: a Uint8Array of more than 16 KiB is taken as it is, and its buffer was transferred or shrunk before the command was written; give a copy, or leave it alone until the call is over`
  )

const noHooks: Hooks = {}

const nothing = (): void => {}

/** A part with times of its own that the sweep of a connection serves: its leases, its log. */
export interface Companion {
  /** Does what is due, and returns when to look again. */
  readonly sweep: (now: number) => number
  /** Refuses its callers: the connection closes. */
  readonly refuse?: () => void
}

export class Connection extends SafeInspectable implements Owner, RedisConnection, Member {
  readonly options: Resolved
  /** Where the session is, or the last one was. */
  address: string
  /** The same as an endpoint; `undefined` before a resolver has found one. */
  endpoint: Endpoint | undefined
  /** `"leased"`: a lease, whose state dies with its only session: nothing waits for another one. */
  readonly kind: "shared" | "leased"
  readonly clock: Clock
  private readonly random: () => number
  readonly deadlines: Deadlines
  /** Made by the first who reads the changes: most connections have no reader. */
  private changes: PubSub.PubSub<StatusChange> | undefined = undefined
  /** Settled by the first ready session when it is `"auto"`. */
  protocol: "auto" | 2 | 3
  /** The form of greeting that the server wants, and the secrets given to it: leases share both. */
  greeting = { isPlain: false }
  secrets = new Secrets()
  state: ConnectionState = "connecting"
  /** Since when there is no ready session, by `now`. */
  downSince: number | undefined

  private readonly hooks: Hooks
  private readonly settling = new Settling()
  /** Where the connections to this server tell each other what they learn. */
  readonly circle: Circle
  private readonly leaveCircle: () => void
  private readonly mailbox: Mailbox<Call>
  private session: Session | undefined = undefined
  /** Where the last ready session was. */
  private readyAddress: string | undefined = undefined
  private lastError: RedisError | undefined = undefined
  /** Why calls are refused at once, while they are. */
  refusing: Exit.Exit<never, RedisError> | undefined = undefined
  /** The number of sessions in a row that have ended without a byte from the server. */
  silentSessions = 0
  private closing = false
  private closeBy = Infinity
  private sessions = 0
  private repeated = 0
  private attempt = 0
  /** Whether something is missed while it waits for its next dial. */
  eager = false
  /** When the last session has started. */
  private startedAt = 0
  /** Whether the last session that was ready had been so for less than `stableAfter`. */
  private youngBefore = false
  private nextDelay = 0
  private onDrained: (() => void) | undefined = undefined
  private onFirst: Array<() => void> = []

  constructor(
    options: Resolved,
    kind: "shared" | "leased",
    clock: Clock,
    random: () => number,
    hooks: Hooks = noHooks,
    circle: Circle = new Circle()
  ) {
    super()
    this.options = options
    this.address = options.resolver?.label ?? options.address
    this.endpoint = options.resolver === undefined ? options.endpoint : undefined
    this.kind = kind
    this.random = random
    this.clock = clock
    this.protocol = options.protocol
    this.hooks = hooks
    this.circle = circle
    this.leaveCircle = circle.join(this)
    this.downSince = monotonicMillis(clock)
    this.deadlines = new Deadlines(clock, this.sweep, () => this.session?.received ?? 0)
    this.mailbox = new Mailbox<Call>({
      capacity: options.mailboxCommands,
      capacityBytes: options.mailboxBytes,
      whenFull: options.whenFull
    })
  }

  toJSON(): unknown {
    return { _tag: "RedisConnection", ...this.status }
  }

  readonly now = (): number => monotonicMillis(this.clock)

  // -------------------------------------------------------------------------------------------------------- callers

  /** Takes a call in. It may settle at once. */
  submit(call: Call): void {
    if (this.refusing !== undefined) return settle(call, this.refusing)
    call.holder = this
    const offer = this.mailbox.offer(call)
    if (offer === "full") return settle(call, this.full())
    this.deadlines.watch(call.wakeBy)
    const session = this.session
    if (session !== undefined && session.isUp) session.submitted()
    else this.hooks.onWaiting?.(this)
  }

  /** The caller is gone: a call that was not written never is, a written one becomes a tombstone. */
  readonly cancel = (call: Call): void => {
    if (call.settled) return
    call.settled = true
    const wasQueued = this.mailbox.remove(call)
    if (!wasQueued && (call.flags & BLOCKING) !== 0) this.session?.die(abandonedBlocking)
    // The cancelled call may have been too large for the in-flight limit; the next one may fit.
    if (wasQueued) this.session?.submitted()
    else this.session?.dropUnwanted()
    this.checkDrained()
  }

  private full(): Outcome {
    const { mailboxBytes, mailboxCommands } = this.options
    const detail = `the mailbox is full (${mailboxCommands} commands, ${mailboxBytes} bytes): submit less at a time, raise mailboxCommands or mailboxBytes, or let callers wait with whenFull: "suspend"`
    return failure(connectionError({ kind: "mailbox-full", address: this.address, detail }, "unsent").reason)
  }

  // --------------------------------------------------------------------------------------------------------- moving

  moveUnsent(to: RedisConnection): number {
    if (!(to instanceof Connection)) throw new TypeError("Not a connection of @relive/core")
    if (to === this || !to.accepting || to.clock !== this.clock) return 0
    let moved = 0
    for (let call = this.mailbox.take(); call !== undefined; call = this.mailbox.take()) {
      if (!to.adopt(call)) {
        this.mailbox.prepend(call)
        break
      }
      moved += call.count
    }
    if (moved > 0) to.session?.submitted()
    this.checkDrained()
    return moved
  }

  /** Takes a call over from another connection, if there is room in the queue itself. */
  private adopt(call: Call): boolean {
    const offer = this.mailbox.offer(call)
    if (offer === "waiting") this.mailbox.remove(call)
    if (offer !== "queued") return false
    call.holder = this
    this.deadlines.watch(call.wakeBy)
    return true
  }

  takeUnsent(wanted: (call: Routed) => boolean): ReadonlyArray<RoutedCall> {
    const taken: Array<RoutedCall> = []
    for (const list of [this.mailbox.queue, this.mailbox.waiting]) {
      for (let call = list.head; call !== undefined; call = call.next) {
        if (call instanceof RoutedCall && wanted(call)) taken.push(call)
      }
    }
    for (const call of taken) this.mailbox.remove(call)
    if (taken.length > 0) this.session?.submitted()
    this.checkDrained()
    return taken
  }

  /** Takes a routed call in: a new one, one that was refused elsewhere, or one that waited for its place. */
  accept(call: Routed, asks: boolean): void {
    if (!(call instanceof RoutedCall)) throw new TypeError("Not a call of @relive/core")
    if (call.settled) return
    call.forward(asks)
    this.submit(call)
  }

  /** Whether calls that a server refuses, as it is not the one to ask any more, go on at the next one. */
  get goesOn(): boolean {
    return this.kind === "shared" && this.options.sentinel !== undefined
  }

  /** What the server of this session has refused, in order: it stands at the head of the mailbox. */
  private refused: ReadonlyArray<Call> = []

  readonly takeBack = (calls: ReadonlyArray<Call>): void => {
    for (const call of calls) call.restart()
    this.refused = [...this.refused.filter(({ list }) => list === this.mailbox.queue), ...calls]
    for (const call of this.refused.toReversed()) {
      this.mailbox.queue.remove(call)
      this.mailbox.prepend(call)
    }
  }

  readonly forward = (call: Call): void => {
    if (!call.settled && call instanceof RoutedCall) this.hooks.onRefused?.(this, call)
  }

  // ------------------------------------------------------------------------------------------------------ deadlines

  private readonly companions: Array<Companion> = []

  /** Adds a companion. `deadlines.watch` says when to sweep it first. */
  attach(companion: Companion): void {
    this.companions.push(companion)
  }

  private readonly sweep = (now: number): number => {
    const expired: Settlements = []
    const timeouts = new Timeouts(this.lastError)
    let next = this.sweepList(this.mailbox.queue, now, "queued", expired, timeouts)
    next = Math.min(next, this.sweepList(this.mailbox.waiting, now, "queued", expired, timeouts))
    const inFlight = this.session?.inFlight
    if (inFlight !== undefined) next = Math.min(next, this.sweepList(inFlight, now, "written", expired, timeouts))
    for (const [call] of expired) this.mailbox.remove(call)
    const session = this.session
    const isAbandoned = expired.some(([call]) => (call.flags & BLOCKING) !== 0 && call.list !== undefined)
    this.settling.add(expired)
    if (isAbandoned) session?.die(abandonedBlocking)
    if (expired.length > 0) this.session?.submitted()
    this.checkDrained()
    for (const companion of this.companions) next = Math.min(next, companion.sweep(now))
    return next
  }

  private sweepList(
    list: EntryList<Call>,
    now: number,
    phase: "queued" | "written",
    expired: Settlements,
    timeouts: Timeouts
  ): number {
    let next = Infinity
    for (let call = list.head; call !== undefined; call = call.next) {
      if (call.settled || (call.flags & INTERNAL) !== 0) continue
      if (!call.expired(now)) {
        if (call.wakeBy < next) next = call.wakeBy
      } else if (expired.length < LOOK_CALLS) expired.push([call, timeouts.of(call, phase)])
      else return now
    }
    return next
  }

  expire(call: Call): void {
    settle(call, isSpoiled(call.payload) ? Exit.fail(spoiled(call)) : new Timeouts(this.lastError).of(call, "queued"))
    this.checkDrained()
  }

  // -------------------------------------------------------------------------------------------------------- session

  hasCall(capacity: Capacity): boolean {
    const head = this.mailbox.queue.head
    return head !== undefined && (capacity.empty || (head.count <= capacity.commands && head.bytes <= capacity.bytes))
  }

  take(capacity: Capacity): Call | undefined {
    return this.hasCall(capacity) ? this.mailbox.take() : undefined
  }

  answered(): void {
    if (this.closing) this.checkDrained()
  }

  conceal(error: Resp.ReplyError): Resp.ReplyError {
    return this.secrets.hideIn(error)
  }

  /** A session starts: it is about to dial. */
  starting(session: Session): void {
    this.startedAt = this.now()
    this.session = session
    session.number = this.circle.begin()
    this.sessions++
    // `failed` lasts through its retries until a session is ready.
    if (this.state !== "failed" && !this.closing) this.change("connecting", undefined)
  }

  handshaking(): void {
    if (this.state === "connecting") this.change("handshaking", undefined)
  }

  /** The server is there and will serve: callers are told why they wait. The next dial, should there be one, need not wait longer. */
  putOff({ cause, detail, kind }: SessionEnd): void {
    this.attempt = 0
    if (this.kind === "leased") return
    this.lastError = connectionError({ kind, address: this.address, detail, cause }, "unsent")
    this.notifyFirstWaiters()
  }

  ready(session: Session): void {
    // One that comes too late for the close has nothing to do any more.
    if (session.isOver || this.closing) return
    this.protocol = session.protocol
    session.readyAt = this.now()
    session.lastInbound = session.readyAt
    session.opens("ready")
    this.refusing = undefined
    this.lastError = undefined
    this.downSince = undefined
    this.tellReached(session)
    this.change("ready", undefined)
    this.notifyFirstWaiters()
    session.becomeReady()
  }

  pushed(push: Resp.Push<Resp.Reply>): void {
    this.hooks.onPush?.(this, push)
  }

  /** A resolver may have found another server than before: the leases are still with that one. Of replicas there are several. */
  private tellReached({ sought }: Session): void {
    if (this.kind === "leased") return
    const isElsewhere = this.readyAddress !== undefined && this.readyAddress !== this.address && sought !== "replica"
    this.readyAddress = this.address
    const detail = `the server is at ${this.address} now`
    this.circle.tell(this, isElsewhere ? { _tag: "Moved", detail, onlyLeases: true } : { _tag: "Reached" })
  }

  /**
   * A server that is no longer the primary keeps its connections: only a new dial, which asks DNS again, gets away
   * from it. Not a session that is young: perhaps there is only this server, and then each write would end a session. A lease
   * is used to its end, but not by the next one.
   */
  demoted(session: Session, error: Resp.ReplyError): SessionEnd | undefined {
    const isNews = !session.retired
    if (this.kind === "leased") session.retired = true
    if (saysNotServing(error)) return servesNothing
    // A client has unblocked it: that says nothing of the server.
    if (error.code === "UNBLOCKED" && !saysLetGo(error)) return undefined
    // It was sought as a replica: the caller who wrote to it is told.
    if (session.sought === "replica") return undefined
    // Where the server is found for each session, its role is asked for before it is used: the next one is never this one.
    if (this.options.readonly || (this.isYoung(session) && this.options.resolver === undefined)) return undefined
    if (isNews) this.circle.tell(this, { _tag: "Demoted" })
    return this.hooks.keepsReplica === true ? undefined : becameReplica
  }

  private isYoung(session: Session): boolean {
    return this.now() - session.readyAt < this.options.stableAfterMillis
  }

  /** Takes the finding of another connection to the same server. */
  learn(finding: Finding, isAbout: (session: number) => boolean): void {
    const session = this.session
    if (finding._tag === "Reached") return
    if (finding._tag === "Moved" && !finding.onlyLeases && session === undefined) this.dialAtOnce()
    if (session === undefined || session.phase === "ended" || this.closing || !isAbout(session.number)) return
    const isLease = this.kind === "leased"
    const saidNothing = finding._tag === "Silent" && session.lastInbound <= finding.since
    if (isLease && (finding._tag !== "Silent" || saidNothing)) session.retired = true
    switch (finding._tag) {
      case "Demoted": {
        if (this.options.readonly || this.hooks.keepsReplica === true || session.sought === "replica") return
        // A lease that is young was dialled before that was known: leaving it cannot go round in circles. Nor can it where the role
        // is asked for first.
        const isFree = isLease || session.sought !== undefined || !this.isYoung(session)
        if (session.isUp && isFree) session.leave(becameReplica)
        return
      }
      case "Moved":
        if (isLease || !finding.onlyLeases) session.leave(moved(finding.detail))
        return
      case "Silent": {
        if (!session.isUp || !saidNothing) return
        if (session.blocked && finding.isShared) return session.die(othersAreSilent)
        return session.ask(this.options.healthCheckIntervalMillis)
      }
      case "Refused":
        // It was let in before; the next session is not.
        return
    }
  }

  /** The session has ended: decides what becomes of every call, then tells the callers. */
  ended(session: Session, end: SessionEnd): void {
    if (end.kind === "health-check") {
      const since = this.now() - session.silentMillis
      this.circle.tell(this, { _tag: "Silent", since, isShared: this.kind === "shared" })
    } else if (end.permanent && this.kind === "shared") this.circle.tell(this, { _tag: "Refused" })
    const shared = new SharedFailure({
      kind: end.kind,
      address: this.address,
      detail: end.detail,
      cause: end.cause
    })
    const failed: Settlements = []
    const repeat: Array<Call> = []
    for (let call = session.inFlight.shift(); call !== undefined; call = session.inFlight.shift()) {
      if (call.settled) continue
      if (this.mayRepeat(call)) repeat.push(call)
      else failed.push([call, call.received === 0 ? shared.unknown : shared.cut(call.received)])
    }
    for (let call = repeat.pop(); call !== undefined; call = repeat.pop()) {
      call.rewind()
      this.repeated += call.count
      this.mailbox.prepend(call)
    }
    // They were written before what was still in flight.
    this.takeBack([])
    this.refused = []
    // A session that was killed closes in the background: the next one may be there before it has ended.
    const isReplaced = this.session !== undefined && this.session !== session
    if (!isReplaced) this.sessionLost(session, end, shared, failed)
    this.settling.add(failed)
    this.notifyFirstWaiters()
    this.checkDrained()
    this.session?.submitted()
  }

  /** There is no session any more. */
  private sessionLost(session: Session, end: SessionEnd, shared: SharedFailure, failed: Settlements): void {
    this.session = undefined
    this.silentSessions = session.firstByte < 0 ? this.silentSessions + 1 : 0
    this.planNextDial(session, end)
    // While it closes there is no next session: what waits for one would only use up the time.
    if (this.closing) this.failQueued(this.shutdown(), failed)
    else this.enterBackoff(end, shared, failed)
  }

  /** Takes out all that is queued, to fail. A read that is repeated was written once, so it can have run. */
  private failQueued(shared: SharedFailure, failed: Settlements): void {
    for (const call of this.mailbox.drain()) failed.push([call, call.repeated ? shared.unknown : shared.unsent])
  }

  private mayRepeat(call: Call): boolean {
    return (call.flags & REPEATABLE) !== 0 && !call.repeated && !this.closing && this.kind === "shared"
  }

  private enterBackoff(end: SessionEnd, shared: SharedFailure, failed: Settlements): void {
    this.downSince ??= this.now()
    const refuses = this.kind === "leased" ? this.leaseEnded(end) : shared
    if (end.permanent || this.options.whenDown === "fail" || this.kind === "leased") {
      this.refusing = refuses.unsent
      this.hooks.onGivingUp?.(this, false)
      this.failQueued(refuses, failed)
    }
    const error = connectionError(
      { kind: end.kind, address: this.address, detail: end.detail, cause: end.cause },
      "unsent"
    )
    this.lastError = error
    this.change(end.permanent || this.state === "failed" ? "failed" : "backoff", error)
  }

  private leaseEnded(end: SessionEnd): SharedFailure {
    const detail = `the leased connection has ended (${end.detail}), and its state with it: acquire another lease`
    return new SharedFailure({ kind: "closed", address: this.address, detail, cause: end.cause })
  }

  private planNextDial(session: Session, end: SessionEnd): void {
    this.nextDelay = this.delayAfter(session, end) + this.dialDelayMillis
  }

  private delayAfter(session: Session, end: SessionEnd): number {
    const readyMillis = this.now() - session.readyAt
    const wasReady = readyMillis >= 0
    this.attempt = wasReady ? 0 : this.attempt + 1
    if (end.permanent || !wasReady) {
      const delay = delayMillis(this.options, end.permanent ? "refused" : "unstable", this.attempt, this.random())
      return this.eager && !end.permanent
        ? eagerDelayMillis(delay, this.now() - (this.downSince ?? this.now()), this.now() - this.startedAt)
        : delay
    }
    const wasYoung = this.youngBefore
    this.youngBefore = readyMillis < this.options.stableAfterMillis
    return wasYoung && this.youngBefore
      ? youngDelayMillis(this.options, readyMillis, this.random())
      : delayMillis(this.options, "ready", 0, this.random())
  }

  /** How long a lease that could not be dialled waits before its next dial, in milliseconds; the first one is 1. */
  redialMillis(attempt: number): number {
    return delayMillis(this.options, "unstable", attempt, this.random())
  }

  /** How long the owner wants a dial to wait, in milliseconds. */
  get dialDelayMillis(): number {
    return this.hooks.dialDelayMillis?.(this) ?? 0
  }

  /** How long the supervisor waits before it starts the next session, in milliseconds. */
  get backoffMillis(): number {
    return this.nextDelay
  }

  // ---------------------------------------------------------------------------------------------------------- close

  /**
   * Refuses new calls. With a ready session the calls under way have `closeTimeout` (or `within` milliseconds, if less) to
   * finish; without one the queued calls fail at once.
   */
  beginClose(within = Infinity): void {
    if (this.closing) return
    this.closing = true
    this.closeBy = this.now() + Math.min(this.options.closeTimeoutMillis, within)
    const failed: Settlements = []
    const shared = this.shutdown()
    // A lease that has ended says so, also when its scope has closed behind it.
    if (this.kind === "shared" || this.refusing === undefined) this.refusing = shared.unsent
    this.downSince ??= this.now()
    this.hooks.onGivingUp?.(this, true)
    if (this.session?.isUp !== true) this.failQueued(shared, failed)
    else this.change("draining", undefined)
    this.settling.add(failed)
    for (const companion of this.companions) companion.refuse?.()
    this.notifyFirstWaiters()
  }

  /** How long the close may still take, in milliseconds: one deadline for all that drains. */
  get closeMillis(): number {
    return Math.max(0, this.closeBy - this.now())
  }

  /** Waits until nothing is under way any more. */
  get drained(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.onDrained = () => {
        this.onDrained = undefined
        resume(Effect.void)
      }
      this.checkDrained()
      return Effect.sync(() => {
        this.onDrained = undefined
      })
    })
  }

  /** Settles whatever is left. The last thing that happens to a connection. */
  close(): void {
    // After a kill there may be one: what it has in flight is settled here, as nobody watches its deadlines any more.
    this.session?.die(killed)
    this.beginClose()
    const shared = this.shutdown()
    const left: Settlements = []
    this.hooks.onGivingUp?.(this, true)
    this.failQueued(shared, left)
    this.leaveCircle()
    this.change("closed", undefined)
    this.settling.add(left)
    this.notifyFirstWaiters()
  }

  /** Waits until everybody has been told: many are told in several turns. */
  get settled(): Effect.Effect<void> {
    return this.settling.done
  }

  private shutdown(): SharedFailure {
    return new SharedFailure({
      kind: "shutdown",
      address: this.address,
      detail: "the connection is closing"
    })
  }

  private checkDrained(): void {
    if (this.onDrained === undefined || this.mailbox.depth > 0) return
    for (let call = this.session?.inFlight.head; call !== undefined; call = call.next) {
      if (!call.settled && (call.flags & INTERNAL) === 0) return
    }
    this.onDrained()
  }

  // ---------------------------------------------------------------------------------------------------------- state

  /** Waits until the first session is ready, or fails with why it could not be. */
  get awaitFirst(): Effect.Effect<void, RedisError> {
    return Effect.callback<void, RedisError>((resume) => {
      const look = (): void => {
        if (this.state === "ready") resume(Effect.void)
        else if (this.lastError !== undefined) resume(Effect.fail(this.lastError))
        else if (this.closing)
          resume(
            Effect.fail(
              connectionError(
                { kind: "shutdown", address: this.address, detail: "the connection is closing" },
                "unsent"
              )
            )
          )
        else this.onFirst.push(look)
      }
      look()
    })
  }

  private notifyFirstWaiters(): void {
    const waiting = this.onFirst
    if (waiting.length === 0) return
    this.onFirst = []
    for (const look of waiting) look()
  }

  get status(): Status {
    return {
      state: this.state,
      address: this.address,
      protocol: this.protocol === "auto" ? undefined : this.protocol,
      sessions: this.sessions,
      queued: this.mailbox.depth,
      queuedBytes: this.mailbox.queue.bytes + this.mailbox.waiting.bytes,
      inFlight: this.session?.inFlight.count ?? 0,
      inFlightBytes: this.session?.inFlight.bytes ?? 0,
      repeated: this.repeated,
      lastError: this.lastError,
      ...(this.options.resolver?.status && { sentinel: this.options.resolver.status })
    }
  }

  get isClosing(): boolean {
    return this.closing
  }

  get accepting(): boolean {
    return this.refusing === undefined
  }

  get queued(): number {
    return this.mailbox.depth
  }

  get silentMillis(): number {
    return this.session?.isUp === true ? this.session.silentMillis : 0
  }

  endSession(detail: string): void {
    this.redial(detail)
    this.circle.tell(this, { _tag: "Moved", detail, onlyLeases: false })
  }

  leave(detail: string): void {
    if (this.session === undefined) return
    if (this.kind === "leased") this.session.retired = true
    else this.session.leave(moved(detail))
  }

  redial(detail: string): void {
    this.session?.die(moved(detail))
    this.dialAtOnce()
  }

  /** It was not the server's doing, so the next dial need not wait, nor does one that waits already. */
  private dialAtOnce(): void {
    this.attempt = 0
    this.nextDelay = 0
    this.dialNow()
  }

  /** A session is about to dial this server; `undefined` when the resolver found none. */
  located(endpoint: Endpoint | undefined): void {
    const { resolver } = this.options
    this.endpoint = endpoint
    this.address = endpoint === undefined ? (resolver?.label ?? "") : addressOf(endpoint)
  }

  /** Ends the wait for the next dial, if there is one. */
  private dialNow: () => void = nothing

  /** Succeeds when the next dial need not wait any longer. */
  get awaitDialNow(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.dialNow = () => resume(Effect.void)
      return Effect.sync(() => {
        this.dialNow = nothing
      })
    })
  }

  get inFlight(): number {
    return this.session?.inFlight.count ?? 0
  }

  private change(state: ConnectionState, cause: RedisError | undefined): void {
    const previous = this.state
    if (previous === state || previous === "closed") return
    this.state = state
    const change: StatusChange = { previous, state, cause, sessions: this.sessions }
    // Readers of the changes go on inside of the publishing: a pool that chooses among connections must know before.
    this.hooks.onChange?.(this, change)
    if (this.changes !== undefined) PubSub.publishUnsafe(this.changes, change)
  }

  private get readers(): Effect.Effect<PubSub.PubSub<StatusChange>> {
    return Effect.suspend(() => {
      if (this.changes !== undefined) return Effect.succeed(this.changes)
      return Effect.map(PubSub.sliding<StatusChange>(KEPT_CHANGES), (made) => (this.changes ??= made))
    })
  }

  /** The changes of state from now on. */
  get events(): Stream.Stream<StatusChange> {
    return Stream.unwrap(Effect.map(this.readers, Stream.fromPubSub))
  }

  /** Ends the streams of changes, also those that are begun later. */
  get endEvents(): Effect.Effect<void> {
    return Effect.flatMap(this.readers, PubSub.shutdown)
  }
}
