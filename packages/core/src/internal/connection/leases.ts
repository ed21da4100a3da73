/**
 * Leases: connections that nobody shares, for what is state of a connection or blocks it.
 *
 * A lease is a connection with one session, run as a temporary child. It is taken from the idle ones or opened, up to
 * a bound; callers above it wait in the order they came. Given back clean it is kept for a while; given back dirty (its
 * state was changed: no command tells whether it was cleaned), busy or broken it is closed.
 *
 * @internal
 */
import type * as ChildSpec from "@relive/otp/ChildSpec"
import type { SupervisorRef } from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { LeaseTimeout, TimeoutError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import { Annex } from "./annex.ts"
import type { Finding, Member } from "./circle.ts"
import type { Connection } from "./connection.ts"
import { Budget } from "../clock.ts"
import { connectionError, redisError, withoutStack } from "../errors.ts"
import { sessionEnd } from "../transport/sessionEnd.ts"
import { polled, withinTime } from "../turns.ts"
import type { Session } from "./session.ts"

/** The value that a lease's child hands out when it starts. */
export interface LeaseParts {
  readonly connection: Connection
  readonly session: Session
}

export interface Lease extends LeaseParts {
  /** A command that changes the connection's state was sent. */
  dirty: boolean
  /** Given back: its former holder may not use it any more. */
  released: boolean
  /** When it was taken, or given back. */
  since: number
}

/** The child spec of one lease; the child hands its parts out when it starts. */
export type LeaseSpec = (handOut: (parts: LeaseParts) => void) => ChildSpec.ChildSpec<unknown>

/** The grant of a waiter: a lease that was given back, or the slot for a new one. */
type Grant = { readonly _tag: "Lease"; readonly lease: Lease } | { readonly _tag: "Slot" }

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const fresh = { dirty: false, released: false }

const unused = sessionEnd({ kind: "closed", detail: "the lease was given back", permanent: false })

/** The failure of a dial that took too long. */
type TooLate = () => Effect.Effect<never, RedisError>

/** Nothing is ever put in it. */
const none = new Set<never>()

class Waiter {
  granted: Grant | undefined = undefined
  resume: (() => void) | undefined = undefined
  /** Its place among all who wait, also for leases on other servers with the same bound. */
  readonly ticket: number

  constructor(ticket: number) {
    this.ticket = ticket
  }
}

/**
 * The bound of the leases of one server, or of several together (the nodes of a cluster). Slots go to the caller that has waited
 * longest, wherever the lease is to be.
 */
export class LeaseBound {
  private readonly most: number
  /** Those that have asked for one. */
  private members: Set<Leases> | undefined = undefined
  private tickets = 0

  constructor(most: number) {
    this.most = most
  }

  join(leases: Leases): void {
    ;(this.members ??= new Set()).add(leases)
  }

  leave(leases: Leases): void {
    this.members?.delete(leases)
    this.grantSlots()
  }

  nextTicket(): number {
    return this.tickets++
  }

  get hasSlot(): boolean {
    let taken = 0
    for (const leases of this.members ?? []) taken += leases.taken
    return taken < this.most
  }

  /** To be called whenever there may be a slot again. */
  grantSlots(): void {
    while (this.hasSlot) {
      let first: Leases | undefined
      for (const leases of this.members ?? []) {
        if (leases.firstTicket < (first?.firstTicket ?? Infinity)) first = leases
      }
      if (first === undefined) return
      first.grantSlot()
    }
  }
}

export class Leases implements Member {
  private readonly owner: Connection
  private readonly spec: LeaseSpec
  private readonly idle: Array<Lease> = []
  /** These two are made by the first lease and the first waiter: most connections have none. */
  private out: Set<Lease> = none
  private waiters: Set<Waiter> = none
  /** Those who wait for their next dial. */
  private pausing: Set<() => void> | undefined = undefined
  /** Those that wait for their next dial. */
  private waits: Set<() => void> | undefined = undefined
  private opening = 0
  readonly bound: LeaseBound
  /** Where they live. */
  readonly annex = new Annex("leases", () => this.stopped())
  /** How many callers got none in time. */
  timeouts = 0
  /** Told how long each caller waited for its lease, and had it, in milliseconds. */
  onWaited: ((millis: number) => void) | undefined = undefined
  onUsed: ((millis: number) => void) | undefined = undefined

  constructor(owner: Connection, spec: LeaseSpec, bound = new LeaseBound(owner.options.leases)) {
    this.owner = owner
    this.spec = spec
    this.bound = bound
  }

  /** How many are out, or being opened. */
  get taken(): number {
    return this.out.size + this.opening
  }

  /** The place of the caller that has waited longest; `Infinity` when none waits. */
  get firstTicket(): number {
    for (const { ticket } of this.waiters) return ticket
    return Infinity
  }

  /** Fails the waiters. */
  private stopped(): void {
    this.idle.length = 0
    this.refuse()
    this.bound.leave(this)
  }

  /**
   * Takes the finding of a connection to the same server: no lease that is idle now is handed out, unless it has spoken
   * since. The leases themselves hear of it, too. Waiters are refused as calls are.
   */
  learn(finding: Finding): void {
    // The server is there, or elsewhere: those that wait to dial it again need not wait any longer.
    if (finding._tag === "Reached" || finding._tag === "Moved") for (const goOn of [...(this.waits ?? [])]) goOn()
    if (finding._tag === "Reached") return
    for (const lease of this.idle.splice(0)) {
      const hasSpoken = finding._tag === "Silent" && lease.session.lastInbound > finding.since
      if (hasSpoken) this.idle.push(lease)
      else this.terminate(lease)
    }
    if (finding._tag === "Refused" && this.owner.refusing !== undefined) this.refuse()
  }

  /** Tells the waiters that there will be none. */
  refuse(): void {
    for (const waiter of [...this.waiters]) waiter.resume?.()
    for (const end of [...(this.pausing ?? [])]) end()
  }

  /**
   * A lease until the scope closes. `timeout` in milliseconds bounds the waiting and the dial; `command` is what
   * it is for, as an error names it.
   */
  acquire(timeout: number, command = "LEASE"): Effect.Effect<Lease, RedisError, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) => {
      const asked = this.owner.now()
      const dialTooLate: TooLate = () =>
        Effect.fail(
          redisError(
            withoutStack(
              () => new TimeoutError({ phase: "queued", delivery: "unsent", command, timeoutMillis: timeout })
            )
          )
        )
      return Effect.tap(this.take(timeout, dialTooLate, restore), (lease) => {
        this.onWaited?.(this.owner.now() - asked)
        return Effect.addFinalizer(() => this.giveBack(lease))
      })
    })
  }

  get status(): { readonly out: number; readonly idle: number; readonly waiting: number } {
    return { out: this.out.size, idle: this.idle.length, waiting: this.waiters.size }
  }

  // ------------------------------------------------------------------------------------------------------ acquiring

  /** Uninterruptible but for what it gives to `restore`, so that no lease is lost on the way to its holder. */
  private take(timeout: number, dialTooLate: TooLate, restore: Restore): Effect.Effect<Lease, RedisError> {
    return Effect.suspend(() => {
      if (this.owner.refusing !== undefined) return this.owner.refusing
      const budget = new Budget(this.owner.clock, timeout)
      this.bound.join(this)
      // First come, first served: no caller overtakes a waiter.
      if (this.waiters.size === 0) {
        const lease = this.takeIdle()
        if (lease !== undefined)
          return lease.session.isSilent ? this.lookAt(lease, budget, dialTooLate, restore) : Effect.succeed(lease)
        if (this.hasSlot) {
          this.opening++
          return this.open(timeout, dialTooLate, restore)
        }
      }
      return this.wait(timeout, restore).pipe(
        Effect.flatMap((grant) =>
          grant._tag === "Lease" ? Effect.succeed(grant.lease) : this.open(budget.left, dialTooLate, restore)
        )
      )
    })
  }

  /** After a silence its end may have come in: it is looked at before it is handed out. */
  private lookAt(
    lease: Lease,
    budget: Budget,
    dialTooLate: TooLate,
    restore: Restore
  ): Effect.Effect<Lease, RedisError> {
    return Effect.flatMap(polled, () => {
      if (lease.session.isUp) return Effect.succeed(lease)
      this.out.delete(lease)
      this.grantSlots()
      return this.take(budget.left, dialTooLate, restore)
    })
  }

  private get hasSlot(): boolean {
    return this.bound.hasSlot
  }

  private takeIdle(): Lease | undefined {
    for (let lease = this.idle.pop(); lease !== undefined; lease = this.idle.pop()) {
      const isExpired = lease.session.expiresAt <= this.owner.now()
      if (lease.session.isUp && !lease.session.retired && !isExpired) return this.markOut(lease)
      this.terminate(lease)
    }
    return undefined
  }

  private markOut(lease: Lease): Lease {
    const taken: Lease = { ...lease, ...fresh, since: this.owner.now() }
    this.noteOut(taken)
    return taken
  }

  private noteOut(lease: Lease): void {
    if (this.out === none) this.out = new Set()
    this.out.add(lease)
  }

  private wait(timeout: number, restore: Restore): Effect.Effect<Grant, RedisError> {
    const waiter = new Waiter(this.bound.nextTicket())
    const granted = Effect.callback<Grant, RedisError>((resume) => {
      waiter.resume = () => {
        resume(waiter.granted === undefined ? this.refusal() : Effect.succeed(waiter.granted))
      }
      if (this.waiters === none) this.waiters = new Set()
      this.waiters.add(waiter)
    })
    return granted.pipe(
      (waiting) =>
        withinTime(this.owner.clock, waiting, { millis: timeout, orElse: () => Effect.fail(this.tooLate()) }),
      restore,
      // A grant may have come when the waiting was over already.
      Effect.onExit((exit) => {
        this.waiters.delete(waiter)
        const grant = waiter.granted
        return Exit.isSuccess(exit) || grant === undefined ? Effect.void : this.returnGrant(grant)
      })
    )
  }

  private returnGrant(grant: Grant): Effect.Effect<void> {
    if (grant._tag === "Lease") return this.giveBack(grant.lease)
    return Effect.sync(() => {
      this.opening--
      this.grantSlots()
    })
  }

  private tooLate(): RedisError {
    this.timeouts++
    let oldest = Infinity
    for (const lease of this.out) oldest = Math.min(oldest, lease.since)
    const out = this.out.size + this.opening
    return redisError(
      withoutStack(() => new LeaseTimeout({ out, oldest: oldest === Infinity ? 0 : this.owner.now() - oldest }))
    )
  }

  /** Opens a lease in the slot that was counted for it. */
  private open(timeout: number, dialTooLate: TooLate, restore: Restore): Effect.Effect<Lease, RedisError> {
    return this.dial(this.owner.now() + timeout, 1, dialTooLate, restore).pipe(
      // In one step, so that its slot is never free in between.
      Effect.onExit((exit) =>
        Effect.sync(() => {
          this.opening--
          if (Exit.isFailure(exit)) return this.grantSlots()
          exit.value.since = this.owner.now()
          this.noteOut(exit.value)
        })
      )
    )
  }

  /** Dials until it succeeds, as the connection itself does while it is down: by its backoff, within the deadline. */
  private dial(
    deadline: number,
    attempt: number,
    dialTooLate: TooLate,
    restore: Restore
  ): Effect.Effect<Lease, RedisError> {
    const left = () => Math.max(1, deadline - this.owner.now())
    const ready = (lease: Lease) =>
      Effect.suspend(() =>
        withinTime(this.owner.clock, lease.connection.awaitFirst, {
          millis: left(),
          orElse: dialTooLate,
          received: () => lease.session.received,
          forgiving: true
        })
      ).pipe(
        restore,
        Effect.onError(() => Effect.sync(() => this.terminate(lease)))
      )
    const again = Effect.suspend(() =>
      this.owner.now() >= deadline ? dialTooLate() : this.pause(Math.min(this.owner.redialMillis(attempt), left()))
    ).pipe(restore, Effect.andThen(Effect.suspend(() => this.dial(deadline, attempt + 1, dialTooLate, restore))))
    return this.start.pipe(
      Effect.tap(ready),
      Effect.catch((error) => (this.mayDialAgain(error) ? again : Effect.fail(error)))
    )
  }

  /** Not after a refusal, nor when it closes. */
  private mayDialAgain(error: RedisError): boolean {
    return error.reason._tag === "ConnectionError" && error.isRetryable && this.owner.options.whenDown === "wait"
  }

  private pause(millis: number): Effect.Effect<void, RedisError> {
    const refused = Effect.callback<never, RedisError>((resume) => {
      const end = () => resume(this.refusal())
      if (this.owner.isClosing) return end()
      const pausing = (this.pausing ??= new Set())
      pausing.add(end)
      return Effect.sync(() => pausing.delete(end))
    })
    const woken = Effect.callback<void>((resume) => {
      const goOn = () => resume(Effect.void)
      const waits = (this.waits ??= new Set())
      waits.add(goOn)
      return Effect.sync(() => waits.delete(goOn))
    })
    return Effect.raceFirst(Effect.raceFirst(Effect.sleep(millis), woken), refused)
  }

  private get start(): Effect.Effect<Lease, RedisError> {
    return Effect.suspend(() =>
      this.owner.isClosing
        ? Effect.fail(this.closed())
        : Effect.flatMap(this.annex.open, (supervisor) => this.startIn(supervisor))
    )
  }

  private startIn(supervisor: SupervisorRef | undefined): Effect.Effect<Lease, RedisError> {
    if (supervisor === undefined) return Effect.fail(this.closed())
    let parts: LeaseParts | undefined
    const spec = this.spec((started) => {
      parts = started
    })
    return supervisor.startChild(spec).pipe(
      Effect.mapError(() => this.closed()),
      Effect.flatMap(() =>
        parts === undefined
          ? Effect.fail(this.closed())
          : Effect.succeed({ ...parts, ...fresh, since: this.owner.now() })
      )
    )
  }

  private refusal(): Effect.Effect<never, RedisError> {
    return this.owner.refusing ?? Effect.fail(this.closed())
  }

  private closed(): RedisError {
    return connectionError(
      { kind: "shutdown", address: this.owner.address, detail: "the connection is closing" },
      "unsent"
    )
  }

  // ------------------------------------------------------------------------------------------------------ giving back

  private giveBack(lease: Lease): Effect.Effect<void> {
    return Effect.sync(() => {
      lease.released = true
      this.out.delete(lease)
      this.onUsed?.(this.owner.now() - lease.since)
      const reusable =
        this.annex.isOpen &&
        lease.session.isUp &&
        !lease.session.retired &&
        !lease.dirty &&
        lease.session.inFlight.head === undefined &&
        lease.connection.queued === 0
      if (!reusable) {
        // This resumes the callers that still waited for it, and they may ask for another lease.
        this.terminate(lease)
        return this.grantSlots()
      }
      this.keep(lease)
      this.grantSlots()
    })
  }

  private keep(lease: Lease): void {
    lease.since = this.owner.now()
    this.idle.push(lease)
    this.owner.deadlines.watch(lease.since + this.owner.options.leaseIdleMillis)
  }

  /** Ends the idle ones that were not used for long; returns when to look again. */
  sweep(now: number): number {
    const { leaseIdleMillis } = this.owner.options
    while (this.idle.length > 0) {
      const oldest = this.idle[0]
      if (oldest === undefined || now < oldest.since + leaseIdleMillis) break
      this.idle.shift()
      oldest.session.die(unused)
    }
    const next = this.idle[0]
    return next === undefined ? Infinity : next.since + leaseIdleMillis
  }

  /** To be called whenever there may be a slot again. */
  private grantSlots(): void {
    this.bound.grantSlots()
  }

  /** Grants a slot to the caller that has waited longest here. */
  grantSlot(): void {
    const waiter = this.nextWaiter()
    if (waiter === undefined) return
    const lease = this.takeIdle()
    if (lease !== undefined) return this.grant(waiter, { _tag: "Lease", lease })
    this.opening++
    this.grant(waiter, { _tag: "Slot" })
  }

  private nextWaiter(): Waiter | undefined {
    for (const waiter of this.waiters) {
      this.waiters.delete(waiter)
      return waiter
    }
    return undefined
  }

  private grant(waiter: Waiter, grant: Grant): void {
    waiter.granted = grant
    waiter.resume?.()
  }

  /** Ends the child. The socket goes at once: what was in flight on a lease has nobody who waits for it. */
  private terminate(lease: Lease): void {
    lease.session.die(unused)
  }
}
