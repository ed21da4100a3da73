/**
 * The shapes that RESP2 lacks: what a reply must become to be as it is over RESP3, by command.
 *
 * Each shape takes plain data of either protocol and leaves alone what has the right shape already, so nobody need know which
 * protocol a reply came by.
 *
 * @internal
 */
import type { PlainReply } from "../../PlainReply.ts"
import type { Argument } from "../../Resp.ts"

type Shape = (reply: PlainReply, command: ReadonlyArray<Argument>) => PlainReply

const isArray = (reply: PlainReply): reply is ReadonlyArray<PlainReply> => Array.isArray(reply)

const isRecord = (reply: PlainReply): reply is { readonly [key: string]: PlainReply } =>
  typeof reply === "object" && reply !== null && Object.getPrototypeOf(reply) === Object.prototype

const same: Shape = (reply) => reply

const double: Shape = (reply) => {
  if (typeof reply !== "string") return reply
  if (reply === "inf") return Infinity
  return reply === "-inf" ? -Infinity : Number(reply)
}

const list =
  (shape: Shape): Shape =>
  (reply, command) =>
    isArray(reply) ? reply.map((element) => shape(element, command)) : reply

/** The elements at their places; those after the last place stay as they are. */
const tuple =
  (...shapes: ReadonlyArray<Shape>): Shape =>
  (reply, command) =>
    isArray(reply) ? reply.map((element, index) => (shapes[index] ?? same)(element, command)) : reply

/** A flat array of keys and values, or an object; the values of these names have shapes of their own. */
const map =
  (values: Readonly<Record<string, Shape>> = {}): Shape =>
  (reply, command) => {
    const valueOf = (key: string, value: PlainReply) =>
      Object.hasOwn(values, key) ? (values[key] ?? same)(value, command) : value
    const entries: Array<[string, PlainReply]> = []
    if (isArray(reply)) {
      for (let i = 0; i + 1 < reply.length; i += 2) {
        const key = String(reply[i])
        entries.push([key, valueOf(key, reply[i + 1] ?? null)])
      }
    } else if (isRecord(reply)) {
      for (const [key, value] of Object.entries(reply)) entries.push([key, valueOf(key, value)])
    } else {
      return reply
    }
    return Object.fromEntries(entries)
  }

/** A flat array of members and what belongs to each, as an array of pairs. */
const pairs =
  (value: Shape): Shape =>
  (reply, command) => {
    if (!isArray(reply)) return reply
    if (isArray(reply[0] ?? null)) return list(tuple(same, value))(reply, command)
    const out: Array<PlainReply> = []
    for (let i = 0; i + 1 < reply.length; i += 2) out.push([reply[i] ?? null, value(reply[i + 1] ?? null, command)])
    return out
  }

const hasWord = (command: ReadonlyArray<Argument>, word: string): boolean =>
  command.some((argument) => typeof argument === "string" && argument.toUpperCase() === word)

const when =
  (word: string, shape: Shape, otherwise: Shape = same): Shape =>
  (reply, command) =>
    (hasWord(command, word) ? shape : otherwise)(reply, command)

const withScores = when("WITHSCORES", pairs(double))
const popped: Shape = (reply, command) => (command.length > 2 ? pairs(double) : tuple(same, double))(reply, command)
const poppedBlocking = tuple(same, same, double)
const poppedFromMany = tuple(same, pairs(double))
/** The streams, by name. RESP2 gives them as pairs. */
const streams: Shape = (reply) =>
  isArray(reply)
    ? Object.fromEntries(
        reply.map((stream) => (isArray(stream) ? [String(stream[0]), stream[1] ?? null] : [String(stream), null]))
      )
    : reply
const coordinates = list(double)
const consumers = list(map())
const groups = list(map({ consumers }))
const commandDoc = map({ arguments: list((reply, command) => commandArgument(reply, command)) })
const commandArgument: Shape = map({ arguments: list((reply, command) => commandArgument(reply, command)) })
/** An object of objects, whatever its names are. */
const mapOf =
  (value: Shape): Shape =>
  (reply, command) => {
    const outer = map()(reply, command)
    return isRecord(outer)
      ? Object.fromEntries(Object.entries(outer).map(([key, inner]) => [key, value(inner, command)]))
      : outer
  }

const shapes = new Map<string, Shape>([
  ["HGETALL", map()],
  ["CONFIG GET", map()],
  ["XREAD", streams],
  ["XREADGROUP", streams],
  ["XINFO STREAM", map({ groups })],
  ["XINFO GROUPS", groups],
  ["XINFO CONSUMERS", consumers],
  ["HRANDFIELD", when("WITHVALUES", pairs(same))],
  ["ZSCORE", double],
  ["ZINCRBY", double],
  ["ZADD", when("INCR", double)],
  ["ZMSCORE", list(double)],
  ["ZRANGE", withScores],
  ["ZREVRANGE", withScores],
  ["ZRANGEBYSCORE", withScores],
  ["ZREVRANGEBYSCORE", withScores],
  ["ZRANDMEMBER", withScores],
  ["ZUNION", withScores],
  ["ZINTER", withScores],
  ["ZDIFF", withScores],
  ["ZRANK", when("WITHSCORE", tuple(same, double))],
  ["ZREVRANK", when("WITHSCORE", tuple(same, double))],
  ["ZPOPMIN", popped],
  ["ZPOPMAX", popped],
  ["BZPOPMIN", poppedBlocking],
  ["BZPOPMAX", poppedBlocking],
  ["ZMPOP", poppedFromMany],
  ["BZMPOP", poppedFromMany],
  ["GEOPOS", list(coordinates)],
  ["GEOSEARCH", when("WITHCOORD", list(list(coordinates)))],
  ["GEORADIUS", when("WITHCOORD", list(list(coordinates)))],
  ["GEORADIUSBYMEMBER", when("WITHCOORD", list(list(coordinates)))],
  ["LCS", when("IDX", map())],
  ["MEMORY STATS", map()],
  ["ACL GETUSER", map({ selectors: list(map()) })],
  ["ACL LOG", list(map())],
  ["CLIENT TRACKINGINFO", map()],
  ["COMMAND DOCS", mapOf(commandDoc)],
  ["FUNCTION STATS", map({ engines: mapOf(map()) })],
  ["FUNCTION LIST", list(map({ functions: list(map()) }))],
  ["LATENCY HISTOGRAM", mapOf(map({ histogram_usec: map() }))],
  ["MODULE LIST", list(map())],
  ["CLUSTER LINKS", list(map())],
  ["CLUSTER SHARDS", list(map({ nodes: list(map()) }))]
])

/** The commands whose second word says what they return. */
const containers: ReadonlySet<string> = new Set(
  [...shapes.keys()].flatMap((name) => (name.includes(" ") ? [name.slice(0, name.indexOf(" "))] : []))
)

const wordAt = (command: ReadonlyArray<Argument>, index: number): string => {
  const word = command[index]
  return typeof word === "string" ? word.toUpperCase() : ""
}

/** The shape that the reply of a command must get; `undefined` when it is the same over both protocols. */
export const shapeOf = (command: ReadonlyArray<Argument>): Shape | undefined => {
  const name = wordAt(command, 0)
  return shapes.get(containers.has(name) ? `${name} ${wordAt(command, 1)}` : name)
}
