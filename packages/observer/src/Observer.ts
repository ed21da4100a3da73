/**
 * Looks into a running supervision tree: a page in a browser that draws it live. As Erlang's observer is to its users, it is
 * the first thing to open when something is odd.
 *
 * It serves on loopback only, and only where it was asked for: as a child of the tree it looks at ({@link childSpec}), or as a
 * layer beside it ({@link layer}). While nobody looks it costs nothing: no timer runs and no event is kept.
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Observer } from "@relive/observer"
 * import { ChildSpec, Supervisor } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const tree = Supervisor.make({
 *   children: [ChildSpec.effect({ id: "work", run: Effect.never }), Observer.childSpec({ port: 4321 })]
 * })
 *
 * NodeRuntime.runMain(Supervisor.run(tree)) // and open http://127.0.0.1:4321
 * ```
 *
 * It shows what `Supervisor.tree`, `Supervisor.events` and `Process.info` tell: states, restarts with their reasons,
 * mailboxes, what a server is handling (its tag, never its payload), and the facts that processes tell of themselves
 * (`Process.describe`, `describe` of a server). Redis connections and pools that are children of the tree tell their state,
 * queue, calls in flight and sessions. States of servers, arguments and keys are never shown. It only looks: nothing can be
 * changed through it.
 *
 * @since 0.1.0
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { serve } from "./internal/server.ts"

/**
 * Options of an observer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The port on 127.0.0.1; one that is free when absent, which the log names. */
  readonly port?: number | undefined
}

/**
 * A running observer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observer {
  /** Where its page is: `http://127.0.0.1:PORT`. */
  readonly url: string
  readonly port: number
}

/**
 * The tag of the observer that {@link layer} provides.
 *
 * @since 0.1.0
 * @category services
 */
export const Observer: Context.Service<Observer, Observer> = Context.Service<Observer>("@relive/observer/Observer")

/**
 * The observer could not listen on its port: most often because another program, or another observer, has it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ObserverError extends Data.TaggedError("ObserverError")<{
  readonly port: number
  readonly cause: unknown
}> {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `The observer cannot listen on 127.0.0.1:${this.port}: ${why}. Give it another \`port\`, or none for a free one.`
  }
}

/**
 * Serves the tree of a supervisor until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  supervisor: Supervisor.SupervisorRef<never>,
  options?: Options
): Effect.Effect<Observer, ObserverError, Scope.Scope> =>
  Effect.mapError(
    serve(supervisor, options?.port ?? 0),
    (cause) => new ObserverError({ port: options?.port ?? 0, cause })
  )

/**
 * The observer as a child of the tree that it looks at. Put it first: then it is stopped last.
 *
 * @since 0.1.0
 * @category constructors
 */
export const childSpec = (
  options?: Options & Partial<ChildSpec.Settings>
): ChildSpec.ChildSpec<Observer, Supervisor.SupervisorRef> =>
  ChildSpec.scoped({
    ...options,
    id: options?.id ?? "observer",
    acquire: Effect.flatMap(Supervisor.SupervisorRef, (root) => make(root, options))
  })

/**
 * The observer beside a tree: it looks at the `SupervisorRef` that `Supervisor.layer` provides.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Observer, ObserverError, Supervisor.SupervisorRef> =>
  Layer.effect(
    Observer,
    Effect.flatMap(Supervisor.SupervisorRef, (root) => make(root, options))
  )
