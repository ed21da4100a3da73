/**
 * The configuration of a server: its settings, from the options, and the files they are written to.
 *
 * @internal
 */
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Certificates } from "../Certificates.ts"
import type { Directive, Directives, Options } from "../RedisServer.ts"
import { makeCertificates } from "./certificates.ts"

/** Servers listen on loopback only. */
export const host = "127.0.0.1"

/** All that follows from the options, the port and the directory. */
export interface Settings {
  readonly port: number
  readonly directory: string
  readonly path: string | undefined
  readonly url: string
  readonly certificates: Certificates | undefined
  readonly directives: ReadonlyArray<Directives>
  /** The credentials that `command` logs in with. */
  readonly login: ReadonlyArray<string> | undefined
  readonly sentinel: boolean
  readonly startTimeoutMillis: number
}

// When a test brings its own ACL, the tools must not be locked out by it.
const toolUser = "relive-testing"

export const prepare = (options: Options, port: number, directory: string): Settings => {
  const password = options.password === undefined ? undefined : revealed(options.password)
  const path = options.unixSocket === true ? Path.join(directory, "redis.sock") : undefined
  const certificates = certificatesOf(options.tls)
  const toolPassword = Crypto.randomBytes(16).toString("hex")
  const credentials = password === undefined ? "" : `:${encodeURIComponent(password)}@`
  const scheme = certificates === undefined ? "redis" : "rediss"
  return {
    port,
    directory,
    path,
    url: `${scheme}://${credentials}${host}:${port}`,
    certificates,
    directives: [
      { bind: host, dir: quoted(directory), save: "", loglevel: "notice" },
      certificates === undefined ? { port } : tlsDirectives(options, port),
      path === undefined ? {} : { unixsocket: quoted(path) },
      password === undefined ? {} : { requirepass: quoted(password) },
      options.users === undefined ? {} : { user: userRules(options.users, toolPassword) },
      options.resp2Only === true ? { "rename-command": 'HELLO ""' } : {},
      options.appendOnly === true ? { appendonly: true, appendfsync: "always" } : {},
      options.config ?? {}
    ],
    login: options.users !== undefined ? [toolUser, toolPassword] : password !== undefined ? [password] : undefined,
    sentinel: options.sentinel === true,
    startTimeoutMillis: options.startTimeoutMillis ?? 10_000
  }
}

const certificatesOf = (tls: Options["tls"]): Certificates | undefined => {
  if (tls === undefined || tls === false) return undefined
  return (tls === true ? undefined : tls.certificates) ?? makeCertificates()
}

/** One authority for all, so that the servers trust each other. */
export const sharedTls = (tls: Options["tls"]): Options["tls"] => {
  if (tls === undefined || tls === false) return tls
  return { certificates: makeCertificates(), ...(tls === true ? {} : tls) }
}

export const revealed = (password: string | Redacted.Redacted): string =>
  Redacted.isRedacted(password) ? Redacted.value(password) : password

/** In double quotes, as the configuration file reads them. */
export const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`

const userRules = (users: Readonly<Record<string, string>>, toolPassword: string): ReadonlyArray<string> => [
  ...Object.entries(users).map(([name, rules]) => `${name} ${rules}`),
  `${toolUser} on >${toolPassword} ~* &* +@all`
]

const certificateFiles = {
  ca: "ca.crt",
  cert: "server.crt",
  key: "server.key",
  clientCert: "client.crt",
  clientKey: "client.key"
}

const tlsDirectives = (options: Options, port: number): Directives => {
  const clientCertificate = typeof options.tls === "object" ? options.tls.clientCertificate : undefined
  return {
    port: 0,
    "tls-port": port,
    "tls-ca-cert-file": certificateFiles.ca,
    "tls-cert-file": certificateFiles.cert,
    "tls-key-file": certificateFiles.key,
    // For what the server dials itself: its primary, or what a Sentinel watches.
    "tls-client-cert-file": certificateFiles.clientCert,
    "tls-client-key-file": certificateFiles.clientKey,
    "tls-auth-clients": clientCertificate === "required" ? true : "optional"
  }
}

export const configurationFile = "redis.conf"

const configurationLines = (directives: Directives): ReadonlyArray<string> =>
  Object.entries(directives).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one: Directive) => `${name} ${directiveText(one)}`)
  )

const directiveText = (value: Directive): string =>
  value === true ? "yes" : value === false ? "no" : value === "" ? '""' : String(value)

export const writeFiles = (settings: Settings): void => {
  const write = (file: string, text: string) =>
    Fs.writeFileSync(Path.join(settings.directory, file), text, { mode: 0o600 })
  write(configurationFile, `${settings.directives.flatMap(configurationLines).join("\n")}\n`)
  if (settings.certificates === undefined) return
  write(certificateFiles.ca, settings.certificates.ca)
  write(certificateFiles.cert, settings.certificates.server.cert)
  write(certificateFiles.key, settings.certificates.server.key)
  write(certificateFiles.clientCert, settings.certificates.client.cert)
  write(certificateFiles.clientKey, settings.certificates.client.key)
}
