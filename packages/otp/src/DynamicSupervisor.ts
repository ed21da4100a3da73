/**
 * Supervisors whose children come and go while the program runs: Elixir's `DynamicSupervisor`.
 *
 * It starts empty. Each `startChild` brings a full spec; a child is known by its process, and its id need not be
 * unique. Children that are not restarted are forgotten. On stop all are asked at once, each with its own shutdown
 * time. A restarted dynamic supervisor is empty again.
 *
 * @since 0.1.0
 */
import type { ChildSpec } from "./ChildSpec.ts"
import { makeSpec } from "./internal/supervisor/settings.ts"
import type { Registry } from "./Registry.ts"
import type { SupervisorSpec } from "./Supervisor.ts"
import type * as Duration from "effect/Duration"

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The number of restarts that are allowed within the period, over all children; an integer. 3 when absent. */
  readonly intensity?: number | undefined
  /** The period; 5 seconds when absent. */
  readonly period?: Duration.Input | undefined
  /** The number of children that there may be, restarting ones included; an integer. No limit when absent. */
  readonly maxChildren?: number | undefined
}

/**
 * Describes a dynamic supervisor. `R` is what its children may need, besides the registry of the tree: those services are
 * taken where it is started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R = never>(
  options?: Options
): SupervisorSpec<ChildSpec<unknown, NoInfer<R> | Registry>, NoInfer<R> | Registry> =>
  makeSpec({ ...options, intensity: options?.intensity ?? 3, children: [], kind: "dynamic" })
