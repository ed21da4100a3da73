/**
 * A line that is said to one connection out of turn, in front of a reply or in its place.
 *
 * @internal
 */
import type { Interject } from "../Fault.ts"
import { RespScanner } from "./corruption.ts"
import type { Injection } from "./injection.ts"

/** The parts of a lane's context that it needs. */
interface Context {
  readonly injections: () => ReadonlyArray<Injection>
  readonly strike: (injection: Injection) => void
}

/** Bytes to pass on, and the moment before which they must not. */
export interface Piece {
  readonly bytes: Buffer
  readonly notBefore: number
}

const nothing = Buffer.alloc(0)

/** The replies behind the line that come apart. */
const SPACED = 8

export class Interjection {
  private readonly injection: Injection
  private readonly fault: Interject
  private readonly context: Context
  private readonly scanner = new RespScanner()
  private wasSaid = false
  /** The reply in whose place it was said is being left out. */
  private leavesOut = false
  /** Where it has ended, and when the next reply may pass. */
  private spacedUntil = 0
  private nextAt = 0

  constructor(injection: Injection, fault: Interject, context: Context) {
    this.injection = injection
    this.fault = fault
    this.context = context
  }

  /** Nothing more will change. */
  get isOver(): boolean {
    return this.wasSaid && !this.leavesOut && this.scanner.replies >= this.spacedUntil
  }

  /** The line, where it is said before anything else. */
  begin(): Buffer {
    return this.fault.afterReplies === 0 ? this.say() : nothing
  }

  /** The bytes of the server as they pass on, those of one moment together. */
  pass(chunk: Buffer, now: number): ReadonlyArray<Piece> {
    const { fault, scanner } = this
    const pieces: Array<Piece> = []
    let together: Array<Buffer> = []
    const cut = () => {
      if (together.length > 0) pieces.push({ bytes: Buffer.concat(together), notBefore: this.nextAt })
      together = []
    }
    for (let index = 0; index < chunk.length; index++) {
      if (this.isOver) {
        together.push(chunk.subarray(index))
        break
      }
      const byte = chunk.subarray(index, index + 1)
      const before = scanner.replies
      scanner.walk(byte, 0)
      if (!this.leavesOut) together.push(byte)
      else if (scanner.replies > fault.afterReplies) this.leavesOut = false
      if (scanner.replies === before) continue
      if (!this.wasSaid && scanner.replies === fault.afterReplies) together.push(this.say())
      if (!this.wasSaid || scanner.replies > this.spacedUntil) continue
      cut()
      this.nextAt = Math.max(now, this.nextAt) + fault.gapMillis
    }
    cut()
    return pieces
  }

  private say(): Buffer {
    this.wasSaid = true
    if (!this.context.injections().includes(this.injection)) return nothing
    const { afterReplies, gapMillis, line, replaces } = this.fault
    this.leavesOut = replaces
    if (gapMillis > 0) this.spacedUntil = afterReplies + SPACED
    this.context.strike(this.injection)
    return Buffer.from(`${line}\r\n`)
  }
}
