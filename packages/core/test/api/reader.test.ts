import { assert, describe, it } from "@effect/vitest"
import { Command, Reader, Resp } from "@relive/core"

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

const text = <A>(reader: Reader.Reader<A, unknown>, reply: Resp.Reply) => Reader.read(reader, reply, "text")

/** The reader refuses the reply, with this in its message. */
const refuses = (reader: Reader.Reader<unknown, unknown>, reply: Resp.Reply, message: string): void => {
  for (const mode of ["text", "bytes"] as const) {
    const found = Reader.read(reader, reply, mode)
    assert.instanceOf(found, Resp.DecodeError)
    assert.include(String(found), message)
  }
}

describe("Reader", () => {
  it("reads a relation in each of its forms", () => {
    const pairs = Reader.pairs(Reader.text, Reader.double)
    const expected: ReadonlyArray<readonly [string, number]> = [
      ["a", 1.5],
      ["b", Infinity]
    ]
    assert.deepStrictEqual(text(pairs, ["a", "1.5", "b", "inf"]), expected)
    assert.deepStrictEqual(
      text(pairs, [
        ["a", 1.5],
        ["b", Infinity]
      ]),
      expected
    )
    assert.deepStrictEqual(
      text(
        pairs,
        new Map<Resp.Reply, Resp.Reply>([
          ["a", 1.5],
          ["b", "inf"]
        ])
      ),
      expected
    )
    assert.deepStrictEqual(text(pairs, []), [])
    for (const wrong of [["a", 1, "b"], [["a", 1], ["b"]], [["a", 1], "b"], null, 1, new Set(["a"])]) {
      refuses(pairs, wrong, "an array of pairs was expected")
    }
  })

  it("reads names into a record without a prototype, and keeps all pairs as bytes", () => {
    const record = Reader.record(Reader.text)
    const found = text(record, ["__proto__", "p", "a", "1", "a", "2"])
    assert.isNull(Object.getPrototypeOf(found))
    assert.deepStrictEqual(Object.entries(found), [
      ["__proto__", "p"],
      ["a", "2"]
    ])
    const raw = Reader.read(record, [bytes("a"), bytes("1"), bytes("a"), bytes("2")], "bytes")
    assert.deepStrictEqual(raw, [
      [bytes("a"), bytes("1")],
      [bytes("a"), bytes("2")]
    ])
  })

  it("reads fixed fields by their names, and leaves what it does not know", () => {
    const info = Reader.struct({ length: Reader.integer, flags: Reader.set(Reader.text) })
    const found = text(info, ["length", "3", "flags", ["x", "x"], "new", [1]])
    assert.deepStrictEqual({ ...Object(found) }, { length: 3, flags: new Set(["x"]), new: [1] })
  })

  it("reads numbers as text, and refuses to round", () => {
    assert.deepStrictEqual(
      ["inf", "-inf", "1e21", "-0", "5e-324"].map((number) => text(Reader.double, number)),
      [Infinity, -Infinity, 1e21, -0, 5e-324]
    )
    assert.isNaN(text(Reader.double, "nan"))
    assert.strictEqual(text(Reader.integer, "9007199254740991"), 9_007_199_254_740_991)
    refuses(Reader.integer, "9007199254740993", "Command.asBigInt")
    refuses(Reader.integer, 2n ** 53n, "Command.asBigInt")
    assert.strictEqual(text(Reader.bigInteger, "9007199254740993"), 9_007_199_254_740_993n)
    for (const wrong of ["", " ", "1.5", "abc", null, true]) refuses(Reader.integer, wrong, "an integer was expected")
    for (const wrong of ["", " ", "abc", null, true]) refuses(Reader.double, wrong, "a number was expected")
  })

  it("looks at what came, not at the protocol", () => {
    assert.deepStrictEqual([text(Reader.boolean, 1), text(Reader.boolean, false)], [true, false])
    refuses(Reader.boolean, 2, "a boolean was expected")
    assert.deepStrictEqual(text(Reader.set(Reader.text), new Set(["a"])), new Set(["a"]))
    assert.deepStrictEqual(text(Reader.list(Reader.text), new Set(["a"])), ["a"])
    assert.strictEqual(text(Reader.either(Reader.integer, Reader.literal("OK")), "OK"), "OK")
    refuses(Reader.literal("OK", "NOKEY"), "no", "OK or NOKEY was expected")
    refuses(Reader.pair(Reader.text, Reader.text), ["a"], "an array of 2 was expected")
    const error = Resp.ReplyError.fromText("ERR no")
    assert.strictEqual(text(Reader.orError(Reader.integer), error), error)
    refuses(Reader.list(Reader.integer), [1, error], "an error came")
  })

  it("shows no value in what it says", () => {
    refuses(Reader.integer, "secret", "a string came")
    assert.notInclude(String(text(Reader.integer, "secret")), "secret")
  })

  it("lets what is thrown by others through", () => {
    const broken: Reader.Reader<never> = {
      text: () => {
        throw new TypeError("broken")
      },
      bytes: () => {
        throw new TypeError("broken")
      }
    }
    assert.throws(() => text(broken, 1), TypeError)
  })
})

describe("Command.asBigInt", () => {
  it("reads integers of any size, and nothing else", () => {
    const command = Command.asBigInt(Command.make(["INCR", "n"], Reader.integer))
    assert.deepStrictEqual([text(command.reply, 5), text(command.reply, 2n ** 63n)], [5n, 2n ** 63n])
    const several = Command.asBigInt(Command.make(["BITFIELD", "b"], Reader.list(Reader.nullable(Reader.integer))))
    assert.deepStrictEqual(text(several.reply, [1, null, 2n ** 60n]), [1n, null, 2n ** 60n])
    refuses(command.reply, "5.5", "integers were expected")
    refuses(command.reply, 0.5, "integers were expected")
  })
})
