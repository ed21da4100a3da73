/**
 * A throw-away certificate authority with one server and one client certificate (RFC 5280, ECDSA on P-256 with
 * SHA-256), made in a few milliseconds without any program. The authority's key is forgotten at once.
 *
 * @internal
 */
import * as Crypto from "node:crypto"
import type { Certificates, Options } from "../Certificates.ts"
import * as Der from "./der.ts"

const oid = {
  commonName: "2.5.4.3",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ecdsaWithSha256: "1.2.840.10045.4.3.2"
}

const signatureAlgorithm = Der.sequence(Der.objectIdentifier(oid.ecdsaWithSha256))

// Fixed dates: a certificate that lives for one test needs no clock. UTCTime reads 49 as 2049.
const valid = Der.sequence(Der.utcTime("200101000000Z"), Der.utcTime("491231235959Z"))
const expired = Der.sequence(Der.utcTime("200101000000Z"), Der.utcTime("200102000000Z"))

const name = (commonName: string): Buffer =>
  Der.sequence(Der.set(Der.sequence(Der.objectIdentifier(oid.commonName), Der.utf8String(commonName))))

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  Der.sequence(Der.objectIdentifier(id), ...(critical ? [Der.boolean(true)] : []), Der.octetString(value))

const authorityExtensions = [
  extension(oid.basicConstraints, true, Der.sequence(Der.boolean(true))),
  // keyCertSign is bit 5: the lowest two bits of the byte are unused.
  extension(oid.keyUsage, true, Der.bitString(Buffer.from([0b0000_0100]), 2))
]

// digitalSignature is bit 0.
const digitalSignature = extension(oid.keyUsage, true, Der.bitString(Buffer.from([0b1000_0000]), 7))

const dnsName = (text: string): Buffer => Der.implicit(2, Buffer.from(text, "latin1"))
const ipAddress = (bytes: ReadonlyArray<number>): Buffer => Der.implicit(7, Buffer.from(bytes))
const loopbackV6 = [...Array<number>(15).fill(0), 1]

const serverExtensions = [
  digitalSignature,
  extension(oid.extendedKeyUsage, false, Der.sequence(Der.objectIdentifier(oid.serverAuth))),
  extension(
    oid.subjectAltName,
    false,
    Der.sequence(dnsName("localhost"), ipAddress([127, 0, 0, 1]), ipAddress(loopbackV6))
  )
]

const clientExtensions = [
  digitalSignature,
  extension(oid.extendedKeyUsage, false, Der.sequence(Der.objectIdentifier(oid.clientAuth)))
]

const newKeys = () => Crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" })

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${(der.toString("base64").match(/.{1,64}/g) ?? []).join("\n")}\n-----END ${label}-----\n`

interface CertificateRequest {
  readonly subject: string
  readonly publicKey: Crypto.KeyObject
  readonly issuer: string
  readonly issuerKey: Crypto.KeyObject
  readonly validity: Buffer
  readonly extensions: ReadonlyArray<Buffer>
}

const issue = (request: CertificateRequest): string => {
  const toBeSigned = Der.sequence(
    Der.explicit(0, Der.unsignedInteger(Buffer.from([2]))), // version 3
    Der.unsignedInteger(Crypto.randomBytes(16)),
    signatureAlgorithm,
    name(request.issuer),
    request.validity,
    name(request.subject),
    request.publicKey.export({ type: "spki", format: "der" }),
    Der.explicit(3, Der.sequence(...request.extensions))
  )
  const signature = Crypto.sign("sha256", toBeSigned, { key: request.issuerKey, dsaEncoding: "der" })
  return pem("CERTIFICATE", Der.sequence(toBeSigned, signatureAlgorithm, Der.bitString(signature)))
}

/**
 * Makes an authority, a server certificate for `localhost`, `127.0.0.1` and `::1`, and a client certificate. With `isExpired`
 * the latter two were valid for one day of 2020.
 */
export const makeCertificates = (options: Options = {}): Certificates => {
  const authority = newKeys()
  const issuer = `Relive test authority ${Crypto.randomBytes(4).toString("hex")}`
  const validity = options.isExpired === true ? expired : valid
  const signed = (subject: string, extensions: ReadonlyArray<Buffer>) => {
    const keys = newKeys()
    return {
      cert: issue({
        subject,
        publicKey: keys.publicKey,
        issuer,
        issuerKey: authority.privateKey,
        validity,
        extensions
      }),
      key: keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString()
    }
  }
  return {
    ca: issue({
      subject: issuer,
      publicKey: authority.publicKey,
      issuer,
      issuerKey: authority.privateKey,
      validity: valid,
      extensions: authorityExtensions
    }),
    server: signed("localhost", serverExtensions),
    client: signed("relive test client", clientExtensions)
  }
}
