/** The changes that are made to the cluster meanwhile. */
import { Fault } from "@relive/testing"
import type { FaultProxy, RedisCluster, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type { Place, Workload } from "./workload.ts"

export const schedules = ["migrate", "kill", "pause", "manual", "cut", "flap", "storm", "grow"] as const
export type ScheduleName = (typeof schedules)[number]

export interface Stage {
  readonly cluster: RedisCluster.RedisCluster
  readonly proxies: ReadonlyMap<string, FaultProxy.FaultProxy>
  readonly workload: Workload
  readonly places: ReadonlyArray<Place>
  readonly millis: number
  readonly random: () => number
}

/** The report of a schedule: which shard it was about, and how long the cluster itself took, where that is to be known. */
export interface Done {
  readonly faults: number
  readonly victim: number | undefined
  readonly ownRecoveryMillis: number | undefined
  readonly lostAfter: number
}

type Ran = Effect.Effect<Done, RedisServer.RedisServerError>

const quiet: Done = { faults: 0, victim: undefined, ownRecoveryMillis: undefined, lostAfter: Infinity }

const until = <E>(millis: number, step: Effect.Effect<unknown, E>): Effect.Effect<number, E> =>
  Effect.gen(function* () {
    const end = performance.now() + millis
    let count = 0
    while (performance.now() < end) {
      yield* step
      count++
    }
    return count
  })

const pick = <A>(items: ReadonlyArray<A>, random: () => number): A | undefined =>
  items[Math.floor(random() * items.length)]

/** Three lanes move slots about; each ends one migration at a time. */
const migrate = ({ cluster, millis, places, random }: Stage): Ran => {
  const lanes = [0, 1, 2].map((lane) => {
    const own = places.filter((_, i) => i % 3 === lane)
    const one = Effect.gen(function* () {
      const place = pick(own, random)
      if (place === undefined) return
      const owner = yield* cluster.ownerOf(place.slot)
      const to = pick(
        (yield* cluster.primaries).filter((node) => node !== owner),
        random
      )
      if (to === undefined) return
      const migration = yield* cluster.beginMigration(place.slot, to)
      // In steps, so that calls find the slot half moved.
      for (let i = 0; i < 6; i++) {
        yield* migration.moveKeys(2)
        yield* Effect.sleep(10)
      }
      yield* migration.finish
    })
    return until(millis, one)
  })
  return Effect.map(Effect.all(lanes, { concurrency: 3 }), (counts) => ({
    ...quiet,
    faults: counts.reduce((sum, count) => sum + count, 0)
  }))
}

/** Asks the heirs directly, on connections of their own, when they serve the slot. */
const ownRecovery = (cluster: RedisCluster.RedisCluster, victim: RedisCluster.Node, tag: string, began: number) =>
  Effect.gen(function* () {
    const heirs = cluster.nodes.filter((node) => node !== victim && node.name[0] === victim.name[0])
    for (;;) {
      for (const heir of heirs) {
        const reply = yield* Effect.catch(heir.server.command(["SET", `{${tag}}:probe`, 1]), () => Effect.succeed(null))
        if (reply === "OK") return performance.now() - began
      }
      if (performance.now() - began > 30_000) return Infinity
      yield* Effect.sleep(10)
    }
  })

const lose =
  (how: "kill" | "pause") =>
  ({ cluster, millis, places, workload }: Stage): Ran =>
    Effect.gen(function* () {
      yield* Effect.sleep(Math.min(2_000, millis / 4))
      const victim = cluster.node("B")
      const tag = places.find(({ shard }) => shard === 1)?.tag ?? ""
      const began = performance.now()
      workload.faultAt = began
      yield* how === "kill" ? victim.server.kill : victim.server.pause
      const own = yield* ownRecovery(cluster, victim, tag, began)
      const lostAfter = began + own
      if (how === "pause") {
        yield* Effect.sleep(Math.max(0, 10_000 - (performance.now() - began)))
        yield* victim.server.resume
      }
      yield* Effect.sleep(Math.max(1_000, millis - (performance.now() - began)))
      if (how === "kill") yield* victim.server.start
      yield* cluster.awaitUp
      return { faults: 1, victim: 1, ownRecoveryMillis: own, lostAfter }
    })

const manual = ({ cluster, millis, places }: Stage): Ran =>
  Effect.gen(function* () {
    let faults = 0
    let slowest = 0
    for (const name of ["A", "B", "C", "A", "B", "C"]) {
      yield* Effect.sleep(millis / 8)
      const shard = cluster.nodes.filter((node) => node.name.startsWith(name))
      const primaries = yield* cluster.primaries
      const replica = shard.find((node) => !primaries.includes(node))
      const primary = shard.find((node) => primaries.includes(node))
      const tag = places.find((place) => place.shard === "ABC".indexOf(name))?.tag ?? ""
      if (replica === undefined || primary === undefined) continue
      const serves = ownRecovery(cluster, primary, tag, performance.now())
      const [own] = yield* Effect.all([serves, cluster.failover(replica)], { concurrency: 2 })
      slowest = Math.max(slowest, own)
      faults++
    }
    yield* Effect.sleep(millis / 8)
    return { ...quiet, faults, ownRecoveryMillis: slowest }
  })

/** Requests pass, replies are lost, and then the connection. */
const cut = ({ millis, proxies, random }: Stage): Ran =>
  Effect.map(
    until(
      millis,
      Effect.gen(function* () {
        yield* Effect.sleep(300)
        const proxy = pick([...proxies.values()], random)
        if (proxy === undefined) return
        const hole = yield* proxy.inject(Fault.blackHole("toClient"))
        yield* Effect.sleep(30)
        const end = yield* proxy.inject(Fault.cut({ how: "rst" }))
        // Before anybody has dialled again: those are not to lose their handshakes.
        yield* hole.heal
        yield* Effect.sleep(5)
        yield* end.heal
      })
    ),
    (faults) => ({ ...quiet, faults })
  )

const flap = ({ cluster, millis, workload }: Stage): Ran =>
  Effect.gen(function* () {
    workload.faultAt = performance.now()
    const { server } = cluster.node("B")
    const kill = Effect.ignore(server.command(["CLIENT", "KILL", "TYPE", "normal"]))
    const faults = yield* until(millis, Effect.andThen(Effect.sleep(300), kill))
    return { ...quiet, faults, victim: 1 }
  })

const storm = ({ cluster, millis, places }: Stage): Ran =>
  Effect.gen(function* () {
    yield* Effect.sleep(1_000)
    const primaries = yield* cluster.primaries
    for (const [i, place] of places.slice(0, 24).entries()) {
      const owner = yield* cluster.ownerOf(place.slot)
      const to = primaries.filter((node) => node !== owner)[i % 2]
      if (to !== undefined) yield* cluster.migrate(place.slot, to)
    }
    yield* Effect.sleep(Math.max(2_000, millis - 5_000))
    return { ...quiet, faults: 24 }
  })

const grow = ({ cluster, millis, places }: Stage): Ran =>
  Effect.gen(function* () {
    let faults = 0
    const end = performance.now() + millis
    while (performance.now() < end) {
      const node = yield* cluster.grow()
      for (const place of places.filter((_, i) => i % 4 === 0)) {
        yield* cluster.migrate(place.slot, node)
        faults++
      }
      yield* Effect.sleep(500)
      yield* cluster.shrink(node)
      yield* Effect.sleep(500)
    }
    return { ...quiet, faults }
  })

export const run: Readonly<Record<ScheduleName, (stage: Stage) => Ran>> = {
  migrate,
  kill: lose("kill"),
  pause: lose("pause"),
  manual,
  cut,
  flap,
  storm,
  grow
}
