/**
 * Turns of the event loop, and the order in them: time is over before the socket was read.
 *
 * Node runs its timers between two polls of the sockets. When the program has been held up (a long computation, a frozen
 * process), timers that are due run first, although the reply may lie in the kernel since before they were due. So whatever
 * ends something because its time is over, or writes after a silence, lets the sockets be read first (`readFirst`).
 *
 * The functions are taken when this module is loaded: a test tool may put fake ones in their place, which nobody moves.
 *
 * @internal
 */
import type { Clock } from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isLive, monotonicMillis } from "./clock.ts"

export const { queueMicrotask, setImmediate } = globalThis
const { clearTimeout, setTimeout } = globalThis

/**
 * Runs `then` when every socket has been looked at once from now on. Two turns: the first immediate runs at the end of
 * this turn, whose poll may lie behind us.
 */
export const afterPoll = (then: () => void): void => {
  setImmediate(() => setImmediate(then))
}

/** See `afterPoll`. */
export const polled: Effect.Effect<void> = Effect.callback<void>((resume) => afterPoll(() => resume(Effect.void)))

/** Lets the others of this process have a turn. */
export const nextTurn: Effect.Effect<void> = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** The longest time that Node's timers take, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * Calls `then` after that many milliseconds, or earlier when they are very many, on the live clock. Returns how to prevent that. A
 * fiber that sleeps costs ten times as much memory.
 */
export const liveTimer = (millis: number, then: () => void): (() => void) => {
  const timer = setTimeout(then, Math.min(millis, LONGEST_TIMER))
  return () => clearTimeout(timer)
}

/**
 * The same on any clock. One that a test moves must know the fiber, by its context; sockets have their turn between two of its
 * times, as between those of the live clock.
 */
export const startTimer = (
  clock: Clock,
  context: Context.Context<never>,
  millis: number,
  then: () => void
): (() => void) => {
  if (isLive(clock)) return liveTimer(millis, then)
  const slept = Effect.andThen(clock.sleep(Duration.millis(millis)), Effect.yieldNow)
  return Effect.runCallbackWith(context)(Effect.andThen(slept, Effect.sync(then)))
}

/** A timer that is later than this, in milliseconds, was held up by something; less is usual. */
const LATE_MILLIS = 10

/** After a stall, so many turns at most: 32 MiB, more than the buffers of a socket hold. */
const MAX_TURNS = 64

/** How much has come in so far: a number that changes with each read. */
export type Received = () => number

const readAll = (received: Received, turns: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = received()
    return Effect.flatMap(polled, () =>
      received() === before || turns <= 1 ? Effect.void : readAll(received, turns - 1)
    )
  })

/**
 * Lets what came in before now be read: to be waited for when a timer of the live clock has gone off, `late` milliseconds
 * late. One poll; after a stall as many as there is something to read.
 */
export const readFirst = (clock: Clock, late: number, received: Received): Effect.Effect<void> =>
  isLive(clock) ? readAll(received, late > LATE_MILLIS ? MAX_TURNS : 1) : Effect.void

/** The treatment of time during which the program stood still. */
export interface TimeOptions<E> {
  readonly millis: number
  readonly orElse: () => Effect.Effect<never, E>
  readonly received?: Received | undefined
  /** It does not count, up to `millis`: for what takes several steps of a peer, which could not go on meanwhile. */
  readonly forgiving?: boolean | undefined
}

const nothing: Received = () => 0

/** As `Effect.timeoutOrElse`, but what has come in when the time is over comes first. */
export const withinTime = <A, E, R, E2>(
  clock: Clock,
  effect: Effect.Effect<A, E, R>,
  { forgiving = false, millis, orElse, received = nothing }: TimeOptions<E2>
): Effect.Effect<A, E | E2, R> => {
  if (millis === Infinity) return effect
  const wait = (left: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const due = monotonicMillis(clock) + left
      return Effect.flatMap(Effect.sleep(left), () => {
        const late = monotonicMillis(clock) - due
        const read = readFirst(clock, late, received)
        return forgiving && late > LATE_MILLIS ? Effect.andThen(read, wait(Math.min(late, millis))) : read
      })
    })
  return Effect.raceFirst(effect, Effect.andThen(wait(millis), Effect.suspend(orElse)))
}
