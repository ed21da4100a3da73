/**
 * The calls of `Redis`, made for one tag: the module's own, or an instance's (`Redis.Tag`).
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CommandTable from "../../CommandTable.ts"
import type { Any, BytesReplies, Command, Fits, Replies } from "../../Command.ts"
import type { BytesOptions, Calls, SchemaOptions, TextOptions } from "../../Redis.ts"
import { RedisArgumentError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions, PipelineReply, Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { blockingMillis } from "../call/options.ts"
import { Waiting } from "../call/park.ts"
import { displayNameOf, firstElementOf } from "../commands/name.ts"
import { ConnectionService } from "../service/service.ts"
import { argumentError, redisError } from "../errors.ts"
import { inTurn, isBytes, isCommand, reading, readingBytes, runEffect, wordsOf } from "./command.ts"
import { fitReply, Misfit } from "./fit.ts"
import { withRetry } from "./retry.ts"
import { makePubSub } from "./pubsub.ts"
import { makeScans } from "./scan.ts"
import { makeScripts } from "./script.ts"
import { use, type Key } from "./use.ts"
import { makeWatch } from "./watch.ts"

/** `Redis.command` without options: from its effect to the connection it is one step. */
class CommandEffect<Self> extends Waiting<Resp.Reply, RedisError, Self> {
  private readonly tag: Key<Self>
  private readonly command: Resp.Command

  constructor(tag: Key<Self>, command: Resp.Command) {
    super()
    this.tag = tag
    this.command = command
  }

  protected override submit(fiber: Fiber.Fiber<unknown, unknown>) {
    const service = Context.getUnsafe(fiber.context, this.tag)
    return service instanceof ConnectionService
      ? service.submitCommand(this.command, undefined)
      : service.command(this.command, undefined)
  }
}

const misfit = (command: Resp.Command, message: string): RedisError =>
  redisError(
    new Resp.DecodeError(
      "schema",
      `The reply of ${displayNameOf(firstElementOf(command))} does not fit the schema: ${message}`
    )
  )

const hasSchema = <S extends Schema.Constraint>(
  options: SchemaOptions<S> | CallOptions | undefined
): options is SchemaOptions<S> => Predicate.isObject(options) && "schema" in options && options.schema !== undefined

const isRepeatable = (command: Resp.Command): boolean =>
  (CommandTable.flagsOf(command) & CommandTable.Flags.repeatable) !== 0

/** Makes a call of the service, with the option `retry` if there is one. */
const call = <Self, Input, A>(
  tag: Key<Self>,
  run: (service: Service, input: Input, options: CallOptions | undefined) => Effect.Effect<A, RedisError>,
  repeatable: (input: Input) => boolean,
  /** How long the server may keep the reply back, in milliseconds. */
  blocking: (input: Input) => number
) => {
  return (input: Input, options?: CallOptions): Effect.Effect<A, RedisError, Self> => {
    const retry = options?.retry
    if (options === undefined || retry === undefined || retry === false) {
      return use(tag, (service) => run(service, input, options))
    }
    return use(tag, (service) =>
      withRetry(retry, options, service.timeoutMillis + blocking(input), repeatable(input), (own) =>
        run(service, input, own)
      )
    )
  }
}

type Many<Self> = (
  commands: ReadonlyArray<Resp.Command>,
  options?: CallOptions
) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError, Self>

/** A pipeline or transaction of typed commands and arrays. */
const typedMany = <Self>(many: Many<Self>): Calls<Self>["pipeline"] => {
  function run<const Cs extends ReadonlyArray<Any>>(
    commands: Cs,
    options: BytesOptions
  ): Effect.Effect<BytesReplies<Cs>, RedisError, Self>
  function run<const Cs extends ReadonlyArray<Any>>(
    commands: Cs,
    options?: CallOptions
  ): Effect.Effect<Replies<Cs>, RedisError, Self>
  function run(commands: ReadonlyArray<Any>, options?: CallOptions): Effect.Effect<unknown, RedisError, Self> {
    return inTurn(commands, isBytes(options), (words) => many(words, options))
  }
  return run
}

export const makeCalls = <Self>(tag: Key<Self>): Calls<Self> => {
  const plain = call<Self, Resp.Command, Resp.Reply>(
    tag,
    (service, input, options) => service.command(input, options),
    isRepeatable,
    (input) => blockingMillis([input])
  )
  const decodedBy = <S extends Schema.Constraint>(
    words: Resp.Command,
    schema: S,
    reply: Effect.Effect<unknown, RedisError, Self>,
    /** The reply is as the server sent it, and not read by a typed command. */
    isRaw: boolean
  ): Effect.Effect<unknown, RedisError, unknown> => {
    if (!Schema.isSchema(schema)) return Effect.fail(argumentError("The option `schema` must be a Schema"))
    const decode = Schema.decodeUnknownEffect(schema)
    return Effect.flatMap(reply, (value) => {
      const fitted = fitReply(schema, isRaw ? words : undefined, value)
      if (fitted instanceof Misfit) return Effect.fail(misfit(words, fitted.message))
      return Effect.mapError(decode(fitted), (cause) => misfit(words, cause.message))
    })
  }
  function command<S extends Schema.Constraint>(
    command: Resp.Command,
    options: SchemaOptions<S>
  ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
  function command(command: Resp.Command, options?: CallOptions): Effect.Effect<Resp.Reply, RedisError, Self>
  function command<A, B, S extends Schema.Constraint>(
    command: Command<A, B>,
    options: TextOptions & { readonly schema: Fits<S, A> }
  ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
  function command<A, B, S extends Schema.Constraint>(
    command: Command<A, B>,
    options: BytesOptions & { readonly schema: Fits<S, B> }
  ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
  function command<A, B>(
    command: Command<A, B>,
    options: BytesOptions & { readonly schema?: undefined }
  ): Effect.Effect<B, RedisError, Self>
  function command<A, B>(
    command: Command<A, B>,
    options?: TextOptions & { readonly schema?: undefined }
  ): Effect.Effect<A, RedisError, Self>
  function command<S extends Schema.Constraint>(
    command: Any,
    options?: SchemaOptions<S> | CallOptions
  ): Effect.Effect<unknown, RedisError, unknown> {
    if (isCommand(command)) return typed(command, options)
    // Without options there is nothing to look at: the shortest way, since most calls take it.
    if (options === undefined) {
      return new CommandEffect(tag, command)
    }
    return hasSchema(options)
      ? decodedBy(command, options.schema, plain(command, options), true)
      : plain(command, options)
  }
  const typed = <S extends Schema.Constraint>(
    command: Command<unknown, unknown>,
    options: SchemaOptions<S> | CallOptions | undefined
  ): Effect.Effect<unknown, RedisError, unknown> => {
    if (options === undefined) return runEffect(tag, command)
    const send = () => plain(command.args, options)
    const value = isBytes(options) ? readingBytes(command, send) : reading(command, send)
    return hasSchema(options) ? decodedBy(command.args, options.schema, value, false) : value
  }
  const many = {
    pipeline: call<Self, ReadonlyArray<Resp.Command>, ReadonlyArray<PipelineReply>>(
      tag,
      (service, input, options) => service.pipeline(input, options),
      (commands) => Array.isArray(commands) && commands.every(isRepeatable),
      (commands) => (Array.isArray(commands) ? blockingMillis(commands) : 0)
    ),
    transaction: call<Self, ReadonlyArray<Resp.Command>, ReadonlyArray<PipelineReply>>(
      tag,
      (service, input, options) => service.transaction(input, options),
      () => false,
      () => 0
    ),
    noreply: call<Self, ReadonlyArray<Resp.Command>, void>(
      tag,
      (service, input, options) => service.noreply(input, options),
      () => false,
      () => 0
    )
  }
  return {
    command,
    pipeline: typedMany(many.pipeline),
    transaction: typedMany(many.transaction),
    noreply: (commands, options) => {
      const words = wordsOf(commands)
      return words instanceof RedisArgumentError ? Effect.fail(redisError(words)) : many.noreply(words, options)
    },
    lease: use(tag, (service) => service.lease()),
    leaseWith: (options) => use(tag, (service) => service.lease(options)),
    watch: makeWatch(tag),
    script: makeScripts(tag),
    ...makeScans<Self>(tag, command),
    ...makePubSub<Self>(tag, command),
    status: use(tag, (service) => service.status),
    events: Stream.unwrap(use(tag, (service) => Effect.succeed(service.events)))
  }
}
