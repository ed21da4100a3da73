/** The machine of the cluster-wide scan, against a model of a cluster whose keys move, slots change hands and nodes fail over. */
import { assert, describe, it } from "@effect/vitest"
import { lacks, readAddress, readOwners, readOwnSlots, ScanPass } from "../src/internal/scanPass.ts"

const SLOTS = 16_384
/** Slots that move: few, so that much happens to each. */
const moving = [3, 4]

const randomOf = (seed: number) => {
  let state = (seed * 2_654_435_761 + 1) >>> 0
  const next = () => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state / 2 ** 32
  }
  for (let i = 0; i < 8; i++) next()
  return next
}

interface ModelNode {
  readonly id: string
  epoch: number
  readonly leaving: Map<number, string>
  readonly arriving: Map<number, string>
}

interface ModelKey {
  readonly name: string
  readonly slot: number
  readonly bucket: number
  at: string
}

const BUCKETS = 6

/** A cluster as far as a scan can tell. Keys that clients cannot reach at some moment are not promised to be seen. */
class Model {
  readonly nodes = new Map<string, ModelNode>()
  readonly owner = new Map<number, string>()
  readonly keys: Array<ModelKey> = []
  readonly unreached = new Set<string>()
  private readonly random: () => number
  private heirs = 0

  constructor(random: () => number) {
    this.random = random
    for (const [i, id] of ["A", "B", "C"].entries()) this.add(id, i + 1)
    for (const slot of moving) this.owner.set(slot, this.pick([...this.nodes.keys()]))
    for (let i = 0; i < 24; i++) {
      const slot = this.pick(moving)
      const bucket = Math.floor(random() * BUCKETS)
      this.keys.push({ name: `k${i}`, slot, bucket, at: this.ownerOf(slot).id })
    }
  }

  private add(id: string, epoch: number): ModelNode {
    const node = { id, epoch, leaving: new Map<number, string>(), arriving: new Map<number, string>() }
    this.nodes.set(id, node)
    return node
  }

  pick<A>(items: ReadonlyArray<A>): A {
    const item = items[Math.floor(this.random() * items.length)]
    if (item === undefined) throw new Error("nothing to pick from")
    return item
  }

  ownerOf(slot: number): ModelNode {
    const node = this.nodes.get(this.owner.get(slot) ?? "A") ?? [...this.nodes.values()][0]
    if (node === undefined) throw new Error("no node")
    return node
  }

  /** `CLUSTER NODES` of a node. */
  text(id: string): string {
    return [...this.nodes.values()]
      .map((node) => {
        const flags = node.id === id ? "myself,master" : "master"
        const slots = moving.filter((slot) => this.ownerOf(slot) === node).map(String)
        if (this.ownerOf(-1) === node) slots.push("0-2", `5-${SLOTS - 1}`)
        if (node.id === id) {
          for (const [slot, to] of node.leaving) slots.push(`[${slot}->-${to}]`)
          for (const [slot, from] of node.arriving) slots.push(`[${slot}-<-${from}]`)
        }
        return `${node.id} 10.0.0.1:1@2 ${flags} - 0 ${this.random()} ${node.epoch} connected ${slots.join(" ")}`
      })
      .join("\n")
  }

  private isReached({ at, slot }: ModelKey): boolean {
    const owner = this.ownerOf(slot)
    if (at === owner.id) return true
    return owner.leaving.get(slot) === at && this.nodes.get(at)?.arriving.has(slot) === true
  }

  private take(node: ModelNode): void {
    const highest = Math.max(...[...this.nodes.values()].map(({ epoch }) => epoch))
    if (node.epoch !== highest) node.epoch = highest + 1
  }

  /** One thing happens. */
  happen(): void {
    const slot = this.pick(moving)
    const owner = this.ownerOf(slot)
    const to = owner.leaving.get(slot)
    const dice = this.random()
    if (dice < 0.03) this.failOver(this.pick([...this.nodes.values()]))
    else if (to === undefined) {
      const others = [...this.nodes.values()].filter((node) => node !== owner)
      const target = this.pick(others)
      if (dice > 0.15) target.arriving.set(slot, owner.id)
      if (dice > 0.2) owner.leaving.set(slot, target.id)
    } else if (dice < 0.12) {
      // Given up: the keys that have gone are out of reach.
      owner.leaving.delete(slot)
      this.nodes.get(to)?.arriving.delete(slot)
    } else if (dice < 0.16) this.nodes.get(to)?.arriving.delete(slot)
    else {
      const here = this.keys.filter((key) => key.slot === slot && key.at === owner.id)
      const target = this.nodes.get(to)
      if (target === undefined) owner.leaving.delete(slot)
      else if (here.length > 0 && dice < 0.8) this.pick(here).at = to
      else {
        for (const key of here) key.at = to
        owner.leaving.delete(slot)
        if (target.arriving.delete(slot)) this.take(target)
        this.owner.set(slot, to)
      }
    }
    this.look()
  }

  /** The operator closes slots that are open to nodes that are no more. Others may stay open for ever. */
  settle(): void {
    for (const { leaving } of this.nodes.values()) {
      for (const [slot, to] of leaving) if (!this.nodes.has(to)) leaving.delete(slot)
    }
    this.look()
  }

  private look(): void {
    for (const key of this.keys) if (!this.isReached(key)) this.unreached.add(key.name)
  }

  /** A replica takes over: another id, the same keys, no marks. */
  private failOver(node: ModelNode): void {
    const heir = this.add(`${node.id[0]}${++this.heirs}`, 0)
    this.take(heir)
    for (const [slot, id] of this.owner) if (id === node.id) this.owner.set(slot, heir.id)
    for (const key of this.keys) if (key.at === node.id) key.at = heir.id
    this.nodes.delete(node.id)
  }
}

/** Scans a model, in which things happen for so many steps, as `clusterScan` does. Returns the names that were seen. */
const scan = (seed: number, steps: number) => {
  const random = randomOf(seed)
  const model = new Model(random)
  const pass = new ScanPass([0, ...moving, SLOTS - 1])
  const seen = new Set<string>()
  let left = steps
  const pace = random() < 0.5 ? 2 : 12 * random()
  const happen = () => {
    for (let n = random() * pace; n > 0 && left > 0; n--, left--) model.happen()
  }
  const table = new Map(moving.map((slot) => [slot, model.ownerOf(slot).id]))
  const own = (id: string) => (model.nodes.has(id) ? readOwnSlots(model.text(id)) : undefined)
  const hear = (ids: Iterable<string>) => {
    for (const id of ids) {
      pass.confirm(id, random() < 0.1 && left > 0 ? undefined : own(id))
      happen()
    }
  }
  for (let walks = 0; pass.missing.length > 0; walks++) {
    if (left === 0) model.settle()
    if (walks > steps + 60) return { model, seen, ended: false }
    // The client learns late of what has changed.
    for (const slot of moving) if (random() < 0.6) table.set(slot, model.ownerOf(slot).id)
    const [id] = pass
      .next(
        (slot) => table.get(slot) ?? model.ownerOf(slot).id,
        (target) => target
      )
      .filter((one) => model.nodes.has(one))
    if (id === undefined) {
      hear(new Set([...pass.open.values()].map(({ from }) => from)))
      happen()
      continue
    }
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const now = own(id)
      if (now === undefined) break
      if (bucket === 0) {
        if (!pass.canUse(now)) break
        pass.begin(now)
      }
      if (!pass.page(now)) break
      for (const key of model.keys) {
        if (key.at === id && key.bucket === bucket && pass.tells(key.slot)) seen.add(key.name)
      }
      happen()
      if (bucket === BUCKETS - 1) hear(pass.end())
    }
    happen()
  }
  return { model, seen, ended: true }
}

describe("a scan over a cluster", () => {
  it("sees each key that can be reached all the time, whatever moves, and comes to its end", () => {
    let promised = 0
    for (let seed = 1; seed <= 3_000; seed++) {
      const { ended, model, seen } = scan(seed, (seed * 7) % 200)
      assert.isTrue(ended, `seed ${seed}: it does not end`)
      const due = model.keys.filter(({ name }) => !model.unreached.has(name)).map(({ name }) => name)
      promised += due.length
      assert.deepStrictEqual(
        due.filter((name) => !seen.has(name)),
        [],
        `seed ${seed}`
      )
    }
    assert.isAbove(promised, 10_000)
  })

  it("reads what a node says of its slots, and of others'", () => {
    const text = [
      "aa 10.0.0.1:6379@16379,host master - 0 1 7 connected 0-99 101 [5->-bb] [200-<-bb] [50-<-bb] [300->-bb]",
      "bb 10.0.0.2:6379@16379 master - 0 1 9 connected 100 200-300"
    ].join("\r\n")
    assert.strictEqual(readOwnSlots(text), undefined)
    const own = readOwnSlots(text.replace(" master ", " myself,master "))
    assert.ok(own !== undefined)
    assert.deepStrictEqual([own.id, own.epoch, [...own.targets]], ["aa", 7, [[5, "bb"]]])
    // An owner takes nothing in, and who does not own has nothing to hand over.
    const lacking = [0, 5, 50, 99, 100, 101, 200, 300].filter((slot) => lacks(own, slot))
    assert.deepStrictEqual(lacking, [100, 200, 300])
    const owners = readOwners(text)
    assert.deepStrictEqual(
      [0, 99, 100, 101, 102, 300].map((slot) => owners[slot]),
      ["aa", "aa", "bb", "aa", undefined, "bb"]
    )
    assert.deepStrictEqual(readAddress(text, "aa"), { host: "10.0.0.1", port: 6379 })
    assert.strictEqual(readAddress(text, "cc"), undefined)
    const later = text.replace(" master ", " myself,master ").replace(" 0 1 7 ", " 0 2 7 ")
    assert.strictEqual(readOwnSlots(later, own), own)
  })
})
