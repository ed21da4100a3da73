/**
 * A rate limiter per key: `limit` requests in a window that begins with the first one. The end of a window is a timer of
 * the server with the key as its name; there is no fiber, and no clean-up loop.
 */
import { ChildSpec, GenServer, Registry } from "@relive/otp"
import { Effect } from "effect"

export interface Protocol extends GenServer.Protocol {
  readonly call: GenServer.Call<{ readonly _tag: "Take"; readonly key: string }, number, LimitReached>
  readonly cast: { readonly _tag: "WindowEnded"; readonly key: string }
}

export class LimitReached {
  readonly _tag = "LimitReached"
}

interface State {
  readonly self: GenServer.Server<Protocol>
  readonly taken: ReadonlyMap<string, number>
}

const server = (limit: number, windowMillis: number) =>
  GenServer.make<Protocol, State>()({
    init: (self) => GenServer.ok({ self, taken: new Map() }),
    handleCall: {
      Take: ({ key }, { self, taken }) => {
        const count = (taken.get(key) ?? 0) + 1
        if (count > limit) return GenServer.refuse(new LimitReached(), { self, taken })
        const result = GenServer.reply(limit - count, { self, taken: new Map(taken).set(key, count) })
        if (count > 1) return result
        return Effect.as(self.castAfter(windowMillis, { _tag: "WindowEnded", key }, { key }), result)
      }
    },
    handleCast: ({ key }, { self, taken }) => {
      const left = new Map(taken)
      left.delete(key)
      return GenServer.noReply({ self, taken: left })
    },
    describe: ({ taken }) => ({ kind: "rate limiter", facts: { keys: taken.size } })
  })

export const name = Registry.name<GenServer.Server<Protocol>>("example/limiter")

export const childSpec = (options: { readonly limit: number; readonly windowMillis: number }) =>
  ChildSpec.genServer({ id: "limiter", name, server: server(options.limit, options.windowMillis) })

/** Takes one request; returns how many are left. Fails with `LimitReached`. */
export const take = (key: string) =>
  Effect.flatMap(GenServer.named(name), (limiter) => limiter.call({ _tag: "Take", key }))
