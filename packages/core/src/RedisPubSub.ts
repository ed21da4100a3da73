/**
 * Pub/sub: what a subscription is asked for, and what it tells.
 *
 * A subscription is a `Stream` of events. `Subscribed` comes first, and once: from then on every message that is published
 * on its channels comes, in order, or a `Gap` says that some may be missing. Nothing is lost in silence.
 *
 * ```
 *   Subscribed   Message   Message   Gap   Resubscribed   Message   …
 *   └─ every message is here ──────┘  └ some may be missing ┘  └─ every message is here again
 * ```
 *
 * Subscriptions have a connection of their own, one for all of a service, which is started by the first of them and closed
 * some time after the last. It is dialled, secured, watched and restarted like every other. Each name is subscribed once on
 * the server, however many subscribe to it here.
 *
 * Programs use `Redis.subscribe` and its siblings. This module holds their types.
 *
 * Follows Redis's documentation of pub/sub, and Redix's `Redix.PubSub` in that the wanted set is the client's state.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Stream from "effect/Stream"
import type { RedisError } from "./RedisError.ts"

/**
 * The name of a channel, or a pattern: text, or bytes where it is not UTF-8. Bytes that are UTF-8 and their text are the same
 * name.
 *
 * @category models
 * @since 0.1.0
 */
export type Name = string | Uint8Array

/**
 * The topics of a subscription: channels (`SUBSCRIBE`), glob patterns (`PSUBSCRIBE`) or sharded channels (`SSUBSCRIBE`).
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = "channel" | "pattern" | "shard"

/**
 * The names of one subscription, all of one kind.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly kind: Kind
  readonly names: ReadonlyArray<Name>
}

/**
 * The policy for a message that finds its subscriber's buffer full.
 *
 * - `"dropOldest"`: the oldest message of the buffer makes room, and a `Gap` with the count stands in its place
 * - `"dropNewest"`: the message is dropped, and a `Gap` with the count stands in its place
 * - `"fail"`: the stream fails with `SubscriberOverflow`, after the messages that are in the buffer
 * - `"suspend"`: nothing is dropped. The subscription has a connection of its own, which is not read until there is room, so
 *   that the server keeps what comes. While it is not read, its health check rests. When the server has kept more than its
 *   limit (`client-output-buffer-limit pubsub`), it closes the connection, and that is a `Gap`.
 *
 * @category models
 * @since 0.1.0
 */
export type WhenFull = "dropOldest" | "dropNewest" | "fail" | "suspend"

/**
 * The options of a subscription.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubscribeOptions {
  /**
   * `"bytes"` gives payloads as `Uint8Array`, which subscribers share and must not change. Default `"text"`: a message that is not
   * UTF-8 then fails the stream with a `DecodeError`.
   */
  readonly decode?: "text" | "bytes" | undefined
  /** The number of messages that may wait for the subscriber (default 1024). The first bound that is met counts. */
  readonly bufferMessages?: number | undefined
  /** The number of bytes of payloads that may wait for the subscriber (default 8 MiB). One message always fits. */
  readonly bufferBytes?: number | undefined
  /** The policy for a message that finds no room. Default `"dropOldest"`. */
  readonly whenFull?: WhenFull | undefined
  /**
   * How long the server may take to confirm all names for the first time: then the stream fails with `TimeoutError`. Default: the
   * `timeout` of the connection. `"infinite"` waits as long as it takes. A subscription that was `Subscribed` once has no
   * deadline: it waits through any loss.
   */
  readonly timeout?: Duration.Input | "infinite" | undefined
}

/**
 * The server has confirmed all names of the subscription: what is published from now on is never missed in silence. The first
 * event, and it comes once. `channels` are the names as they were asked for.
 *
 * @category events
 * @since 0.1.0
 */
export interface Subscribed {
  readonly _tag: "Subscribed"
  readonly channels: ReadonlyArray<Name>
}

/**
 * A message. `pattern` is the pattern that it was matched by, and `undefined` for channels: a message on a channel that
 * several patterns match comes once for each.
 *
 * @category events
 * @since 0.1.0
 */
export interface Message<out Payload = string, out Channel = string> {
  readonly _tag: "Message"
  readonly channel: Channel
  readonly pattern: Channel | undefined
  readonly payload: Payload
}

/**
 * Messages may be missing here: read again what they are told of (a cache, a table, a stream) as it was at `since`.
 *
 * - `reason`: `"disconnected"`: the connection was lost. What was published until `Resubscribed` did not come. `"overflow"`:
 *   the subscriber's buffer was full.
 * - `since`: no message that was published before is missing, in milliseconds since the epoch by the clock of this machine. It
 *   is what the server has proven by a reply, so it may lie some seconds before the loss, up to `healthCheckInterval`.
 * - `dropped`: how many messages the buffer has dropped, exactly. `undefined` for `"disconnected"`: nobody knows.
 * - `cause`: why the connection was lost
 *
 * @category events
 * @since 0.1.0
 */
export interface Gap {
  readonly _tag: "Gap"
  readonly reason: "disconnected" | "overflow"
  readonly since: number
  readonly dropped: number | undefined
  readonly cause: RedisError | undefined
}

/**
 * After a `Gap` with the reason `"disconnected"`: the server has confirmed all names again.
 *
 * @category events
 * @since 0.1.0
 */
export interface Resubscribed {
  readonly _tag: "Resubscribed"
  readonly channels: ReadonlyArray<Name>
}

/**
 * The events of a subscription, in order.
 *
 * @category events
 * @since 0.1.0
 */
export type Event<Payload = string, Channel = string> = Subscribed | Message<Payload, Channel> | Gap | Resubscribed

/**
 * A change of a key, as a server tells it: `event` is the name of what happened (`set`, `del`, `expired`, …), `database` the
 * database that the key is in.
 *
 * @category events
 * @since 0.1.0
 */
export interface KeyEvent<out Key = string> {
  readonly _tag: "KeyEvent"
  readonly key: Key
  readonly event: string
  readonly database: number
}

/**
 * The events of `Redis.keyspace`, in order.
 *
 * @category events
 * @since 0.1.0
 */
export type KeyspaceEvent<Key = string> = Subscribed | KeyEvent<Key> | Gap | Resubscribed

/**
 * The changes of keys to report, with the options of every subscription.
 *
 * - `keys`: a pattern of keys. Default: all.
 * - `events`: only events of these names. Without `keys` the server sends nothing else (it needs the flag `E` then, else `K`).
 * - `database`: only keys of this one. Default: all.
 * - `check`: whether to ask the server, by `CONFIG GET`, for missing flags of `notify-keyspace-events`. Default `true`. A server
 *   that refuses the command is not asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyspaceOptions extends SubscribeOptions {
  readonly keys?: Name | undefined
  readonly events?: ReadonlyArray<string> | undefined
  readonly database?: number | undefined
  readonly check?: boolean | undefined
}

/**
 * Subscribes: what a provider of Redis offers, and `Redis.subscribe` is made of. With `decode: "bytes"` the payloads are
 * bytes, and a channel's name is bytes where it is not UTF-8.
 *
 * Ending or interrupting the stream unsubscribes. It fails when the server refuses a name (`ReplyError`), when it refuses the
 * connection before the first `Subscribed`, when there is no `Subscribed` within `timeout` (`TimeoutError`), when an option is
 * wrong, and with kind `shutdown` when the service is closed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subscribe {
  (
    wanted: Wanted,
    options: SubscribeOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Event<Uint8Array, Name>, RedisError>
  (wanted: Wanted, options?: SubscribeOptions): Stream.Stream<Event, RedisError>
}
