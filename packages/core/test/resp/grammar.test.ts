/**
 * The corners of the grammar, one line each: what comes out, or which byte is wrong. Every case is fed whole and byte by byte,
 * and wrong bytes must be seen at once, before anything after them has come.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it } from "@effect/vitest"
import { shown } from "../respMapping.ts"

const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1")

const feed = (chunks: ReadonlyArray<Uint8Array>, options?: Resp.DecoderOptions) => {
  const decoder = Resp.makeDecoder(options)
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  for (const chunk of chunks) decoder.push(chunk, out)
  return { out, error: decoder.error, idle: decoder.idle }
}

const bytewise = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => Array.from(bytes, (byte) => Uint8Array.of(byte))

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

const gives = (wire: string, ...values: ReadonlyArray<unknown>): void => {
  it(`reads ${quoted(wire)}`, () => {
    for (const chunks of [[bytesOf(wire)], bytewise(bytesOf(wire))]) {
      const { error, idle, out } = feed(chunks)
      assert.isUndefined(error?.message)
      assert.strictEqual(shown(out), shown(values))
      assert.isTrue(idle)
    }
  })
}

const error = (text: string): Resp.ReplyError => Resp.ReplyError.fromText(text)

/** Wrong at the last byte of `wire`, and not before. */
const wrong = (wire: string, expected: string, found: string, offset = wire.length - 1): void => {
  it(`refuses ${quoted(wire)}`, () => {
    const rest = wire.endsWith("\r") ? "\n+OK\r\n" : "+OK\r\n"
    const before = feed([bytesOf(wire.slice(0, -1))])
    assert.isUndefined(before.error?.message, "one byte earlier nothing is wrong")
    for (const chunks of [[bytesOf(wire)], [bytesOf(`${wire}${rest}`)], bytewise(bytesOf(wire))]) {
      const { error, idle, out } = feed(chunks)
      assert.deepStrictEqual(
        { expected: error?.expected, found: error?.found, offset: error?.offset, out, idle },
        { expected, found, offset, out: [], idle: false }
      )
    }
  })
}

const waits = (wire: string): void => {
  it(`waits after ${quoted(wire)}`, () => {
    for (const chunks of [[bytesOf(wire)], bytewise(bytesOf(wire))]) {
      const { error, idle, out } = feed(chunks)
      assert.isUndefined(error?.message)
      assert.deepStrictEqual(out, [])
      assert.isFalse(idle)
    }
  })
}

describe("integers", () => {
  gives(":0\r\n", 0)
  gives(":-0\r\n", 0)
  gives(":+0\r\n", 0)
  gives(":+1\r\n", 1)
  gives(":007\r\n", 7)
  gives(":-007\r\n", -7)
  gives(":9007199254740991\r\n", Number.MAX_SAFE_INTEGER)
  gives(":-9007199254740991\r\n", Number.MIN_SAFE_INTEGER)
  gives(":9007199254740992\r\n", 9007199254740992n)
  gives(":-9223372036854775808\r\n", -(2n ** 63n))
  gives(`:${"0".repeat(60)}1234\r\n`, 1234)
  gives(":999999999\r\n:4294967297\r\n:-4294967296\r\n:2147483648\r\n", 999999999, 4294967297, -4294967296, 2147483648)
  gives(":-999999999\r\n:0000000005\r\n", -999999999, 5)
  gives(":999999999999999\r\n:9999999999999999\r\n", 999999999999999, 9999999999999999n)
  wrong(":\r", "an integer", '"\\r"')
  wrong(":foo".slice(0, 2), "an integer", '"f"')
  wrong(":43a", "CR LF", '"a"')
  wrong(":--", "an integer", '"-"')
  wrong(":+\r", "an integer", '"\\r"')
  wrong(":1.", "CR LF", '"."')
  wrong(": ", "an integer", "the byte 0x20")
  wrong(":1\n", "CR LF", '"\\n"')
  wrong(":1\rx", "LF after CR", '"x"')
  wrong(`:${"0".repeat(65)}`, "CR LF", "a line of more than 64 bytes")
  wrong(":9223372036854775808\r\n", "an integer of 64 bits", "a longer one", 1)
  wrong(":-9223372036854775809\r\n", "an integer of 64 bits", "a longer one", 1)
  waits(":")
  waits(":-")
  waits(":1\r")
})

describe("doubles", () => {
  gives(",0\r\n", 0)
  gives(",-0\r\n", -0)
  gives(",-0.0\r\n", -0)
  gives(",+1.5\r\n", 1.5)
  gives(",1e5\r\n", 1e5)
  gives(",1E+5\r\n,1e-5\r\n", 1e5, 1e-5)
  gives(",1.5e300\r\n", 1.5e300)
  gives(",1e999\r\n", Infinity)
  gives(",0.1\r\n,0.2\r\n,0.3\r\n", 0.1, 0.2, 0.3)
  gives(",999999999999999\r\n,99999999999999.9\r\n,0.00000000000001\r\n", 999999999999999, 99999999999999.9, 1e-14)
  gives(",9007199254740993.5\r\n", 9007199254740994)
  gives(",4.9406564584124654e-324\r\n,1.7976931348623157e+308\r\n", 5e-324, Number.MAX_VALUE)
  gives(",inf\r\n,-inf\r\n,+inf\r\n", Infinity, -Infinity, Infinity)
  gives(",nan\r\n,-nan\r\n,NAN\r\n,nan(0x1)\r\n", NaN, NaN, NaN, NaN)
  gives(`,${"1".repeat(326)}\r\n`, Infinity)
  wrong(",.", "a double", '"."')
  wrong(",1.\r", "a double", '"\\r"')
  wrong(",1.e", "a double", '"e"')
  wrong(",1e\r", "a double", '"\\r"')
  wrong(",1e+\r", "a double", '"\\r"')
  wrong(",1.2.", "CR LF", '"."')
  wrong(",infi", "CR LF", '"i"')
  wrong(",in\r", "a double", '"\\r"')
  wrong(",nane", "CR LF", '"e"')
  wrong(",\r", "a double", '"\\r"')
  wrong(",0x", "CR LF", '"x"')
  wrong(",1 ", "CR LF", "the byte 0x20")
  wrong(`,${"1".repeat(327)}`, "CR LF", "a line of more than 326 bytes")
  waits(",1e")
  waits(",-")
  waits(",nan(")
})

describe("big numbers", () => {
  gives("(0\r\n", 0n)
  gives("(-0\r\n", 0n)
  gives("(-1\r\n", -1n)
  gives("(+5\r\n", 5n)
  gives("(0012\r\n", 12n)
  gives(`(${"9".repeat(4096)}\r\n`, 10n ** 4096n - 1n)
  wrong("(\r", "a big number", '"\\r"')
  wrong("(-\r", "a big number", '"\\r"')
  wrong("(+-", "a big number", '"-"')
  wrong("(1-", "CR LF", '"-"')
  wrong("(12a", "CR LF", '"a"')
  wrong(`(${"1".repeat(5000)}x`, "CR LF", '"x"')
  waits(`(${"1".repeat(100000)}`)
})

describe("simple strings and errors", () => {
  gives("+\r\n", "")
  gives("+OK\r\n+OKAY\r\n+O\r\n", "OK", "OKAY", "O")
  gives("+a\tb\u0001\r\n", "a\tb\u0001")
  gives("-\r\n", error(""))
  gives("-ERR x\r\n", error("ERR x"))
  gives(`+${"x".repeat(65536)}\r\n`, "x".repeat(65536))
  wrong("+a\rb", "LF after CR", '"b"')
  wrong("+a\r\r", "LF after CR", '"\\r"')
  wrong("+a\n", "CR LF", '"\\n"')
  wrong(`+${"x".repeat(65537)}`, "CR LF", "a line of more than 65536 bytes")
  wrong(`-${"x".repeat(65537)}`, "CR LF", "a line of more than 65536 bytes")
  waits("+OK\r")
})

describe("nulls and booleans", () => {
  gives("_\r\n$-1\r\n*-1\r\n", null, null, null)
  gives("#t\r\n#f\r\n", true, false)
  wrong("_n", "CR LF", '"n"')
  wrong("#x", 'a boolean ("t" or "f")', '"x"')
  wrong("#\r", 'a boolean ("t" or "f")', '"\\r"')
  wrong("#tt", "CR LF", '"t"')
  wrong("#T", 'a boolean ("t" or "f")', '"T"')
})

describe("lengths", () => {
  gives("$0\r\n\r\n", "")
  gives("$003\r\nfoo\r\n", "foo")
  gives("*0\r\n%0\r\n~0\r\n", [], new Map(), new Set())
  wrong("$-2", "a length", '"2"')
  wrong("$-0", "a length", '"0"')
  wrong("$-10", "CR LF", '"0"')
  wrong("$+", "a length", '"+"')
  wrong("$a", "a length", '"a"')
  wrong("$\r", "a length", '"\\r"')
  wrong("*-2", "a length", '"2"')
  wrong("%-", "a length", '"-"')
  wrong("~-", "a length", '"-"')
  wrong(">-", "a length", '"-"')
  wrong("|-", "a length", '"-"')
  wrong("!-", "a length", '"-"')
  wrong("=-", "a length", '"-"')
  wrong("!?", "a length", '"?"')
  wrong("=?", "a length", '"?"')
  wrong(">?", "a length", '"?"')
  wrong("|?", "a length", '"?"')
  wrong("$?x", "CR LF", '"x"')
  wrong("$9007199254740992\r\n", "a length below 2^53", "more", 1)
  wrong("$99999999999999999999999\r\n", "a length below 2^53", "more", 1)
  wrong("*4294967296\r\n", "at most 2^32 - 1 elements", "more", 1)
  wrong("%2147483648\r\n", "at most 2^32 - 1 elements", "more", 1)
  wrong(`*${"0".repeat(65)}`, "CR LF", "a line of more than 64 bytes")
  waits("$4294967299\r\nfoo\r\n")
  waits("$4503599627370499\r\nfoo\r\n")
  waits("*0004294967295\r\n:1\r\n")
  waits("$9007199254740991\r\n")
  waits("*4294967295\r\n:1\r\n")
  waits("%2147483647\r\n")
})

describe("bulks, blob errors and verbatim strings", () => {
  gives("$2\r\n\r\n\r\n", "\r\n")
  gives("!9\r\nERR a\r\nbc\r\n", error("ERR a\r\nbc"))
  gives("!0\r\n\r\n", error(""))
  gives("=4\r\ntxt:\r\n", "")
  gives("=8\r\nmkd:a:bc\r\n", "a:bc")
  wrong("$3\r\nfoon", "CR LF after the string", '"n"')
  wrong("$3\r\nfoo\n", "CR LF after the string", '"\\n"')
  wrong("$3\r\nfoo\rx", "CR LF after the string", '"x"')
  wrong("$0\r\nx", "CR LF after the string", '"x"')
  wrong("=3\r\n", "a verbatim string of 4 bytes or more", "less", 1)
  wrong("=0\r\n", "a verbatim string of 4 bytes or more", "less", 1)
  wrong("=7\r\nabcd", '":" after the format of a verbatim string', '"d"')
  waits("$3\r\nfoo\r")
  waits("=7\r\nabc")
})

describe("streamed strings", () => {
  gives("$?\r\n;0\r\n", "")
  gives("$?\r\n;1\r\na\r\n;0\r\n", "a")
  gives("*2\r\n$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n:1\r\n", ["abc", 1])
  gives("$?\r\n;1\r\n\xc3\r\n;1\r\n\xb8\r\n;0\r\n", "ø")
  wrong("$?\r\n:", "a chunk (;) of the streamed string", '":"')
  wrong("$?\r\n;1\r\na\r\n+", "a chunk (;) of the streamed string", '"+"')
  wrong("$?\r\n;-", "a length", '"-"')
  wrong("$?\r\n;?", "a length", '"?"')
  wrong("$?\r\n;1\r\nab", "CR LF after the string", '"b"')
  wrong(";", "a value (no streamed string is open)", '";"')
  wrong("*1\r\n;", "a value (no streamed string is open)", '";"')
  waits("$?\r\n")
  waits("$?\r\n;1\r\na\r\n")
})

describe("aggregates", () => {
  gives("*2\r\n*1\r\n:1\r\n*0\r\n", [[1], []])
  gives("*3\r\n$-1\r\n*-1\r\n_\r\n", [null, null, null])
  gives("%1\r\n*1\r\n:1\r\n~1\r\n:2\r\n", new Map([[[1], new Set([2])]]))
  gives("%2\r\n+a\r\n:1\r\n+a\r\n:2\r\n", new Map([["a", 2]]))
  gives("~3\r\n:1\r\n:1\r\n+1\r\n", new Set<unknown>([1, "1"]))
  gives("*?\r\n.\r\n%?\r\n.\r\n~?\r\n.\r\n", [], new Map(), new Set())
  gives("*?\r\n*?\r\n:1\r\n.\r\n%?\r\n+a\r\n*?\r\n.\r\n.\r\n.\r\n", [[1], new Map([["a", []]])])
  gives("*1\r\n*?\r\n*1\r\n:1\r\n.\r\n", [[[1]]])
  wrong(".", "a value", '"."')
  wrong("*1\r\n.", "a value", '"."')
  wrong("*?\r\n*1\r\n.", "a value", '"."')
  wrong("%?\r\n+a\r\n.", "a value", '"."')
  wrong("%?\r\n+a\r\n:1\r\n+b\r\n.", "a value", '"."')
  wrong("*?\r\n.x", "CR LF", '"x"')
  wrong("*1\r\n*?\r\n:1\r\n.x", "CR LF", '"x"')
  waits("*2\r\n:1\r\n")
  waits("%?\r\n+a\r\n")
})

describe("attributes", () => {
  gives("|0\r\n+a\r\n", "a")
  gives("|1\r\n+k\r\n+v\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n", 1, 2)
  gives("|1\r\n|1\r\n+x\r\n+y\r\n+k\r\n*1\r\n|0\r\n:9\r\n*1\r\n:1\r\n", [1])
  gives("*?\r\n|1\r\n+k\r\n+v\r\n:1\r\n.\r\n", [1])
  gives("%1\r\n|1\r\n+k\r\n+v\r\n+a\r\n|1\r\n+k\r\n+v\r\n:1\r\n", new Map([["a", 1]]))
  gives("|1\r\n+k\r\n$1\r\n\xff\r\n+OK\r\n", "OK")
  gives("|1\r\n+k\r\n|0\r\n$1\r\n\xff\r\n+OK\r\n", "OK")
  gives("|1\r\n+k\r\n+v\r\n>1\r\n+a\r\n:1\r\n", new Resp.Push(["a"], undefined), 1)
  gives("|1\r\n+k\r\n$?\r\n;1\r\nx\r\n;0\r\n|1\r\n%?\r\n.\r\n(1\r\n:1\r\n", 1)
  wrong("*?\r\n|0\r\n.", "a value", '"."')
  wrong("*?\r\n:1\r\n|1\r\n+k\r\n+v\r\n.", "a value", '"."')
  wrong("|1\r\n>", "an element (a push stands between replies)", '">"')
  waits("|0\r\n")
  waits("|1\r\n+k\r\n+v\r\n")
})

describe("pushes", () => {
  gives(">1\r\n+a\r\n", new Resp.Push(["a"], undefined))
  gives(">0\r\n:1\r\n", new Resp.Push([], undefined), 1)
  gives(">2\r\n+a\r\n*1\r\n%1\r\n:1\r\n:2\r\n:3\r\n", new Resp.Push(["a", [new Map([[1, 2]])]], undefined), 3)
  gives(
    ">2\r\n$7\r\nmessage\r\n$2\r\n\xff\xfe\r\n",
    new Resp.Push(["message", new Uint8Array([0xff, 0xfe])], undefined)
  )
  wrong("*1\r\n>", "an element (a push stands between replies)", '">"')
  wrong(">1\r\n>", "an element (a push stands between replies)", '">"')
})

describe("a peer that speaks something else", () => {
  const hints: ReadonlyArray<readonly [string, RegExp]> = [
    ["HTTP/1.1 400 Bad Request\r\n", /HTTP/],
    ["\x15\x03\x01", /TLS/],
    ["SSH-2.0-x\r\n", /Redis server/]
  ]
  for (const [wire, hint] of hints) {
    it(`is pointed at after ${quoted(wire)}`, () => {
      for (const chunks of [[bytesOf(wire)], bytewise(bytesOf(wire))])
        assert.match(feed(chunks).error?.message ?? "", hint)
    })
  }

  it("is not suspected in the middle of a session", () => {
    assert.isUndefined(feed([bytesOf("+OK\r\nHTTP")]).error?.hint)
  })
})

describe("text that is not UTF-8", () => {
  const bad = (wire: string, reason: "utf8" | "length", decode: boolean): void => {
    it(`fails its own reply: ${quoted(wire)}`, () => {
      for (const chunks of [[bytesOf(`${wire}+next\r\n`)], bytewise(bytesOf(`${wire}+next\r\n`))]) {
        const { error, out } = feed(chunks)
        assert.isUndefined(error?.message)
        assert.strictEqual(out.length, 2)
        const failure = out[0]
        if (!(failure instanceof Resp.ReplyFailure) || !(failure.error instanceof Resp.DecodeError)) {
          return assert.fail(shown(failure))
        }
        assert.strictEqual(failure.error.reason, reason)
        assert.strictEqual(failure.error.message.includes('decode: "bytes"'), decode)
        assert.strictEqual(out[1], "next")
      }
    })
  }
  bad("$2\r\n\xff\xfe\r\n", "utf8", true)
  bad("$1\r\n\xc3\r\n", "utf8", true)
  bad("$3\r\n\xed\xa0\x80\r\n", "utf8", true)
  bad("$2\r\n\xc0\x80\r\n", "utf8", true)
  bad("*3\r\n:1\r\n*1\r\n$1\r\n\xff\r\n%1\r\n+a\r\n*?\r\n:1\r\n.\r\n", "utf8", true)
  bad("=5\r\ntxt:\xff\r\n", "utf8", true)
  bad("$?\r\n;1\r\n\xff\r\n;0\r\n", "utf8", true)
  bad("*?\r\n$1\r\n\xff\r\n:1\r\n.\r\n", "utf8", true)
  bad("%?\r\n$1\r\n\xff\r\n:1\r\n.\r\n", "utf8", true)
  bad("|1\r\n+a\r\n+b\r\n$1\r\n\xff\r\n", "utf8", true)
  bad("+\xff\r\n", "utf8", false)
  gives("$3\r\n\xef\xbf\xbd\r\n", "\uFFFD")
  gives("$3\r\n\xef\xbb\xbf\r\n", "\uFEFF")
  gives("-ERR \xff\r\n", error("ERR \uFFFD"))
  gives("!5\r\nERR \xff\r\n", error("ERR \uFFFD"))
})

describe("an error", () => {
  it("has the server's code, or the generic one", () => {
    assert.deepStrictEqual(
      ["WRONGTYPE Operation", "ERR no", "LOADING", "my own", "Err x", ""].map((text) => error(text).code),
      ["WRONGTYPE", "ERR", "LOADING", "ERR", "ERR", ""].map((code) => code || "ERR")
    )
  })

  it("repeats no argument", () => {
    const told = error("ERR unknown command 'FOO', with args beginning with: 'secret' 'more' ")
    assert.strictEqual(told.message, "ERR unknown command 'FOO'")
    assert.notInclude(shown(told), "secret")
  })

  it("knows its command when told", () => {
    const told = new Resp.ReplyError({ code: "ERR", message: "ERR no", command: "GET" })
    assert.strictEqual(String(told), "ReplyError: ERR no (GET)")
  })

  it("is retryable when the server says that it passes", () => {
    assert.isTrue(error("LOADING Redis is loading the dataset in memory").isRetryable)
    assert.isTrue(error("ERR max number of clients reached").isRetryable)
    assert.isFalse(error("WRONGTYPE Operation").isRetryable)
  })
})
