/**
 * The tools against one another: a plain client that keeps the laws, under every loss fault and with a server that is
 * killed meanwhile, must pass the ledger; the same client with one law broken must not.
 */
import { assert, describe, it } from "@effect/vitest"
import { FaultProxy, FaultSchedule, Ledger, RedisServer } from "@relive/testing"
import { Effect, Fiber } from "effect"
import * as Net from "node:net"

const wholeReply = /^(?:[:+-][^\r]*|\$\d+\r\n[^\r]*)\r\n$/

type Mutation = "none" | "resends" | "says unsent" | "acknowledges early" | "swaps replies"

/** A client with one call at a time: it dials when it has no socket, and gives its socket up after any trouble. */
class PlainClient {
  private readonly target: FaultProxy.FaultProxy
  private readonly mutation: Mutation
  private socket: Net.Socket | undefined = undefined

  constructor(target: FaultProxy.FaultProxy, mutation: Mutation) {
    this.target = target
    this.mutation = mutation
  }

  readonly close = Effect.sync(() => this.socket?.destroy())

  call(line: string): Effect.Effect<string, Ledger.Outcome> {
    const once = this.attempt(line)
    return this.mutation === "resends" ? Effect.catch(once, () => this.attempt(line)) : once
  }

  private attempt(line: string): Effect.Effect<string, Ledger.Outcome> {
    return Effect.callback<string, Ledger.Outcome>((resume) => {
      const socket = this.connected()
      let text = ""
      let delivery: "unsent" | "unknown" = "unsent"
      const finish = (result: Effect.Effect<string, Ledger.Outcome>) => {
        clearTimeout(timer)
        socket.removeAllListeners("data").removeAllListeners("close").removeAllListeners("end")
        resume(result)
      }
      const fail = () => {
        this.socket = undefined
        socket.destroy()
        finish(Effect.fail({ _tag: "Failed", delivery: this.mutation === "says unsent" ? "unsent" : delivery }))
      }
      const timer = setTimeout(fail, 60)
      socket.once("close", fail)
      socket.once("end", fail)
      socket.on("data", (chunk: string) => {
        text += chunk
        if (!wholeReply.test(text)) return
        // Such as LOADING, after the restart.
        if (text.startsWith("-")) return finish(Effect.fail({ _tag: "Refused" }))
        finish(Effect.succeed(this.mutation === "swaps replies" ? ":1\r\n" : text))
      })
      const write = () => {
        if (socket.destroyed) return
        delivery = "unknown"
        socket.write(line)
        if (this.mutation === "acknowledges early") finish(Effect.succeed(":1\r\n"))
      }
      if (socket.connecting) socket.once("connect", write)
      else write()
    })
  }

  private connected(): Net.Socket {
    const usable = this.socket !== undefined && !this.socket.destroyed
    const socket = usable && this.socket ? this.socket : Net.connect(this.target.port, this.target.host)
    if (!usable) socket.setEncoding("utf8").on("error", () => {})
    this.socket = socket
    return socket
  }
}

const verdict = (mutation: Mutation, durationMillis: number) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make({ appendOnly: true })
    const proxy = yield* FaultProxy.make(server, { seed: 4 })
    const ledger = yield* Ledger.make
    const worker = Effect.gen(function* () {
      const client = new PlainClient(proxy, mutation)
      const call = (
        kind: string,
        effect: "read" | "write",
        line: (id: number) => string,
        reply: (id: number) => RegExp
      ) =>
        Effect.exit(
          ledger.track(
            { kind, effect, accepts: (text, id) => reply(id).test(String(text)) },
            (id) => client.call(line(id)),
            (error) => error
          )
        )
      while (true) {
        yield* call(
          "rpush",
          "write",
          (id) => `RPUSH log ${id}\r\n`,
          () => /^:\d+\r\n$/
        )
        yield* call(
          "ping",
          "read",
          (id) => `PING v${id}\r\n`,
          (id) => new RegExp(`^\\$\\d+\r\nv${id}\r\n$`)
        )
      }
    })
    const workers = yield* Effect.forkChild(
      Effect.all(
        Array.from({ length: 8 }, () => worker),
        { concurrency: "unbounded" }
      )
    )
    const played = yield* proxy.play(
      FaultSchedule.make({
        seed: 9,
        durationMillis,
        kinds: FaultSchedule.lossFaults,
        lengthMillis: [30, 90],
        gapMillis: [10, 60]
      })
    )
    yield* server.kill
    yield* server.start
    yield* Effect.sleep(50)
    yield* Fiber.interrupt(workers)
    // A command on its way may still arrive: what is open must be gone before the reckoning.
    yield* proxy.inject({ _tag: "Cut", direction: "toServer", afterBytes: 0, how: "rst", times: Infinity })
    while ((yield* proxy.connections) > 0) yield* Effect.sleep(1)
    while (!/connected_clients:1\r/.test(String(yield* server.command(["INFO", "clients"])))) yield* Effect.sleep(5)
    yield* ledger.collect(server, { lists: ["log"] })
    return { report: yield* ledger.report, played }
  })

describe("the tools together", () => {
  it.live("a plain client that keeps the laws passes", () =>
    Effect.gen(function* () {
      const { played, report } = yield* verdict("none", 2_500)
      assert.deepStrictEqual(report.violations, [])
      assert.isTrue(Ledger.isClean(report))
      assert.isAbove(report.acknowledged, 500)
      assert.isAbove(report.unknown, 5)
      assert.isAtLeast(played.length, FaultSchedule.lossFaults.length)
      // A refusal that nobody dials into hits nothing.
      assert.isAbove(played.filter(({ hits }) => hits > 0).length, played.length / 2)
    })
  )

  for (const [mutation, law] of [
    ["resends", "executedTwice"],
    ["says unsent", "executedThoughUnsent"],
    ["acknowledges early", "lostAcknowledged"],
    ["swaps replies", "wrongReplies"]
  ] as const) {
    it.live(`one that ${mutation} does not`, () =>
      Effect.gen(function* () {
        const { report } = yield* verdict(mutation, 800)
        assert.isAbove(report[law], 0)
      })
    )
  }
})
