/**
 * One call: what a caller asked for, from its submission to its one settlement. It is the entry of the mailbox, then of
 * the session's in-flight list, and after an interruption or a timeout the tombstone there whose reply is dropped.
 *
 * Plain mutable state, one shape, every field initialised: this object is made once per command on the hot path.
 *
 * @internal
 */
import type { EntryList, Entry } from "@relive/otp/Mailbox"
import type * as Exit from "effect/Exit"
import type { RedisError } from "../../RedisError.ts"
import type * as Resp from "../../Resp.ts"
import { displayNameOf } from "../commands/name.ts"
import { queueMicrotask } from "../turns.ts"
import type { Payload } from "../resp/encoder.ts"
import { Parked } from "./park.ts"
import type { Resume as ResumeWith } from "./park.ts"

/** The content of a reply slot. */
export type Answer = Resp.Reply | Resp.ReplyFailure

/** The outcome of a call. */
export type Outcome<A = unknown> = Exit.Exit<A, RedisError>

/** May be written a second time when its session died before the reply: running it twice changes nothing. */
export const REPEATABLE = 1
/** Its replies are decoded in bytes mode. */
export const BYTES = 2
/** The connection's own (handshake, health): not counted, not tracked by the deadlines, never repeated. */
export const INTERNAL = 4
/** The server may keep its reply back: when its caller is gone, its connection must go too. */
export const BLOCKING = 16
/** A server may send it on to another one, so what it writes is kept until it is settled. See `routed`. */
export const REDIRECTABLE = 32
/** How many replies it gets is not known before they come: nothing is written behind it until then. */
export const BARRIER = 8
/** It was written to a session that has died, and is to be written again. (64 is `SETTLED`.) */
const REPEATED = 128
/** Its server has refused it, as it is not the one to ask: it goes on where the group is, if nothing of it can have changed anything. */
const REFUSED = 512
/** Its replies show that the session's state is unknown (inside MULTI, say), so the session must end. */
const BROKEN = 256

/** The result of a reducer when the reply, as it came, is the value of the call: no exit is made for it. */
export const asItCame = Symbol("asItCame")

/** Turns the replies of a call into its outcome. */
export interface ReplyReducer<A = unknown> {
  /**
   * Called with each reply, counted in `call.received`; `undefined` while more are to come, and for the last one when the
   * call goes on elsewhere. Runs no user code.
   */
  readonly onReply: (call: Call, reply: Answer) => Outcome<A> | typeof asItCame | undefined
}

/** Resumes a caller that is no fiber. */
export type Resume<A> = ResumeWith<A, RedisError>

/** The holder of a call, which can take it back. */
export interface Holder {
  readonly cancel: (call: Call) => void
}

/** The fiber of its caller is parked by the call itself. */
export class Call<A = unknown> extends Parked<A, RedisError> implements Entry<Call> {
  next: Call | undefined = undefined
  previous: Call | undefined = undefined
  list: EntryList<Call> | undefined = undefined

  /** Dropped when it was written, unless it may be written again. */
  payload: Payload
  readonly count: number
  readonly bytes: number
  /** The command's first element, or what the call is. For errors see `name`. */
  readonly word: string
  readonly reducer: ReplyReducer<A>
  /** In milliseconds; 0 without a deadline. (Not `Infinity`: these fields stay small integers, which cost no memory.) */
  readonly timeoutMillis: number
  /** In whole milliseconds of the monotonic clock; 0 for none. */
  readonly deadline: number

  /** The number of replies that are expected in all. */
  expected: number
  /** The number of replies that have come. */
  received = 0
  /** Index of its first reply among all replies of its session: set when it is written. */
  firstReply = 0
  writtenAt = 0
  /** The connection that has it now, once it was submitted. */
  holder: Holder | undefined = undefined

  constructor(
    payload: Payload,
    count: number,
    bytes: number,
    word: string,
    flags: number,
    reducer: ReplyReducer<A>,
    expected: number,
    timeoutMillis: number,
    now: number,
    resume?: Resume<A>
  ) {
    super(flags, resume)
    this.payload = payload
    this.count = count
    this.bytes = bytes
    this.word = word
    this.reducer = reducer
    this.expected = expected
    const millis = timeoutMillis === Infinity ? 0 : Math.max(1, Math.ceil(timeoutMillis))
    this.timeoutMillis = millis
    // Never early: `now` was rounded down.
    this.deadline = millis === 0 ? 0 : now + millis + 1
  }

  override abandon(): void {
    this.holder?.cancel(this)
  }

  /** Whether it was written to a session that has died. */
  get repeated(): boolean {
    return (this.flags & REPEATED) !== 0
  }

  /** Whether its replies say that the session must end. */
  get broken(): boolean {
    return (this.flags & BROKEN) !== 0
  }

  set broken(broken: boolean) {
    this.flags = broken ? this.flags | BROKEN : this.flags & ~BROKEN
  }

  /** Whether its server has refused it, or a part of it, for not being the one to ask. */
  get refused(): boolean {
    return (this.flags & REFUSED) !== 0
  }

  set refused(refused: boolean) {
    this.flags = refused ? this.flags | REFUSED : this.flags & ~REFUSED
  }

  /** The command's name, for errors. Never an argument. */
  get name(): string {
    return displayNameOf(this.word)
  }

  /** Whether its deadline has passed. */
  expired(now: number): boolean {
    return this.deadline !== 0 && this.deadline <= now
  }

  /**
   * The latest moment at which a passed deadline must have been noticed: late by at most 10 ms or 2 %, of which half is
   * left to the timer.
   */
  get wakeBy(): number {
    return this.deadline === 0 ? Infinity : this.deadline + Math.max(4, Math.floor(this.timeoutMillis * 0.01))
  }

  /**
   * How long its reply may take, in milliseconds, before the server is taken for dead: so long that its own deadline, if it
   * is waited for, was noticed before.
   */
  get patience(): number {
    const millis = this.timeoutMillis
    if (millis === 0 || (this.flags & BLOCKING) !== 0) return Infinity
    return (this.flags & INTERNAL) !== 0 ? millis : millis + Math.max(10, Math.ceil(millis * 0.02))
  }

  /** Forgets the replies of a dead session, so that the call can be written once more. */
  rewind(): void {
    this.flags |= REPEATED
    this.received = 0
    this.writtenAt = 0
  }

  /** Forgets the replies of a server that has run nothing of it: it is as unsent as it was before. */
  restart(): void {
    this.refused = false
    this.received = 0
    this.writtenAt = 0
  }

  /** Settles it with what it has kept, once, when it is in no list any more. This runs the caller's code: all state must be final. */
  settle(): void {
    if (this.settled) return
    try {
      this.finish()
    } catch (thrown) {
      // By an observer of the caller's fiber. The program is to see it, but others must not miss their replies for it.
      queueMicrotask(() => {
        throw thrown
      })
    }
  }
}

/** Settles a call that is in no list any more with this outcome, once. This runs the caller's code: all state must be final. */
export const settle = (call: Call, outcome: Outcome): void => {
  if (call.settled) return
  call.keep(outcome)
  call.settle()
}
