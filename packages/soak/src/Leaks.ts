/**
 * The leftovers of the process: sockets and timers that Node still holds, and fibers that the supervisors still list.
 * `process.getActiveResourcesInfo` does not show what was unref'd, so the resources are followed from their birth, by
 * `async_hooks`.
 */
import * as Process from "@relive/otp/Process"
import * as Effect from "effect/Effect"
import { createHook } from "node:async_hooks"

// The connections under soak are TCP, under TLS too; the pipes are those of the server's processes. A TLSWRAP is no socket
// but an object above one: its TCPWRAP ends when the descriptor is closed, and it when nobody holds it any more, which may
// be never for a connection that somebody keeps after its close.
const sockets = new Set(["TCPWRAP", "TCPCONNECTWRAP"])
const timers = new Set(["Timeout"])

/** The things held at a moment, by their ids. */
export interface Held {
  readonly sockets: ReadonlySet<number>
  readonly timers: ReadonlySet<number>
  readonly fibers: ReadonlySet<number>
}

/** The things held now that were not before. */
export interface Leaked {
  readonly sockets: number
  readonly timers: number
  /** The fibers, as `path:label`. */
  readonly fibers: ReadonlyArray<string>
}

export class Leaks {
  private readonly sockets = new Set<number>()
  private readonly timers = new Set<number>()
  private readonly hook = createHook({
    // The hot path has none, and they would only cost.
    trackPromises: false,
    init: (id, type) => {
      if (timers.has(type)) this.timers.add(id)
      else if (sockets.has(type)) this.sockets.add(id)
    },
    destroy: (id) => {
      this.timers.delete(id)
      this.sockets.delete(id)
    }
  })

  /** Follows what is made from now on. */
  start(): void {
    this.hook.enable()
  }

  stop(): void {
    this.hook.disable()
  }

  readonly held: Effect.Effect<Held> = Effect.map(Process.liveFibers, (fibers) => ({
    sockets: new Set(this.sockets),
    timers: new Set(this.timers),
    fibers: new Set(fibers.map(({ id }) => id))
  }))

  /** The things that came since `before` and are still there. */
  readonly since = (before: Held): Effect.Effect<Leaked> =>
    Effect.map(Process.liveFibers, (fibers) => ({
      sockets: [...this.sockets].filter((id) => !before.sockets.has(id)).length,
      timers: [...this.timers].filter((id) => !before.timers.has(id)).length,
      fibers: fibers.filter(({ id }) => !before.fibers.has(id)).map(({ label, path }) => `${path}:${label}`)
    }))
}
