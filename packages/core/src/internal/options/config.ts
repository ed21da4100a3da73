/**
 * The options as a `Config`: one optional text for each, read by its kind. A `ConfigError` names the variable and says what
 * it must be; it never holds the text, which may be a password in the wrong place.
 *
 * @internal
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Options } from "../../RedisOptions.ts"
import { choice, type Kind } from "./kinds.ts"
import { timeout as sentinelTimeout } from "./sentinel.ts"
import { kinds } from "./table.ts"

const prefix = "REDIS"

/** `connectTimeout` is `CONNECT_TIMEOUT`. */
const constantCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** The variable of an option: absent and empty are the same. It is redacted on its way, so that no error shows it. */
const variable = (name: string): Config.Config<string | undefined> =>
  Config.option(Config.Redacted(constantCase(name))).pipe(
    Config.map((text) => Option.getOrUndefined(Option.map(text, Redacted.value)) || undefined)
  )

const read = <In>(
  name: string,
  kind: Kind<unknown, In>,
  text: string | undefined
): Effect.Effect<In | undefined, Config.ConfigError> => {
  if (text === undefined) return Effect.succeed(undefined)
  const value = kind.read(text)
  if (value !== undefined) return Effect.succeed(value)
  const message = `${prefix}_${constantCase(name)} must be ${kind.must}`
  return Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))
}

const option = <In>(name: string, kind: Kind<unknown, In>): Config.Config<In | undefined> =>
  Config.mapEffect(variable(name), (text) => read(name, kind, text))

/** Kubernetes gives each container `REDIS_PORT=tcp://10.0.0.1:6379` where a service is named `redis`. */
const isKubernetesPort = (text: string | undefined): boolean => text?.startsWith("tcp://") === true

const port = Config.mapEffect(variable("port"), (text) =>
  read("port", kinds.port, isKubernetesPort(text) ? undefined : text)
)

/** `REDIS_DB` is what many environments call it. `REDIS_DATABASE` wins. */
const database = Config.mapEffect(Config.all([variable("database"), variable("db")]), ([database, db]) =>
  database === undefined ? read("db", kinds.database, db) : read("database", kinds.database, database)
)

const url = Config.map(variable("url"), (text) => (text === undefined ? undefined : Redacted.make(text)))

/** `host:26379,host2:26379`; each may be a URL, too. */
const sentinels = Config.map(variable("sentinelSentinels"), (text) =>
  text?.split(",").map((node) => Redacted.make(node.includes("://") ? node.trim() : `redis://${node.trim()}`))
)

/** The option `sentinel`, when there is any variable of it: what is missing then is its own error. */
const sentinel = Config.map(
  Config.all({
    sentinels,
    group: variable("sentinelGroup"),
    role: option("sentinelRole", choice("primary", "replica", "preferReplica")),
    timeout: option("sentinelTimeout", sentinelTimeout),
    username: option("sentinelUsername", kinds.username),
    password: option("sentinelPassword", kinds.password),
    tls: option("sentinelTls", kinds.tls)
  }),
  (given) =>
    Object.values(given).every((value) => value === undefined)
      ? undefined
      : { ...given, sentinels: given.sentinels ?? [], group: given.group ?? "" }
)

/** See `RedisOptions.config`. */
export const optionsConfig: Config.Config<Options> = Config.all({
  url,
  host: option("host", kinds.host),
  port,
  path: option("path", kinds.path),
  database,
  username: option("username", kinds.username),
  password: option("password", kinds.password),
  name: option("name", kinds.name),
  protocol: option("protocol", kinds.protocol),
  timeout: option("timeout", kinds.timeout),
  connectTimeout: option("connectTimeout", kinds.connectTimeout),
  addressTimeout: option("addressTimeout", kinds.addressTimeout),
  closeTimeout: option("closeTimeout", kinds.closeTimeout),
  healthCheckInterval: option("healthCheckInterval", kinds.healthCheckInterval),
  stableAfter: option("stableAfter", kinds.stableAfter),
  mailboxCommands: option("mailboxCommands", kinds.mailboxCommands),
  mailboxBytes: option("mailboxBytes", kinds.mailboxBytes),
  whenFull: option("whenFull", kinds.whenFull),
  inFlightCommands: option("inFlightCommands", kinds.inFlightCommands),
  inFlightBytes: option("inFlightBytes", kinds.inFlightBytes),
  whenDown: option("whenDown", kinds.whenDown),
  backoffFirst: option("backoffFirst", kinds.backoffFirst),
  backoffInitial: option("backoffInitial", kinds.backoffInitial),
  backoffFactor: option("backoffFactor", kinds.backoffFactor),
  backoffCap: option("backoffCap", kinds.backoffCap),
  start: option("start", kinds.start),
  readonly: option("readonly", kinds.readonly),
  libraryName: option("libraryName", kinds.libraryName),
  libraryVersion: option("libraryVersion", kinds.libraryVersion),
  keyPrefix: option("keyPrefix", kinds.keyPrefix),
  leases: option("leases", kinds.leases),
  leaseIdle: option("leaseIdle", kinds.leaseIdle),
  maxDepth: option("maxDepth", kinds.maxDepth),
  maxElements: option("maxElements", kinds.maxElements),
  maxBulkBytes: option("maxBulkBytes", kinds.maxBulkBytes),
  maxReplyBytes: option("maxReplyBytes", kinds.maxReplyBytes),
  maxBigNumberDigits: option("maxBigNumberDigits", kinds.maxBigNumberDigits),
  tls: option("tls", kinds.tls),
  sentinel
}).pipe(Config.nested(prefix))
