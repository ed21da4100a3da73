/**
 * Asks several in order, each with a head start, until enough have replied.
 *
 * The next one is asked when the one before it has replied or failed, and after `headStartMillis` in any case: one that is mute
 * costs that much, and no more. Once one has replied, the others have `graceMillis` to make it enough.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** The replies, in the order in which they came. */
export interface Gathered<A, E> {
  readonly replies: Array<A>
  readonly failures: Array<E>
}

export interface GatherOptions {
  readonly headStartMillis: number
  readonly graceMillis: number
}

export const gather = <N, A, E>(
  order: ReadonlyArray<N>,
  ask: (one: N) => Effect.Effect<A, E>,
  isEnough: (replies: ReadonlyArray<A>) => boolean,
  { graceMillis, headStartMillis }: GatherOptions
): Effect.Effect<Gathered<A, E>> =>
  Effect.suspend(() => {
    const gathered: Gathered<A, E> = { replies: [], failures: [] }
    const first = Deferred.makeUnsafe<void>()
    const enough = Deferred.makeUnsafe<void>()
    const over = order.map(() => Deferred.makeUnsafe<void>())
    const one = (node: N, index: number): Effect.Effect<void> => {
      const before = over[index - 1]
      const turn =
        before === undefined
          ? Effect.void
          : Effect.raceFirst(Deferred.await(before), Effect.sleep(headStartMillis * index))
      return Effect.andThen(
        turn,
        Effect.map(Effect.result(ask(node)), (result) => {
          if (result._tag === "Failure") gathered.failures.push(result.failure)
          else {
            gathered.replies.push(result.success)
            Deferred.doneUnsafe(first, Exit.void)
            if (isEnough(gathered.replies)) Deferred.doneUnsafe(enough, Exit.void)
          }
          const own = over[index]
          if (own !== undefined) Deferred.doneUnsafe(own, Exit.void)
        })
      )
    }
    const all = Effect.forEach(order, one, { concurrency: "unbounded", discard: true })
    const patience = Effect.andThen(Deferred.await(first), Effect.sleep(graceMillis))
    return Effect.as(Effect.raceFirst(all, Effect.raceFirst(Deferred.await(enough), patience)), gathered)
  })
