/**
 * The service behind a registered name, looked up at each call.
 *
 * @internal
 */
import * as Registry from "@relive/otp/Registry"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as CommandTable from "../../CommandTable.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Event, Name, SubscribeOptions, Wanted } from "../../RedisPubSub.ts"
import { emptyStatus } from "../../RedisService.ts"
import type { CallOptions, Service } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { Budget, monotonicMillis } from "../clock.ts"
import { connectionError } from "../errors.ts"

/** While nobody is there to say another. */
const DEFAULT_TIMEOUT_MILLIS = 5000

/** The failure of a name that is down: nothing of the call was sent. */
const absent = (name: Registry.Name<Service>): RedisError =>
  connectionError(
    {
      kind: "disconnected",
      address: `name ${String(name.key)}`,
      detail: "no connection is registered under this name: it is not started, or its supervisor is restarting it"
    },
    "unsent"
  )

type Use = <A>(
  options: CallOptions | undefined,
  blocks: () => boolean,
  call: (service: Service, options: CallOptions | undefined) => Effect.Effect<A, RedisError, never>
) => Effect.Effect<A, RedisError>

/** How often to look whether one that is closing has left its name, in milliseconds. */
const LOOK_AGAIN_MILLIS = 5

/** The next one to have the name, when `gone` is closing. */
const awaitNext = (
  name: Registry.Name<Service>,
  gone: Service | undefined
): Effect.Effect<Service, never, Registry.Registry> =>
  Effect.flatMap(Registry.awaitName(name), (service) =>
    service === gone
      ? Effect.andThen(Effect.sleep(LOOK_AGAIN_MILLIS), () => awaitNext(name, gone))
      : Effect.succeed(service)
  )

/** Was the call refused because the connection was closing? Then it was not sent, and another one may have the name soon. */
const isClosing = ({ reason }: RedisError): boolean =>
  reason._tag === "ConnectionError" && reason.kind === "shutdown" && reason.delivery === "unsent"

/** Calls the service that has the name; waits for one within the call's deadline, as for a connection that is down. */
const makeUse =
  (registry: Registry.Registry, name: Registry.Name<Service>): Use =>
  (options, blocks, call) =>
    Effect.flatMap(Clock.Clock, (clock) => {
      const asked = monotonicMillis(clock)
      const callNext = (gone: Service | undefined) => {
        const total = callTimeoutMillis(options, gone?.timeoutMillis ?? DEFAULT_TIMEOUT_MILLIS)
        if (typeof total !== "number") return Effect.fail(total)
        const budget = new Budget(clock, total, asked)
        return awaitNext(name, gone).pipe(
          Effect.provideService(Registry.Registry, registry),
          Effect.timeoutOrElse({ duration: Math.max(1, budget.left), orElse: () => Effect.fail(absent(name)) }),
          Effect.flatMap((next) => {
            // A blocking command waits for the server's own timeout, from when it is written.
            const isOwn = options?.timeout === undefined && blocks()
            return call(next, isOwn ? options : { ...options, timeout: budget.option })
          })
        )
      }
      const service = Registry.lookupUnsafe(registry, name)
      if (service === undefined) return callNext(undefined)
      return Effect.catch(call(service, options), (error) =>
        isClosing(error) ? callNext(service) : Effect.fail(error)
      )
    })

const never = () => false

/** Whether the server may keep back the reply of one of the commands. */
const blocking = (commands: ReadonlyArray<Resp.Command>) => () =>
  Array.isArray(commands) &&
  commands.some((command) => (CommandTable.flagsOf(command) & CommandTable.Flags.blocking) !== 0)

/**
 * Subscribes on the service that has the name, and on the next one when that has closed: in between is a gap, as for a connection
 * that was lost.
 */
const namedSubscribe = (registry: Registry.Registry, name: Registry.Name<Service>): Service["subscribe"] => {
  const follow = <Payload, Channel>(
    on: (service: Service) => Stream.Stream<Event<Payload, Channel>, RedisError>
  ): Stream.Stream<Event<Payload, Channel>, RedisError> =>
    Stream.suspend(() => {
      let gone: Service | undefined
      let wasLive = false
      const next = Effect.suspend(() => awaitNext(name, gone)).pipe(
        Effect.provideService(Registry.Registry, registry),
        Effect.tap((service) => Effect.sync(() => (gone = service)))
      )
      const told = (event: Event<Payload, Channel>): Event<Payload, Channel> => {
        if (event._tag !== "Subscribed") return event
        const isFirst = !wasLive
        wasLive = true
        return isFirst ? event : { ...event, _tag: "Resubscribed" }
      }
      return Stream.flatMap(Stream.fromEffectRepeat(next), (service) =>
        Stream.catch(Stream.map(on(service), told), (error) => (isClosing(error) ? Stream.empty : Stream.fail(error)))
      )
    })
  function subscribe(
    wanted: Wanted,
    options: SubscribeOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Event<Uint8Array, Name>, RedisError>
  function subscribe(wanted: Wanted, options?: SubscribeOptions): Stream.Stream<Event, RedisError>
  function subscribe(
    wanted: Wanted,
    options: SubscribeOptions = {}
  ): Stream.Stream<Event | Event<Uint8Array, Name>, RedisError> {
    return options.decode === "bytes"
      ? follow((service) => service.subscribe(wanted, { ...options, decode: "bytes" }))
      : follow((service) => service.subscribe(wanted, options))
  }
  return subscribe
}

export const namedService = (name: Registry.Name<Service>): Effect.Effect<Service, never, Registry.Registry> =>
  Effect.map(Registry.Registry, (registry) => {
    const use = makeUse(registry, name)
    const now = (): Service | undefined => Registry.lookupUnsafe(registry, name)
    const down = emptyStatus("backoff", `name ${String(name.key)}`)
    return {
      command: (command, options) => use(options, blocking([command]), (service, own) => service.command(command, own)),
      pipeline: (commands, options) =>
        use(options, blocking(commands), (service, own) => service.pipeline(commands, own)),
      transaction: (commands, options) => use(options, never, (service, own) => service.transaction(commands, own)),
      noreply: (commands, options) => use(options, never, (service, own) => service.noreply(commands, own)),
      lease: (options) =>
        Effect.flatMap(Effect.scope, (scope) =>
          use({ timeout: options?.timeout }, never, (service, own) =>
            Scope.provide(service.lease({ ...options, timeout: own?.timeout }), scope)
          )
        ),
      get scan() {
        return now()?.scan
      },
      subscribe: namedSubscribe(registry, name),
      get timeoutMillis() {
        return now()?.timeoutMillis ?? DEFAULT_TIMEOUT_MILLIS
      },
      status: Effect.suspend(() => now()?.status ?? Effect.succeed(down)),
      events: Stream.suspend(() => now()?.events ?? Stream.empty)
    }
  })
