/**
 * Takes a Redis URL apart, by the syntax of RFC 3986.
 *
 * It is done by hand, and not with `URL`, because what is wrong must be said without showing a password: in a malformed URL
 * the password can be anywhere. So nothing of the text is shown before the last `@`, and what is shown of the rest is only
 * what was understood.
 *
 * ```
 * redis://user:password@host:6379/0?timeout=2s      also valkey, and rediss and valkeys for TLS
 * redis+unix:///run/redis.sock?database=1           also valkey+unix and unix
 * ```
 *
 * @internal
 */
import type * as Result from "effect/Result"
import * as Net from "node:net"
import type { Endpoint } from "../../RedisOptions.ts"
import { attempt, invalid } from "./invalid.ts"

/** The parts of a URL, percent-decoded. Absent parts are `undefined`. */
export interface RedisUrl {
  readonly tls: boolean
  readonly host: string | undefined
  readonly port: number | undefined
  readonly path: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number | undefined
  readonly query: ReadonlyMap<string, string>
}

interface Scheme {
  readonly tls: boolean
  readonly unix: boolean
}

const schemes: ReadonlyMap<string, Scheme> = new Map([
  ["redis", { tls: false, unix: false }],
  ["valkey", { tls: false, unix: false }],
  ["rediss", { tls: true, unix: false }],
  ["valkeys", { tls: true, unix: false }],
  ["redis+unix", { tls: false, unix: true }],
  ["valkey+unix", { tls: false, unix: true }],
  ["unix", { tls: false, unix: true }]
])

const forms =
  "redis://, valkey://, rediss://, valkeys:// (redis://user:password@host:6379/0), redis+unix://, valkey+unix:// or unix:// (unix:///run/redis.sock)"

/** Reads a URL. The failure is a message for a person, without anything secret. */
export const parse = (text: string): Result.Result<RedisUrl, string> => attempt(() => parseOrThrow(text))

const parseOrThrow = (text: string): RedisUrl => {
  const parts = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(text)
  if (parts === null) return invalid(`The URL must begin with one of ${forms}`)
  const [, schemeText = "", authority = "", path = "", query = "", fragment] = parts
  const name = schemeText.toLowerCase()
  const scheme = schemes.get(name) ?? invalid(`The URL must begin with one of ${forms}, not with ${name}://`)
  if (fragment !== undefined) {
    invalid(`The ${name}:// URL must not contain a #; in a username or password write it as %23`)
  }
  const place = splitAuthority(authority)
  // An @ further right is most likely the end of a password with a / or ? in it, so what stands there is not shown.
  if (!scheme.unix && (path.includes("@") || (query.includes("@") && !isDatabase(path)))) {
    invalid(
      `The ${name}:// URL has an @ in its path or query; in a username or password write @ as %40, / as %2F, ? as %3F`
    )
  }
  const credentials = splitUserinfo(place.userinfo)
  const shown = `${name}://${place.userinfo === undefined ? "" : "***@"}`
  return {
    tls: scheme.tls,
    ...(scheme.unix ? unixPlace(shown, place.hostport, path) : tcpPlace(shown, place.hostport, path)),
    ...credentials,
    query: splitQuery(query)
  }
}

const decode = (text: string, what: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return invalid(`The ${what} in the URL is not percent-encoded UTF-8; write a % as %25`)
  }
}

const splitAuthority = (authority: string): { userinfo: string | undefined; hostport: string } => {
  const at = authority.lastIndexOf("@")
  return at < 0
    ? { userinfo: undefined, hostport: authority }
    : { userinfo: authority.slice(0, at), hostport: authority.slice(at + 1) }
}

/** Only the first colon separates, so that a password may contain more. Empty parts count as absent, but for `user:@`. */
const splitUserinfo = (userinfo: string | undefined): Pick<RedisUrl, "username" | "password"> => {
  if (userinfo === undefined) return { username: undefined, password: undefined }
  const colon = userinfo.indexOf(":")
  const username = decode(colon < 0 ? userinfo : userinfo.slice(0, colon), "username")
  const password = colon < 0 ? undefined : decode(userinfo.slice(colon + 1), "password")
  if (username === "") return { username: undefined, password: password === "" ? undefined : password }
  return { username, password }
}

type Place = Pick<RedisUrl, "host" | "port" | "path" | "database">

const unixPlace = (shown: string, hostport: string, path: string): Place => {
  if (hostport !== "" || path.length < 2) {
    invalid(
      `The URL ${shown}… must name the absolute path of a socket after three slashes, as in unix:///run/redis.sock`
    )
  }
  return { host: undefined, port: undefined, path: decode(path, "path"), database: undefined }
}

const tcpPlace = (shown: string, hostport: string, path: string): Place => {
  if (/,|%2c/i.test(hostport)) {
    invalid(
      `The URL ${shown}… names several hosts, and a connection has one; name one, and write a , in a password before the @ as %2C`
    )
  }
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/s.exec(hostport)
  // More colons than one: an IPv6 address without brackets, or a password whose @host is missing.
  if (parts === null) {
    return invalid(
      `The URL ${shown}… must have the form host:port, with an IPv6 address in brackets: redis://[::1]:6379`
    )
  }
  const host = decode(parts[1] ?? "", "host")
  return {
    host: host === "" ? undefined : host,
    port: readPort(shown, parts[2]),
    path: undefined,
    database: readDatabase(shown, path)
  }
}

/** The port's text is not shown: in `redis://user:password` it is the password. */
const readPort = (shown: string, text: string | undefined): number | undefined => {
  if (text === undefined || text === "") return undefined
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65535) {
    invalid(`The port of the URL ${shown}… must be a whole number from 1 to 65535; a password needs an @ after it`)
  }
  return port
}

/** Whether there is nothing but perhaps the number of a database. */
const isDatabase = (path: string): boolean => /^(\/\d*)*$/.test(path)

/**
 * The path is the number of a database, or nothing. More segments may follow it, as the registration of the scheme allows, but
 * no number after an empty one: `${base}/1` with a base that ends in a slash would be database 0, and nobody would see it.
 */
const readDatabase = (shown: string, path: string): number | undefined => {
  const [, segment = "", ...rest] = path.split("/")
  if (segment === "") {
    return rest.some((more) => more !== "")
      ? invalid(`The path of the URL ${shown}… begins with two slashes; write the database after one, as in …:6379/1`)
      : undefined
  }
  const database = /^\d{1,10}$/.test(segment) ? Number(segment) : -1
  if (database < 0 || database > 2147483647) {
    // With anything but letters and digits in it, it is most likely a part of a password.
    const what = /^[\w.-]+$/.test(segment) ? JSON.stringify(`/${segment}`) : "what it is"
    invalid(`The database of the URL ${shown}… must be a whole number from 0, not ${what}`)
  }
  return database
}

/** `+` stays a plus: a query here is not a form. */
const splitQuery = (query: string): ReadonlyMap<string, string> => {
  const entries = new Map<string, string>()
  for (const part of query.split("&")) {
    if (part === "") continue
    const equals = part.indexOf("=")
    if (equals < 1)
      invalid("The query of the URL must have the form ?name=value&name=value; write a ? in a password as %3F")
    const name = decode(part.slice(0, equals), "query")
    if (entries.has(name)) invalid("The query of the URL names one option twice; name it once")
    entries.set(name, decode(part.slice(equals + 1), "query"))
  }
  return entries
}

/** A host as options take it: the name or address alone; brackets around an IPv6 address are taken off. */
export const readHost = (text: string): string | undefined => {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  if (Net.isIP(bare) !== 0) return bare
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text === "" || /[\s\u0000-\u001f\u007f:,/\\?#@[\]]/.test(text) ? undefined : text
}

/** `host:port` for people, with brackets around an IPv6 address. */
const showEndpoint = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

/** An endpoint as text: the path of a Unix socket, else `host:port`. */
export const addressOf = (endpoint: Endpoint): string =>
  endpoint._tag === "Unix" ? endpoint.path : showEndpoint(endpoint.host, endpoint.port)
