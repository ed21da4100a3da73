/**
 * Puts together a long value that comes in many chunks.
 *
 * Nothing is allocated because a header promised it: the final buffer is made when an eighth of the value has come, so
 * never more than eight times what was received, and the rest is copied straight into it; with each chunk as much again of
 * what came before is moved there. So the work is spread over the chunks, no chunk makes more of it than it is long, and
 * the peak is 1.125 times the value.
 *
 * @internal
 */
import { Buffer } from "node:buffer"

/** The final buffer is at most so many times what was received. */
const ahead = 8

/** Values up to this size get their buffer at once. Pieces below it are copied together. */
const small = 16 * 1024

const empty = new Uint8Array(0)

/** The largest memory that is kept for the next text. */
const largestSpare = 4 * 1024 * 1024

/**
 * Memory for texts, which are copied out of it: a fresh buffer costs more than the copy. One for all connections, lent to the
 * value that is being put together.
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

/** The parts of one value. */
export class BodyBuffer {
  /** Bytes so far. */
  received = 0
  private pieces: Array<Uint8Array> = []
  /** How many of them are in the final buffer already, and how many bytes. */
  private moved = 0
  private movedBytes = 0
  /** Where small pieces are copied together; the free part of the current segment. */
  private segment: Uint8Array = empty
  private used = 0
  /** The final buffer, once it is made. */
  private whole: Uint8Array | undefined = undefined

  /**
   * Adds bytes `from` to `to` of `chunk`. `length` is that of the whole value, or -1 when it is not known. A `kept` chunk
   * is not changed by its owner, so a large piece of it need not be copied before its time. What is a `text` is given back.
   */
  add(chunk: Uint8Array, from: number, to: number, length: number, kept: boolean, text: boolean): void {
    const size = to - from
    if (text && this.received === 0 && length > small) this.whole = borrow(length)
    if (this.whole === undefined && length >= 0 && (length <= small || (this.received + size) * ahead >= length)) {
      this.closeSegment()
      this.segment = empty
      this.whole = allocate(length)
    }
    const piece = chunk.subarray(from, to)
    if (this.whole !== undefined) {
      this.whole.set(piece, this.received)
      this.move(this.whole, size)
    } else if (size >= small && kept) this.addPiece(piece)
    else this.copy(piece)
    this.received += size
  }

  /** The value, in memory of its own. The gather is empty afterwards. */
  finish(): Uint8Array {
    this.closeSegment()
    const value = this.whole ?? allocate(this.received)
    this.move(value, this.received)
    this.clear()
    return value
  }

  /** The memory of a value that was finished is not needed any more. */
  giveBack(value: Uint8Array): void {
    const { buffer } = value
    if (buffer.byteLength > spare.length && buffer.byteLength <= largestSpare) spare = new Uint8Array(buffer)
  }

  /** Drops what there is. */
  clear(): void {
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

  private copy(piece: Uint8Array): void {
    let from = 0
    while (from < piece.length) {
      if (this.used === this.segment.length) {
        this.closeSegment()
        this.segment = allocate(small)
      }
      const size = Math.min(piece.length - from, this.segment.length - this.used)
      this.segment.set(piece.subarray(from, from + size), this.used)
      this.used += size
      from += size
    }
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
