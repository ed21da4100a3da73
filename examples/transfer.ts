/**
 * An optimistic transfer: money moves from one account to another, and never into or out of nothing.
 *
 * `Redis.watch` reads on a connection of its own and writes in a transaction that does nothing if a watched key has changed
 * in between; then it starts over. Use it where a write depends on what was read and conflicts are rare; if
 * everybody wants the same key, a script wastes less.
 *
 * Each transfer has an id, which is written in the same transaction. That makes it repeatable: when a connection breaks and
 * nobody knows whether the transaction ran, asking again finds the id, and does nothing.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/transfer.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive, type RedisError } from "@relive/core"
import { Console, Effect, Schedule, Schema } from "effect"

const account = (name: string) => `example:account:${name}`

const done = (id: string) => `example:transfer:${id}`

/** In cents, so that it is always a whole number. */
const Cents = Schema.FiniteFromString.check(Schema.isInt())

/** There is not that much on the account; nothing was moved. */
export class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  account: Schema.String,
  balance: Schema.Int
}) {}

export interface Transfer {
  readonly id: string
  readonly from: string
  readonly to: string
  /** In cents, above zero. */
  readonly amount: number
}

/** Whether a new attempt may help: the connection was lost. (A conflict was tried again by `watch` itself.) */
const isOfTheConnection = (error: InsufficientFunds | RedisError.RedisError): boolean =>
  error._tag === "RedisError" && ["ConnectionError", "TimeoutError", "LeaseTimeout"].includes(error.reason._tag)

/** Makes the transfer, once, however often it is called with one id. */
export const transfer = ({ amount, from, id, to }: Transfer) =>
  Redis.watch(
    [account(from), account(to), done(id)],
    Effect.gen(function* () {
      const [balance, , isDone] = yield* Redis.command(Commands.mget([account(from), account(to), done(id)]), {
        schema: Schema.Tuple([Schema.NullOr(Cents), Schema.NullOr(Cents), Schema.NullOr(Schema.String)])
      })
      if (isDone !== null) return []
      if (balance === null || balance < amount) {
        return yield* new InsufficientFunds({ account: from, balance: balance ?? 0 })
      }
      return [
        Commands.decrby(account(from), amount),
        Commands.incrby(account(to), amount),
        Commands.set(done(id), "done", { ex: 24 * 60 * 60 })
      ]
    })
  ).pipe(
    Effect.retry({ while: isOfTheConnection, schedule: Schedule.exponential("100 millis"), times: 5 }),
    Effect.asVoid
  )

/** Opens accounts, or resets them. */
export const open = (balances: Readonly<Record<string, number>>) =>
  Commands.mset(Object.entries(balances).map(([name, cents]) => [account(name), cents]))

/** All at one moment, so that their sum means something. */
export const balances = (names: ReadonlyArray<string>) =>
  Redis.command(Commands.mget(names.map(account)), { schema: Schema.Array(Cents) })

export const program = Effect.gen(function* () {
  const run = crypto.randomUUID()
  yield* open({ ann: 100_00, bob: 50_00 })
  yield* transfer({ id: `${run}-1`, from: "ann", to: "bob", amount: 30_00 })
  yield* transfer({ id: `${run}-1`, from: "ann", to: "bob", amount: 30_00 })
  const refused = yield* Effect.flip(transfer({ id: `${run}-2`, from: "ann", to: "bob", amount: 71_00 }))
  return { refused: refused._tag, balances: yield* balances(["ann", "bob"]) }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)
