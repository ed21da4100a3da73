/**
 * Commands as values: what `Command` exports, and how a call runs them.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Any, BigInts, Command, Failure } from "../../Command.ts"
import { plain, read, type Reader } from "../../Reader.ts"
import { RedisArgumentError, type RedisError } from "../../RedisError.ts"
import { type CallOptions, type PipelineReply, RedisService, type Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { Call } from "../call/call.ts"
import { type Parked, type Recovery, Waiting } from "../call/park.ts"
import { displayNameOf, firstElementOf } from "../commands/name.ts"
import { redisError, withoutStack } from "../errors.ts"
import { inspectSymbol } from "../inspect.ts"
import { ConnectionService } from "../service/service.ts"
import { fitReply, Misfit } from "./fit.ts"
import type { Key } from "./use.ts"

export const TypeId = "~@relive/core/Command" as const

// -----------------------------------------------------------------------------
// The value
// -----------------------------------------------------------------------------

/**
 * Alone it runs on the default service. A reply that is the value as it comes is waited for in one step, as that of
 * `Redis.command` is.
 */
class Value<out A, out B>
  extends Waiting<A, RedisError, RedisService>
  implements Command<A, B>, Recovery<Resp.Reply, RedisError>
{
  readonly args: Resp.Command
  readonly reply: Reader<A, B>
  readonly failure: RedisArgumentError | undefined
  declare readonly [TypeId]: typeof TypeId

  constructor(args: Resp.Command, reply: Reader<A, B>, failure: RedisArgumentError | undefined) {
    super()
    this.args = args
    this.reply = reply
    this.failure = failure
  }

  static {
    Object.defineProperty(this.prototype, TypeId, { value: TypeId })
  }

  protected override submit(fiber: Fiber.Fiber<unknown, unknown>) {
    return submitTo(this, Context.getUnsafe(fiber.context, RedisService))
  }

  /** Reads the reply where the fiber of the call goes on, so that it takes no step of its own. */
  recoverValue(reply: Resp.Reply): Effect.Effect<Resp.Reply & A, RedisError> {
    // A value of the reader; the call knows replies alone.
    return settled(this, read(this.reply, reply, "text")) as Effect.Effect<Resp.Reply & A, RedisError>
  }

  recover(_parked: unknown, exit: Exit.Exit<Resp.Reply, RedisError>): Effect.Effect<Resp.Reply, RedisError> {
    return Exit.isSuccess(exit) ? this.recoverValue(exit.value) : exit
  }

  /** Its arguments may be secrets. */
  override toJSON() {
    return { _id: "Command", name: displayNameOf(firstElementOf(this.args)), words: this.args.length }
  }

  [inspectSymbol](): unknown {
    return this.toJSON()
  }
}

/** A command that runs on the service of another tag. */
class TaggedValue<A, Self> extends Waiting<A, RedisError, Self> {
  private readonly tag: Key<Self>
  private readonly value: Command<A, unknown>

  constructor(tag: Key<Self>, value: Command<A, unknown>) {
    super()
    this.tag = tag
    this.value = value
  }

  protected override submit(fiber: Fiber.Fiber<unknown, unknown>) {
    return submitTo(this.value, Context.getUnsafe(fiber.context, this.tag))
  }
}

export const runEffect = <A, Self>(tag: Key<Self>, command: Command<A, unknown>): Effect.Effect<A, RedisError, Self> =>
  new TaggedValue(tag, command)

/** Submits a command, and gives the effect to wait for. */
const submitTo = <A>(
  command: Command<A, unknown>,
  service: Service
): Parked<A, RedisError> | Effect.Effect<A, RedisError> => {
  const { args, reply, failure } = command
  if (failure !== undefined || !(service instanceof ConnectionService) || !(command instanceof Value)) {
    return run(command, service, undefined)
  }
  const submitted = service.submitCommand(args, undefined)
  if (reply.asIs !== true) {
    if (!(submitted instanceof Call)) return reading(command, () => submitted)
    submitted.recovery = command
  }
  // The reply is the value, as the type of its reader says, or becomes it.
  return submitted as Parked<A, RedisError> | Effect.Effect<A, RedisError>
}

export function make(args: Resp.Command): Command<Resp.Reply>
export function make<A, B>(args: Resp.Command, reply: Reader<A, B>): Command<A, B>
export function make(args: Resp.Command, reply: Reader<unknown> = plain): Command<unknown> {
  return new Value(args, reply, undefined)
}

const refuse = (): never => {
  throw new Resp.DecodeError("shape", "the command was not sent")
}

const never: Reader<never> = { text: refuse, bytes: refuse }

export const fail = (name: string, detail: string): Command<never> =>
  new Value(
    [name],
    never,
    withoutStack(() => new RedisArgumentError({ detail }))
  )

export const isCommand = (u: unknown): u is Command<unknown, unknown> => u instanceof Value

// -----------------------------------------------------------------------------
// Reading replies
// -----------------------------------------------------------------------------

const readFailure = (command: Command<unknown, unknown>, error: Resp.DecodeError): Resp.DecodeError =>
  new Resp.DecodeError(
    error.reason,
    `The reply of ${displayNameOf(firstElementOf(command.args))} cannot be read: ${error.message}`
  )

const isFailure = (value: unknown): value is Resp.DecodeError => value instanceof Resp.DecodeError

/** The effect of a reply, as text or as bytes. */
const settled = <A>(command: Command<unknown, unknown>, value: A | Resp.DecodeError): Effect.Effect<A, RedisError> =>
  isFailure(value) ? Effect.fail(redisError(readFailure(command, value))) : Effect.succeed(value)

/** Runs a command on a service, and gives its text value. */
export const run = <A, B>(
  command: Command<A, B>,
  service: Service,
  options: CallOptions | undefined
): Effect.Effect<A, RedisError> => reading(command, () => service.command(command.args, options))

/** The result of `send`, read as text. */
export const reading = <A, R>(
  command: Command<A, unknown>,
  send: () => Effect.Effect<Resp.Reply, RedisError, R>
): Effect.Effect<A, RedisError, R> => {
  if (command.failure !== undefined) return Effect.fail(redisError(command.failure))
  const { reply } = command
  // The reply is the value, which its type says. Reading it would cost half of what the whole call does.
  if (reply.asIs === true) return send() as Effect.Effect<Resp.Reply & A, RedisError, R>
  return Effect.flatMap(send(), (received) => settled(command, read(reply, received, "text")))
}

/** The same as bytes. */
export const readingBytes = <B, R>(
  command: Command<unknown, B>,
  send: () => Effect.Effect<Resp.Reply, RedisError, R>
): Effect.Effect<B, RedisError, R> => {
  if (command.failure !== undefined) return Effect.fail(redisError(command.failure))
  const { reply } = command
  return Effect.flatMap(send(), (received) => settled(command, read(reply, received, "bytes")))
}

export const isBytes = (options: CallOptions | undefined): options is CallOptions & { readonly decode: "bytes" } =>
  Predicate.isObject(options) && "decode" in options && options.decode === "bytes"

export const on = (service: Service) => {
  function runOn<A, B>(
    command: Command<A, B>,
    options: CallOptions & { readonly decode: "bytes" }
  ): Effect.Effect<B, RedisError>
  function runOn<A, B>(
    command: Command<A, B>,
    options?: CallOptions & { readonly decode?: "text" | undefined }
  ): Effect.Effect<A, RedisError>
  function runOn<A, B>(command: Command<A, B>, options?: CallOptions): Effect.Effect<A | B, RedisError> {
    return isBytes(options)
      ? readingBytes(command, () => service.command(command.args, options))
      : run(command, service, options)
  }
  return runOn
}

// -----------------------------------------------------------------------------
// Many commands
// -----------------------------------------------------------------------------

const arePlain = (commands: ReadonlyArray<Any>): commands is ReadonlyArray<Resp.Command> =>
  !Array.isArray(commands) || !commands.some(isCommand)

/** The words of many commands, or what is wrong with the first one that cannot be sent. */
export const wordsOf = (commands: ReadonlyArray<Any>): ReadonlyArray<Resp.Command> | RedisArgumentError => {
  if (arePlain(commands)) return commands
  const words: Array<Resp.Command> = []
  for (const command of commands) {
    if (!isCommand(command)) words.push(command)
    else if (command.failure === undefined) words.push(command.args)
    else return command.failure
  }
  return words
}

/** Whether an element stands in a reply's place: only these elements have a tag. */
const isElementFailure = (element: PipelineReply): element is Failure =>
  typeof element === "object" && element !== null && "_tag" in element

/** The values of the replies, each read by its command. One that cannot be read is a failure in its own place. */
export const valuesOf = (
  commands: ReadonlyArray<Any>,
  replies: ReadonlyArray<PipelineReply>,
  bytes: boolean
): ReadonlyArray<unknown> =>
  replies.map((reply, index) => {
    const command = commands[index]
    if (!isCommand(command)) return reply
    if (isElementFailure(reply)) return reply
    const value = read(command.reply, reply, bytes ? "bytes" : "text")
    return isFailure(value) ? readFailure(command, value) : value
  })

/** Runs many commands by their words, and reads the replies of those that are typed. */
export const inTurn = <R>(
  commands: ReadonlyArray<Any>,
  bytes: boolean,
  send: (words: ReadonlyArray<Resp.Command>) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError, R>
): Effect.Effect<ReadonlyArray<unknown>, RedisError, R> => {
  const words = wordsOf(commands)
  if (words instanceof RedisArgumentError) return Effect.fail(redisError(words))
  const replies = send(words)
  return words === commands ? replies : Effect.map(replies, (all) => valuesOf(commands, all, bytes))
}

// -----------------------------------------------------------------------------
// Schemas
// -----------------------------------------------------------------------------

const doesNotFit = (message: string): Resp.DecodeError =>
  new Resp.DecodeError("schema", `it does not fit the schema: ${message}`)

/** A reader that decodes what another one reads, as the option `schema` does. */
const decoded = <S extends Schema.Codec<unknown, unknown>>(
  args: Resp.Command,
  reader: Reader<unknown, unknown>,
  schema: S
): Reader<S["Type"]> => {
  const decode = Schema.decodeUnknownResult(schema)
  const words = reader === plain ? args : undefined
  const step = (value: unknown): S["Type"] => {
    const fitted = fitReply(schema, words, value)
    if (fitted instanceof Misfit) throw doesNotFit(fitted.message)
    return Result.getOrThrowWith(decode(fitted), (cause) => doesNotFit(cause.message))
  }
  return { text: (reply) => step(reader.text(reply)), bytes: (reply) => step(reader.bytes(reply)) }
}

export const withSchema = <S extends Schema.Codec<unknown, unknown>>(
  command: Command<unknown, unknown>,
  schema: S
): Command<S["Type"]> => new Value(command.args, decoded(command.args, command.reply, schema), command.failure)

export const define = <const Args extends ReadonlyArray<unknown>, A, Encoded>(options: {
  readonly name: readonly [string, ...ReadonlyArray<string>]
  readonly arguments: Schema.Codec<Args, ReadonlyArray<Resp.Argument>>
  readonly reply: Schema.Codec<A, Encoded>
}): ((...args: Args) => Command<A>) => {
  const encode = Schema.encodeUnknownResult(options.arguments)
  const reader = decoded(options.name, plain, options.reply)
  return (...args) =>
    Result.match(encode(args), {
      onSuccess: (words): Command<A> => new Value([...options.name, ...words], reader, undefined),
      onFailure: () => fail(options.name[0], `The arguments of ${options.name.join(" ")} do not fit their schema`)
    })
}

// -----------------------------------------------------------------------------
// Integers
// -----------------------------------------------------------------------------

const toBigInt = (value: Resp.Reply): bigint | null => {
  if (typeof value === "bigint" || value === null) return value
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value)
  throw new Resp.DecodeError("shape", "integers were expected")
}

export const asBigInt = <A extends number | null | ReadonlyArray<number | null>>(
  command: Command<A, unknown>
): Command<BigInts<A>> => {
  // The form of the reply is that of `A`.
  const readBigInts = (reply: Resp.Reply) =>
    (Array.isArray(reply) ? reply.map(toBigInt) : toBigInt(reply)) as BigInts<A>
  return new Value(command.args, { text: readBigInts, bytes: readBigInts }, command.failure)
}
