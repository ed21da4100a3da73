/**
 * Several commands that fail together: the first error among their replies is that of all.
 *
 * @internal
 */
import { RedisError } from "@relive/core/RedisError"
import type { PipelineReply, Service } from "@relive/core/RedisService"
import { DecodeError, ReplyError, ReplyLimitError } from "@relive/core/Resp"
import type { Command, Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"

const isFailure = (reply: PipelineReply): reply is ReplyError | DecodeError | ReplyLimitError =>
  reply instanceof ReplyError || reply instanceof DecodeError || reply instanceof ReplyLimitError

const isReply = (reply: PipelineReply): reply is Reply => !isFailure(reply)

export const allOf = (
  service: Service,
  commands: ReadonlyArray<Command>
): Effect.Effect<ReadonlyArray<Reply>, RedisError> =>
  Effect.flatMap(service.pipeline(commands), (replies) => {
    const failure = replies.find(isFailure)
    return failure === undefined
      ? Effect.succeed(replies.filter(isReply))
      : Effect.fail(new RedisError({ reason: failure }))
  })
