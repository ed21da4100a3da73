/**
 * The encoder of all connections: a command is encoded in one turn, so one is enough. Very many commands are encoded in several
 * turns of the event loop, by an encoder of their own, so that others are served in between.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { commandNames } from "../commands/names.ts"
import { Encoder } from "../resp/encoder.ts"
import { Heads } from "../resp/heads.ts"
import { nextTurn } from "../turns.ts"
import type { ArgumentFailure, Command, Payload } from "../resp/encoder.ts"

const heads = new Heads(commandNames)

export const encoder = new Encoder(heads)

/** The number of commands encoded in one turn: some milliseconds. */
export const STEP_COMMANDS = 16_384

/** The encoding of many commands. */
export interface Encoded {
  readonly payload: Payload
  readonly bytes: number
  readonly count: number
}

/** In one turn, for up to `STEP_COMMANDS`. */
export const encodeNow = (commands: ReadonlyArray<Command>): Encoded | ArgumentFailure =>
  encoded(encoder, encoder.encodeAll(commands), commands.length)

/** In as many turns as it takes. */
export const encodeInTurns = (commands: ReadonlyArray<Command>): Effect.Effect<Encoded | ArgumentFailure> =>
  Effect.suspend(() => {
    const own = new Encoder(heads)
    // The caller's array may change meanwhile.
    const all = commands.slice()
    return Effect.map(inTurns(own.encodeInSteps(all, STEP_COMMANDS)), (payload) => encoded(own, payload, all.length))
  })

const encoded = (by: Encoder, payload: Payload | ArgumentFailure, count: number): Encoded | ArgumentFailure =>
  typeof payload === "string" || "length" in payload ? { payload, bytes: by.bytes, count } : payload

const inTurns = <A>(steps: Generator<void, A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const step = steps.next()
    return step.done === true ? Effect.succeed(step.value) : Effect.flatMap(nextTurn, () => inTurns(steps))
  })
