/**
 * The buffer of one subscriber against a list that forgets nothing: whatever comes, in whatever order it is read, each number
 * was delivered, in order, or lies in a gap that counts it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { RedisPubSub } from "@relive/core"
import { Delivery, Inbox, Mark } from "../../src/internal/pubsub/inbox.ts"
import { connectionError } from "../../src/internal/errors.ts"
import { Random } from "../behaviours/random.ts"

const cause = connectionError({ kind: "disconnected", address: "test", detail: "lost" }, "unsent")

const inboxOf = (whenFull: RedisPubSub.WhenFull, bufferMessages: number, bufferBytes = 1e9) =>
  new Inbox({ whenFull, bufferMessages, bufferBytes })

/** Message number `n`, which is also when it came. */
const message = (n: number, bytes = 1): Delivery => new Delivery("c", undefined, "x".repeat(bytes), n)

/** What was read, in short: numbers, and marks. */
const read = (inbox: Inbox): ReadonlyArray<string> =>
  inbox.take().flatMap((item): ReadonlyArray<string> => {
    if (item instanceof Delivery) return [String(item.provenAt)]
    const { lost, overflow, resubscribed, subscribed } = item
    return [
      ...(subscribed ? ["subscribed"] : []),
      ...(overflow === undefined ? [] : [`dropped ${overflow.dropped} since ${overflow.since}`]),
      ...(lost === undefined ? [] : [`lost since ${lost.since}`]),
      ...(resubscribed ? ["resubscribed"] : [])
    ]
  })

describe("a full buffer", () => {
  it("drops the oldest, and says how many in their place", () => {
    const inbox = inboxOf("dropOldest", 3)
    inbox.tail().subscribed = true
    for (let n = 1; n <= 5; n++) inbox.offer(message(n))
    assert.deepStrictEqual(read(inbox), ["subscribed", "dropped 2 since 1", "3", "4", "5"])
    for (let n = 6; n <= 9; n++) inbox.offer(message(n))
    assert.deepStrictEqual(read(inbox), ["dropped 1 since 6", "7", "8", "9"])
    assert.strictEqual(inbox.dropped, 3)
  })

  it("drops the newest, and says how many in their place", () => {
    const inbox = inboxOf("dropNewest", 2)
    for (let n = 1; n <= 4; n++) inbox.offer(message(n))
    inbox.take().length = 0
    const next = inboxOf("dropNewest", 2)
    for (let n = 1; n <= 4; n++) next.offer(message(n))
    assert.deepStrictEqual(read(next), ["1", "2", "dropped 2 since 3"])
    next.offer(message(5))
    assert.deepStrictEqual(read(next), ["5"])
  })

  it("says that it is, where that is to be a failure", () => {
    const inbox = inboxOf("fail", 1)
    assert.strictEqual(inbox.offer(message(1)), "full")
    assert.strictEqual(inbox.offer(message(2)), "failed")
    assert.deepStrictEqual(read(inbox), ["1"])
  })

  it("counts bytes, too, but takes one message of any size", () => {
    const inbox = inboxOf("dropOldest", 100, 10)
    inbox.offer(message(1, 50))
    inbox.offer(message(2, 4))
    inbox.offer(message(3, 6))
    inbox.offer(message(4, 1))
    assert.deepStrictEqual(read(inbox), ["dropped 2 since 1", "3", "4"])
  })

  it("holds no more than its bounds, however many losses there are in between", () => {
    const inbox = inboxOf("dropOldest", 2)
    for (let n = 1; n <= 10_000; n++) {
      inbox.offer(message(n))
      inbox.tail().lose(n, cause)
      inbox.tail().resubscribed = true
    }
    const told = read(inbox)
    assert.deepStrictEqual(told, [
      "dropped 9998 since 1",
      "lost since 1",
      "resubscribed",
      "9999",
      "lost since 9999",
      "resubscribed",
      "10000",
      "lost since 10000",
      "resubscribed"
    ])
  })

  it("tells two losses without a message in between as one, which begins with the first", () => {
    const inbox = inboxOf("dropOldest", 2)
    inbox.tail().lose(1, cause)
    inbox.tail().resubscribed = true
    inbox.tail().lose(2, cause)
    assert.deepStrictEqual(read(inbox), ["lost since 1"])
    inbox.tail().resubscribed = true
    assert.deepStrictEqual(read(inbox), ["resubscribed"])
  })
})

describe("any order of messages, losses and reads", () => {
  for (const whenFull of ["dropOldest", "dropNewest"] as const) {
    it(`loses nothing in silence (${whenFull})`, () => {
      for (let seed = 1; seed <= 1000; seed++) {
        const random = new Random(seed)
        const capacity = 1 + random.below(5)
        const inbox = inboxOf(whenFull, capacity)
        let sent = 0
        let dropped = 0
        let last = 0
        const check = (): void => {
          for (const item of inbox.take()) {
            if (item instanceof Mark) {
              const { overflow } = item
              if (overflow === undefined) continue
              dropped += overflow.dropped
              // What is missing came after what was read before, and nothing of it is told again.
              assert.isAbove(overflow.since, last)
              last += overflow.dropped
              assert.isAtLeast(last, overflow.since)
            } else {
              assert.strictEqual(item.provenAt, last + 1, `seed ${seed}`)
              last = item.provenAt
            }
          }
        }
        for (let i = 0; i < 100; i++) {
          if (random.chance(0.8)) inbox.offer(message(++sent))
          if (random.chance(0.1)) inbox.tail().lose(sent, cause)
          if (random.chance(0.1)) inbox.tail().resubscribed = true
          if (random.chance(0.15)) check()
          assert.isAtMost(inbox.depth, capacity)
        }
        check()
        assert.strictEqual(last, sent, `seed ${seed}`)
        assert.strictEqual(dropped, inbox.dropped)
      }
    })
  }
})
