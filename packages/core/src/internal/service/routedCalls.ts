/**
 * Makes the calls of a service over several servers: checked and encoded as those of one connection, and submitted by nobody
 * yet. See `RedisConnection.RoutedCalls`.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as CommandTable from "../../CommandTable.ts"
import type * as RedisConnection from "../../RedisConnection.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Resolved } from "../../RedisOptions.ts"
import type { CallOptions, PipelineReply } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { BYTES, REDIRECTABLE, REPEATABLE } from "../call/call.ts"
import { encoder } from "../call/encoding.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { PartFinisher, RoutedCall, routedCommand, RoutedTransaction } from "../call/routed.ts"
import type { Follower } from "../call/routed.ts"
import { nameOf, wordOf } from "../commands/name.ts"
import { argumentError } from "../errors.ts"
import { ArgumentFailure } from "../resp/encoder.ts"

const { Flags } = CommandTable

const LOOK = Flags.never | Flags.leaseOnly | Flags.blocking

class RoutedCalls implements RedisConnection.RoutedCalls {
  private readonly options: Resolved
  private readonly now: () => number
  private readonly follower: Follower

  constructor(options: Resolved, now: () => number, follower: Follower) {
    this.options = options
    this.now = now
    this.follower = follower
  }

  readonly check = (command: Resp.Command, where: CommandTable.Where): number | RedisError => {
    if (!Array.isArray(command)) return 0
    const flags = CommandTable.flagsOf(command)
    if ((flags & LOOK) !== 0) {
      const refused = CommandTable.refusal(command, where)
      if (refused !== undefined) return argumentError(refused)
    }
    if (this.options.readonly && (flags & (Flags.readOnly | Flags.leaseOnly)) === 0) {
      return argumentError(`${nameOf(wordOf(command))} may change data, and the cluster has the option \`readonly\``)
    }
    return flags
  }

  readonly timeoutMillis = (options: CallOptions | undefined): number | RedisError =>
    callTimeoutMillis(options, this.options.timeoutMillis)

  readonly command = (
    command: Resp.Command,
    flags: number,
    options: CallOptions | undefined,
    resume: RedisConnection.ResumeRouted<Resp.Reply>
  ): RoutedCall<Resp.Reply> | undefined => {
    const payload = encoder.encode(command)
    if (payload instanceof ArgumentFailure) return failed(resume, payload.message)
    const bytes = encoder.bytes
    const timeout = this.timeoutMillis(options)
    if (typeof timeout !== "number") return refused(resume, timeout)
    const isRepeatable = (flags & Flags.repeatable) !== 0 && options?.retry !== false
    const callFlags = REDIRECTABLE | (isRepeatable ? REPEATABLE : 0) | bytesFlag(options)
    const word = wordOf(command)
    return new RoutedCall(
      this.follower,
      payload,
      1,
      bytes,
      word,
      callFlags,
      routedCommand,
      1,
      timeout,
      this.now(),
      resume
    )
  }

  readonly transaction = (
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined,
    resume: RedisConnection.ResumeRouted<ReadonlyArray<PipelineReply>>
  ): RoutedCall<ReadonlyArray<PipelineReply>> | undefined => {
    const count = commands.length + 2
    const payload = encoder.encodeAll([["MULTI"], ...commands, ["EXEC"]])
    if (payload instanceof ArgumentFailure) return failed(resume, renumbered(payload, payload.command - 1))
    const bytes = encoder.bytes
    const timeout = this.timeoutMillis(options)
    if (typeof timeout !== "number") return refused(resume, timeout)
    const finisher = new RoutedTransaction(commands.map(wordOf))
    const flags = REDIRECTABLE | bytesFlag(options)
    return new RoutedCall(
      this.follower,
      payload,
      count,
      bytes,
      "MULTI",
      flags,
      finisher,
      count,
      timeout,
      this.now(),
      resume
    )
  }

  readonly part = (
    commands: ReadonlyArray<Resp.Command>,
    indexes: ReadonlyArray<number>,
    isRepeatable: boolean,
    timeoutMillis: number,
    options: CallOptions | undefined,
    resume: RedisConnection.ResumeRouted<ReadonlyArray<PipelineReply>>
  ): Part | undefined => {
    const payload = encoder.encodeAll(commands)
    if (payload instanceof ArgumentFailure) {
      return failed(resume, renumbered(payload, indexes[payload.command] ?? payload.command))
    }
    const finisher = new PartFinisher(commands.map(wordOf))
    const flags = REDIRECTABLE | (isRepeatable ? REPEATABLE : 0) | bytesFlag(options)
    const count = commands.length
    const call = new RoutedCall(
      this.follower,
      payload,
      count,
      encoder.bytes,
      "PIPELINE",
      flags,
      finisher,
      count,
      timeoutMillis,
      this.now(),
      resume
    )
    return new Part(call, finisher)
  }
}

class Part implements RedisConnection.RoutedPart {
  readonly call: RoutedCall<ReadonlyArray<PipelineReply>>
  private readonly finisher: PartFinisher

  constructor(call: RoutedCall<ReadonlyArray<PipelineReply>>, finisher: PartFinisher) {
    this.call = call
    this.finisher = finisher
  }

  /** Those of the last session only: what an earlier one said is dropped when it is written again. */
  get replies(): ReadonlyArray<PipelineReply> {
    return this.finisher.replies
  }
}

const bytesFlag = (options: CallOptions | undefined): number => (options?.decode === "bytes" ? BYTES : 0)

const refused = <A>(resume: RedisConnection.ResumeRouted<A>, error: RedisError): undefined => {
  resume(Exit.fail(error))
  return undefined
}

const failed = <A>(resume: RedisConnection.ResumeRouted<A>, message: string): undefined =>
  refused(resume, argumentError(message))

/** The place of a wrong argument as its caller counts. */
const renumbered = (failure: ArgumentFailure, command: number): string =>
  failure.message.replace(/ommand \d+/, () => `ommand ${Math.max(0, command)}`)

export const makeRoutedCalls = (
  options: Resolved,
  now: () => number,
  follows: (call: RedisConnection.RoutedCall, error: Resp.ReplyError) => boolean
): RedisConnection.RoutedCalls => new RoutedCalls(options, now, { follows })
