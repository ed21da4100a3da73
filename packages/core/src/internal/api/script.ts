/**
 * `Redis.script`: a script by its digest, loaded where the server does not know it.
 *
 * @internal
 */
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Calls } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { Budget, monotonicMillis } from "../clock.ts"
import { use, type Key } from "./use.ts"

/** For what may take two calls: `left` are the options of the second, with what is left of the time. */
const withDeadline = <Self, A>(
  tag: Key<Self>,
  options: CallOptions | undefined,
  run: (left: () => CallOptions) => Effect.Effect<A, RedisError, Self>
): Effect.Effect<A, RedisError, Self> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const asked = monotonicMillis(clock)
    return use(tag, (service) => {
      const total = callTimeoutMillis(options, service.timeoutMillis)
      if (typeof total !== "number") return Effect.fail(total)
      const budget = new Budget(clock, total, asked)
      return run(() => ({ ...options, timeout: budget.option }))
    })
  })

/** The server does not know the script. In other words it may be an error that the script made itself, when it had run. */
const isUnknownScript = ({ code, message }: Resp.ReplyError): boolean =>
  code === "NOSCRIPT" && message.includes("No matching script")

export const makeScripts =
  <Self>(tag: Key<Self>, command: Calls<Self>["command"]): Calls<Self>["script"] =>
  (lua) => {
    const sha = createHash("sha1").update(lua).digest("hex")
    const call = (name: string, body: string, keys: ReadonlyArray<Resp.Argument>, args: ReadonlyArray<Resp.Argument>) =>
      [name, body, keys.length, ...keys, ...args] as const
    return (keys = [], args = [], { readOnly, ...options } = {}) => {
      const suffix = readOnly === true ? "_RO" : ""
      return withDeadline(tag, options, (left) =>
        Effect.catchReason(
          command(call(`EVALSHA${suffix}`, sha, keys, args), options),
          "RedisError",
          "ReplyError",
          (reason, error) =>
            // EVAL loads the script and runs it in one step, so nothing can come between.
            isUnknownScript(reason) ? command(call(`EVAL${suffix}`, lua, keys, args), left()) : Effect.fail(error)
        )
      )
    }
  }
