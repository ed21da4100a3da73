/**
 * Pub/sub, made for one tag: subscriptions with a schema, and publishing.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Calls, Subscribe, SubscribeSchemaOptions } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Event, Kind, Message, Name, SubscribeOptions, Wanted } from "../../RedisPubSub.ts"
import type { CallOptions } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { argumentError, redisError } from "../errors.ts"
import { makeKeyspace } from "./keyspace.ts"
import { use, type Key } from "./use.ts"

type Names = Name | ReadonlyArray<Name>

const wantedOf = (kind: Kind, names: Names): Wanted => ({
  kind,
  names: typeof names === "string" || names instanceof Uint8Array ? [names] : names
})

const hasSchema = <S extends Schema.Constraint>(
  options: SubscribeSchemaOptions<S> | SubscribeOptions | undefined
): options is SubscribeSchemaOptions<S> =>
  Predicate.isObject(options) && "schema" in options && options.schema !== undefined

const schemaFailure = (cause: Schema.SchemaError): RedisError =>
  redisError(new Resp.DecodeError("schema", `The payload of a message does not fit the schema: ${cause.message}`))

/** The events with their payloads decoded. */
const decoded = <S extends Schema.Constraint, Channel, R>(
  events: Stream.Stream<Event<unknown, Channel>, RedisError, R>,
  schema: S
): Stream.Stream<Event<S["Type"], Channel>, RedisError, R | S["DecodingServices"]> => {
  if (!Schema.isSchema(schema)) return Stream.fail(argumentError("The option `schema` must be a Schema"))
  const decode = Schema.decodeUnknownEffect(schema)
  return Stream.mapEffect(events, (event) =>
    event._tag === "Message"
      ? Effect.mapBoth(decode(event.payload), {
          onFailure: schemaFailure,
          onSuccess: (payload): Event<S["Type"], Channel> => ({ ...event, payload })
        })
      : Effect.succeed<Event<S["Type"], Channel>>(event)
  )
}

const makeSubscribe = <Self>(tag: Key<Self>, kind: Kind): Subscribe<Self> => {
  const text = (names: Names, options: SubscribeOptions | undefined) =>
    Stream.unwrap(use(tag, (service) => Effect.succeed(service.subscribe(wantedOf(kind, names), options))))
  const bytes = (names: Names, options: SubscribeOptions) =>
    Stream.unwrap(
      use(tag, (service) => Effect.succeed(service.subscribe(wantedOf(kind, names), { ...options, decode: "bytes" })))
    )
  function subscribe<S extends Schema.Constraint>(
    names: Names,
    options: SubscribeSchemaOptions<S> & { readonly decode: "bytes" }
  ): Stream.Stream<Event<S["Type"], Name>, RedisError, Self | S["DecodingServices"]>
  function subscribe<S extends Schema.Constraint>(
    names: Names,
    options: SubscribeSchemaOptions<S>
  ): Stream.Stream<Event<S["Type"]>, RedisError, Self | S["DecodingServices"]>
  function subscribe(
    names: Names,
    options: SubscribeOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Event<Uint8Array, Name>, RedisError, Self>
  function subscribe(names: Names, options?: SubscribeOptions): Stream.Stream<Event, RedisError, Self>
  function subscribe<S extends Schema.Constraint>(
    names: Names,
    options?: SubscribeSchemaOptions<S> | SubscribeOptions
  ): Stream.Stream<unknown, RedisError, unknown> {
    const isBytes = options?.decode === "bytes"
    if (!hasSchema(options)) return isBytes ? bytes(names, options) : text(names, options)
    return isBytes ? decoded(bytes(names, options), options.schema) : decoded(text(names, options), options.schema)
  }
  return subscribe
}

const receivers = (reply: Resp.Reply): Effect.Effect<number, RedisError> =>
  typeof reply === "number"
    ? Effect.succeed(reply)
    : Effect.fail(redisError(new Resp.DecodeError("schema", "The reply to PUBLISH is no number")))

/** The calls of pub/sub. */
export const makePubSub = <Self>(
  tag: Key<Self>,
  command: Calls<Self>["command"]
): Pick<Calls<Self>, "subscribe" | "psubscribe" | "ssubscribe" | "keyspace" | "publish" | "spublish"> => {
  const publish = (verb: string) => (channel: Name, message: Resp.Argument, options?: CallOptions) =>
    Effect.flatMap(command([verb, channel, message], options), receivers)
  const psubscribe = makeSubscribe(tag, "pattern")
  return {
    subscribe: makeSubscribe(tag, "channel"),
    psubscribe,
    ssubscribe: makeSubscribe(tag, "shard"),
    keyspace: makeKeyspace(command, psubscribe),
    publish: publish("PUBLISH"),
    spublish: publish("SPUBLISH")
  }
}

const isMessage = <Payload, Channel>(event: Event<Payload, Channel>): event is Message<Payload, Channel> =>
  event._tag === "Message"

export const messagesOf = <Payload, Channel, E, R>(
  events: Stream.Stream<Event<Payload, Channel>, E, R>
): Stream.Stream<Message<Payload, Channel>, E, R> => Stream.filter(events, isMessage)
