/**
 * Several commands that fail together: the first error among their replies is that of all.
 *
 * @internal
 */
import { RedisError } from "@relive/core/RedisError"
import type { PipelineReply, Service } from "@relive/core/RedisService"
import type { Command, Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"

type Failure = Extract<PipelineReply, { readonly _tag: string }>

const isFailure = (reply: PipelineReply): reply is Failure =>
  typeof reply === "object" && reply !== null && "_tag" in reply

export const allOf = (
  service: Service,
  commands: ReadonlyArray<Command>
): Effect.Effect<ReadonlyArray<Reply>, RedisError> =>
  Effect.flatMap(service.pipeline(commands), (replies) => {
    const good: Array<Reply> = []
    for (const reply of replies) {
      if (isFailure(reply)) return Effect.fail(new RedisError({ reason: reply }))
      good.push(reply)
    }
    return Effect.succeed(good)
  })
