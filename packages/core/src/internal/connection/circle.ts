/**
 * The connections of one program to one server, and what they learn of it.
 *
 * The shared connection, the members of a pool, the leases, and whatever else is dialled for the same server, are each a
 * session of their own; but the server has one role, one address and one network. So what one of them finds out reaches
 * all others in the same turn: none goes on for ever where another one has learnt that it is of no use.
 *
 * ```
 *   READONLY on a lease ──tell──▶ ┌────────┐ ──learn──▶ the shared connection leaves too
 *   a silent session    ──tell──▶ │ Circle │ ──learn──▶ idle leases are closed, those in use are not kept
 *   another address     ──tell──▶ └────────┘ ──learn──▶ blocked calls end with an honest error
 * ```
 *
 * A further kind of connection joins here, and has to do nothing else.
 *
 * @internal
 */
import { queueMicrotask } from "../turns.ts"

/**
 * - `Demoted`: the server was the primary and is a replica now. It keeps its connections, so they have to leave it.
 * - `Silent`: a session was ended for its silence; nothing has come since `since`, in milliseconds of the connections' clock.
 *   `isShared`: it was one that is looked after all the time, not a lease.
 * - `Moved`: another server is the one to talk to; `detail` says why. `onlyLeases`: another session has just found it there, and
 *   those that are looked after find out by themselves.
 * - `Reached`: a session that is looked after all the time is ready: whoever waits to dial again need not wait any longer.
 * - `Refused`: it refuses us, and will the next time: our credentials, say.
 */
export type Finding =
  | { readonly _tag: "Demoted" }
  | { readonly _tag: "Silent"; readonly since: number; readonly isShared: boolean }
  | { readonly _tag: "Moved"; readonly detail: string; readonly onlyLeases: boolean }
  | { readonly _tag: "Reached" }
  | { readonly _tag: "Refused" }

export interface Member {
  /**
   * Another one has found this out. Called between turns of the connections' work, so callers may be resumed. It says nothing of
   * sessions that were begun since: `isAbout` tells by their number.
   */
  readonly learn: (finding: Finding, isAbout: (session: number) => boolean) => void
}

export class Circle {
  private readonly members = new Set<Member>()
  private sessions = 0

  /** Returns how to leave. */
  join(member: Member): () => void {
    this.members.add(member)
    return () => {
      this.members.delete(member)
    }
  }

  /** The number of a session that begins now. */
  begin(): number {
    return ++this.sessions
  }

  /**
   * Tells all who are members now, and not those who join meanwhile: they come to the server as it is. When the one who tells it
   * has done its own work: a member may resume callers.
   */
  tell(from: Member, finding: Finding): void {
    const others = [...this.members].filter((member) => member !== from)
    if (others.length === 0) return
    const { sessions } = this
    const isAbout = (session: number): boolean => session <= sessions
    queueMicrotask(() => {
      for (const member of others) if (this.members.has(member)) member.learn(finding, isAbout)
    })
  }
}
