/**
 * A session: one life of a connection, from its dial to its end. It is the supervised child; when it ends, for whatever
 * reason, the supervisor starts the next.
 *
 * ```
 *   mailbox ──take──▶ flush ──▶ socket ──▶ [reader fiber: Stream of decoded replies] ──▶ dispatch ──▶ callers
 *                       │                                                                   ▲
 *                       └─────────────────────── in-flight list (in order) ─────────────────┘
 * ```
 *
 * All its state is in this class. It dies in one place, `die`. Reader, handshake, health check and supervisor all call
 * it; the first call wins, and the calls in flight go back to the connection.
 *
 * Callers are resumed synchronously by Effect, so their code runs inside of `dispatch`. Hence the order there: first all
 * state, then the callers.
 *
 * @internal
 */
import { EntryList } from "@relive/otp/Mailbox"
import * as Arr from "effect/Array"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Resp from "../../Resp.ts"
import { asItCame, BARRIER, BLOCKING, BYTES, Call, INTERNAL, REDIRECTABLE, REPEATABLE } from "../call/call.ts"
import type { Answer, ReplyReducer } from "../call/call.ts"
import { preciseMillis } from "../clock.ts"
import { saysNotServing, saysReplica } from "../commands/serverErrors.ts"
import { Batch, isSpoiled } from "../resp/encoder.ts"
import { afterPoll, queueMicrotask, setImmediate } from "../turns.ts"
import { Resumption, SMALLEST_POPULATION } from "./resumption.ts"
import { sessionEnd } from "../transport/sessionEnd.ts"
import type { Chunks, SessionEnd } from "../transport/sessionEnd.ts"

/**
 * The output of a session. `write` is `false` when the next one has to wait: `whenDrained` calls back when it may come. `upToDate`: it is open, and
 * nothing has come in that the session was not told of. While it is not, nothing is written: a call behind a reply that nobody
 * waits for would be given that reply, and one behind the end would be lost.
 */
export interface Sink {
  readonly upToDate: boolean
  readonly write: (chunks: Chunks) => boolean
  readonly whenDrained: (then: () => void) => void
}

/** The parts of its connection that a session needs. */
export interface Owner {
  readonly now: () => number
  /** The next call to write, if one may be written that is at most this large; it is out of the mailbox then. */
  readonly take: (capacity: Capacity) => Call | undefined
  readonly hasCall: (capacity: Capacity) => boolean
  /** A call was found past its deadline, or without its bytes, before it was written. */
  readonly expire: (call: Call) => void
  /** A call had its reply, or its tombstone had. */
  readonly answered: () => void
  readonly ended: (session: Session, end: SessionEnd) => void
  /** A call has all its replies and no outcome: it goes on elsewhere, if it is not settled meanwhile. */
  readonly forward: (call: Call) => void
  /** Calls that this server has refused, in order: they go on at the next one. */
  readonly takeBack: (calls: ReadonlyArray<Call>) => void
  /** An error of the server without the secrets that it repeats. */
  readonly conceal: (error: Resp.ReplyError) => Resp.ReplyError
  /** The end for a server that says that it is a replica, serves nothing, or has unblocked a call, where that is a reason to leave it. */
  readonly demoted: (session: Session, error: Resp.ReplyError) => SessionEnd | undefined
  /** A push has come, on a session without subscriptions. */
  readonly pushed: (push: Resp.Push<Resp.Reply>) => void
}

/** The capacity left in the in-flight list. `empty` lets an entry in that alone is too large. */
export interface Capacity {
  commands: number
  bytes: number
  empty: boolean
}

/**
 * The frames of a session that has subscriptions, of which not all are replies: messages come between them, and in RESP3 the
 * acknowledgement of a SUBSCRIBE is a push.
 */
export interface Inbound extends ReplyReducer {
  /** Takes a frame, or returns the reply that it is to the oldest call in flight. Runs no code of others. */
  readonly take: (frame: Resp.Decoded<Resp.Reply>, oldest: Call | undefined) => Answer | undefined
  /** All frames of a batch are taken and all state is final: subscribers that were told something may be resumed. */
  readonly flush: () => void
  /** The session is ready. */
  readonly ready: () => void
  readonly ended: (end: SessionEnd) => void
  /** Whether a subscriber is to have a turn before the next frame is taken; `turn` is what to wait for then. */
  readonly crowded: boolean
  readonly turn: Effect.Effect<void>
}

/** The parts of its run that a session needs at its end. */
export interface SessionHooks {
  /** Ends the socket, if there is one. */
  readonly destroy: () => void
  /** The session has ended, and all others have been told. */
  readonly ended: () => void
}

/**
 * How far a session is. It only goes on in this order. While it is `leaving` nothing more is written, and it ends when all that was
 * written has its replies; an input that breaks the protocol makes it leave for the rest of one turn.
 */
export type Phase = "dial" | "tls" | "handshake" | "ready" | "leaving" | "ended"

export interface SessionLimits {
  readonly inFlightCommands: number
  readonly inFlightBytes: number
}

/** Enough for one system call to carry; more than that is written in turns, so that `drain` is heeded. */
const BATCH_BYTES = 256 * 1024

/** The most calls past their deadline that are told so before the event loop goes round. */
const BATCH_EXPIRED = 512

/** After so long without a byte from the server, in milliseconds, the socket is looked at before something is written. */
const SILENCE_MILLIS = 100

/**
 * The bytes of a reply that count as progress in an interval of the health check, and the intervals without any after which
 * the server is dead.
 */
const LEAST_BYTES = 256
const SLOW_LIMITS = 5

/** The most looks at the socket while there is something to read. */
const LOOKS = 16

/** Every frame is a reply to the oldest call in flight, or a push. */
export class Session {
  readonly inFlight: EntryList<Call> = new EntryList<Call>()
  phase: Phase = "dial"
  /** Why it has ended. */
  end: SessionEnd | undefined = undefined
  protocol: 2 | 3 = 3
  readyAt = Infinity
  /** The role for which its server was found, and which it had when it was dialled; `undefined` where nobody has looked. */
  sought: "primary" | "replica" | undefined = undefined
  /** When the password that it was opened with expires, in milliseconds of `now`. */
  expiresAt = Infinity
  lastInbound = 0
  /** Later ones of the same server have larger ones. */
  number = 0
  /** Not handed out again after its present holder: something is wrong with its server, or with the way to it. */
  retired = false
  /** Its state is its holder's, who may be in the middle of a `MULTI`: nothing of ours is written in between. */
  keepsState = false
  /** The number of bytes that have come in. */
  received = 0
  /** The first byte that the server sent: it tells what speaks there, when it is not Redis. */
  firstByte = -1
  /** A text that the handshake must not have left over: the next reply is another one. */
  unwanted: string | undefined = undefined
  /** Of a session that has subscriptions. */
  readonly feed: Inbound | undefined
  /** The number of frames of the present array that are taken. */
  dispatched = 0
  /** It is not read on purpose, so the server's silence means nothing. */
  resting = false

  private readonly owner: Owner
  private readonly limits: SessionLimits
  private readonly hooks: SessionHooks
  private sink: Sink | undefined = undefined
  private readonly decoder: Resp.Decoder<Resp.Reply>
  private readonly batch = new Batch()
  private readonly internal: EntryList<Call> = new EntryList<Call>()
  private readonly capacity: Capacity = { commands: 0, bytes: 0, empty: true }
  private repliesWritten = 0
  private dispatching = false
  /** Why it is leaving, or will when the replies of this turn are handed out. */
  private leavesFor: SessionEnd | undefined = undefined
  private flushScheduled = false
  /** While the socket is looked at before something is written; and when that was done last. */
  private looking = false
  /** Something came in after a silence, and nobody has looked since whether there is more. */
  private mustLook = false
  /** When the health check has seen progress last; how many bytes and replies had come then. */
  private progressAt = 0
  private progressBytes = 0
  private progressReplies = 0
  private lookedAt = 0
  readonly resumption = new Resumption()
  /** Whether what is written now is counted: by its time, in milliseconds by `preciseMillis`, as are the two moments below. */
  private measuring = false
  private wrote = 0
  private writes = 0
  /** When the bytes came in whose replies are dispatched next, and since when there was nothing to do before; 0 for not known. */
  private readAt = 0
  private idleSince = 0
  private writing = false
  /** Something has to happen first: the socket drains, or others have had their turn. */
  private stalled = false
  /** Calls in flight that want bytes, and where the decoder is among the calls while there are any. */
  private bytesCalls = 0
  private cursor: Call | undefined = undefined
  /** When the last `PING` was asked for. */
  private pingedAt = -Infinity

  constructor(
    owner: Owner,
    limits: SessionLimits,
    decoder: Resp.Decoder<Resp.Reply>,
    hooks: SessionHooks,
    makeFeed?: (session: Session) => Inbound
  ) {
    this.owner = owner
    this.limits = limits
    this.decoder = decoder
    this.hooks = hooks
    this.feed = makeFeed?.(this)
  }

  /** Whether its handshake is over and its socket is not, also while it is leaving. */
  get isUp(): boolean {
    return this.phase === "ready" || this.phase === "leaving"
  }

  /** Whether it has ended, or takes no more calls. */
  get isOver(): boolean {
    return this.phase === "leaving" || this.phase === "ended"
  }

  // ------------------------------------------------------------------------------------------------------- writing

  /** Something may be there to write. Called after every submission, so it costs next to nothing when there is not. */
  submitted(): void {
    // While replies are dispatched the callers submit their next commands: those go out together.
    if (this.dispatching || this.writing || this.flushScheduled) return
    if (this.inFlight.head === undefined) return this.flush()
    this.flushScheduled = true
    queueMicrotask(this.onMicrotask)
  }

  /** Writes a command of the connection's own, before the mailbox is looked at. */
  submitInternal(call: Call): void {
    this.internal.push(call)
    if (!this.dispatching) this.flush()
  }

  private readonly onMicrotask = (): void => {
    this.flushScheduled = false
    this.flush()
  }

  /** From now on it writes to `sink`. */
  attach(sink: Sink): void {
    this.sink = sink
    this.flush()
  }

  private readonly goOn = (): void => {
    this.stalled = false
    this.flush()
  }

  /**
   * Writes all that is there, and heeds the socket's back-pressure. Taking calls and handing them to the socket is one step, so
   * that "written" means just that; callers whose time was over are told after it. It runs in the turn of the caller who submits: a fiber
   * that waits for something to write costs memory while it waits, and each lone call a resumption.
   */
  private flush(): void {
    const sink = this.sink
    if (sink === undefined || this.writing || this.stalled) return
    this.writing = true
    try {
      while (!this.stalled && this.hasWork()) this.writeBatch(sink)
    } catch (defect) {
      this.die(defective(defect))
    } finally {
      this.writing = false
    }
  }

  private writeBatch(sink: Sink): void {
    const expired: Array<Call> = []
    const chunks = this.takeBatch(expired)
    if (chunks !== undefined && !this.write(sink, chunks)) {
      this.stalled = true
      sink.whenDrained(this.goOn)
    }
    for (const call of expired) this.owner.expire(call)
    if (this.stalled || expired.length < BATCH_EXPIRED) return
    this.stalled = true
    setImmediate(this.goOn)
  }

  private write(sink: Sink, chunks: Chunks): boolean {
    if (!this.measuring) return sink.write(chunks)
    const before = preciseMillis()
    const wantsMore = sink.write(chunks)
    this.wrote += preciseMillis() - before
    this.writes++
    return wantsMore
  }

  private measureCapacity(): Capacity {
    const capacity = this.capacity
    const inFlight = this.inFlight
    capacity.commands = this.limits.inFlightCommands - inFlight.count
    capacity.bytes = this.limits.inFlightBytes - inFlight.bytes
    capacity.empty = inFlight.head === undefined
    return capacity
  }

  private hasWork(): boolean {
    const newest = this.inFlight.tail
    if (this.isOver || this.looking || (newest !== undefined && (newest.flags & BARRIER) !== 0)) return false
    if (this.sink?.upToDate === false) return false
    return this.internal.head !== undefined || (this.phase === "ready" && this.owner.hasCall(this.measureCapacity()))
  }

  /** Whether nothing has come in for a while, and nobody has looked since. */
  get isSilent(): boolean {
    return this.isSilentAt(this.owner.now())
  }

  private isSilentAt(now: number): boolean {
    return now - Math.max(this.lastInbound, this.lookedAt) > SILENCE_MILLIS
  }

  /**
   * Lets the socket be read before something is written: after a silence, or when this program stood still, its end may lie in
   * the kernel, and what is written then is lost, nobody knows where.
   */
  private lookFirst(looks: number): void {
    const before = this.received
    this.looking = true
    afterPoll(() => {
      if (this.phase === "ended") return
      if (this.received !== before && looks > 1) return this.lookFirst(looks - 1)
      this.looking = false
      this.mustLook = false
      this.lookedAt = this.owner.now()
      this.flush()
    })
  }

  /** To be called when there is work. */
  private takeBatch(expired: Array<Call>): Chunks | undefined {
    const batch = this.batch
    const now = this.owner.now()
    const isReady = this.phase === "ready"
    if (isReady && (this.mustLook || this.isSilentAt(now))) {
      this.lookFirst(LOOKS)
      return undefined
    }
    let bytes = 0
    while (bytes < BATCH_BYTES && expired.length < BATCH_EXPIRED) {
      const call = this.internal.shift() ?? (isReady ? this.owner.take(this.measureCapacity()) : undefined)
      if (call === undefined) break
      if (call.expired(now) || isSpoiled(call.payload)) {
        expired.push(call)
        continue
      }
      call.writtenAt = now
      call.firstReply = this.repliesWritten
      this.repliesWritten += call.expected
      this.inFlight.push(call)
      if ((call.flags & BYTES) !== 0) this.expectBytes()
      batch.add(call.payload)
      // A payload that is never written again need not be kept: a large value would be held until its reply.
      if ((call.flags & (REPEATABLE | REDIRECTABLE)) === 0) call.payload = ""
      bytes += call.bytes
      if ((call.flags & BARRIER) !== 0) break
    }
    const chunks = batch.take()
    return Arr.isArrayNonEmpty(chunks) ? chunks : undefined
  }

  // ------------------------------------------------------------------------------------------------------- reading

  /**
   * Bytes came in, at this moment by `preciseMillis`, and were decoded: any of them is a sign of life. Returns why they end the
   * session, if they do.
   */
  inbound(bytes: Uint8Array, at = 0): SessionEnd | undefined {
    if (this.readAt === 0) this.readAt = at
    const now = this.owner.now()
    // Bytes that came in when this program stood still may have the end of the connection behind them.
    if (this.phase === "ready" && this.isSilentAt(now)) this.mustLook = true
    this.lastInbound = now
    this.received += bytes.length
    if (this.inFlight.head?.settled === true) this.dropUnwanted()
    if (this.firstByte < 0) this.firstByte = bytes[0] ?? -1
    return this.surplus()
  }

  /** The reply that has begun may be one that nobody waits for any more: it is not put together. */
  dropUnwanted(): void {
    const head = this.inFlight.head
    const isIts = head !== undefined && this.decoder.replies < head.firstReply + head.expected
    if (isIts && head.settled && this.decoder.inReply) this.decoder.abandon()
  }

  /** A reply that has begun while nothing is in flight: the next caller would be given the rest of it. */
  private surplus(): SessionEnd | undefined {
    // In RESP2 messages look like replies.
    if (this.feed !== undefined && this.protocol === 2) return undefined
    return this.inFlight.head === undefined && this.decoder.inReply ? unexpectedReply : undefined
  }

  /**
   * Hands decoded replies to their calls, then resumes the callers. Fails when a reply has nobody to go to. `dispatched` says
   * where to go on, which is behind the last one unless subscribers are to have a turn first.
   */
  dispatch(frames: ReadonlyArray<Resp.Decoded<Resp.Reply>>, from = 0): SessionEnd | undefined {
    this.dispatched = frames.length
    if (this.phase === "ended") return undefined
    const answered: Array<Call> = []
    let refused: Array<Call> | undefined
    let failure: SessionEnd | undefined = undefined
    if (this.unwanted !== undefined && this.isLeftOver(frames)) {
      this.phase = "leaving"
      return unexpectedReply
    }
    for (let i = from; i < frames.length; i++) {
      let frame = frames[i]
      if (typeof frame === "object") {
        if (this.feed !== undefined) {
          const reply = this.feed.take(frame, this.inFlight.head)
          if (reply === undefined) {
            if (!this.feed.crowded) continue
            this.dispatched = i + 1
            break
          }
          frame = reply
        } else if (frame instanceof Resp.Push) {
          this.owner.pushed(frame)
          continue
        }
      }
      const call = this.inFlight.head
      if (call === undefined) {
        failure = unexpectedReply
        break
      }
      if (typeof frame === "object") {
        if (frame instanceof Resp.ReplyError) frame = this.refusal(frame, call)
        else if (Array.isArray(frame) && call.word === "MULTI") frame = frame.map(this.element)
      }
      call.received++
      const outcome = call.reducer.onReply(call, frame)
      if (call.received < call.expected) continue
      this.retire(call)
      if (!call.settled) {
        if (outcome === undefined && call.refused) (refused ??= []).push(call)
        else answered.push(call)
        if (outcome === asItCame) call.keepValue(frame)
        else if (outcome !== undefined) call.keep(outcome)
      }
      if (call.broken) {
        // Further replies would be those of a connection in a state that nobody asked for.
        failure = brokenState
        break
      }
    }
    if (this.inFlight.head === undefined) failure ??= this.leavesFor ?? this.surplus()
    // Nothing that the callers submit now may be written to a session that is over.
    if (failure !== undefined || this.leavesFor !== undefined) this.phase = "leaving"
    if (refused !== undefined) this.owner.takeBack(refused)
    this.resume(answered)
    return failure
  }

  /** Whether the first reply since the handshake is one of its own, so that all are shifted by one. */
  private isLeftOver(frames: ReadonlyArray<Resp.Decoded<Resp.Reply>>): boolean {
    const reply = frames.find((frame) => !(frame instanceof Resp.Push))
    const isIts = reply === this.unwanted
    if (reply !== undefined) this.unwanted = undefined
    return isIts
  }

  /** An error of the server: it may say that the session is at the wrong one. */
  private refusal(error: Resp.ReplyError, call?: Call): Resp.ReplyError {
    const isRefusal = saysReplica(error) || (this.sought !== undefined && saysNotServing(error))
    if (isRefusal || error.code === "UNBLOCKED") {
      this.leavesFor ??= this.owner.demoted(this, error)
      if (isRefusal && call !== undefined && this.goesOn(call)) call.refused = true
    }
    return this.owner.conceal(error)
  }

  /** Whether a call that is refused here is written again where the next session is: its bytes are kept for that. */
  private goesOn({ flags }: Call): boolean {
    return this.leavesFor !== undefined && this.sought !== undefined && (flags & (REPEATABLE | REDIRECTABLE)) !== 0
  }

  /** The reply of `EXEC` holds the errors of its commands. */
  private readonly element = (reply: Resp.Reply): Resp.Reply =>
    reply instanceof Resp.ReplyError ? this.refusal(reply) : reply

  private retire(call: Call): void {
    this.inFlight.shift()
    // It may have had more replies than were expected when it was written; nothing was written behind it.
    if ((call.flags & BARRIER) !== 0) this.repliesWritten = call.firstReply + call.expected
    // The call has left the list, so the lookup must start at the head again.
    if (this.cursor === call) this.cursor = undefined
    if ((call.flags & BYTES) === 0) return
    this.bytesCalls--
    if (this.bytesCalls === 0) this.decoder.nextBytes = null
  }

  /** Resumes the callers of a batch, group by group, and writes what each group has submitted. */
  private resume(answered: ReadonlyArray<Call>): void {
    const population = answered.length + this.inFlight.size
    if (population < SMALLEST_POPULATION) this.resumeGroup(answered, 0, answered.length)
    else this.resumeInGroups(answered, population)
    this.owner.answered()
  }

  private resumeInGroups(answered: ReadonlyArray<Call>, population: number): void {
    const { idleSince, readAt, resumption } = this
    const start = preciseMillis()
    this.wrote = 0
    this.writes = 0
    this.measuring = true
    const part = resumption.part(population)
    let from = 0
    // Also when nobody is resumed: the replies of those who are gone make room.
    do {
      this.resumeGroup(answered, from, Math.min(from + part, answered.length))
      from += part
    } while (from < answered.length)
    this.measuring = false
    const end = preciseMillis()
    if (idleSince > 0 && readAt > 0 && answered.length > 0) {
      const waited = Math.max(0, readAt - idleSince)
      resumption.learn(answered.length, population, waited, this.wrote, this.writes, end - start - this.wrote)
    }
    this.readAt = 0
    this.idleSince = this.inFlight.head === undefined ? 0 : end
  }

  /** These callers, and only then one write with what they have submitted: a write may be dear. */
  private resumeGroup(answered: ReadonlyArray<Call>, from: number, to: number): void {
    this.dispatching = true
    try {
      for (let i = from; i < to; i++) {
        const call = answered[i]
        if (call.hasOutcome) call.settle()
        else this.owner.forward(call)
      }
      this.feed?.flush()
    } finally {
      this.dispatching = false
    }
    this.flush()
  }

  private expectBytes(): void {
    this.bytesCalls++
    this.decoder.nextBytes = this.nextIsBytes
  }

  /** Finds the call that a reply is for. The decoder asks at the start of each reply while a call in flight wants bytes. */
  private readonly nextIsBytes = (reply: number): boolean => {
    let call = this.cursor ?? this.inFlight.head
    while (call !== undefined && call.firstReply + call.expected <= reply) call = call.next
    this.cursor = call
    return call !== undefined && (call.flags & BYTES) !== 0
  }

  /** How long the oldest unanswered call has waited without a byte from the server, in milliseconds; 0 when none waits. */
  get silentMillis(): number {
    const oldest = this.inFlight.head
    return oldest === undefined ? 0 : this.owner.now() - Math.max(this.lastInbound, oldest.writtenAt)
  }

  /** Whether the server keeps a reply back, or may. */
  get blocked(): boolean {
    for (let call = this.inFlight.head; call !== undefined; call = call.next) {
      if ((call.flags & BLOCKING) !== 0) return true
    }
    return false
  }

  // -------------------------------------------------------------------------------------------------------- health

  /**
   * How long nothing needs to be looked at, in milliseconds; 0 when the session has to be ended; it may write a `PING`.
   * The oldest unanswered call may be silent for the larger of the interval and its own timeout; an idle session gets
   * a `PING`, which is such a call.
   */
  checkHealth(interval: number): number {
    const now = this.owner.now()
    if (this.resting) {
      this.noteProgress(now)
      return interval
    }
    const oldest = this.inFlight.head
    if (oldest === undefined) {
      this.noteProgress(now)
      if (this.keepsState) return interval
      // A message proves nothing of what was published since: subscribers ask also when they are not idle.
      const last = this.feed === undefined ? this.lastInbound : this.pingedAt
      const idle = now - Math.max(last, this.readyAt)
      if (idle < interval) return interval - idle
      this.pingedAt = now
      this.submitInternal(ping(interval, now, this.feed ?? pong))
      return interval
    }
    const limit = Math.max(interval, this.patience(oldest))
    const silent = now - Math.max(this.lastInbound, oldest.writtenAt)
    return silent >= limit || this.isTooSlow(now, oldest, interval, limit) ? 0 : Math.min(limit - silent, interval)
  }

  /**
   * A byte now and then is no life when every call waits in vain: replies must come, or at least so many bytes of one in an interval.
   * Slow and large ones do; and a caller that waits for one has several times as long as its deadline.
   */
  private isTooSlow(now: number, oldest: Call, interval: number, limit: number): boolean {
    const since = Math.max(this.progressAt, oldest.writtenAt)
    // Without a reply that has begun they are pushes. Subscribers live by these.
    const counted = this.feed !== undefined || this.decoder.inReply ? this.received - this.progressBytes : 0
    const enough = LEAST_BYTES * Math.max(1, (now - since) / interval)
    if (this.decoder.replies !== this.progressReplies || counted >= enough) this.noteProgress(now)
    return now - Math.max(this.progressAt, oldest.writtenAt) >= SLOW_LIMITS * limit
  }

  private noteProgress(now: number): void {
    this.progressAt = now
    this.progressBytes = this.received
    this.progressReplies = this.decoder.replies
  }

  /** Asks for a sign of life now, if nothing is asked already. */
  ask(interval: number): void {
    const isIdle = this.inFlight.head === undefined && this.internal.head === undefined
    if (!isIdle || this.keepsState || interval === Infinity) return
    this.pingedAt = this.owner.now()
    this.submitInternal(ping(interval, this.pingedAt, this.feed ?? pong))
  }

  /** Where the oldest call was given up, nobody waits for as long as it may take: the next one that is waited for may say less. */
  private patience(oldest: Call): number {
    let call: Call | undefined = oldest
    while (call?.settled === true) call = call.next
    return Math.min(oldest.patience, (call ?? oldest).patience)
  }

  // ----------------------------------------------------------------------------------------------------------- end

  /**
   * Ends when what was written has its replies, and writes nothing more. What blocks may do so for ever: it ends at once, but for what
   * has come in already (the server lets go of blocked calls by itself when it becomes a replica).
   */
  leave(end: SessionEnd): void {
    if (!this.isUp || this.inFlight.head === undefined) return this.die(end)
    this.leavesFor ??= end
    this.phase = "leaving"
    if (this.blocked) afterPoll(() => this.die(end))
  }

  /** The one death path. Synchronous; the first end counts. */
  die(end: SessionEnd): void {
    if (this.phase === "ended") return
    this.phase = "ended"
    this.end = end
    this.hooks.destroy()
    this.owner.ended(this, end)
    // Callers that wait for these wait for the end as well: they had no reply.
    for (let call = this.internal.shift(); call !== undefined; call = this.internal.shift()) call.settled = true
    this.feed?.ended(end)
    this.hooks.ended()
  }

  /** A step of its opening is done; one that has ended meanwhile stays so. */
  opens(phase: "tls" | "handshake" | "ready"): void {
    if (!this.isOver) this.phase = phase
  }

  /** The connection is ready: commands may be written. */
  becomeReady(): void {
    // In RESP2 an event is an array, and its names and payloads need not be UTF-8.
    if (this.feed !== undefined && this.protocol === 2) this.decoder.nextBytes = () => true
    this.feed?.ready()
    this.submitted()
  }

  /** Reads again what was not read on purpose. */
  rested(): void {
    this.resting = false
    this.lastInbound = this.owner.now()
  }
}

const unexpectedReply = sessionEnd({
  kind: "protocol",
  detail: "the server sent a reply that no command was waiting for",
  permanent: false
})

/** A mistake of ours: it ends this session alone. */
export const defective = (cause: unknown): SessionEnd =>
  sessionEnd({ kind: "disconnected", detail: "a defect in the session", permanent: false, cause })

const brokenState = sessionEnd({
  kind: "protocol",
  detail: "the server's replies do not fit the commands; the connection's state is not known",
  permanent: false
})

/** Discards the reply of `PING`, which shows whether replies are still those of their commands. */
const pong: ReplyReducer = {
  onReply: (call, reply) => {
    call.broken = reply !== "PONG" && !(reply instanceof Resp.ReplyError)
    return Exit.void
  }
}

const pingPayload = "*1\r\n$4\r\nPING\r\n"

const ping = (interval: number, now: number, reducer: ReplyReducer): Call =>
  new Call(pingPayload, 1, pingPayload.length, "PING", INTERNAL, reducer, 1, interval, now, () => {})
