/**
 * The options of a connection: as a record, as a URL, from `Config`, and what they come to.
 *
 * There are three ways to say the same thing, and one meaning:
 *
 * - a record: `{ host: "cache", database: 2, timeout: "2 seconds" }`
 * - a URL: `redis://cache/2?timeout=2s` (options in the query under the names of the record; `db` is another name of `database`)
 * - the environment: `REDIS_HOST=cache REDIS_DATABASE=2 REDIS_TIMEOUT=2s`, or `REDIS_URL`
 *
 * A record may hold a `url`; the other options of the record then win over it. `resolve` is pure: it checks everything,
 * fills in the defaults and fails with a `RedisArgumentError` that names the option and what it must be. It never shows a
 * password, and the password is `Redacted` from then on.
 *
 * The scheme follows the provisional registrations of `redis` and `rediss` at IANA, read with RFC 3986.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Result from "effect/Result"
import type { PeerCertificate } from "node:tls"
import { optionsConfig } from "./internal/options/config.ts"
import { resolveOptions } from "./internal/options/resolve.ts"
import type { Command } from "./internal/resp/encoder.ts"
import type { RedisConnection } from "./RedisConnection.ts"
import type { RedisArgumentError } from "./RedisError.ts"
import type { SentinelStatus } from "./RedisService.ts"

export {
  /**
   * @category models
   * @since 0.1.0
   */
  type Argument,
  /**
   * @category models
   * @since 0.1.0
   */
  type Command
} from "./internal/resp/encoder.ts"

/**
 * A password as options take it. Give an effect where it changes: it is run again for each session, before the dial. One that
 * expires, such as a token of IAM or Entra, is given as an `ExpiringPassword`.
 *
 * @category models
 * @since 0.1.0
 */
export type Password =
  | string
  | Redacted.Redacted<string>
  | Effect.Effect<string | Redacted.Redacted<string> | ExpiringPassword, unknown>

/**
 * A password that holds for a while, as the effect of the option `password` gives it. When 80 % of `timeToLive` are over, the
 * effect is run again, and the connection says `AUTH` with the new one on its live session, between two commands. Should that fail,
 * it is logged and tried again until the old one has expired, when the server ends the session.
 *
 * Leases are not renewed: one that has expired is not used again.
 *
 * ```ts
 * import { Redis, type RedisOptions } from "@relive/core"
 * import { Effect, Redacted } from "effect"
 *
 * declare const fetchToken: Effect.Effect<{ readonly token: Redacted.Redacted<string>; readonly expiresIn: number }, Error>
 *
 * const password: RedisOptions.Password = Effect.map(fetchToken, ({ expiresIn, token }) => ({
 *   password: token,
 *   timeToLive: `${expiresIn} seconds`
 * }))
 * const layer = Redis.layer({ host: "cache.example", tls: true, username: "app", password })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface ExpiringPassword {
  readonly password: string | Redacted.Redacted<string>
  readonly timeToLive: Duration.Input
}

/**
 * A certificate, a key or a passphrase as options take it: PEM as text or bytes, or an effect that gives it again for each
 * session, before the dial, so that it may rotate. Where it is secret it is `Redacted` from then on.
 *
 * @category models
 * @since 0.1.0
 */
export type TlsMaterial = TlsValue | Effect.Effect<TlsValue, unknown>

/**
 * A certificate, a key or a passphrase.
 *
 * @category models
 * @since 0.1.0
 */
export type TlsValue = string | Uint8Array | Redacted.Redacted<string> | Redacted.Redacted<Uint8Array>

/**
 * How to speak TLS. `{}` is the same as `true`: the server is verified against the authorities that Node knows, for the name
 * it was asked by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tls {
  /** The certificates of the authorities to trust, in PEM, one after the other. Default: those that Node knows. */
  readonly ca?: TlsMaterial | undefined
  /** Our own certificate, in PEM, with the chain behind it. Needs a `key`. */
  readonly cert?: TlsMaterial | undefined
  /** The private key of `cert`, in PEM. */
  readonly key?: TlsMaterial | undefined
  /** The passphrase of `key`, where it is encrypted. */
  readonly passphrase?: TlsMaterial | undefined
  /** The name the server's certificate must be for, and that it is asked by (SNI). Default: the host. */
  readonly serverName?: string | undefined
  /**
   * Whether to turn away a server that cannot be verified. `false` makes TLS worth little: an attacker may listen. Default
   * `true`.
   */
  readonly rejectUnauthorized?: boolean | undefined
  /**
   * Instead of Node's own check that a certificate is for a name: an error refuses it, as in pinning. It runs after the chain
   * was verified, and must not throw.
   */
  readonly checkServerIdentity?: ((name: string, certificate: PeerCertificate) => Error | undefined) | undefined
}

/**
 * The options of a connection. All are optional; an option that is `undefined` counts as not given.
 *
 * Durations are `Duration.Input` (a number is milliseconds), at most 2^31-1 milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where and how, in one text: `redis://user:password@host:6379/0?timeout=2s`. The other options win over it. */
  readonly url?: string | URL | Redacted.Redacted<string> | undefined
  /** Name or address of the server, without the port. One that starts with `/` is a Unix socket. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Port of the server, 1 to 65535. Default 6379. */
  readonly port?: number | undefined
  /** Path of the server's Unix socket, instead of `host` and `port`. */
  readonly path?: string | undefined
  /** The database to `SELECT`, from 0. Default 0. */
  readonly database?: number | undefined
  /** The ACL user. Default: the server's `default` user. `null` drops the one in the URL. Needs a `password`. */
  readonly username?: string | null | undefined
  /**
   * The password, or an effect that gives it again for each session, perhaps with a time to live (`ExpiringPassword`). `null` drops
   * the one in the URL.
   */
  readonly password?: Password | null | undefined
  /** The name of the connection on the server (`CLIENT SETNAME`): printable ASCII without spaces. Default: none. */
  readonly name?: string | undefined
  /** RESP version: 2, 3, or `"auto"`, which is 3 where the server knows it. Default `"auto"`. */
  readonly protocol?: "auto" | 2 | 3 | undefined
  /** Deadline of a call, from the call to its reply; `"infinite"` for none. Default 5 seconds. */
  readonly timeout?: Duration.Input | "infinite" | undefined
  /** Deadline of a dial and its handshake. Default 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * How long the dial of each address but the last may take, where a name has several. Default a quarter of `connectTimeout`, at
   * least 250 milliseconds (which is all that Node gives by itself).
   */
  readonly addressTimeout?: Duration.Input | undefined
  /** How long closing waits for the calls under way. Default 3 seconds. */
  readonly closeTimeout?: Duration.Input | undefined
  /** After how long a silence the session is checked, and ended if it stays silent; `"infinite"` for never. Default 10 seconds. */
  readonly healthCheckInterval?: Duration.Input | "infinite" | undefined
  /** Sessions that were ready for less than this, one after the other, are dialled `backoffInitial` apart. Default 10 seconds. */
  readonly stableAfter?: Duration.Input | undefined
  /** The number of commands that may be queued. Default 65536. */
  readonly mailboxCommands?: number | undefined
  /** The number of bytes of commands that may be queued. Default 64 MiB. */
  readonly mailboxBytes?: number | undefined
  /** A call that finds the queue full waits for room, within its deadline, or fails at once. Default `"suspend"`. */
  readonly whenFull?: "suspend" | "fail" | undefined
  /** The number of commands that may be under way, sent and without a reply yet. Default 16384. */
  readonly inFlightCommands?: number | undefined
  /** The number of bytes of commands that may be under way, sent and without a reply yet. Default 64 MiB. */
  readonly inFlightBytes?: number | undefined
  /** A call made while there is no session waits for the next one, within its deadline, or fails at once. Default `"wait"`. */
  readonly whenDown?: "wait" | "fail" | undefined
  /** The longest delay before the dial after a session that was ready; the delay is random from 0. Default 50 ms. */
  readonly backoffFirst?: Duration.Input | undefined
  /** The delay before the dial after one that failed. Default 100 ms. */
  readonly backoffInitial?: Duration.Input | undefined
  /** The factor by which the delay grows with each further dial that fails; at least 1. Default 2. */
  readonly backoffFactor?: number | undefined
  /** The longest delay between dials, whatever the others say. Default 3 seconds. */
  readonly backoffCap?: Duration.Input | undefined
  /** `"background"`: starting does not wait for the server. `"await"`: it waits for the first session and fails with its error. Default `"background"`. */
  readonly start?: "background" | "await" | undefined
  /** Refuse every command that is not read-only, before it is sent. Default `false`. */
  readonly readonly?: boolean | undefined
  /** Commands to send at the start of each session, and on each lease, before any other. Default: none. */
  readonly onConnect?: ReadonlyArray<Command> | undefined
  /**
   * The library's name for `CLIENT SETINFO LIB-NAME`: printable ASCII without spaces. Default `relive`. An empty text leaves
   * `CLIENT SETINFO` out, for proxies that do not bear it.
   */
  readonly libraryName?: string | undefined
  /** The library's version for `CLIENT SETINFO LIB-VER`: printable ASCII without spaces. Default: the version of this package. */
  readonly libraryVersion?: string | undefined
  /**
   * Goes before every key of every command, also on leases and in scripts' `KEYS`, and is taken off where replies name keys
   * (`KEYS`, `SCAN`, `BLPOP` and its like, `XREAD`). Refused are commands whose keys the server chooses (`RANDOMKEY`, most of
   * `FT.*`, `TS.MRANGE`), and those that `CommandTable` does not know. Channels are no keys. Default: none.
   */
  readonly keyPrefix?: string | undefined
  /** The number of leases (connections of their own) that may be out at a time. Default 32. */
  readonly leases?: number | undefined
  /** How long an unused lease, or the connection for pub/sub, is kept for the next one. Default 10 seconds. */
  readonly leaseIdle?: Duration.Input | undefined
  /** How deep a reply may nest. Default 128. */
  readonly maxDepth?: number | undefined
  /** The number of elements that an aggregate of a reply may have; a pair of a map counts two. Default 2^26. */
  readonly maxElements?: number | undefined
  /** The number of bytes that a string of a reply may have. Default 512 MiB. */
  readonly maxBulkBytes?: number | undefined
  readonly maxReplyBytes?: number | undefined
  /** The number of digits that a big number of a reply may have. Default 4096. */
  readonly maxBigNumberDigits?: number | undefined
  /** Speak TLS, as the schemes `rediss` and `valkeys` do, not on Unix sockets. Default `false`. */
  readonly tls?: boolean | Tls | undefined
  /**
   * Ask Sentinels for the server, instead of `url`, `host`, `port` or `path`. The other options are the server's. As a URL:
   * `redis-sentinel://user:password@host:26379,host2:26379/0?group=mymaster`.
   */
  readonly sentinel?: Sentinel | undefined
}

/**
 * Sentinels, and the group of servers that they watch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sentinel {
  /**
   * The Sentinels, in the order in which they are asked: URLs (`redis://host:26379`, `rediss://user:password@host`) or records.
   * Those that these name are learned. The port is 26379 where there is none.
   */
  readonly sentinels: ReadonlyArray<string | URL | Redacted.Redacted<string> | SentinelAddress>
  /** The name of the group: what `sentinel monitor` calls the master. */
  readonly group: string
  /**
   * `"primary"`: the one that takes writes. `"replica"`: one of those that follow it. `"preferReplica"`: a replica, or the primary
   * while there is none. Default `"primary"`.
   */
  readonly role?: "primary" | "replica" | "preferReplica" | undefined
  /** How long one Sentinel may take to be dialled and to reply. Default 500 ms. */
  readonly timeout?: Duration.Input | undefined
  /** The ACL user at the Sentinels. Default: their `default` user. */
  readonly username?: string | null | undefined
  /** The password of the Sentinels, or an effect that is run for each connection. Default: none. */
  readonly password?: Password | null | undefined
  /** Speak TLS with the Sentinels; independent of the servers' `tls`. Default `false`. */
  readonly tls?: boolean | Tls | undefined
  /**
   * From an address that a Sentinel announces to one that can be reached from here, for containers and NAT: a function, where
   * `undefined` leaves it as it is, or a record like `{ "10.0.0.1:6379": "localhost:7001" }`. For servers and Sentinels.
   */
  readonly mapAddress?:
    | ((announced: Address) => Address | undefined)
    | Readonly<Record<string, string | Address>>
    | undefined
}

/**
 * One Sentinel as a record. What it does not say of credentials and TLS is said by the option `sentinel` for all.
 *
 * @category models
 * @since 0.1.0
 */
export interface SentinelAddress {
  readonly host: string
  readonly port?: number | undefined
  readonly username?: string | null | undefined
  readonly password?: Password | null | undefined
  readonly tls?: boolean | Tls | undefined
}

/**
 * A host, by its name or IP address, and a port.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * Where the server listens.
 *
 * @category models
 * @since 0.1.0
 */
export type Endpoint =
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number }
  | { readonly _tag: "Unix"; readonly path: string }

/**
 * The limits of a reply, see the options of the same names.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplyLimits {
  readonly maxDepth: number
  readonly maxElements: number
  readonly maxBulkBytes: number
  readonly maxReplyBytes: number
  readonly maxBigNumberDigits: number
}

/**
 * A secret of TLS, run again for each session.
 *
 * @category models
 * @since 0.1.0
 */
export type TlsSecret = Effect.Effect<Redacted.Redacted<string | Uint8Array>, unknown>

/**
 * The checked option `tls`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResolvedTls {
  readonly ca: TlsSecret | undefined
  readonly cert: TlsSecret | undefined
  readonly key: TlsSecret | undefined
  readonly passphrase: TlsSecret | undefined
  readonly serverName: string | undefined
  readonly rejectUnauthorized: boolean
  readonly checkServerIdentity: Tls["checkServerIdentity"]
}

/**
 * How to reach one Sentinel.
 *
 * @category models
 * @since 0.1.0
 */
export interface SentinelNode {
  readonly endpoint: Endpoint & { readonly _tag: "Tcp" }
  readonly username: string | undefined
  readonly password: Effect.Effect<Redacted.Redacted<string>, unknown> | undefined
  readonly tls: ResolvedTls | undefined
}

/**
 * The checked option `sentinel`. `template` is how Sentinels are reached that the others have named.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResolvedSentinel {
  readonly group: string
  readonly role: "primary" | "replica" | "preferReplica"
  readonly timeoutMillis: number
  readonly sentinels: ReadonlyArray<SentinelNode>
  readonly template: SentinelNode
  readonly mapAddress: (announced: Address) => Address
}

/**
 * Checked options, with the defaults filled in: what a connection is started from. All times are in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resolved {
  readonly endpoint: Endpoint
  /** The endpoint for messages: `host:port`, `[address]:port` or the path. */
  readonly address: string
  readonly database: number
  readonly username: string | undefined
  /** Run again for each session. */
  readonly password: Effect.Effect<Redacted.Redacted<string>, unknown> | undefined
  readonly name: string | undefined
  readonly protocol: "auto" | 2 | 3
  /** `Infinity` for none. */
  readonly timeoutMillis: number
  readonly connectTimeoutMillis: number
  readonly addressTimeoutMillis: number
  readonly closeTimeoutMillis: number
  /** `Infinity` for off. */
  readonly healthCheckIntervalMillis: number
  readonly stableAfterMillis: number
  readonly mailboxCommands: number
  readonly mailboxBytes: number
  readonly whenFull: "suspend" | "fail"
  readonly inFlightCommands: number
  readonly inFlightBytes: number
  readonly whenDown: "wait" | "fail"
  readonly backoffFirstMillis: number
  readonly backoffInitialMillis: number
  readonly backoffFactor: number
  readonly backoffCapMillis: number
  readonly start: "background" | "await"
  readonly readonly: boolean
  readonly onConnect: ReadonlyArray<Command>
  readonly libraryName: string
  readonly libraryVersion: string
  readonly keyPrefix: string | undefined
  readonly leases: number
  readonly leaseIdleMillis: number
  readonly limits: ReplyLimits
  readonly tls: ResolvedTls | undefined
  /** The Sentinels that are asked for the server; `endpoint` is not dialled then. */
  readonly sentinel?: ResolvedSentinel | undefined
  /** Finds the server for each session; `endpoint` is not dialled then. */
  readonly resolver?: Resolver | undefined
}

/**
 * The server that a `Resolver` has found.
 *
 * - `endpoint`: where to dial
 * - `role`: what `ROLE` must say there; anything else is a refusal that may pass
 * - `rejected`: called when the server there could not be used; `isOther` when it said itself that it has another role
 *
 * @category models
 * @since 0.1.0
 */
export interface Located {
  readonly endpoint: Endpoint
  readonly role?: "primary" | "replica" | undefined
  readonly rejected?: ((isOther: boolean) => void) | undefined
}

/**
 * Finds the server of a connection whose address is not an option: Sentinel is one. `resolve` runs again for each session and
 * each lease, within `connectTimeout`; its failure is a dial that failed, with the error's message. `label` stands for the address in errors, logs and
 * `Status` until there is one. `attach` is told of each connection that it serves (shared, leased, or for pub/sub), and returns
 * what is to be called at its end; `status` is what `Status` says of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resolver {
  readonly label: string
  readonly resolve: (connection: RedisConnection) => Effect.Effect<Located, Error>
  readonly attach?: ((connection: RedisConnection) => () => void) | undefined
  readonly status?: SentinelStatus | undefined
}

/**
 * The input of `resolve`: a URL (text, `URL`, or redacted text) or a record of options.
 *
 * @category models
 * @since 0.1.0
 */
export type Input = string | URL | Redacted.Redacted<string> | Options

/**
 * Checks options, reads their URL, and fills in the defaults. Pure: it opens nothing and runs no effect.
 *
 * Fails with a `RedisArgumentError` for an unknown option or query parameter, a value of the wrong type or out of its range,
 * a malformed URL, two places for one server (`path` with `host` or `port`), and commands in `onConnect` that do not
 * belong there. The message names the option and says what it must be; it shows no password.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resolve: (input: Input) => Result.Result<Resolved, RedisArgumentError> = resolveOptions

/**
 * The options in the environment, or whatever the `ConfigProvider` reads: each option's name in constant case under
 * `REDIS_`, as in `REDIS_URL`, `REDIS_HOST`, `REDIS_CONNECT_TIMEOUT`. Nothing set gives no options, which is
 * `redis://127.0.0.1:6379`. As in a record, the others win over `REDIS_URL`.
 *
 * Durations are milliseconds or have a unit (`250`, `250ms`, `2s`, `1 minute`); an empty value counts as not set.
 * `onConnect` has no text form. A `REDIS_PORT` of the form `tcp://…` is passed over: Kubernetes sets it beside a service
 * that is named `redis`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = optionsConfig
