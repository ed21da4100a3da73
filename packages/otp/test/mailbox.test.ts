import { assert, describe, it } from "@effect/vitest"
import { Mailbox } from "@relive/otp"
import { Arbitrary, Effect, Fiber, Schema } from "effect"

class Item implements Mailbox.Entry<Item> {
  readonly id: number
  readonly count: number
  readonly bytes: number
  next: Item | undefined = undefined
  previous: Item | undefined = undefined
  list: Mailbox.EntryList<Item> | undefined = undefined
  constructor(id: number, count = 1, bytes = 1) {
    this.id = id
    this.count = count
    this.bytes = bytes
  }
}

const ids = (list: Mailbox.EntryList<Item>): ReadonlyArray<number> => {
  const forwards: Array<number> = []
  for (let item = list.head; item !== undefined; item = item.next) forwards.push(item.id)
  const backwards: Array<number> = []
  for (let item = list.tail; item !== undefined; item = item.previous) backwards.unshift(item.id)
  assert.deepStrictEqual(forwards, backwards, "both ways show the same")
  return forwards
}

const sum = (items: ReadonlyArray<Item>, of: (item: Item) => number) =>
  items.reduce((total, item) => total + of(item), 0)

/** What a mailbox should do, in the simplest words. */
class Model {
  queue: Array<Item> = []
  waiting: Array<Item> = []
  admitted: Array<number> = []
  ready = 0
  readonly capacity: number
  readonly capacityBytes: number
  readonly suspend: boolean

  constructor(capacity: number, capacityBytes: number, suspend: boolean) {
    this.capacity = capacity
    this.capacityBytes = capacityBytes
    this.suspend = suspend
  }

  private fits(item: Item): boolean {
    if (this.queue.length === 0) return true
    const all = [...this.queue, item]
    return sum(all, (item) => item.count) <= this.capacity && sum(all, (item) => item.bytes) <= this.capacityBytes
  }

  private changing(change: () => void): void {
    const wasEmpty = this.queue.length === 0
    change()
    if (wasEmpty && this.queue.length > 0) this.ready++
  }

  offer(item: Item): Mailbox.Offer {
    if (this.waiting.length === 0 && this.fits(item)) {
      this.changing(() => this.queue.push(item))
      return "queued"
    }
    if (!this.suspend) return "full"
    this.waiting.push(item)
    return "waiting"
  }

  append(item: Item): void {
    this.changing(() => this.queue.push(item))
  }

  prepend(item: Item): void {
    this.changing(() => this.queue.unshift(item))
  }

  take(): Item | undefined {
    const item = this.queue.shift()
    this.admit()
    return item
  }

  remove(item: Item): boolean {
    const here = this.queue.includes(item) || this.waiting.includes(item)
    this.queue = this.queue.filter((other) => other !== item)
    this.waiting = this.waiting.filter((other) => other !== item)
    this.admit()
    return here
  }

  drain(): ReadonlyArray<Item> {
    const all = [...this.queue, ...this.waiting]
    this.queue = []
    this.waiting = []
    return all
  }

  private admit(): void {
    for (let item = this.waiting[0]; item !== undefined && this.fits(item); item = this.waiting[0]) {
      const next = item
      this.waiting.shift()
      this.changing(() => this.queue.push(next))
      this.admitted.push(next.id)
    }
  }
}

const small = (maximum: number) => Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum })))
const steps = Arbitrary.array(Arbitrary.all({ kind: small(15), count: small(3), bytes: small(9), pick: small(30) }), {
  minLength: 1,
  maxLength: 120
})

describe("Mailbox", () => {
  it.prop(
    "does what the model does under any interleaving: order, bounds, turns and totals",
    { capacity: small(8), capacityBytes: small(20), suspend: Schema.Boolean, steps },
    ({ capacity, capacityBytes, steps, suspend }) => {
      const admitted: Array<number> = []
      let ready = 0
      const whenFull = suspend ? ("suspend" as const) : ("fail" as const)
      const mailbox = new Mailbox.Mailbox<Item>({
        capacity,
        capacityBytes,
        whenFull,
        onAdmit: (item) => {
          assert.strictEqual(item.list, mailbox.queue, "admitted means in the queue")
          admitted.push(item.id)
        }
      })
      mailbox.onReady = () => {
        assert.isDefined(mailbox.queue.head)
        ready++
      }
      const model = new Model(capacity, capacityBytes, suspend)
      const all: Array<Item> = []
      const fresh = (count: number, bytes: number) => {
        const item = new Item(all.length, count, bytes)
        all.push(item)
        return item
      }
      for (const { bytes, count, kind, pick } of steps) {
        const old = all[pick % Math.max(1, all.length)]
        if (kind < 7) {
          const item = fresh(count, bytes)
          assert.strictEqual(mailbox.offer(item), model.offer(item))
        } else if (kind < 10) {
          assert.strictEqual(mailbox.take(), model.take())
        } else if (kind < 12 && old !== undefined) {
          assert.strictEqual(mailbox.remove(old), model.remove(old))
        } else if (kind === 12 && old !== undefined && old.list === undefined) {
          mailbox.prepend(old)
          model.prepend(old)
        } else if (kind === 13) {
          const item = fresh(count, bytes)
          mailbox.append(item)
          model.append(item)
        } else if (kind === 14 && pick === 0) {
          assert.deepStrictEqual(mailbox.drain(), model.drain())
        }
        assert.deepStrictEqual(
          ids(mailbox.queue),
          model.queue.map((item) => item.id)
        )
        assert.deepStrictEqual(
          ids(mailbox.waiting),
          model.waiting.map((item) => item.id)
        )
        for (const [list, items] of [
          [mailbox.queue, model.queue],
          [mailbox.waiting, model.waiting]
        ] as const) {
          assert.strictEqual(list.size, items.length)
          assert.strictEqual(
            list.count,
            sum(items, (item) => item.count)
          )
          assert.strictEqual(
            list.bytes,
            sum(items, (item) => item.bytes)
          )
        }
        assert.strictEqual(
          mailbox.depth,
          sum([...model.queue, ...model.waiting], (item) => item.count)
        )
        assert.strictEqual(ready, model.ready)
        assert.deepStrictEqual(admitted, model.admitted)
      }
      for (const item of all) if (item.list === undefined) assert.isUndefined(item.next ?? item.previous)
    },
    { arbitrary: { runs: 500 } }
  )

  it("an entry larger than the bounds goes in when the queue is empty, and nothing passes it", () => {
    const mailbox = new Mailbox.Mailbox<Item>({ capacityBytes: 10 })
    assert.strictEqual(mailbox.offer(new Item(0, 1, 1)), "queued")
    assert.strictEqual(mailbox.offer(new Item(1, 1, 100)), "waiting")
    assert.strictEqual(mailbox.offer(new Item(2, 1, 1)), "waiting")
    assert.strictEqual(mailbox.take()?.id, 0)
    assert.deepStrictEqual(ids(mailbox.queue), [1])
    assert.strictEqual(mailbox.take()?.id, 1)
    assert.deepStrictEqual(ids(mailbox.queue), [2])
  })

  it("an entry is in one list only", () => {
    const mailbox = new Mailbox.Mailbox<Item>()
    const item = new Item(0)
    mailbox.offer(item)
    assert.throws(() => mailbox.offer(item), /one list only/)
    assert.deepStrictEqual([mailbox.queue.size, mailbox.queue.count], [1, 1])
  })

  it.effect("awaitReady goes on when something is there, and an interrupted one loses nothing", () =>
    Effect.gen(function* () {
      const mailbox = new Mailbox.Mailbox<Item>()
      const gone = yield* Effect.forkChild(Mailbox.awaitReady(mailbox), { startImmediately: true })
      yield* Fiber.interrupt(gone)
      assert.isUndefined(mailbox.onReady)
      const waiting = yield* Effect.forkChild(Mailbox.awaitReady(mailbox), { startImmediately: true })
      mailbox.offer(new Item(0))
      yield* Fiber.join(waiting)
      yield* Mailbox.awaitReady(mailbox)
      assert.strictEqual(mailbox.take()?.id, 0)
    })
  )
})
