/**
 * The calls of `Promises`, over a service that is there or will be.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { fromReply } from "../../PlainReply.ts"
import type { Client, SendOptions, SetOptions } from "../../Promises.ts"
import type { CallOptions, Service } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"

/** The service, or the promise of it while its layer is being built. */
type Source = () => Service | Promise<Service>

const run = (service: Service, command: Resp.Command, options: SendOptions | undefined): Promise<unknown> => {
  const { signal, ...rest } = options ?? {}
  const callOptions: CallOptions | undefined = options === undefined ? undefined : rest
  const call = Effect.map(service.command(command, callOptions), (reply) => fromReply(command, reply))
  if (signal === undefined) return Effect.runPromise(call)
  return Effect.runPromise(call, { signal }).catch((error: unknown) => {
    // As everything else that takes a signal: the caller that aborted is told its own reason.
    throw signal.aborted ? signal.reason : error
  })
}

const expirationOf = ({ EX, KEEPTTL, PX, expiration }: SetOptions): ReadonlyArray<string | number> => {
  if (expiration === "KEEPTTL" || KEEPTTL === true) return ["KEEPTTL"]
  if (expiration !== undefined) return expiration.type === "KEEPTTL" ? ["KEEPTTL"] : [expiration.type, expiration.value]
  if (EX !== undefined) return ["EX", EX]
  return PX === undefined ? [] : ["PX", PX]
}

const conditionOf = ({ NX, XX, condition }: SetOptions): ReadonlyArray<string> => {
  if (condition !== undefined) return [condition]
  if (NX === true) return ["NX"]
  return XX === true ? ["XX"] : []
}

const setCommand = (key: string, value: string | number, options: SetOptions = {}): Resp.Command => [
  "SET",
  key,
  value,
  ...expirationOf(options),
  ...conditionOf(options),
  ...(options.GET === true ? ["GET"] : [])
]

const listOf = (keys: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof keys === "string" ? [keys] : keys

type Words = ReadonlyArray<Resp.Argument>

/** One array with options, or a command word by word. */
type Given = readonly [command: Words, options?: SendOptions | undefined] | Words

const isWhole = (given: Given): given is readonly [command: Words, options?: SendOptions | undefined] =>
  Array.isArray(given[0])

export const make = (source: Source, close: () => Promise<void>): Client => {
  const call = <A>(command: Words, options?: SendOptions): Promise<A> => {
    const service = source()
    const reply =
      service instanceof Promise ? service.then((made) => run(made, command, options)) : run(service, command, options)
    // Only the caller can say what a command returns.
    return reply as Promise<A>
  }
  async function* scanIterator(
    options: Parameters<Client["scanIterator"]>[0] = {}
  ): AsyncGenerator<Array<string>, undefined> {
    const { COUNT, MATCH, TYPE } = options
    const rest = [
      ...(MATCH === undefined ? [] : ["MATCH", MATCH]),
      ...(COUNT === undefined ? [] : ["COUNT", COUNT]),
      ...(TYPE === undefined ? [] : ["TYPE", TYPE])
    ]
    let cursor = "0"
    do {
      const [next, keys] = await call<[string, Array<string>]>(["SCAN", cursor, ...rest])
      cursor = next
      yield keys
    } while (cursor !== "0")
    return undefined
  }
  return {
    sendCommand: <A>(...given: Given) => (isWhole(given) ? call<A>(given[0], given[1]) : call<A>(given)),
    ping: () => call(["PING"]),
    get: (key) => call(["GET", key]),
    set: (key, value, options) => call(setCommand(key, value, options)),
    mGet: (keys) => call(["MGET", ...keys]),
    del: (keys) => call(["DEL", ...listOf(keys)]),
    unlink: (keys) => call(["UNLINK", ...listOf(keys)]),
    exists: (keys) => call(["EXISTS", ...listOf(keys)]),
    incr: (key) => call(["INCR", key]),
    decr: (key) => call(["DECR", key]),
    expire: (key, seconds) => call(["EXPIRE", key, seconds]),
    pExpire: (key, milliseconds) => call(["PEXPIRE", key, milliseconds]),
    ttl: (key) => call(["TTL", key]),
    hGet: (key, field) => call(["HGET", key, field]),
    hGetAll: (key) => call(["HGETALL", key]),
    hSet: (key, field, value) => call(["HSET", key, field, value]),
    hDel: (key, fields) => call(["HDEL", key, ...listOf(fields)]),
    scanIterator,
    close
  }
}
