/**
 * The buffer of one subscriber against a list that forgets nothing: whatever comes, in whatever order it is read, each number
 * was delivered, in order, or lies in a gap that counts it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { RedisPubSub } from "@relive/core"
import { Batch, Delivery } from "../../src/internal/pubsub/batch.ts"
import { Inbox, Mark } from "../../src/internal/pubsub/inbox.ts"
import type { Item } from "../../src/internal/pubsub/inbox.ts"
import { connectionError } from "../../src/internal/errors.ts"
import { Random } from "../behaviours/random.ts"

const cause = connectionError({ kind: "disconnected", address: "test", detail: "lost" }, "unsent")

const inboxOf = (whenFull: RedisPubSub.WhenFull, bufferMessages: number, bufferBytes = 1e9) =>
  new Inbox({ whenFull, bufferMessages, bufferBytes })

/** Message number `n`, which is also when it came. */
const message = (n: number, bytes = 1): Delivery => new Delivery("c", undefined, "x".repeat(bytes), n)

const batch = (...messages: ReadonlyArray<Delivery>): Batch => new Batch([...messages])

/** The numbers from `first` to `last`, in one batch. */
const numbers = (first: number, last: number): Batch =>
  batch(...Array.from({ length: last - first + 1 }, (_, i) => message(first + i)))

/** What is taken next, one by one. */
const taken = (inbox: Inbox): ReadonlyArray<Item> => {
  const items = inbox.take()
  return items instanceof Batch ? items.deliveries : items
}

/** All that is there. */
const takenAll = (inbox: Inbox): ReadonlyArray<Item> => {
  const all: Array<Item> = []
  for (let items = taken(inbox); items.length > 0; items = taken(inbox)) all.push(...items)
  return all
}

/** What was read, in short: numbers, and marks. */
const read = (inbox: Inbox): ReadonlyArray<string> =>
  takenAll(inbox).flatMap((item): ReadonlyArray<string> => {
    if (item instanceof Delivery) return [String(item.provenAt)]
    const { dropped, droppedSince, lost, resubscribed, subscribed } = item
    return [
      ...(subscribed ? ["subscribed"] : []),
      ...(dropped === 0 ? [] : [`dropped ${dropped} since ${droppedSince}`]),
      ...(lost === undefined ? [] : [`lost since ${lost.since}`]),
      ...(resubscribed ? ["resubscribed"] : [])
    ]
  })

/** The messages that cannot be collected because of it. */
const held = (inbox: Inbox): number => {
  const items: ReadonlyArray<unknown> = Reflect.get(inbox, "items")
  return items.reduce<number>((sum, item) => sum + (item instanceof Batch ? item.size : 0), 0)
}

describe("a full buffer", () => {
  it("drops the oldest, and says how many in their place", () => {
    const inbox = inboxOf("dropOldest", 3)
    inbox.tail().subscribed = true
    for (let n = 1; n <= 5; n++) inbox.offer(batch(message(n)))
    assert.deepStrictEqual(read(inbox), ["subscribed", "dropped 2 since 1", "3", "4", "5"])
    for (let n = 6; n <= 9; n++) inbox.offer(batch(message(n)))
    assert.deepStrictEqual(read(inbox), ["dropped 1 since 6", "7", "8", "9"])
    assert.strictEqual(inbox.dropped, 3)
  })

  it("drops the newest, and says how many in their place", () => {
    const inbox = inboxOf("dropNewest", 2)
    for (let n = 1; n <= 4; n++) inbox.offer(batch(message(n)))
    assert.deepStrictEqual(read(inbox), ["1", "2", "dropped 2 since 3"])
    inbox.offer(batch(message(5)))
    assert.deepStrictEqual(read(inbox), ["5"])
  })

  it("says that it is, where that is to be a failure", () => {
    const inbox = inboxOf("fail", 1)
    assert.isTrue(inbox.offer(batch(message(1))))
    assert.isTrue(inbox.full)
    assert.isFalse(inbox.offer(batch(message(2))))
    assert.deepStrictEqual(read(inbox), ["1"])
    assert.isFalse(inbox.offer(numbers(3, 5)))
    assert.deepStrictEqual(read(inbox), ["3"])
  })

  it("counts bytes, too, but takes one message of any size", () => {
    const inbox = inboxOf("dropOldest", 100, 10)
    inbox.offer(batch(message(1, 50)))
    inbox.offer(batch(message(2, 4)))
    inbox.offer(batch(message(3, 6)))
    inbox.offer(batch(message(4, 1)))
    assert.deepStrictEqual(read(inbox), ["dropped 2 since 1", "3", "4"])
  })

  it("holds no more than its bounds, however many losses there are in between", () => {
    const inbox = inboxOf("dropOldest", 2)
    for (let n = 1; n <= 10_000; n++) {
      inbox.offer(batch(message(n)))
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

describe("a batch", () => {
  it("is handed out as it came, and is the same for everybody", () => {
    const [one, other] = [inboxOf("dropOldest", 1024), inboxOf("fail", 1024)]
    const shared = numbers(1, 100)
    for (const inbox of [one, other]) {
      assert.isTrue(inbox.offer(shared))
      assert.strictEqual(inbox.depth, 100)
      assert.strictEqual(inbox.take(), shared)
      assert.strictEqual(inbox.depth, 0)
      assert.strictEqual(inbox.roomBytes, 1e9)
    }
  })

  it("is dropped in part, exactly as its messages would be one by one", () => {
    const inbox = inboxOf("dropOldest", 10)
    inbox.offer(numbers(1, 7))
    inbox.offer(numbers(8, 12))
    assert.strictEqual(inbox.depth, 10)
    inbox.offer(numbers(13, 40))
    assert.deepStrictEqual(read(inbox), ["dropped 30 since 1", ...Array.from({ length: 10 }, (_, i) => String(31 + i))])
  })

  it("is not held by a buffer that kept few of many", () => {
    const inbox = inboxOf("dropOldest", 10)
    inbox.offer(numbers(1, 256))
    assert.isAtMost(held(inbox), 20)
  })

  it("does not fill a buffer of small ones with what was dropped", () => {
    const inbox = inboxOf("dropNewest", 64)
    inbox.offer(numbers(1, 64))
    let from = 65
    for (let i = 0; i < 30; i++) {
      taken(inbox)
      inbox.offer(numbers(from, from + 255))
      from += 256
    }
    assert.isAtMost(held(inbox), 64)
  })
})

/** A buffer that takes one message after the other, and keeps them in a list: what the real one is to be like. */
class Model {
  readonly items: Array<Delivery | number> = []
  private readonly options: {
    readonly whenFull: RedisPubSub.WhenFull
    readonly messages: number
    readonly bytes: number
  }

  constructor(options: Model["options"]) {
    this.options = options
  }

  private get kept(): ReadonlyArray<Delivery> {
    return this.items.filter((item) => item instanceof Delivery)
  }

  private fits({ bytes }: Delivery): boolean {
    const { kept, options } = this
    const sum = kept.reduce((all, each) => all + each.bytes, bytes)
    return kept.length === 0 || (kept.length < options.messages && sum <= options.bytes)
  }

  offer(delivery: Delivery): void {
    while (!this.fits(delivery)) {
      if (this.options.whenFull === "dropNewest") return void this.items.push(delivery.provenAt)
      const oldest = this.items.findIndex((item) => item instanceof Delivery)
      const [dropped] = this.items.splice(oldest, 1, this.kept[0]?.provenAt ?? 0)
      assert.isDefined(dropped)
    }
    this.items.push(delivery)
  }

  take(): ReadonlyArray<string> {
    return this.items.splice(0).map((item) => (item instanceof Delivery ? `${item.provenAt}` : `dropped ${item}`))
  }
}

describe("batches of any size", () => {
  for (const whenFull of ["dropOldest", "dropNewest"] as const) {
    it(`leave what their messages would leave one by one (${whenFull})`, () => {
      for (let seed = 1; seed <= 150; seed++) {
        const random = new Random(seed)
        const [messages, bytes] = [1 + random.below(20), 1 + random.below(60)]
        const inbox = inboxOf(whenFull, messages, bytes)
        const model = new Model({ whenFull, messages, bytes })
        let sent = 0
        for (let i = 0; i < 30; i++) {
          const size = 1 + random.below(random.chance(0.2) ? 40 : 6)
          const offered = Array.from({ length: size }, () => message(++sent, random.below(random.chance(0.1) ? 80 : 8)))
          inbox.offer(batch(...offered))
          for (const delivery of offered) model.offer(delivery)
          assert.isAtMost(inbox.depth, messages)
          if (!random.chance(0.2)) continue
          const told = takenAll(inbox).flatMap((item): ReadonlyArray<string> => {
            if (item instanceof Delivery) return [`${item.provenAt}`]
            return Array.from({ length: item.dropped }, (_, n) => `dropped ${item.droppedSince + n}`)
          })
          // The numbers are consecutive, so what a gap counts is known by where it begins, and by what comes behind it.
          const expected = model.take()
          assert.strictEqual(told.length, expected.length, `seed ${seed}`)
          for (const [at, each] of expected.entries()) {
            if (!each.startsWith("dropped") || at === 0 || !expected[at - 1]?.startsWith("dropped")) {
              assert.strictEqual(told[at], each, `seed ${seed}`)
            }
          }
        }
      }
    })
  }
})

describe("any order of messages, losses and reads", () => {
  for (const whenFull of ["dropOldest", "dropNewest"] as const) {
    it(`loses nothing in silence (${whenFull})`, () => {
      for (let seed = 1; seed <= 500; seed++) {
        const random = new Random(seed)
        const capacity = 1 + random.below(5)
        const inbox = inboxOf(whenFull, capacity)
        let sent = 0
        let dropped = 0
        let last = 0
        const check = (): void => {
          for (const item of taken(inbox)) {
            if (item instanceof Mark) {
              if (item.dropped === 0) continue
              dropped += item.dropped
              // What is missing came after what was read before, and nothing of it is told again.
              assert.isAbove(item.droppedSince, last)
              last += item.dropped
              assert.isAtLeast(last, item.droppedSince)
            } else {
              assert.strictEqual(item.provenAt, last + 1, `seed ${seed}`)
              last = item.provenAt
            }
          }
        }
        for (let i = 0; i < 100; i++) {
          if (random.chance(0.8)) inbox.offer(numbers(sent + 1, (sent += 1 + random.below(4))))
          if (random.chance(0.1)) inbox.tail().lose(sent, cause)
          if (random.chance(0.1)) inbox.tail().resubscribed = true
          if (random.chance(0.15)) check()
          assert.isAtMost(inbox.depth, capacity)
        }
        while (inbox.depth > 0) check()
        check()
        assert.strictEqual(last, sent, `seed ${seed}`)
        assert.strictEqual(dropped, inbox.dropped)
      }
    })
  }
})
