/**
 * TLS for one session: the certificates are read, the socket is secured, and what goes wrong is said in words: which of
 * ours is wrong, which of the server's, or that it does not speak TLS at all.
 *
 * The server is verified as browsers do (RFC 5280, RFC 6125): its chain must end at a known authority, it must be valid now
 * and be for the name that was asked for. That name is `serverName`, or else the host. An IP address is never sent as the
 * server's name (RFC 6066, section 3), but the certificate must be for it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { X509Certificate } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { ResolvedTls, TlsSecret } from "../../RedisOptions.ts"
import { withoutStack } from "../errors.ts"
import { sessionEnd } from "./sessionEnd.ts"
import type { SessionEnd } from "./sessionEnd.ts"

/** It may be otherwise next time. */
const transient = (detail: string, cause?: unknown): SessionEnd =>
  sessionEnd({ kind: "connect", detail, permanent: false, cause })

/** It will be the same next time, until a certificate or an option changes. */
const refusal = (detail: string, cause?: unknown): SessionEnd =>
  sessionEnd({ kind: "handshake", detail, permanent: true, cause })

// ------------------------------------------------------------------------------------------------------------- errors

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : ""

/** Node's error without what it carries along: whole certificates, OpenSSL's stack of errors. */
const bare = (error: Error): Error =>
  withoutStack(() => Object.assign(new Error(error.message), { name: error.name, code: codeOf(error) }))

/** Node's errors about a chain that it does not trust. */
const untrusted: ReadonlySet<string> = new Set([
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_UNTRUSTED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_CHAIN_TOO_LONG",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "PATH_LENGTH_EXCEEDED",
  "CERT_REJECTED",
  "CERT_REVOKED",
  "ERROR_IN_CERT_NOT_BEFORE_FIELD",
  "ERROR_IN_CERT_NOT_AFTER_FIELD"
])

const ofCertificate = (code: string, message: string, name: string): string | undefined => {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the server's certificate is not for ${name}; set \`tls.serverName\` to a name that it is for`
  }
  if (code === "CERT_HAS_EXPIRED") return "the server's certificate has expired"
  if (code === "CERT_NOT_YET_VALID") return "the server's certificate is not valid yet; is the clock right?"
  if (untrusted.has(code)) {
    return `the server's certificate is not trusted (${message}); set \`tls.ca\` to the authority that signed it`
  }
  return undefined
}

/** Alerts (RFC 8446, section 6) by which the server refuses us. */
const ofAlert = (code: string): string | undefined => {
  if (!/^ERR_SSL_.*ALERT/.test(code)) return undefined
  if (/CERTIFICATE_REQUIRED|NO_CERTIFICATE/.test(code)) {
    return "the server wants a client certificate; set `tls.cert` and `tls.key`"
  }
  if (
    /UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED)|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED/.test(code)
  ) {
    return "the server does not accept our certificate; check `tls.cert` and `tls.key`"
  }
  if (/UNRECOGNIZED_NAME/.test(code))
    return "the server does not know the name it was asked for; check `tls.serverName`"
  if (/HANDSHAKE_FAILURE|PROTOCOL_VERSION|INSUFFICIENT_SECURITY/.test(code)) {
    return "the server and we have no version of TLS or no cipher in common, or it wants a client certificate (`tls.cert`, `tls.key`)"
  }
  return undefined
}

const noTls = "the server does not speak TLS there; use redis:// or `tls: false`, or the port where it does"

const notSpoken =
  /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNEXPECTED_MESSAGE|BAD_RECORD_TYPE|RECORD_TOO/

/** The end of a session by a failed TLS socket: at its handshake, or at the first read after it. */
export const tlsFailed = (error: Error, name: string): SessionEnd => {
  const code = codeOf(error)
  const certificate = ofCertificate(code, error.message, name) ?? ofAlert(code)
  if (certificate !== undefined) return refusal(certificate, bare(error))
  if (code.startsWith("ERR_SSL_") && notSpoken.test(code)) return refusal(noTls, bare(error))
  if (code.startsWith("ERR_SSL_UNSUPPORTED_PROTOCOL")) {
    return refusal("the server and we have no version of TLS in common", bare(error))
  }
  return transient(`the TLS handshake failed: ${error.message}`, bare(error))
}

/** Does the error of a socket that was secured already come from TLS? In TLS 1.3 the server judges us after the handshake. */
export const refusesUs = (error: unknown): SessionEnd | undefined => {
  if (!(error instanceof Error)) return undefined
  const detail = ofAlert(codeOf(error))
  return detail === undefined ? undefined : refusal(detail, bare(error))
}

/** The first byte that a TLS server sends back to plain text: an alert, or a handshake record. */
export const isTlsRecord = (firstByte: number): boolean => firstByte === 0x15 || firstByte === 0x16

// ---------------------------------------------------------------------------------------------------------- material

type Material = string | Buffer

const toNode = (secret: Redacted.Redacted<string | Uint8Array>): Material => {
  const value = Redacted.value(secret)
  return typeof value === "string" ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

const read = (name: string, secret: TlsSecret | undefined): Effect.Effect<Material | undefined, SessionEnd> =>
  secret === undefined
    ? Effect.succeed(undefined)
    : Effect.mapError(Effect.map(secret, toNode), (cause) =>
        transient(`the effect of the option \`tls.${name}\` failed`, cause)
      )

const isCertificate = (pem: Material): boolean => {
  try {
    return Boolean(new X509Certificate(pem))
  } catch {
    return false
  }
}

/** The parts of a secure context. */
interface Files {
  readonly ca: Material | undefined
  readonly cert: Material | undefined
  readonly key: Material | undefined
  readonly passphrase: string | undefined
}

/** OpenSSL says only that something is wrong; trying them one by one tells what. */
const contextOf = (options: Files): Tls.SecureContext | SessionEnd => {
  const attempt = (some: Tls.SecureContextOptions): Tls.SecureContext | Error => {
    try {
      return Tls.createSecureContext(some)
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }
  const { ca, cert, key, passphrase } = options
  // OpenSSL passes over what is no certificate here, and would trust nobody.
  if (ca !== undefined && !isCertificate(ca)) return refusal("the option `tls.ca` is not a certificate in PEM")
  const all = attempt(options)
  if (!(all instanceof Error)) return all
  if (cert !== undefined && attempt({ cert }) instanceof Error) {
    return refusal("the option `tls.cert` is not a certificate in PEM", bare(all))
  }
  if (key !== undefined && attempt({ key, passphrase }) instanceof Error) {
    return refusal("the option `tls.key` is not a private key in PEM, or `tls.passphrase` does not open it", bare(all))
  }
  return refusal("the options `tls.cert` and `tls.key` do not belong together", bare(all))
}

/** The certificates of a session, read again so that they may rotate. */
export const secureContext = (tls: ResolvedTls): Effect.Effect<Tls.SecureContext, SessionEnd> =>
  Effect.gen(function* () {
    const ca = yield* read("ca", tls.ca)
    const cert = yield* read("cert", tls.cert)
    const key = yield* read("key", tls.key)
    const passphrase = yield* read("passphrase", tls.passphrase)
    const context = contextOf({ ca, cert, key, passphrase: passphrase?.toString() })
    return "_tag" in context ? yield* context : context
  })

// ------------------------------------------------------------------------------------------------------------- socket

/** The check of the name, by the user's function or by Node's. It runs in OpenSSL's callback, so it must not throw. */
const checkName = (name: string, tls: ResolvedTls, certificate: Tls.PeerCertificate): Error | undefined => {
  if (tls.checkServerIdentity === undefined) return Tls.checkServerIdentity(name, certificate)
  try {
    return tls.checkServerIdentity(name, certificate)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** Shakes hands on an open socket. Interruptible; the caller destroys the raw socket. */
export const secure = (
  raw: Net.Socket,
  host: string,
  tls: ResolvedTls,
  secureContext: Tls.SecureContext
): Effect.Effect<Tls.TLSSocket, SessionEnd> =>
  Effect.callback((resume) => {
    const name = tls.serverName ?? host
    let wrongName: Error | undefined
    const socket = Tls.connect({
      socket: raw,
      secureContext,
      servername: Net.isIP(name) === 0 ? name : "",
      rejectUnauthorized: tls.rejectUnauthorized,
      checkServerIdentity: (_, certificate) => (wrongName = checkName(name, tls, certificate))
    })
    const explained = (error: Error): SessionEnd =>
      error === wrongName && tls.checkServerIdentity !== undefined
        ? refusal(`the server's certificate was refused by \`tls.checkServerIdentity\`: ${error.message}`, error)
        : tlsFailed(error, name)
    // Stays: an error while nobody listens must not end the process.
    socket.on("error", (error) => resume(Effect.fail(explained(error))))
    socket.once("close", () => resume(Effect.fail(transient("the server closed the connection in the TLS handshake"))))
    socket.once("secureConnect", () => resume(Effect.succeed(socket)))
    return Effect.sync(() => {
      socket.destroy()
    })
  })

// ------------------------------------------------------------------------------------------------------------- probes

/** How long a server may take to show what it speaks. */
const PROBE_MILLIS = 1000

const PLUS = 0x2b
const MINUS = 0x2d

/** Whether the server replies to a plain `PING` as Redis does. */
const answersPlain = (connect: () => Net.Socket): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = connect()
    const end = (plain: boolean) => {
      socket.destroy()
      resume(Effect.succeed(plain))
    }
    socket.on("error", () => end(false))
    socket.on("close", () => end(false))
    socket.once("data", (data) => end(data[0] === PLUS || data[0] === MINUS))
    socket.once("connect", () => socket.write("PING\r\n"))
    return Effect.sync(() => {
      socket.destroy()
    })
  })

/** Whether the server speaks TLS, whatever it thinks of us and we of it. */
const answersTls = (connect: () => Net.Socket): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const raw = connect()
    const socket = Tls.connect({ socket: raw, rejectUnauthorized: false, servername: "" })
    const end = (speaksTls: boolean) => {
      socket.destroy()
      raw.destroy()
      resume(Effect.succeed(speaksTls))
    }
    raw.on("error", () => end(false))
    socket.on("error", (error) => end(ofAlert(codeOf(error)) !== undefined))
    socket.on("close", () => end(false))
    socket.once("secureConnect", () => end(true))
    return Effect.sync(() => {
      socket.destroy()
      raw.destroy()
    })
  })

export const tlsOnPlainPort = refusal("the server speaks TLS there; use rediss:// or the option `tls`")

/**
 * Why a server that was spoken to without TLS went away without a word: a TLS server does so, and a handshake of its own
 * tells it from one that is being restarted.
 */
export const diagnoseSilentClose = (connect: () => Net.Socket, otherwise: SessionEnd): Effect.Effect<SessionEnd> =>
  Effect.map(Effect.timeoutOption(answersTls(connect), PROBE_MILLIS), (answer) =>
    Option.getOrElse(answer, () => false) ? tlsOnPlainPort : otherwise
  )

/**
 * Fails once it is known that the server speaks plain Redis. Such a server is silent in a TLS handshake (it takes it for
 * the beginning of a long line), and only a plain `PING`, on a connection of its own, tells it from a slow one.
 */
export const failOnPlaintextServer = (
  connect: () => Net.Socket,
  connectTimeoutMillis: number
): Effect.Effect<never, SessionEnd> =>
  Effect.sleep(Math.min(PROBE_MILLIS, connectTimeoutMillis / 3)).pipe(
    Effect.andThen(answersPlain(connect)),
    Effect.flatMap((plain) => (plain ? Effect.fail(refusal(noTls)) : Effect.never))
  )
