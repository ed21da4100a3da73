/**
 * Keyspace notifications: the channels that a server tells changes of keys on, as typed events, and the check that it is set up
 * to tell them.
 *
 * Follows Redis's documentation of keyspace notifications (the flags, and which events each of them stands for).
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import type { Calls, Subscribe } from "../../Redis.ts"
import { isRedisError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Event, KeyEvent, KeyspaceEvent, KeyspaceOptions, Name } from "../../RedisPubSub.ts"
import type * as Resp from "../../Resp.ts"
import { argumentError } from "../errors.ts"

/** The classes of events that `A` stands for. */
const ALL = "g$lshzxetd"

/** The events of each flag. */
const eventsOf: Readonly<Record<string, string>> = {
  g: "del rename_from rename_to move_from move_to copy_to restore expire persist sortstore",
  $: "set setrange incrby incrbyfloat append",
  l: "lpush rpush rpop lpop linsert lset lrem ltrim",
  s: "sadd spop srem sinterstore sunionstore sdiffstore",
  h: "hset hincrby hincrbyfloat hdel hexpire hpersist hexpired",
  z: "zincr zadd zrem zremrangebyscore zremrangebyrank zremrangebylex zdiffstore zinterstore zunionstore",
  t: "xadd xtrim xdel xgroup-create xgroup-createconsumer xgroup-delconsumer xgroup-destroy xgroup-setid xsetid",
  x: "expired",
  e: "evicted",
  m: "keymiss"
}

const flagOf: ReadonlyMap<string, string> = new Map(
  Object.entries(eventsOf).flatMap(([flag, events]) => events.split(" ").map((event) => [event, flag] as const))
)

/**
 * The flags that are missing. A flag that is not known for an event, and `n`, which Redis 7.0 takes and does not give back, is
 * never called missing.
 */
export const missingFlags = (flags: string, channel: "K" | "E", events: ReadonlyArray<string> | undefined): string => {
  const has = new Set([...flags.replace("A", ALL)])
  const missing: Array<string> = has.has(channel) ? [] : [channel]
  if (events === undefined) {
    if (![...ALL].some((flag) => has.has(flag))) missing.push("A")
  } else {
    for (const event of events) {
      const flag = flagOf.get(event)
      if (flag !== undefined && !has.has(flag) && !missing.includes(flag)) missing.push(flag)
    }
  }
  return missing.join("")
}

/** In the channel's name, which is a pattern where the database is any. */
const escaped = (text: string): string => text.replaceAll(/[\\*?[\]]/g, "\\$&")

const joined = (prefix: string, rest: Name): Name =>
  typeof rest === "string" ? prefix + rest : Buffer.concat([Buffer.from(prefix), rest])

/** The patterns to subscribe to, and the flag of their kind. */
const patternsOf = ({ database, events, keys }: KeyspaceOptions): readonly ["K" | "E", ReadonlyArray<Name>] => {
  const at = database === undefined ? "*" : String(database)
  return keys === undefined && events !== undefined
    ? ["E", events.map((event) => `__keyevent@${at}__:${escaped(event)}`)]
    : ["K", [joined(`__keyspace@${at}__:`, keys ?? "*")]]
}

const head = /^__key(space|event)@(\d+)__:/

/** A message of one of those channels as what it says; `undefined` when it is of another one. */
const eventOf = <Key extends Name>(
  channel: string,
  rest: (from: number) => Key,
  payload: Key
): KeyEvent<Key> | undefined => {
  const found = head.exec(channel)
  if (found === null) return undefined
  const subject = rest(found[0].length)
  const database = Number(found[2])
  return found[1] === "space"
    ? { _tag: "KeyEvent", key: subject, event: textOf(payload), database }
    : { _tag: "KeyEvent", key: payload, event: textOf(subject), database }
}

const textOf = (name: Name): string => (typeof name === "string" ? name : Buffer.from(name).toString())

const textEvent = (event: Event): KeyspaceEvent | undefined =>
  event._tag === "Message" ? eventOf(event.channel, (from) => event.channel.slice(from), event.payload) : event

const bytesEvent = (event: Event<Uint8Array, Name>): KeyspaceEvent<Uint8Array> | undefined => {
  if (event._tag !== "Message") return event
  const channel = Buffer.from(event.channel)
  return eventOf<Uint8Array>(channel.toString("latin1"), (from) => channel.subarray(from), event.payload)
}

/** Lets nothing through that is not of the keys' channels, or not an event that was asked for. */
const typed = <In, Key, E, R>(
  events: Stream.Stream<In, E, R>,
  read: (event: In) => KeyspaceEvent<Key> | undefined,
  wanted: ReadonlyArray<string> | undefined
): Stream.Stream<KeyspaceEvent<Key>, E, R> =>
  Stream.filter(
    Stream.map(events, read),
    (event): event is KeyspaceEvent<Key> =>
      event !== undefined && (event._tag !== "KeyEvent" || wanted === undefined || wanted.includes(event.event))
  )

/** The value of a configuration that `CONFIG GET` has given, as a map or as a flat list. */
const valueOf = (reply: Resp.Reply): string | undefined => {
  const value = reply instanceof Map ? [...reply.values()][0] : Array.isArray(reply) ? reply[1] : undefined
  return typeof value === "string" ? value : undefined
}

export const makeKeyspace = <Self>(
  command: Calls<Self>["command"],
  psubscribe: Subscribe<Self>
): Calls<Self>["keyspace"] => {
  /** Not where the server keeps its configuration to itself, as hosted ones do. */
  const check = (options: KeyspaceOptions): Effect.Effect<void, RedisError, Self> => {
    if (options.check === false) return Effect.void
    return command(["CONFIG", "GET", "notify-keyspace-events"]).pipe(
      Effect.catch((error) =>
        isRedisError(error) && error.reason._tag === "ReplyError" ? Effect.succeed(null) : Effect.fail(error)
      ),
      Effect.flatMap((reply) => {
        const flags = valueOf(reply)
        const missing = flags === undefined ? "" : missingFlags(flags, patternsOf(options)[0], options.events)
        return missing === ""
          ? Effect.void
          : Effect.fail(
              argumentError(
                `The server does not tell these events: notify-keyspace-events is ${JSON.stringify(flags)} and lacks ${JSON.stringify(missing)}; set it to ${JSON.stringify(`${flags}${missing}`)}`
              )
            )
      })
    )
  }

  /** Before, and after each loss: a server that was started again may have forgotten what was set. */
  const checked = <A extends { readonly _tag: string }>(
    events: Stream.Stream<A, RedisError, Self>,
    options: KeyspaceOptions
  ): Stream.Stream<A, RedisError, Self> =>
    Stream.unwrap(
      Effect.as(
        check(options),
        Stream.tap(events, ({ _tag }) => (_tag === "Resubscribed" ? check(options) : Effect.void))
      )
    )

  function keyspace(
    options: KeyspaceOptions & { readonly decode: "bytes" }
  ): Stream.Stream<KeyspaceEvent<Uint8Array>, RedisError, Self>
  function keyspace(options?: KeyspaceOptions): Stream.Stream<KeyspaceEvent, RedisError, Self>
  function keyspace(
    options: KeyspaceOptions = {}
  ): Stream.Stream<KeyspaceEvent | KeyspaceEvent<Uint8Array>, RedisError, Self> {
    const { check: _check, database, decode, events, keys: _keys, ...own } = options
    if (database !== undefined && !(Number.isSafeInteger(database) && database >= 0)) {
      return Stream.fail(argumentError("The option `database` must be a whole number from 0"))
    }
    const patterns = patternsOf(options)[1]
    return decode === "bytes"
      ? checked(typed(psubscribe(patterns, { ...own, decode }), bytesEvent, events), options)
      : checked(typed(psubscribe(patterns, { ...own, decode }), textEvent, events), options)
  }
  return keyspace
}
