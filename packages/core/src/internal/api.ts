/**
 * The calls and layers of `Redis`, made for one tag: the module's own, or an instance's (`Redis.Tag`).
 *
 * @internal
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Calls, Layers, SchemaOptions, TagClass } from "../Redis.ts"
import { RedisError } from "../RedisError.ts"
import * as RedisOptions from "../RedisOptions.ts"
import type { CallOptions, Service } from "../RedisService.ts"
import * as Resp from "../Resp.ts"
import * as connectionTree from "./connectionTree.ts"
import { redisError } from "./errors.ts"
import { namedService } from "./named.ts"

type Key<Self> = Context.Key<Self, Service>

/** Runs on the service of the context. One step, and no generator: it stands before every command. */
const use = <Self, A, E>(tag: Key<Self>, f: (service: Service) => Effect.Effect<A, E>): Effect.Effect<A, E, Self> =>
  Effect.withFiber<A, E, Self>((fiber) => f(Context.getUnsafe(fiber.context, tag)))

const schemaFailure = (cause: Schema.SchemaError): RedisError =>
  redisError(new Resp.DecodeError("schema", `The reply does not fit the schema: ${cause.message}`))

const hasSchema = <S extends Schema.Constraint>(
  options: SchemaOptions<S> | CallOptions | undefined
): options is SchemaOptions<S> => options !== undefined && "schema" in options && options.schema !== undefined

export const makeCalls = <Self>(tag: Key<Self>): Calls<Self> => {
  function command<S extends Schema.Constraint>(
    command: Resp.Command,
    options: SchemaOptions<S>
  ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
  function command(command: Resp.Command, options?: CallOptions): Effect.Effect<Resp.Reply, RedisError, Self>
  function command<S extends Schema.Constraint>(
    command: Resp.Command,
    options?: SchemaOptions<S> | CallOptions
  ): Effect.Effect<unknown, RedisError, unknown> {
    if (!hasSchema(options)) return use(tag, (service) => service.command(command, options))
    const decode = Schema.decodeUnknownEffect(options.schema)
    return Effect.flatMap(
      use(tag, (service) => service.command(command, options)),
      (reply) => Effect.mapError(decode(reply), schemaFailure)
    )
  }
  return {
    command,
    pipeline: (commands, options) => use(tag, (service) => service.pipeline(commands, options)),
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
