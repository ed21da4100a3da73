/**
 * The store behind `Persistence`: keys and values as Effect's own has them.
 *
 * @internal
 */
import type { Command } from "@relive/core/Resp"
import type { Service } from "@relive/core/RedisService"
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Persistence from "effect/persistence/Persistence"
import { clear, keysWith } from "./keys.ts"
import { allOf } from "./pipeline.ts"

/** Keeps an id from being the beginning of another's keys. */
const namespaceOf = (storeId: string): string =>
  `${storeId.replace(/[%:]/g, (letter) => (letter === "%" ? "%25" : "%3A"))}:`

const failed = (what: string) => (cause: unknown) => new Persistence.PersistenceError({ message: what, cause })

const setCommand = (key: string, value: object, ttl: Duration.Duration | undefined): Command => [
  "SET",
  key,
  JSON.stringify(value),
  ...(ttl === undefined ? [] : ["PX", Math.ceil(Duration.toMillis(ttl))])
]

/** `undefined` where it is no JSON. The parser's words would show the value. */
const parse = (text: string): object | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const notJson = () => new Persistence.PersistenceError({ message: "A persisted value is no JSON" })

const makeStore = (service: Service, namespace: string): Persistence.BackingPersistenceStore => {
  const keyOf = (key: string) => `${namespace}${key}`
  return {
    get: (key) =>
      Effect.flatMap(
        Effect.mapError(service.command(["GET", keyOf(key)]), failed("A persisted value could not be read")),
        (reply) => {
          if (typeof reply !== "string") return Effect.undefined
          const value = parse(reply)
          return value === undefined ? Effect.fail(notJson()) : Effect.succeed(value)
        }
      ),
    getMany: (keys) =>
      Effect.mapBoth(
        allOf(
          service,
          keys.map((key) => ["GET", keyOf(key)])
        ),
        {
          onSuccess: (replies) =>
            Arr.map(keys, (_key, index) => {
              const reply = replies[index]
              return typeof reply === "string" ? parse(reply) : undefined
            }),
          onFailure: failed("Persisted values could not be read")
        }
      ),
    set: (key, value, ttl) =>
      Effect.mapError(
        Effect.asVoid(Effect.suspend(() => service.command(setCommand(keyOf(key), value, ttl)))),
        failed("A value could not be persisted")
      ),
    setMany: (entries) =>
      Effect.mapError(
        Effect.asVoid(
          Effect.suspend(() =>
            allOf(
              service,
              Arr.map(entries, ([key, value, ttl]) => setCommand(keyOf(key), value, ttl))
            )
          )
        ),
        failed("Values could not be persisted")
      ),
    remove: (key) =>
      Effect.mapError(
        Effect.asVoid(service.command(["UNLINK", keyOf(key)])),
        failed("A persisted value could not be removed")
      ),
    clear: Effect.mapError(
      clear(service, keysWith(service, namespace)),
      failed("Persisted values could not be cleared")
    )
  }
}

export const make = (service: Service): Persistence.BackingPersistence["Service"] => ({
  make: (storeId) => Effect.sync(() => makeStore(service, namespaceOf(storeId)))
})
