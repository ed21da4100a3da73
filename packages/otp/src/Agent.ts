/**
 * Agents: servers that only keep a value, Elixir's `Agent`. A `Ref` with an owner: it is started and restarted by a
 * supervisor, with a new first value, it has a name, and it is changed by one caller at a time.
 *
 * ```ts run
 * import { Agent, ChildSpec, GenServer, Registry, Supervisor } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const hits = Registry.name<Agent.Agent<number>>("hits")
 *
 * const tree = Supervisor.make({
 *   children: [ChildSpec.genServer({ id: "hits", name: hits, server: Agent.make(() => 0) })]
 * })
 *
 * const program = Effect.gen(function* () {
 *   const agent = yield* GenServer.named(hits)
 *   yield* Agent.update(agent, (count) => count + 1)
 *   return yield* Agent.get(agent)
 * }).pipe(Effect.provide(Supervisor.layer(tree)))
 *
 * console.log(await Effect.runPromise(program)) // 1
 * ```
 *
 * For what has rules of its own, define a `GenServer`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as GenServer from "./GenServer.ts"

/**
 * The messages of an agent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Protocol<S> extends GenServer.Protocol {
  readonly call: GenServer.Call<{ readonly _tag: "Modify"; readonly modify: Modify<S, unknown> }, unknown>
  readonly cast: (state: S) => S
}

/**
 * A running agent, as `ChildSpec.genServer` and `GenServer.start` give it.
 *
 * @since 0.1.0
 * @category models
 */
export type Agent<S> = GenServer.Server<Protocol<S>>

/**
 * A change: what is returned, and the next state. It runs in the agent, one at a time; when it throws, the agent crashes.
 *
 * @since 0.1.0
 * @category models
 */
export type Modify<S, A> = (state: S) => readonly [A, S]

/**
 * Defines an agent. `initial` makes the first state of each instance: a value made outside of it would survive restarts,
 * with whatever broke the instance before.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <S>(initial: () => S): GenServer.GenServer<Protocol<S>> =>
  GenServer.make<Protocol<S>, S>()({
    init: () => GenServer.ok(initial()),
    handleCall: {
      Modify: ({ modify }, state) => {
        const [value, next] = modify(state)
        return GenServer.reply(value, next)
      }
    },
    handleCast: (update, state) => GenServer.noReply(update(state))
  })

/**
 * Changes the state, and returns what `modify` makes of it. Both in one turn of the agent.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modify = <S, A>(
  agent: GenServer.ServerRef<Protocol<S>>,
  modify: Modify<S, A>,
  options?: GenServer.CallOptions
): Effect.Effect<A, GenServer.CallError> =>
  // The reply is what `modify` returns.
  Effect.map(agent.call({ _tag: "Modify", modify }, options), (value) => value as A)

/**
 * The state.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = <S>(
  agent: GenServer.ServerRef<Protocol<S>>,
  options?: GenServer.CallOptions
): Effect.Effect<S, GenServer.CallError> => modify(agent, (state) => [state, state], options)

/**
 * Changes the state, and waits until it is changed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update = <S>(
  agent: GenServer.ServerRef<Protocol<S>>,
  update: (state: S) => S,
  options?: GenServer.CallOptions
): Effect.Effect<void, GenServer.CallError> => modify(agent, (state) => [undefined, update(state)], options)

/**
 * Changes the state in its turn, and does not wait for that (`cast`). Never fails: what is sent to nobody is lost.
 *
 * @since 0.1.0
 * @category combinators
 */
export const cast = <S>(agent: GenServer.ServerRef<Protocol<S>>, update: (state: S) => S): Effect.Effect<void> =>
  agent.cast(update)
