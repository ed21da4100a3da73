/**
 * Groups of processes: any process joins any number of groups, and leaves them when it ends. Erlang's `pg`, within one
 * program.
 *
 * ```ts run
 * import { Process, ProcessGroup } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * const member = Process.run(
 *   Effect.gen(function* () {
 *     yield* ProcessGroup.join("room:1")
 *     yield* ProcessGroup.broadcast("room:1", "hello")
 *     return yield* Process.receive
 *   })
 * )
 *
 * console.log(await Effect.runPromise(Effect.provide(member, ProcessGroup.layer))) // { _tag: "Message", message: "hello" }
 * ```
 *
 * Provide the layer outside of the tree whose processes use it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { impl } from "./internal/process/process.ts"
import type { Self } from "./internal/process/self.ts"
import { RegistryImpl } from "./internal/registry.ts"
import type { Process } from "./Process.ts"
import { self } from "./Process.ts"
import * as Registry from "./Registry.ts"

/**
 * The service that keeps the groups: a registry with duplicate keys.
 *
 * @since 0.1.0
 * @category services
 */
export class ProcessGroups extends Registry.Tag<ProcessGroups>()("@relive/otp/ProcessGroups", { keys: "duplicate" }) {}

/**
 * Provides the groups.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<ProcessGroups> = ProcessGroups.layer

/**
 * A member has come or gone.
 *
 * @since 0.1.0
 * @category models
 */
export interface GroupEvent {
  readonly _tag: "Joined" | "Left"
  readonly process: Process
}

const name = (group: unknown): Registry.Name<undefined> => Registry.name<undefined>(group)

/**
 * The calling process joins a group. A group is named by any value: equal keys of a registry are the same group. Joining
 * twice is joining once. In an instance that has been killed it does nothing.
 *
 * @since 0.1.0
 * @category combinators
 */
export const join = (group: unknown): Effect.Effect<void, never, ProcessGroups | Self> =>
  Effect.flatMap(self, (self) =>
    ProcessGroups.within(
      Effect.flatMap(Registry.values(name(group), self), (values) =>
        values.length > 0 ? Effect.void : Effect.ignore(Registry.register(name(group), undefined))
      )
    )
  )

/**
 * The calling process leaves a group; nothing happens if it is no member.
 *
 * @since 0.1.0
 * @category combinators
 */
export const leave = (group: unknown): Effect.Effect<void, never, ProcessGroups | Self> =>
  ProcessGroups.within(Effect.ignore(Registry.unregister(name(group))))

/**
 * The members of a group, those who joined first at first.
 *
 * @since 0.1.0
 * @category accessors
 */
export const members = (group: unknown): Effect.Effect<ReadonlyArray<Process>, never, ProcessGroups> =>
  ProcessGroups.within(Effect.map(Registry.entries(name(group)), (entries) => entries.map(({ process }) => process)))

/**
 * Sends a plain message to all members, the sender included if it is one. Nothing tells whether a member got it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const broadcast = (group: unknown, message: unknown): Effect.Effect<void, never, ProcessGroups> =>
  ProcessGroups.within(Registry.dispatch(name(group), message))

/**
 * The joins and leaves from now on; a process that ends leaves. A slow reader loses the oldest events.
 *
 * @since 0.1.0
 * @category accessors
 */
export const events = (group: unknown): Stream.Stream<GroupEvent, never, ProcessGroups> =>
  Stream.callback<GroupEvent, never, ProcessGroups>(
    (queue) =>
      Effect.flatMap(ProcessGroups, (registry) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            if (!(registry instanceof RegistryImpl)) throw new TypeError("Not a registry of @relive/otp")
            return registry.watch(group, (_tag, process) => {
              Queue.offerUnsafe(queue, { _tag, process: impl(process) })
            })
          }),
          (stop) => Effect.sync(stop)
        )
      ),
    { bufferSize: 1024, strategy: "sliding" }
  )
