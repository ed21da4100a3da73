/**
 * Blocking pops. Each fiber has a queue of its own: what it pushes it pops. So what a pop may give is known: an item that
 * was pushed and not given before; `Stock` keeps the account.
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
import { Stock } from "./Stock.ts"
import { repeat, type Work } from "./Work.ts"

const prefix = "queue:"

/** After an interruption: for the end of the connection to get through the proxy. */
const GRACE_MILLIS = 20

export class Queue {
  private readonly work: Work
  private readonly stock = new Stock()

  constructor(work: Work) {
    this.work = work
  }

  get key(): string {
    return `${prefix}${this.work.fiber}`
  }

  readonly push: Effect.Effect<void> = Effect.suspend(() => {
    this.stock.pushes()
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
    return Effect.map(push, (settled) =>
      this.stock.pushed(settled._tag === "Acknowledged" ? settled.ids[0] : undefined)
    )
  })

  /** Pops with the server's timeout in seconds; `giveUpAfter` interrupts it after so many milliseconds. */
  readonly pop = (seconds: number, giveUpAfter?: number): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      const { book, lane, random } = this.work
      const made = this.stock.pops(book.history.now())
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
        return yield* settled.reply === null ? this.explain(made.before) : this.popped(settled.reply, made.startedAt)
      }
      if (settled._tag === "Refused" || settled.delivery === "unsent") return
      const clean = this.stock.wasEmptySince(made) && (yield* this.wasCleanlyGivenUp(settled, made.startedAt))
      // Pushed beside it until the server has seen the end: then it may have been on its way, too.
      if (!clean || !this.stock.wasEmptySince(made)) this.stock.mayHaveTaken(made)
    })

  /** Interrupted in quiet times, and the server has had its time to see it. */
  private wasCleanlyGivenUp(settled: Settled<Reply>, startedAt: number): Effect.Effect<boolean> {
    if (settled._tag !== "Interrupted") return Effect.succeed(false)
    const { lane, server } = this.work
    // The server has seen the end of the other connection when it replies on one that came after it.
    const seen = Effect.match(server.command(["PING"]), { onFailure: () => false, onSuccess: () => true })
    return Effect.sleep(GRACE_MILLIS).pipe(
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
    this.stock.popped(Number(id))
    return book.ledger.executed(Number(id))
  }

  /** The items left at the end, read past the proxy. */
  readonly settle = (server: RedisServer.RedisServer): Effect.Effect<void, RedisServer.RedisServerError> =>
    Effect.gen({ self: this }, function* () {
      const { ledger } = this.work.book
      const left = yield* server.command(["LRANGE", this.key, 0, -1])
      for (const item of Array.isArray(left) ? left : []) {
        const id = Number(String(item).split(":")[0])
        this.stock.found(id)
        yield* ledger.executed(id)
      }
      yield* this.explain(this.stock.items)
    })

  /** The queue was found empty: what is not there was taken by a pop whose reply was lost, or it is lost itself. */
  private explain(missing: ReadonlyArray<number>): Effect.Effect<void> {
    const { history, ledger } = this.work.book
    // One without an excuse stays without an execution, which the ledger finds.
    const excused = this.stock.excused(missing, history.now())
    return Effect.forEach(excused, (id) => ledger.executed(id), { discard: true })
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
