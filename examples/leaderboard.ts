/**
 * A leaderboard: the best score of each player, the best players, and the place of one.
 *
 * A sorted set keeps its members in order all the time, so the top ten of a million players and the place of any one cost the
 * same few microseconds. `ZADD … GT` keeps the better score, whichever comes first, so that reporting one
 * twice does no harm, and may be repeated when a connection breaks.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/leaderboard.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Effect } from "effect"

const board = "example:leaderboard"

/** Reports a score; it counts if it is the player's best. */
export const report = (player: string, score: number) =>
  Effect.asVoid(Redis.command(Commands.zadd(board, [score, player], { gt: true }), { retry: { for: "any" } }))

/** The best `count` players with their scores, the best first. Who has the same score is in reverse order of names. */
export const top = (count: number) => Commands.zrange(board, 0, count - 1, { rev: true, withScores: true })

/** The place of a player (the best is at 1) and the score, both of one moment; `undefined` for who has none. */
export const standing = (player: string) =>
  Effect.map(Redis.transaction([Commands.zrevrank(board, player), Commands.zscore(board, player)]), ([rank, score]) =>
    typeof rank === "number" && typeof score === "number" ? { place: rank + 1, score } : undefined
  )

/** The player with those next above and below. */
export const around = Effect.fnUntraced(function* (player: string, distance: number) {
  const found = yield* standing(player)
  if (found === undefined) return []
  const first = Math.max(0, found.place - 1 - distance)
  const last = found.place - 1 + distance
  return yield* Commands.zrange(board, first, last, { rev: true, withScores: true })
})

export const program = Effect.gen(function* () {
  yield* Commands.del(board)
  const scores: ReadonlyArray<readonly [string, number]> = [
    ["ann", 120],
    ["bob", 90],
    ["cat", 300],
    ["dan", 45.5],
    ["ann", 80]
  ]
  yield* Effect.forEach(scores, ([player, score]) => report(player, score), { concurrency: "unbounded" })
  return { top: yield* top(2), bob: yield* standing("bob"), around: yield* around("bob", 1) }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
