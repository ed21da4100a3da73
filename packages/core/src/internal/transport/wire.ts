/**
 * The wire: a Node socket on one side, decoded replies and written chunks on the other.
 *
 * A plain socket reads into one buffer that all connections of the program share (`onread`): the bytes are decoded before
 * the read returns, and what is kept of them is copied by the decoder. So reading allocates nothing but the replies. The rest of
 * a large value is read straight to where it belongs, when the decoder has made that (`room`). A secured socket can do neither
 * and gives chunks of its own. Either way what comes out is pulled by one fiber, in arrays: when it falls behind, the socket is
 * paused, and the server feels it.
 *
 * Node reads a busy socket up to 32 times (2 MiB) in one turn of the event loop, and nothing else runs meanwhile. So the socket
 * is paused after each slice, until the next turn.
 *
 * Writing is synchronous: when `write` returns, the bytes are with the socket.
 *
 * @internal
 */
import type * as Arr from "effect/Array"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Net from "node:net"
import type * as Resp from "../../Resp.ts"
import { preciseMillis } from "../clock.ts"
import { setImmediate } from "../turns.ts"
import type { Chunks, SessionEnd } from "./sessionEnd.ts"

/** An output of the decoder. */
export type Decoded = Resp.Decoded<Resp.Reply>

/** The socket has ended: with an error, or in good order by the peer (`cause` is `undefined`). */
export class WireClosed extends Data.TaggedError("WireClosed")<{ readonly cause: Error | undefined }> {}

/** Why no more replies come. */
type Failure = WireClosed | Resp.ProtocolError | SessionEnd

type Pulled = Exit.Exit<Arr.NonEmptyReadonlyArray<Decoded>, Failure>

/** One read of the kernel, as large as libuv makes it. */
const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/**
 * The bytes decoded in one turn: a millisecond or two for the elements of an array, some ten for those of a set. With half of
 * it the pauses begin to cost: a tenth of an array of 10 000 elements.
 */
const SLICE_BYTES = 512 * 1024

/** The replies that may wait for their reader before the socket is paused, and their bytes. */
const HIGH_WATER = 4096
const HIGH_WATER_BYTES = 1024 * 1024

/** Told of every chunk when it is decoded, and when it came, by `preciseMillis`. May return that it is the end. */
type OnInbound = (bytes: Uint8Array, at: number) => SessionEnd | undefined

export class Wire {
  /** For `Net.connect`: read into the shared buffer, or where the rest of a large value belongs. Node asks before each read. */
  readonly onread: Net.OnReadOpts = {
    buffer: () => this.decoder.room?.subarray(0, SLICE_BYTES) ?? sharedBuffer,
    callback: (bytes, buffer) => this.feed(buffer.subarray(0, bytes))
  }

  private readonly decoder: Resp.Decoder<Resp.Reply>
  private readonly onInbound: OnInbound
  private socket: Net.Socket | undefined = undefined
  private decoded: Array<Decoded> = []
  private failure: Failure | undefined = undefined
  /** Whether the reader is behind. */
  private paused = false
  /** Bytes that came since there was something to take. */
  private held = 0
  /** Whether the slice of this turn is over. */
  private resting = false
  /** Bytes since the last rest. */
  private slice = 0
  private waiter: ((pulled: Pulled) => void) | undefined = undefined
  private onDrain: (() => void) | undefined = undefined

  /** `decoder` must be one for volatile chunks. */
  constructor(decoder: Resp.Decoder<Resp.Reply>, onInbound: OnInbound) {
    this.decoder = decoder
    this.onInbound = onInbound
  }

  /** Takes over a socket that reads by `onread`, before it is open. */
  attach(socket: Net.Socket): void {
    this.socket = socket
    socket.on("error", (cause) => this.fail(new WireClosed({ cause })))
    socket.on("end", () => this.fail(this.decoder.ended() ?? new WireClosed({ cause: undefined })))
    socket.on("close", () => this.fail(new WireClosed({ cause: undefined })))
    socket.on("drain", () => this.drain())
    if (socket.destroyed) this.fail(new WireClosed({ cause: undefined }))
  }

  /** Takes over an open socket that gives chunks of its own. */
  attachChunks(socket: Net.Socket): void {
    this.attach(socket)
    socket.on("data", (chunk: Uint8Array) => {
      if (!this.feed(chunk)) socket.pause()
    })
  }

  // ------------------------------------------------------------------------------------------------------- reading

  /** Decodes what came in and hands it over. Returns whether more may come. */
  private feed(bytes: Uint8Array): boolean {
    if (this.failure !== undefined) return false
    const at = preciseMillis()
    const failure = this.decode(bytes)
    const end = this.onInbound(bytes, at)
    this.failure = failure ?? end
    this.deliver()
    this.held = this.decoded.length === 0 ? 0 : this.held + bytes.length
    this.paused = this.decoded.length >= HIGH_WATER || this.held >= HIGH_WATER_BYTES || this.failure !== undefined
    this.slice += bytes.length
    if (this.slice >= SLICE_BYTES) this.rest()
    return !this.paused && !this.resting
  }

  /** Lets the others of this process have their turn. */
  private rest(): void {
    this.slice = 0
    if (this.resting) return
    this.resting = true
    setImmediate(this.onRested)
  }

  private readonly onRested = (): void => {
    this.resting = false
    this.goOn()
  }

  private goOn(): void {
    if (!this.paused && !this.resting) this.socket?.resume()
  }

  /** Thrown here, in the socket's own callback, a defect would end the program: memory that is not to be had, say. */
  private decode(bytes: Uint8Array): WireClosed | Resp.ProtocolError | undefined {
    try {
      return this.decoder.push(bytes, this.decoded)
    } catch (defect) {
      return new WireClosed({ cause: defect instanceof Error ? defect : new Error(String(defect)) })
    }
  }

  private fail(failure: Failure): void {
    this.failure ??= failure
    this.deliver()
    this.drain()
  }

  private deliver(): void {
    const waiter = this.waiter
    if (waiter === undefined) return
    const pulled = this.take()
    if (pulled === undefined) return
    this.waiter = undefined
    waiter(pulled)
  }

  private take(): Pulled | undefined {
    const decoded = this.decoded
    if (isNonEmpty(decoded)) {
      this.decoded = []
      return Exit.succeed(decoded)
    }
    return this.failure === undefined ? undefined : Exit.fail(this.failure)
  }

  /** The next replies; fails when there will be none. For one fiber. */
  readonly pull = Effect.callback<Arr.NonEmptyReadonlyArray<Decoded>, Failure>((resume) => {
    const pulled = this.take()
    if (pulled !== undefined) return resume(pulled)
    this.waiter = resume
    if (this.paused) {
      this.paused = false
      this.goOn()
    }
    return Effect.sync(() => {
      this.waiter = undefined
    })
  })

  // ------------------------------------------------------------------------------------------------------- writing

  /** Whether the socket is open, as far as is known, and all that came in is pulled. */
  get upToDate(): boolean {
    return this.failure === undefined && this.decoded.length === 0 && this.socket?.destroyed !== true
  }

  /** Hands chunks to the socket. `false`: it should get no more before `whenDrained` has called back. */
  write(chunks: Chunks): boolean {
    return this.socket !== undefined && writeAll(this.socket, chunks)
  }

  /** Calls back once, when the socket wants more or is gone. */
  whenDrained(then: () => void): void {
    if (this.socket?.writableNeedDrain !== true || this.failure !== undefined) return then()
    this.onDrain = then
  }

  private drain(): void {
    const onDrain = this.onDrain
    this.onDrain = undefined
    onDrain?.()
  }
}

const isNonEmpty = (decoded: Array<Decoded>): decoded is [Decoded, ...Array<Decoded>] => decoded.length > 0

const writeAll = (socket: Net.Socket, chunks: Chunks): boolean => {
  // Behind a write that is under way the socket only keeps what it is given, and a caller's array may lose its memory meanwhile.
  const isKept = socket.writableLength > 0
  if (chunks.length === 1) return socket.write(isKept ? copied(chunks[0]) : chunks[0])
  socket.cork()
  let more = true
  for (const chunk of chunks) more = socket.write(isKept ? copied(chunk) : chunk)
  socket.uncork()
  return more
}

const copied = (chunk: string | Uint8Array): string | Uint8Array =>
  typeof chunk === "string" ? chunk : Buffer.from(chunk)
