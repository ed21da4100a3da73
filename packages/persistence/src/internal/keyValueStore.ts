/**
 * The entries of a `KeyValueStore` as keys of Redis.
 *
 * @internal
 */
import { RedisError } from "@relive/core/RedisError"
import type { Service } from "@relive/core/RedisService"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Options } from "../RedisKeyValueStore.ts"
import { clear, keysWith } from "./keys.ts"
import { prepare, words } from "./script.ts"

/** Sets a value if the one there is as it was read; keeps the time to live, also on servers that know no KEEPTTL. */
const replace = prepare(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
`)

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const textOf = (bytes: Uint8Array): string => {
  try {
    return decoder.decode(bytes)
  } catch {
    return Base64.encode(bytes)
  }
}

const bytesOf = (value: string | Uint8Array): Uint8Array => (typeof value === "string" ? encoder.encode(value) : value)

/** Another client changed the entry between our reading and our writing of it. */
class Changed {
  readonly _tag = "Changed"
}

const again = Schedule.min([Schedule.exponential("1 millis"), Schedule.spaced("20 millis")]).pipe(Schedule.jittered)

const failed = (method: string) => (cause: unknown) => {
  const message =
    cause instanceof Changed
      ? "The entry was changed by others all the time, until the deadline: nothing was written"
      : cause instanceof Error
        ? cause.message
        : String(cause)
  return new KeyValueStore.KeyValueStoreError({ method, message, ...(cause instanceof RedisError ? { cause } : {}) })
}

export const make = (service: Service, options: Options): KeyValueStore.KeyValueStore => {
  const { prefix } = options
  const keyOf = (key: string) => `${prefix}${key}`
  const expiry =
    options.timeToLive === undefined
      ? []
      : ["PX", Math.max(1, Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(options.timeToLive))))]
  const stored = keysWith(service, prefix)

  const read = (key: string): Effect.Effect<Uint8Array | undefined, RedisError> =>
    Effect.map(service.command(["GET", keyOf(key)], { decode: "bytes" }), (reply) =>
      reply instanceof Uint8Array ? reply : undefined
    )

  /** One attempt: `undefined` when there is no such entry. */
  const change = <A extends string | Uint8Array>(key: string, f: (bytes: Uint8Array) => A) =>
    Effect.flatMap(read(key), (before) => {
      if (before === undefined) return Effect.undefined
      const after = f(before)
      return Effect.flatMap(
        replace(service, words([keyOf(key)], [before, bytesOf(after)])),
        (replaced): Effect.Effect<A, Changed> => (replaced === 1 ? Effect.succeed(after) : Effect.fail(new Changed()))
      )
    })

  const modify = <A extends string | Uint8Array>(method: string, key: string, f: (bytes: Uint8Array) => A) =>
    change(key, f).pipe(
      Effect.retry({ schedule: Schedule.upTo(again, { duration: service.timeoutMillis }), while: isChanged }),
      Effect.mapError(failed(method))
    )

  return KeyValueStore.make({
    get: (key) =>
      Effect.mapBoth(read(key), {
        onSuccess: (bytes) => (bytes === undefined ? undefined : textOf(bytes)),
        onFailure: failed("get")
      }),
    getUint8Array: (key) => Effect.mapError(read(key), failed("getUint8Array")),
    set: (key, value) =>
      Effect.mapError(Effect.asVoid(service.command(["SET", keyOf(key), value, ...expiry])), failed("set")),
    remove: (key) => Effect.mapError(Effect.asVoid(service.command(["UNLINK", keyOf(key)])), failed("remove")),
    has: (key) =>
      Effect.mapBoth(service.command(["EXISTS", keyOf(key)]), {
        onSuccess: (count) => count === 1,
        onFailure: failed("has")
      }),
    clear: Effect.mapError(clear(service, stored), failed("clear")),
    clearPrefix: (start) =>
      Effect.mapError(clear(service, keysWith(service, `${prefix}${start}`)), failed("clearPrefix")),
    keys: Effect.mapBoth(distinct(stored), {
      onSuccess: (keys) => Array.from(keys, (key) => key.slice(prefix.length)),
      onFailure: failed("keys")
    }),
    size: Effect.mapBoth(distinct(stored), { onSuccess: (keys) => keys.size, onFailure: failed("size") }),
    isEmpty: Effect.mapBoth(Stream.runHead(stored), {
      onSuccess: ({ _tag }) => _tag === "None",
      onFailure: failed("isEmpty")
    }),
    modify: (key, f) => modify("modify", key, (bytes) => f(textOf(bytes))),
    modifyUint8Array: (key, f) => modify("modifyUint8Array", key, f)
  })
}

const isChanged = (error: unknown): boolean => error instanceof Changed

/** `SCAN` may give a key more than once. */
const distinct = (keys: Stream.Stream<string, RedisError>): Effect.Effect<Set<string>, RedisError> =>
  Stream.runFold(
    keys,
    () => new Set<string>(),
    (all, key) => all.add(key)
  )
