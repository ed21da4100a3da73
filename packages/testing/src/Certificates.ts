/**
 * Throw-away certificates for tests of TLS, made in the process in a few milliseconds: `openssl` is not needed.
 *
 * `RedisServer` and `FakeServer` make their own when they are asked for TLS. This module is for what they do not offer: a
 * certificate that has expired, one of an authority the client does not trust, a TLS server of your own.
 *
 * ```ts
 * import { Certificates } from "@relive/testing"
 * import * as Tls from "node:tls"
 *
 * const old = Certificates.make({ isExpired: true })
 * const server = Tls.createServer(old.server)
 * const tlsOptionsOfTheClient = { ca: old.ca }
 * ```
 *
 * @since 0.1.0
 */
import { makeCertificates } from "./internal/certificates.ts"

/**
 * A certificate and its private key, as PEM texts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/**
 * An authority and what it signed: the authority's certificate as PEM text, a server certificate for `localhost`,
 * `127.0.0.1` and `::1`, and a client certificate. Nothing else can be signed: the authority's key is forgotten at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Certificates {
  readonly ca: string
  readonly server: Certificate
  readonly client: Certificate
}

/**
 * The certificates to make.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The server's and the client's certificates were valid for one day of 2020. Default: false, valid until 2049. */
  readonly isExpired?: boolean | undefined
}

/**
 * Makes an authority with a server and a client certificate: each call another authority, which trusts none of the others.
 * ECDSA on P-256 with SHA-256 (RFC 5280). Not for anything but tests.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Certificates => makeCertificates(options)
