/**
 * Recordings once more, on a server that is there: each one that it has answered, or that all recorded servers answer in the
 * same way, in both protocols. What varies from run to run is left out.
 */
import { Command, Redis, type RedisError, type RedisOptions, type Resp } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Commands } from "../src/index.ts"
import { type Json, matches, toNeutral } from "./neutral.ts"
import { commandOf, type Recording } from "./records.ts"

export interface Live extends Recording {
  readonly mode: string
  readonly servers: ReadonlyArray<string>
  readonly volatile?: boolean
  /** Texts of the server that were replaced. */
  readonly redacted?: unknown
}

/** Of a transaction there is no typed command, and what ends or changes its connection needs no test here. */
const isRunnable = (record: Live): boolean =>
  record.mode === "standalone" &&
  record.volatile !== true &&
  record.value !== undefined &&
  record.redacted === undefined &&
  !record.setup.some(([name]) => name === "MULTI") &&
  !/^(QUIT|RESET|HELLO|EXEC|DISCARD|MULTI|SHUTDOWN|CLIENT REPLY|DEBUG|SELECT|AUTH|CLIENT NO|CLIENT SET|CLIENT KILL|READ)/.test(
    record.name
  )

const bytesOf = (word: string): Resp.Argument =>
  /^[\0-\x7f]*$/.test(word) ? word : Uint8Array.from(word, (character) => character.charCodeAt(0))

const cleaned: ReadonlyArray<Resp.Command> = [
  ["FLUSHALL"],
  ["FUNCTION", "FLUSH"],
  ["SCRIPT", "FLUSH"],
  ["CONFIG", "RESETSTAT"],
  ["SLOWLOG", "RESET"],
  ["ACL", "LOG", "RESET"]
]

/** Servers promise no order for these. */
const unordered = /^(KEYS|ACL CAT|COMMAND LIST|PUBSUB CHANNELS|SINTER|SORT)/

/** Errors do not show the arguments that they repeat. */
const sameError = (expected: Json | undefined, found: Json): boolean => {
  const texts = [expected, found].map((error) => JSON.stringify(error).replaceAll(/'[^']*'.*/g, ""))
  return texts[0].startsWith('{"$error"') && texts[0] === texts[1]
}

const sorted = (value: Json | undefined): string =>
  Array.isArray(value)
    ? JSON.stringify(value.map((item: Json) => JSON.stringify(item)).toSorted())
    : JSON.stringify(value)

/** The value of the reply, or the server's error, in the neutral form. */
const outcome = (effect: Effect.Effect<unknown, RedisError.RedisError>) =>
  Effect.match(effect, {
    onSuccess: (value): Json => toNeutral(value),
    onFailure: ({ reason }): Json => toNeutral(reason)
  })

const checkOne = (record: Live) =>
  Effect.gen(function* () {
    const command = commandOf(record.name, record.command)
    if (command === undefined) return []
    const lease = yield* Redis.lease
    yield* lease.pipeline([...cleaned, ...record.setup.map((words) => words.map(bytesOf))])
    const run = Command.on(lease)
    const found = yield* outcome(run(command))
    // What text cannot hold, and what a number cannot, is read in other ways.
    const isRefused =
      JSON.stringify(found).includes('"$decodeError"') && /\$bytes|\$bigint/.test(JSON.stringify(record.value))
    if (isRefused || matches(record.value ?? null, found) || sameError(record.value, found)) return []
    if (unordered.test(record.name) && sorted(record.value) === sorted(found)) return []
    const problem = `live: expected ${JSON.stringify(record.value)}, got ${JSON.stringify(found)}`
    return [{ id: record.id, problem }]
  })

const versionOf = Effect.gen(function* () {
  const info = yield* Commands.info("server")
  const valkey = /valkey_version:(\S+)/.exec(info)?.[1]
  return valkey === undefined ? `redis-${/redis_version:(\S+)/.exec(info)?.[1]}` : `valkey-${valkey}`
})

const redis = (protocol: RedisOptions.Options["protocol"]) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, protocol }))).pipe(
    Layer.provideMerge(RedisServer.layer())
  )

/** What the server answers otherwise, and how many recordings it was asked. */
export const checkLive = (recordings: ReadonlyArray<Live>, protocol: 2 | 3) =>
  Effect.gen(function* () {
    const version = yield* versionOf
    const known = recordings.filter(
      (record) => isRunnable(record) && (record.servers.includes(version) || record.servers.length === 3)
    )
    const wrong = yield* Effect.forEach(known, (record) => Effect.scoped(checkOne(record)))
    return { version, asked: known.length, wrong: wrong.flat() }
  }).pipe(Effect.provide(redis(protocol)))
