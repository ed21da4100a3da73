/**
 * Values at the limits of the server and of the engine.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it, vi } from "@effect/vitest"
import { constants } from "node:buffer"

const chunk = Buffer.alloc(65_536, 97)

/** Runs the body; how many bytes it copied from one array into another. */
const copiedBy = (body: () => void): number => {
  const copies = vi.spyOn(Uint8Array.prototype, "set")
  body()
  const copied = copies.mock.calls.reduce((sum, [from]) => sum + from.length, 0)
  copies.mockRestore()
  return copied
}

/** Feeds a bulk of so many bytes, as the wire does: what came out, and how much one push copied at most. */
const feed = (decode: "text" | "bytes", length: number) => {
  const decoder = Resp.makeDecoder({ decode, volatile: true })
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  let most = 0
  const push = (bytes: Uint8Array): void => {
    const copied = copiedBy(() => assert.isUndefined(decoder.push(bytes, out)?.message))
    most = Math.max(most, copied)
  }
  const before = process.memoryUsage().arrayBuffers
  push(Buffer.from(`$${length}\r\n`))
  for (let left = length; left > 0; left -= chunk.length) push(left >= chunk.length ? chunk : chunk.subarray(0, left))
  const held = process.memoryUsage().arrayBuffers - before
  push(Buffer.from("\r\n+next\r\n"))
  assert.strictEqual(out[1], "next")
  return { value: out[0], most, held }
}

describe("a bulk of 512 MiB", () => {
  const size = 512 * 2 ** 20

  it("comes as bytes, and no push copies more than a few times what it brought", () => {
    const { held, most, value } = feed("bytes", size)
    assert.isTrue(value instanceof Uint8Array && value.length === size && value[size - 1] === 97)
    assert.isAtLeast(most, chunk.length)
    assert.isAtMost(most, 4 * chunk.length)
    assert.isBelow(held, size * 1.3)
  })

  it("is too long for a string, and fails its own call only", () => {
    const { value } = feed("text", size)
    if (!(value instanceof Resp.ReplyFailure)) return assert.fail("it came")
    assert.deepInclude(value.error, { _tag: "DecodeError", reason: "length" })
  })

  it("over the limit by one byte is skipped, and nothing of it is held", () => {
    const { held, value } = feed("bytes", size + 1)
    assert.instanceOf(value, Resp.ReplyFailure)
    assert.isBelow(held, 2 ** 20)
  })
})

describe("the longest text", () => {
  it("comes as a string", () => {
    const { value } = feed("text", constants.MAX_STRING_LENGTH)
    assert.isTrue(typeof value === "string" && value.length === constants.MAX_STRING_LENGTH)
  })

  it("plus one byte does not", () => {
    assert.instanceOf(feed("text", constants.MAX_STRING_LENGTH + 1).value, Resp.ReplyFailure)
  })
})

describe("a collection that is larger than the engine's", () => {
  for (const [kind, limit, each] of [
    ["~", "Set", 1],
    ["%", "Map", 2]
  ] as const) {
    it(`fails its own reply (${limit})`, () => {
      const decoder = Resp.makeDecoder()
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      const count = 2 ** 24 + 1
      decoder.push(Buffer.from(`${kind}${count}\r\n`), out)
      const some = Buffer.from(":1\r\n".repeat(2 ** 14))
      for (let left = each * count; left > 0; left -= 2 ** 14) {
        decoder.push(left >= 2 ** 14 ? some : some.subarray(0, left * 4), out)
      }
      decoder.push(Buffer.from("+next\r\n"), out)
      const [failed, next] = out
      assert.ok(failed instanceof Resp.ReplyFailure && failed.error instanceof Resp.ReplyLimitError)
      assert.deepStrictEqual([failed.error.limit, failed.error.max, next], [limit, 2 ** 24, "next"])
      assert.match(failed.error.message, /use decode: "bytes"/)
    })
  }
})
