/** The parts of a fiber of the workload. */
import * as Effect from "effect/Effect"
import type { RedisServer } from "@relive/testing"
import type { Book, Kind } from "./Book.ts"
import type { Lane } from "./Lane.ts"
import type { Pace } from "./Pace.ts"
import type { Seeded } from "./Seeded.ts"

export interface Work {
  readonly book: Book
  readonly lane: Lane
  readonly pace: Pace
  readonly random: Seeded
  /** The number of the fiber among all, for keys of its own. */
  readonly fiber: number
  /** The server, past the proxy. */
  readonly server: RedisServer.RedisServer
}

/** Repeats `turn`, each time when the pace allows a call of that kind, until the run is over. */
export const repeat = (work: Work, kind: Kind, turn: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (yield* work.pace.turn(kind)) yield* turn
  })
