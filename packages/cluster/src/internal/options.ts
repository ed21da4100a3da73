/**
 * The options of a cluster, told apart from those of its connections, and checked.
 *
 * @internal
 */
import { RedisArgumentError, RedisError } from "@relive/core/RedisError"
import * as RedisOptions from "@relive/core/RedisOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Address } from "../ClusterTopology.ts"
import type { ChooseReader, MapAddress, NodeInfo, Options, ReadFrom } from "../RedisCluster.ts"
import { addressText, readEndpoint } from "./addresses.ts"
import type { Split } from "./parts.ts"

/** Checked options, with the defaults filled in. */
export interface ResolvedCluster {
  readonly seeds: ReadonlyArray<Address>
  /** The options that all connections are started from. Its endpoint is the first seed. */
  readonly connection: RedisOptions.Resolved
  readonly mapAddress: (announced: Address, node: NodeInfo) => Address
  readonly serverName: ((node: NodeInfo) => string | undefined) | undefined
  readonly readFrom: ReadFrom
  readonly misses: "ask" | "trust"
  readonly everyMillis: number
  readonly spacingMillis: number
  readonly split: Split
  readonly strangers: "follow" | "refresh"
}

const bad = (detail: string): RedisError => new RedisError({ reason: new RedisArgumentError({ detail }) })

const policies = ["primary", "preferReplica", "replica", "any", "nearest"] as const
const splits = ["none", "reads", "all"] as const

const isReadFrom = (value: unknown): value is ReadFrom | ChooseReader =>
  typeof value === "function" || policies.some((policy) => policy === value)

const millisOf = (input: unknown, inherited: number): number | undefined => {
  if (input === undefined) return inherited
  if (input === "never") return Infinity
  if (typeof input === "number" && !(input >= 0)) return undefined
  const millis = Option.getOrUndefined(Option.map(Duration.fromInput(input as Duration.Input), Duration.toMillis))
  return millis !== undefined && millis >= 0 ? millis : undefined
}

const isAddress = (value: unknown): value is Address =>
  Predicate.isObject(value) &&
  typeof value.host === "string" &&
  (value.port === undefined || typeof value.port === "number")

/** The dialling of a node that owns slots: soon, and often, for the first seconds of an outage. */
const eager = { backoffFirst: 0, backoffInitial: 20, backoffCap: 250, stableAfter: 1000 } as const

const resolveSeed = (
  seed: unknown,
  connection: RedisOptions.Options
): Result.Result<RedisOptions.Resolved, RedisArgumentError> => {
  const record = { ...eager, ...connection }
  if (typeof seed === "string" || seed instanceof URL || Redacted.isRedacted(seed)) {
    return RedisOptions.resolve({ ...record, url: seed as string | URL | Redacted.Redacted<string> })
  }
  if (isAddress(seed)) return RedisOptions.resolve({ ...record, host: seed.host, port: seed.port })
  return Result.fail(
    new RedisArgumentError({
      detail: "Each of the option `nodes` must be a URL such as redis://10.0.0.1:6379, or a record like { host, port }"
    })
  )
}

/** Whether a seed is a `rediss://` URL. */
const isEncrypted = (seed: unknown): boolean => {
  const plain: unknown = Redacted.isRedacted(seed) ? Redacted.value(seed) : seed
  return (typeof plain === "string" || plain instanceof URL) && /^rediss:/i.test(String(plain))
}

const refusedNames = ["url", "host", "port", "path", "sentinel", "exitOnDisconnection"] as const

/** The result of a function of the user's; none when it throws, as no caller could be told. */
const attempted = <A>(run: () => A): A | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}

const makeMap = (given: MapAddress | undefined): ResolvedCluster["mapAddress"] | string => {
  if (given === undefined) return (announced) => announced
  if (typeof given === "function") {
    return (announced, node) => {
      const mapped = attempted(() => given(announced, node))
      return isAddress(mapped) && mapped.port !== undefined ? mapped : announced
    }
  }
  const map = new Map<string, Address>()
  for (const [from, to] of Object.entries(given)) {
    const target = typeof to === "string" ? readEndpoint(to, "127.0.0.1") : to
    if (target === undefined) return from
    map.set(from, target)
  }
  return (announced) => map.get(addressText(announced)) ?? map.get(announced.host) ?? announced
}

/** Checks the options of a cluster and of its connections. */
export const resolveCluster = (input: Options): Effect.Effect<ResolvedCluster, RedisError> =>
  Effect.suspend(() => {
    if (!Predicate.isObject(input) || Array.isArray(input)) {
      return Effect.fail(bad('The options of a cluster must be a record like { nodes: ["redis://10.0.0.1:6379"] }'))
    }
    const { mapAddress, misses, nodes, readFrom, refresh, serverName, split, strangers, ...connection } = input
    for (const name of refusedNames) {
      if (name in connection)
        return Effect.fail(bad(`A cluster has no option \`${name}\`: say where it is by \`nodes\``))
    }
    if (!Array.isArray(nodes) || nodes.length === 0) {
      return Effect.fail(
        bad("The option `nodes` must name at least one node of the cluster, such as redis://10.0.0.1:6379")
      )
    }
    if (readFrom !== undefined && !isReadFrom(readFrom)) {
      return Effect.fail(
        bad(`The option \`readFrom\` must be ${policies.map((name) => `"${name}"`).join(", ")}, or a function`)
      )
    }
    if (split !== undefined && !splits.some((name) => name === split)) {
      return Effect.fail(bad('The option `split` must be "none", "reads" or "all"'))
    }
    if (strangers !== undefined && strangers !== "follow" && strangers !== "refresh") {
      return Effect.fail(bad('The option `strangers` must be "follow" or "refresh"'))
    }
    if (misses !== undefined && misses !== "ask" && misses !== "trust") {
      return Effect.fail(bad('The option `misses` must be "ask" or "trust"'))
    }
    const everyMillis = millisOf(refresh?.every, 30_000)
    const spacingMillis = millisOf(refresh?.spacing, 1_000)
    if (everyMillis === undefined || spacingMillis === undefined || !Number.isFinite(spacingMillis)) {
      return Effect.fail(
        bad('The option `refresh` must be a record like { every: "30 seconds" | "never", spacing: "1 second" }')
      )
    }
    const mapped = makeMap(mapAddress)
    if (typeof mapped === "string") {
      return Effect.fail(
        bad(`The option \`mapAddress\` maps ${JSON.stringify(mapped)} to no address: it must be host:port`)
      )
    }
    const resolved: Array<RedisOptions.Resolved> = []
    for (const seed of nodes) {
      const one = resolveSeed(seed, connection as RedisOptions.Options)
      if (Result.isFailure(one)) return Effect.fail(new RedisError({ reason: one.failure }))
      resolved.push(one.success)
    }
    const [first] = resolved
    if (first === undefined) return Effect.fail(bad("The option `nodes` is empty"))
    const seeds: Array<Address> = []
    for (const one of resolved) {
      if (one.endpoint._tag !== "Tcp")
        return Effect.fail(bad("A node of a cluster has a host and a port, no Unix socket"))
      if (one.database !== 0)
        return Effect.fail(bad("A cluster has database 0 alone: leave `database` out, also in the URLs"))
      seeds.push({ host: one.endpoint.host, port: one.endpoint.port })
    }
    const encrypted = resolved.find((one) => one.tls !== undefined)
    if (connection.tls === false && nodes.some(isEncrypted)) {
      return Effect.fail(bad("A node is given by a rediss:// URL, and the option `tls` is false: one of them must go"))
    }
    const credentials = resolved.find((one) => one.password !== undefined) ?? first
    return Effect.succeed({
      seeds,
      connection: {
        ...first,
        username: credentials.username,
        password: credentials.password,
        tls: encrypted?.tls ?? first.tls
      },
      mapAddress: mapped,
      serverName: typeof serverName === "function" ? (node) => attempted(() => serverName(node)) : undefined,
      readFrom: readFrom ?? "primary",
      misses: misses ?? "ask",
      everyMillis,
      spacingMillis,
      split: split ?? "reads",
      strangers: strangers ?? "follow"
    })
  })
