import { Certificates } from "@relive/testing"
import { assert, describe, it } from "@effect/vitest"
import { createPrivateKey, X509Certificate } from "node:crypto"

const isSignedBy = (ca: string) => (cert: string) => new X509Certificate(cert).verify(new X509Certificate(ca).publicKey)

describe("Certificates", () => {
  it("are signed by their own authority, and by no other", () => {
    const [ours, theirs] = [Certificates.make(), Certificates.make()]
    for (const { cert, key } of [ours.server, ours.client]) {
      assert.isTrue(isSignedBy(ours.ca)(cert))
      assert.isFalse(isSignedBy(theirs.ca)(cert))
      assert.isTrue(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    }
  })

  it("name every address of a local server", () => {
    const server = new X509Certificate(Certificates.make().server.cert)
    assert.isDefined(server.checkHost("localhost"))
    for (const address of ["127.0.0.1", "::1"]) assert.isDefined(server.checkIP(address), address)
    assert.isUndefined(server.checkHost("example.com"))
  })

  it("have expired when that was asked for, and their authority has not", () => {
    const until = (cert: string) => new X509Certificate(cert).validToDate.getFullYear()
    const { ca, server, client } = Certificates.make({ isExpired: true })
    assert.deepStrictEqual([server.cert, client.cert, ca].map(until), [2020, 2020, 2049])
    assert.strictEqual(until(Certificates.make().server.cert), 2049)
  })
})
