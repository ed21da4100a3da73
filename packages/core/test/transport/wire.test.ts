/**
 * The wire reads in slices: what counts is how much is decoded before others have their turn, not how long that takes on this
 * machine.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as Resp from "../../src/Resp.ts"
import { Wire } from "../../src/internal/transport/wire.ts"

/** One read of the kernel. */
const READ = 64 * 1024

/** So much may be decoded in one turn. Left to itself a socket is read 32 times, 2 MiB. */
const MOST = 2 ** 20

/** A socket that counts how often it was told to go on. */
class Paused extends Net.Socket {
  resumed = 0

  override resume(): this {
    this.resumed++
    return this
  }
}

const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const makeWire = () => {
  const socket = new Paused()
  const wire = new Wire(Resp.makeDecoder({ volatile: true }), () => undefined)
  wire.attach(socket)
  const read = (bytes: Uint8Array) => wire.onread.callback(bytes.length, bytes)
  return { read, socket, wire }
}

/** The inside of a long bulk: it completes nothing, so its reader is never behind. */
const inside = Buffer.alloc(READ, 97)
const head = Buffer.from(`$${2 ** 28}\r\n`)

/** As many reads as are allowed without a pause, and whether one came. */
const readSlice = (read: (bytes: Uint8Array) => boolean): number => {
  for (let reads = 1; reads < 1000; reads++) if (!read(inside)) return reads
  return Infinity
}

describe("reading in slices", () => {
  it.effect("a socket that has more is paused after a slice, until the event loop has gone round", () =>
    Effect.gen(function* () {
      const { read, socket } = makeWire()
      assert.isTrue(read(head))
      assert.isAtMost(readSlice(read) * READ, MOST)
      assert.strictEqual(socket.resumed, 0)
      yield* nextTurn
      assert.strictEqual(socket.resumed, 1)
      // And again.
      assert.isAtMost(readSlice(read) * READ, MOST)
      yield* nextTurn
      assert.strictEqual(socket.resumed, 2)
      socket.destroy()
    })
  )

  it.effect("the rest of a large value is read to where it belongs, a slice at a time", () =>
    Effect.gen(function* () {
      const socket = new Paused()
      const wire = new Wire(Resp.makeDecoder({ decode: "bytes", volatile: true }), () => undefined)
      wire.attach(socket)
      const { buffer, callback } = wire.onread
      const place = () => (typeof buffer === "function" ? buffer() : buffer)
      const shared = place()
      const value = Buffer.alloc(2 ** 21, "the rest of it")
      const stream = Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from("\r\n+OK\r\n")])
      let straight = 0
      for (let at = 0; at < stream.length;) {
        const to = place()
        assert.isAtMost(to.length, MOST)
        const size = Math.min(to.length, stream.length - at)
        to.set(stream.subarray(at, at + size))
        if (to !== shared) straight += size
        callback(size, to)
        at += size
      }
      assert.isAbove(straight, 0.8 * value.length)
      assert.strictEqual(place(), shared)
      const replies = yield* wire.pull
      assert.isTrue(replies[0] instanceof Uint8Array && value.equals(replies[0]))
      assert.strictEqual(replies[1], "OK")
      socket.destroy()
    })
  )

  it.effect("a reader that is behind keeps it paused when the slice is over", () =>
    Effect.gen(function* () {
      const { read, socket, wire } = makeWire()
      const replies = Buffer.from("+OK\r\n".repeat(READ / 5))
      while (read(replies));
      for (let i = 0; i < MOST / READ; i++) read(replies)
      yield* nextTurn
      assert.strictEqual(socket.resumed, 0)
      yield* wire.pull
      yield* Effect.forkChild(wire.pull, { startImmediately: true })
      assert.strictEqual(socket.resumed, 1)
      socket.destroy()
    })
  )

  it.effect("and a reader that is not does not cut the pause short", () =>
    Effect.gen(function* () {
      const { read, socket, wire } = makeWire()
      const replies = Buffer.from("+OK\r\n".repeat(READ / 5))
      for (let i = 0; i < MOST / READ; i++) read(replies)
      yield* wire.pull
      yield* Effect.forkChild(wire.pull, { startImmediately: true })
      assert.strictEqual(socket.resumed, 0)
      yield* nextTurn
      assert.strictEqual(socket.resumed, 1)
      socket.destroy()
    })
  )

  it.effect("a socket that gives chunks of its own is paused in the same way", () =>
    Effect.gen(function* () {
      const socket = new Net.Socket()
      const wire = new Wire(Resp.makeDecoder({ volatile: true }), () => undefined)
      wire.attachChunks(socket)
      socket.emit("data", head)
      const slice = () => {
        let chunks = 0
        for (; !socket.isPaused() && chunks < 1000; chunks++) socket.emit("data", inside)
        return chunks * READ
      }
      assert.isAtMost(slice(), MOST)
      yield* nextTurn
      assert.isFalse(socket.isPaused())
      assert.isAtMost(slice(), MOST)
      socket.destroy()
    })
  )
})
