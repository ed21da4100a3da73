/**
 * Values at the limits of the server and of the engine.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it } from "@effect/vitest"
import { constants } from "node:buffer"

const chunk = Buffer.alloc(65_536, 97)

/** Feeds a bulk of so many bytes; what came out, and the longest that one push took, in milliseconds. */
const feed = (decode: "text" | "bytes", length: number) => {
  const decoder = Resp.makeDecoder({ decode })
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  let longest = 0
  const push = (bytes: Uint8Array): void => {
    const start = performance.now()
    assert.isUndefined(decoder.push(bytes, out)?.message)
    longest = Math.max(longest, performance.now() - start)
  }
  const before = process.memoryUsage().arrayBuffers
  push(Buffer.from(`$${length}\r\n`))
  for (let left = length; left > 0; left -= chunk.length) push(left >= chunk.length ? chunk : chunk.subarray(0, left))
  const held = process.memoryUsage().arrayBuffers - before
  push(Buffer.from("\r\n+next\r\n"))
  assert.strictEqual(out[1], "next")
  return { value: out[0], longest, held }
}

describe("a bulk of 512 MiB", () => {
  const size = 512 * 2 ** 20

  it("comes as bytes, and never holds the event loop for a second", () => {
    const { held, longest, value } = feed("bytes", size)
    assert.isTrue(value instanceof Uint8Array && value.length === size && value[size - 1] === 97)
    assert.isBelow(longest, 1000)
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
