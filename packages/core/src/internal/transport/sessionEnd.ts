/**
 * Why a session ended, and what it hands to its socket.
 *
 * @internal
 */
import type * as Arr from "effect/Array"
import * as Data from "effect/Data"
import type { ConnectionErrorKind } from "../../RedisError.ts"
import { withoutStack } from "../errors.ts"

/** How a session ended. `permanent`: the server will say the same next time. */
export class SessionEnd extends Data.TaggedError("SessionEnd")<{
  readonly kind: ConnectionErrorKind
  readonly detail: string
  readonly permanent: boolean
  readonly cause?: unknown
  /** The server has closed the connection, in good order and without a word. */
  readonly closedByPeer?: boolean
  /** The server has said that its role is another one than was sought. */
  readonly wrongRole?: boolean
}> {
  override get message(): string {
    return this.detail
  }
}

/** Without a stack: it would show our own fibers only, and every log of a lost connection. */
export const sessionEnd = (options: ConstructorParameters<typeof SessionEnd>[0]): SessionEnd =>
  withoutStack(() => new SessionEnd(options))

/** The chunks that one write hands to the socket, in order; a string stands for its UTF-8. */
export type Chunks = Arr.NonEmptyReadonlyArray<string | Uint8Array>
