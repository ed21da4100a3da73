/**
 * All keys with a prefix, page by page.
 *
 * @internal
 */
import * as Redis from "@relive/core/Redis"
import type { RedisError } from "@relive/core/RedisError"
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import type * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { allOf } from "./pipeline.ts"

const PAGE = 500

/** A text as the pattern that matches nothing else. */
export const literal = (text: string): string => text.replace(/[\\*?[\]]/g, String.raw`\$&`)

/** The keys that begin with a prefix, some of them perhaps twice. */
export const keysWith = (service: Service, prefix: string): Stream.Stream<string, RedisError> =>
  matching(service, `${literal(prefix)}*`)

/** The keys that match a pattern, some of them perhaps twice. */
export const matching = (service: Service, pattern: string): Stream.Stream<string, RedisError> =>
  Stream.provideService(Redis.scan({ match: pattern, count: PAGE }), RedisService, service)

/** Removes them, a page at a time; key by key, since in a cluster each may be on another node. */
export const clear = (service: Service, keys: Stream.Stream<string, RedisError>): Effect.Effect<void, RedisError> =>
  Stream.runForEachArray(keys, (page) =>
    allOf(
      service,
      page.map((key) => ["UNLINK", key])
    )
  )
