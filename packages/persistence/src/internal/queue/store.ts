/**
 * The woken store: takers wait in a list, and one loop for each queue takes elements for them, and waits in `BLMOVE` when there
 * are none.
 *
 * @internal
 */
import type { RedisError } from "@relive/core/RedisError"
import type { Service } from "@relive/core/RedisService"
import type { Reply } from "@relive/core/Resp"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import type { Options } from "../../RedisPersistedQueue.ts"
import { literal, matching } from "../keys.ts"
import { words } from "../script.ts"
import { Takers } from "./takers.ts"
import type { Claim, Taker } from "./takers.ts"
import * as scripts from "./scripts.ts"
import type { QueueKeys } from "./scripts.ts"

type Store = PersistedQueue.PersistedQueueStore["Service"]

const PersistedQueueError = PersistedQueue.PersistedQueueError

/** The longest time that the server is asked to wait for an element. */
const BLOCK_SECONDS = 10

/** The time that a process which offers, too, waits for its own next offer before it blocks. */
const GRACE_MILLIS = 2

/** Elements that one script takes at most. */
const BATCH = 100

const closed = () => new PersistedQueueError({ message: "The store of the queue is closed" })

const failed = (message: string) => (cause: unknown) => new PersistedQueueError({ message, cause })

const millisOf = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Math.max(1, Duration.toMillis(Duration.fromInputUnsafe(input)))

/** Of a failure that comes from Effect's own factory, when a value does not decode: another attempt would not help. */
const deadLetterOf = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> | undefined => {
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason)) continue
    const { error } = reason
    if (!Predicate.isTagged(error, "~effect/persistence/PersistedQueue/DeadLetter")) continue
    return Predicate.hasProperty(error, "cause") && Cause.isCause(error.cause) ? error.cause : cause
  }
  return undefined
}

/** Whether the error says that the connection has ended for good. */
const isEnd = ({ reason }: RedisError): boolean =>
  reason._tag === "ConnectionError" && (reason.kind === "shutdown" || reason.kind === "closed")

const isUnknownCommand = ({ reason }: RedisError): boolean =>
  reason._tag === "ReplyError" && reason.message.includes("unknown command")

const isArray = (reply: Reply | undefined): reply is ReadonlyArray<Reply> => Array.isArray(reply)

/** The reply of the script `take`. */
const readTaken = (reply: Reply): { readonly due: number; readonly claims: ReadonlyArray<Claim> } => {
  const [due, taken] = isArray(reply) ? reply : []
  const claims: Array<Claim> = []
  if (isArray(taken)) {
    for (let i = 0; i + 2 < taken.length; i += 3) {
      claims.push({ payload: String(taken[i]), attempts: Number(taken[i + 1]), lock: String(taken[i + 2]) })
    }
  }
  return { due: typeof due === "number" && due >= 0 ? due : Infinity, claims }
}

interface Payload {
  readonly id: string
  readonly element?: unknown
  /** It is no JSON, but for its id, which the script has read. */
  readonly broken?: true
}

const readPayload = (payload: string): Payload => {
  try {
    return JSON.parse(payload)
  } catch {
    const id = /^\{"id":("(?:[^"\\]|\\.)*")/.exec(payload)?.[1]
    return { id: id === undefined ? "" : JSON.parse(id), broken: true }
  }
}

class WokenStore {
  private readonly service: Service
  private readonly prefix: string
  private readonly pollMillis: number
  private readonly refreshMillis: number
  private readonly expirationMillis: number
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private readonly queues = new Map<string, Takers>()
  /** The claims of this process: their locks are extended while they are here. */
  private readonly active = new Map<string, { readonly owners: string; readonly id: string }>()
  /** Whether the server has BLMOVE. */
  private blocks = true
  private closed = false

  constructor(service: Service, options: Options, fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.service = service
    this.prefix = options.prefix ?? "effectq:"
    this.pollMillis = millisOf(options.pollInterval, 1000)
    this.refreshMillis = millisOf(options.lockRefreshInterval, 30_000)
    this.expirationMillis = millisOf(options.lockExpiration, 90_000)
    this.fork = fork
  }

  private takers(name: string): Takers {
    let takers = this.queues.get(name)
    if (takers === undefined) this.queues.set(name, (takers = new Takers(scripts.keysOf(this.prefix, name))))
    return takers
  }

  // ------------------------------------------------------------------------------------------------------------- offer

  readonly offer: Store["offer"] = ({ delay, element, id, isCustomId, name }) =>
    Effect.suspend(() => {
      const keys = scripts.keysOf(this.prefix, name)
      // As the server would have it: the id in the payload and the one among the ids are the same.
      const wellFormed = id.toWellFormed()
      const payload = JSON.stringify({ id: wellFormed, element })
      const millis = delay === undefined ? 0 : Duration.toMillis(delay)
      const told = () => this.queues.get(name)?.offered()
      if (!isCustomId && millis === 0) return Effect.map(this.service.command(["RPUSH", keys.queue, payload]), told)
      const offered = scripts.offer(
        this.service,
        words([keys.queue, keys.delayed, keys.ids], [payload, millis, ...(isCustomId ? [wellFormed] : [])])
      )
      if (millis > 0) return Effect.map(offered, () => this.queues.get(name)?.dueIn(millis))
      // The second time it finds the id: an offer with one may be made again when nobody knows whether it was made.
      return Effect.map(
        Effect.retry(offered, { times: 3, while: (error) => error.delivery === "unknown" && !isEnd(error) }),
        told
      )
    }).pipe(Effect.mapError(failed("The element could not be offered")))

  // -------------------------------------------------------------------------------------------------------------- take

  readonly take: Store["take"] = (options) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        if (this.closed) return Effect.fail(closed())
        const takers = this.takers(options.name)
        takers.maxAttempts = options.maxAttempts
        const taker: Taker = { claim: undefined, resume: undefined }
        const granted = Effect.callback<Claim, PersistedQueue.PersistedQueueError>((resume) => {
          taker.resume = resume
          takers.waiting.add(taker)
          this.poll(takers)
        })
        return restore(granted).pipe(
          // An element may have come in the moment in which nobody wanted it any more.
          Effect.onExit((exit) => {
            takers.leave(taker)
            if (exit._tag === "Success" || taker.claim === undefined) return Effect.void
            return Effect.ignore(this.release(takers.keys, taker.claim))
          }),
          Effect.flatMap((claim) => this.claimed(takers.keys, claim, options))
        )
      })
    )

  private claimed(keys: QueueKeys, claim: Claim, options: Parameters<Store["take"]>[0]): ReturnType<Store["take"]> {
    const { attempts, lock, payload } = claim
    const { broken, element, id } = readPayload(payload)
    if (broken === true) {
      const record = this.record(id, payload, attempts, "The element is no JSON")
      return Effect.andThen(Effect.orDie(this.settle(keys, lock, id, "fail", record)), this.take(options))
    }
    this.active.set(lock, { owners: keys.owners, id })
    const end = (how: Ending, text = "", delay = 0) =>
      this.settle(keys, lock, id, how, text, delay).pipe(
        Effect.orDie,
        Effect.ensuring(Effect.sync(() => this.active.delete(lock)))
      )
    const onExit = (exit: Exit.Exit<unknown, unknown>) => {
      if (exit._tag === "Success") return end("complete")
      const dead = deadLetterOf(exit.cause)
      if (dead === undefined && Cause.hasInterruptsOnly(exit.cause)) return end("release", payload)
      if (dead !== undefined || attempts >= options.maxAttempts) {
        return end("fail", this.record(id, element, attempts, Cause.pretty(dead ?? exit.cause)))
      }
      return Effect.flatMap(options.retryDelay(attempts), (delay) => {
        const millis = Duration.toMillis(delay)
        return Effect.andThen(
          end("retry", payload, millis),
          Effect.sync(() => this.queues.get(options.name)?.dueIn(millis))
        )
      })
    }
    return Effect.as(Effect.addFinalizer(onExit), { id, attempts, element })
  }

  /** The record of a failure; the script adds when it was. */
  private record(id: string, element: unknown, attempts: number, lastFailure: string): string {
    return JSON.stringify({ id, element, attempts, lastFailure }).slice(0, -1)
  }

  private release(keys: QueueKeys, { lock, payload }: Claim): Effect.Effect<void, RedisError> {
    return this.settle(keys, lock, readPayload(payload).id, "release", payload)
  }

  /** May be done again: it does nothing when the claim is not there any more. Past the lock's time it has no claim. */
  private settle(
    keys: QueueKeys,
    lock: string,
    id: string,
    how: Ending,
    text: string,
    delay = 0
  ): Effect.Effect<void, RedisError> {
    const { queue, delayed, pending, owners, attempts, ids, failed } = keys
    const all = words([queue, delayed, pending, owners, attempts, ids, failed, lock], [id, how, text, delay])
    const schedule = Schedule.min([Schedule.exponential(100), Schedule.spaced(5000)]).pipe(
      Schedule.jittered,
      Schedule.upTo({ duration: this.expirationMillis })
    )
    return Effect.asVoid(Effect.retry(scripts.settle(this.service, all), { schedule, while: (error) => !isEnd(error) }))
  }

  // ----------------------------------------------------------------------------------------------------------- waiting

  /** Starts the loop of a queue, unless it runs. */
  private poll(takers: Takers): void {
    if (takers.polled) return
    takers.polled = true
    this.fork(Effect.andThen(Effect.yieldNow, this.loop(takers)))
  }

  private loop(takers: Takers): Effect.Effect<void> {
    return Effect.whileLoop({
      while: () => takers.keepPolling(),
      body: () => Effect.catchCause(this.turn(takers), (cause) => this.troubled(takers, cause)),
      step: () => undefined
    })
  }

  /** Takes what there is for those who wait; when there is nothing, waits for more. */
  private turn(takers: Takers): Effect.Effect<void, RedisError> {
    return Effect.gen({ self: this }, function* () {
      yield* this.recover(takers)
      if (takers.waiting.size === 0) return
      takers.beginTurn()
      const { queue, delayed, pending, owners, attempts, failed } = takers.keys
      const reply = yield* scripts.take(
        this.service,
        words(
          [queue, delayed, pending, owners, attempts, failed],
          [`${this.prefix}lock:${randomUUID()}:`, Math.min(takers.waiting.size, BATCH), this.expirationMillis]
        )
      )
      const { claims, due } = readTaken(reply)
      // State first: a taker runs as soon as it is told.
      const left = takers.hand(claims)
      yield* Effect.forEach(left, (claim) => this.release(takers.keys, claim), { discard: true })
      if (claims.length === 0) yield* this.await(takers, due)
    })
  }

  /**
   * Waits until the server says that there is an element, the next one is due, or there is something else to do. Where this
   * process offers, too, it waits for that a moment longer than an offer takes before it asks the server to say so.
   */
  private await(takers: Takers, due: number): Effect.Effect<void> {
    const millis = Math.min(due, this.pollMillis)
    const grace = takers.isOfferedHere ? Math.min(millis, GRACE_MILLIS) : 0
    if (grace === 0) return this.awaitServer(takers, millis, due)
    return Effect.andThen(
      Effect.raceFirst(Effect.sleep(grace), takers.until(millis)),
      Effect.suspend(() =>
        takers.isNudged || millis <= grace ? Effect.void : this.awaitServer(takers, millis - grace, due)
      )
    )
  }

  private awaitServer(takers: Takers, millis: number, due: number): Effect.Effect<void> {
    if (takers.blocked === undefined && this.blocks) {
      const fiber = this.fork(
        Effect.ensuring(
          this.block(takers, due),
          Effect.sync(() => takers.unblocked())
        )
      )
      // An end before this line leaves nothing to be woken by.
      if (fiber.pollUnsafe() === undefined) takers.blocked = fiber
    }
    return Effect.raceFirst(Effect.sleep(millis), takers.until(millis))
  }

  /**
   * Moves the first element of the queue to where it is, as soon as there is one, from whatever process. It goes on while
   * the loop takes what is due: ending it early costs a connection. When the next element is due it ends, too: by the
   * server's time, to which the delay is.
   */
  private block({ keys: { queue } }: Takers, due: number): Effect.Effect<void> {
    const seconds = Math.min(BLOCK_SECONDS, due / 1000 + 0.05)
    return this.service.command(["BLMOVE", queue, queue, "LEFT", "LEFT", seconds]).pipe(
      Effect.asVoid,
      Effect.catch((error) => {
        if (!isUnknownCommand(error)) return troubled(Cause.fail(error))
        this.blocks = false
        return Effect.void
      })
    )
  }

  private recover(takers: Takers): Effect.Effect<void, RedisError> {
    return Effect.clockWith((clock) => {
      const now = clock.currentTimeMillisUnsafe()
      if (now < takers.recoverAt) return Effect.void
      const { queue, pending, owners, attempts, ids, failed } = takers.keys
      return Effect.map(
        scripts.recover(this.service, words([queue, pending, owners, attempts, ids, failed], [takers.maxAttempts])),
        () => {
          takers.recoverAt = now + this.refreshMillis
        }
      )
    })
  }

  /** Waits for a connection that comes back; one that does not fails those who wait. */
  private troubled(takers: Takers, cause: Cause.Cause<RedisError>): Effect.Effect<void> {
    const reason = cause.reasons.find(Cause.isFailReason)
    if (reason !== undefined && isEnd(reason.error)) {
      return Effect.sync(() => takers.fail(failed("The connection is closed")(reason.error)))
    }
    return troubled(cause)
  }

  /** Ends the handing out of elements. */
  readonly close = Effect.sync(() => {
    this.closed = true
    for (const takers of this.queues.values()) takers.fail(closed())
  })

  /** Says that the takers of this process are alive, again and again. */
  get refreshLocks(): Effect.Effect<void> {
    const once = Effect.suspend(() => {
      const claims = [...this.active]
      if (claims.length === 0) return Effect.void
      const keys = claims.flatMap(([lock, { owners }]) => [owners, lock])
      return Effect.asVoid(
        scripts.extend(this.service, words(keys, [this.expirationMillis, ...claims.map(([, { id }]) => id)]))
      )
    })
    return once.pipe(
      Effect.catchCause((cause) => Effect.logWarning("The locks of a persisted queue could not be extended", cause)),
      Effect.delay(this.refreshMillis),
      Effect.forever
    )
  }

  // ----------------------------------------------------------------------------------------------------------- cleanup

  readonly cleanup: Store["cleanup"] = ({ failedTimeToLive, timeToLive }) => {
    const all = (suffix: string) => matching(this.service, `${literal(this.prefix)}*${suffix}`)
    const completed = Stream.runForEach(all(":ids"), (key) =>
      scripts.trimCompleted(this.service, words([key], [Duration.toMillis(timeToLive)]))
    )
    if (failedTimeToLive === undefined) return Effect.mapError(completed, failed("The queues could not be cleaned up"))
    const dead = Stream.runForEach(all(":failed"), (key) => {
      const ids = `${key.slice(0, -":failed".length)}:ids`
      return Effect.repeat(scripts.trimFailed(this.service, words([key, ids], [Duration.toMillis(failedTimeToLive)])), {
        while: (removed) => removed === scripts.TRIM_BATCH
      })
    })
    return Effect.mapError(Effect.andThen(completed, dead), failed("The queues could not be cleaned up"))
  }
}

const troubled = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.andThen(Effect.logWarning("A persisted queue could not be read; trying again", cause), Effect.sleep(500))

type Ending = "complete" | "release" | "retry" | "fail"

export const make = (service: Service, options: Options): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = yield* FiberSet.makeRuntime<never, void, never>()
    const store = new WokenStore(service, options, fork)
    yield* Effect.addFinalizer(() => store.close)
    yield* Effect.forkScoped(store.refreshLocks)
    return { offer: store.offer, take: store.take, cleanup: store.cleanup }
  })
