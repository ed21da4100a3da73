/**
 * A registry of buckets, the classic of Elixir's guide: named stores that come into being when they are first asked for,
 * and whose crash hurts nobody else. Each bucket is an `Agent` under a dynamic supervisor; a unique registry is the index,
 * so two callers that create the same bucket at once get the same one.
 */
import { Agent, ChildSpec, DynamicSupervisor, GenServer, Registry, Supervisor } from "@relive/otp"
import { Effect, Option } from "effect"

type Contents = ReadonlyMap<string, number>
export type Bucket = Agent.Agent<Contents>

/** The index: a registry of its own, so that names of buckets and of servers do not meet. */
export class Buckets extends Registry.Tag<Buckets>()("example/Buckets") {}

const nameOf = (bucket: string) => Registry.name<Bucket>(bucket)

const supervisor =
  Registry.name<Supervisor.SupervisorRef<ChildSpec.ChildSpec<unknown, Buckets | Registry.Registry>>>("example/buckets")

/** The buckets as a part of a tree. A bucket that crashed comes back empty, with its name. */
export const childSpec = ChildSpec.supervisor({
  id: "buckets",
  name: supervisor,
  supervisor: DynamicSupervisor.make<Buckets>({ intensity: 100 })
})

const bucketSpec = (bucket: string) =>
  ChildSpec.make({
    id: bucket,
    start: Buckets.within(
      GenServer.init(
        Agent.make((): Contents => new Map()),
        { name: nameOf(bucket) }
      )
    )
  })

/** The bucket with this name, made if there is none. */
export const open = Effect.fn("buckets.open")(function* (bucket: string) {
  const there = yield* Buckets.within(Registry.lookup(nameOf(bucket)))
  if (Option.isSome(there)) return there.value
  const buckets = yield* Supervisor.named(supervisor)
  // Another process may be faster: then its bucket is the one, and this start has failed.
  yield* Effect.ignore(buckets.startChild(bucketSpec(bucket)))
  return yield* Effect.timeout(Buckets.within(Registry.awaitName(nameOf(bucket))), "1 second")
})

export const put = (bucket: string, key: string, value: number) =>
  Effect.flatMap(open(bucket), (agent) => Agent.update(agent, (contents) => new Map(contents).set(key, value)))

export const get = (bucket: string, key: string) =>
  Effect.flatMap(open(bucket), (agent) => Effect.map(Agent.get(agent), (contents) => contents.get(key)))
