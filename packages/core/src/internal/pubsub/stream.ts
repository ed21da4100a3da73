/**
 * Subscriptions as streams of events.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { RedisError } from "../../RedisError.ts"
import type { Event, Name, Subscribe, SubscribeOptions, Wanted, WhenFull } from "../../RedisPubSub.ts"
import { encoder } from "../call/encoding.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { argumentError } from "../errors.ts"
import { ArgumentFailure } from "../resp/encoder.ts"
import { bytesForm, textForm } from "./batch.ts"
import type { Form } from "./batch.ts"
import type { InboxOptions } from "./inbox.ts"
import { canonical, NameMap, verbs } from "./names.ts"
import type { Subscribers } from "./subscribers.ts"
import { Subscription } from "./subscription.ts"

const DEFAULT_MESSAGES = 1024
const DEFAULT_BYTES = 8 * 1024 * 1024

const policies: ReadonlySet<WhenFull> = new Set<WhenFull>(["dropOldest", "dropNewest", "fail", "suspend"])

const optionNames: ReadonlySet<string> = new Set([
  "decode",
  "bufferMessages",
  "bufferBytes",
  "whenFull",
  "timeout",
  "schema"
])

const isRecord = (options: unknown): boolean => Predicate.isObject(options)

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1

/** For callers without type checking, as `wrongOption` of a call. */
const inboxOptions = (options: SubscribeOptions): InboxOptions | RedisError => {
  if (!isRecord(options)) {
    return argumentError('The options of a subscription must be a record like { decode: "bytes" }')
  }
  for (const name of Object.keys(options)) {
    if (optionNames.has(name)) continue
    return argumentError(`A subscription has no option ${JSON.stringify(name)}; it has ${[...optionNames].join(", ")}`)
  }
  const { bufferBytes = DEFAULT_BYTES, bufferMessages = DEFAULT_MESSAGES, decode, whenFull = "dropOldest" } = options
  if (decode !== undefined && decode !== "text" && decode !== "bytes") {
    return argumentError('The option `decode` must be "text" or "bytes"')
  }
  if (!isCount(bufferMessages)) return argumentError("The option `bufferMessages` must be an integer of at least 1")
  if (!isCount(bufferBytes)) return argumentError("The option `bufferBytes` must be an integer of at least 1")
  if (!policies.has(whenFull)) {
    return argumentError(`The option \`whenFull\` must be one of ${[...policies].join(", ")}`)
  }
  return { bufferMessages, bufferBytes, whenFull }
}

const isName = (name: unknown): name is Name => typeof name === "string" || name instanceof Uint8Array

/** The names, each once, in their canonical form. */
const namesOf = ({ kind, names }: Wanted): ReadonlyArray<Name> | RedisError => {
  const verb = verbs[kind].subscribe
  if (!Array.isArray(names) || !names.every(isName)) {
    return argumentError(`${verb}: a name must be a string or a Uint8Array`)
  }
  if (names.length === 0) return argumentError(`${verb}: give it at least one name`)
  const encoded = encoder.encode([verb, ...names])
  if (encoded instanceof ArgumentFailure) return argumentError(encoded.message)
  const seen = new NameMap<true>()
  const own: Array<Name> = []
  for (const name of names.map(canonical)) {
    if (seen.get(name) === true) continue
    seen.set(name, true)
    own.push(name)
  }
  return own
}

const isError = (value: object): value is RedisError => "reason" in value

/** The stream of one subscription. Each run of it is a subscription of its own. */
const run = <Payload, Channel>(
  subscribers: Subscribers,
  wanted: Wanted,
  options: SubscribeOptions,
  form: Form<Payload, Channel>
): Stream.Stream<Event<Payload, Channel>, RedisError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const inbox = inboxOptions(options)
      if (isError(inbox)) return yield* Effect.fail(inbox)
      const names = namesOf(wanted)
      if (isError(names)) return yield* Effect.fail(names)
      const timeout = callTimeoutMillis({ timeout: options.timeout }, subscribers.timeoutMillis)
      if (typeof timeout !== "number") return yield* Effect.fail(timeout)
      const subscription = new Subscription({ kind: wanted.kind, names: [...wanted.names] }, names, inbox, timeout)
      yield* subscribers.open(subscription, inbox.whenFull === "suspend")
      return Stream.fromPull(Effect.succeed(subscription.pull(form)))
    })
  )

/** Makes the function that a service subscribes with. */
export const makeSubscribe = (subscribers: Subscribers): Subscribe => {
  function subscribe(
    wanted: Wanted,
    options: SubscribeOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Event<Uint8Array, Name>, RedisError>
  function subscribe(wanted: Wanted, options?: SubscribeOptions): Stream.Stream<Event, RedisError>
  function subscribe(
    wanted: Wanted,
    options: SubscribeOptions = {}
  ): Stream.Stream<Event | Event<Uint8Array, Name>, RedisError> {
    return options.decode === "bytes"
      ? run(subscribers, wanted, options, bytesForm)
      : run(subscribers, wanted, options, textForm)
  }
  return subscribe
}
