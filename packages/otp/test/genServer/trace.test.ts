import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, GenServer, Process, Registry, Supervisor } from "@relive/otp"
import { Effect, Fiber, References, Tracer } from "effect"

interface Probe {
  readonly call: GenServer.Call<{ readonly _tag: "Look" }, Seen> | GenServer.Call<{ readonly _tag: "Sync" }, void>
  readonly cast: "look"
}

interface Seen {
  readonly span: string | undefined
  readonly annotations: Readonly<Record<string, unknown>>
}

const look = Effect.gen(function* () {
  const span = yield* Effect.orElseSucceed(Effect.currentSpan, () => undefined)
  return { span: span?.name, annotations: yield* References.CurrentLogAnnotations } satisfies Seen
})

const probe = (seen: Array<Seen>, trace?: boolean) =>
  GenServer.make<Probe, null>()({
    trace,
    init: () => GenServer.ok(null),
    handleCall: {
      Look: (_, state) => Effect.map(look, (seen) => GenServer.reply(seen, state)),
      Sync: (_, state) => GenServer.reply(undefined, state)
    },
    handleCast: (_, state) =>
      Effect.map(look, (now) => {
        seen.push(now)
        return GenServer.noReply(state)
      })
  })

const none: Seen = { span: undefined, annotations: {} }

describe("traces", () => {
  it.effect("a handler runs under its caller's span and log annotations, the next one not", () =>
    Effect.gen(function* () {
      const seen: Array<Seen> = []
      const server = yield* GenServer.start(probe(seen))
      const traced = server.call({ _tag: "Look" }).pipe(Effect.annotateLogs("user", 7), Effect.withSpan("request"))
      assert.deepStrictEqual(yield* traced, { span: "request", annotations: { user: 7 } })
      assert.deepStrictEqual(yield* server.call({ _tag: "Look" }), none)
      yield* Effect.withSpan(server.cast("look"), "sent")
      yield* server.cast("look")
      yield* server.call({ _tag: "Sync" })
      assert.deepStrictEqual(seen, [{ span: "sent", annotations: {} }, none])
    })
  )

  it.effect("a span of the handler is a child of the caller's", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const server = yield* GenServer.start(
        GenServer.make<Probe, null>()({
          init: () => GenServer.ok(null),
          handleCall: {
            Look: (_, state) => Effect.withSpan(Effect.succeed(GenServer.reply(none, state)), "handle"),
            Sync: (_, state) => GenServer.reply(undefined, state)
          },
          handleCast: (_, state) => GenServer.noReply(state)
        })
      ).pipe(Effect.withTracer(tracer))
      yield* server.call({ _tag: "Look" }).pipe(Effect.withSpan("request"), Effect.withTracer(tracer))
      const [request, handle] = spans
      assert.deepStrictEqual([request?.name, handle?.name], ["request", "handle"])
      assert.strictEqual(handle?.parent._tag === "Some" && handle.parent.value, request)
    })
  )

  it.effect("over two servers, and with the caller's services left outside", () =>
    Effect.gen(function* () {
      const inner = yield* GenServer.start(probe([]))
      const outer = yield* GenServer.start(
        GenServer.make<Probe, null>()({
          init: () => GenServer.ok(null),
          handleCall: {
            Look: (_, state) =>
              Effect.gen(function* () {
                const self = yield* Process.self
                assert.strictEqual(self.id, "outer")
                return GenServer.reply(yield* inner.call({ _tag: "Look" }), state)
              }),
            Sync: (_, state) => GenServer.reply(undefined, state)
          },
          handleCast: (_, state) => GenServer.noReply(state)
        }),
        { id: "outer" }
      )
      const seen = yield* Process.run(
        outer.call({ _tag: "Look" }).pipe(Effect.annotateLogs({ a: 1 }), Effect.withSpan("request")),
        { id: "caller" }
      )
      assert.deepStrictEqual(seen, { span: "request", annotations: { a: 1 } })
    })
  )

  it.effect("the server's own span and annotations stay when the caller has none, and where it has others", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(probe([])).pipe(
        Effect.annotateLogs({ server: "s", user: 0 }),
        Effect.withSpan("program")
      )
      assert.deepStrictEqual(yield* server.call({ _tag: "Look" }), {
        span: "program",
        annotations: { server: "s", user: 0 }
      })
      const seen = yield* Effect.annotateLogs(server.call({ _tag: "Look" }), "user", 7)
      assert.deepStrictEqual(seen, { span: "program", annotations: { server: "s", user: 7 } })
    })
  )

  it.effect("`trace: false` keeps the callers' traces out", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(probe([], false))
      const seen = yield* server.call({ _tag: "Look" }).pipe(Effect.annotateLogs("a", 1), Effect.withSpan("request"))
      assert.deepStrictEqual(seen, none)
    })
  )

  it.effect("a call that waits in the mailbox keeps its trace, in a tree too", () =>
    Effect.gen(function* () {
      const name = Registry.name<GenServer.Server<Probe>>("probe")
      yield* Supervisor.start(
        Supervisor.make({ children: [ChildSpec.genServer({ id: "probe", server: probe([]), name })] })
      )
      const server = yield* GenServer.named(name)
      const calls: Array<Fiber.Fiber<Seen, GenServer.CallError>> = []
      for (const span of ["a", "b", "c"]) {
        calls.push(yield* Effect.forkChild(Effect.withSpan(server.call({ _tag: "Look" }), span)))
      }
      const spans = yield* Effect.forEach(calls, (fiber) => Effect.map(Fiber.join(fiber), ({ span }) => span))
      assert.deepStrictEqual(spans, ["a", "b", "c"])
    }).pipe(Effect.scoped, Effect.provide(Registry.layer))
  )
})
