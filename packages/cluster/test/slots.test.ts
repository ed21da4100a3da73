import { assert, describe, it } from "@effect/vitest"
import { ClusterTopology } from "@relive/cluster"
import * as Schema from "effect/Schema"
import { crc16 } from "../src/internal/slots.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

describe("CRC16", () => {
  it("CLU-002 of a and A", () => {
    assert.deepStrictEqual([crc16(bytes("a")), crc16(bytes("A"))], [0x7c87, 0x58e5])
  })
})

describe("the hash tag", () => {
  it("CLU-004 CLU-005 is the whole key when there is none, or an empty one", () => {
    for (const key of ["key", "my{key", "my}key", "my{}key", "{}", "", "}{"]) {
      assert.strictEqual(ClusterTopology.hashTag(key), key)
      assert.strictEqual(ClusterTopology.slotOf(key), crc16(bytes(key)) & 16383)
    }
  })

  it("CLU-006 CLU-007 is what stands in the first pair of braces", () => {
    const tags = ["{user}.name", "prefix{tag}suffix", "{tag}", "{a}{b}", "foo{bar}{baz}", "a{{b}}c"]
    assert.deepStrictEqual(tags.map(ClusterTopology.hashTag), ["user", "tag", "tag", "a", "bar", "{b"])
  })
})

describe("the slot of a key", () => {
  it("CLU-012 CLU-013 is that of its tag", () => {
    assert.strictEqual(ClusterTopology.slotOf("{42}a"), ClusterTopology.slotOf("b{42}"))
    assert.notStrictEqual(ClusterTopology.slotOf("key1"), ClusterTopology.slotOf("key2"))
  })

  it("CLU-032 of a number is that of its text", () => {
    for (const [key, text] of [
      [42, "42"],
      [-0, "0"],
      [1.5, "1.5"],
      [2n ** 64n, String(2n ** 64n)],
      [Infinity, "inf"],
      [-Infinity, "-inf"]
    ] as const) {
      assert.strictEqual(ClusterTopology.slotOf(key), ClusterTopology.slotOf(text))
    }
  })

  it.prop("CLU-003 is the same for text and its bytes, and in range", [Schema.String], ([text]) => {
    const slot = ClusterTopology.slotOf(text)
    assert.strictEqual(slot, ClusterTopology.slotOf(bytes(text)))
    assert.isTrue(Number.isInteger(slot) && slot >= 0 && slot < ClusterTopology.SLOTS)
  })
})
