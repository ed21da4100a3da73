/**
 * The store behind `Registry`: entries by key and by owner.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as MutableHashMap from "effect/MutableHashMap"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ExitReason from "../ExitReason.ts"
import type { Process } from "../Process.ts"
import type { BadName, Keys, Options, Registry, RegistryEvent } from "../Registry.ts"
import { impl, ProcessImpl } from "./process/process.ts"

export interface StoredEntry {
  readonly key: unknown
  readonly process: ProcessImpl
  value: unknown
}

interface Owner {
  readonly entries: Set<StoredEntry>
  readonly removeCleanup: () => void
}

export type Watcher = (event: "Joined" | "Left", process: Process) => void

export type Refused =
  | { readonly _tag: "Taken"; readonly entry: StoredEntry }
  | { readonly _tag: "Bad"; readonly reason: BadName["reason"] }

/** A map whose primitive keys cost one `Map` look-up, and whose other keys are compared by structure. Empty it holds none. */
export class KeyMap<in out V> {
  private primitives: Map<unknown, V> | undefined = undefined
  private structures: MutableHashMap.MutableHashMap<unknown, V> | undefined = undefined

  getUndefined(key: unknown): V | undefined {
    if (isPrimitive(key)) return this.primitives?.get(key)
    return Option.getOrUndefined(this.getStructure(key))
  }

  get(key: unknown): Option.Option<V> {
    if (!isPrimitive(key)) return this.getStructure(key)
    return this.primitives?.has(key) === true ? Option.some(this.primitives.get(key) as V) : Option.none()
  }

  private getStructure(key: unknown): Option.Option<V> {
    return this.structures === undefined ? Option.none() : MutableHashMap.get(this.structures, key)
  }

  set(key: unknown, value: V): void {
    if (isPrimitive(key)) (this.primitives ??= new Map()).set(key, value)
    else MutableHashMap.set((this.structures ??= MutableHashMap.empty()), key, value)
  }

  delete(key: unknown): void {
    if (isPrimitive(key)) this.primitives?.delete(key)
    else if (this.structures !== undefined) MutableHashMap.remove(this.structures, key)
  }
}

const isPrimitive = (key: unknown): boolean => key === null || (typeof key !== "object" && typeof key !== "function")

const none: ReadonlyArray<StoredEntry> = []

export class RegistryImpl implements Registry {
  readonly "~@relive/otp/Registry" = "~@relive/otp/Registry" as const
  readonly keys: Keys
  readonly process: ProcessImpl
  readonly meta = new KeyMap<unknown>()
  private readonly listeners: ReadonlyArray<Process | (() => Process | undefined)>
  private readonly byKey = new KeyMap<Array<StoredEntry>>()
  private readonly owners = new Map<ProcessImpl, Owner>()
  private readonly waiting = new KeyMap<Set<() => void>>()
  private readonly watchers = new KeyMap<Set<Watcher>>()
  size = 0

  constructor(process: ProcessImpl, options: Options | undefined) {
    this.process = process
    this.keys = options?.keys ?? "unique"
    this.listeners = options?.listeners ?? []
  }

  first(key: unknown): StoredEntry | undefined {
    return this.byKey.getUndefined(key)?.[0]
  }

  find(key: unknown): ReadonlyArray<StoredEntry> {
    const entries = this.byKey.getUndefined(key)
    return entries === undefined ? none : entries.slice()
  }

  entriesOf(process: Process): ReadonlyArray<StoredEntry> {
    return Array.from(this.owners.get(impl(process))?.entries ?? none)
  }

  /** The entry of a unique key, if `process` owns it. */
  owned(key: unknown, process: ProcessImpl): StoredEntry | undefined {
    const entry = this.keys === "duplicate" ? undefined : this.first(key)
    return entry?.process === process ? entry : undefined
  }

  register(key: unknown, process: ProcessImpl, value: unknown): Refused | undefined {
    if (!this.process.isAliveUnsafe) return { _tag: "Bad", reason: "RegistryStopped" }
    if (!process.isAliveUnsafe) return { _tag: "Bad", reason: "ProcessEnded" }
    const taken = this.keys === "duplicate" ? undefined : this.first(key)
    if (taken !== undefined) return { _tag: "Taken", entry: taken }
    if (this.keys === "local" && this.owners.has(process)) return { _tag: "Bad", reason: "HasOtherName" }
    this.add({ key, process, value })
    this.tell({ _tag: "Registered", registry: this, key, process, value })
    this.wake(key)
    return undefined
  }

  /** Calls `notify` once when the key is registered next. Returns the removal. */
  whenRegistered(key: unknown, notify: () => void): () => void {
    const waiters = this.waiting.getUndefined(key) ?? new Set()
    this.waiting.set(key, waiters.add(notify))
    return () => {
      waiters.delete(notify)
      if (waiters.size === 0 && this.waiting.getUndefined(key) === waiters) this.waiting.delete(key)
    }
  }

  /** Calls `watcher` for each entry of the key that comes or goes, also with its owner. Returns the removal. */
  watch(key: unknown, watcher: Watcher): () => void {
    const all = this.watchers.getUndefined(key) ?? new Set()
    this.watchers.set(key, all.add(watcher))
    return () => {
      all.delete(watcher)
      if (all.size === 0 && this.watchers.getUndefined(key) === all) this.watchers.delete(key)
    }
  }

  private wake(key: unknown): void {
    const waiters = this.waiting.getUndefined(key)
    if (waiters === undefined) return
    this.waiting.delete(key)
    for (const notify of waiters) notify()
  }

  /** Whether the call was in order; it is so without an entry too, but not for a free local name. */
  unregister(key: unknown, process: ProcessImpl): boolean {
    if (this.keys === "local") {
      const entry = this.first(key)
      if (entry === undefined) return false
      this.remove(entry)
      this.tell({ _tag: "Unregistered", registry: this, key, process: entry.process })
      return true
    }
    for (const entry of this.find(key)) if (entry.process === process) this.remove(entry)
    // Told also when there was nothing to remove, as Elixir does.
    this.tell({ _tag: "Unregistered", registry: this, key, process })
    return true
  }

  private add(entry: StoredEntry): void {
    const entries = this.byKey.getUndefined(entry.key)
    if (entries === undefined) this.byKey.set(entry.key, [entry])
    else entries.push(entry)
    this.size++
    for (const watcher of this.watchers.getUndefined(entry.key) ?? []) watcher("Joined", entry.process)
    let owner = this.owners.get(entry.process)
    if (owner === undefined) {
      const process = entry.process
      owner = { entries: new Set(), removeCleanup: process.addCleanup(() => this.forget(process)) }
      this.owners.set(process, owner)
      // Erlang's local names link nobody.
      if (this.keys !== "local") process.addLink(this.process)
    }
    owner.entries.add(entry)
  }

  private remove(entry: StoredEntry): void {
    this.unlist(entry)
    const owner = this.owners.get(entry.process)
    if (owner === undefined) return
    owner.entries.delete(entry)
    if (owner.entries.size > 0) return
    this.owners.delete(entry.process)
    owner.removeCleanup()
    if (this.keys !== "local") entry.process.removeLink(this.process)
  }

  private unlist(entry: StoredEntry): void {
    const entries = this.byKey.getUndefined(entry.key)
    const index = entries?.indexOf(entry) ?? -1
    if (entries === undefined || index < 0) return
    this.size--
    for (const watcher of this.watchers.getUndefined(entry.key) ?? []) watcher("Left", entry.process)
    if (entries.length === 1) this.byKey.delete(entry.key)
    else entries.splice(index, 1)
  }

  /** The owner has ended: its entries go. */
  private forget(process: ProcessImpl): void {
    const owner = this.owners.get(process)
    this.owners.delete(process)
    if (owner !== undefined) for (const entry of owner.entries) this.unlist(entry)
  }

  private tell(event: RegistryEvent): void {
    for (const listener of this.listeners) {
      const process = typeof listener === "function" ? listener() : listener
      if (process !== undefined) impl(process).receive({ _tag: "Message", message: event })
    }
  }
}

/** Starts the registry's process and ties it to the scope. */
export const makeRegistry = (options: Options | undefined): Effect.Effect<Registry, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.withFiber((fiber) => {
      const process = new ProcessImpl({
        id: "registry",
        path: "registry",
        generation: 1,
        parent: undefined,
        origin: undefined,
        context: fiber.context,
        trapExit: true
      })
      process.setReceiver(discard)
      process.acknowledge(undefined, false)
      process.launch(process.body(Effect.never))
      return Effect.succeed(new RegistryImpl(process, options))
    }),
    (registry) => Effect.sync(() => registry.process.stop(ExitReason.shutdown))
  )

/** The ends of owners are seen by their cleanup; nothing else concerns the registry. */
const discard = { offer: (): void => {} }
