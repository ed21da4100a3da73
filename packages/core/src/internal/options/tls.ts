/**
 * The option `tls`: what it may be, and what it comes to. Nothing here shows a value.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { ResolvedTls, Tls, TlsSecret } from "../../RedisOptions.ts"
import { boolean, host, isPlain, type Kind } from "./kinds.ts"

const secretNames = ["ca", "cert", "key", "passphrase"] as const

const names: ReadonlySet<string> = new Set([
  ...secretNames,
  "serverName",
  "rejectUnauthorized",
  "checkServerIdentity"
] satisfies ReadonlyArray<keyof Tls>)

/** TLS on, off, or on with details. */
export const tls: Kind<ResolvedTls | false, boolean> = {
  must:
    "true, false, or a record of `ca`, `cert` with `key`, `passphrase` (each a PEM text or bytes, Redacted or not, or an effect " +
    "that gives one), `serverName`, `rejectUnauthorized` (a boolean) and `checkServerIdentity` (a function)",
  check: (value) => {
    if (typeof value === "boolean") return value ? details({}) : false
    return isPlain(value) ? details(value) : undefined
  },
  read: boolean.read
}

const details = (record: Record<string, unknown>): ResolvedTls | undefined => {
  if (Object.keys(record).some((name) => !names.has(name))) return undefined
  const { checkServerIdentity, rejectUnauthorized, serverName } = record
  const [ca, cert, key, passphrase] = secretNames.map((name) => toSecret(name, record[name]))
  const name = serverName === undefined ? undefined : host.check(serverName)
  const isWrong =
    [ca, cert, key, passphrase].includes("wrong") ||
    (cert === undefined) !== (key === undefined) ||
    (passphrase !== undefined && key === undefined) ||
    (serverName !== undefined && name === undefined) ||
    (rejectUnauthorized !== undefined && typeof rejectUnauthorized !== "boolean") ||
    (checkServerIdentity !== undefined && !isCheck(checkServerIdentity))
  if (isWrong) return undefined
  return {
    ca: present(ca),
    cert: present(cert),
    key: present(key),
    passphrase: present(passphrase),
    serverName: name,
    rejectUnauthorized: rejectUnauthorized !== false,
    checkServerIdentity: isCheck(checkServerIdentity) ? checkServerIdentity : undefined
  }
}

type Read = TlsSecret | "wrong" | undefined

const present = (secret: Read): TlsSecret | undefined => (secret === "wrong" ? undefined : secret)

/** A function. Its parameters and result are the type's promise: at run time all functions look alike. */
const isCheck = (value: unknown): value is NonNullable<Tls["checkServerIdentity"]> => typeof value === "function"

const toSecret = (name: string, value: unknown): Read => {
  if (value === undefined) return undefined
  const fixed = redacted(value)
  if (fixed !== undefined) return Effect.succeed(fixed)
  return isSecretEffect(value) ? Effect.flatMap(value, (given) => supplied(name, given)) : "wrong"
}

/** That it needs no services is the type's promise too. */
const isSecretEffect = (value: unknown): value is Effect.Effect<unknown, unknown> => Effect.isEffect(value)

const redacted = (value: unknown): Redacted.Redacted<string | Uint8Array> | undefined => {
  const plain: unknown = Redacted.isRedacted(value) ? Redacted.value(value) : value
  const isFit = (typeof plain === "string" && plain !== "") || (plain instanceof Uint8Array && plain.length > 0)
  return isFit ? Redacted.make<string | Uint8Array>(plain) : undefined
}

const supplied = (name: string, value: unknown): TlsSecret => {
  const secret = redacted(value)
  return secret === undefined
    ? Effect.fail(new TypeError(`The effect given as \`tls.${name}\` must give a PEM text or bytes, Redacted or not`))
    : Effect.succeed(secret)
}
