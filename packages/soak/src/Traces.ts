/**
 * The writes that the server executed. Every write leaves its id in a key; each sweep reads and empties those keys in one
 * transaction, past the proxies, so that they stay small and nothing is seen twice. A write that runs late (its bytes were
 * held up while its session died) is found by a later sweep, or by the last one, when no connection is left.
 *
 * Three invariants are judged here, since a sweep is atomic: a transaction has left both of its traces or none, the steps
 * of a watched counter are consecutive, and a text is as its id says.
 */
import type { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type { Book } from "./Book.ts"
import * as Payload from "./Payload.ts"

/** `HINCRBY counts <id> 1`: how often an id was executed. */
export const counts = "trace:counts"

/** `RPUSH texts <text of the id>`. */
export const texts = "trace:texts"

/** `RPUSH` of `<id>` to the first and of `<id>:<first id>` to the second, in one transaction. */
export const halves = ["trace:first", "trace:second"] as const

/** Watched counters; each has a log of `<id>:<value>`, pushed in the transaction that sets it. */
export const counters = ["counter:0", "counter:1", "counter:2"] as const
export const logOf = (counter: string): string => `trace:${counter}`

const lists = [texts, ...halves, ...counters.map(logOf)]

export class Traces {
  private readonly book: Book
  private readonly server: RedisServer.RedisServer
  private readonly counted = new Map<string, number>()

  constructor(book: Book, server: RedisServer.RedisServer) {
    this.book = book
    this.server = server
  }

  /** Reads and empties the traces. The server must be up, and nobody may end it meanwhile. */
  readonly sweep: Effect.Effect<void, RedisServer.RedisServerError> = Effect.gen({ self: this }, function* () {
    const commands = [
      ["MULTI"],
      ["HGETALL", counts],
      ...lists.map((key) => ["LRANGE", key, "0", "-1"]),
      ["DEL", counts, ...lists],
      ["EXEC"]
    ]
    const replies = yield* this.server.commands(commands)
    const exec = replies.at(-1)
    const found = (Array.isArray(exec) ? exec : []).map(strings)
    const [fields = [], written = [], first = [], second = [], ...logs] = found
    yield* this.count(fields)
    yield* this.checkTexts(written)
    yield* this.checkHalves(first, second)
    for (const [index, counter] of counters.entries()) yield* this.checkLog(counter, logs[index] ?? [])
  })

  private count(fields: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      for (let index = 0; index + 1 < fields.length; index += 2) {
        yield* this.book.ledger.executed(Payload.idOf(fields[index] ?? ""), Number(fields[index + 1]))
      }
    })
  }

  private checkTexts(found: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.forEach(
      found,
      (text) => {
        if (!Payload.isWhole(text)) this.book.breaks("wrongReplies", "server", `a garbled text: ${text.slice(0, 80)}`)
        return this.book.ledger.executed(Payload.idOf(text))
      },
      { discard: true }
    )
  }

  private checkHalves(first: ReadonlyArray<string>, second: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      for (let index = 0; index < Math.max(first.length, second.length); index++) {
        const one = first[index]
        const other = second[index]
        if (one === undefined || other?.split(":")[1] !== one) {
          const what = `half a transaction: ${one ?? "nothing"} and ${other ?? "nothing"} at ${index} of ${first.length} and ${second.length}`
          return this.book.breaks("lostAcknowledged", "server", what)
        }
        yield* this.book.ledger.executed(Payload.idOf(one))
        yield* this.book.ledger.executed(Payload.idOf(other))
      }
    })
  }

  private checkLog(counter: string, log: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.forEach(
      log,
      (entry) => {
        const [id = "", value = ""] = entry.split(":")
        const expected = (this.counted.get(counter) ?? 0) + 1
        if (Number(value) !== expected) {
          const what = `a lost update of ${counter}: #${id} made it ${value}, but ${expected} was next`
          this.book.breaks("lostAcknowledged", "server", what)
        }
        this.counted.set(counter, Number(value))
        return this.book.ledger.executed(Payload.idOf(id))
      },
      { discard: true }
    )
  }
}

const strings = (reply: RedisServer.Reply): ReadonlyArray<string> => (Array.isArray(reply) ? reply.map(String) : [])
