/**
 * Lua scripts on a service: by their digest, and in full when the server does not know them.
 *
 * @internal
 */
import type { RedisError } from "@relive/core/RedisError"
import type { CallOptions, Service } from "@relive/core/RedisService"
import type { Argument, Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"

const digest = (lua: string): string => createHash("sha1").update(lua).digest("hex")

const isUnknown = ({ reason }: RedisError): boolean => reason._tag === "ReplyError" && reason.code === "NOSCRIPT"

/** The words of a script after its body: the number of its keys, its keys, its arguments. */
export type Run = (
  service: Service,
  words: ReadonlyArray<Argument>,
  options?: CallOptions
) => Effect.Effect<Reply, RedisError>

/**
 * Computed once per script. `EVAL` loads the script and runs it in one step, so nothing can come between, and a script that
 * was refused as unknown has not run.
 */
export const prepare = (lua: string): Run => {
  const sha = digest(lua)
  return (service, words, options) =>
    Effect.catchIf(service.command(["EVALSHA", sha, ...words], options), isUnknown, () =>
      service.command(["EVAL", lua, ...words], options)
    )
}

/** The words of a script from its keys and its arguments. */
export const words = (keys: ReadonlyArray<string>, args: ReadonlyArray<Argument>): ReadonlyArray<Argument> => [
  keys.length,
  ...keys,
  ...args
]
