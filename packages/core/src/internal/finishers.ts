/**
 * How replies become the outcome of a call, by kind of call. Pure: they run between the decoder and the callers.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Resp from "../Resp.ts"
import type { Call, Answer, Finisher, Outcome } from "./call.ts"
import { failure } from "./errors.ts"

/** What can stand in a pipeline's place for a reply. */
export type Element = Resp.Reply | Resp.DecodeError | Resp.ReplyLimitError

/** A reply as an element: what could not be delivered becomes its error. */
export const toElement = (reply: Answer, command: string | undefined): Element => {
  if (reply instanceof Resp.ReplyFailure) return reply.error
  if (reply instanceof Resp.ReplyError && command !== undefined) return reply.withCommand(command)
  return reply
}

/** One command: its reply, or its failure. */
export const command: Finisher<Resp.Reply> = {
  onReply(call: Call, reply: Answer): Outcome<Resp.Reply> {
    if (typeof reply === "object") {
      if (reply instanceof Resp.ReplyError) return failure(reply.withCommand(call.name))
      if (reply instanceof Resp.ReplyFailure) return failure(reply.error)
    }
    return Exit.succeed(reply)
  }
}

/** Many commands: all replies, in order. `names` are those of the commands, for errors. */
export class PipelineFinisher implements Finisher<ReadonlyArray<Element>> {
  private readonly names: ReadonlyArray<string>
  /** Emptied by the first reply, so that a repeated pipeline starts anew. */
  private elements: Array<Element> = []

  constructor(names: ReadonlyArray<string>) {
    this.names = names
  }

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<Element>> | undefined {
    if (call.received === 1) this.elements = []
    this.elements.push(toElement(reply, this.names[call.received - 1]))
    return call.received === call.expected ? Exit.succeed(this.elements) : undefined
  }
}

/** The connection's own batches: the replies as they came. */
export class RawFinisher implements Finisher<ReadonlyArray<Answer>> {
  private readonly replies: Array<Answer> = []

  onReply(call: Call, reply: Answer): Outcome<ReadonlyArray<Answer>> | undefined {
    this.replies.push(reply)
    return call.received === call.expected ? Exit.succeed(this.replies) : undefined
  }
}
