/**
 * From options to `Resolved`: the URL is taken apart, each option is taken from the record or else from the URL, checked by
 * its kind, or given its default.
 *
 * Checking stops at the first thing that is wrong.
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as CommandTable from "../../CommandTable.ts"
import type { Command, Endpoint, Input, Resolved, ResolvedSentinel, ResolvedTls } from "../../RedisOptions.ts"
import { RedisArgumentError } from "../../RedisError.ts"
import { attempt, invalid, valid } from "./invalid.ts"
import { describe, type Kind } from "./kinds.ts"
import { checkSentinel } from "./sentinel.ts"
import { isSentinelUrl, parse as parseSentinelUrl } from "./sentinelUrl.ts"
import { isOptionName, isQueryName, kinds, suggestion, type OptionName } from "./table.ts"
import * as RedisUrl from "./url.ts"
import { defaultLimits } from "../resp/model.ts"

/** See `RedisOptions.resolve`. */
export const resolveOptions = (input: Input): Result.Result<Resolved, RedisArgumentError> =>
  Result.mapError(
    attempt(() => resolveOrThrow(input)),
    (detail) => new RedisArgumentError({ detail })
  )

/** One option's value, and where it was written, for messages. */
type Given = { readonly value: unknown; readonly where: string }

/** The given values: by the record, which wins, and by the URL. */
interface Sources {
  readonly record: ReadonlyMap<OptionName, Given>
  readonly url: ReadonlyMap<OptionName, Given>
  /** The option `sentinel`, or what a URL of Sentinels says. */
  readonly sentinel: unknown
}

const readSources = (input: unknown): Sources => {
  const address = urlText(input)
  if (address !== undefined) return { record: new Map(), ...readUrl(address) }
  if (!Predicate.isObject(input)) {
    return invalid(
      `Options must be a record like { host: "127.0.0.1" } or a URL like redis://127.0.0.1:6379, not ${describe(input)}`
    )
  }
  const { sentinel, url } = input
  if (url === undefined) return { record: readRecord(input), url: new Map(), sentinel }
  if (sentinel !== undefined) {
    return invalid("The options `sentinel` and `url` are two places; a URL of Sentinels begins with redis-sentinel://")
  }
  const text = urlText(url)
  if (text === undefined)
    return invalid(`The option \`url\` must be a text, a URL or a Redacted text, not ${describe(url)}`)
  return { record: readRecord(input), ...readUrl(text) }
}

const urlText = (value: unknown): string | undefined => {
  const plain: unknown = Redacted.isRedacted(value) ? Redacted.value(value) : value
  return plain instanceof URL ? plain.href : typeof plain === "string" ? plain : undefined
}

const readRecord = (record: Record<string, unknown>): ReadonlyMap<OptionName, Given> => {
  const given = new Map<OptionName, Given>()
  for (const [name, value] of Object.entries(record)) {
    if (name === "url" || name === "sentinel") continue
    if (!isOptionName(name)) return invalid(`There is no option ${showName(name)}. ${suggestion(name)}`)
    if (value !== undefined) given.set(name, { value, where: "" })
  }
  return given
}

const readUrl = (text: string): Pick<Sources, "url" | "sentinel"> => {
  if (isSentinelUrl(text)) {
    const { sentinel, server } = valid(parseSentinelUrl(text))
    return { url: readParts(server), sentinel }
  }
  const url = valid(RedisUrl.parse(text))
  return { url: readParts(url), sentinel: undefined }
}

const readParts = (url: RedisUrl.RedisUrl): ReadonlyMap<OptionName, Given> => {
  const given = new Map<OptionName, Given>()
  const add = (name: OptionName, value: unknown): void => {
    if (value === undefined) return
    if (given.has(name)) invalid(`The URL says twice what \`${name}\` is; say it once`)
    given.set(name, { value, where: " of the URL" })
  }
  add("host", url.host)
  add("port", url.port)
  add("path", url.path)
  add("username", url.username)
  add("password", url.password)
  add("database", url.database)
  if (url.tls) add("tls", true)
  for (const [parameter, value] of url.query) {
    const name = parameter === "db" ? "database" : parameter
    if (!isQueryName(name)) return invalid(unknownParameter(parameter, url.query))
    add(name, kinds[name].read(value) ?? invalid(wrong(name, " of the URL", "something else")))
  }
  return given
}

/** Where there is an @, or what is in no name, this may be the rest of a password with a ? in it, and no query at all. */
const unknownParameter = (name: string, query: ReadonlyMap<string, string>): string => {
  if (/[^\w-]/.test(name) || [...query].some(([one, value]) => one.includes("@") || value.includes("@"))) {
    return "The URL names an option that there is not; if this is a part of a password, write its @ as %40, / as %2F, ? as %3F"
  }
  if (!isOptionName(name))
    return `There is no option ${showName(name)}, as in the query of the URL. ${suggestion(name)}`
  const instead = name === "onConnect" ? "pass it as an option" : "the parts before it do"
  return `The query of the URL cannot say what \`${name}\` is; ${instead}`
}

const showName = (name: string): string => JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name)

const wrong = (name: OptionName, where: string, what: string): string =>
  `The option \`${name}\`${where} must be ${name === "port" ? "a whole number from 1 to 65535" : kinds[name].must}, not ${what}`

const shown = (name: OptionName, value: unknown): string => (name === "password" ? "something else" : describe(value))

const checked = <A>(name: OptionName, kind: Kind<A, unknown>, given: Given | undefined): A | undefined => {
  if (given === undefined) return undefined
  const value = kind.check(given.value)
  return value === undefined ? invalid(wrong(name, given.where, shown(name, given.value))) : value
}

const resolveOrThrow = (input: unknown): Resolved => {
  const sources = readSources(input)
  const get = <A>(name: OptionName, kind: Kind<A, unknown>): A | undefined =>
    checked(name, kind, sources.record.get(name) ?? sources.url.get(name))
  const sentinel = readSentinel(sources)
  const endpoint = readEndpoint(sources)
  const username = get("username", kinds.username) ?? undefined
  const password = get("password", kinds.password) ?? undefined
  checkCredentials(username, password !== undefined, isEmptySecret(sources))
  const connectTimeoutMillis = get("connectTimeout", kinds.connectTimeout) ?? 5_000
  return {
    endpoint,
    address: sentinel === undefined ? RedisUrl.addressOf(endpoint) : `Sentinel's group ${sentinel.group}`,
    database: get("database", kinds.database) ?? 0,
    username,
    password,
    name: get("name", kinds.name),
    protocol: get("protocol", kinds.protocol) ?? "auto",
    timeoutMillis: get("timeout", kinds.timeout) ?? 5_000,
    connectTimeoutMillis,
    addressTimeoutMillis: get("addressTimeout", kinds.addressTimeout) ?? Math.max(250, connectTimeoutMillis / 4),
    closeTimeoutMillis: get("closeTimeout", kinds.closeTimeout) ?? 3_000,
    healthCheckIntervalMillis: get("healthCheckInterval", kinds.healthCheckInterval) ?? 10_000,
    stableAfterMillis: get("stableAfter", kinds.stableAfter) ?? 10_000,
    mailboxCommands: get("mailboxCommands", kinds.mailboxCommands) ?? 65_536,
    mailboxBytes: get("mailboxBytes", kinds.mailboxBytes) ?? 64 * 1024 * 1024,
    whenFull: get("whenFull", kinds.whenFull) ?? "suspend",
    inFlightCommands: get("inFlightCommands", kinds.inFlightCommands) ?? 16_384,
    inFlightBytes: get("inFlightBytes", kinds.inFlightBytes) ?? 64 * 1024 * 1024,
    whenDown: get("whenDown", kinds.whenDown) ?? "wait",
    backoffFirstMillis: get("backoffFirst", kinds.backoffFirst) ?? 50,
    backoffInitialMillis: get("backoffInitial", kinds.backoffInitial) ?? 100,
    backoffFactor: get("backoffFactor", kinds.backoffFactor) ?? 2,
    backoffCapMillis: get("backoffCap", kinds.backoffCap) ?? 3_000,
    start: get("start", kinds.start) ?? "background",
    readonly: get("readonly", kinds.readonly) ?? false,
    onConnect: checkOnConnect(get("onConnect", kinds.onConnect) ?? []),
    libraryName: get("libraryName", kinds.libraryName) ?? "relive",
    libraryVersion: get("libraryVersion", kinds.libraryVersion) ?? packageVersion,
    keyPrefix: get("keyPrefix", kinds.keyPrefix),
    leases: get("leases", kinds.leases) ?? 32,
    leaseIdleMillis: get("leaseIdle", kinds.leaseIdle) ?? 10_000,
    limits: {
      maxDepth: get("maxDepth", kinds.maxDepth) ?? defaultLimits.maxDepth,
      maxElements: get("maxElements", kinds.maxElements) ?? defaultLimits.maxElements,
      maxBulkBytes: get("maxBulkBytes", kinds.maxBulkBytes) ?? defaultLimits.maxBulkBytes,
      maxReplyBytes: get("maxReplyBytes", kinds.maxReplyBytes) ?? defaultLimits.maxReplyBytes,
      maxBigNumberDigits: get("maxBigNumberDigits", kinds.maxBigNumberDigits) ?? defaultLimits.maxBigNumberDigits
    },
    tls: checkTls(get("tls", kinds.tls) || undefined, endpoint),
    sentinel
  }
}

const checkTls = (tls: ResolvedTls | undefined, endpoint: Endpoint): ResolvedTls | undefined =>
  tls !== undefined && endpoint._tag === "Unix"
    ? invalid("The option `tls` is not for Unix sockets, which stay on this machine; leave it out, or use `host`")
    : tls

/** The version of this package (a test compares it with the package file). */
export const packageVersion = "0.0.0"

/**
 * A place in the record replaces the one of the URL. A host that is a path is a Unix socket; with a socket the port is 0,
 * or not there (Redix's rule).
 */
const readEndpoint = (sources: Sources): Endpoint => {
  const at = (source: ReadonlyMap<OptionName, Given>) => {
    const get = <A>(name: OptionName, kind: Kind<A, unknown>) => checked(name, kind, source.get(name))
    return { host: get("host", kinds.host), port: get("port", kinds.port), path: get("path", kinds.path) }
  }
  const own = at(sources.record)
  const url = at(sources.url)
  if (own.path !== undefined && own.host !== undefined) {
    return invalid("The options `path` and `host` are two places; keep `path` for a Unix socket, or `host` and `port`")
  }
  const host = own.host ?? url.host
  const socket = own.path ?? (host?.startsWith("/") ? host : own.host === undefined ? url.path : undefined)
  if (socket !== undefined) return unixEndpoint(socket, own.port)
  const port = own.port ?? url.port ?? 6379
  if (port === 0) invalid(wrong("port", "", "0"))
  return { _tag: "Tcp", host: host ?? "127.0.0.1", port }
}

/** Sentinels are a place of their own, so there can be no other. */
const readSentinel = (sources: Sources): ResolvedSentinel | undefined => {
  if (sources.sentinel === undefined) return undefined
  for (const name of ["host", "port", "path"] as const) {
    if (sources.record.has(name) || sources.url.has(name)) {
      return invalid(
        `The options \`sentinel\` and \`${name}\` are two places: the Sentinels say where the server is; leave \`${name}\` out`
      )
    }
  }
  return valid(checkSentinel(sources.sentinel))
}

const unixEndpoint = (path: string, port: number | undefined): Endpoint => {
  if (port !== undefined && port !== 0) {
    invalid("The option `port` must be 0 or left out with a Unix socket, which has no port")
  }
  return { _tag: "Unix", path }
}

const isEmptySecret = (sources: Sources): boolean => {
  const value = (sources.record.get("password") ?? sources.url.get("password"))?.value
  return value === "" || (Redacted.isRedacted(value) && Redacted.value(value) === "")
}

const checkCredentials = (username: string | undefined, hasPassword: boolean, isEmpty: boolean): void => {
  if (username !== undefined && !hasPassword) {
    invalid(
      'The option `username` needs a `password` beside it ("" for a user that has none). In a URL it is redis://user:password@host, and a password alone is redis://:password@host'
    )
  }
  if (username === undefined && isEmpty) {
    invalid("The option `password` is empty; leave it out where the server wants none")
  }
}

const checkOnConnect = (commands: ReadonlyArray<Command>): ReadonlyArray<Command> => {
  for (const [index, command] of commands.entries()) {
    const refusal = CommandTable.refusal(command, "onConnect")
    if (refusal !== undefined) invalid(`Command ${index + 1} of the option \`onConnect\`: ${refusal}`)
  }
  return commands
}
