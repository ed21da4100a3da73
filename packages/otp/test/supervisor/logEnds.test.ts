import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, Registry, Supervisor } from "@relive/otp"
import { Deferred, Effect, Logger } from "effect"

/** What is logged when a child crashes once; the tree shows the crash in any case. */
const linesOf = (settings: Partial<ChildSpec.Settings>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make((entry) => {
      lines.push(String(entry.message))
    })
    const crash = yield* Deferred.make<never, string>()
    let starts = 0
    const run = Effect.suspend(() => (++starts === 1 ? Deferred.await(crash) : Effect.never))
    const child = ChildSpec.effect({ ...settings, id: "a", run })
    const exits = yield* Effect.gen(function* () {
      const ref = yield* Supervisor.start(Supervisor.make({ children: [child] }))
      Deferred.doneUnsafe(crash, Effect.fail("boom"))
      return (yield* ref.tree).children.map((node) => node.lastExit?._tag)
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([logger])]))
    assert.deepStrictEqual([exits, starts], [["Crash"], 2])
    return lines
  })

describe("logEnds", () => {
  it.effect("false leaves it to the child to say why it ended", () =>
    Effect.gen(function* () {
      const [line = "", ...more] = yield* linesOf({})
      assert.include(line, 'Child "root/a" ended: crash: boom')
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual(yield* linesOf({ logEnds: false }), [])
    })
  )
})
