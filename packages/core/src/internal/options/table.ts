/**
 * Every option: its kind, and so what it must be and how it is read. The one list that records, URLs, the environment and
 * the defaults go by.
 *
 * @internal
 */
import type { Options } from "../../RedisOptions.ts"
import * as Kind from "./kinds.ts"
import { tls } from "./tls.ts"

const count = Kind.integer(1, Number.MAX_SAFE_INTEGER)

/** All options but `url` and `sentinel`, which are sources of values and of the place. */
export const kinds = {
  host: Kind.host,
  port: Kind.integer(0, 65535),
  path: Kind.path,
  database: Kind.integer(0, 2_147_483_647),
  username: Kind.username,
  password: Kind.password,
  name: Kind.label,
  protocol: Kind.choice("auto", 2, 3),
  timeout: Kind.durationOrInfinite(0),
  connectTimeout: Kind.duration(1),
  addressTimeout: Kind.duration(1),
  closeTimeout: Kind.duration(0),
  healthCheckInterval: Kind.durationOrInfinite(1),
  stableAfter: Kind.duration(0),
  mailboxCommands: count,
  mailboxBytes: count,
  whenFull: Kind.choice("suspend", "fail"),
  inFlightCommands: count,
  inFlightBytes: count,
  whenDown: Kind.choice("wait", "fail"),
  backoffFirst: Kind.duration(0),
  backoffInitial: Kind.duration(0),
  backoffFactor: Kind.factor,
  backoffCap: Kind.duration(0),
  start: Kind.choice("background", "await"),
  readonly: Kind.boolean,
  onConnect: Kind.commands,
  libraryName: Kind.labelOrNone,
  libraryVersion: Kind.label,
  keyPrefix: Kind.text,
  leases: Kind.integer(1, 1_000_000),
  leaseIdle: Kind.duration(0),
  maxDepth: Kind.integer(1, 1_000_000),
  maxElements: Kind.integer(1, 4_294_967_295),
  maxBulkBytes: count,
  maxReplyBytes: count,
  maxBigNumberDigits: Kind.integer(1, 1_000_000_000),
  tls
} satisfies Record<Exclude<keyof Options, "url" | "sentinel">, Kind.Kind<unknown, unknown>>

/** The name of an option that has a kind. */
export type OptionName = keyof typeof kinds

/** Whether this is the name of an option that has a kind. */
export const isOptionName = (name: string): name is OptionName => Object.hasOwn(kinds, name)

/** The options that a URL says in its other parts, or that have no text form: not for its query. */
const notInQuery: ReadonlySet<string> = new Set(["host", "port", "path", "onConnect"])

/** Whether it may stand in the query of a URL. */
export const isQueryName = (name: string): name is OptionName => isOptionName(name) && !notInQuery.has(name)

const otherNames: ReadonlyMap<string, string> = new Map([
  ["db", "database"],
  ["user", "username"],
  ["pass", "password"],
  ["auth", "password"],
  ["socket", "path"],
  ["clientname", "name"],
  ["uri", "url"],
  ["commandtimeout", "timeout"],
  ["pinginterval", "healthCheckInterval"],
  ["syncconnect", 'start: "await"'],
  ["ssl", "tls"],
  ["prefix", "keyPrefix"],
  ["keyprefix", "keyPrefix"],
  ["read_only", "readonly"],
  ["exitondisconnection", "Redis.childSpec, whose option it is"]
])

/** The name that a person who wrote this unknown one probably wants, for the end of a message. */
export const suggestion = (unknown: string): string => {
  const plain = unknown.toLowerCase()
  const near =
    otherNames.get(plain) ?? Object.keys(kinds).find((name) => name.toLowerCase() === plain.replaceAll(/[-_]/g, ""))
  return near === undefined ? `The options are url, sentinel, ${Object.keys(kinds).join(", ")}` : `Use ${near}`
}
