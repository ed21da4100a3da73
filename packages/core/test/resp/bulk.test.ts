/**
 * Large values, and whose memory the bytes of a reply are in.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it, vi } from "@effect/vitest"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31) & 0xff))

const wireOf = (data: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`$${data.length}\r\n`), data, Buffer.from("\r\n")])

const feed = (
  options: Resp.DecoderOptions,
  chunks: ReadonlyArray<Uint8Array>
): ReadonlyArray<Resp.Decoded<Resp.Reply>> => {
  const decoder = Resp.makeDecoder(options)
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  for (const chunk of chunks) assert.isUndefined(decoder.push(chunk, out)?.message)
  return out
}

const pieces = (bytes: Uint8Array, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.slice(index * size, (index + 1) * size))

const bytesAt = (out: ReadonlyArray<unknown>, index: number): Uint8Array => {
  const value = out[index]
  return value instanceof Uint8Array ? value : assert.fail(`${typeof value} at ${index}`)
}

describe("large bulks", () => {
  it("are put together from chunks of any size", () => {
    for (const length of [16_383, 16_384, 16_385, 65_536, 300_001, 1_048_576]) {
      const data = pattern(length)
      for (const size of [777, 16_384, 20_000, 65_536, 2_000_000]) {
        for (const volatile of [false, true]) {
          const out = feed({ decode: "bytes", volatile }, pieces(wireOf(data), size))
          assert.strictEqual(out.length, 1)
          assert.isTrue(Buffer.from(bytesAt(out, 0)).equals(data), `${length} in ${size}`)
        }
      }
    }
  })

  it("are put together from large and small chunks by turns", () => {
    const data = pattern(500_000)
    const wire = wireOf(data)
    const chunks: Array<Uint8Array> = []
    for (let at = 0, size = 1; at < wire.length; at += size) {
      size = chunks.length % 2 === 0 ? 20_000 : 13
      chunks.push(new Uint8Array(wire.subarray(at, at + size)))
    }
    assert.isTrue(Buffer.from(bytesAt(feed({ decode: "bytes" }, chunks), 0)).equals(data))
  })

  it("are text where characters are cut by chunks", () => {
    const text = "aø日𝄞".repeat(30_000)
    for (const size of [1000, 16_385, 65_536]) {
      assert.deepStrictEqual(feed({}, pieces(wireOf(Buffer.from(text)), size)), [text])
    }
  })

  it("leave what was given before as it is: memory that texts share never comes out", () => {
    const text = (letter: string, length: number): Uint8Array => wireOf(Buffer.from(letter.repeat(length)))
    const notText = Buffer.alloc(90_000, 0xff)
    const push = Buffer.concat([Buffer.from(">3\r\n+message\r\n+c\r\n"), wireOf(notText)])
    const wire = [
      text("a", 100_000),
      text("b", 60_000),
      wireOf(notText),
      push,
      text("c", 90_000),
      Buffer.concat([Buffer.from("!90000\r\n"), Buffer.alloc(90_000, 100), Buffer.from("\r\n")]),
      text("e", 100_000)
    ]
    // Several decoders, by turns: they share what is spare.
    for (const [size, count] of [
      [999, 1],
      [20_000, 2],
      [65_536, 1],
      [65_536, 3]
    ] as const) {
      const decoders = Array.from({ length: count }, () => Resp.makeDecoder({ volatile: true }))
      const outs = decoders.map((): Array<Resp.Decoded<Resp.Reply>> => [])
      for (const chunk of pieces(Buffer.concat(wire), size)) {
        for (const [index, decoder] of decoders.entries()) {
          assert.isUndefined(decoder.push(new Uint8Array(chunk), outs[index] ?? [])?.message)
        }
      }
      for (const [a, b, failed, pushed, c, error, e] of outs) {
        assert.deepStrictEqual(
          [a, b, c, e],
          ["a".repeat(100_000), "b".repeat(60_000), "c".repeat(90_000), "e".repeat(100_000)]
        )
        assert.instanceOf(pushed, Resp.Push)
        const payload = pushed.data[2]
        assert.isTrue(payload instanceof Uint8Array && notText.equals(payload))
        assert.instanceOf(failed, Resp.ReplyFailure)
        assert.instanceOf(error, Resp.ReplyError)
      }
    }
  })

  it("are put together in the memory of the one before, but no more than 4 MiB of it is kept", () => {
    const allocations = vi.spyOn(Buffer, "allocUnsafeSlow")
    const decoder = Resp.makeDecoder({ volatile: true })
    const allocatedFor = (length: number): number => {
      allocations.mockClear()
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      for (const chunk of pieces(wireOf(Buffer.alloc(length, 97)), 65_536)) decoder.push(chunk, out)
      assert.strictEqual(out.length, 1)
      return allocations.mock.calls.filter(([size]) => size === length).length
    }
    const largest = 4 * 2 ** 20
    allocatedFor(largest)
    assert.strictEqual(allocatedFor(largest), 0)
    assert.strictEqual(allocatedFor(largest + 1), 1)
    assert.strictEqual(allocatedFor(largest + 1), 1)
    allocations.mockRestore()
  })

  it("begin in the memory of the one before: bytes take no fresh memory but their own", () => {
    const allocations = vi.spyOn(Buffer, "allocUnsafeSlow")
    const decoder = Resp.makeDecoder({ decode: "bytes", volatile: true })
    const data = pattern(2 ** 20)
    for (const size of [65_536, 16_384]) {
      for (const round of [1, 2]) {
        allocations.mockClear()
        const out: Array<Resp.Decoded<Resp.Reply>> = []
        for (const chunk of pieces(wireOf(data), size)) decoder.push(chunk, out)
        assert.isTrue(data.equals(bytesAt(out, 0)))
        if (round === 2) assert.deepStrictEqual(allocations.mock.calls, [[data.length]])
      }
    }
    allocations.mockRestore()
  })

  it("take no memory because a header promised it, where memory is lent", () => {
    const allocations = vi.spyOn(Buffer, "allocUnsafeSlow")
    const decoders = Array.from({ length: 20 }, () => Resp.makeDecoder({ decode: "bytes", volatile: true }))
    for (const decoder of decoders) decoder.push(Buffer.from(`$${2 ** 22}\r\n${"x".repeat(1000)}`), [])
    // What is spare is lent to one of them.
    const sizes = allocations.mock.calls.map(([size]) => size)
    assert.isAtMost(Math.max(...sizes), 16 * 1024)
    allocations.mockRestore()
  })

  it("take at most 2.3 times their size while they come", () => {
    const size = 32 * 2 ** 20
    const chunk = Buffer.alloc(65_536, 97)
    const decoder = Resp.makeDecoder({ decode: "bytes" })
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    const before = process.memoryUsage().arrayBuffers
    let peak = 0
    decoder.push(Buffer.from(`$${size}\r\n`), out)
    for (let sent = 0; sent < size; sent += chunk.length) {
      decoder.push(new Uint8Array(chunk), out)
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
    }
    decoder.push(Buffer.from("\r\n"), out)
    assert.strictEqual(bytesAt(out, 0).length, size)
    // The chunks themselves are garbage, but not yet collected: up to their sum comes on top.
    assert.isBelow(peak, size * 3.3)
  })
})

/**
 * Reads a stream as a socket does that asks where to put what comes: into the decoder's room, or into memory that is used again.
 * Returns how many bytes came by each way.
 */
class Reading {
  byRoom = 0
  byMemory = 0
  readonly out: Array<Resp.Decoded<Resp.Reply>> = []
  readonly decoder: Resp.Decoder<Resp.Reply>
  private readonly memory = Buffer.alloc(65_536)
  private readonly wire: Uint8Array
  private at = 0

  constructor(wire: Uint8Array, decode: "text" | "bytes") {
    this.wire = wire
    this.decoder = Resp.makeDecoder({ decode, volatile: true })
  }

  get over(): boolean {
    return this.at === this.wire.length
  }

  /** One read of at most `most` bytes. */
  step(most: number): void {
    const { room } = this.decoder
    const place = room ?? this.memory
    const size = Math.min(most, place.length, this.wire.length - this.at)
    place.set(this.wire.subarray(this.at, this.at + size))
    this.at += size
    if (room === undefined) this.byMemory += size
    else this.byRoom += size
    assert.isUndefined(this.decoder.push(place.subarray(0, size), this.out)?.message)
    this.memory.fill(0x41)
  }
}

describe("the room of a large bulk", () => {
  const lengths = [10, 70_000, 200_000, 1_048_576, 64, 131_072, 600_001, 16_384, 65_535]
  const values = lengths.map((length, index) => Buffer.from(pattern(length).map((byte) => (byte + index) & 0x7f)))
  const wire = Buffer.concat(values.map(wireOf))

  it("is where its bytes may be read to, however they come, and by several readers in turn", () => {
    for (const most of [65_536, 1000, 30_000, 2 ** 30]) {
      const readings = [
        new Reading(wire, "bytes"),
        new Reading(wire, "text"),
        new Reading(wire, "bytes"),
        new Reading(wire, "text")
      ]
      while (readings.some(({ over }) => !over)) {
        for (const [index, reading] of readings.entries()) if (!reading.over) reading.step(most - index)
      }
      for (const { out } of readings) {
        assert.strictEqual(out.length, values.length)
        for (const [index, value] of values.entries()) {
          const got = out[index]
          const bytes = typeof got === "string" ? Buffer.from(got, "latin1") : Buffer.from(bytesAt(out, index))
          assert.isTrue(bytes.equals(value), `${lengths[index]} by ${most}`)
        }
      }
    }
  })

  it("takes most of it, and nothing of what follows", () => {
    const reading = new Reading(Buffer.concat([wireOf(pattern(2 ** 20)), Buffer.from("+OK\r\n")]), "bytes")
    assert.isUndefined(reading.decoder.room)
    while (!reading.over) reading.step(2 ** 30)
    assert.strictEqual(reading.out[1], "OK")
    assert.isUndefined(reading.decoder.room)
    assert.isAbove(reading.byRoom, 0.8 * 2 ** 20)
  })

  it("is no place for what lies elsewhere in it: that is moved to where it belongs", () => {
    const reading = new Reading(wireOf(pattern(2 ** 20)), "bytes")
    while (reading.decoder.room === undefined) reading.step(65_536)
    const { decoder, out } = reading
    const rest = wireOf(pattern(2 ** 20)).subarray(decoder.position)
    const elsewhere = decoder.room?.subarray(1000, 2000) ?? assert.fail("no room")
    elsewhere.set(rest.subarray(0, 1000))
    decoder.push(elsewhere, out)
    decoder.push(rest.subarray(1000), out)
    assert.isTrue(pattern(2 ** 20).equals(bytesAt(out, 0)))
  })

  it("is no longer its own when the reply was given up: what is read there is passed", () => {
    for (const decode of ["text", "bytes"] as const) {
      const later = pattern(300_000).map((byte) => byte & 0x7f)
      const reading = new Reading(Buffer.concat([wireOf(pattern(2 ** 20)), wireOf(later)]), decode)
      while (reading.decoder.room === undefined) reading.step(65_536)
      const given = reading.decoder.room
      reading.decoder.abandon()
      assert.isUndefined(reading.decoder.room)
      // Node reads once more to where it was told before.
      const { decoder, out } = reading
      const rest = Buffer.concat([wireOf(pattern(2 ** 20)), wireOf(later)]).subarray(decoder.position)
      given.set(rest.subarray(0, 65_536))
      decoder.push(given.subarray(0, 65_536), out)
      for (const chunk of pieces(rest.subarray(65_536), 65_536)) decoder.push(chunk, out)
      assert.instanceOf(out[0], Resp.ReplyFailure)
      const second = out[1]
      const bytes = typeof second === "string" ? Buffer.from(second, "latin1") : Buffer.from(bytesAt(out, 1))
      assert.isTrue(bytes.equals(later))
    }
  })
})

describe("bytes of a reply", () => {
  it("do not change when a volatile chunk is used again", () => {
    for (const data of [pattern(10), pattern(1000), pattern(40_000), pattern(200_000)]) {
      const decoder = Resp.makeDecoder({ decode: "bytes", volatile: true })
      const memory = new Uint8Array(65_536)
      const wire = wireOf(data)
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      for (let at = 0; at < wire.length; at += memory.length) {
        const part = wire.subarray(at, at + memory.length)
        memory.set(part)
        decoder.push(memory.subarray(0, part.length), out)
        memory.fill(0)
      }
      assert.isTrue(Buffer.from(bytesAt(out, 0)).equals(data))
    }
  })

  it("keep no chunk alive of which they are a small part", () => {
    const chunk = new Uint8Array(65_536)
    chunk.set(Buffer.from("$4\r\nabcd\r\n$20000\r\n"))
    chunk.set(Buffer.from("\r\n"), 18 + 20_000)
    const decoder = Resp.makeDecoder({ decode: "bytes" })
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    decoder.push(chunk.subarray(0, 18 + 20_002), out)
    assert.strictEqual(bytesAt(out, 0).buffer.byteLength, 4)
    assert.strictEqual(bytesAt(out, 1).buffer.byteLength, 20_000)
  })

  it("are plain arrays of bytes, whatever the chunk was", () => {
    const whole = feed({ decode: "bytes" }, [wireOf(pattern(10)), wireOf(pattern(60_000))])
    const cut = feed({ decode: "bytes" }, pieces(wireOf(pattern(60_000)), 1000))
    for (const value of [...whole, ...cut]) assert.strictEqual(Object.getPrototypeOf(value), Uint8Array.prototype)
  })
})

describe("text of a chunk", () => {
  it("is right wherever a character that is not ASCII stands between others", () => {
    const words = Array.from({ length: 400 }, (_, index) => (index % 97 === 50 ? `ø${index}` : `word-${index}`))
    const wire = Buffer.concat(words.map((word) => wireOf(Buffer.from(word))))
    assert.deepStrictEqual(feed({}, [wire]), words)
    assert.deepStrictEqual(feed({}, pieces(wire, 1500)), words)
  })

  it("is that of the chunk, also when its memory is the same as that of the one before", () => {
    const chunk = new Uint8Array(
      Buffer.concat([wireOf(Buffer.from("a".repeat(20))), wireOf(Buffer.from("b".repeat(20)))])
    )
    const decoder = Resp.makeDecoder({ volatile: true })
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    decoder.push(chunk, out)
    chunk.fill(0x63, 5, 25)
    decoder.push(chunk, out)
    assert.deepStrictEqual(
      out,
      ["a", "b", "c", "b"].map((letter) => letter.repeat(20))
    )
  })

  it("is not taken for text because a wrong byte is as long as its replacement", () => {
    const good = "a".repeat(100)
    const wire = Buffer.concat([wireOf(Buffer.from(good)), wireOf(Buffer.from([0xff])), wireOf(Buffer.from(good))])
    const out = feed({}, [wire])
    assert.strictEqual(out[0], good)
    assert.instanceOf(out[1], Resp.ReplyFailure)
    assert.strictEqual(out[2], good)
  })
})

describe("what a text that is kept holds", () => {
  it("is bounded: 256 bytes of its neighbours at most", () => {
    setFlagsFromString("--expose-gc")
    const collect: () => void = runInNewContext("gc")
    const kept: Array<unknown> = []
    const decoder = Resp.makeDecoder({ volatile: true })
    const wire = (round: number) =>
      Buffer.from(
        `*200\r\n${Array.from({ length: 200 }, (_, i) => `$20\r\n${String(round * 1000 + i).padEnd(20, "x")}\r\n`).join("")}`
      )
    const round = (number: number) => {
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      decoder.push(wire(number), out)
      const [texts] = out
      // One of each forty: no two of them in one window.
      if (Array.isArray(texts)) for (let i = 0; i < texts.length; i += 40) kept.push(texts[i])
    }
    for (let i = 0; i < 200; i++) round(i)
    kept.length = 0
    collect()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 4000; i++) round(i)
    collect()
    const each = (process.memoryUsage().heapUsed - before) / kept.length
    assert.strictEqual(kept.length, 20_000)
    assert.isBelow(each, 450)
  })
})
