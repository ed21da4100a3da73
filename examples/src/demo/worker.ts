/**
 * The workers: they write and read all the time, and know what each reply must be.
 *
 * - An appender pushes its call's id to a list that nobody else writes (`RPUSH`), so the reply must be the next length; the
 *   last element (`LINDEX`) must be what it has just pushed.
 * - A counter counts its call's id in a hash (`HINCRBY … 1`), so the reply must be 1; the field (`HGET`) must then be 1.
 * - An impatient one pushes with a deadline that is shorter than a restart of the server: some of its calls fail.
 *
 * Every id is unique, so at the end the lists and hashes on the server tell which writes have run, and how often. A write
 * that failed as `unknown` may have run: the replies after it may show it or not, and both are right.
 */
import { Redis, type RedisService } from "@relive/core"
import type { Service } from "@relive/core/RedisService"
import { ChildSpec, Process, type Registry } from "@relive/otp"
import * as Effect from "effect/Effect"
import type { Book, Settled } from "./book.ts"

/** Says when the workers shall end by themselves. */
export interface Stop {
  requested: boolean
}

/** One round of calls, to be repeated. */
type Round = Effect.Effect<Settled, never, RedisService>

/** A kind of worker: how many fibers each has, and what each of them repeats, on a key of its own. */
interface Job {
  readonly id: string
  readonly lanes: number
  readonly round: (book: Book, key: string) => Round
}

/** A list with one writer, and what that one knows of it. */
class Log {
  private readonly book: Book
  private readonly key: string
  private readonly timeout: number | undefined
  private acknowledged = 0
  private last: string | null = null
  /** The ids of writes that may have run. */
  private readonly unknown = new Set<string>()

  constructor(book: Book, key: string, timeout?: number) {
    this.book = book
    this.key = key
    this.timeout = timeout
  }

  readonly push: Round = Effect.suspend(() =>
    this.book.make({
      kind: "RPUSH",
      effect: "write",
      key: this.key,
      command: (id) => ["RPUSH", this.key, id],
      accepts: (reply) => this.isNextLength(reply),
      timeout: this.timeout
    })
  ).pipe(Effect.tap((settled) => Effect.sync(() => this.pushed(settled))))

  readonly readLast: Round = Effect.suspend(() =>
    this.book.make({
      kind: "LINDEX",
      effect: "read",
      key: this.key,
      command: () => ["LINDEX", this.key, -1],
      accepts: (reply) => reply === this.last || (typeof reply === "string" && this.unknown.has(reply))
    })
  )

  private isNextLength(reply: unknown): boolean {
    const next = this.acknowledged + 1
    return typeof reply === "number" && next <= reply && reply <= next + this.unknown.size
  }

  private pushed({ id, outcome }: Settled): void {
    if (outcome === "unknown") this.unknown.add(String(id))
    if (outcome !== "acknowledged") return
    this.acknowledged++
    this.last = String(id)
  }
}

const countOnce = (book: Book, key: string): Round =>
  Effect.suspend(() =>
    book.make({
      kind: "HINCRBY",
      effect: "write",
      key,
      command: (id) => ["HINCRBY", key, id, 1],
      accepts: (reply) => reply === 1
    })
  ).pipe(
    Effect.flatMap((written) =>
      book.make({
        kind: "HGET",
        effect: "read",
        key,
        command: () => ["HGET", key, written.id],
        accepts: (reply) =>
          (reply === "1" && written.outcome !== "unsent") || (reply === null && written.outcome !== "acknowledged")
      })
    )
  )

/** Shorter than a restart of the server, and longer than one reply even on a slow machine. */
const IMPATIENT_MILLIS = 150

const jobs: ReadonlyArray<Job> = [
  {
    id: "appender",
    lanes: 24,
    round: (book, key) => {
      const log = new Log(book, key)
      return Effect.andThen(log.push, log.readLast)
    }
  },
  { id: "counter", lanes: 24, round: countOnce },
  { id: "impatient", lanes: 4, round: (book, key) => new Log(book, key, IMPATIENT_MILLIS).push }
]

/** Between two rounds: so that the demo leaves some of the machine to others, and the data stay small. */
const PAUSE_MILLIS = 2

/** Repeats a round until it is time to stop. */
const lane = (round: Round, stop: Stop): Effect.Effect<void, never, RedisService> =>
  Effect.suspend(() => {
    if (stop.requested) return Effect.void
    return Effect.andThen(Effect.andThen(round, Effect.sleep(PAUSE_MILLIS)), lane(round, stop))
  })

/** One worker as a child. It takes the connection by its name, so it never notices that there are several sessions. */
const worker = (job: Job, book: Book, stop: Stop, name: Registry.Name<Service>) =>
  ChildSpec.make({
    id: job.id,
    restart: "transient",
    start: Effect.map(Process.self, ({ generation }) => {
      // A restarted worker begins with keys that nobody has written.
      const rounds = Array.from({ length: job.lanes }, (_, n) => job.round(book, `${job.id}:${generation}:${n}`))
      return ChildSpec.started({
        run: Effect.forEach(rounds, (round) => lane(round, stop), { concurrency: "unbounded", discard: true }).pipe(
          Effect.provide(Redis.layerNamed(name))
        )
      })
    })
  })

/** All workers. They end by themselves, with all their calls settled, when they are asked to stop. */
export const workers = (
  book: Book,
  stop: Stop,
  name: Registry.Name<Service>
): ReadonlyArray<ChildSpec.ChildSpec<undefined, Registry.Registry>> => jobs.map((job) => worker(job, book, stop, name))
