/**
 * RESP, the protocol of Redis: an incremental decoder for RESP2 and RESP3, and an encoder for commands.
 *
 * Programs need none of this: `Redis.command` takes arguments and gives a `Reply`. It is here for tools that speak the
 * protocol themselves (proxies, tests, other transports).
 *
 * **Decoding.** `makeDecoder` gives replies as programs see them, `makeFrameDecoder` every distinction of the wire. Both are
 * synchronous: `push(chunk, out)` appends to `out` what the chunk completed. `decode` and `decodeFrames` are the same as
 * channels. A well-formed reply that cannot be delivered (over a limit, not UTF-8) comes as a `ReplyFailure` in its own
 * place; a byte outside the grammar ends the stream with a `ProtocolError`, after the replies before it.
 *
 * A short text is a slice of up to 1 KiB that was decoded at once, which is what makes it quick; so a program that keeps
 * single short texts of large replies for long keeps up to 1 KiB for each.
 *
 * **Encoding.** `encode` and `encodePipeline` make chunks for a socket.
 *
 * ```ts
 * import { Resp } from "@relive/core"
 *
 * const decoder = Resp.makeDecoder()
 * const out: Array<Resp.Decoded<Resp.Reply>> = []
 * decoder.push(Buffer.from("+OK\r\n*2\r\n:1\r\n$3\r\nfo"), out)
 * decoder.push(Buffer.from("o\r\n"), out)
 * console.log(out) // ["OK", [1, "foo"]]
 * ```
 *
 * Follows the RESP3 specification (redis-specifications, protocol/RESP3.md) and the page "Redis serialization protocol
 * specification" of the Redis documentation.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import { type Builder, frameBuilder, replyBuilder } from "./internal/resp/builder.ts"
import { ArgumentFailure, Batch, Encoder, type Command } from "./internal/resp/encoder.ts"
import {
  type Frame,
  defaultLimits,
  type Limits,
  type ProtocolError,
  type Push,
  type Reply,
  type ReplyFailure
} from "./internal/resp/model.ts"
import { Parser } from "./internal/resp/parser.ts"

export {
  /**
   * Why a command cannot be encoded.
   *
   * @category errors
   * @since 0.1.0
   */
  ArgumentFailure,
  /**
   * One argument of a command.
   *
   * @category models
   * @since 0.1.0
   */
  type Argument,
  /**
   * A command: its name and its arguments.
   *
   * @category models
   * @since 0.1.0
   */
  type Command
} from "./internal/resp/encoder.ts"

export {
  /**
   * A text of a reply cannot be a string.
   *
   * @category errors
   * @since 0.1.0
   */
  DecodeError,
  /**
   * The limits in force where none are given.
   *
   * @category constants
   * @since 0.1.0
   */
  defaultLimits,
  /**
   * A reply with every distinction of the wire kept.
   *
   * @category models
   * @since 0.1.0
   */
  type Frame,
  /**
   * The kinds of frames.
   *
   * @category models
   * @since 0.1.0
   */
  type FrameBody,
  /**
   * A key and its value, of a map or an attribute.
   *
   * @category models
   * @since 0.1.0
   */
  type FramePair,
  /**
   * The bounds of a decoder.
   *
   * @category models
   * @since 0.1.0
   */
  type Limits,
  /**
   * The bytes are not RESP.
   *
   * @category errors
   * @since 0.1.0
   */
  ProtocolError,
  /**
   * An out-of-band message of the server.
   *
   * @category models
   * @since 0.1.0
   */
  Push,
  /**
   * A reply as a program sees it.
   *
   * @category models
   * @since 0.1.0
   */
  type Reply,
  /**
   * An array of replies.
   *
   * @category models
   * @since 0.1.0
   */
  type ReplyArray,
  /**
   * An error reply of the server.
   *
   * @category errors
   * @since 0.1.0
   */
  ReplyError,
  /**
   * Takes the slot of a reply that could not be delivered.
   *
   * @category models
   * @since 0.1.0
   */
  ReplyFailure,
  /**
   * A reply over a limit of the decoder.
   *
   * @category errors
   * @since 0.1.0
   */
  ReplyLimitError,
  /**
   * A map of replies.
   *
   * @category models
   * @since 0.1.0
   */
  type ReplyMap,
  /**
   * A set of replies.
   *
   * @category models
   * @since 0.1.0
   */
  type ReplySet
} from "./internal/resp/model.ts"

/**
 * An output of a decoder: a reply as it is, a `Push`, which is no call's reply, or a `ReplyFailure` in the slot of a reply.
 * Tell them apart with `instanceof`; a reply is neither.
 *
 * @category models
 * @since 0.1.0
 */
export type Decoded<A> = A | Push<A> | ReplyFailure

/**
 * - `limits`: bounds on a reply; what is not given is as in `defaultLimits`.
 * - `decode`: `"bytes"` gives bulk, verbatim and streamed strings as `Uint8Array`, and in `Reply` maps as arrays of pairs
 *   and sets as arrays. Default `"text"`.
 * - `volatile`: the memory of a chunk is used again after `push` (as with Node's `onread`), so that nothing of it may be
 *   kept. Default false, as for the chunks of ordinary sockets and streams.
 *
 * @category models
 * @since 0.1.0
 */
export interface DecoderOptions {
  readonly limits?: Partial<Limits> | undefined
  readonly decode?: "text" | "bytes" | undefined
  readonly volatile?: boolean | undefined
}

/**
 * A decoder of one stream. It is stateful and belongs to one reader. It takes a stream cut anywhere, in time proportional
 * to its bytes; to keep the event loop free, push a huge chunk in pieces.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoder<A> {
  /**
   * Reads a chunk and appends what it completed to `out`. The error is that of the first byte outside the grammar: what
   * came before it is in `out`, and from then on nothing is read.
   */
  readonly push: (chunk: Uint8Array, out: Array<Decoded<A>>) => ProtocolError | undefined
  /** The stream is over. It may not end inside a reply: then the error is `truncated`. */
  readonly ended: () => ProtocolError | undefined
  /** Why the decoder reads no more. */
  readonly error: ProtocolError | undefined
  /** Whether it is between replies, with nothing begun. */
  readonly idle: boolean
  /** The number of replies that have come, pushes not counted. The reply that has begun has this number, from 0. */
  readonly replies: number
  /**
   * Gives up the reply that has begun (`inReply`): what there is of it is dropped, and the rest is passed as a reply over a
   * limit is. A `ReplyFailure` takes its place. Not to be called by `nextBytes`.
   */
  readonly abandon: () => void
  /** Whether a reply has begun that is not complete. A push is none, nor is an attribute, which may precede a push. */
  readonly inReply: boolean
  /** Bytes read so far. */
  readonly position: number
  /**
   * The memory in which the rest of a large string is going to be, while one is being put together. Bytes of the stream that are
   * read into the beginning of it, and pushed as that part of it, are not copied. Nobody has to read there. It holds until the
   * next `push` or `abandon`: then ask again.
   */
  readonly room: Uint8Array | undefined
  /**
   * For streams whose replies are decoded differently: asked at the first byte of a reply whose mode matters, or of the
   * attributes before it, at most once per reply, with the reply's number in the stream (from 0, pushes not counted): is it decoded as bytes? It runs inside
   * the decoder, so it must only look something up. While it is null, which costs nothing, `decode` of the options holds.
   */
  nextBytes: ((reply: number) => boolean) | null
  /** Are pushes decoded as bytes? As `decode` of the options until set. */
  pushBytes: boolean
}

const makeParser = <A>(builder: Builder<A>, options: DecoderOptions | undefined): Decoder<A> =>
  new Parser(builder, {
    limits: { ...defaultLimits, ...options?.limits },
    bytes: options?.decode === "bytes",
    volatile: options?.volatile === true
  })

/**
 * A decoder of replies as programs see them. Attributes are skipped.
 *
 * @category decoding
 * @since 0.1.0
 */
export const makeDecoder = (options?: DecoderOptions): Decoder<Reply> => makeParser(replyBuilder, options)

/**
 * A decoder that keeps every distinction of the wire, attributes too.
 *
 * @category decoding
 * @since 0.1.0
 */
export const makeFrameDecoder = (options?: DecoderOptions): Decoder<Frame> => makeParser(frameBuilder, options)

/** The bytes decoded before other fibers and the event loop get their turn. */
const SLICE_BYTES = 256 * 1024

/**
 * A channel from chunks of bytes to what `decoder` makes of them, in arrays that are never empty.
 *
 * It fails with a `ProtocolError` at the first byte outside the grammar, after the replies before it; and when the stream
 * ends inside a reply. Chunks that are huge are decoded in slices, between which the event loop goes on. Give each stream
 * a decoder of its own.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeWith = <A, IE = never, Done = unknown>(
  makeDecoder: () => Decoder<A>
): Channel.Channel<
  NonEmptyReadonlyArray<Decoded<A>>,
  IE | ProtocolError,
  Done,
  NonEmptyReadonlyArray<Uint8Array>,
  IE,
  Done
> =>
  Channel.fromTransform((upstream: Pull.Pull<NonEmptyReadonlyArray<Uint8Array>, IE, Done>) =>
    Effect.sync(() => pullDecoded(makeDecoder(), upstream))
  )

/** Pulls chunks, and gives what each of them, or each slice of a huge one, completed. */
const pullDecoded = <A, IE, Done>(
  decoder: Decoder<A>,
  upstream: Pull.Pull<NonEmptyReadonlyArray<Uint8Array>, IE, Done>
): Pull.Pull<NonEmptyReadonlyArray<Decoded<A>>, IE | ProtocolError, Done> => {
  let chunks: ReadonlyArray<Uint8Array> = []
  let index = 0
  let from = 0
  let sliced = false

  type Pulled = Pull.Pull<NonEmptyReadonlyArray<Decoded<A>>, IE | ProtocolError, Done>

  /** Decodes up to a slice of the chunks at hand. */
  const step = (): Array<Decoded<A>> => {
    const out: Array<Decoded<A>> = []
    let room = SLICE_BYTES
    while (index < chunks.length && room > 0 && decoder.error === undefined) {
      const chunk = chunks[index]
      const to = Math.min(chunk.length, from + room)
      room -= to - from
      decoder.push(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to), out)
      from = to
      if (from < chunk.length) continue
      index++
      from = 0
    }
    return out
  }

  const take = (): Pulled => {
    const out = step()
    sliced = index < chunks.length
    if (Arr.isArrayNonEmpty(out)) return Effect.succeed(out)
    return pull
  }

  const more = Pull.matchEffect(upstream, {
    onSuccess: (arrived): Pulled => {
      chunks = arrived
      index = 0
      from = 0
      return take()
    },
    onFailure: Effect.failCause,
    onDone: (done): Effect.Effect<never, ProtocolError | Cause.Done<Done>> => {
      const error = decoder.ended()
      return error === undefined ? Cause.done(done) : Effect.fail(error)
    }
  })

  const pull: Pulled = Effect.suspend(() => {
    if (decoder.error !== undefined) return Effect.fail(decoder.error)
    return sliced ? Effect.flatMap(Effect.yieldNow, take) : more
  })
  return pull
}

/**
 * A channel from chunks of bytes to replies: `stream.pipe(Stream.pipeThroughChannel(Resp.decode()))`. See `decodeWith`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = <IE = never, Done = unknown>(options?: DecoderOptions) =>
  decodeWith<Reply, IE, Done>(() => makeDecoder(options))

/**
 * A channel from chunks of bytes to frames. See `decodeWith`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFrames = <IE = never, Done = unknown>(options?: DecoderOptions) =>
  decodeWith<Frame, IE, Done>(() => makeFrameDecoder(options))

const encoder = new Encoder()

/**
 * A command as chunks to be written in order; a string stands for its UTF-8. Byte arguments over 16 KiB are not copied: do
 * not change them before they are written. Never throws: an argument that has no form on the wire (`NaN`, half a surrogate
 * pair, anything but `string | number | bigint | Uint8Array`) and an empty command give an `ArgumentFailure`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (command: Command): ReadonlyArray<string | Uint8Array> | ArgumentFailure =>
  chunksOf(encoder.encode(command))

/**
 * Many commands as chunks to be written in order. As `encode`; an empty pipeline is a failure too.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodePipeline = (
  commands: ReadonlyArray<Command>
): ReadonlyArray<string | Uint8Array> | ArgumentFailure => chunksOf(encoder.encodeAll(commands))

const chunksOf = (payload: ReturnType<Encoder["encode"]>): ReadonlyArray<string | Uint8Array> | ArgumentFailure => {
  if (payload instanceof ArgumentFailure) return payload
  const batch = new Batch()
  batch.add(payload)
  return batch.take()
}
