/**
 * The service of the caller's context.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Service } from "../../RedisService.ts"

export type Key<Self> = Context.Key<Self, Service>

/** Runs on the service of the context. One step, and no generator: it stands before every command. */
export const use = <Self, A, E, R = never>(
  tag: Key<Self>,
  f: (service: Service) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Self | R> =>
  Effect.withFiber<A, E, Self | R>((fiber) => f(Context.getUnsafe(fiber.context, tag)))
