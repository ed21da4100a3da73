import { assert, describe, it, layer } from "@effect/vitest"
import { Ledger, RedisServer } from "@relive/testing"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { elapsed } from "./client.ts"

const write: Ledger.Call = { kind: "rpush", effect: "write" }
const read: Ledger.Call = { kind: "get", effect: "read" }
const acknowledged: Ledger.Outcome = { _tag: "Acknowledged", reply: "OK" }
const unsent: Ledger.Outcome = { _tag: "Failed", delivery: "unsent" }
const unknown: Ledger.Outcome = { _tag: "Failed", delivery: "unknown" }

/** Which laws a single write breaks that settled with `outcome` and was executed so often. */
const brokenBy = (outcome: Ledger.Outcome | undefined, executed: number, call: Ledger.Call = write) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.make
    const id = yield* ledger.submit(call)
    if (outcome !== undefined) yield* ledger.settle(id, outcome)
    if (executed > 0) yield* ledger.executed(id, executed)
    const report = yield* ledger.report
    const broken = Ledger.laws.filter((law) => report[law] > 0)
    assert.deepStrictEqual(new Set(report.violations.map(({ law }) => law)), new Set(broken))
    assert.strictEqual(Ledger.isClean(report), broken.length === 0)
    return broken
  })

describe("Ledger", () => {
  for (const [outcome, executed, broken, call] of [
    [acknowledged, 1, []],
    [acknowledged, 0, ["lostAcknowledged"]],
    [acknowledged, 2, ["executedTwice"]],
    [acknowledged, 300, ["executedTwice"]],
    [acknowledged, 2, [], { ...write, mayRepeat: true }],
    [unsent, 0, []],
    [unsent, 1, ["executedThoughUnsent"]],
    [unsent, 2, ["executedThoughUnsent", "executedTwice"]],
    [unknown, 0, []],
    [unknown, 1, []],
    [unknown, 2, ["executedTwice"]],
    [{ _tag: "Interrupted" }, 1, []],
    [{ _tag: "Interrupted" }, 2, ["executedTwice"]],
    [{ _tag: "Interrupted", delivery: "unsent" }, 1, ["executedThoughUnsent"]],
    [{ _tag: "Refused" }, 0, []],
    [{ _tag: "Refused" }, 1, ["wrongReplies"]],
    [undefined, 1, ["unsettled"]],
    [acknowledged, 0, [], read],
    [undefined, 0, ["unsettled"], read]
  ] as ReadonlyArray<[Ledger.Outcome | undefined, number, ReadonlyArray<Ledger.Law>, Ledger.Call?]>) {
    const title = `${JSON.stringify(outcome)} and ${executed} executions of a ${call?.effect ?? "write"}`
    it.effect(`${title}: ${broken.join() || "clean"}`, () =>
      Effect.map(brokenBy(outcome, executed, call), (found) => {
        assert.deepStrictEqual(new Set(found), new Set(broken))
      })
    )
  }

  it.effect("judges replies, settles once, and knows strangers", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.make
      const echo: Ledger.Call = {
        kind: "echo",
        effect: "read",
        keys: ["k"],
        accepts: (reply, id) => reply === `v${id}`
      }
      const right = yield* ledger.submit(echo)
      const wrong = yield* ledger.submit(echo)
      yield* ledger.settle(right, { _tag: "Acknowledged", reply: "v0" })
      yield* ledger.settle(wrong, { _tag: "Acknowledged", reply: "v0" })
      yield* ledger.settle(wrong, unknown)
      yield* ledger.settle(99, unknown)
      yield* ledger.executed(77)
      const report = yield* ledger.report
      assert.strictEqual(report.wrongReplies, 1)
      assert.strictEqual(report.settledTwice, 2)
      assert.strictEqual(report.executedUnknown, 1)
      const [violation] = report.violations.filter(({ law }) => law === "wrongReplies")
      assert.deepInclude(violation, { id: wrong, kind: "echo", keys: ["k"], outcome: "acknowledged" })
      assert.isAtLeast(violation?.settledAtMillis ?? -1, violation?.submittedAtMillis ?? Infinity)
    })
  )

  it.effect("tracks calls over every exit", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.make
      const track = (run: Effect.Effect<unknown, Ledger.Outcome>, call = write) =>
        ledger.track(
          call,
          () => run,
          (error) => error
        )
      assert.strictEqual(yield* track(Effect.succeed(1)), 1)
      yield* Effect.exit(track(Effect.fail(unsent)))
      yield* Effect.exit(track(Effect.fail(unknown)))
      yield* Effect.exit(track(Effect.fail({ _tag: "Refused" })))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(track(Effect.die("defect")))))
      const started = yield* Deferred.make<void>()
      const waiting = yield* Effect.forkChild(
        track(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), read)
      )
      yield* Deferred.await(started)
      assert.strictEqual(yield* ledger.pending, 1)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(yield* ledger.pending, 0)
      const report = yield* ledger.report
      assert.deepStrictEqual(report.byKind, {
        rpush: { submitted: 5, acknowledged: 1, refused: 1, unsent: 1, unknown: 2, interrupted: 0 },
        get: { submitted: 1, acknowledged: 0, refused: 0, unsent: 0, unknown: 0, interrupted: 1 }
      })
      assert.strictEqual(report.submitted, 6)
    })
  )

  it.effect("stays cheap over millions of calls, and keeps their counts", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.make
      const count = 1_200_000
      const millis = yield* elapsed(
        Effect.gen(function* () {
          for (let id = 0; id < count; id++) {
            yield* ledger.submit(write)
            yield* ledger.settle(id, id === 5 ? unsent : acknowledged)
            yield* ledger.executed(id)
          }
        })
      )
      assert.isBelow((millis * 1000) / count, 20)
      const report = yield* ledger.report
      assert.strictEqual(report.acknowledged, count - 1)
      assert.deepStrictEqual(
        report.violations.map(({ id, law, submittedAtMillis }) => ({ id, law, submittedAtMillis })),
        [{ id: 5, law: "executedThoughUnsent", submittedAtMillis: undefined }]
      )
    })
  )
})

layer(RedisServer.layer())("Ledger with a server", (it) => {
  it.effect("collects what the server executed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const ledger = yield* Ledger.make
      const ids = yield* Effect.forEach(Array.from({ length: 25_000 }), () => ledger.submit(write))
      yield* Effect.forEach(ids, (id) => ledger.settle(id, acknowledged), { discard: true })
      const [inHash = 0, inSet = 0, lost = 0, twice = 0, ...inList] = ids
      const commands: Array<Array<string | number>> = [
        ["RPUSH", "log", ...inList.map((id) => (id % 2 === 0 ? id : `${id}:payload`))],
        ["SADD", "set", inSet],
        ["HINCRBY", "counts", inHash, 1],
        ["HINCRBY", "counts", twice, 2]
      ]
      yield* server.commands(commands)
      const sources = { lists: ["log", "absent"], sets: ["set"], hashes: ["counts"] }
      const verdict = Effect.andThen(ledger.collect(server, sources), ledger.report)
      yield* verdict
      // The second reading replaces the first.
      const report = yield* verdict
      assert.deepStrictEqual(
        report.violations.map(({ id, law }) => [law, id]),
        [
          ["lostAcknowledged", lost],
          ["executedTwice", twice]
        ]
      )
      yield* server.command(["RPUSH", "log", "garbage"])
      assert.strictEqual((yield* verdict).executedUnknown, 1)
    })
  )
})
