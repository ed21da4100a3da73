/** Sentinels that disagree, say nothing, refuse, or lag behind. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { FakeServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import {
  awaitState,
  better,
  callsOf,
  closable,
  commandsOf,
  departs,
  eager,
  outcomeOf,
  overridden,
  reasonOf,
  submit
} from "../behaviours/support.ts"
import { closedPort, fakeSentinel, fakeServer, knowing } from "./support.ts"

const who = Redis.command(["WHO"], { timeout: "10 seconds", retry: { for: "any" } })

const under = (
  sentinels: ReadonlyArray<{ readonly port: number }>,
  options: RedisOptions.Options = {},
  more: Partial<RedisOptions.Sentinel> = {}
) =>
  Redis.layer({
    ...eager,
    closeTimeout: 100,
    ...options,
    sentinel: { sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })), group: "mymaster", ...more }
  })

/** Ends the connections to a server. */
const dropped = (server: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    for (let index = 0; index < (yield* server.accepted); index++) yield* (yield* server.connection(index)).reset
  })

/** How often a Sentinel was asked. */
const asked = (sentinel: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    let times = 0
    for (let index = 0; index < (yield* sentinel.accepted); index++) {
      times += (yield* callsOf(sentinel, index)).filter((call) => call === "SENTINEL MASTER mymaster").length
    }
    return times
  })

/** The connection on which a Sentinel was asked first. */
const askingOf = (sentinel: FakeServer.FakeServer) =>
  Effect.gen(function* () {
    for (let index = 0; index < (yield* sentinel.accepted); index++) {
      if ((yield* callsOf(sentinel, index)).includes("SENTINEL MASTER mymaster")) return index
    }
    return -1
  })

describe("Sentinels", () => {
  it.live(
    "SENT-009 one that refuses and one that is mute cost little: the third is asked",
    () =>
      Effect.gen(function* () {
        const server = yield* fakeServer("primary")
        const mute = yield* fakeSentinel(knowing(server.port, { mute: true }))
        const good = yield* fakeSentinel(knowing(server.port))
        const sentinels = [{ port: yield* closedPort }, mute, good]
        assert.strictEqual(yield* Effect.provide(who, under(sentinels)), "primary")
      }),
    departs(better("SENT-009", "the next one is asked after 200 ms, and need not wait for the whole timeout"))
  )

  it.live("the highest configuration epoch wins, whoever replied first", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const sentinels = [
        yield* fakeSentinel(knowing(old.port, { epoch: 4, id: "a" })),
        yield* fakeSentinel(knowing(fresh.port, { epoch: 5, id: "b" })),
        yield* fakeSentinel(knowing(fresh.port, { epoch: 5, id: "c" }))
      ]
      assert.strictEqual(yield* Effect.provide(who, under(sentinels)), "fresh")
    })
  )

  it.live("one that lags behind sends nobody back, also when it is the only one that can be asked", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const stale = knowing(old.port, { epoch: 4, id: "a" })
      const known = [knowing(fresh.port, { epoch: 5, id: "b" }), knowing(fresh.port, { epoch: 5, id: "c" })]
      const sentinels = [yield* fakeSentinel(stale), ...(yield* Effect.forEach(known, (one) => fakeSentinel(one)))]
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "fresh")
        for (const one of known) one.mute = true
        yield* dropped(fresh)
        yield* reasonOf(Redis.command(["WHO"], { timeout: "2 seconds", retry: { for: "any" } }))
        assert.include((yield* Redis.status).lastError?.message ?? "", "as it was before a switch")
        for (const one of known) one.mute = false
        assert.strictEqual(yield* who, "fresh")
        assert.strictEqual(yield* old.accepted, 0)
      })
      yield* Effect.provide(program, under(sentinels, {}, { timeout: 500 }))
    })
  )

  it.live("the leader of a failover is followed, and not taken at the old address that it still describes", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const leader = knowing(old.port, { id: "a" })
      const others = [knowing(old.port, { id: "b" }), knowing(old.port, { id: "c" })]
      const sentinels = yield* Effect.forEach([leader, ...others], (one) => fakeSentinel(one))
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "old")
        Object.assign(leader, { port: fresh.port, described: old.port, epoch: 2 })
        // Whatever makes it be asked in that second.
        yield* leader.announce("-sdown", `sentinel x 127.0.0.1 1 @ mymaster 127.0.0.1 ${old.port}`)
        yield* Effect.repeat(who, { until: (name) => name === "fresh" })
        // All others of a moment ago are a majority of the past.
        yield* dropped(fresh)
        assert.strictEqual(yield* who, "fresh")
        leader.mute = true
        yield* dropped(fresh)
        yield* reasonOf(Redis.command(["WHO"], { timeout: "1 second", retry: { for: "any" } }))
        for (const one of others) Object.assign(one, { port: fresh.port, epoch: 2 })
        yield* (
          others[1]?.announce("+switch-master", `mymaster 127.0.0.1 ${old.port} 127.0.0.1 ${fresh.port}`) ?? Effect.void
        )
        assert.strictEqual(yield* who, "fresh")
        assert.strictEqual(yield* old.accepted, 1)
      })
      yield* Effect.provide(program, under(sentinels, {}, { timeout: 100 }))
    })
  )

  it.live("an event counts also when the Sentinel cannot be asked in that moment", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const known = knowing(old.port)
      const sentinel = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "old")
        yield* known.isHeard.await
        known.mute = true
        Object.assign(known, { port: fresh.port, epoch: 2 })
        yield* known.announce("+switch-master", `mymaster 127.0.0.1 ${old.port} 127.0.0.1 ${fresh.port}`)
        yield* Effect.sleep(250)
        known.mute = false
        yield* Effect.repeat(who, { until: (name) => name === "fresh" })
        // Its connection for questions is gone, and there is no hurry to dial it.
        const asking = yield* askingOf(sentinel)
        yield* (yield* sentinel.connection(asking)).reset
        Object.assign(known, { port: old.port, epoch: 3 })
        const since = yield* Clock.currentTimeMillis
        yield* known.announce("+switch-master", `mymaster 127.0.0.1 ${fresh.port} 127.0.0.1 ${old.port}`)
        yield* Effect.repeat(who, { until: (name) => name === "old" })
        assert.isBelow((yield* Clock.currentTimeMillis) - since, 700)
      })
      yield* Effect.provide(program, under([sentinel], {}, { timeout: 100 }))
    })
  )

  it.live("Sentinels that were set up again count from 0, and are followed at once", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const known = ["a", "b", "c"].map((id) => knowing(old.port, { id, epoch: 7 }))
      const sentinels = yield* Effect.forEach(known, (one) => fakeSentinel(one))
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "old")
        for (const one of known) yield* one.isHeard.await
        for (const one of known) Object.assign(one, { port: fresh.port, epoch: 0 })
        yield* known[2]?.announce("+monitor", `master mymaster 127.0.0.1 ${fresh.port} quorum 2`) ?? Effect.void
        yield* Effect.repeat(who, { until: (name) => name === "fresh" })
      })
      yield* Effect.provide(program, under(sentinels))
    })
  )

  it.live("what speaks like Sentinel and counts no epochs is followed by its events", () =>
    Effect.gen(function* () {
      const old = yield* fakeServer("old")
      const fresh = yield* fakeServer("fresh")
      const known = knowing(old.port, { epoch: 0 })
      const sentinel = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "old")
        known.port = fresh.port
        yield* known.announce("+switch-master", `mymaster 127.0.0.1 ${old.port} 127.0.0.1 ${fresh.port}`)
        yield* Effect.repeat(who, { until: (name) => name === "fresh" })
      })
      yield* Effect.provide(program, under([sentinel]))
    })
  )

  it.live("a map of addresses that throws, or returns none, is named in the error", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      const sentinel = yield* fakeSentinel(knowing(server.port))
      const failing = () => {
        throw new Error("no such network")
      }
      for (const [mapAddress, said] of [
        [failing, "`sentinel.mapAddress` failed: no such network"],
        [() => ({ host: "there", port: 0 }), "`sentinel.mapAddress` failed: it must return { host, port }"]
      ] as const) {
        const program = Effect.andThen(awaitState("backoff"), Redis.status)
        const { lastError } = yield* Effect.provide(program, under([sentinel], {}, { mapAddress }))
        assert.include(lastError?.message, said)
      }
    })
  )

  it.live(
    "SENT-016 SENT-020 when none of them knows, every cause is told, and it is tried again",
    () =>
      Effect.gen(function* () {
        const server = yield* fakeServer("primary")
        const known = knowing(server.port, { mute: true })
        const mute = yield* fakeSentinel(known)
        const other = yield* fakeSentinel(knowing(server.port))
        const refusing = { port: yield* closedPort }
        const program = Effect.gen(function* () {
          yield* awaitState("backoff")
          const { lastError } = yield* Redis.status
          const message = lastError?.message ?? ""
          for (const part of ["mymaster2", `${mute.port}`, `${other.port}`, `${refusing.port}`]) {
            assert.include(message, part)
          }
          assert.include(message, "it does not watch mymaster2")
          assert.include(message, "refused")
        })
        yield* Effect.provide(program, under([mute, other, refusing], {}, { group: "mymaster2", timeout: 300 }))
        const found = yield* submit(Effect.provide(who, under([mute], {}, { timeout: 100 })))
        known.mute = false
        assert.strictEqual(yield* Fiber.join(found), "primary")
      }),
    departs(
      overridden("SENT-016", "one error holds what each Sentinel said"),
      better("SENT-020", "the causes stay in the error")
    )
  )

  it.live("one that talks nonsense is passed over, and named", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      const good = knowing(server.port, { id: "good" })
      const sentinel = yield* fakeSentinel(good)
      const odd = [
        ":1\r\n",
        "+OK\r\n",
        "*0\r\n",
        "$-1\r\n",
        "-ERR no\r\n",
        "*2\r\n$1\r\nh\r\n$5\r\n99999\r\n",
        "*2\r\n*0\r\n:1\r\n"
      ]
      for (const text of odd) {
        const liar = yield* FakeServer.make((connection) =>
          connection.serve(FakeServer.handshake, ([name]) =>
            name === "SENTINEL" || name === "SUBSCRIBE" ? text : undefined
          )
        )
        assert.strictEqual(yield* Effect.provide(who, under([liar, sentinel])), "primary")
        const { lastError } = yield* Effect.provide(Effect.andThen(awaitState("backoff"), Redis.status), under([liar]))
        assert.include(lastError?.message, `127.0.0.1:${liar.port}: `)
      }
    })
  )

  it.live("a close ends in time, whoever is silent", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      const silent = yield* FakeServer.make()
      const mute = yield* fakeSentinel(knowing(server.port, { mute: true, id: "mute" }))
      const lost = yield* fakeSentinel(knowing(silent.port, { id: "lost" }))
      const known = knowing(server.port, { id: "late" })
      const late = yield* fakeSentinel(known)
      for (const [sentinels, until] of [
        [[mute], "connecting"],
        [[silent], "connecting"],
        [[{ port: yield* closedPort }], "backoff"],
        [[lost], "handshaking"],
        [[late, mute, silent], "ready"]
      ] as const) {
        known.mute = false
        const options = {
          sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
          group: "mymaster",
          timeout: 5_000
        }
        const { close, use } = yield* closable({ ...eager, sentinel: options, closeTimeout: 2_000 })
        yield* use(awaitState(until))
        known.mute = true
        if (until === "ready") {
          // The Sentinels are asked in the moment of the close.
          yield* dropped(server)
          yield* use(awaitState("connecting", "backoff"))
        }
        const call = yield* submit(use(outcomeOf(Redis.command(["WHO"], { timeout: "1 minute" }))))
        const since = yield* Clock.currentTimeMillis
        yield* close
        assert.isBelow((yield* Clock.currentTimeMillis) - since, 1_000)
        assert.include(yield* Fiber.join(call), "shutdown")
      }
    })
  )

  it.live("SENT-018 names, IPv4 and IPv6 addresses can be dialled, and addresses are mapped", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      for (const host of ["localhost", "127.0.0.1"]) {
        const sentinel = yield* fakeSentinel(knowing(server.port, { host }))
        assert.strictEqual(yield* Effect.provide(who, under([sentinel])), "primary")
      }
      const sentinel = yield* fakeSentinel(knowing(6379, { host: "fd00::1" }))
      const mapAddress = { "[fd00::1]:6379": `127.0.0.1:${server.port}` }
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { mapAddress })), "primary")
    })
  )

  it.live("SENT-011 replicas that are down or out of sync are skipped; the primary is preferred to none", () =>
    Effect.gen(function* () {
      const primary = yield* fakeServer("primary")
      const replica = yield* fakeServer("replica", "slave")
      const bad = yield* closedPort
      const known = knowing(primary.port, {
        replicas: [
          { port: bad, flags: "s_down,slave" },
          { port: bad, flags: "slave", link: "err" },
          { port: bad, flags: "slave,disconnected" },
          { port: replica.port }
        ]
      })
      const sentinel = yield* fakeSentinel(known)
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "replica" })), "replica")
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "preferReplica" })), "replica")
      known.replicas = known.replicas.slice(0, 3)
      assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "preferReplica" })), "primary")
      const error = yield* reasonOf(
        Effect.provide(
          Redis.command(["WHO"]),
          under([sentinel], { whenDown: "fail", start: "await" }, { role: "replica" })
        )
      )
      assert.include(error.message, "mymaster has no replica that is up and in sync (3 are known)")
    })
  )

  it.live("a replica that cannot be reached is left for another place, and preferred again when it is back", () =>
    Effect.gen(function* () {
      const primary = yield* fakeServer("primary")
      const replica = yield* fakeServer("replica", "slave")
      const other = yield* fakeServer("other", "slave")
      const gone = yield* closedPort
      const known = knowing(primary.port, { replicas: [{ port: gone }] })
      const sentinel = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        // The Sentinel has not found it down yet.
        assert.strictEqual(yield* who, "primary")
        known.replicas = [{ port: gone }, { port: replica.port }]
        yield* known.announce("+slave", `slave x 127.0.0.1 ${replica.port} @ mymaster 127.0.0.1 ${primary.port}`)
        yield* Effect.repeat(who, { until: (name) => name === "replica" })
        yield* replica.stop
        assert.strictEqual(yield* who, "primary")
        yield* replica.start
        yield* known.announce("+reboot", `slave x 127.0.0.1 ${replica.port} @ mymaster 127.0.0.1 ${primary.port}`)
        yield* Effect.repeat(who, { until: (name) => name === "replica" })
      })
      yield* Effect.provide(program, under([sentinel], {}, { role: "preferReplica" }))
      known.replicas = [{ port: replica.port, link: "err" }]
      const quiet = Effect.gen(function* () {
        assert.strictEqual(yield* who, "primary")
        // Without an event.
        known.replicas = [{ port: replica.port }]
        yield* Effect.repeat(Effect.delay(who, 20), { until: (name) => name === "replica" })
      })
      yield* Effect.provide(quiet, under([sentinel], {}, { role: "preferReplica" }))
      known.replicas = [{ port: gone }, { port: other.port }, { port: gone }]
      for (let times = 0; times < 10; times++) {
        assert.strictEqual(yield* Effect.provide(who, under([sentinel], {}, { role: "replica" })), "other")
      }
    })
  )

  it.live("learns of others, and asks them when its own are gone", () =>
    Effect.gen(function* () {
      const primary = yield* fakeServer("primary")
      const learned = yield* fakeSentinel(knowing(primary.port, { id: "b" }))
      const known = knowing(primary.port, { id: "a", others: [{ port: learned.port, id: "b" }] })
      const configured = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* who, "primary")
        known.mute = true
        const before = yield* asked(learned)
        yield* dropped(primary)
        assert.strictEqual(yield* who, "primary")
        assert.isAbove(yield* asked(learned), before)
      })
      yield* Effect.provide(program, under([configured], {}, { timeout: 100 }))
    })
  )

  it.live("SENT-014 a server of the other role is left, and asked for again", () =>
    Effect.gen(function* () {
      const replica = yield* fakeServer("replica", "slave")
      const primary = yield* fakeServer("primary")
      const known = knowing(replica.port)
      const sentinel = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        yield* awaitState("backoff")
        assert.include((yield* Redis.status).lastError?.message, "is a replica, and the primary is sought")
        yield* (yield* replica.connection(0)).closed
        known.port = primary.port
        assert.strictEqual(yield* who, "primary")
      })
      yield* Effect.provide(program, under([sentinel]))
      known.port = replica.port
      known.replicas = [{ port: primary.port }]
      const reader = Effect.andThen(awaitState("backoff"), Redis.status)
      const { lastError } = yield* Effect.provide(reader, under([sentinel], {}, { role: "replica" }))
      assert.include(lastError?.message, "is a primary, and the replica is sought")
    })
  )

  it.live("SENT-010 SENT-015 asks for the group, and the server for its role when it is logged in", () =>
    Effect.gen(function* () {
      const server = yield* fakeServer("primary")
      const sentinel = yield* fakeSentinel(knowing(server.port))
      const options = { protocol: 2, password: "secret", database: 3 } as const
      yield* Effect.provide(who, under([sentinel], options))
      const commands = (yield* commandsOf(server, 0)).map((command) => command.split(" ")[0])
      assert.deepStrictEqual(
        commands.filter((name) => name !== "CLIENT"),
        ["AUTH", "SELECT", "ROLE", "PING", "WHO"]
      )
      const asking = yield* commandsOf(sentinel, yield* askingOf(sentinel))
      assert.include(asking, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster")
    })
  )

  it.live("HEALTH-013 a silent primary is left for the one that the Sentinels name by then", () =>
    Effect.gen(function* () {
      const silent = yield* FakeServer.make((connection) =>
        connection.serve(FakeServer.handshake, ([name]) =>
          name === "ROLE" ? "*2\r\n$6\r\nmaster\r\n:0\r\n" : name === "WHO" ? "" : undefined
        )
      )
      const next = yield* fakeServer("next")
      const known = knowing(silent.port)
      const sentinel = yield* fakeSentinel(known)
      const program = Effect.gen(function* () {
        yield* awaitState("ready")
        const waiting = yield* submit(outcomeOf(Redis.command(["WHO"], { timeout: 100 })))
        known.port = next.port
        known.epoch++
        yield* Fiber.join(waiting)
        assert.strictEqual(yield* who, "next")
      })
      yield* Effect.provide(program, under([sentinel], { healthCheckInterval: 200, timeout: 200 }))
    })
  )

  it.live("SENT-021 TLS with the Sentinels and TLS with the servers are independent", () =>
    Effect.gen(function* () {
      for (const [withSentinel, withServer] of [
        [true, false],
        [false, true]
      ] as const) {
        const server = yield* fakeServer("primary", "master", { tls: withServer })
        const sentinel = yield* fakeSentinel(knowing(server.port), { tls: withSentinel })
        const tls = (ca: string | undefined) => (ca === undefined ? false : { ca, serverName: "localhost" })
        const layer = under([sentinel], { tls: tls(server.tls?.ca) }, { tls: tls(sentinel.tls?.ca) })
        assert.strictEqual(yield* Effect.provide(who, layer), "primary")
      }
    })
  )

  it.live(
    "TEL-014 SENT-008 a Sentinel that refuses is named in the log and in the error",
    () =>
      Effect.gen(function* () {
        const port = yield* closedPort
        const lines: Array<string> = []
        const logger = Logger.make((entry) => {
          lines.push(String(entry.message))
        })
        const program = Effect.andThen(awaitState("backoff"), Redis.status).pipe(
          Effect.provide(under([{ port }])),
          Effect.provide(Logger.layer([logger]))
        )
        const { lastError } = yield* program
        assert.match(lastError?.message ?? "", new RegExp(`127.0.0.1:${port}: .*refused`))
        assert.isTrue(lines.some((line) => line.includes(`failed to connect to Redis at Sentinel 127.0.0.1:${port}`)))
      }),
    departs(better("SENT-008", "the error of the connection holds what each Sentinel said, with its address"))
  )

  it.live("SENT-004 with `exitOnDisconnection` a group that is not found ends the connection", () =>
    Effect.gen(function* () {
      const sentinel = { sentinels: [{ host: "sentinel.invalid" }], group: "mymaster", timeout: 200 }
      const spec = Redis.childSpec({ sentinel, exitOnDisconnection: true, restart: "temporary" })
      const registry = yield* Registry.make()
      const supervisor = yield* Supervisor.start(Supervisor.make({ children: [spec] })).pipe(
        Effect.provideService(Registry.Registry, registry)
      )
      const [child] = yield* supervisor.whichChildren
      yield* child?.process?.awaitExit ?? Effect.void
    })
  )
})
