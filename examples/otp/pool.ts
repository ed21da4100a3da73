/**
 * A pool of workers: callers borrow one, and give it back when their scope closes. It never hands a worker to nobody: a
 * caller that timed out, was interrupted or died while the reply was on its way is seen by `from.onGone`, and one that
 * dies with a worker in its hands by its scope.
 */
import { ChildSpec, GenServer, Registry } from "@relive/otp"
import { Effect } from "effect"

export interface Protocol<Worker> extends GenServer.Protocol {
  readonly call: GenServer.Call<{ readonly _tag: "Checkout" }, Worker>
  readonly cast: { readonly _tag: "Checkin"; readonly worker: Worker }
}

interface State<Worker> {
  readonly self: GenServer.Server<Protocol<Worker>>
  readonly free: ReadonlyArray<Worker>
  readonly queue: ReadonlyArray<GenServer.From<Worker>>
}

/** Hands a worker over; if it is not received it comes back. */
const hand = <Worker>({ self }: State<Worker>, from: GenServer.From<Worker>, worker: Worker) =>
  Effect.andThen(from.onGone(self.cast({ _tag: "Checkin", worker })), from.reply(worker))

const server = <Worker>(workers: ReadonlyArray<Worker>) =>
  GenServer.make<Protocol<Worker>, State<Worker>>()({
    init: (self) => GenServer.ok({ self, free: workers, queue: [] }),
    handleCall: {
      Checkout: (_, state, from) => {
        const [worker, ...free] = state.free
        if (worker === undefined) return GenServer.noReply({ ...state, queue: [...state.queue, from] })
        return Effect.as(hand(state, from, worker), GenServer.noReply({ ...state, free }))
      }
    },
    handleCast: ({ worker }, state) => {
      const [next, ...queue] = state.queue.filter((from) => from.isWaiting)
      if (next === undefined) return GenServer.noReply({ ...state, queue, free: [...state.free, worker] })
      return Effect.as(hand(state, next, worker), GenServer.noReply({ ...state, queue }))
    },
    describe: ({ free, queue }) => ({ kind: "pool", facts: { free: free.length, waiting: queue.length } })
  })

export const name = Registry.name<GenServer.Server<Protocol<number>>>("example/pool")

/** A pool of `size` workers, which are numbers here. */
export const childSpec = (size: number) =>
  ChildSpec.genServer({
    id: "pool",
    name,
    server: server(Array.from({ length: size }, (_, worker) => worker))
  })

/** A worker for as long as the scope is open. It waits at most `timeout` for one. */
export const worker = (timeout: number) =>
  Effect.flatMap(GenServer.named(name, { whenAbsent: "wait" }), (pool) =>
    Effect.acquireRelease(pool.call({ _tag: "Checkout" }, { timeout }), (worker) =>
      pool.cast({ _tag: "Checkin", worker })
    )
  )
