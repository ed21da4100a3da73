/**
 * A supervisor of guests, as leases and subscribers are, among the children of a connection's tree.
 *
 * Most connections never have a guest, and a supervisor with nothing to supervise costs a tenth of an idle connection. So it
 * may be started when it is first needed: until then its child is ignored, and keeps its place in the order of the tree.
 *
 * @internal
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as DynamicSupervisor from "@relive/otp/DynamicSupervisor"
import * as Supervisor from "@relive/otp/Supervisor"
import type { SupervisorRef } from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"

export class Annex {
  private readonly id: string
  private readonly onStop: () => void
  private supervisor: SupervisorRef | undefined = undefined
  /** The supervisor that can start it when it is needed. */
  private tree: SupervisorRef | undefined = undefined
  private waits = false

  /** `onStop` is called when it is stopping: guests may not be let in any more. */
  constructor(id: string, onStop: () => void) {
    this.id = id
    this.onStop = onStop
  }

  /** It is not started before it is needed: call it before its tree starts. */
  startWhenNeeded(): void {
    this.waits = true
  }

  /** The tree that it is a child of has started. */
  belongsTo(tree: SupervisorRef): void {
    this.tree = tree
  }

  /** Whether it is running. */
  get isOpen(): boolean {
    return this.supervisor !== undefined
  }

  /** The supervisor, started if need be. `undefined` when it has stopped, or its tree has. */
  readonly open: Effect.Effect<SupervisorRef | undefined> = Effect.suspend(() => {
    if (this.supervisor !== undefined || this.tree === undefined) return Effect.succeed(this.supervisor)
    this.waits = false
    // Another caller may have been faster, which is as good.
    return Effect.map(Effect.exit(this.tree.restartChild(this.id)), () => this.supervisor)
  })

  /** Its child. */
  get spec() {
    return ChildSpec.make({
      id: this.id,
      type: "supervisor",
      start: Effect.suspend(() => (this.waits ? ignored : this.start))
    })
  }

  private get start() {
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.supervisor = undefined
          this.onStop()
        })
      )
      const started = yield* Supervisor.init(DynamicSupervisor.make())
      this.supervisor = started.info
      return started
    })
  }
}

const ignored: Effect.Effect<ChildSpec.Started<SupervisorRef> | ChildSpec.Ignore> = Effect.succeed(ChildSpec.ignore)
