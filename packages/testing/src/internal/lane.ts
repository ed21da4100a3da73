/**
 * One direction of one proxied connection: a queue of chunks between two sockets, and the faults that hold it up. Plain
 * state driven by socket events and one timer; a lane without faults writes straight through.
 *
 * @internal
 */
import type * as Net from "node:net"
import type { Corrupt, Cut, Direction, Fault, HalfClose } from "../Fault.ts"
import { corrupted, isFitting, RespScanner } from "./corruption.ts"
import type { Injection } from "./injection.ts"
import { Interjection } from "./interjection.ts"
import type { Random } from "./random.ts"
import { now } from "./realTime.ts"

/** The parts of its connection and of the proxy that a lane needs. */
export interface LaneContext {
  readonly random: Random
  /** The faults of now, oldest first. */
  readonly injections: () => ReadonlyArray<Injection>
  readonly strike: (injection: Injection) => void
  readonly cut: (how: Cut["how"]) => void
  /** Nothing more will pass: the end was passed on, or the lane swallows. */
  readonly onSettled: () => void
  readonly onBytes: (direction: Direction, count: number) => void
}

interface Chunk {
  readonly bytes: Buffer
  readonly arrivedAt: number
  /** From 0 to 1: how much of a jitter it gets. */
  readonly luck: number
  readonly notBefore: number
}

/** The effect of the present faults on the next chunk. */
interface Plan {
  /** Nothing may pass for this long; `Infinity` until something changes. */
  readonly wait: number
  /** At most so many bytes may pass at once, */
  readonly limit: number
  /** and then nothing for this long. */
  readonly pause: number
}

type Counted = Cut | HalfClose
const isCounted = (fault: Fault): fault is Counted => fault._tag === "Cut" || fault._tag === "HalfClose"

const HIGH_WATER = 256 * 1024
// A throttled lane passes what is due in such steps.
const THROTTLE_STEP_MILLIS = 10

export class Lane {
  private readonly direction: Direction
  private readonly source: Net.Socket
  private readonly sink: Net.Socket
  private readonly context: LaneContext
  private readonly scanner = new RespScanner()
  private readonly passedBytes = new Map<Injection, number>()
  private readonly scannedBytes = new Map<Injection, number>()
  private queue: Array<Chunk> = []
  private queuedBytes = 0
  private timer: NodeJS.Timeout | undefined = undefined
  private awaitsDrain = false
  private sourceEnded = false
  private wasCorrupted = false
  /** The line that is said to this connection out of turn, until it is said. */
  private interjection: Interjection | undefined = undefined
  /** Bytes go nowhere from now on. */
  private swallows = false
  private finished = false

  constructor(direction: Direction, source: Net.Socket, sink: Net.Socket, context: LaneContext) {
    this.direction = direction
    this.source = source
    this.sink = sink
    this.context = context
    source.on("data", (chunk) => this.onData(chunk))
    source.on("end", () => this.onSourceEnd())
    // A failed source has no "end".
    source.on("close", () => this.onSourceEnd())
    sink.on("drain", () => this.onDrain())
    // A sink that is gone never drains, nor does one whose last write failed.
    sink.on("close", () => this.onDrain())
    if (direction === "toClient") this.beginInterjection()
  }

  /** The end of the source does not get through now. */
  get hidesEnd(): boolean {
    return this.swallows || this.relevant().some(({ fault }) => fault._tag === "Stall" || fault._tag === "BlackHole")
  }

  /** The end of the source was passed on, after all that came before it. */
  get isFinished(): boolean {
    return this.finished
  }

  /** Nothing more will pass. */
  get isSettled(): boolean {
    return this.finished || this.swallows
  }

  /** Its source has ended, and nobody will hear of it. */
  get hasLostEnd(): boolean {
    return this.swallows && this.sourceEnded
  }

  /** The faults have changed. */
  onChange(): void {
    this.clearTimer()
    this.pump()
  }

  stop(): void {
    this.clearTimer()
    this.finished = true
    this.queue = []
  }

  private onData(chunk: Buffer): void {
    if (this.swallows || this.finished) return
    this.context.onBytes(this.direction, chunk.length)
    if (this.direction === "toServer") this.enqueue(chunk)
    else this.interject(chunk)
    this.pump()
  }

  private enqueue(bytes: Buffer, notBefore = 0): void {
    this.queue.push({ bytes, arrivedAt: now(), luck: this.context.random.next(), notBefore })
    this.queuedBytes += bytes.length
    if (this.queuedBytes > HIGH_WATER) this.source.pause()
  }

  private onSourceEnd(): void {
    if (this.sourceEnded) return
    this.sourceEnded = true
    if (this.swallows) this.context.onSettled()
    else this.pump()
  }

  private onDrain(): void {
    this.awaitsDrain = false
    this.pump()
  }

  /** Passes on what may pass now, and sets the timer for the rest. */
  private pump(): void {
    while (!this.finished) {
      // A cut does not wait for a peer that reads nothing, nor for a timer.
      if (this.strikeDue() || this.swallows || this.awaitsDrain || this.timer !== undefined) return
      const head = this.queue[0]
      if (head === undefined) return this.onEmpty()
      const plan = this.plan(head)
      if (plan.wait > 0) return this.hold(plan.wait)
      this.pass(head, plan.limit)
      if (plan.pause > 0 && !this.finished) this.hold(plan.pause)
    }
  }

  private hold(millis: number): void {
    if (millis === Infinity) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.pump()
    }, millis)
  }

  private clearTimer(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private onEmpty(): void {
    if (!this.sourceEnded) {
      if (this.source.isPaused()) this.source.resume()
      return
    }
    // The end waits for a stall too, and a black hole swallows it.
    if (this.hidesEnd) return
    this.finished = true
    this.sink.end()
    this.context.onSettled()
  }

  private pass(head: Chunk, limit: number): void {
    const piece = limit < head.bytes.length ? head.bytes.subarray(0, limit) : head.bytes
    if (piece === head.bytes) this.queue.shift()
    else this.queue[0] = { ...head, bytes: head.bytes.subarray(limit) }
    this.queuedBytes -= piece.length
    for (const injection of this.relevant()) {
      if (isCounted(injection.fault)) add(this.passedBytes, injection, piece.length)
    }
    if (this.sink.writable && !this.sink.write(piece)) this.awaitsDrain = true
    if (this.queuedBytes <= HIGH_WATER && this.source.isPaused()) this.source.resume()
  }

  private relevant(): ReadonlyArray<Injection> {
    return this.context.injections().filter(({ fault }) => concerns(fault, this.direction))
  }

  private plan(head: Chunk): Plan {
    let wait = Math.max(0, head.notBefore - now())
    let limit = head.bytes.length
    let pause = 0
    for (const injection of this.relevant()) {
      const { fault } = injection
      switch (fault._tag) {
        case "Stall":
          wait = Infinity
          break
        case "Delay":
          wait = Math.max(wait, head.arrivedAt + fault.millis + head.luck * fault.jitterMillis - now())
          break
        case "Throttle": {
          limit = Math.min(limit, Math.max(1, Math.floor((fault.bytesPerSecond * THROTTLE_STEP_MILLIS) / 1000)))
          pause = Math.max(pause, (limit / fault.bytesPerSecond) * 1000)
          break
        }
        case "SlowLoris":
          limit = 1
          pause = Math.max(pause, fault.gapMillis)
          break
        default:
          if (isCounted(fault)) limit = Math.min(limit, Math.max(1, this.bytesLeft(injection, fault)))
          continue
      }
      this.context.strike(injection)
    }
    return { wait, limit, pause }
  }

  private bytesLeft(injection: Injection, fault: Counted): number {
    return fault.afterBytes - (this.passedBytes.get(injection) ?? 0)
  }

  /** Does what is due before the next byte; gives whether that ended the lane. */
  private strikeDue(): boolean {
    for (const injection of this.relevant()) {
      const { fault } = injection
      if (fault._tag === "BlackHole") {
        if (this.queue.length === 0) continue
        this.context.strike(injection)
        return this.swallow()
      }
      if (!isCounted(fault) || this.bytesLeft(injection, fault) > 0) continue
      this.context.strike(injection)
      if (fault._tag === "Cut") {
        this.context.cut(fault.how)
        return true
      }
      this.sink.end()
      return this.swallow()
    }
    return false
  }

  private swallow(): true {
    this.swallows = true
    this.queue = []
    this.queuedBytes = 0
    this.clearTimer()
    if (this.source.isPaused()) this.source.resume()
    this.context.onSettled()
    return true
  }

  /** Only new connections hear of it. Their bytes pass with the next change, or the next reply. */
  private beginInterjection(): void {
    for (const injection of this.context.injections()) {
      if (injection.fault._tag !== "Interject") continue
      this.interjection = new Interjection(injection, injection.fault, this.context)
      const said = this.interjection.begin()
      if (said.length > 0) this.enqueue(said)
      return
    }
  }

  private interject(chunk: Buffer): void {
    if (this.interjection === undefined) return this.enqueue(this.corrupt(chunk))
    for (const { bytes, notBefore } of this.interjection.pass(chunk, now()))
      this.enqueue(this.corrupt(bytes), notBefore)
    if (this.interjection.isOver) this.interjection = undefined
  }

  private corrupt(chunk: Buffer): Buffer {
    if (this.wasCorrupted) return chunk
    let position = 0
    for (const injection of this.context.injections()) {
      const { fault } = injection
      if (fault._tag !== "Corrupt") continue
      const skipped = Math.max(0, fault.afterBytes - (this.scannedBytes.get(injection) ?? 0))
      add(this.scannedBytes, injection, chunk.length)
      if (skipped >= chunk.length) continue
      if (position < skipped) {
        this.scanner.walk(chunk.subarray(0, skipped), position)
        position = skipped
      }
      return this.corruptFrom(chunk, position, injection, fault)
    }
    this.scanner.walk(chunk, position)
    return chunk
  }

  private corruptFrom(chunk: Buffer, start: number, injection: Injection, fault: Corrupt): Buffer {
    const index = this.scanner.walk(chunk, start, isFitting(fault.at, fault.how))
    if (index === -1) return chunk
    this.wasCorrupted = true
    this.context.strike(injection)
    return corrupted(chunk, index, fault.at, fault.how, this.context.random)
  }
}

const concerns = (fault: Fault, direction: Direction): boolean =>
  "direction" in fault && (fault.direction === "both" || fault.direction === direction)

const add = (counts: Map<Injection, number>, injection: Injection, count: number): void => {
  counts.set(injection, (counts.get(injection) ?? 0) + count)
}
