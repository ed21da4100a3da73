/** Single writes: plain, in bytes, by the option `retry`, and by a script. Each id runs once. */
import { Redis } from "@relive/core"
import * as Effect from "effect/Effect"
import { show } from "./Fixtures.ts"
import * as Payload from "./Payload.ts"
import * as Traces from "./Traces.ts"
import { repeat, type Work } from "./Work.ts"

/** Counts its id, and returns how often it was counted. */
export const counting = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "write",
    Effect.suspend(() =>
      work.book.call(
        {
          lane: work.lane,
          kind: "write",
          effects: ["write"],
          keys: [Traces.counts],
          check: (reply) => (reply === 1 ? undefined : `answered ${show(reply)}, not 1`),
          run: ([id = -1], options) => Redis.command(["HINCRBY", Traces.counts, id, 1], options)
        },
        work.random
      )
    )
  )

/** Pushes its text. */
export const pushing = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "writeBytes",
    Effect.suspend(() =>
      work.book.call(
        {
          lane: work.lane,
          kind: "writeBytes",
          effects: ["write"],
          keys: [Traces.texts],
          check: (reply) => (typeof reply === "number" && reply > 0 ? undefined : `answered ${show(reply)}`),
          run: ([id = -1], options) => Redis.command(["RPUSH", Traces.texts, Payload.bytes(id)], options)
        },
        work.random
      )
    )
  )

/** With further attempts: of what was not sent, or, having opted in, of anything. */
export const retrying = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "retry",
    Effect.suspend(() => {
      const mayRepeat = work.random.chance(0.4)
      return work.book.call(
        {
          lane: work.lane,
          kind: "retry",
          effects: ["write"],
          keys: [Traces.counts],
          mayRepeat,
          check: (reply) =>
            reply === 1 || (mayRepeat && typeof reply === "number" && reply > 0)
              ? undefined
              : `answered ${show(reply)}, not 1`,
          run: ([id = -1], options) =>
            Redis.command(["HINCRBY", Traces.counts, id, 1], {
              ...options,
              retry: { for: mayRepeat ? "any" : "unsent" }
            })
        },
        work.random
      )
    })
  )

const countAndTell = Redis.script(
  'return { ARGV[1], redis.call("HINCRBY", KEYS[1], ARGV[1], 1), #redis.call("GET", KEYS[2]) }'
)

/** By a script. The server forgets it at each of its restarts. */
export const scripted = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "script",
    Effect.suspend(() =>
      work.book.call(
        {
          lane: work.lane,
          kind: "script",
          effects: ["write"],
          keys: [Traces.counts],
          // It may be two calls, each with its deadline.
          composite: true,
          check: (reply, [id]) =>
            Array.isArray(reply) && reply.length === 3 && reply[0] === String(id) && reply[1] === 1 && reply[2] === 5
              ? undefined
              : `answered ${show(reply)}`,
          run: ([id = -1], options) => countAndTell([Traces.counts, "fixture:short"], [id], options)
        },
        work.random
      )
    )
  )
