/**
 * Calls of a service over several servers: a server may refuse to run one and name another server (`MOVED`, `ASK`), or ask
 * to wait (`TRYAGAIN`, `CLUSTERDOWN`). Such a refusal proves that nothing has run. The call then goes on elsewhere, as the
 * same call: with its deadline and its caller, unsent by the server's own word, without a fiber, a timer or a promise.
 *
 * ```
 *   reply ─▶ reducer ── the router follows it? ──no──▶ outcome, settled as any call
 *                              │ yes: no outcome
 *                              ▼
 *            session.dispatch: out of the in-flight list, all state final ─▶ owner.forward ─▶ router.refused
 * ```
 *
 * The reducers here differ from those of one connection in that question only, so a reply that is no error costs the same.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Resp from "../../Resp.ts"
import type { RedisError } from "../../RedisError.ts"
import type { PipelineReply } from "../../RedisService.ts"
import type { Payload } from "../resp/encoder.ts"
import { type asItCame, Call, REPEATABLE, settle } from "./call.ts"
import type { Answer, ReplyReducer, Outcome, Resume } from "./call.ts"
import * as reducers from "./reducers.ts"

/** Decides on refusals, and takes refused calls over. */
export interface Follower {
  /** Whether it goes on after this error. Asked inside the decoder's loop: it must do nothing but decide. */
  readonly follows: (call: RoutedCall, error: Resp.ReplyError) => boolean
}

const asking = "*1\r\n$6\r\nASKING\r\n"

/** The same class for all routed calls: one shape, every field initialised. */
export class RoutedCall<A = unknown> extends Call<A> {
  readonly follower: Follower
  /** The hash slot by which it is placed; -1 for none. */
  slot = -1
  /** How often it was refused so far. */
  hops = 0
  /** When it may be submitted again, while it waits for that. In milliseconds of the monotonic clock. */
  dueAt = 0
  /** The server's last refusal. */
  refusal: Resp.ReplyError | undefined = undefined
  /** The owner's own. */
  data: unknown = undefined
  /** Whether a reply that finds nothing may be wrong: then it goes on elsewhere, too, without a refusal. */
  doubtsMisses = false

  private readonly plain: Payload
  private readonly plainExpected: number
  /** Whether `ASKING` is written before it: one reply more, which is nobody's. */
  asks = false

  constructor(
    follower: Follower,
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
    super(payload, count, bytes, word, flags, reducer, expected, timeoutMillis, now, resume)
    this.follower = follower
    this.plain = payload
    this.plainExpected = expected
  }

  get command(): string {
    return this.name
  }

  get isSettled(): boolean {
    return this.settled
  }

  get mayHaveRun(): boolean {
    return this.repeated
  }

  readonly hold = (dropped: (call: RoutedCall) => void): void => {
    this.holder = {
      cancel: () => {
        if (this.settled) return
        this.settled = true
        dropped(this)
      }
    }
  }

  readonly takeBack = (): void => {
    if (this.settled) return
    this.abandon()
    this.settled = true
  }

  readonly fail = (error: RedisError): void => settle(this, Exit.fail(error))

  get isRepeatable(): boolean {
    return (this.flags & REPEATABLE) !== 0
  }

  /** Forgets its last way: as unsent as it was before it. What an earlier session may have run stays `repeated`. */
  forward(asks: boolean): void {
    this.received = 0
    this.writtenAt = 0
    this.asks = asks
    this.payload = asks ? prefixed(this.plain) : this.plain
    this.expected = this.plainExpected + (asks ? 1 : 0)
  }

  /** Whether this reply is the one to `ASKING`. An error of it is dropped, too: what the command is told then is the truth. */
  get isPrefix(): boolean {
    return this.asks && this.received === 1
  }

  /** Whether its owner goes on after this refusal, which is kept. */
  follows(error: Resp.ReplyError): boolean {
    if (!this.follower.follows(this, error)) return false
    this.refusal = error
    return true
  }
}

const prefixed = (payload: Payload): Payload => (typeof payload === "string" ? asking + payload : [asking, ...payload])

/** One command: its reply, its failure, or nothing, when it goes on elsewhere. */
export const routedCommand: ReplyReducer<Resp.Reply> = {
  onReply(call: Call, reply: Answer): Outcome<Resp.Reply> | typeof asItCame | undefined {
    if (call.received < call.expected) return undefined
    if (typeof reply === "object" && reply instanceof Resp.ReplyError) {
      if (!call.settled && call instanceof RoutedCall && call.follows(reply)) return undefined
    } else if (isMiss(reply) && call instanceof RoutedCall && call.doubtsMisses && !call.settled) {
      call.refusal = undefined
      return undefined
    }
    return reducers.command.onReply(call, reply)
  }
}

/** Whether a reply says that the server does not have the key, in the words of any command that reads. */
export const isMiss = (reply: unknown): boolean => {
  if (typeof reply !== "object") return reply === 0 || reply === -2 || reply === "" || reply === "none"
  if (reply === null) return true
  if (Array.isArray(reply)) return reply.length === 0 || reply.some(isMiss)
  return (reply instanceof Map || reply instanceof Set) && reply.size === 0
}

/** `MULTI`, the commands, `EXEC`. It goes on elsewhere as a whole when it was discarded because of such a refusal. */
export class RoutedTransaction implements ReplyReducer<ReadonlyArray<PipelineReply>> {
  private readonly names: ReadonlyArray<string>
  private inner: reducers.TransactionReducer
  private refusal: Resp.ReplyError | undefined = undefined
  private isOpen = false

  constructor(names: ReadonlyArray<string>) {
    this.names = names
    this.inner = new reducers.TransactionReducer(names)
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<PipelineReply>> | undefined {
    if (call.received === 1) this.reset()
    if (!(call instanceof RoutedCall) || call.isPrefix) return undefined
    const at = call.received - (call.asks ? 1 : 0)
    if (at === 1) this.isOpen = reply === "OK"
    else if (this.refusal === undefined && reply instanceof Resp.ReplyError && this.isOpen) this.note(call, reply)
    const isLast = call.received === call.expected
    // An error to EXEC says that nothing has run; with MULTI refused it says nothing of the kind.
    if (isLast && this.refusal !== undefined && reply instanceof Resp.ReplyError && !call.settled) {
      call.refusal = this.refusal
      return undefined
    }
    return this.inner.add(call, reply, at, isLast)
  }

  /** The first refusal of its commands counts: those behind it may be told otherwise. */
  private note(call: RoutedCall, error: Resp.ReplyError): void {
    if (error.code !== "EXECABORT" && call.follower.follows(call, error)) this.refusal = error
  }

  private reset(): void {
    this.inner = new reducers.TransactionReducer(this.names)
    this.refusal = undefined
    this.isOpen = false
  }
}

/**
 * A part of a pipeline: the replies as they come, for the one that puts the parts together. They are kept also when the
 * connection ends in the middle.
 */
export class PartReducer implements ReplyReducer<ReadonlyArray<PipelineReply>> {
  private readonly names: ReadonlyArray<string>
  replies: Array<PipelineReply> = []

  constructor(names: ReadonlyArray<string>) {
    this.names = names
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<PipelineReply>> | undefined {
    if (call.received === 1) this.replies = []
    this.replies.push(reducers.toElement(reply, this.names[call.received - 1]))
    return call.received === call.expected ? Exit.succeed(this.replies) : undefined
  }
}
