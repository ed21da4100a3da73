/**
 * A child as its supervisor keeps it: data, and how the tree shows it.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Ignore, Started } from "../../ChildSpec.ts"
import type * as ExitReason from "../../ExitReason.ts"
import type { ChildInfo, TreeNode } from "../../Supervisor.ts"
import type { ProcessImpl } from "../process/process.ts"
import type { AnySpec } from "./settings.ts"
import { shutdownMillis } from "./specs.ts"

export type BackoffStep = (
  now: number,
  reason: ExitReason.ExitReason
) => Effect.Effect<[unknown, Duration.Duration], unknown>

/** A restart that waits for its backoff: the child it begins with and all that are `restarting` because of it. */
export interface Postponed {
  readonly leader: Child
  readonly members: ReadonlyArray<Child>
  timer: Fiber.Fiber<unknown, unknown> | undefined
}

export class Child {
  readonly spec: AnySpec
  readonly shutdownMillis: number
  readonly path: string
  state: "running" | "stopped" | "restarting" = "stopped"
  /** The running instance. */
  process: ProcessImpl | undefined = undefined
  /** The instance that is being started. */
  starting: ProcessImpl | undefined = undefined
  /** The instance that ran before; the key of a restarting dynamic child. */
  previous: ProcessImpl | undefined = undefined
  outcome: Started<unknown, unknown> | Ignore | undefined = undefined
  generation = 0
  restarts = 0
  lastExit: ExitReason.ExitReason | undefined = undefined
  startedAt = 0
  backoff: BackoffStep | undefined = undefined
  postponed: Postponed | undefined = undefined

  constructor(spec: AnySpec, parentPath: string) {
    this.spec = spec
    this.shutdownMillis = shutdownMillis(spec.shutdown) ?? 0
    this.path = `${parentPath}/${spec.id}`
  }
}

export type StartResult =
  | { readonly _tag: "Running"; readonly process: ProcessImpl; readonly info: unknown }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Failed"; readonly reason: ExitReason.ExitReason }

export const ignored: StartResult = { _tag: "Ignored" }

export const childInfo = (child: Child): ChildInfo => ({
  id: child.spec.id,
  state: child.state,
  type: child.spec.type,
  process: child.process,
  info: child.process !== undefined && child.outcome?._tag === "Started" ? child.outcome.info : undefined
})

export const nodeState = (process: ProcessImpl, otherwise: Child["state"]): TreeNode["state"] => {
  switch (process.phase) {
    case "starting":
      return "starting"
    case "running":
      return "running"
    case "stopping":
    case "closing":
      return "stopping"
    case "ended":
      return process.isAbandoned ? "abandoned" : otherwise
  }
}

export const childNode = (child: Child, process: ProcessImpl | undefined): TreeNode => {
  const { outcome } = child
  const depth = outcome?._tag === "Started" && process?.isAliveUnsafe === true ? outcome.mailboxDepth?.() : undefined
  const children = process?.inspect?.()
  return {
    id: child.spec.id,
    path: child.path,
    type: child.spec.type,
    generation: process?.generation ?? child.generation,
    state: process === undefined ? child.state : nodeState(process, child.state),
    restarts: child.restarts,
    lastExit: child.lastExit,
    mailboxDepth: depth,
    process,
    busy: process?.inspect === undefined ? undefined : process.isBusy?.(),
    children: children ?? []
  }
}
