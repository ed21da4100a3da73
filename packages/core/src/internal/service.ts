/**
 * The `Service` of one connection: checks and encodes a call in its caller's turn, and submits it.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as CommandTable from "../CommandTable.ts"
import type { RedisError } from "../RedisError.ts"
import type { CallOptions, PipelineReply, Service } from "../RedisService.ts"
import type * as Resp from "../Resp.ts"
import { BYTES, Call, REPEATABLE } from "./call.ts"
import type { Finisher } from "./call.ts"
import type { Connection } from "./connection.ts"
import { argumentError } from "./errors.ts"
import * as finishers from "./finishers.ts"
import { encoder } from "./encoder.ts"
import { ArgumentFailure } from "./respEncoder.ts"
import type { Payload } from "./respEncoder.ts"

const { Flags } = CommandTable

/** What needs a look before it may be sent; everything else costs one table look-up. */
const LOOK = Flags.never | Flags.leaseOnly | Flags.blocking

const badTimeout = (): RedisError =>
  argumentError(
    'The option `timeout` must be a duration above zero, in milliseconds when it is a number, or "infinite"'
  )

/** Milliseconds of a call's `timeout`, or the error that names it. */
const timeoutMillis = (options: CallOptions | undefined, inherited: number): number | RedisError => {
  const timeout = options?.timeout
  if (timeout === undefined) return inherited
  if (timeout === "infinite") return Infinity
  const millis = typeof timeout === "number" ? timeout : Option.getOrUndefined(millisOf(timeout))
  return millis !== undefined && millis > 0 ? millis : badTimeout()
}

const millisOf = (input: Duration.Input): Option.Option<number> =>
  Option.map(Duration.fromInput(input), Duration.toMillis)

/** The flags of a call whose commands have these table flags in common. */
const callFlags = (tableFlags: number, options: CallOptions | undefined): number => {
  const repeatable = (tableFlags & Flags.repeatable) !== 0 && options?.retry !== false ? REPEATABLE : 0
  return options?.decode === "bytes" ? repeatable | BYTES : repeatable
}

/** The name for errors: a command's first word, never an argument. */
const nameOf = (command: Resp.Command): string =>
  typeof command[0] === "string" ? command[0].toUpperCase() : "a command"

type Resume<A> = (effect: Effect.Effect<A, RedisError>) => void

class ConnectionService implements Service {
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
  }

  readonly command: Service["command"] = (command, options) =>
    Effect.callback<Resp.Reply, RedisError>((resume) => {
      const tableFlags = Array.isArray(command) ? CommandTable.flagsOf(command) : 0
      const refused = this.refusal(command, tableFlags, "shared")
      if (refused !== undefined) return resume(Effect.fail(refused))
      const payload = encoder.encode(command)
      if (payload instanceof ArgumentFailure) return resume(Effect.fail(argumentError(payload.message)))
      return this.submit(
        payload,
        1,
        nameOf(command),
        callFlags(tableFlags, options),
        finishers.command,
        1,
        options,
        resume
      )
    })

  readonly pipeline: Service["pipeline"] = (commands, options) =>
    Effect.callback<ReadonlyArray<PipelineReply>, RedisError>((resume) => {
      if (!Array.isArray(commands) || commands.length === 0) {
        return resume(Effect.fail(argumentError("A pipeline must be an array of at least one command")))
      }
      let tableFlags: number = Flags.repeatable
      const names: Array<string> = []
      for (const command of commands) {
        const flags = Array.isArray(command) ? CommandTable.flagsOf(command) : 0
        const refused = this.refusal(command, flags, "pipeline")
        if (refused !== undefined) return resume(Effect.fail(refused))
        tableFlags &= flags
        names.push(nameOf(command))
      }
      const payload = encoder.encodeAll(commands)
      if (payload instanceof ArgumentFailure) return resume(Effect.fail(argumentError(payload.message)))
      const finisher = new finishers.PipelineFinisher(names)
      const count = commands.length
      return this.submit(payload, count, "PIPELINE", callFlags(tableFlags, options), finisher, count, options, resume)
    })

  private refusal(command: Resp.Command, flags: number, where: CommandTable.Where): RedisError | undefined {
    if ((flags & LOOK) !== 0) {
      const refused = CommandTable.refusal(command, where)
      if (refused !== undefined) return argumentError(refused)
    }
    if (this.connection.options.readonly && (flags & Flags.readOnly) === 0) {
      return argumentError(`${nameOf(command)} may change data, and this connection has the option \`readonly\``)
    }
    return undefined
  }

  /** Submits a call; answers what takes it back when its caller is interrupted. */
  private submit<A>(
    payload: Payload,
    count: number,
    name: string,
    flags: number,
    finisher: Finisher<A>,
    expected: number,
    options: CallOptions | undefined,
    resume: Resume<A>
  ): Effect.Effect<void> | void {
    const connection = this.connection
    const timeout = timeoutMillis(options, connection.options.timeoutMillis)
    if (typeof timeout !== "number") return resume(Effect.fail(timeout))
    const call = new Call(
      payload,
      count,
      encoder.bytes,
      name,
      flags,
      finisher,
      expected,
      timeout,
      connection.now(),
      resume
    )
    connection.submit(call)
    return Effect.sync(() => connection.cancel(call))
  }

  get status() {
    return Effect.sync(() => this.connection.status)
  }

  get events() {
    return Stream.fromPubSub(this.connection.changes)
  }
}

export const makeService = (connection: Connection): Service => new ConnectionService(connection)
