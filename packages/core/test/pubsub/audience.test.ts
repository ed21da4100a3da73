/**
 * Batches for several subscriptions against a list for each: whatever is published where, and told in between, each subscription
 * is told it in the order in which it came, and never more at once than it has room for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Audiences } from "../../src/internal/pubsub/audience.ts"
import type { Audience, Listener, Told } from "../../src/internal/pubsub/audience.ts"
import { BATCH_BYTES, BATCH_MESSAGES, Delivery } from "../../src/internal/pubsub/batch.ts"
import type { Batch } from "../../src/internal/pubsub/batch.ts"
import { Random } from "../behaviours/random.ts"

const message = (n: number, bytes = 1): Delivery => new Delivery("c", undefined, "x".repeat(bytes), n)

class Ear implements Listener {
  audience: Audience | undefined = undefined
  roomMessages = Infinity
  roomBytes = Infinity
  readonly told: Array<number | string> = []
  readonly batches: Array<Batch> = []

  readonly offer = (batch: Batch): void => {
    this.batches.push(batch)
    this.told.push(...batch.deliveries.map(({ provenAt }) => provenAt))
  }

  /** Something else is told, as a gap. */
  mark(text: string): void {
    this.audience?.close()
    this.told.push(text)
  }
}

const topicOf = (...members: ReadonlyArray<Ear>): Told => ({ members: new Set(members), audience: undefined })

describe("the batches of an audience", () => {
  it("are shared", () => {
    const ears = [new Ear(), new Ear(), new Ear()]
    const topic = topicOf(...ears)
    const audiences = new Audiences()
    for (let n = 1; n <= 10; n++) audiences.deliver(topic, message(n))
    assert.deepStrictEqual(ears[0]?.told, [])
    audiences.closeAll()
    audiences.closeAll()
    for (const ear of ears) {
      assert.lengthOf(ear.batches, 1)
      assert.strictEqual(ear.batches[0], ears[0]?.batches[0])
      assert.deepStrictEqual(ear.told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    }
  })

  it("are shared by topics of the same subscriptions, whose messages may alternate", () => {
    const ears = [new Ear(), new Ear()]
    const [a, b] = [topicOf(...ears), topicOf(...ears)]
    const audiences = new Audiences()
    for (let n = 1; n <= 100; n++) audiences.deliver(n % 2 === 0 ? a : b, message(n))
    audiences.closeAll()
    for (const ear of ears) {
      assert.lengthOf(ear.batches, 1)
      assert.deepStrictEqual(
        ear.told,
        Array.from({ length: 100 }, (_, i) => i + 1)
      )
    }
  })

  it("are no larger than what is handed out at a time, and a large message goes alone", () => {
    const ear = new Ear()
    const topic = topicOf(ear)
    const audiences = new Audiences()
    for (let n = 1; n <= BATCH_MESSAGES + 1; n++) audiences.deliver(topic, message(n))
    audiences.deliver(topic, message(1000, BATCH_BYTES))
    audiences.deliver(topic, message(1001))
    audiences.closeAll()
    assert.deepStrictEqual(
      ear.batches.map(({ size }) => size),
      [BATCH_MESSAGES, 1, 1, 1]
    )
  })

  it("are closed when the buffer of one is full with them", () => {
    const [small, large] = [new Ear(), new Ear()]
    small.roomMessages = 3
    const audiences = new Audiences()
    const topic = topicOf(large, small)
    for (let n = 1; n <= 4; n++) audiences.deliver(topic, message(n))
    assert.deepStrictEqual(small.told, [1, 2, 3])
    small.roomMessages = Infinity
    small.roomBytes = 10
    audiences.closeAll()
    for (let n = 5; n <= 7; n++) audiences.deliver(topic, message(n, 5))
    assert.deepStrictEqual(large.told, [1, 2, 3, 4, 5, 6])
  })

  it("tell each subscription everything in its order, whoever wants what", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed)
      const ears = Array.from({ length: 1 + random.below(5) }, () => new Ear())
      const model = new Map<Ear, Array<number | string>>(ears.map((ear) => [ear, []]))
      const topics = Array.from({ length: 1 + random.below(5) }, () =>
        topicOf(...ears.filter(() => random.chance(0.5)))
      )
      const audiences = new Audiences()
      for (let n = 1; n <= 200; n++) {
        const topic = topics[random.below(topics.length)]
        const ear = ears[random.below(ears.length)]
        if (topic === undefined || ear === undefined) continue
        const dice = random.below(20)
        if (dice < 16) {
          if (random.chance(0.1)) for (const each of ears) each.roomMessages = 1 + random.below(10)
          audiences.deliver(topic, message(n))
          for (const each of topic.members) if (each instanceof Ear) model.get(each)?.push(n)
        } else if (dice === 16) {
          ear.mark(`mark ${n}`)
          model.get(ear)?.push(`mark ${n}`)
        } else if (dice === 17) {
          audiences.closeAll()
          assert.isTrue(ears.every(({ audience }) => audience === undefined))
        } else if (dice === 18) {
          // The members change while a batch may be open.
          const next = topicOf(...ears.filter(() => random.chance(0.5)))
          topics[topics.indexOf(topic)] = next
        }
      }
      audiences.closeAll()
      for (const ear of ears) assert.deepStrictEqual(ear.told, model.get(ear), `seed ${seed}`)
    }
  })
})
