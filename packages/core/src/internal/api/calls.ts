/**
 * The calls and layers of `Redis`, made for one tag: the module's own, or an instance's (`Redis.Tag`).
 *
 * @internal
 */
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CommandTable from "../../CommandTable.ts"
import type { Calls, Layers, ScanOptions, SchemaOptions, TagClass } from "../../Redis.ts"
import { isRedisError, RedisError } from "../../RedisError.ts"
import * as RedisOptions from "../../RedisOptions.ts"
import type { CallOptions, PipelineReply, Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { blockingMillis, callTimeoutMillis, timeoutOption } from "../call/options.ts"
import { nameOf, wordOf } from "../commands/name.ts"
import * as connectionTree from "../service/tree.ts"
import { monotonicMillis } from "../clock.ts"
import { argumentError, redisError } from "../errors.ts"
import { namedService } from "./named.ts"
import { withRetry } from "./retry.ts"
import { pairs, scanStream, scored, texts } from "./scan.ts"

type Key<Self> = Context.Key<Self, Service>

/** Runs on the service of the context. One step, and no generator: it stands before every command. */
const use = <Self, A, E, R = never>(
  tag: Key<Self>,
  f: (service: Service) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Self | R> =>
  Effect.withFiber<A, E, Self | R>((fiber) => f(Context.getUnsafe(fiber.context, tag)))

const schemaFailure = (command: Resp.Command, cause: Schema.SchemaError): RedisError =>
  redisError(
    new Resp.DecodeError("schema", `The reply of ${nameOf(wordOf(command))} does not fit the schema: ${cause.message}`)
  )

const hasSchema = <S extends Schema.Constraint>(
  options: SchemaOptions<S> | CallOptions | undefined
): options is SchemaOptions<S> => Predicate.isObject(options) && "schema" in options && options.schema !== undefined

const isRepeatable = (command: Resp.Command): boolean =>
  Array.isArray(command) && (CommandTable.flagsOf(command) & CommandTable.Flags.repeatable) !== 0

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

/** For what may take two calls: `left` are the options of the second, with what is left of the time. */
const withDeadline = <Self, A>(
  tag: Key<Self>,
  options: CallOptions | undefined,
  run: (left: () => CallOptions) => Effect.Effect<A, RedisError, Self>
): Effect.Effect<A, RedisError, Self> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const asked = monotonicMillis(clock)
    return use(tag, (service) => {
      const total = callTimeoutMillis(options, service.timeoutMillis)
      if (typeof total !== "number") return Effect.fail(total)
      return run(() => ({ ...options, timeout: timeoutOption(asked + total - monotonicMillis(clock)) }))
    })
  })

/** The server does not know the script. In other words it may be an error that the script made itself, when it had run. */
const isUnknownScript = ({ code, message }: Resp.ReplyError): boolean =>
  code === "NOSCRIPT" && message.includes("No matching script")

const makeScripts =
  <Self>(tag: Key<Self>, command: Calls<Self>["command"]): Calls<Self>["script"] =>
  (lua) => {
    const sha = createHash("sha1").update(lua).digest("hex")
    const call = (name: string, body: string, keys: ReadonlyArray<Resp.Argument>, args: ReadonlyArray<Resp.Argument>) =>
      [name, body, keys.length, ...keys, ...args] as const
    return (keys = [], args = [], { readOnly, ...options } = {}) => {
      const suffix = readOnly === true ? "_RO" : ""
      return withDeadline(tag, options, (left) =>
        Effect.catchReason(
          command(call(`EVALSHA${suffix}`, sha, keys, args), options),
          "RedisError",
          "ReplyError",
          (reason, error) =>
            // EVAL loads the script and runs it in one step, so nothing can come between.
            isUnknownScript(reason) ? command(call(`EVAL${suffix}`, lua, keys, args), left()) : Effect.fail(error)
        )
      )
    }
  }

/** As often as it takes, with a pause that grows and differs between the contenders. */
const watchSchedule = Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("100 millis")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 20 })
)

const makeWatch =
  <Self>(tag: Key<Self>): Calls<Self>["watch"] =>
  (keys, body, options) => {
    const attempt = Effect.scoped(
      Effect.gen(function* () {
        const lease = yield* use(tag, (service) => service.lease({ route: keys[0] }))
        yield* lease.command(["WATCH", ...keys])
        const commands = yield* Effect.provideService(body, tag, lease)
        if (commands.length > 0) return yield* lease.transaction(commands)
        return []
      })
    )
    const isConflict = (error: unknown): boolean => isRedisError(error) && error.reason._tag === "WatchConflict"
    return Effect.retry(attempt, {
      schedule: options?.schedule ?? watchSchedule,
      while: isConflict
    })
  }

const makeScans = <Self>(command: Calls<Self>["command"]): Pick<Calls<Self>, "scan" | "hscan" | "sscan" | "zscan"> => {
  const send = (args: Resp.Command, options: CallOptions) => command(args, options)
  function scan(options: ScanOptions & { readonly decode: "bytes" }): Stream.Stream<Uint8Array, RedisError, Self>
  function scan(options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  function scan(options: ScanOptions = {}): Stream.Stream<string | Uint8Array, RedisError, Self> {
    return scanStream(send, "SCAN", [], options, texts)
  }
  function sscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Uint8Array, RedisError, Self>
  function sscan(key: string | Uint8Array, options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  function sscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<string | Uint8Array, RedisError, Self> {
    return scanStream(send, "SSCAN", [key], options, texts)
  }
  function hscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<readonly [Uint8Array, Uint8Array], RedisError, Self>
  function hscan(
    key: string | Uint8Array,
    options?: ScanOptions
  ): Stream.Stream<readonly [string, string], RedisError, Self>
  function hscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<readonly [string | Uint8Array, string | Uint8Array], RedisError, Self> {
    return scanStream(send, "HSCAN", [key], options, pairs)
  }
  function zscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<readonly [Uint8Array, number], RedisError, Self>
  function zscan(
    key: string | Uint8Array,
    options?: ScanOptions
  ): Stream.Stream<readonly [string, number], RedisError, Self>
  function zscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<readonly [string | Uint8Array, number], RedisError, Self> {
    return scanStream(send, "ZSCAN", [key], options, scored)
  }
  return { scan, hscan, sscan, zscan }
}

export const makeCalls = <Self>(tag: Key<Self>): Calls<Self> => {
  const plain = call<Self, Resp.Command, Resp.Reply>(
    tag,
    (service, input, options) => service.command(input, options),
    isRepeatable,
    (input) => blockingMillis([input])
  )
  function command<S extends Schema.Constraint>(
    command: Resp.Command,
    options: SchemaOptions<S>
  ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
  function command(command: Resp.Command, options?: CallOptions): Effect.Effect<Resp.Reply, RedisError, Self>
  function command<S extends Schema.Constraint>(
    command: Resp.Command,
    options?: SchemaOptions<S> | CallOptions
  ): Effect.Effect<unknown, RedisError, unknown> {
    // Without options there is nothing to look at: the shortest way, since most calls take it.
    if (options === undefined) {
      return Effect.withFiber((fiber) => Context.getUnsafe(fiber.context, tag).command(command, undefined))
    }
    if (!hasSchema(options)) return plain(command, options)
    if (!Schema.isSchema(options.schema)) return Effect.fail(argumentError("The option `schema` must be a Schema"))
    const decode = Schema.decodeUnknownEffect(options.schema)
    return Effect.flatMap(plain(command, options), (reply) =>
      Effect.mapError(decode(reply), (cause) => schemaFailure(command, cause))
    )
  }
  return {
    command,
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
    ),
    lease: use(tag, (service) => service.lease()),
    leaseWith: (options) => use(tag, (service) => service.lease(options)),
    watch: makeWatch(tag),
    script: makeScripts(tag, command),
    ...makeScans<Self>(command),
    status: use(tag, (service) => service.status),
    events: Stream.unwrap(use(tag, (service) => Effect.succeed(service.events)))
  }
}

const resolved = (input: RedisOptions.Input): Effect.Effect<RedisOptions.Resolved, RedisError> =>
  Result.match(RedisOptions.resolve(input), {
    onFailure: (reason) => Effect.fail(new RedisError({ reason })),
    onSuccess: Effect.succeed
  })

export const makeLayers = <Self>(tag: Key<Self>): Layers<Self> => {
  const make = (input: RedisOptions.Input) => Effect.flatMap(resolved(input), connectionTree.open)
  return {
    layer: (input = {}) => Layer.effect(tag, make(input)),
    layerConfig: (config) =>
      Layer.effect(tag, Effect.flatMap(config === undefined ? RedisOptions.config : Config.unwrap(config), make)),
    layerNamed: (name) => Layer.effect(tag, namedService(name))
  }
}

export const makeTag = <Self, Id extends string>(id: Id): TagClass<Self, Id> => {
  const tag = Context.Service<Self, Service>()(id)
  return Object.assign(tag, makeCalls<Self>(tag), makeLayers<Self>(tag))
}
