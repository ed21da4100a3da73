/**
 * Puts together a long value that comes in many chunks.
 *
 * Nothing is allocated because a header promised it: the final buffer is made when an eighth of the value has come, so
 * never more than eight times what was received, and the rest is copied straight into it, or read there to begin with
 * (`room`); with each chunk as much again of what came before is moved there. So the work is spread over the chunks, no chunk
 * makes more of it than it is long, and the peak is 1.125 times the value.
 *
 * Fresh memory is the dearest part of a large value: V8 is told of it, and collects its whole heap for every 64 MiB or less. So
 * the beginning, and texts, are put together in memory that is used again.
 *
 * @internal
 */
import { Buffer } from "node:buffer"

/** The final buffer is at most this many times what was received. */
const AHEAD = 8

/** Values up to this size get their buffer at once. Pieces below it are copied together. */
const SMALL = 16 * 1024

const empty = new Uint8Array(0)

/** The largest memory that is kept for the next value. */
const LARGEST_SPARE = 4 * 1024 * 1024

/** The largest beginning that is put together in one piece, as a piece is moved at once. */
const LARGEST_HEAD = LARGEST_SPARE / AHEAD

/**
 * Memory for texts and for beginnings, which are copied out of it: a fresh buffer costs more than the copy. One for all
 * connections, lent to the value that is being put together.
 */
let spare: Uint8Array = empty

/** Lends the spare memory, if it is large enough. */
const borrow = (length: number): Uint8Array | undefined => {
  if (length > spare.length) return undefined
  const lent = spare.subarray(0, length)
  spare = empty
  return lent
}

/** An uninitialised buffer with memory of its own. The caller overwrites all of it. */
const allocate = (length: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length)

/** Keeps the memory of a value, which is not needed any more, for the next one. */
export const giveBack = ({ buffer }: Uint8Array): void => {
  if (buffer.byteLength > spare.length && buffer.byteLength <= LARGEST_SPARE) spare = new Uint8Array(buffer)
}

/** The parts of one value. */
export class BodyBuffer {
  /** Bytes so far. */
  received = 0
  private pieces: Array<Uint8Array> = []
  /** The number of them that are in the final buffer already, and that of their bytes. */
  private moved = 0
  private movedBytes = 0
  /** Where small pieces are copied together; the free part of the current segment. */
  private segment: Uint8Array = empty
  private used = 0
  /** Memory that was lent for the beginning of the value. */
  private lent: Uint8Array | undefined = undefined
  /** The final buffer, once it is made. */
  private whole: Uint8Array | undefined = undefined

  /**
   * Adds bytes `from` to `to` of `chunk`. `length` is that of the whole value, or -1 when it is not known. A `kept` chunk
   * is not changed by its owner, so a large piece of it need not be copied before its time. What is a `text` is given back.
   */
  add(chunk: Uint8Array, from: number, to: number, length: number, kept: boolean, text: boolean): void {
    const size = to - from
    if (text && this.received === 0 && length > SMALL) this.whole = borrow(length)
    if (this.whole === undefined && length >= 0 && (length <= SMALL || (this.received + size) * AHEAD >= length)) {
      this.closeSegment()
      this.segment = empty
      this.whole = allocate(length)
    }
    const piece = chunk.subarray(from, to)
    if (this.whole !== undefined) {
      if (!this.isInPlace(this.whole, piece)) this.whole.set(piece, this.received)
      this.move(this.whole, size)
    } else if (size >= SMALL && kept) this.addPiece(piece)
    else this.copy(piece, length)
    this.received += size
  }

  /** Where the rest of the value belongs, once that is known. */
  get room(): Uint8Array | undefined {
    return this.whole?.subarray(this.received)
  }

  /** Whether a piece was read into `room`. */
  private isInPlace(whole: Uint8Array, piece: Uint8Array): boolean {
    return piece.buffer === whole.buffer && piece.byteOffset === whole.byteOffset + this.received
  }

  /** The value, in memory of its own. The gather is empty afterwards. */
  finish(): Uint8Array {
    this.closeSegment()
    const value = this.whole ?? allocate(this.received)
    this.move(value, this.received)
    this.clear()
    return value
  }

  /** Drops what there is. */
  clear(): void {
    if (this.lent !== undefined) giveBack(this.lent)
    this.lent = undefined
    this.received = 0
    this.pieces = []
    this.segment = empty
    this.used = 0
    this.whole = undefined
    this.moved = 0
    this.movedBytes = 0
  }

  private addPiece(piece: Uint8Array): void {
    this.closeSegment()
    this.pieces.push(piece)
  }

  private copy(piece: Uint8Array, length: number): void {
    let from = 0
    while (from < piece.length) {
      if (this.used === this.segment.length) {
        this.closeSegment()
        this.segment = this.lend(length, piece.length) ?? allocate(SMALL)
      }
      const size = Math.min(piece.length - from, this.segment.length - this.used)
      this.segment.set(piece.subarray(from, from + size), this.used)
      this.used += size
      from += size
    }
  }

  /** Memory for all that comes before the final buffer is made, if that is spare or not too much for what has come. */
  private lend(length: number, size: number): Uint8Array | undefined {
    const most = Math.ceil(length / AHEAD)
    if (length < 0 || most > LARGEST_HEAD || this.lent !== undefined) return undefined
    this.lent = borrow(most) ?? (most <= (this.received + size) * AHEAD ? allocate(most) : undefined)
    return this.lent
  }

  private closeSegment(): void {
    if (this.used === 0) return
    this.pieces.push(this.segment.subarray(0, this.used))
    this.segment = this.segment.subarray(this.used)
    this.used = 0
  }

  /** Moves pieces, `atLeast` bytes of them if there are as many, to where they belong. */
  private move(whole: Uint8Array, atLeast: number): void {
    const until = this.movedBytes + atLeast
    for (; this.moved < this.pieces.length && this.movedBytes < until; this.moved++) {
      const piece = this.pieces[this.moved] ?? empty
      whole.set(piece, this.movedBytes)
      this.movedBytes += piece.length
      this.pieces[this.moved] = empty
    }
  }
}
