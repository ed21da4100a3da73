import { assert, describe, it, layer } from "@effect/vitest"
import { FakeServer, Fault, FaultProxy, FaultSchedule, RedisServer } from "@relive/testing"
import { Effect, Fiber, Layer } from "effect"
import { dial, elapsed } from "./client.ts"

const echo: FakeServer.Script = (connection) =>
  connection.serve(([name = "", text = ""]) => (name === "ECHO" ? FakeServer.bulk(text) : "+PONG\r\n"))

/** A proxy before a fake server that echoes. */
const proxied = (options?: FaultProxy.Options) =>
  Effect.gen(function* () {
    const server = yield* FakeServer.make(echo)
    return { server, proxy: yield* FaultProxy.make(server, options) }
  })

layer(FaultProxy.layer(RedisServer.RedisServer).pipe(Layer.provideMerge(RedisServer.layer())))(
  "a proxy as a layer",
  (it) => {
    it.effect("passes everything on without faults", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.FaultProxy
        const large = "x".repeat(1_000_000)
        const client = yield* dial(proxy, `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n${large}\r\nGET k\r\nPING\r\n`)
        yield* client.until("+PONG\r\n")
        assert.strictEqual(client.text, `+OK\r\n$1000000\r\n${large}\r\n+PONG\r\n`)
        const bytes = yield* proxy.bytes
        assert.strictEqual(bytes.toClient, client.text.length)
        client.socket.end()
        yield* client.closed
        assert.isUndefined(client.error)
      })
    )
  }
)

describe("FaultProxy", () => {
  for (const how of ["fin", "rst"] as const) {
    it.effect(`cuts replies after n bytes by ${how}`, () =>
      Effect.gen(function* () {
        const { proxy } = yield* proxied()
        const injection = yield* proxy.inject(Fault.cut({ afterBytes: 4, how }))
        const client = yield* dial(proxy, "ECHO hello\r\n")
        if (how === "fin") {
          yield* client.ended
          assert.strictEqual(client.text, "$5\r\n")
          client.socket.end()
        }
        yield* client.closed
        assert.strictEqual(client.error, how === "fin" ? undefined : "ECONNRESET")
        assert.strictEqual(yield* injection.hits, 1)
        const next = yield* dial(proxy, "ECHO again\r\n")
        yield* next.until("again\r\n")
      })
    )
  }

  it.effect("cuts commands after n bytes", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make([(connection) => connection.silent])
      const proxy = yield* FaultProxy.make(server)
      yield* proxy.inject(Fault.cut({ direction: "toServer", afterBytes: 6 }))
      const client = yield* dial(proxy, "ECHO hello\r\n")
      yield* client.ended
      yield* server.done
      assert.strictEqual(Buffer.from(yield* server.received(0)).toString(), "ECHO h")
    })
  )

  it.effect("cuts at once, as many connections as told", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const clients = yield* Effect.forEach([0, 1, 2], () => dial(proxy, "PING\r\n"))
      yield* Effect.forEach(clients, (client) => client.until("PONG"))
      yield* proxy.inject(Fault.cut({ how: "rst", times: 2 }))
      yield* Effect.forEach(clients.slice(0, 2), (client) => client.closed)
      clients[2]?.socket.write("ECHO alive\r\n")
      yield* clients[2]?.until("alive") ?? Effect.die("no client")
      assert.strictEqual((yield* proxy.hits).Cut, 2)
      assert.strictEqual(yield* proxy.connections, 1)
    })
  )

  it.effect("half-closes", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* proxied()
      yield* proxy.inject(Fault.halfClose({ afterBytes: 7 }))
      const client = yield* dial(proxy, "PING\r\nPING\r\n")
      yield* client.ended
      assert.strictEqual(client.text, "+PONG\r\n")
      client.socket.write("ECHO still\r\n")
      client.socket.end()
      yield* client.closed
      yield* server.done
      assert.include(Buffer.from(yield* server.received(0)).toString(), "still")
    })
  )

  it.live("delays, and keeps the order", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const injection = yield* proxy.inject(Fault.delay(60, { direction: "both", jitterMillis: 30 }))
      const client = yield* dial(proxy)
      const millis = yield* elapsed(
        Effect.gen(function* () {
          for (let index = 0; index < 5; index++) client.socket.write(`ECHO ${index}\r\n`)
          yield* client.until("4\r\n")
        })
      )
      assert.isAtLeast(millis, 119)
      assert.strictEqual(client.text, [0, 1, 2, 3, 4].map((index) => `$1\r\n${index}\r\n`).join(""))
      yield* injection.heal
      const fast = yield* elapsed(Effect.suspend(() => (client.socket.write("PING\r\n"), client.until("PONG"))))
      assert.isBelow(fast, 50)
    })
  )

  it.live("throttles", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      yield* proxy.inject(Fault.throttle(10_000))
      const client = yield* dial(proxy, `ECHO ${"x".repeat(1_000)}\r\n`)
      const millis = yield* elapsed(client.until("x\r\n"))
      assert.isAtLeast(millis, 90)
      assert.isBelow(millis, 400)
    })
  )

  it.live("sends byte by byte", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      yield* proxy.inject(Fault.slowLoris(10))
      const client = yield* dial(proxy, "PING\r\n")
      yield* client.until("PONG\r\n")
      assert.isAtLeast(client.chunks.length, 6)
    })
  )

  it.live("swallows in a black hole, and the end of the server too", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* proxied()
      const before = yield* dial(proxy, "PING\r\n")
      yield* before.until("PONG")
      const hole = yield* proxy.inject(Fault.blackHole("toClient"))
      before.socket.write("PING\r\n")
      yield* hole.awaitHit
      yield* hole.heal
      before.socket.write("PING\r\n")
      yield* server.stop
      const fresh = yield* dial(proxy)
      yield* fresh.closed
      yield* Effect.sleep(20)
      assert.strictEqual(before.text, "+PONG\r\n")
      assert.isFalse(before.socket.readableEnded)
      before.socket.destroy()
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
    })
  )

  it.live("keeps no connection that the client has left", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* proxied()
      // The client leaves, its end is passed on, and only then the last reply is swallowed.
      const delay = yield* proxy.inject(Fault.delay(60_000))
      const early = yield* dial(proxy, "PING\r\n")
      early.socket.end()
      while ((yield* proxy.bytes).toClient === 0) yield* Effect.sleep(1)
      yield* proxy.inject(Fault.blackHole("toClient"))
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
      yield* proxy.healAll
      assert.strictEqual(yield* delay.hits, 1)
      // The client leaves after its commands were swallowed, and its end with them.
      const hole = yield* proxy.inject(Fault.blackHole("toServer"))
      const late = yield* dial(proxy, "PING\r\n")
      yield* hole.awaitHit
      late.socket.end()
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
      assert.strictEqual(yield* server.accepted, 2)
    })
  )

  it.live("keeps no connection whose server has gone unnoticed, and was written to", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make([
        (connection) =>
          connection
            .expect(["PING"])
            .pipe(Effect.andThen(connection.send("+PONG\r\n")), Effect.andThen(connection.close))
      ])
      const proxy = yield* FaultProxy.make(server)
      yield* proxy.inject(Fault.blackHole("toClient"))
      const client = yield* dial(proxy, "PING\r\n")
      yield* server.done
      // The first write is answered by a reset, the second fails.
      for (let written = 12; written <= 18; written += 6) {
        client.socket.write("PING\r\n")
        while ((yield* proxy.bytes).toServer < written) yield* Effect.sleep(1)
        yield* Effect.sleep(10)
      }
      client.socket.destroy()
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
    })
  )

  it.live("keeps no connection whose server took no more and has gone unnoticed", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make([
        (connection) =>
          Effect.gen(function* () {
            yield* connection.expect(["PING"])
            yield* connection.pauseReading
            yield* connection.send("+PONG\r\n")
            yield* connection.closed
          })
      ])
      const proxy = yield* FaultProxy.make(server)
      const hole = yield* proxy.inject(Fault.blackHole("toClient"))
      const client = yield* dial(proxy, "PING\r\n")
      yield* hole.awaitHit
      // More than all buffers on the way hold: what is left waits for a server that will never take it.
      client.socket.write("x".repeat(32_000_000))
      yield* Effect.sleep(100)
      assert.isAbove(client.socket.writableLength, 0)
      yield* server.stop
      client.socket.destroy()
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
    })
  )

  it.live("cuts a connection whose client does not read", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const client = yield* dial(proxy)
      client.socket.pause()
      client.socket.write(Buffer.from(`*2\r\n$4\r\nECHO\r\n$32000000\r\n${"x".repeat(32_000_000)}\r\n`))
      while ((yield* proxy.bytes).toClient === 0) yield* Effect.sleep(1)
      yield* Effect.sleep(100)
      yield* proxy.inject(Fault.cut({ how: "rst" }))
      while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
    })
  )

  it.live("stalls and lets all of it pass later", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* proxied()
      const client = yield* dial(proxy, "PING\r\n")
      yield* client.until("PONG")
      const stall = yield* proxy.inject(Fault.stall("toClient"))
      client.socket.write("ECHO later\r\n")
      yield* stall.awaitHit
      yield* server.stop
      yield* Effect.sleep(20)
      assert.strictEqual(client.text, "+PONG\r\n")
      assert.isFalse(client.socket.readableEnded)
      yield* stall.heal
      yield* client.ended
      assert.strictEqual(client.text, "+PONG\r\n$5\r\nlater\r\n")
    })
  )

  it.live("stalls the sender", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const stall = yield* proxy.inject(Fault.stall("toServer"))
      const client = yield* dial(proxy)
      client.socket.write(Buffer.from(`*2\r\n$4\r\nECHO\r\n$32000000\r\n${"x".repeat(32_000_000)}\r\n`))
      yield* Effect.sleep(100)
      assert.isAbove(client.socket.writableLength, 0)
      yield* stall.heal
      yield* client.until("$32000000\r\n")
    })
  )

  it.effect("refuses", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const before = yield* dial(proxy, "PING\r\n")
      yield* before.until("PONG")
      const outcomes: Array<string | undefined> = []
      for (const how of ["closed", "reset"] as const) {
        const refusal = yield* proxy.inject(Fault.refuse(how))
        const client = yield* dial(proxy, "PING\r\n")
        yield* client.closed
        outcomes.push(client.error)
        assert.strictEqual(yield* refusal.hits, 1)
        yield* refusal.heal
        const next = yield* dial(proxy, "PING\r\n")
        yield* next.until("PONG")
      }
      assert.deepStrictEqual(outcomes, ["ECONNREFUSED", "ECONNRESET"])
      before.socket.write("ECHO untouched\r\n")
      yield* before.until("untouched")
    })
  )

  it.effect("corrupts where it is told", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied({ seed: 3 })
      // The second reply is broken: the first has 11 bytes.
      const replyWith = (at: Fault.CorruptPlace, how: Fault.CorruptKind) =>
        Effect.gen(function* () {
          const corruption = yield* proxy.inject(Fault.corrupt({ at, how, afterBytes: 11 }))
          const client = yield* dial(proxy, "ECHO hello\r\nECHO hello\r\nPING\r\n")
          yield* client.until("PONG")
          assert.strictEqual(yield* corruption.hits, 1)
          return client.text
        })
      const good = "$5\r\nhello\r\n"
      for (const [at, how, pattern] of [
        ["type", "flip", /^[^$]5\r\nhello\r\n/],
        ["type", "insert", /^[^$]\$5\r\nhello\r\n/],
        ["type", "duplicate", /^\$\$5\r\nhello\r\n/],
        ["length", "flip", /^\$[^\d]\r\nhello\r\n/],
        ["length", "insert", /^\$[^\d]5\r\nhello\r\n/],
        ["length", "duplicate", /^\$\$5\r\nhello\r\n/],
        ["cr", "flip", /^\$5[^\r]\nhello\r\n/],
        ["cr", "insert", /^\$5\r[^\n]\nhello\r\n/],
        ["cr", "duplicate", /^\$5\r\r\nhello\r\n/],
        ["lf", "flip", /^\$5\r[^\n]hello\r\n/],
        ["lf", "insert", /^\$5\r\n[^h]hello\r\n/],
        ["lf", "duplicate", /^\$5\r\n\nhello\r\n/]
      ] as const) {
        const text = yield* replyWith(at, how)
        assert.isTrue(text.startsWith(good), `${at} ${how}`)
        assert.match(text.slice(good.length), pattern)
        assert.isTrue(text.endsWith("+PONG\r\n"))
      }
    })
  )

  it.effect("corrupts in any chunking, also in the payload's line end", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make([
        (connection) =>
          Effect.gen(function* () {
            yield* connection.expect(["GO"])
            yield* connection.send("*2\r\n$3\r\na\r\n\r\n$0\r\n\r\n+OK\r\n", { cuts: 1 })
            yield* connection.silent
          })
      ])
      const proxy = yield* FaultProxy.make(server)
      // From offset 11 on: the CR after the payload "a\r\n".
      yield* proxy.inject(Fault.corrupt({ at: "cr", how: "duplicate", afterBytes: 8 }))
      const client = yield* dial(proxy, "GO\r\n")
      yield* client.until("+OK\r\n")
      assert.strictEqual(client.text, "*2\r\n$3\r\na\r\n\r\r\n$0\r\n\r\n+OK\r\n")
    })
  )

  it.effect("says a line before it is asked, to new connections alone", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const before = yield* dial(proxy, "PING\r\n")
      yield* before.until("PONG")
      const interjection = yield* proxy.inject(Fault.interject("+OK"))
      before.socket.write("ECHO older\r\n")
      yield* before.until("older\r\n")
      assert.notInclude(before.text, "OK")
      const client = yield* dial(proxy)
      yield* client.until("+OK\r\n")
      client.socket.write("PING\r\n")
      yield* client.until("PONG\r\n")
      assert.strictEqual(client.text, "+OK\r\n+PONG\r\n")
      const next = yield* dial(proxy, "PING\r\n")
      yield* next.until("PONG\r\n")
      assert.strictEqual(next.text, "+PONG\r\n")
      assert.strictEqual(yield* interjection.hits, 1)
      assert.strictEqual((yield* proxy.hits).Interject, 1)
    })
  )

  it.effect("says it between replies of all shapes, or in the place of one, in any chunking", () =>
    Effect.gen(function* () {
      const replies = [
        "%2\r\n$5\r\nproto\r\n:3\r\n+modules\r\n*1\r\n~2\r\n_\r\n$0\r\n\r\n",
        "|1\r\n+ttl\r\n:9\r\n$4\r\n\r\n+\r\r\n",
        "*0\r\n",
        "$-1\r\n",
        "-ERR no\r\n"
      ]
      const server = yield* FakeServer.make((connection) =>
        Effect.gen(function* () {
          yield* connection.expect(["GO"])
          yield* connection.send(replies.join(""), { cuts: 1 })
          yield* connection.silent
        })
      )
      const proxy = yield* FaultProxy.make(server)
      for (let afterReplies = 0; afterReplies < replies.length; afterReplies++) {
        for (const replaces of [false, true]) {
          yield* proxy.inject(Fault.interject("*1\r\n:7", { afterReplies, replaces }))
          const client = yield* dial(proxy, "GO\r\n")
          const expected = replies.toSpliced(afterReplies, replaces ? 1 : 0, "*1\r\n:7\r\n").join("")
          yield* client.until(expected.slice(-20))
          assert.strictEqual(client.text, expected, `after ${afterReplies}, ${replaces ? "in place" : "in front"}`)
        }
      }
    })
  )

  it.effect("says nothing any more when it is healed", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const interjection = yield* proxy.inject(Fault.interject("+OK", { afterReplies: 1 }))
      const client = yield* dial(proxy, "")
      yield* Effect.repeat(Effect.yieldNow, { until: () => client.socket.readyState === "open" })
      yield* interjection.heal
      client.socket.write("PING\r\nECHO next\r\n")
      yield* client.until("next\r\n")
      assert.notInclude(client.text, "OK")
      assert.strictEqual(yield* interjection.hits, 0)
    })
  )

  it.live("looks like a reset when the server is down", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* proxied()
      yield* server.stop
      const client = yield* dial(proxy, "PING\r\n")
      yield* client.closed
      assert.strictEqual(client.error, "ECONNRESET")
      const other = yield* FakeServer.make(echo)
      yield* proxy.redirect(other)
      const next = yield* dial(proxy, "PING\r\n")
      yield* next.until("PONG")
    })
  )

  it.effect("goes between Unix sockets", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(echo, { unixSocket: true })
      const proxy = yield* FaultProxy.make(server, { unixSocket: true })
      const client = yield* dial(proxy, "PING\r\n")
      yield* client.until("PONG")
      yield* proxy.inject(Fault.cut({ how: "rst" }))
      yield* client.ended
    })
  )

  it.live("plays a schedule and counts what it hit", () =>
    Effect.gen(function* () {
      const { proxy } = yield* proxied()
      const kinds = [...FaultSchedule.lossFaults, ...FaultSchedule.corruptionFaults]
      const schedule = FaultSchedule.make({
        seed: 11,
        durationMillis: 1_500,
        kinds,
        lengthMillis: [20, 40],
        gapMillis: [5, 15]
      })
      const client = Effect.gen(function* () {
        const socket = yield* dial(proxy, `ECHO ${"x".repeat(5_000)}\r\n`)
        yield* Effect.raceFirst(Effect.raceFirst(socket.until("x\r\n"), socket.closed), Effect.sleep(20))
      }).pipe(Effect.scoped, Effect.forever)
      const load = yield* Effect.forkChild(client)
      const played = yield* proxy.play(schedule)
      yield* Fiber.interrupt(load)
      assert.deepStrictEqual(
        played.map(({ entry }) => entry),
        schedule
      )
      assert.isAtLeast(played.length, kinds.length)
      assert.isAtLeast(played.filter(({ hits }) => hits > 0).length, kinds.length / 2)
      const client2 = yield* dial(proxy, "PING\r\n")
      yield* client2.until("PONG")
    })
  )
})

describe("FaultSchedule", () => {
  it("replays from its seed, and differs by seed", () => {
    const make = (seed: number) => FaultSchedule.make({ seed, durationMillis: 60_000, kinds: FaultSchedule.lossFaults })
    assert.deepStrictEqual(make(5), make(5))
    assert.notDeepEqual(make(5), make(6))
  })

  it("deals every kind equally often, in order and within its time", () => {
    const schedule = FaultSchedule.make({
      seed: 1,
      durationMillis: 40_000,
      kinds: [() => "a", () => "b", () => "c", () => "d"],
      gapMillis: [100, 200]
    })
    const counts = Map.groupBy(schedule, ({ value }) => value)
    const sizes = [...counts.values()].map((entries) => entries.length)
    assert.strictEqual(sizes.length, 4)
    assert.isAtMost(Math.max(...sizes) - Math.min(...sizes), 1)
    assert.isTrue(schedule.every(({ atMillis, forMillis }) => atMillis + forMillis <= 40_000))
    assert.isTrue(schedule.every(({ atMillis }, index) => atMillis > (schedule[index - 1]?.atMillis ?? -1)))
  })
})
