/**
 * The service behind a registered name, looked up at each call.
 *
 * @internal
 */
import * as Registry from "@relive/otp/Registry"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { RedisError } from "../RedisError.ts"
import type { Service, Status } from "../RedisService.ts"
import { connectionError } from "./errors.ts"

/** While nobody is there to say another. */
const DEFAULT_TIMEOUT_MILLIS = 5000

/** What nobody answers for: the name is down, and nothing of the call was sent. */
const absent = (name: Registry.Name<Service>): RedisError =>
  connectionError(
    {
      kind: "disconnected",
      address: `name ${String(name.key)}`,
      detail: "no connection is registered under this name: it is not started, or its supervisor is restarting it"
    },
    "unsent"
  )

export const namedService = (name: Registry.Name<Service>): Effect.Effect<Service, never, Registry.Registry> =>
  Effect.map(Registry.Registry, (registry) => {
    const use = <A>(f: (service: Service) => Effect.Effect<A, RedisError>): Effect.Effect<A, RedisError> =>
      Effect.suspend(() => {
        const service = Registry.lookupUnsafe(registry, name)
        return service === undefined ? Effect.fail(absent(name)) : f(service)
      })
    const down: Status = {
      state: "backoff",
      address: `name ${String(name.key)}`,
      protocol: undefined,
      sessions: 0,
      queued: 0,
      queuedBytes: 0,
      inFlight: 0,
      inFlightBytes: 0,
      repeated: 0,
      lastError: undefined
    }
    return {
      command: (command, options) => use((service) => service.command(command, options)),
      pipeline: (commands, options) => use((service) => service.pipeline(commands, options)),
      transaction: (commands, options) => use((service) => service.transaction(commands, options)),
      noreply: (commands, options) => use((service) => service.noreply(commands, options)),
      lease: Effect.suspend(() => Registry.lookupUnsafe(registry, name)?.lease ?? Effect.fail(absent(name))),
      get timeoutMillis() {
        return Registry.lookupUnsafe(registry, name)?.timeoutMillis ?? DEFAULT_TIMEOUT_MILLIS
      },
      status: Effect.suspend(() => Registry.lookupUnsafe(registry, name)?.status ?? Effect.succeed(down)),
      events: Stream.suspend(() => Registry.lookupUnsafe(registry, name)?.events ?? Stream.empty)
    }
  })
