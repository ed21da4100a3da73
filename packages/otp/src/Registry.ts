/**
 * Names for processes: unique and duplicate keys with a value, looked up at once, gone with their owner.
 *
 * A name is typed by the value registered under it: `Registry.name<A>("app/cache")`. The value is what callers want to
 * reach, such as a handle of a server or a service; the owner is the process that registered it. When the owner ends,
 * however it ends, its entries are gone before any monitor or link is told, so a restarted child finds its name free.
 *
 * A registry is a service. `Supervisor.run` and `Supervisor.layer` provide one to their tree; `make` and `layer` give
 * further ones. Owners are linked to their registry: when it stops, they are told.
 *
 * The rules are those of Elixir's `Registry`, and, with `keys: "local"`, of Erlang's `register/2`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { makeRegistry, RegistryImpl } from "./internal/registry.ts"
import * as internal from "./internal/process/process.ts"
import type { Process } from "./Process.ts"
import { Self } from "./internal/process/self.ts"

/**
 * The identity of {@link Registry} values.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId = "~@relive/otp/Registry" as const

/**
 * A registry. Its content is reached by the functions of this module.
 *
 * @since 0.1.0
 * @category models
 */
export interface Registry {
  readonly [TypeId]: typeof TypeId
  readonly keys: Keys
  /** The process that stands for the registry: owners are linked to it. */
  readonly process: Process
}

/**
 * The service tag of the registry of a supervision tree.
 *
 * @since 0.1.0
 * @category services
 */
export const Registry: Context.Service<Registry, Registry> = Context.Service<Registry>("@relive/otp/Registry")

/**
 * How a registry treats its keys.
 *
 * - `unique`: a key has one owner; an owner may have many keys; only the owner can take an entry away.
 * - `duplicate`: a key has any number of entries, several of one owner too.
 * - `local`: Erlang's local names: one name per process and one process per name; any process can take a name away.
 *
 * @since 0.1.0
 * @category models
 */
export type Keys = "unique" | "duplicate" | "local"

/**
 * A key with the type of the values registered under it. Keys are compared by value and type: `1` is not `"1"`, and
 * two arrays with equal elements are the same key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Name<in out A> {
  readonly key: unknown
  readonly _A: (value: A) => A
}

/**
 * One entry: the owner and what it registered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry<out A> {
  readonly process: Process
  readonly value: A
}

/**
 * The plain message that listeners get. They hear of registrations and of calls of `unregister`, not of entries that
 * go with their owner; those who need that monitor the owner.
 *
 * @since 0.1.0
 * @category models
 */
export type RegistryEvent =
  | {
      readonly _tag: "Registered"
      readonly registry: Registry
      readonly key: unknown
      readonly process: Process
      readonly value: unknown
    }
  | { readonly _tag: "Unregistered"; readonly registry: Registry; readonly key: unknown; readonly process: Process }

/**
 * The key has an owner already: `process`, with `value`.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyRegistered extends Data.TaggedError("AlreadyRegistered")<{
  readonly key: unknown
  readonly process: Process
  readonly value: unknown
}> {
  override get message(): string {
    return `The name ${String(this.key)} belongs to "${this.process.path}"`
  }
}

/**
 * The name is not registered, or cannot be: the process has another name (`local`), or it or the registry has ended.
 *
 * @since 0.1.0
 * @category errors
 */
export class BadName extends Data.TaggedError("BadName")<{
  readonly key: unknown
  readonly reason: "NotRegistered" | "HasOtherName" | "ProcessEnded" | "RegistryStopped"
}> {
  override get message(): string {
    return `The name ${String(this.key)} cannot be used: ${this.reason}`
  }
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `unique` when absent. */
  readonly keys?: Keys | undefined
  /** Processes that are told what is registered; a function is asked at each event who that is now. */
  readonly listeners?: ReadonlyArray<Process | (() => Process | undefined)> | undefined
}

/**
 * A key for values of type `A`. Make it once and share it: the type is a promise that the key is used for `A` only.
 *
 * @since 0.1.0
 * @category constructors
 */
export const name = <A>(key: unknown): Name<A> => ({ key, _A: (value) => value })

/**
 * Starts a registry that stops with the scope. Processes that still have entries then get its exit signal `shutdown`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Registry, never, Scope.Scope> => makeRegistry(options)

/**
 * A layer that provides a registry with unique names.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Registry> = Layer.effect(Registry, make())

/**
 * A second registry: a service of its own, with a layer, whatever the keys. `within` runs the functions of this
 * module in it.
 *
 * ```ts run
 * import { Process, Registry } from "@relive/otp"
 * import { Effect } from "effect"
 *
 * class Topics extends Registry.Tag<Topics>()("app/Topics", { keys: "duplicate" }) {}
 *
 * const topic = Registry.name<string>("news")
 *
 * const program = Process.run(
 *   Effect.gen(function* () {
 *     yield* Topics.within(Registry.register(topic, "a"))
 *     yield* Topics.within(Registry.register(topic, "b"))
 *     return yield* Topics.within(Registry.entries(topic))
 *   })
 * ).pipe(Effect.provide(Topics.layer))
 *
 * const entries = await Effect.runPromise(program)
 * console.log(entries.map(({ value }) => value)) // ["a", "b"]
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export const Tag =
  <Self>() =>
  <const Id extends string>(id: Id, options?: Options): TagClass<Self, Id> => {
    const tag = Context.Service<Self, Registry>()(id)
    const within: TagClass<Self, Id>["within"] = (effect) =>
      Effect.flatMap(tag, (registry) => Effect.provideService(effect, Registry, registry))
    return Object.assign(tag, { layer: Layer.effect(tag, make(options)), within })
  }

/**
 * The result of `Tag`: a service key that also has the layer of its registry.
 *
 * @since 0.1.0
 * @category models
 */
export type TagClass<Self, Id extends string> = Context.ServiceClass<Self, Id, Registry> & {
  /** Starts the registry, and stops it when the layer is released. */
  readonly layer: Layer.Layer<Self>
  /** Runs an effect with this registry in place of that of the tree. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Registry> | Self>
}

const impl = (registry: Registry): RegistryImpl => {
  if (registry instanceof RegistryImpl) return registry
  throw new TypeError("Not a registry of @relive/otp")
}

const withSelf = <A, E>(
  run: (registry: RegistryImpl, self: internal.ProcessImpl) => Effect.Effect<A, E>
): Effect.Effect<A, E, Registry | Self> =>
  Effect.flatMap(Registry, (registry) => Effect.flatMap(Self, (self) => run(impl(registry), internal.impl(self))))

const withRegistry = <A>(run: (registry: RegistryImpl) => A): Effect.Effect<A, never, Registry> =>
  Effect.map(Registry, (registry) => run(impl(registry)))

/**
 * Registers `value` under the name, owned by the calling process.
 *
 * Fails with {@link AlreadyRegistered} when a unique name is taken, by the caller itself too. In an instance that has
 * been killed it does nothing but fail with {@link BadName}.
 *
 * @since 0.1.0
 * @category combinators
 */
export const register = <A>(
  name: Name<A>,
  value: A
): Effect.Effect<void, AlreadyRegistered | BadName, Registry | Self> =>
  withSelf((registry, self) => {
    const refused = registry.register(name.key, self, value)
    if (refused === undefined) return Effect.void
    return Effect.fail(
      refused._tag === "Taken"
        ? new AlreadyRegistered({ key: name.key, process: refused.entry.process, value: refused.entry.value })
        : new BadName({ key: name.key, reason: refused.reason })
    )
  })

/**
 * Removes the entries of the calling process under the name; returns normally also when there was none. With `local`
 * keys it removes the name no matter who owns it, and fails with {@link BadName} when it is free.
 *
 * @since 0.1.0
 * @category combinators
 */
export const unregister = <A>(name: Name<A>): Effect.Effect<void, BadName, Registry | Self> =>
  withSelf((registry, self) =>
    registry.unregister(name.key, self)
      ? Effect.void
      : Effect.fail(new BadName({ key: name.key, reason: "NotRegistered" }))
  )

/**
 * The value registered under the name; the oldest one of a duplicate key.
 *
 * @since 0.1.0
 * @category accessors
 */
export const lookup = <A>(name: Name<A>): Effect.Effect<Option.Option<A>, never, Registry> =>
  withRegistry((registry) => Option.map(Option.fromUndefinedOr(entry<A>(registry, name)), (entry) => entry.value))

/**
 * The value registered under the name, or `undefined`: at once, for hot paths. One look-up in a `Map` for names whose
 * key is a string or a number.
 *
 * @since 0.1.0
 * @category accessors
 */
export const lookupUnsafe = <A>(registry: Registry, name: Name<A>): A | undefined =>
  entry<A>(impl(registry), name)?.value

/**
 * The value registered under the name, waited for while there is none: for callers that outlive a restart of what they
 * call. It waits for ever where nobody registers, so give it a timeout.
 *
 * @since 0.1.0
 * @category accessors
 */
export const awaitName = <A>(name: Name<A>): Effect.Effect<A, never, Registry> =>
  Effect.flatMap(Registry, (registry) =>
    Effect.callback<A>((resume) => {
      const look = (): Effect.Effect<void> | void => {
        const found = entry<A>(impl(registry), name)
        if (found !== undefined) return resume(Effect.succeed(found.value))
        stop = impl(registry).whenRegistered(name.key, look)
      }
      let stop = (): void => {}
      look()
      return Effect.sync(() => stop())
    })
  )

/**
 * The process that owns the name, if any.
 *
 * @since 0.1.0
 * @category accessors
 */
export const whereIs = <A>(name: Name<A>): Effect.Effect<Option.Option<Process>, never, Registry> =>
  withRegistry((registry) => Option.map(Option.fromUndefinedOr(entry<A>(registry, name)), (entry) => entry.process))

/**
 * All entries under the name, the oldest first.
 *
 * @since 0.1.0
 * @category accessors
 */
export const entries = <A>(name: Name<A>): Effect.Effect<ReadonlyArray<Entry<A>>, never, Registry> =>
  withRegistry((registry) => registry.find(name.key).map((entry) => entry as Entry<A>))

/**
 * The keys a process has registered, one per entry.
 *
 * @since 0.1.0
 * @category accessors
 */
export const keys = (process: Process): Effect.Effect<ReadonlyArray<unknown>, never, Registry> =>
  withRegistry((registry) => registry.entriesOf(process).map((entry) => entry.key))

/**
 * The values a process has registered under the name.
 *
 * @since 0.1.0
 * @category accessors
 */
export const values = <A>(name: Name<A>, process: Process): Effect.Effect<ReadonlyArray<A>, never, Registry> =>
  withRegistry((registry) =>
    registry
      .find(name.key)
      .filter((entry) => entry.process === process)
      .map((entry) => entry.value as A)
  )

/**
 * The number of entries.
 *
 * @since 0.1.0
 * @category accessors
 */
export const count: Effect.Effect<number, never, Registry> = withRegistry((registry) => registry.size)

/**
 * Replaces the value of a unique name that the calling process owns; returns the new and the old value. Fails with
 * {@link BadName} when the caller does not own the name.
 *
 * @since 0.1.0
 * @category combinators
 */
export const updateValue = <A>(
  name: Name<A>,
  update: (value: A) => A
): Effect.Effect<{ readonly value: A; readonly previous: A }, BadName, Registry | Self> =>
  withSelf((registry, self) => {
    const entry = registry.owned(name.key, self)
    if (entry === undefined) return Effect.fail(new BadName({ key: name.key, reason: "NotRegistered" }))
    const previous = entry.value as A
    const value = update(previous)
    entry.value = value
    return Effect.succeed({ value, previous })
  })

/**
 * Sends a message to the owner of each entry under the name. Nothing tells whether an owner got it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const dispatch = <A>(name: Name<A>, message: unknown): Effect.Effect<void, never, Registry> =>
  withRegistry((registry) => {
    for (const entry of registry.find(name.key)) entry.process.receive({ _tag: "Message", message })
  })

/**
 * Stores a value of the registry's own, next to its entries.
 *
 * @since 0.1.0
 * @category combinators
 */
export const putMeta = <A>(name: Name<A>, value: A): Effect.Effect<void, never, Registry> =>
  withRegistry((registry) => registry.meta.set(name.key, value))

/**
 * Reads a value stored by {@link putMeta}.
 *
 * @since 0.1.0
 * @category accessors
 */
export const meta = <A>(name: Name<A>): Effect.Effect<Option.Option<A>, never, Registry> =>
  withRegistry((registry) => registry.meta.get(name.key) as Option.Option<A>)

const entry = <A>(registry: RegistryImpl, name: Name<A>): Entry<A> | undefined =>
  // The name promises the type of what is registered under its key.
  registry.first(name.key) as Entry<A> | undefined
