/**
 * A lock: of all processes that ask for it, one at a time runs its section.
 *
 * The lock is a key that only one can set (`SET … NX`), with a random token to know whose it is and a time to live for
 * owners that die. Scripts release and extend it only for its owner: looking and acting has to be one step. While
 * the section runs the lock is extended; if it was lost, or cannot be extended in time, the section is interrupted
 * before somebody else can have the lock.
 *
 * Use it to save work that need not be done twice, or where a rare overlap is bearable: a process that is suspended, or a
 * server that fails over to a replica without the key, can still let two in. What must never overlap has to
 * be checked where it is written: `transfer.ts` needs no lock.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/lock.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Duration, Effect, Schedule, Schema } from "effect"
import { randomUUID } from "node:crypto"

/** Another process has the lock, and had it for as long as we wanted to wait. */
export class LockTaken extends Schema.TaggedError<LockTaken>()("LockTaken", { name: Schema.String }) {}

/** The lock expired or was taken away while the section ran, so that the section was interrupted. */
export class LockLost extends Schema.TaggedError<LockLost>()("LockLost", { name: Schema.String }) {}

const release = Redis.script(`
  if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call("DEL", KEYS[1])
`)

const extend = Redis.script(`
  if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call("PEXPIRE", KEYS[1], ARGV[2])
`)

/** `ttl`: after how long the lock of an owner that died is free. `wait`: how long to wait for the lock. */
export interface LockOptions {
  readonly ttl: Duration.Input
  readonly wait: Duration.Input
}

/** Runs `section` while holding the lock. */
export const withLock = <A, E, R>(name: string, options: LockOptions, section: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const key = `example:lock:${name}`
    const token = randomUUID()
    const ttl = Duration.toMillis(options.ttl)

    const acquire = Commands.set(key, token, { nx: true, px: ttl }).pipe(
      Effect.filterOrFail(
        (reply) => reply === "OK",
        () => new LockTaken({ name })
      ),
      Effect.retry({
        while: (error) => error._tag === "LockTaken",
        schedule: Schedule.spaced("20 millis").pipe(Schedule.jittered, Schedule.upTo({ duration: options.wait }))
      })
    )

    // Each third of the time to live, with a reply within a third: there is always one left to stop in.
    const keep = extend([key], [token, ttl], { timeout: ttl / 3, retry: { for: "any" } }).pipe(
      Effect.filterOrFail(
        (reply) => reply === 1,
        () => new LockLost({ name })
      ),
      Effect.delay(ttl / 3),
      Effect.forever
    )

    // Released by its token, the lock may be asked for back whatever became of the SET: interrupted, refused, unknown.
    return acquire.pipe(
      Effect.andThen(Effect.raceFirst(section, keep)),
      Effect.ensuring(Effect.ignore(release([key], [token])))
    )
  })

export const program = Effect.gen(function* () {
  const balance = "example:lock:balance"
  yield* Commands.set(balance, 0)
  // Reads, thinks, and writes: without the lock most of these would be lost.
  const deposit = Effect.gen(function* () {
    const before = Number(yield* Commands.get(balance))
    yield* Effect.yieldNow
    yield* Commands.set(balance, before + 1)
  })
  const locked = withLock("deposit", { ttl: "5 seconds", wait: "30 seconds" }, deposit)
  yield* Effect.all(Effect.replicate(locked, 10), { concurrency: "unbounded" })
  return Number(yield* Commands.get(balance))
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
