/**
 * Walks over a reply that nobody will see, because it is over a limit or cannot be text.
 *
 * However deep it is nested, aggregates of known length need no stack: what matters is how many values are still to come,
 * one number. Only streamed aggregates, whose end is a mark, need an entry each.
 *
 * @internal
 */

/** A streamed aggregate that is open: what is still to come after it, and how many elements it has, odd or even. */
interface OpenStream {
  readonly after: number
  readonly isMap: boolean
  odd: boolean
}

/** More than this many open streamed aggregates, or values to come, are not skipped any more. */
const MAX_OPEN = 2 ** 20
const maxPending = Number.MAX_SAFE_INTEGER

/** The place in a reply that is skipped. */
export class Skipper {
  /** Values that must still come before the innermost streamed aggregate can end, or before the reply ends. */
  private pending = 1
  private streams: Array<OpenStream> = []
  /** Whether the reply itself has begun, and not only attributes before it. */
  private begun = false

  /** Begins again, before a whole reply. */
  start(): void {
    this.pending = 1
    this.streams = []
    this.begun = false
  }

  /** Whether the whole reply is over. */
  get done(): boolean {
    return this.pending === 0 && this.streams.length === 0
  }

  /** Whether only attributes have come, so that a push may come too. */
  get atTop(): boolean {
    return !this.begun && this.pending === 1 && this.streams.length === 0
  }

  /** A value or an attribute begins. */
  begin(): void {
    const stream = this.streams[this.streams.length - 1]
    if (this.pending > 0 || stream === undefined) return
    stream.odd = !stream.odd
    this.pending = 1
  }

  /** A value without elements was passed. */
  leaf(): void {
    this.begun = this.begun || this.atTop
    this.pending--
  }

  /** An aggregate of `elements` begins. False when this is more than can be counted. */
  open(elements: number): boolean {
    this.leaf()
    this.pending += elements
    return this.pending <= maxPending
  }

  /** An attribute of `elements` begins; the value it describes is still to come. */
  openAttribute(elements: number): boolean {
    this.pending += elements
    return this.pending <= maxPending
  }

  /** A streamed aggregate begins. False when too many are open. */
  openStream(isMap: boolean, odd = false): boolean {
    this.leaf()
    this.streams.push({ after: this.pending, isMap, odd })
    this.pending = 0
    return this.streams.length <= MAX_OPEN
  }

  /** Whether the innermost streamed aggregate can end here. */
  get mayCloseStream(): boolean {
    const stream = this.streams[this.streams.length - 1]
    return stream !== undefined && this.pending === 0 && !(stream.isMap && stream.odd)
  }

  /** The end mark of a streamed aggregate. */
  closeStream(): void {
    this.pending = this.streams.pop()?.after ?? 0
  }
}
