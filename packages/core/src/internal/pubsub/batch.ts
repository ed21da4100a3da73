/**
 * Messages that came one after the other for the same subscriptions. All of these share the batch, what is made of it, and the
 * array that their streams hand out: so a message costs each of them next to nothing.
 *
 * @internal
 */
import type * as Arr from "effect/Array"
import { Buffer } from "node:buffer"
import type { Message, Name } from "../../RedisPubSub.ts"
import { DecodeError } from "../resp/model.ts"

/** The most that is handed out at a time, so that a subscriber holds little besides its buffer. */
export const BATCH_MESSAGES = 256
export const BATCH_BYTES = 64 * 1024

/** A message as it came. */
export class Delivery {
  readonly channel: Name
  readonly pattern: Name | undefined
  readonly payload: unknown
  /** The bytes it counts in a buffer. */
  readonly bytes: number
  /** No message that was published before this moment can be missing before this one, in milliseconds since the epoch. */
  readonly provenAt: number
  private asText: Message | DecodeError | undefined = undefined
  private asBytes: Message<Uint8Array, Name> | DecodeError | undefined = undefined

  constructor(channel: Name, pattern: Name | undefined, payload: unknown, provenAt: number) {
    this.channel = channel
    this.pattern = pattern
    this.payload = payload
    this.bytes = typeof payload === "string" || payload instanceof Uint8Array ? payload.length : 0
    this.provenAt = provenAt
  }

  get text(): Message | DecodeError {
    return (this.asText ??= this.makeText())
  }

  get binary(): Message<Uint8Array, Name> | DecodeError {
    return (this.asBytes ??= this.makeBinary())
  }

  private makeText(): Message | DecodeError {
    const { channel, pattern, payload } = this
    if (typeof payload !== "string") return payload instanceof Uint8Array ? notText("payload") : notAString
    if (typeof channel !== "string") return notText("channel's name")
    if (pattern !== undefined && typeof pattern !== "string") return notText("pattern")
    return { _tag: "Message", channel, pattern, payload }
  }

  private makeBinary(): Message<Uint8Array, Name> | DecodeError {
    const { channel, pattern, payload } = this
    if (payload instanceof Uint8Array) return { _tag: "Message", channel, pattern, payload }
    if (typeof payload !== "string") return notAString
    return { _tag: "Message", channel, pattern, payload: Buffer.from(payload) }
  }
}

const notText = (what: string): DecodeError =>
  new DecodeError("utf8", `The ${what} of a message is not UTF-8: subscribe with decode: "bytes"`)

const notAString = new DecodeError("schema", "The payload of a message is no string")

/** The form in which a subscription takes its messages. */
export interface Form<Payload, Channel> {
  readonly message: (delivery: Delivery) => Message<Payload, Channel> | DecodeError
  /** All of a batch, for whoever asks; `undefined` when one of them cannot be told. */
  readonly messages: (batch: Batch) => Arr.NonEmptyReadonlyArray<Message<Payload, Channel>> | undefined
}

export const textForm: Form<string, string> = {
  message: (delivery) => delivery.text,
  messages: (batch) => (batch.text ??= all(batch, textForm.message))
}

export const bytesForm: Form<Uint8Array, Name> = {
  message: (delivery) => delivery.binary,
  messages: (batch) => (batch.binary ??= all(batch, bytesForm.message))
}

const all = <Payload, Channel>(
  { deliveries }: Batch,
  make: (delivery: Delivery) => Message<Payload, Channel> | DecodeError
): Arr.NonEmptyReadonlyArray<Message<Payload, Channel>> | undefined => {
  const messages: Array<Message<Payload, Channel>> = []
  for (const delivery of deliveries) {
    const message = make(delivery)
    if (message._tag === "DecodeError") return undefined
    messages.push(message)
  }
  return isNonEmpty(messages) ? messages : undefined
}

export const isNonEmpty = <A>(values: Array<A>): values is [A, ...Array<A>] => values.length > 0

/** Grows while it is open, and is never changed after it was offered to the first buffer. */
export class Batch {
  readonly deliveries: Array<Delivery>
  /** The bytes of all its messages. */
  bytes = 0
  text: Arr.NonEmptyReadonlyArray<Message> | undefined = undefined
  binary: Arr.NonEmptyReadonlyArray<Message<Uint8Array, Name>> | undefined = undefined

  constructor(deliveries: Array<Delivery> = []) {
    this.deliveries = deliveries
    for (const delivery of deliveries) this.bytes += delivery.bytes
  }

  get size(): number {
    return this.deliveries.length
  }

  add(delivery: Delivery): void {
    this.deliveries.push(delivery)
    this.bytes += delivery.bytes
  }
}
