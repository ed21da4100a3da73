/**
 * The layers of `Redis`, and the tags of further instances.
 *
 * @internal
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { Layers, TagClass } from "../../Redis.ts"
import { RedisError } from "../../RedisError.ts"
import * as RedisOptions from "../../RedisOptions.ts"
import type { Service } from "../../RedisService.ts"
import * as tree from "../service/tree.ts"
import { makeCalls } from "./calls.ts"
import { namedService } from "./named.ts"
import type { Key } from "./use.ts"

const resolved = (input: RedisOptions.Input): Effect.Effect<RedisOptions.Resolved, RedisError> =>
  Result.match(RedisOptions.resolve(input), {
    onFailure: (reason) => Effect.fail(new RedisError({ reason })),
    onSuccess: Effect.succeed
  })

export const makeLayers = <Self>(tag: Key<Self>): Layers<Self> => {
  const make = (input: RedisOptions.Input) => Effect.flatMap(resolved(input), tree.open)
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
