/**
 * The `Service` of one connection, shared or leased: checks and encodes a call in its caller's turn, and submits it.
 *
 * @internal
 */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CommandTable from "../../CommandTable.ts"
import type { Routing, Shared } from "../../RedisConnection.ts"
import { TimeoutError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Subscribe } from "../../RedisPubSub.ts"
import type { CallOptions, PipelineReply, Service } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { BARRIER, BLOCKING, BYTES, Call, REDIRECTABLE, REPEATABLE } from "../call/call.ts"
import type { ReplyReducer } from "../call/call.ts"
import { Waiting } from "../call/park.ts"
import { blockingMillis, callTimeoutMillis, leaseTimeoutMillis } from "../call/options.ts"
import { Connection } from "../connection/connection.ts"
import { Budget, timeoutOption } from "../clock.ts"
import { argumentError, connectionError, redisError, withoutStack } from "../errors.ts"
import { encoder, encodeInTurns, encodeNow, STEP_COMMANDS } from "../call/encoding.ts"
import type { Encoded } from "../call/encoding.ts"
import * as reducers from "../call/reducers.ts"
import { SafeInspectable } from "../inspect.ts"
import type { Lease, Leases } from "../connection/leases.ts"
import { displayNameOf, firstElementOf } from "../commands/name.ts"
import { saysLetGo, saysReplica } from "../commands/serverErrors.ts"
import { ArgumentFailure } from "../resp/encoder.ts"
import type { Payload } from "../resp/encoder.ts"
import { withKeyPrefix } from "./keyPrefix.ts"
import { serverGroupOf } from "./shared.ts"

const { Flags } = CommandTable

/** The flags of commands that need a look before they may be sent; all others cost one table look-up. */
const LOOK = Flags.never | Flags.leaseOnly | Flags.blocking

/** The flags of a call from those that its commands have in common, and those that any of them has. */
const flagsOfCall = (common: number, any: number, options: CallOptions | undefined): number =>
  ((common & Flags.repeatable) !== 0 && options?.retry !== false ? REPEATABLE : 0) |
  ((any & Flags.blocking) !== 0 ? BLOCKING : 0) |
  (options?.decode === "bytes" ? BYTES : 0)

/** The leases in a row that may end before they are used; after these the server's error is the caller's. */
const LEASES_TRIED = 3

/** A call that was submitted, or why there is none. */
type Submitted<A> = Call<A> | Exit.Exit<never, RedisError>

/** Several commands, checked: what they are together. */
interface Group {
  readonly names: ReadonlyArray<string>
  /** The table flags that all have, and those that any has. */
  readonly common: number
  readonly any: number
}

const notCommands = (what: string): RedisError =>
  argumentError(`${what} must be an array of commands, each an array of its name and arguments`)

const empty = (what: string): RedisError => argumentError(`${what} is empty: give it at least one command`)

/** `Service.command` as an effect. */
class CommandEffect extends Waiting<Resp.Reply, RedisError> {
  private readonly service: ConnectionService
  private readonly command: Resp.Command
  private readonly options: CallOptions | undefined

  constructor(service: ConnectionService, command: Resp.Command, options: CallOptions | undefined) {
    super()
    this.service = service
    this.command = command
    this.options = options
  }

  protected override submit(): Call<Resp.Reply> | Effect.Effect<Resp.Reply, RedisError> {
    return this.service.submitCommand(this.command, this.options)
  }
}

/** A call of several commands as an effect. */
class GroupEffect<A> extends Waiting<A, RedisError> {
  private readonly submitGroup: () => Submitted<A>

  constructor(submitGroup: () => Submitted<A>) {
    super()
    this.submitGroup = submitGroup
  }

  protected override submit(): Submitted<A> {
    return this.submitGroup()
  }
}

export class ConnectionService extends SafeInspectable implements Service {
  private readonly connection: Connection
  private readonly leases: Leases
  /** Set when the connection is leased: it is dirtied by what changes its state, and fenced when it was given back. */
  private readonly held: Lease | undefined
  /** Set when there are several connections: then `connection` is the one that has no sessions. */
  private readonly routing: Routing | undefined
  readonly subscribe: Subscribe

  constructor(
    connection: Connection,
    leases: Leases,
    subscribe: Subscribe,
    held: Lease | undefined,
    routing: Routing | undefined
  ) {
    super()
    this.connection = connection
    this.leases = leases
    this.subscribe = subscribe
    this.held = held
    this.routing = routing
  }

  toJSON(): unknown {
    return { _tag: this.held === undefined ? "RedisService" : "RedisLease", address: this.connection.address }
  }

  readonly command: Service["command"] = (command, options) => new CommandEffect(this, command, options)

  /**
   * Submits a command, in the turn of its caller. What blocks is an effect instead, which does so on a connection of its own;
   * and so is a failure.
   */
  submitCommand(
    command: Resp.Command,
    options: CallOptions | undefined
  ): Call<Resp.Reply> | Effect.Effect<Resp.Reply, RedisError> {
    const flags = CommandTable.flagsOf(command)
    const refused = this.refusal(command, flags, "shared")
    if (refused !== undefined) return Exit.fail(refused)
    if ((flags & Flags.blocking) === 0) return this.one(command, flags, options)
    if (this.held !== undefined) return this.one(command, flags, this.blockingOptions([command], options))
    const onlyReads = (flags & Flags.readOnly) !== 0
    return this.onLease(firstElementOf(command), [command], onlyReads, options, (lease, own) =>
      lease.command(command, own)
    )
  }

  private one(command: Resp.Command, flags: number, options: CallOptions | undefined): Submitted<Resp.Reply> {
    const payload = encoder.encode(command)
    if (payload instanceof ArgumentFailure) return Exit.fail(argumentError(payload.message))
    const target = this.target(command, options, undefined)
    const word = firstElementOf(command)
    const callFlags = flagsOfCall(flags, flags, options) | this.flagsOfRefused(flags, word)
    return this.submit(target, payload, encoder.bytes, 1, word, callFlags, reducers.command, 1, options)
  }

  readonly pipeline: Service["pipeline"] = (commands, options) => {
    const group = this.group(commands, "pipeline")
    if ("reason" in group) return Effect.fail(group)
    if (commands.length === 0) return Effect.fail(empty("The pipeline"))
    if ((group.any & Flags.blocking) === 0) return this.many(commands, group, options)
    if (this.held !== undefined) return this.many(commands, group, this.blockingOptions(commands, options))
    const onlyReads = (group.common & Flags.readOnly) !== 0
    return this.onLease("PIPELINE", commands, onlyReads, options, (lease, own) => lease.many(commands, group, own))
  }

  private many(
    commands: ReadonlyArray<Resp.Command>,
    group: Group,
    options: CallOptions | undefined
  ): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> {
    const goesOn = this.flagsOfRefused(group.any, group.names)
    const flags = flagsOfCall(group.common, group.any, options) | goesOn
    return this.encoded<ReadonlyArray<PipelineReply>>(commands, options, outside, ({ bytes, count, payload }, own) => {
      const target = this.target(commands[0], options, commands)
      const reducer = new reducers.PipelineReducer(group.names, goesOn === 0 ? undefined : commands.map(isRead))
      return this.submit(target, payload, bytes, count, "PIPELINE", flags, reducer, count, own)
    })
  }

  readonly transaction: Service["transaction"] = (commands, options) => {
    const group = this.group(commands, "transaction")
    if ("reason" in group) return Effect.fail(group)
    if (commands.length === 0) return Effect.fail(empty("The transaction"))
    const all = [["MULTI"], ...commands, ["EXEC"]]
    return this.encoded<ReadonlyArray<PipelineReply>>(all, options, inside, ({ bytes, count, payload }, own) => {
      const target = this.target(commands[0], options, commands)
      const reducer = new reducers.TransactionReducer(group.names)
      const flags = flagsOfCall(0, 0, options) | this.flagsOfRefused(group.any, group.names)
      return this.submit(target, payload, bytes, count, "MULTI", flags, reducer, count, own)
    })
  }

  readonly noreply: Service["noreply"] = (commands, options) => {
    const group = this.group(commands, "noreply")
    if ("reason" in group) return Effect.fail(group)
    if (commands.length === 0) return Effect.fail(empty("What is sent with noreply"))
    const marker = randomBytes(8).toString("hex")
    const all = [["CLIENT", "REPLY", "OFF"], ...commands, ["CLIENT", "REPLY", "ON"], ["PING", marker]]
    return this.encoded<void>(all, options, inside, ({ bytes, count, payload }, own) => {
      const target = this.target(commands[0], options, commands)
      const reducer = new reducers.NoReplyReducer(group.names, marker)
      return this.submit(target, payload, bytes, count, "NOREPLY", BARRIER, reducer, 2, own)
    })
  }

  /**
   * Encodes commands and submits them, in the turn of their caller; when there are very many, in several turns, and with what
   * is left of the deadline then.
   */
  private encoded<A>(
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined,
    toError: (failed: ArgumentFailure) => RedisError,
    submit: (encoded: Encoded, options: CallOptions | undefined) => Submitted<A>
  ): Effect.Effect<A, RedisError> {
    const submitted = (encoded: Encoded | ArgumentFailure, own: CallOptions | undefined): Submitted<A> =>
      encoded instanceof ArgumentFailure ? Exit.fail(toError(encoded)) : submit(encoded, own)
    if (commands.length <= STEP_COMMANDS) return new GroupEffect(() => submitted(encodeNow(commands), options))
    return this.withDeadline(options, (_timeout, budget) =>
      Effect.flatMap(
        encodeInTurns(commands),
        (encoded) => new GroupEffect(() => submitted(encoded, { ...options, timeout: budget.option }))
      )
    )
  }

  /** For what takes several steps: `timeout` in milliseconds is for all of them. */
  private withDeadline<A>(
    options: CallOptions | undefined,
    run: (timeout: number, budget: Budget) => Effect.Effect<A, RedisError>
  ): Effect.Effect<A, RedisError> {
    return Effect.suspend(() => {
      const timeout = callTimeoutMillis(options, this.connection.options.timeoutMillis)
      if (typeof timeout !== "number") return Effect.fail(timeout)
      return run(timeout, new Budget(this.connection.clock, timeout))
    })
  }

  readonly lease: Service["lease"] = (options) =>
    Effect.suspend(() => {
      const timeout = leaseTimeoutMillis(options, this.connection.options.timeoutMillis)
      if (typeof timeout !== "number") return Effect.fail(timeout)
      return Effect.map(this.leases.acquire(timeout), (lease) => this.of(lease))
    })

  get status(): Service["status"] {
    return this.routing?.status ?? Effect.sync(() => this.connection.status)
  }

  get events(): Service["events"] {
    return this.routing?.events ?? this.connection.events
  }

  get timeoutMillis(): number {
    return this.connection.options.timeoutMillis
  }

  private of(lease: Lease): ConnectionService {
    return new ConnectionService(lease.connection, this.leases, this.subscribe, lease, undefined)
  }

  /**
   * Runs a blocking call on a connection of its own, acquired within the call's deadline. It goes on with another one when the
   * first has ended before the call was written, or its server has let it go or refused it as it is no primary any more, so that
   * nothing was taken; and once when it was written and only reads.
   */
  private onLease<A>(
    word: string,
    commands: ReadonlyArray<Resp.Command>,
    onlyReads: boolean,
    options: CallOptions | undefined,
    run: (lease: ConnectionService, options: CallOptions) => Effect.Effect<A, RedisError>
  ): Effect.Effect<A, RedisError> {
    const isTimed = options?.timeout !== undefined
    return this.withDeadline(options, (timeout, budget) => {
      const attempt = (tries: number, mayRepeat: boolean, whole: Budget | undefined): Effect.Effect<A, RedisError> => {
        let own: Budget | undefined
        const leased = Effect.flatMap(
          this.leases.acquire(isTimed ? budget.left : timeout, displayNameOf(word)),
          (lease) => {
            if (isTimed && budget.left <= 0) return Effect.fail(notWritten(displayNameOf(word), timeout))
            // Without a timeout of its own it has the server's, from when it is written first.
            own = isTimed ? budget : (whole ?? new Budget(this.connection.clock, this.blockedMillis(commands)))
            return run(this.of(lease), { ...options, timeout: own.option })
          }
        )
        return Effect.catch(Effect.scoped(leased), (error) => {
          const failed = error.reason
          if (
            failed._tag === "ReplyError" &&
            tries > 1 &&
            this.isElsewhere(failed) &&
            (own === undefined || own.left > 0)
          )
            return attempt(tries - 1, mayRepeat, own)
          if (failed._tag !== "ConnectionError" || this.connection.isClosing) return Effect.fail(error)
          const isUnsent = own !== undefined && failed.delivery === "unsent" && tries > 1
          const isRead = mayRepeat && failed.delivery === "unknown"
          if ((!isUnsent && !isRead) || (own !== undefined && own.left <= 0)) return Effect.fail(error)
          return attempt(tries - 1, mayRepeat && !isRead, own)
        })
      }
      return attempt(LEASES_TRIED, onlyReads && options?.retry !== false, undefined)
    })
  }

  /** Whether a server says that it is not the primary any more, and there is another one to be found. */
  private isElsewhere(error: Resp.ReplyError): boolean {
    const { sentinel } = this.connection.options
    return sentinel?.role === "primary" && !this.connection.isClosing && (saysLetGo(error) || saysReplica(error))
  }

  /** The deadline of a blocking call: its own, else the server's timeout with the connection's as a grace. */
  private blockingOptions(commands: ReadonlyArray<Resp.Command>, options: CallOptions | undefined): CallOptions {
    if (options?.timeout !== undefined) return options
    return { ...options, timeout: timeoutOption(this.blockedMillis(commands)) }
  }

  /** How long they may block, with the connection's own timeout as a grace. */
  private blockedMillis(commands: ReadonlyArray<Resp.Command>): number {
    return blockingMillis(commands) + this.connection.options.timeoutMillis
  }

  private group(commands: ReadonlyArray<Resp.Command>, where: CommandTable.Where): Group | RedisError {
    if (!Array.isArray(commands)) return notCommands(`The argument of ${where}`)
    const names: Array<string> = []
    let common = ~0
    let any = 0
    for (const command of commands) {
      if (!Array.isArray(command)) return notCommands(`The argument of ${where}`)
      const flags = CommandTable.flagsOf(command)
      const refused = this.refusal(command, flags, where)
      if (refused !== undefined) return refused
      common &= flags
      any |= flags
      names.push(firstElementOf(command))
    }
    return { names, common, any }
  }

  private refusal(command: Resp.Command, flags: number, where: CommandTable.Where): RedisError | undefined {
    if ((flags & LOOK) !== 0) {
      const refused = CommandTable.refusal(command, this.held === undefined ? where : "lease")
      if (refused !== undefined) return argumentError(refused)
      if ((flags & Flags.leaseOnly) !== 0 && this.held !== undefined) {
        this.held.dirty = true
        this.held.session.keepsState = true
      }
    }
    if (this.connection.options.readonly && (flags & (Flags.readOnly | Flags.leaseOnly)) === 0) {
      return argumentError(
        `${displayNameOf(firstElementOf(command))} may change data, and this connection has the option \`readonly\``
      )
    }
    return undefined
  }

  /** The connection of a call. It is chosen when the call is submitted, so that the choice is not stale. */
  private target(
    command: Resp.Command | undefined,
    options: CallOptions | undefined,
    group: ReadonlyArray<Resp.Command> | undefined
  ): Connection | RedisError {
    if (this.routing === undefined) return this.connection
    const chosen = this.routing.choose(command ?? [], options, group)
    if (chosen instanceof Connection || "reason" in chosen) return chosen
    throw new TypeError("Not a connection of @relive/core")
  }

  /**
   * The flag of calls whose refusal by a server that has become a replica proves that nothing of them has run. Of a script it does
   * not, nor of a command that nobody knows, which may be one.
   */
  private flagsOfRefused(any: number, names: string | ReadonlyArray<string>): number {
    if (!this.connection.goesOn || (any & Flags.script) !== 0) return 0
    const areKnown = typeof names === "string" ? CommandTable.isKnown(names) : names.every(CommandTable.isKnown)
    return areKnown ? REDIRECTABLE : 0
  }

  /** Makes a call and submits it, in the turn of its caller. */
  private submit<A>(
    connection: Connection | RedisError,
    payload: Payload,
    bytes: number,
    count: number,
    name: string,
    flags: number,
    reducer: ReplyReducer<A>,
    expected: number,
    options: CallOptions | undefined
  ): Submitted<A> {
    if (!(connection instanceof Connection)) return Exit.fail(connection)
    const timeout = callTimeoutMillis(options, connection.options.timeoutMillis)
    if (typeof timeout !== "number") return Exit.fail(timeout)
    if (this.held?.released === true) return Exit.fail(this.givenBack())
    const call = new Call(payload, count, bytes, name, flags, reducer, expected, timeout, connection.now())
    connection.submit(call)
    return call
  }

  private givenBack(): RedisError {
    const detail = "the lease was given back when its scope closed: acquire another one"
    return connectionError({ kind: "closed", address: this.connection.address, detail }, "unsent")
  }
}

const isRead = (command: Resp.Command): boolean => (CommandTable.flagsOf(command) & Flags.readOnly) !== 0

const notWritten = (command: string, timeoutMillis: number): RedisError =>
  redisError(withoutStack(() => new TimeoutError({ phase: "queued", delivery: "unsent", command, timeoutMillis })))

const outside = (failed: ArgumentFailure): RedisError => argumentError(failed.message)

/** One command of ours stands before the caller's: `MULTI`, or `CLIENT REPLY OFF`. */
const inside = (failed: ArgumentFailure): RedisError => argumentError(failed.countedFrom(1).message)

export const makeService = (connection: Connection, leases: Leases, subscribe: Subscribe): Service =>
  new ConnectionService(connection, leases, subscribe, undefined, undefined)

/** See `RedisConnection.routed`. */
export const makeRouted = (shared: Shared, routing: Routing): Service => {
  const { leasing, observe, subscribe, waiting } = serverGroupOf(shared)
  return withKeyPrefix(
    observe(new ConnectionService(waiting, leasing, subscribe, undefined, routing)),
    waiting.options.keyPrefix
  )
}
