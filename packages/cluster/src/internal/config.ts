/**
 * The options of a cluster in the environment.
 *
 * @internal
 */
import * as RedisOptions from "@relive/core/RedisOptions"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Options } from "../RedisCluster.ts"

const policies = ["primary", "preferReplica", "replica", "any", "nearest"] as const

/** An empty variable counts as not set. */
const variable = (name: string): Config.Config<string | undefined> =>
  Config.option(Config.String(name)).pipe(Config.map((text) => Option.getOrUndefined(text) || undefined))

const wrong = (message: string) => Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))

const nodes = Config.mapEffect(variable("NODES"), (text) => {
  const list = (text ?? "").split(",").flatMap((part) => (part.trim() === "" ? [] : [part.trim()]))
  if (list.length === 0) {
    return wrong("REDIS_CLUSTER_NODES must name at least one node, as in redis://10.0.0.1:6379,redis://10.0.0.2:6379")
  }
  return Effect.succeed(list.map((node) => (node.includes("://") ? node : `redis://${node}`)))
})

const readFrom = Config.mapEffect(variable("READ_FROM"), (text) => {
  const policy = policies.find((name) => name === text)
  return text === undefined || policy !== undefined
    ? Effect.succeed(policy)
    : wrong(`REDIS_CLUSTER_READ_FROM must be one of ${policies.join(", ")}`)
})

const cluster = Config.all({ nodes, readFrom }).pipe(Config.nested("CLUSTER"), Config.nested("REDIS"))

/** The options in the environment: those of a connection, and those of the cluster. */
export const clusterOptionsConfig: Config.Config<Options> = Config.map(
  Config.all({ connection: RedisOptions.config, cluster }),
  ({ cluster, connection }) => {
    const { host: _h, path: _p, port: _o, sentinel: _s, url: _u, ...rest } = connection
    return { ...rest, ...cluster }
  }
)
