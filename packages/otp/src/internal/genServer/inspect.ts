/**
 * What a server does now, in words, and without anything that was sent to it.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Predicate from "effect/Predicate"
import type { Inspection, Protocol } from "../../GenServer.ts"
import type { Handled, ServerHandle } from "./handle.ts"

const tagOf = (message: unknown): string | undefined =>
  Predicate.hasProperty(message, "_tag") && typeof message._tag === "string" ? message._tag : undefined

/** `call Add`, `cast`, `message Down`: the kind, and the tag if there is one. */
export const inWords = (handled: Handled): string => {
  const words = (kind: string, tag: string | undefined) => (tag === undefined ? kind : `${kind} ${tag}`)
  switch (handled._tag) {
    case "Call":
      return words("call", handled.request._tag)
    case "Cast":
      return words("cast", tagOf(handled.message))
    case "Continue":
      return words("continue", tagOf(handled.message))
    case "Info":
      return words(
        "message",
        handled.message._tag === "Message" ? tagOf(handled.message.message) : handled.message._tag
      )
    case "Timeout":
      return "idle timeout"
    case "Stop":
      return "stop"
  }
}

export const inspect = <P extends Protocol>(server: ServerHandle<P>): Inspection => {
  const { inHand, process } = server
  const clock = Context.get(process.context, Clock.Clock)
  return {
    process: process.info,
    state: server.readState?.(),
    inHand:
      inHand === undefined || !process.isAliveUnsafe
        ? undefined
        : { what: inWords(inHand), millis: Math.max(0, clock.currentTimeMillisUnsafe() - server.inHandSince) },
    depth: server.mailbox.depth,
    openCalls: server.open.size,
    lostCasts: server.lostCount
  }
}
