/**
 * The ways to run a supervisor: in the process of a child, and as the root of a tree.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ChildSpec, Started } from "../../ChildSpec.ts"
import * as ExitReason from "../../ExitReason.ts"
import { lookupUnsafe, register, Registry } from "../../Registry.ts"
import type { Name } from "../../Registry.ts"
import type {
  InfoOf,
  LastCrash,
  NamedSupervisor,
  StartChildOptions,
  StartedChild,
  StartOptions,
  SupervisorRef,
  SupervisorSpec
} from "../../Supervisor.ts"
import type { Process } from "../../Process.ts"
import { SupervisorError, SupervisorStartError } from "./errors.ts"
import { CurrentHub, EventHub } from "./events.ts"
import { awaitAwake } from "../process/awake.ts"
import { awaitStart, impl, ProcessImpl } from "../process/process.ts"
import { Self } from "../process/self.ts"
import { checkSettings, SpecImpl } from "./settings.ts"
import type { AnySpec, Kind } from "./settings.ts"
import { Supervisor } from "./supervisor.ts"
import { SupervisorRef as Root } from "./tag.ts"

/** Its functions are fields, so that they can be taken out of it; its effects are made when they are asked for. */
class Ref<in Child, out Info> implements SupervisorRef<Child, Info> {
  private readonly supervisor: Supervisor
  private readonly kind: Kind

  constructor(supervisor: Supervisor, kind: Kind) {
    this.supervisor = supervisor
    this.kind = kind
  }

  get process(): Process {
    return this.supervisor.process
  }

  readonly startChild = <C extends Child>(
    child: C,
    options?: StartChildOptions
  ): Effect.Effect<StartedChild<InfoOf<C, Info>>, SupervisorError> => {
    // The constructor of the spec has fixed what `Child` is: arguments of a template, or a child spec.
    const started =
      this.kind === "simple"
        ? this.supervisor.startInstance(child as never, options)
        : this.supervisor.startChild(child as AnySpec, options)
    // The information is what the start of this very spec handed out.
    return started as Effect.Effect<StartedChild<InfoOf<C, Info>>, SupervisorError>
  }

  readonly terminateChild: SupervisorRef["terminateChild"] = (child) => this.supervisor.terminateChild(child)
  readonly restartChild: SupervisorRef["restartChild"] = (id) => this.supervisor.restartChild(id)
  readonly deleteChild: SupervisorRef["deleteChild"] = (id) => this.supervisor.deleteChild(id)
  readonly getChildSpec: SupervisorRef["getChildSpec"] = (child) => this.supervisor.getChildSpec(child)
  readonly stop: SupervisorRef["stop"] = (reason) => this.supervisor.stopWith(reason ?? ExitReason.shutdown)

  get whichChildren(): SupervisorRef["whichChildren"] {
    return this.supervisor.whichChildren
  }

  get countChildren(): SupervisorRef["countChildren"] {
    return this.supervisor.countChildren
  }

  get awaitExit(): SupervisorRef["awaitExit"] {
    return this.supervisor.process.awaitExit
  }

  get events(): SupervisorRef["events"] {
    return this.supervisor.hub.stream
  }

  get tree(): SupervisorRef["tree"] {
    return this.supervisor.tree
  }
}

/** The root as its tree finds it: whatever its kind is, it is only asked to start children from specs. */
const rootRef = <Child, Info>(supervisor: Supervisor, ref: SupervisorRef<Child, Info>, kind: Kind): SupervisorRef =>
  // Where children are no arguments of a template, a child is a spec.
  kind === "simple" ? new SimpleRoot(supervisor, kind) : (ref as unknown as SupervisorRef)

class SimpleRoot extends Ref<ChildSpec<unknown, Registry>, unknown> {
  override readonly startChild = () => refuse
}

const refuse = Effect.fail(new SupervisorError({ reason: { _tag: "SimpleOneForOne" } }))

/** The last crash in the tree of a supervisor. */
export const lastCrashOf = (ref: { readonly process: Process }): LastCrash | undefined =>
  impl(ref.process).supervisor?.hub.lastCrash

/** The supervisor that has the name at the time of each call. */
export const named = <Child, Info>(
  name: Name<SupervisorRef<Child, Info>>
): Effect.Effect<NamedSupervisor<Child, Info>, never, Registry> =>
  Effect.map(Registry, (registry) => {
    const ref = Effect.suspend(() => {
      const found = lookupUnsafe(registry, name)
      return found === undefined
        ? Effect.fail(new SupervisorError({ reason: { _tag: "Exited", reason: ExitReason.noProcess } }))
        : Effect.succeed(found)
    })
    return {
      ref,
      startChild: (child, options) => Effect.flatMap(ref, (ref) => ref.startChild(child, options)),
      terminateChild: (child) => Effect.flatMap(ref, (ref) => ref.terminateChild(child)),
      restartChild: (id) => Effect.flatMap(ref, (ref) => ref.restartChild(id)),
      deleteChild: (id) => Effect.flatMap(ref, (ref) => ref.deleteChild(id)),
      getChildSpec: (child) => Effect.flatMap(ref, (ref) => ref.getChildSpec(child)),
      whichChildren: Effect.flatMap(ref, (ref) => ref.whichChildren),
      countChildren: Effect.flatMap(ref, (ref) => ref.countChildren),
      stop: (reason) => Effect.flatMap(ref, (ref) => ref.stop(reason))
    }
  })

/** Makes a process a supervisor. `prepare` runs when there is a reference, before any child starts. */
export const init = <Child, R, Info, RP = never>(
  spec: SupervisorSpec<Child, R, Info>,
  prepare?: (ref: SupervisorRef<Child, Info>) => Effect.Effect<void, SupervisorStartError, RP>
): Effect.Effect<Started<SupervisorRef<Child, Info>>, SupervisorStartError, R | RP | Self> =>
  Effect.flatMap(Effect.context<R | Self>(), (context) => {
    if (!(spec instanceof SpecImpl)) throw new TypeError("Not a supervisor spec of @relive/otp")
    const settings = checkSettings(spec.options)
    if ("_tag" in settings) return Effect.fail(new SupervisorStartError({ reason: settings }))
    const process = impl(Context.get(context as Context.Context<Self>, Self))
    const treeHub = Context.get(context, CurrentHub)
    const hub = treeHub ?? new EventHub()
    const inTree = Context.add(context, CurrentHub, hub)
    const supervisor = new Supervisor(process, settings, inTree, hub)
    supervisor.takeOver()
    const ref = new Ref<Child, Info>(supervisor, spec.kind)
    process.supervisor = { ref, hub }
    if (treeHub === undefined) {
      process.addObserver(() => hub.close())
      supervisor.context = Context.add(inTree, Root, rootRef<Child, Info>(supervisor, ref, spec.kind))
    }
    const boot = prepare === undefined ? supervisor.boot : Effect.andThen(prepare(ref), supervisor.boot)
    return Effect.as(boot, {
      _tag: "Started" as const,
      run: supervisor.loop,
      info: ref,
      terminate: undefined,
      mailboxDepth: () => supervisor.depth
    })
  })

/** The `prepare` that registers a supervisor under a name. */
export const registerAs =
  <Child, Info>(name: Name<SupervisorRef<Child, Info>>) =>
  (ref: SupervisorRef<Child, Info>): Effect.Effect<void, SupervisorStartError, Registry | Self> =>
    Effect.mapError(register(name, ref), (error) => {
      if (error._tag === "BadName") {
        return new SupervisorStartError({ reason: { _tag: "Exited", reason: ExitReason.crash(error) } })
      }
      return new SupervisorStartError({ reason: { _tag: "NameTaken", name: name.key, process: error.process } })
    })

export const start = <Child, R, Info>(
  spec: SupervisorSpec<Child, R, Info>,
  options?: StartOptions
): Effect.Effect<SupervisorRef<Child, Info>, SupervisorStartError, Outside<R> | Scope.Scope> =>
  startRoot(init(spec), options)

type Outside<R> = Exclude<R, Self>

/** Starts a process that becomes a supervisor by `boot`, and stops it when the scope closes. */
export const startRoot = <Info, R>(
  boot: Effect.Effect<Started<Info>, SupervisorStartError, R>,
  options?: StartOptions
): Effect.Effect<Info, SupervisorStartError, Outside<R> | Scope.Scope> =>
  Effect.flatMap(Effect.context<Outside<R> | Scope.Scope>(), (context) => {
    const caller = Context.getOrUndefined(context, Self)
    const parent = caller === undefined ? undefined : impl(caller)
    const id = options?.id ?? "root"
    const process = new ProcessImpl({
      id,
      path: parent === undefined ? id : `${parent.path}/${id}`,
      generation: 1,
      parent,
      origin: parent,
      context,
      trapExit: true
    })
    let result: Exit.Exit<Started<Info>, SupervisorStartError> | undefined
    const body = Effect.flatMap(
      Effect.onExit(boot, (exit) => Effect.sync(() => (result = exit))),
      (outcome) => {
        process.acknowledge(undefined, true)
        return outcome.run
      }
    )
    // Nothing can come between the finalizer and the launch, so the finalizer has something to wait for.
    const launched = Effect.uninterruptibleMask((restore) =>
      Effect.andThen(
        Effect.addFinalizer(() => stopRoot(process, options?.closeTimeout)),
        Effect.suspend(() => {
          process.launch(body, parent)
          return restore(awaitStart(process))
        })
      )
    )
    return Effect.flatMap(launched, () => {
      if (result !== undefined && Exit.isSuccess(result)) return Effect.succeed(result.value.info)
      const error = result === undefined ? undefined : Option.getOrUndefined(Exit.findErrorOption(result))
      const reason = process.exitReason ?? ExitReason.killed
      return Effect.fail(error ?? new SupervisorStartError({ reason: { _tag: "Exited", reason } }))
    })
  })

const stopRoot = (process: ProcessImpl, closeTimeout: Duration.Input | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!process.isAliveUnsafe) return Effect.void
    // The end of its parent is a message like any other, and its reason is taken over. Closed from elsewhere, the tree
    // does not wait for starts that hang.
    const leaving = process.parent?.leavingReason
    if (leaving === undefined) process.abortStarts?.()
    process.receive({ _tag: "ParentExit", from: undefined, reason: leaving ?? ExitReason.shutdown })
    const ended = Effect.asVoid(process.awaitExit)
    if (closeTimeout === undefined) return ended
    return Effect.map(awaitAwake(ended, Duration.toMillis(closeTimeout)), () => process.kill())
  })

/** As `start`; the end of the root by itself is logged. */
export const startWatched = <Child, R, Info>(
  spec: SupervisorSpec<Child, R, Info>,
  options?: StartOptions
): Effect.Effect<SupervisorRef<Child, Info>, SupervisorStartError, Outside<R> | Scope.Scope> =>
  Effect.tap(start(spec, options), (ref) => {
    let released = false
    const process = impl(ref.process)
    process.addObserver((reason) => {
      if (released) return
      const crash = lastCrashOf(ref)
      const line = `The supervision tree "${process.path}" has ended: ${ExitReason.format(reason)}`
      process.report(
        crash === undefined
          ? Effect.logFatal(line)
          : Effect.logFatal(`${line}; the last crash was that of "${crash.path}"`, crash.cause)
      )
    })
    return Effect.addFinalizer(() =>
      Effect.sync(() => {
        released = true
      })
    )
  })
