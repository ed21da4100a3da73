/**
 * The option `sentinel`: what it may be, and what it comes to. A failure is a sentence for a person; it shows no password.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Address, ResolvedSentinel, ResolvedTls, SentinelNode } from "../../RedisOptions.ts"
import { attempt, invalid } from "./invalid.ts"
import { describe, duration, host, integer, isPlain, password, username, type Kind, type Secret } from "./kinds.ts"
import { tls } from "./tls.ts"
import * as RedisUrl from "./url.ts"

/** The port of Sentinels. */
export const SENTINEL_PORT = 26379

const names: ReadonlySet<string> = new Set([
  "sentinels",
  "group",
  "role",
  "timeout",
  "username",
  "password",
  "tls",
  "mapAddress"
])

const nodeNames: ReadonlySet<string> = new Set(["host", "port", "username", "password", "tls"])

const roles = ["primary", "replica", "preferReplica"] as const

const port = integer(1, 65535)
export const timeout = duration(1)

/** Checks the option. */
export const checkSentinel = (value: unknown): Result.Result<ResolvedSentinel, string> =>
  attempt(() => checkOrThrow(value))

const checkOrThrow = (value: unknown): ResolvedSentinel => {
  if (!isPlain(value)) {
    return invalid(
      `The option \`sentinel\` must be a record like { sentinels: ["redis://host:26379"], group: "mymaster" }, not ${describe(value)}`
    )
  }
  const unknown = Object.keys(value).find((name) => !names.has(name))
  if (unknown !== undefined) {
    invalid(`The option \`sentinel\` has no ${JSON.stringify(unknown.slice(0, 40))}; it has ${[...names].join(", ")}`)
  }
  const { group, sentinels } = value
  if (typeof group !== "string" || !/^[!-~]+$/.test(group)) {
    invalid(
      "The option `sentinel.group` must be the name by which the Sentinels know the servers, as in `mymaster`: a non-empty text without spaces"
    )
  }
  if (!Array.isArray(sentinels) || sentinels.length === 0) {
    return invalid(
      `The option \`sentinel.sentinels\` must be a list of at least one Sentinel, not ${Array.isArray(sentinels) ? "an empty one" : describe(sentinels)}`
    )
  }
  const common: Common = {
    username: get("username", username, value["username"]) ?? undefined,
    password: get("password", password, value["password"]) ?? undefined,
    tls: get("tls", tls, value["tls"]) || undefined
  }
  if (common.username !== undefined && common.password === undefined) {
    invalid("The option `sentinel.username` needs a `password` beside it")
  }
  return {
    group: String(group),
    role: readRole(value["role"]),
    timeoutMillis: get("timeout", timeout, value["timeout"]) ?? 500,
    sentinels: sentinels.map((node: unknown, index) => readNode(node, index, common)),
    template: { endpoint: { _tag: "Tcp", host: "", port: SENTINEL_PORT }, ...common },
    mapAddress: readMap(value["mapAddress"])
  }
}

interface Common {
  readonly username: string | undefined
  readonly password: Secret | undefined
  readonly tls: ResolvedTls | undefined
}

const get = <A>(name: string, kind: Kind<A, unknown>, value: unknown): A | undefined => {
  if (value === undefined) return undefined
  const attempt = kind.check(value)
  const shown = name === "password" ? "something else" : describe(value)
  return attempt === undefined ? invalid(`The option \`sentinel.${name}\` must be ${kind.must}, not ${shown}`) : attempt
}

const readRole = (value: unknown): ResolvedSentinel["role"] => {
  if (value === undefined) return "primary"
  const known = roles.find((role) => role === value)
  return (
    known ??
    invalid(`The option \`sentinel.role\` must be one of ${roles.map((role) => JSON.stringify(role)).join(", ")}`)
  )
}

/** One Sentinel: a URL or a record. What it does not say of credentials and TLS is said for all of them. */
const readNode = (value: unknown, index: number, common: Common): SentinelNode => {
  const plain: unknown = Redacted.isRedacted(value) ? Redacted.value(value) : value
  if (typeof plain === "string") return readNodeUrl(plain, index, common)
  if (plain instanceof URL) return readNodeUrl(plain.href, index, common)
  if (!isPlain(plain)) return invalid(wrongNode(index))
  const unknown = Object.keys(plain).find((name) => !nodeNames.has(name))
  if (unknown !== undefined) {
    invalid(`${placeOf(index)} has no ${JSON.stringify(unknown.slice(0, 40))}; it has ${[...nodeNames].join(", ")}`)
  }
  const name =
    typeof plain["host"] === "string" && !plain["host"].startsWith("/") ? host.check(plain["host"]) : undefined
  if (name === undefined) invalid(wrongNode(index))
  const own = `sentinels[${index}].`
  return {
    endpoint: {
      _tag: "Tcp",
      host: String(name),
      port: get(`${own}port`, port, plain["port"]) ?? SENTINEL_PORT
    },
    ...credentialsOf(
      get(`${own}username`, username, plain["username"]) ?? undefined,
      get("password", password, plain["password"]) ?? undefined,
      common
    ),
    tls: plain["tls"] === undefined ? common.tls : get(`${own}tls`, tls, plain["tls"]) || undefined
  }
}

/** A Sentinel of its own password has its own user, too. */
const credentialsOf = (
  own: string | undefined,
  secret: Secret | undefined,
  common: Common
): Pick<SentinelNode, "username" | "password"> =>
  secret === undefined
    ? { username: own ?? common.username, password: common.password }
    : { username: own, password: secret }

const readNodeUrl = (text: string, index: number, common: Common): SentinelNode =>
  Result.match(RedisUrl.parse(text), {
    onFailure: (problem) => invalid(`${placeOf(index)}: ${problem}`),
    onSuccess: (url) => {
      if (url.path !== undefined) return invalid(wrongNode(index))
      if (url.query.size > 0)
        invalid(`${placeOf(index)} is a URL with a query, which has no meaning there; leave it out`)
      const name = url.host === undefined ? "127.0.0.1" : RedisUrl.readHost(url.host)
      if (name === undefined) return invalid(wrongNode(index))
      const secret = url.password === undefined ? undefined : Effect.succeed(Redacted.make(url.password))
      return {
        endpoint: { _tag: "Tcp" as const, host: name, port: url.port ?? SENTINEL_PORT },
        ...credentialsOf(url.username, secret, common),
        tls: url.tls ? (common.tls ?? verified) : common.tls
      }
    }
  })

/** TLS with the defaults. */
const verified: ResolvedTls | undefined = tls.check(true) || undefined

const placeOf = (index: number): string => `The option \`sentinel.sentinels[${index}]\``

const wrongNode = (index: number): string =>
  `${placeOf(index)} must be a URL like redis://host:26379 or a record like { host: "host", port: 26379 }`

// ------------------------------------------------------------------------------------------------------------ addresses

type MapAddress = ResolvedSentinel["mapAddress"]

const asAnnounced: MapAddress = (announced) => announced

const readMap = (value: unknown): MapAddress => {
  if (value === undefined) return asAnnounced
  if (isMapFunction(value)) return (announced) => reachable(value(announced) ?? announced)
  if (!isPlain(value)) return invalid(wrongMap)
  const table = new Map<string, Address>()
  for (const [from, to] of Object.entries(value)) {
    const target = toAddress(to)
    if (target === undefined || toAddress(from) === undefined) return invalid(wrongMap)
    table.set(from, target)
  }
  return (announced) => table.get(RedisUrl.addressOf({ _tag: "Tcp", ...announced })) ?? announced
}

/** Checks what the function of a user has returned. */
const reachable = (address: unknown): Address => {
  const checked = isPlain(address) ? toAddress(address) : undefined
  if (checked === undefined) throw new TypeError(`it must return { host, port } or undefined, not ${describe(address)}`)
  return checked
}

const wrongMap =
  'The option `sentinel.mapAddress` must be a function from an announced { host, port } to a reachable one, or a record like { "10.0.0.1:6379": "localhost:7001" }'

/** A function. Its parameters and result are the type's promise: at run time all functions look alike. */
const isMapFunction = (value: unknown): value is (announced: Address) => Address | undefined =>
  typeof value === "function"

const toAddress = (value: unknown): Address | undefined => {
  if (isPlain(value)) {
    const name = typeof value["host"] === "string" ? host.check(value["host"]) : undefined
    const number = port.check(value["port"])
    return name === undefined || number === undefined ? undefined : { host: name, port: number }
  }
  if (typeof value !== "string") return undefined
  const [, name = "", digits = ""] = /^(.*):(\d{1,5})$/s.exec(value) ?? []
  return toAddress({ host: RedisUrl.readHost(name), port: Number(digits) })
}
