/**
 * The tag of the supervisor of a tree. Kept apart to break an import cycle.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type { SupervisorRef as Ref } from "../../Supervisor.ts"

export const SupervisorRef: Context.Service<Ref, Ref> = Context.Service<Ref>("@relive/otp/SupervisorRef")
