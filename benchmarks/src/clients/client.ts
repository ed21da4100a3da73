/**
 * The contract of a client under test. One file each beside this one; nothing else knows a client's API.
 *
 * Each is set up as its own documentation says is fastest, with its documented defaults wherever that is silent.
 */
import type { Shapes } from "../calls.ts"
import type { Driver } from "../loops.ts"

/** Where to connect. */
export interface Target {
  readonly host: string
  readonly port: number
}

/**
 * Subscribes `count` subscribers to one channel, on one connection, and resolves when they are. `onMessage` is called with each
 * subscriber's number and each payload.
 */
export type Subscribe = (
  channel: string,
  count: number,
  onMessage: (subscriber: number, payload: string) => void
) => Promise<void>

/** An open client. */
export interface Connection {
  readonly driver: Driver
  readonly shapes: Shapes
  /** Absent where the client takes no part in that. */
  readonly subscribe?: Subscribe | undefined
  readonly close: () => Promise<void>
}

/** A client under test. */
export interface Client {
  /** Opens one connection, ready for commands. */
  readonly open: (target: Target) => Promise<Connection>
  /** Opens `size` connections behind one set of calls; absent where the client takes no part in that. */
  readonly openPool?: ((target: Target, size: number) => Promise<Connection>) | undefined
  /** Opens a connection with Effect's persistence modules on it; absent where they do not run on the client. */
  readonly openFamily?: ((target: Target) => Promise<Connection>) | undefined
}

/** The names of all clients, as the report has them. */
export const clientNames = [
  "relive",
  "relive-pool",
  "node-redis",
  "node-redis-no-timeout",
  "ioredis",
  "ioredis-auto",
  "glide",
  "bare"
] as const

/** One of {@link clientNames}. */
export type ClientName = (typeof clientNames)[number]

/** Settings that are worth a figure of their own beside the one that counts. */
export const variantNames = [
  "effect-floor",
  "ioredis-in-effect",
  "relive-no-timeout",
  "relive-spans",
  "relive-metrics",
  "relive-schema"
] as const

/** One of {@link variantNames}. */
export type VariantName = (typeof variantNames)[number]

/** Shows the cost of an option of ours: in `get-500` alone, and not in the quick run. */
export const optionNames: ReadonlyArray<string> = [
  "relive-no-timeout",
  "relive-spans",
  "relive-metrics",
  "relive-schema"
]

/** Anything that can be started. */
export type AnyName = ClientName | VariantName

const loaders: Readonly<Record<AnyName, () => Promise<{ readonly client: Client }>>> = {
  relive: () => import("./relive.ts"),
  "relive-pool": () => import("./relivePool.ts"),
  "node-redis": () => import("./nodeRedis.ts"),
  "node-redis-no-timeout": () => import("./nodeRedisNoTimeout.ts"),
  "relive-no-timeout": () => import("./reliveNoTimeout.ts"),
  "relive-spans": () => import("./reliveSpans.ts"),
  "relive-metrics": () => import("./reliveMetrics.ts"),
  "relive-schema": () => import("./reliveSchema.ts"),
  ioredis: () => import("./ioredis.ts"),
  "ioredis-auto": () => import("./ioredisAuto.ts"),
  "ioredis-in-effect": () => import("./ioredisInEffect.ts"),
  glide: () => import("./glide.ts"),
  bare: () => import("./bare.ts"),
  "effect-floor": () => import("./effectFloor.ts")
}

/** Loads one client; the others stay out of the process. */
export const loadClient = async (name: AnyName): Promise<Client> => (await loaders[name]()).client

/** Whether a text is the name of a client or variant. */
export const isName = (name: string): name is AnyName => Object.hasOwn(loaders, name)
