/**
 * The decoder as a channel.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

const bytes = (text: string): Uint8Array => Buffer.from(text)

/** What comes before the end, and how it ends. */
const collect = <A, E>(stream: Stream.Stream<A, E>) =>
  Effect.gen(function* () {
    const out: Array<A> = []
    const exit = yield* Effect.exit(Stream.runForEach(stream, (item) => Effect.sync(() => void out.push(item))))
    return { out, error: Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined }
  })

describe("decode", () => {
  it.effect("gives replies in arrays, one for the chunks that came together", () =>
    Effect.gen(function* () {
      const arrays: Array<ReadonlyArray<unknown>> = []
      yield* Stream.make(bytes("+a\r\n+b\r"), bytes("\n:1\r\n$1"), bytes("\r\nx\r\n")).pipe(
        Stream.rechunk(1),
        Stream.pipeThroughChannel(Resp.decode()),
        Stream.runForEachArray((array) => Effect.sync(() => void arrays.push(array)))
      )
      assert.deepStrictEqual(arrays, [["a"], ["b", 1], ["x"]])
    })
  )

  it.effect("takes options", () =>
    Effect.gen(function* () {
      const stream = Stream.make(bytes("$1\r\nx\r\n"))
      const { out } = yield* collect(stream.pipe(Stream.pipeThroughChannel(Resp.decode({ decode: "bytes" }))))
      assert.deepStrictEqual(out, [new Uint8Array([120])])
    })
  )

  it.effect("gives frames", () =>
    Effect.gen(function* () {
      const { out } = yield* collect(Stream.make(bytes("_\r\n")).pipe(Stream.pipeThroughChannel(Resp.decodeFrames())))
      assert.deepStrictEqual(out, [{ _tag: "Null", form: "null" }])
    })
  )

  it.effect("fails at a wrong byte, after the replies before it", () =>
    Effect.gen(function* () {
      const stream = Stream.make(bytes("+a\r\n+b\r\n@"), bytes("+c\r\n"))
      const { error, out } = yield* collect(stream.pipe(Stream.pipeThroughChannel(Resp.decode())))
      assert.deepStrictEqual(out, ["a", "b"])
      assert.instanceOf(error, Resp.ProtocolError)
      assert.deepInclude(error, { offset: 8, truncated: false })
    })
  )

  it.effect("fails when the stream ends inside a reply", () =>
    Effect.gen(function* () {
      for (const wire of ["+a\r\n$3\r\nfo", "+a\r\n*1\r\n", "+a\r\n|0\r\n", "+a\r\n+"]) {
        const { error, out } = yield* collect(Stream.make(bytes(wire)).pipe(Stream.pipeThroughChannel(Resp.decode())))
        assert.deepStrictEqual(out, ["a"])
        assert.deepInclude(error, { _tag: "ProtocolError", truncated: true, offset: wire.length })
      }
    })
  )

  it.effect("passes a failure of the stream on", () =>
    Effect.gen(function* () {
      const stream = Stream.concat(Stream.make(bytes("+a\r\n+b")), Stream.fail("lost" as const))
      const { error, out } = yield* collect(stream.pipe(Stream.pipeThroughChannel(Resp.decode<"lost">())))
      assert.deepStrictEqual(out, ["a"])
      assert.strictEqual(error, "lost")
    })
  )

  it.effect("starts anew for every run", () =>
    Effect.gen(function* () {
      const decode = Resp.decode()
      yield* collect(Stream.make(bytes("$5\r\nab")).pipe(Stream.pipeThroughChannel(decode)))
      const { out } = yield* collect(Stream.make(bytes("+ok\r\n")).pipe(Stream.pipeThroughChannel(decode)))
      assert.deepStrictEqual(out, ["ok"])
    })
  )

  it.live("lets others run while it decodes a huge chunk", () =>
    Effect.gen(function* () {
      const count = 1_000_000
      const chunk = Buffer.concat([bytes(`*${count}\r\n`), Buffer.alloc(count * 4, ":1\r\n")])
      let turns = 0
      const others = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => turns++)
          )
        )
      )
      const { error, out } = yield* collect(Stream.make(chunk).pipe(Stream.pipeThroughChannel(Resp.decode())))
      yield* Fiber.interrupt(others)
      assert.isUndefined(error)
      assert.strictEqual(out.length, 1)
      assert.isTrue(Array.isArray(out[0]) && out[0].length === count)
      assert.isAtLeast(turns, 5)
    })
  )
})
