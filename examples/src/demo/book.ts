/**
 * The book-keeping of the demo: every call goes through it. `Ledger` of `@relive/testing` keeps each call with its id and
 * decides at the end who was right; what is counted here beside it is for the view, while things happen.
 */
import { Redis, type RedisError, type RedisService, type Resp } from "@relive/core"
import { Ledger } from "@relive/testing"
import * as Effect from "effect/Effect"

/** A call to be made. Its id is unique in the program, and a write carries it to the server. */
export interface Call {
  readonly kind: string
  readonly effect: "write" | "read"
  /** Where a write leaves its id. */
  readonly key: string
  readonly command: (id: number) => Resp.Command
  /** Whether a reply can be this call's own. */
  readonly accepts: (reply: unknown, id: number) => boolean
  /** Its deadline in milliseconds; the connection's own when absent. */
  readonly timeout?: number | undefined
}

/** How a call ended. */
export interface Settled {
  readonly id: number
  readonly outcome: "acknowledged" | "refused" | "unsent" | "unknown"
  readonly reply?: unknown
}

/** A write that may have run: nobody knows until the server is asked. */
export interface UnknownWrite {
  readonly id: number
  readonly kind: string
  readonly key: string
}

/** The figures that the view shows. */
export interface Counts {
  sent: number
  acknowledged: number
  refused: number
  unsent: number
  unknown: number
  wrong: number
  readsFailed: number
}

/** The outcome of a call by its error, in the ledger's words. */
const outcomeOf = ({ reason }: RedisError.RedisError): Ledger.Outcome => {
  switch (reason._tag) {
    case "ReplyError":
      return { _tag: "Refused" }
    case "ConnectionError":
    case "TimeoutError":
      return { _tag: "Failed", delivery: reason.delivery }
    case "RedisArgumentError":
      return { _tag: "Failed", delivery: "unsent" }
    default:
      return { _tag: "Failed", delivery: "unknown" }
  }
}

const nameOf = (outcome: Ledger.Outcome): Settled["outcome"] => {
  if (outcome._tag === "Acknowledged") return "acknowledged"
  if (outcome._tag === "Refused") return "refused"
  return outcome.delivery ?? "unknown"
}

export class Book {
  readonly ledger: Ledger.Ledger
  readonly counts: Counts = {
    sent: 0,
    acknowledged: 0,
    refused: 0,
    unsent: 0,
    unknown: 0,
    wrong: 0,
    readsFailed: 0
  }
  readonly unknownWrites: Array<UnknownWrite> = []
  /** Where writes leave their ids: in lists by `RPUSH`, as fields of hashes by `HINCRBY`. */
  readonly lists = new Set<string>()
  readonly hashes = new Set<string>()

  constructor(ledger: Ledger.Ledger) {
    this.ledger = ledger
  }

  /** The number of calls that have not settled yet. */
  get waiting(): number {
    const { acknowledged, refused, sent, unknown, unsent } = this.counts
    return sent - acknowledged - refused - unsent - unknown
  }

  /** Makes a call and tells how it ended. Never fails. */
  readonly make = (call: Call): Effect.Effect<Settled, never, RedisService> => {
    let id = -1
    if (call.effect === "write") (call.kind === "RPUSH" ? this.lists : this.hashes).add(call.key)
    const command = (given: number) => {
      id = given
      this.counts.sent++
      return Redis.command(call.command(id), { timeout: call.timeout })
    }
    return this.ledger.track({ ...call, keys: [call.key], accepts: this.judge(call) }, command, outcomeOf).pipe(
      Effect.match({
        onSuccess: (reply): Settled => ({ id, outcome: "acknowledged", reply }),
        onFailure: (error): Settled => ({ id, outcome: nameOf(outcomeOf(error)) })
      }),
      Effect.tap((settled) => Effect.sync(() => this.count(call, settled)))
    )
  }

  private judge(call: Call) {
    return (reply: unknown, id: number): boolean => {
      const isOwn = call.accepts(reply, id)
      if (!isOwn) this.counts.wrong++
      return isOwn
    }
  }

  private count(call: Call, { id, outcome }: Settled): void {
    this.counts[outcome]++
    if (outcome === "acknowledged") return
    if (call.effect === "read") this.counts.readsFailed++
    else if (outcome === "unknown") this.unknownWrites.push({ id, kind: call.kind, key: call.key })
  }
}

export const makeBook: Effect.Effect<Book> = Effect.map(Ledger.make, (ledger) => new Book(ledger))
