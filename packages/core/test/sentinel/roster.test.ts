/** Whom to believe among Sentinels, without any of them. */
import { assert, describe, it } from "@effect/vitest"
import { Roster } from "../../src/internal/sentinel/roster.ts"
import type { View } from "../../src/internal/sentinel/roster.ts"

const nodeOf = (port: number) => ({
  endpoint: { _tag: "Tcp" as const, host: "127.0.0.1", port },
  username: undefined,
  password: undefined,
  tls: undefined
})

const nodes = [1, 2, 3].map(nodeOf)
const other = (port: number) => ({
  address: { host: "127.0.0.1", port },
  id: `id${port}`,
  flags: new Set<string>(),
  isLinked: true
})

/** The view of Sentinel number `index`, which names a server by its port. */
const view = (index: number, port: number, epoch: number, id = `id${index}`): View => ({
  sentinel: nodes[index - 1] ?? nodeOf(index),
  id,
  primary: { host: "127.0.0.1", port },
  epoch,
  replicas: [],
  others: [1, 2, 3].filter((one) => one !== index).map(other)
})

const makeRoster = () => new Roster({ sentinels: nodes, template: nodeOf(0) })

describe("the roster of Sentinels", () => {
  const port = (roster: Roster, now: number, ...views: ReadonlyArray<View>) => roster.best(views, now)?.primary.port

  it("believes the highest epoch, and no majority of the past", () => {
    const roster = makeRoster()
    assert.strictEqual(port(roster, 0, view(1, 10, 1), view(2, 10, 1), view(3, 20, 2)), 20)
    assert.strictEqual(port(roster, 1, view(1, 10, 1), view(2, 10, 1)), undefined)
    assert.isFalse(roster.isEnough([view(1, 10, 1), view(2, 10, 1)]))
    assert.isTrue(roster.isEnough([view(1, 10, 1), view(3, 20, 2)]))
    // Nothing better has come for long.
    assert.strictEqual(port(roster, 15_000, view(1, 10, 1), view(2, 10, 1)), undefined)
    assert.strictEqual(port(roster, 15_001, view(1, 10, 1), view(2, 10, 1)), 10)
  })

  it("believes a majority that has gone back, and not one of them alone", () => {
    const roster = makeRoster()
    assert.strictEqual(port(roster, 0, view(1, 10, 5), view(2, 10, 5), view(3, 10, 5)), 10)
    assert.strictEqual(port(roster, 1, view(1, 20, 0)), undefined)
    assert.strictEqual(port(roster, 1, view(1, 20, 0), view(2, 20, 0)), 20)
    // They count from there.
    assert.isTrue(roster.isNewer(view(3, 30, 1)))
  })

  it("counts a Sentinel with two names once", () => {
    const roster = makeRoster()
    assert.isFalse(roster.isEnough([view(1, 10, 1), view(4, 10, 1, "id1")]))
    assert.isTrue(roster.isEnough([view(1, 10, 1), view(2, 10, 1)]))
  })

  it("goes by most of one epoch, and stays where they are as many", () => {
    const roster = makeRoster()
    assert.strictEqual(port(roster, 0, view(1, 10, 1)), 10)
    assert.strictEqual(port(roster, 1, view(2, 20, 1), view(1, 10, 1)), 10)
    assert.strictEqual(port(roster, 2, view(1, 10, 1), view(2, 20, 1), view(3, 20, 1)), 20)
  })

  it("gives a primary up that says it is none, as soon as a majority has another one", () => {
    const roster = makeRoster()
    const wrong = view(1, 10, 9)
    assert.strictEqual(port(roster, 0, wrong, view(2, 20, 1), view(3, 20, 1)), 10)
    roster.refute(wrong)
    assert.strictEqual(port(roster, 1, wrong, view(2, 20, 1)), 10)
    assert.strictEqual(port(roster, 2, wrong, view(2, 20, 1), view(3, 20, 1)), 20)
    assert.isFalse(roster.isNewer(wrong))
    // A new one of it counts.
    assert.isTrue(roster.isNewer(view(1, 30, 10)))
  })

  it("learns of a Sentinel that took the place of one that never said who it is", () => {
    const roster = makeRoster()
    const fourth = other(4)
    const names = (one: View) =>
      roster.learn({ ...one, others: [...one.others, fourth] }).map(({ endpoint }) => endpoint.port)
    assert.deepStrictEqual(names(view(1, 10, 1)), [])
    assert.deepStrictEqual(names(view(2, 10, 1)), [])
    roster.missed(nodeOf(3))
    assert.deepStrictEqual(names(view(1, 10, 1)), [4])
    assert.deepStrictEqual(names(view(1, 10, 1)), [])
  })
})
