/**
 * The machine against a model of a server: any order of wants, ends, acknowledgements, refusals, names that the server takes by
 * itself, and losses of the connection. `RELIVE_PUBSUB_SEED` starts there, `RELIVE_PUBSUB_ROUNDS` says how many seeds.
 */
import { assert, describe, it } from "@effect/vitest"
import type { RedisPubSub } from "@relive/core"
import { Subscriptions, type Member, type Topic } from "../../src/internal/pubsub/subscriptions.ts"
import { Random } from "../behaviours/random.ts"

const firstSeed = Number(process.env.RELIVE_PUBSUB_SEED ?? "1")
const rounds = Number(process.env.RELIVE_PUBSUB_ROUNDS ?? "2000")

const kinds: ReadonlyArray<RedisPubSub.Kind> = ["channel", "pattern", "shard"]
const names: ReadonlyArray<RedisPubSub.Name> = ["a", "b", "c", Uint8Array.of(0xff), Uint8Array.of(0xff, 0xfe)]

const keyOf = (kind: RedisPubSub.Kind, name: RedisPubSub.Name): string => `${kind} ${String(name)}`

/** Wants some names, and counts how often it was told that all are confirmed. */
class Wanting implements Member {
  missing = 0
  told = 0
  readonly topics: Array<Topic<Wanting>> = []
  private readonly onConfirmed: (member: Wanting) => void

  constructor(onConfirmed: (member: Wanting) => void) {
    this.onConfirmed = onConfirmed
  }

  readonly confirmed = (): void => {
    this.told++
    this.onConfirmed(this)
  }
}

/** One command on its way, or its answer on its way back. */
interface Flight {
  readonly topic: Topic<Wanting>
  readonly subscribes: boolean
}

class Round {
  readonly random: Random
  readonly machine = new Subscriptions<Wanting>()
  readonly members = new Set<Wanting>()
  /** Written and not read by the server; read by the server and not by us. */
  toServer: Array<Flight> = []
  toUs: Array<Flight & { readonly outcome: "done" | "refused" | "taken" }> = []
  readonly server = new Set<string>()
  readonly forbidden = new Set<string>()
  connected = false
  readonly commands: Array<string> = []

  constructor(seed: number) {
    this.random = new Random(seed)
  }

  step(): void {
    const { random } = this
    const dice = random.below(100)
    if (dice < 25) this.join()
    else if (dice < 40) this.leave()
    else if (dice < 60) this.serve()
    else if (dice < 80) this.read()
    else if (dice < 84) this.lose()
    else if (dice < 88) this.connect()
    else if (dice < 91) this.take()
    else if (dice < 95) this.forbid()
    else this.write()
    if (random.chance(0.7)) this.write()
    this.check()
  }

  join(): void {
    const member = new Wanting((told) => {
      // What was confirmed is on the server, unless it has taken it since, which it has told us then.
      for (const topic of told.topics) assert.strictEqual(topic.state, "in")
    })
    this.members.add(member)
    const kind = kinds[this.random.below(3)] ?? "channel"
    for (const name of names) {
      if (this.random.chance(0.5)) member.topics.push(this.machine.want(kind, name, member))
    }
  }

  leave(member = [...this.members][this.random.below(this.members.size)]): void {
    if (member === undefined) return
    this.members.delete(member)
    for (const topic of member.topics) this.machine.unwant(topic, member)
    member.topics.length = 0
  }

  /** The server reads one command. */
  serve(): void {
    const flight = this.toServer.shift()
    if (flight === undefined) return
    const key = keyOf(flight.topic.kind, flight.topic.name)
    const outcome = this.forbidden.has(key) && flight.subscribes ? "refused" : "done"
    if (outcome === "done") {
      if (flight.subscribes) this.server.add(key)
      else this.server.delete(key)
    }
    this.toUs.push({ ...flight, outcome })
  }

  /** We read one answer, or what the server did by itself. */
  read(): void {
    const answer = this.toUs.shift()
    if (answer === undefined) return
    if (answer.outcome === "refused") {
      for (const member of this.machine.refused(answer.topic)) this.leave(member)
    } else if (answer.outcome === "done") this.machine.acknowledged(answer.topic, answer.subscribes)
    // As the connection does: one that we are giving up ourselves is told by its own acknowledgement.
    else if (answer.topic.state === "in") this.machine.acknowledged(answer.topic, false)
  }

  lose(): void {
    if (!this.connected) return
    this.connected = false
    this.toServer = []
    this.toUs = []
    this.server.clear()
    this.machine.reset()
  }

  connect(): void {
    this.connected = true
  }

  /** The server takes a name from us. */
  take(): void {
    for (const member of this.members) {
      for (const topic of member.topics) {
        const key = keyOf(topic.kind, topic.name)
        if (topic.state !== "in" || !this.server.has(key) || !this.random.chance(0.3)) continue
        this.server.delete(key)
        this.toUs.push({ topic, subscribes: false, outcome: "taken" })
        return
      }
    }
  }

  forbid(): void {
    const key = keyOf(kinds[this.random.below(3)] ?? "channel", names[this.random.below(names.length)] ?? "a")
    if (!this.forbidden.delete(key)) this.forbidden.add(key)
  }

  write(): void {
    if (!this.connected) return
    for (const change of this.machine.reconcile()) {
      this.commands.push(`${change.subscribes ? "+" : "-"} ${keyOf(change.topic.kind, change.topic.name)}`)
      this.toServer.push(change)
    }
  }

  check(): void {
    for (const member of this.members) {
      const missing = member.topics.filter(({ state }) => state !== "in").length
      assert.strictEqual(member.missing, missing, "the count of what is missing")
    }
    const flying = [...this.toServer, ...this.toUs.filter(({ outcome }) => outcome !== "taken")].map(({ topic }) =>
      keyOf(topic.kind, topic.name)
    )
    assert.strictEqual(new Set(flying).size, flying.length, "one command on its way for each name")
  }

  /** When all has settled the server has what is wanted, and nothing else. */
  finish(): void {
    this.forbidden.clear()
    this.connect()
    this.write()
    for (let i = 0; this.toServer.length + this.toUs.length > 0; i++) {
      assert.isBelow(i, 10_000, "it settles")
      this.serve()
      this.read()
      this.write()
    }
    const wanted = new Set<string>()
    for (const member of this.members) {
      for (const topic of member.topics) wanted.add(keyOf(topic.kind, topic.name))
      assert.strictEqual(member.missing, 0)
      assert.isTrue(member.topics.length === 0 || member.told > 0 || member.topics.every(({ state }) => state === "in"))
    }
    assert.deepStrictEqual([...this.server].toSorted(), [...wanted].toSorted())
    assert.strictEqual(this.machine.size, wanted.size, "nothing is remembered that nobody wants")
  }
}

describe("the wanted set and the server's", () => {
  it("become the same, whatever happens in between", () => {
    for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
      const round = new Round(seed)
      try {
        for (let i = 0; i < 60; i++) round.step()
        round.finish()
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
      }
    }
  })

  it("PUBSUB-046 tell the server once for the first member of a name, and once after the last", () => {
    const round = new Round(1)
    round.connect()
    const members = [1, 2, 3].map(() => new Wanting(() => {}))
    for (const member of members) {
      member.topics.push(round.machine.want("channel", "a", member))
      round.write()
    }
    round.serve()
    round.read()
    assert.deepStrictEqual(
      members.map(({ told }) => told),
      [1, 1, 1]
    )
    for (const member of members) {
      round.leave(member)
      round.write()
    }
    assert.deepStrictEqual(round.commands, ["+ channel a", "- channel a"])
  })

  it("PUBSUB-044 write a new SUBSCRIBE behind the acknowledgement of an old UNSUBSCRIBE", () => {
    const round = new Round(1)
    round.connect()
    const old = new Wanting(() => {})
    old.topics.push(round.machine.want("channel", "a", old))
    round.write()
    round.serve()
    round.read()
    round.leave(old)
    round.write()
    const next = new Wanting(() => {})
    next.topics.push(round.machine.want("channel", "a", next))
    round.write()
    assert.deepStrictEqual(round.commands, ["+ channel a", "- channel a"])
    round.serve()
    round.read()
    round.write()
    assert.deepStrictEqual(round.commands, ["+ channel a", "- channel a", "+ channel a"])
    assert.strictEqual(next.told, 0)
    round.serve()
    round.read()
    assert.strictEqual(next.told, 1)
  })

  it("start over with the whole set when a connection is lost in the middle of it", () => {
    const round = new Round(1)
    round.connect()
    const member = new Wanting(() => {})
    for (let i = 0; i < 1000; i++) member.topics.push(round.machine.want("channel", `c${i}`, member))
    round.write()
    for (let i = 0; i < 500; i++) {
      round.serve()
      round.read()
    }
    round.lose()
    assert.strictEqual(member.missing, 1000)
    round.connect()
    round.write()
    assert.strictEqual(round.commands.length, 2000)
    for (let i = 0; i < 1000; i++) {
      round.serve()
      round.read()
    }
    assert.deepStrictEqual([member.told, member.missing], [1, 0])
  })
})
