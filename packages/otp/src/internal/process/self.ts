/**
 * The service by which code finds the process it runs in. Kept apart to break an import cycle.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type { Process } from "../../Process.ts"

/**
 * The process the code runs in. Provided by whatever starts the process; a requirement that only processes can meet.
 *
 * @since 0.1.0
 * @category services
 */
export class Self extends Context.Service<Self, Process>()("@relive/otp/Process/Self") {}
