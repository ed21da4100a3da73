/**
 * Blocking pops. Each fiber has a queue of its own: what it pushes it pops. So what a pop may give is known: an item that
 * was pushed and not given before. An item that was pushed for sure must come out or be left at the end; only a pop whose
 * reply was lost may have taken it along, one item each.
 *
 * A pop that was interrupted while nothing was there, and nothing was wrong with the network, has no such excuse: its
 * connection is closed, so that an item pushed later is popped by the next one. The server is given time to notice.
 */
import { Redis } from "@relive/core"
import type { Reply } from "@relive/core/Resp"
import type { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type { Settled } from "./Book.ts"
import { show } from "./Fixtures.ts"
import { repeat, type Work } from "./Work.ts"

const prefix = "queue:"

/** After an interruption: for the end of the connection to get through the proxy. */
const graceMillis = 20

/** A pop whose connection is gone cannot take anything any more after this: no fault holds bytes up for so long. */
const excuseMillis = 15_000

export class Queue {
  private readonly work: Work
  /** Pushed for sure, and not popped. */
  private readonly there = new Set<number>()
  /** When pops were made that may each have taken an item along. */
  private excuses: Array<number> = []

  constructor(work: Work) {
    this.work = work
  }

  get key(): string {
    return `${prefix}${this.work.fiber}`
  }

  readonly push: Effect.Effect<void> = Effect.suspend(() => {
    const push = this.work.book.call(
      {
        lane: this.work.lane,
        kind: "write",
        effects: ["write"],
        keys: [this.key],
        check: (reply: Reply) => (typeof reply === "number" && reply >= 0 ? undefined : `answered ${show(reply)}`),
        run: ([id = -1], options) => Redis.command(["RPUSH", this.key, `${id}:${this.work.fiber}`], options)
      },
      this.work.random
    )
    return Effect.map(push, (settled) => {
      const [id = -1] = settled.ids
      // It may be popped already, by a pop beside it.
      if (settled._tag === "Acknowledged" && !this.early.delete(id)) this.there.add(id)
    })
  })

  /** Popped before their push was known to have worked. */
  private readonly early = new Set<number>()

  /** Pops with the server's timeout in seconds; `giveUpAfter` interrupts it after so many milliseconds. */
  readonly pop = (seconds: number, giveUpAfter?: number): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      const { book, lane, random } = this.work
      const startedAt = book.history.now()
      const before = [...this.there]
      const command = random.pick([
        ["BLPOP", this.key, seconds],
        ["BRPOP", this.key, seconds],
        ["BLMPOP", seconds, 1, this.key, "LEFT"]
      ])
      const pop = Redis.command(command, random.chance(0.2) ? { timeout: seconds * 1_000 + 300 } : {})
      const settled = yield* book.call(
        {
          lane,
          kind: "blockingPop",
          effects: ["read"],
          keys: [this.key],
          composite: true,
          untroubled: true,
          interruptAfterMillis: giveUpAfter,
          run: () => pop
        },
        random
      )
      if (settled._tag === "Acknowledged") {
        return yield* settled.reply === null ? this.explain(before) : this.popped(settled.reply, startedAt)
      }
      if (settled._tag === "Refused" || settled.delivery === "unsent") return
      const clean = before.length === 0 && (yield* this.wasCleanlyGivenUp(settled, startedAt))
      if (!clean) this.excuses.push(startedAt)
    })

  /** Interrupted in quiet times, and the server has had its time to see it. */
  private wasCleanlyGivenUp(settled: Settled<Reply>, startedAt: number): Effect.Effect<boolean> {
    if (settled._tag !== "Interrupted") return Effect.succeed(false)
    const { lane, server } = this.work
    // The server has seen the end of the other connection when it answers on one that came after it.
    const seen = Effect.match(server.command(["PING"]), { onFailure: () => false, onSuccess: () => true })
    return Effect.sleep(graceMillis).pipe(
      Effect.andThen(seen),
      Effect.map((answered) => answered && lane.wasQuietSince(startedAt))
    )
  }

  private popped(reply: Reply, startedAt: number): Effect.Effect<void> {
    // BLMPOP gives a list of items.
    const item: Reply | undefined = Array.isArray(reply) ? reply[1] : undefined
    const text: Reply | undefined = Array.isArray(item) ? item[0] : item
    const [id, owner] = String(text).split(":")
    const { book, lane } = this.work
    if (!Array.isArray(reply) || reply[0] !== this.key || owner !== String(this.work.fiber)) {
      book.breaks("wrongReplies", lane.name, `a pop of ${this.key} gave ${show(reply)}`, startedAt)
      return Effect.void
    }
    if (!this.there.delete(Number(id))) this.early.add(Number(id))
    return book.ledger.executed(Number(id))
  }

  /** What is left at the end, read past the proxy. */
  readonly settle = (server: RedisServer.RedisServer): Effect.Effect<void, RedisServer.RedisServerError> =>
    Effect.gen({ self: this }, function* () {
      const { ledger } = this.work.book
      const left = yield* server.command(["LRANGE", this.key, 0, -1])
      for (const item of Array.isArray(left) ? left : []) {
        const id = Number(String(item).split(":")[0])
        this.there.delete(id)
        yield* ledger.executed(id)
      }
      yield* this.explain([...this.there])
    })

  /** The queue was found empty: what is not there was taken by a pop whose reply was lost, or it is lost itself. */
  private explain(missing: ReadonlyArray<number>): Effect.Effect<void> {
    const { history, ledger } = this.work.book
    this.excuses = this.excuses.filter((at) => at > history.now() - excuseMillis)
    return Effect.forEach(
      missing.filter((id) => this.there.delete(id)),
      // One without an excuse stays without an execution, which the ledger finds.
      (id) => (this.excuses.shift() === undefined ? Effect.void : ledger.executed(id)),
      { discard: true }
    )
  }
}

/** Pops of all sorts: something is there, something comes, nothing comes, given up. */
const turn = (work: Work, queue: Queue): Effect.Effect<void> => {
  const { random } = work
  const pushSoon = Effect.andThen(Effect.sleep(random.integer(0, 15)), queue.push)
  switch (random.integer(0, 5)) {
    case 0:
    case 1:
      return Effect.andThen(queue.push, queue.pop(0.3))
    case 2:
      return Effect.asVoid(Effect.all([queue.pop(0.3), pushSoon], { concurrency: 2 }))
    case 3:
      return queue.pop(random.pick([0.01, 0.05]))
    case 4:
      return Effect.andThen(Effect.andThen(queue.pop(5, random.integer(1, 30)), queue.push), queue.pop(0.3))
    default:
      // A reply may be under way when it is given up.
      return Effect.asVoid(Effect.all([queue.pop(5, random.integer(0, 20)), pushSoon], { concurrency: 2 }))
  }
}

export const blocking = (work: Work, queue: Queue): Effect.Effect<void> =>
  repeat(
    work,
    "blockingPop",
    Effect.suspend(() => turn(work, queue))
  )
