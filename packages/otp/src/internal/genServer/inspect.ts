/**
 * The activity of a server, in words, and without anything that was sent to it.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Predicate from "effect/Predicate"
import type { Inspection, Protocol } from "../../GenServer.ts"
import type { Activity } from "../process/process.ts"
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

/** The message that it handles, or did when it ended. */
export const activityOf = <P extends Protocol>({
  inHand,
  inHandSince,
  process
}: ServerHandle<P>): Activity | undefined => {
  if (inHand === undefined) return undefined
  const now = Context.get(process.context, Clock.Clock).currentTimeMillisUnsafe()
  return { what: inWords(inHand), millis: Math.max(0, now - inHandSince) }
}

export const inspect = <P extends Protocol>(server: ServerHandle<P>): Inspection => {
  const { info } = server.process
  return {
    process: info,
    state: server.readState?.(),
    inHand: info.handling,
    depth: server.mailbox.depth,
    openCalls: server.open.size,
    lostCasts: server.lostCount
  }
}
