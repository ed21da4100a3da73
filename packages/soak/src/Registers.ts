/**
 * A register: one key with one user, which writes and reads it in turns. What a read may find is known exactly: the last
 * value that was acknowledged or seen, or one of the writes that nobody knows about; those may still run, even after
 * later ones were acknowledged, since their bytes can be under way on a connection that is gone.
 */
import { Redis } from "@relive/core"
import type { Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import type { Settled } from "./Book.ts"
import { sameBytes, show } from "./Fixtures.ts"
import * as Payload from "./Payload.ts"
import { repeat, type Work } from "./Work.ts"

/** The number of unknown writes after which a new key is taken. */
const MOST_UNKNOWN = 12

class Register {
  private readonly work: Work
  private generation = 0
  private current: number | undefined = undefined
  private readonly unknown = new Set<number>()
  private readonly unsent = new Set<number>()

  constructor(work: Work) {
    this.work = work
  }

  get key(): string {
    return `register:${this.work.fiber}:${this.generation}`
  }

  readonly write = (): Effect.Effect<void> => {
    const { book, lane, random } = this.work
    const asBytes = random.chance(0.5)
    const write = book.call(
      {
        lane,
        kind: "set",
        // Its execution leaves no trace but the value: it is judged here.
        effects: ["read"],
        keys: [this.key],
        check: (reply: Reply) => (reply === "OK" ? undefined : `answered ${show(reply)}`),
        run: ([id = -1], options) =>
          Redis.command(["SET", this.key, asBytes ? Payload.bytes(id) : Payload.text(id)], options)
      },
      random
    )
    return Effect.map(write, (settled) => this.wrote(settled))
  }

  private wrote(settled: Settled<Reply>): void {
    const [id = -1] = settled.ids
    if (settled._tag === "Acknowledged") this.current = id
    else if (settled._tag !== "Refused" && settled.delivery === "unknown") this.unknown.add(id)
    else this.unsent.add(id)
    if (this.unknown.size < MOST_UNKNOWN && this.unsent.size < 100) return
    this.generation++
    this.current = undefined
    this.unknown.clear()
    this.unsent.clear()
  }

  readonly read = (): Effect.Effect<void> => {
    const { book, lane, random } = this.work
    const asBytes = random.chance(0.5)
    const startedAt = book.history.now()
    const read = book.call(
      {
        lane,
        kind: asBytes ? "getBytes" : "get",
        effects: ["read"],
        keys: [this.key],
        run: (_ids, options) =>
          Redis.command(["GET", this.key], {
            ...options,
            ...(asBytes ? { decode: "bytes" } : {}),
            ...(random.chance(0.2) ? { retry: false } : {})
          })
      },
      random
    )
    return Effect.map(read, (settled) => {
      if (settled._tag === "Acknowledged") this.found(settled.reply, asBytes, settled.ids[0] ?? -1, startedAt)
    })
  }

  private found(reply: Reply, asBytes: boolean, read: number, startedAt: number): void {
    const { book, lane } = this.work
    const text = reply instanceof Uint8Array ? Buffer.from(reply).toString("utf8") : reply
    const saw = `#${read} read ${this.key} and found ${show(reply)}`
    if (text === null) {
      if (this.current !== undefined) {
        book.breaks("lostAcknowledged", lane.name, `${saw}, not #${this.current}`, startedAt, read)
      }
      return
    }
    const id = typeof text === "string" ? Payload.idOf(text) : -1
    const whole = asBytes ? sameBytes(reply, Payload.bytes(id)) : reply === Payload.text(id)
    if (!whole) {
      const what = `${saw}, which nobody wrote${firstDifference(String(text), Payload.text(id))}`
      return book.breaks("wrongReplies", lane.name, what, startedAt, read)
    }
    if (id === this.current) return
    if (this.unknown.delete(id)) {
      this.current = id
      return
    }
    const law = this.unsent.delete(id) ? "executedThoughUnsent" : "lostAcknowledged"
    book.breaks(
      law,
      lane.name,
      `${saw}, but #${this.current} was the last, or one of ${[...this.unknown]}`,
      startedAt,
      read
    )
  }
}

/** Writes and reads a register. */
export const registers = (work: Work): Effect.Effect<void> => {
  const register = new Register(work)
  const reads = Effect.suspend(() => (work.random.chance(0.6) ? register.read() : register.write()))
  return repeat(work, "get", reads)
}

const firstDifference = (found: string, expected: string): string => {
  let at = 0
  while (at < found.length && found[at] === expected[at]) at++
  const near = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 10), at + 20))
  return `: at ${at} of ${expected.length} (found ${found.length}) ${near(found)} instead of ${near(expected)}`
}
