/**
 * The attributes and histograms that the telemetry of calls and of connections share, by OpenTelemetry's conventions for databases.
 *
 * @internal
 */
import * as Metric from "effect/Metric"
import type { Endpoint, Resolved } from "../../RedisOptions.ts"

export type Attributes = Readonly<Record<string, string>>

const DEFAULT_PORT = 6379

/**
 * The attributes that all spans and metrics of a connection have. The port only where it is not the usual one. A server that
 * is found for each session goes by the name of what is sought, so that a switch does not begin new series.
 */
export const commonAttributes = ({ database, endpoint, resolver }: Resolved): Attributes => ({
  "db.system.name": "redis",
  "db.namespace": String(database),
  ...(resolver === undefined ? placeOf(endpoint) : { "server.address": resolver.label })
})

const placeOf = (endpoint: Endpoint): Attributes =>
  endpoint._tag === "Unix"
    ? { "server.address": endpoint.path }
    : {
        "server.address": endpoint.host,
        ...(endpoint.port === DEFAULT_PORT ? {} : { "server.port": String(endpoint.port) })
      }

/** The boundaries that the conventions ask for, in seconds. */
const durations = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

export const histogram = (name: string, description: string, attributes: Attributes) =>
  Metric.histogram(name, { description, attributes: { ...attributes, unit: "s" }, boundaries: durations })

/** The value of OpenTelemetry for one that is not among those it knows. */
export const OTHER = "_OTHER"
