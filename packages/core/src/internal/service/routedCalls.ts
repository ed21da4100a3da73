/**
 * Makes the calls of a service over several servers: checked and encoded as those of one connection, and submitted by nobody
 * yet. See `RedisConnection.RoutedCalls`.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import * as CommandTable from "../../CommandTable.ts"
import type * as RedisConnection from "../../RedisConnection.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Resolved } from "../../RedisOptions.ts"
import type { CallOptions, PipelineReply } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { BYTES, REDIRECTABLE, REPEATABLE } from "../call/call.ts"
import { encoder } from "../call/encoding.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { Waiting } from "../call/park.ts"
import { PartReducer, RoutedCall, routedCommand, RoutedTransaction } from "../call/routed.ts"
import type { Follower } from "../call/routed.ts"
import { displayNameOf, firstElementOf } from "../commands/name.ts"
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
      return argumentError(
        `${displayNameOf(firstElementOf(command))} may change data, and the cluster has the option \`readonly\``
      )
    }
    return flags
  }

  readonly timeoutMillis = (options: CallOptions | undefined): number | RedisError =>
    callTimeoutMillis(options, this.options.timeoutMillis)

  readonly command = (
    command: Resp.Command,
    flags: number,
    options: CallOptions | undefined
  ): RoutedCall<Resp.Reply> | RedisError => {
    const payload = encoder.encode(command)
    if (payload instanceof ArgumentFailure) return argumentError(payload.message)
    const bytes = encoder.bytes
    const timeout = this.timeoutMillis(options)
    if (typeof timeout !== "number") return timeout
    const isRepeatable = (flags & Flags.repeatable) !== 0 && options?.retry !== false
    const callFlags = REDIRECTABLE | (isRepeatable ? REPEATABLE : 0) | bytesFlag(options)
    const word = firstElementOf(command)
    return new RoutedCall(this.follower, payload, 1, bytes, word, callFlags, routedCommand, 1, timeout, this.now())
  }

  readonly transaction = (
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined
  ): RoutedCall<ReadonlyArray<PipelineReply>> | RedisError => {
    const count = commands.length + 2
    const payload = encoder.encodeAll([["MULTI"], ...commands, ["EXEC"]])
    if (payload instanceof ArgumentFailure) return renumbered(payload, payload.command - 1)
    const bytes = encoder.bytes
    const timeout = this.timeoutMillis(options)
    if (typeof timeout !== "number") return timeout
    const reducer = new RoutedTransaction(commands.map(firstElementOf))
    const flags = REDIRECTABLE | bytesFlag(options)
    return new RoutedCall(this.follower, payload, count, bytes, "MULTI", flags, reducer, count, timeout, this.now())
  }

  readonly part = (
    commands: ReadonlyArray<Resp.Command>,
    indexes: ReadonlyArray<number>,
    isRepeatable: boolean,
    timeoutMillis: number,
    options: CallOptions | undefined,
    resume: RedisConnection.ResumeRouted<ReadonlyArray<PipelineReply>>
  ): Part | RedisError => {
    const payload = encoder.encodeAll(commands)
    if (payload instanceof ArgumentFailure) return renumbered(payload, indexes[payload.command] ?? payload.command)
    const reducer = new PartReducer(commands.map(firstElementOf))
    const flags = REDIRECTABLE | (isRepeatable ? REPEATABLE : 0) | bytesFlag(options)
    const count = commands.length
    const call = new RoutedCall(
      this.follower,
      payload,
      count,
      encoder.bytes,
      "PIPELINE",
      flags,
      reducer,
      count,
      timeoutMillis,
      this.now(),
      resume
    )
    return new Part(call, reducer)
  }
}

class Part implements RedisConnection.RoutedPart {
  readonly call: RoutedCall<ReadonlyArray<PipelineReply>>
  private readonly reducer: PartReducer

  constructor(call: RoutedCall<ReadonlyArray<PipelineReply>>, reducer: PartReducer) {
    this.call = call
    this.reducer = reducer
  }

  /** Those of the last session only: what an earlier one said is dropped when it is written again. */
  get replies(): ReadonlyArray<PipelineReply> {
    return this.reducer.replies
  }
}

const bytesFlag = (options: CallOptions | undefined): number => (options?.decode === "bytes" ? BYTES : 0)

/** The place of a wrong argument as its caller counts. */
const renumbered = (failure: ArgumentFailure, command: number): RedisError =>
  argumentError(new ArgumentFailure(failure.problem, Math.max(0, command), failure.position).message)

/** `Service.command` of a service over several servers, as an effect. */
class RoutedCommandEffect extends Waiting<Resp.Reply, RedisError> {
  private readonly submitter: RedisConnection.Submitter
  private readonly command: Resp.Command
  private readonly options: CallOptions | undefined

  constructor(submitter: RedisConnection.Submitter, command: Resp.Command, options: CallOptions | undefined) {
    super()
    this.submitter = submitter
    this.command = command
    this.options = options
  }

  protected override submit() {
    return submitted<Resp.Reply>(this.submitter.submitCommand(this.command, this.options))
  }
}

class RoutedGroupEffect<A> extends Waiting<A, RedisError> {
  private readonly submitGroup: () => RedisConnection.RoutedCall | Effect.Effect<A, RedisError>

  constructor(submitGroup: () => RedisConnection.RoutedCall | Effect.Effect<A, RedisError>) {
    super()
    this.submitGroup = submitGroup
  }

  protected override submit() {
    return submitted<A>(this.submitGroup())
  }
}

/** The call as what its fiber waits for. */
const submitted = <A>(
  made: RedisConnection.RoutedCall | Effect.Effect<A, RedisError>
): RoutedCall<A> | Effect.Effect<A, RedisError> => {
  if (made instanceof RoutedCall) return made
  if ("hops" in made) throw new TypeError("Not a call of @relive/core")
  return made
}

export const makeCommandEffect = (
  submitter: RedisConnection.Submitter,
  command: Resp.Command,
  options: CallOptions | undefined
): Effect.Effect<Resp.Reply, RedisError> => new RoutedCommandEffect(submitter, command, options)

export const makeTransactionEffect = (
  submit: () => RedisConnection.RoutedCall | Effect.Effect<ReadonlyArray<PipelineReply>, RedisError>
): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> => new RoutedGroupEffect(submit)

export const makeRoutedCalls = (
  options: Resolved,
  now: () => number,
  follows: (call: RedisConnection.RoutedCall, error: Resp.ReplyError) => boolean
): RedisConnection.RoutedCalls => new RoutedCalls(options, now, { follows })
