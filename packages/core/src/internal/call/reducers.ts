/**
 * How replies become the outcome of a call, by kind of call. Pure: they run between the decoder and the callers.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Resp from "../../Resp.ts"
import { asItCame } from "./call.ts"
import type { Call, Answer, ReplyReducer, Outcome } from "./call.ts"
import { TransactionAborted, WatchConflict } from "../../RedisError.ts"
import { redactQuotedArguments } from "../commands/redaction.ts"
import { displayNameOf } from "../commands/name.ts"
import { commandNamedIn, saysNotServing, saysReplica } from "../commands/serverErrors.ts"
import { failure } from "../errors.ts"

/** An element of a pipeline on one connection. */
type Element = Resp.Reply | Resp.DecodeError | Resp.ReplyLimitError

/** Adds the command's name to a server error. */
const named = (element: Element, command: string | undefined): Element =>
  element instanceof Resp.ReplyError && command !== undefined ? answerTo(command, element) : element

/** The server's error as the reply of this command, without what it repeats of the arguments. */
const answerTo = (word: string, { code, message }: Resp.ReplyError): Resp.ReplyError => {
  const command = displayNameOf(word)
  return new Resp.ReplyError({ code, message: redactQuotedArguments(message, command), command })
}

/** A reply as an element: what could not be delivered becomes its error. */
export const toElement = (reply: Answer, command: string | undefined): Element =>
  reply instanceof Resp.ReplyFailure ? reply.error : named(reply, command)

/** One command: its reply, its failure, or nothing, when it was refused and goes on elsewhere. */
export const command: ReplyReducer<Resp.Reply> = {
  onReply(call: Call, reply: Answer): Outcome<Resp.Reply> | typeof asItCame | undefined {
    if (typeof reply === "object") {
      if (reply instanceof Resp.ReplyError) return call.refused ? undefined : failure(answerTo(call.word, reply))
      if (reply instanceof Resp.ReplyFailure) return failure(reply.error)
    }
    return asItCame
  }
}

/**
 * Many commands: all replies, in order, or nothing when it goes on elsewhere. `names` are those of the commands, for errors; `reads`
 * says which of them change nothing: where the others were all refused, nothing has changed.
 */
export class PipelineReducer implements ReplyReducer<ReadonlyArray<Element>> {
  private readonly names: ReadonlyArray<string>
  private readonly reads: ReadonlyArray<boolean> | undefined
  /** Emptied by the first reply, so that a repeated pipeline starts over. */
  private elements: Array<Element> = []

  constructor(names: ReadonlyArray<string>, reads?: ReadonlyArray<boolean>) {
    this.names = names
    this.reads = reads
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<Element>> | undefined {
    if (call.received === 1) this.elements = []
    this.elements.push(toElement(reply, this.names[call.received - 1]))
    if (call.received < call.expected) return undefined
    return call.refused && this.hasChangedNothing ? undefined : Exit.succeed(this.elements)
  }

  private get hasChangedNothing(): boolean {
    const { reads } = this
    return reads !== undefined && this.elements.every((element, index) => reads[index] === true || isRefusal(element))
  }
}

const isRefusal = (element: Element): boolean =>
  element instanceof Resp.ReplyError && (saysReplica(element) || saysNotServing(element))

const isQueued = (reply: Element): boolean => reply === "QUEUED"

/** Waits for EXEC or was refused: it has not run by itself. */
const isHeld = (reply: Element): boolean => isQueued(reply) || reply instanceof Resp.ReplyError

/** The outcome of `MULTI`, the commands and `EXEC`, from their replies in order. */
const transactionOutcome = (call: Call, replies: ReadonlyArray<Element>): Outcome<ReadonlyArray<Element>> => {
  const multi = replies[0]
  const exec = replies[replies.length - 1]
  const queued = replies.slice(1, -1)
  if (multi instanceof Resp.ReplyError) return failure(ranOutside(multi, queued))
  if (multi === "OK" && queued.every(isHeld)) {
    if (exec === null) return failure(new WatchConflict())
    if (exec instanceof Resp.ReplyError) {
      // Any other error may leave the connection inside of MULTI.
      call.broken = !endsMulti.has(exec.code)
      return failure(new TransactionAborted({ detail: exec.message, queueErrors: queueErrorsOf(queued) }))
    }
    if (exec instanceof Resp.DecodeError || exec instanceof Resp.ReplyLimitError) return failure(exec)
    const isWhole = queued.every(isQueued) && Array.isArray(exec) && exec.length === queued.length
    if (isWhole) return Exit.succeed(exec)
  }
  call.broken = true
  const refused = queued.find((reply) => reply instanceof Resp.ReplyError)
  return failure(ranOutside(refused ?? notATransaction, queued))
}

/** Errors of `EXEC` with which the server has discarded the transaction: also what a cluster refuses it with. */
const endsMulti: ReadonlySet<string> = new Set(["EXECABORT", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "CLUSTERDOWN"])

const notATransaction = new Resp.ReplyError({
  code: "ERR",
  message: "the server did not answer MULTI and EXEC as it should"
})

const ranOutside = (error: Resp.ReplyError, replies: ReadonlyArray<Element>): Resp.ReplyError =>
  new Resp.ReplyError({
    code: error.code,
    message: error.message,
    command: error.command,
    delivery: "unknown",
    replies
  })

const queueErrorsOf = (queued: ReadonlyArray<Element>) =>
  queued.flatMap((reply, index) =>
    reply instanceof Resp.ReplyError ? [{ index, code: reply.code, message: reply.message }] : []
  )

/**
 * `MULTI`, the commands, `EXEC`: the elements of EXEC's array, or nothing when it was refused and goes on elsewhere. `names` are those
 * of the commands.
 */
export class TransactionReducer implements ReplyReducer<ReadonlyArray<Element>> {
  private readonly names: ReadonlyArray<string>
  private replies: Array<Element> = []

  constructor(names: ReadonlyArray<string>) {
    this.names = names
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<Element>> | undefined {
    return this.add(call, reply, call.received, call.received === call.expected)
  }

  /** The reply to its command number `at`, `MULTI` being the first. */
  add(call: Call, reply: Answer, at: number, isLast: boolean): Outcome<ReadonlyArray<Element>> | undefined {
    if (at === 1) this.replies = []
    this.replies.push(toElement(reply, this.nameAt(at, isLast)))
    if (!isLast) return undefined
    // With MULTI taken, an error to EXEC says that nothing has run.
    if (call.refused && this.replies[0] === "OK" && reply instanceof Resp.ReplyError) return undefined
    const outcome = transactionOutcome(call, this.replies)
    return Exit.map(outcome, (elements) => elements.map((element, i) => named(element, this.names[i])))
  }

  private nameAt(at: number, isLast: boolean): string | undefined {
    if (at === 1) return "MULTI"
    return isLast ? "EXEC" : this.names[at - 2]
  }
}

/**
 * `CLIENT REPLY OFF`, the commands, `CLIENT REPLY ON`, and a `PING` with a text that nobody knows: two replies, `OK` and that
 * text. When the first is refused, all get replies, and the commands have run. Should anything else come (a proxy that lets
 * `CLIENT REPLY` pass for done, say), the next caller would be given another's reply: so the session ends.
 */
export class NoReplyReducer implements ReplyReducer<void> {
  private readonly names: ReadonlyArray<string>
  private readonly marker: string
  private replies: Array<Element> = []

  constructor(names: ReadonlyArray<string>, marker: string) {
    this.names = names
    this.marker = marker
  }

  onReply(call: Call, reply: Answer): Outcome<void> | undefined {
    if (call.received === 1) return this.begin(call, toElement(reply, "CLIENT REPLY"))
    this.replies.push(toElement(reply, this.names[call.received - 2]))
    if (call.received < call.expected) return undefined
    call.broken ||= !this.isMarker(this.replies[call.received - 1])
    const [first] = this.replies
    if (first === "OK") return call.broken ? failure(ranOutside(notSilent, [])) : Exit.void
    return failure(ranOutside(first instanceof Resp.ReplyError ? first : notSilent, this.replies.slice(1, -2)))
  }

  private begin(call: Call, first: Element): Outcome<void> | undefined {
    this.replies = [first]
    if (first === "OK") return undefined
    // Inside of a MULTI all of it is queued, and then the replies of EXEC cannot be told from others.
    call.broken = !(first instanceof Resp.ReplyError)
    call.expected = isHeld(first) ? this.names.length + 3 : 1
    return isHeld(first) ? undefined : failure(ranOutside(notSilent, []))
  }

  /** The reply of the last `PING`, also where the user may not use it. */
  private isMarker(reply: Element | undefined): boolean {
    if (!(reply instanceof Resp.ReplyError)) return reply === this.marker
    return commandNamedIn(reply) === "PING" && !this.names.some((name) => displayNameOf(name) === "PING")
  }
}

const notSilent = new Resp.ReplyError({
  code: "ERR",
  message: "the server did not answer CLIENT REPLY as it should: what was sent may have run"
})

/** The connection's own batches: the replies as they came, and each as it comes. */
export class RawReducer implements ReplyReducer<ReadonlyArray<Answer>> {
  private readonly replies: Array<Answer> = []
  private readonly onEach: (reply: Answer) => void

  constructor(onEach: (reply: Answer) => void) {
    this.onEach = onEach
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<Answer>> | undefined {
    this.replies.push(reply)
    this.onEach(reply)
    return call.received === call.expected ? Exit.succeed(this.replies) : undefined
  }
}
