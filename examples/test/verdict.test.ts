/**
 * The demo's verdict finds what it is there to find: each broken promise alone makes it fail, and is named.
 */
import { assert, layer } from "@effect/vitest"
import { Ledger, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import { Book } from "../src/demo/book.ts"
import type { Struck } from "../src/demo/faults.ts"
import type { Settings } from "../src/demo/settings.ts"
import { judge } from "../src/demo/verdict.ts"

const settings: Settings = { seconds: 1, faults: 1, minimumFaults: 1, minimumCalls: 2 }
const struck: ReadonlyArray<Struck> = [{ name: "CLIENT KILL", at: 0, hit: true, downMillis: 1 }]
const write: Ledger.Call = { kind: "RPUSH", effect: "write", accepts: (reply) => reply === 1 }
const read: Ledger.Call = { kind: "LINDEX", effect: "read" }
const acknowledged: Ledger.Outcome = { _tag: "Acknowledged", reply: 1 }

/** A write that was acknowledged and has run, and a read, and whatever else `happens`; then the verdict. */
const verdictOf = (
  happens: (
    book: Book,
    push: (id: number) => Effect.Effect<unknown, RedisServer.RedisServerError>
  ) => Effect.Effect<unknown, RedisServer.RedisServerError> = () => Effect.void,
  faults = struck
) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.RedisServer
    yield* server.command(["FLUSHALL"])
    const book = new Book(yield* Ledger.make)
    book.lists.add("log")
    const push = (id: number) => server.command(["RPUSH", "log", id])
    const id = yield* book.ledger.submit(write)
    yield* push(id)
    yield* book.ledger.settle(id, acknowledged)
    yield* book.ledger.settle(yield* book.ledger.submit(read), acknowledged)
    yield* happens(book, push)
    const { lines, ok } = yield* judge(settings, server, book, faults)
    const broken = lines.map((line) => line.map(({ text }) => text).join("")).filter((text) => text.includes("BROKEN"))
    return { ok, broken: broken.map((text) => text.replace(/^ *BROKEN */, "")), lines }
  })

const settled = (call: Ledger.Call, outcome: Ledger.Outcome) => (book: Book) =>
  Effect.flatMap(book.ledger.submit(call), (id) => book.ledger.settle(id, outcome))

const ran =
  (outcome: Ledger.Outcome, times: number): Parameters<typeof verdictOf>[0] =>
  (book, push) =>
    Effect.gen(function* () {
      const id = yield* book.ledger.submit(write)
      for (let n = 0; n < times; n++) yield* push(id)
      yield* book.ledger.settle(id, outcome)
    })

layer(RedisServer.layer())("the verdict", (it) => {
  it.effect("is good when all is well", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* verdictOf()).broken, [])
      assert.isTrue((yield* verdictOf()).ok)
    })
  )

  const cases: ReadonlyArray<readonly [string, Parameters<typeof verdictOf>[0]]> = [
    ["acknowledged writes missing on the server: 1", settled(write, acknowledged)],
    ["writes that ran twice: 1", ran(acknowledged, 2)],
    ["writes that ran though they failed as unsent: 1", ran({ _tag: "Failed", delivery: "unsent" }, 1)],
    ["reads failed: 1", settled(read, { _tag: "Failed", delivery: "unsent" })],
    ["wrong replies: 1", ran({ _tag: "Acknowledged", reply: 7 }, 1)],
    ["calls without an end: 1", (book) => book.ledger.submit(write)],
    ["writes on the server that nobody made: 1", (_, push) => push(77)]
  ]
  for (const [text, happens] of cases) {
    it.effect(`says "${text}"`, () =>
      Effect.gen(function* () {
        const { broken, ok } = yield* verdictOf(happens)
        assert.deepStrictEqual(broken, [text])
        assert.isFalse(ok)
      })
    )
  }

  it.effect("counts a fault only when it hit", () =>
    Effect.gen(function* () {
      const { broken, ok } = yield* verdictOf(undefined, [{ name: "CLIENT KILL", at: 0, hit: false, downMillis: 1 }])
      assert.deepStrictEqual(broken, ["0 faults that each ended a ready session (at least 1)"])
      assert.isFalse(ok)
    })
  )

  it.effect("tells how many unknown writes have run", () =>
    Effect.gen(function* () {
      const { lines, ok } = yield* verdictOf((book, push) =>
        Effect.gen(function* () {
          for (const runs of [true, false]) {
            const id = yield* book.ledger.submit(write)
            if (runs) yield* push(id)
            yield* book.ledger.settle(id, { _tag: "Failed", delivery: "unknown" })
            book.unknownWrites.push({ id, kind: "RPUSH", key: "log" })
          }
        })
      )
      assert.isTrue(ok)
      assert.match(
        lines
          .flat()
          .map(({ text }) => text)
          .join("\n"),
        /of 2 writes 1 had run, 1 had not/
      )
    })
  )
})
