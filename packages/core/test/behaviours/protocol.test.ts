/** The codec's rows: bytes in, values out, whatever the chunks. The wider conformance cases are in `test/resp`. */
import { assert, describe, it } from "@effect/vitest"
import { Resp } from "@relive/core"
import { departs, encoded, notApplicable, overridden } from "./support.ts"

type Out = ReadonlyArray<Resp.Decoded<Resp.Reply>>

const feed = (chunks: ReadonlyArray<string | Uint8Array>, options?: Resp.DecoderOptions) => {
  const decoder = Resp.makeDecoder(options)
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  for (const chunk of chunks) decoder.push(Buffer.from(chunk), out)
  return { out, decoder }
}

/** Every way to cut these bytes in up to three, and all of them singly. */
function* cuts(wire: string | Uint8Array): Generator<ReadonlyArray<Uint8Array>> {
  const bytes = Buffer.from(wire)
  yield Array.from(bytes, (byte) => Uint8Array.of(byte))
  for (let i = 0; i <= bytes.length; i++) {
    for (let j = i; j <= bytes.length; j++) yield [bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)]
  }
}

/** These bytes give exactly these replies, however they are cut, and nothing is left over. */
const gives = (wire: string | Uint8Array, expected: Out, options?: Resp.DecoderOptions): void => {
  for (const chunks of cuts(wire)) {
    const { out, decoder } = feed(chunks, options)
    assert.deepStrictEqual(out, expected)
    assert.isTrue(decoder.idle)
  }
}

/** Where, and in which words, the grammar is broken. */
const breaks = (wire: string, expected: RegExp, offset: number): void => {
  for (const chunks of cuts(wire)) {
    const { error } = feed(chunks).decoder
    assert.match(error?.message ?? "", expected)
    assert.strictEqual(error?.offset, offset)
  }
}

const error = (text: string) => Resp.ReplyError.fromText(text)

describe("The encoder", () => {
  it(
    "PROTO-001 refuses a command without elements",
    departs(
      overridden(
        "PROTO-001",
        "an empty command is a RedisArgumentError before anything is sent: it has no reply to wait for"
      )
    ),
    () => {
      assert.instanceOf(Resp.encode([]), Resp.ArgumentFailure)
    }
  )

  it("PROTO-002 PROTO-003 PROTO-006 writes bulks with their lengths, spaces kept, numbers in decimal", () => {
    assert.strictEqual(encoded(["foo", "bar"]), "*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n")
    assert.strictEqual(encoded(["with spaces "]), "*1\r\n$12\r\nwith spaces \r\n")
    assert.strictEqual(encoded(["SET", "mykey", 1]), "*3\r\n$3\r\nSET\r\n$5\r\nmykey\r\n$1\r\n1\r\n")
  })

  it("PROTO-004 PROTO-005 counts bytes, not characters, and leaves bytes as they are", () => {
    assert.strictEqual(encoded(["føø"]), "*1\r\n$5\r\nføø\r\n")
    const chunks = Resp.encode(["SET", "k", Uint8Array.of(1, 2, 0xff, 13, 10)])
    assert.ok(Array.isArray(chunks))
    const wire = Buffer.concat(chunks.map((chunk: string | Uint8Array) => Buffer.from(chunk))).toString("latin1")
    assert.strictEqual(wire, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n\x01\x02\xff\r\n\r\n")
  })
})

describe("The decoder", () => {
  it("PROTO-007 makes nothing of an empty chunk", () => {
    const { out, decoder } = feed([""])
    assert.deepStrictEqual([out, decoder.error, decoder.idle], [[], undefined, true])
  })

  it("PROTO-008 PROTO-012 PROTO-014 PROTO-021 reads a value however it is cut", () => {
    gives("+OK\r\n", ["OK"])
    gives("+Abc019\r\n", ["Abc019"])
    for (const n of [0, 7, -1, 42, -1234567, 2 ** 31, -(2 ** 53 - 1)]) gives(`:${n}\r\n`, [n])
    for (const bytes of ["", "a", "\r\n", "a\r\nb\0", "\0\0"]) gives(`$${bytes.length}\r\n${bytes}\r\n`, [bytes])
    gives("*-1\r\n", [null])
  })

  it("PROTO-009 PROTO-020 PROTO-024 PROTO-026 keeps what follows a value in the same chunk", () => {
    for (const [wire, value] of [
      ["+s\r\n", "s"],
      ["-ERR no\r\n", error("ERR no")],
      [":12\r\n", 12],
      ["$3\r\nfoo\r\n", "foo"],
      ["$-1\r\n", null],
      ["*-1\r\n", null]
    ] as const) {
      gives(`${wire}+rest\r\n`, [value, "rest"])
    }
    gives("*1\r\n:1\r\n:2\r\n", [[1], 2])
    const { out, decoder } = feed(["*", "1\r", "\n", "+OK", "\r\n+rest"])
    assert.deepStrictEqual([out, decoder.idle], [[["OK"]], false])
    decoder.push(Buffer.from("\r\n"), [])
    assert.deepStrictEqual(feed(["*2\r\n+OK\r\n", "+OK\r\n+rest\r\n"]).out, [["OK", "OK"], "rest"])
  })

  it("PROTO-010 gives an error reply as a value", () => {
    gives("-ERR unknown command\r\n", [error("ERR unknown command")])
    gives("-x\r\n", [error("x")])
  })

  it("PROTO-013 keeps integers of 64 bits exact", () => {
    gives(":9223372036854775807\r\n", [9223372036854775807n])
    gives(":-9223372036854775808\r\n", [-9223372036854775808n])
    gives(":9007199254740993\r\n", [9007199254740993n])
  })

  it("PROTO-017 PROTO-018 PROTO-019 PROTO-022 PROTO-025 builds arrays, nested or with nulls", () => {
    gives("*0\r\n", [[]])
    gives("*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n", [["foo", "bar"]])
    gives("*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$6\r\nfoobar\r\n", [[1, 2, 3, 4, "foobar"]])
    gives("*4\r\n$3\r\nfoo\r\n$-1\r\n$3\r\nbar\r\n*-1\r\n", [["foo", null, "bar", null]])
    assert.deepStrictEqual(feed(["*2", "\r\n*1", "\r\n", "+", "OK\r\n", ":1", "\r\n"]).out, [[["OK"], 1]])
  })

  it("PROTO-023 leaves an error inside an array in its place", () => {
    const { out } = feed(["*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Foo\r\n-ERR Bar\r\n"])
    assert.deepStrictEqual(out, [
      [
        [1, 2, 3],
        ["Foo", error("ERR Bar")]
      ]
    ])
  })

  it("PROTO-016 PROTO-028 PROTO-030 PROTO-031 says what it expected and what it found", () => {
    breaks("$3\r\nfoonocrlf", /CR LF.*"n"/, 7)
    breaks(":\r\n", /an integer.*\\r/, 1)
    breaks(":43a\r\n", /CR LF.*"a"/, 3)
    breaks(":foo\r\n", /an integer.*"f"/, 1)
  })

  it(
    "PROTO-032 PROTO-034 gives replies as they are completed; how many belong to a call, the session counts",
    departs(
      notApplicable(
        "PROTO-032",
        "the decoder is not asked for n replies: it gives all there are, and each call takes its own"
      ),
      notApplicable(
        "PROTO-034",
        "the decoder is not asked for n replies: it gives all there are, and each call takes its own"
      )
    ),
    () => {
      assert.deepStrictEqual(feed(["+OK\r\n+OK\r\n+OK\r\n"]).out, ["OK", "OK", "OK"])
      const { decoder, out } = feed(["+OK\r\n"])
      assert.deepStrictEqual(out, ["OK"])
      decoder.push(Buffer.from("+OK\r\n"), out as Array<Resp.Decoded<Resp.Reply>>)
      assert.deepStrictEqual(out, ["OK", "OK"])
    }
  )

  it("PROTO-035 takes time in proportion to the bytes of a bulk that comes in many chunks", () => {
    const chunk = Buffer.alloc(1024, 97)
    const millis = (size: number): number => {
      const decoder = Resp.makeDecoder({ decode: "bytes" })
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      // Of the processor: what others do on the machine is not the decoder's.
      const start = process.cpuUsage()
      decoder.push(Buffer.from(`$${size}\r\n`), out)
      for (let sent = 0; sent < size; sent += chunk.length) decoder.push(chunk, out)
      decoder.push(Buffer.from("\r\n"), out)
      assert.ok(out[0] instanceof Uint8Array && out[0].length === size)
      const { system, user } = process.cpuUsage(start)
      return (user + system) / 1e3
    }
    millis(1024)
    const small = Math.min(millis(1024 * 1024), millis(1024 * 1024))
    // 70 times the bytes. Joining per chunk would be 4900 times the work; a busy machine gets a factor of ten.
    assert.isBelow(millis(70 * 1024 * 1024), 70 * 10 * Math.max(small, 1))
  })

  it("CLIENT-012 reads RESP3 exactly, cut anywhere, and a reply that nests too deep fails alone", () => {
    gives(",1.7976931348623157e+308\r\n", [Number.MAX_VALUE])
    gives(",5e-324\r\n", [5e-324])
    gives(",nan\r\n", [NaN])
    gives(":+1\r\n", [1])
    gives("(-1\r\n", [-1n])
    const [zero] = feed([",-0\r\n"]).out
    assert.isTrue(Object.is(zero, -0))
    gives("%1\r\n+a\r\n~2\r\n:1\r\n#t\r\n", [new Map([["a", new Set([1, true])]])])
    gives("|1\r\n+ttl\r\n:9\r\n=7\r\ntxt:abc\r\n_\r\n", ["abc", null])
    const { decoder, out } = feed([`${"*1\r\n".repeat(7000)}:1\r\n+next\r\n`])
    assert.ok(out[0] instanceof Resp.ReplyFailure && out[0].error._tag === "ReplyLimitError")
    assert.deepStrictEqual([out[0].error.limit, out[1], decoder.error], ["maxDepth", "next", undefined])
  })
})
