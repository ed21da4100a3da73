/**
 * `effect/persistence/Redis` over a service of Relive.
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import { fromReply } from "@relive/core/PlainReply"
import { LeaseTimeout, RedisError } from "@relive/core/RedisError"
import type { CallOptions, Service } from "@relive/core/RedisService"
import type { Reply } from "@relive/core/Resp"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Options } from "../RedisPersistence.ts"
import { prepare } from "./script.ts"
import type { Run } from "./script.ts"

type Send = Redis.Redis["Service"]["send"]
type Lease = Effect.Effect<Service, RedisError, Scope.Scope>
type Eval = Redis.Redis["Service"]["eval"]

/** The whole error of Relive as the cause, so that its reason, its `delivery` and `isRetryable` can be read. */
const toTheirs = (cause: RedisError): Redis.RedisError => new Redis.RedisError({ cause })

/** Gives a result the type that only the caller of a command or script can say, as in Effect's own types. */
const shaped = <A>(
  command: ReadonlyArray<string>,
  reply: Effect.Effect<Reply, RedisError>
): Effect.Effect<A, Redis.RedisError> =>
  Effect.mapBoth(reply, { onSuccess: (reply) => fromReply(command, reply) as A, onFailure: toTheirs })

const isBlocking = (command: ReadonlyArray<string>): boolean =>
  (CommandTable.flagsOf(command) & CommandTable.Flags.blocking) !== 0

const makeSend =
  (service: Service, options: CallOptions | undefined): Send =>
  (command, ...args) => {
    const words = [command, ...args]
    // Such a command says itself how long the server may block.
    return shaped(words, service.command(words, options !== undefined && isBlocking(words) ? undefined : options))
  }

const evalWords: ReadonlyArray<string> = ["EVALSHA"]

/** Scripts by their text: a script that is made for each call has one digest all the same. */
const prepared = new WeakMap<object, Run>()

const runOf = (script: { readonly lua: string }): Run => {
  let run = prepared.get(script)
  if (run === undefined) prepared.set(script, (run = prepare(script.lua)))
  return run
}

const makeEval =
  (service: Service, options: CallOptions | undefined): Eval =>
  (script) => {
    const run = runOf(script)
    return (...params) =>
      Effect.suspend(() => {
        const words = [String(script.numberOfKeys(...params)), ...script.params(...params).map(String)]
        return shaped(evalWords, run(service, words, options))
      })
  }

/** At most `max` leases at a time, whatever the connection's own bound is; a caller that waits too long for one is told so. */
const bounded = (lease: Lease, max: number, timeout: Duration.Input | undefined): Lease => {
  const permits = Semaphore.makeUnsafe(max)
  const taken = new Set<{ readonly since: number }>()
  const tooLate = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const oldest = Math.max(0, ...Array.from(taken, ({ since }) => now - since))
    return Effect.fail(new RedisError({ reason: new LeaseTimeout({ out: taken.size, oldest }) }))
  })
  const permit = permits.take(1)
  const inTime =
    timeout === undefined ? permit : Effect.timeoutOrElse(permit, { duration: timeout, orElse: () => tooLate })
  const mark = Effect.map(Clock.currentTimeMillis, (since) => {
    const mine = { since }
    taken.add(mine)
    return mine
  })
  const release = (mine: { readonly since: number }) =>
    Effect.andThen(
      Effect.sync(() => taken.delete(mine)),
      permits.release(1)
    )
  return Effect.uninterruptibleMask((restore) =>
    restore(inTime).pipe(
      Effect.andThen(mark),
      Effect.tap((mine) => Effect.addFinalizer(() => release(mine))),
      Effect.andThen(restore(lease))
    )
  )
}

/** Messages that wait for their reader; what comes then waits in the subscription's own buffer, and is dropped at last. */
const CAPACITY = 1024

/**
 * Effect's contract: it returns when the server has confirmed the channel, never fails itself, and what goes wrong comes
 * through the queue. A lost connection is no failure: the channel is subscribed again, and what was published meanwhile is missed.
 */
const makeSubscribe =
  (service: Service, timeout: Duration.Input | "infinite" | undefined): Redis.Redis["Service"]["subscribe"] =>
  (channel) =>
    Effect.gen(function* () {
      const queue = yield* Effect.acquireRelease(
        Queue.bounded<Redis.RedisMessage, Redis.RedisError>(CAPACITY),
        Queue.shutdown
      )
      const settled = yield* Deferred.make<void>()
      const fail = (error: RedisError) => Effect.andThen(Queue.fail(queue, toTheirs(error)), settle)
      const settle = Deferred.succeed(settled, undefined)
      const events = service.subscribe({ kind: "channel", names: [channel] }, { timeout })
      const pump = Stream.runForEach(events, (event) => {
        if (event._tag === "Message") return Queue.offer(queue, { channel: event.channel, message: event.payload })
        return event._tag === "Subscribed" ? settle : Effect.void
      })
      yield* Effect.forkScoped(Effect.catch(pump, fail), { startImmediately: true })
      yield* Deferred.await(settled)
      return queue
    })

/** The service of Effect over one of ours. */
export const make = (service: Service, { pool, timeout }: Options): Redis.Redis["Service"] => {
  const options: CallOptions | undefined = timeout === undefined ? undefined : { timeout }
  const lease = service.lease(pool?.acquireTimeout === undefined ? undefined : { timeout: pool.acquireTimeout })
  const reserved = pool?.maxConnections === undefined ? lease : bounded(lease, pool.maxConnections, pool.acquireTimeout)
  return {
    send: makeSend(service, options),
    eval: makeEval(service, options),
    subscribe: makeSubscribe(service, timeout),
    reserve: Effect.mapBoth(reserved, {
      onSuccess: (lease) => ({ send: makeSend(lease, options), eval: makeEval(lease, options) }),
      onFailure: toTheirs
    })
  }
}
