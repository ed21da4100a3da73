/**
 * The settings of a soak: those it is given, and those it decides itself.
 *
 * The times are far shorter than a program would choose: a soak wants many lives of a connection, not long ones. They
 * are printed with each run.
 */
import type * as RedisOptions from "@relive/core/RedisOptions"

/** The command line. */
export interface Settings {
  readonly seconds: number
  readonly seed: number
  /** Over TLS: the connections, and our own questions to the server. */
  readonly tls: boolean
  /** Nothing but the JSON on stdout. */
  readonly json: boolean
}

export const usage = "usage: npm run -s soak -- [--seconds N] [--seed S] [--tls] [--json]"

/** Reads the command line; a text says what is wrong with it. */
export const parse = (args: ReadonlyArray<string>): Settings | string => {
  let seconds = 20
  let seed = 1
  let json = false
  let tls = false
  for (let index = 0; index < args.length; index++) {
    const [name = "", inline] = (args[index] ?? "").split("=", 2)
    if (name === "--json") {
      json = true
      continue
    }
    if (name === "--tls") {
      tls = true
      continue
    }
    if (name !== "--seconds" && name !== "--seed") return `${name} is not an option`
    const text = inline ?? args[++index] ?? ""
    const number = text.trim() === "" ? Number.NaN : Number(text)
    if (!Number.isFinite(number)) return `${name} needs a number, not ${JSON.stringify(text)}`
    if (name === "--seconds") seconds = number
    else seed = number
  }
  if (seconds < 1) return "--seconds must be at least 1"
  if (!Number.isInteger(seed)) return "--seed must be an integer"
  return { seconds, seed, tls, json }
}

/** The deadline of a call that does not say its own, in milliseconds. */
export const TIMEOUT_MILLIS = 800

/** The time that a close may take, in milliseconds. */
export const CLOSE_TIMEOUT_MILLIS = 500

/** A connection under soak, or a pool of `size`. The name is that of its clients at the server, too. */
export interface Connection {
  readonly name: string
  readonly size?: number | undefined
  readonly options: RedisOptions.Options
}

/** The settings that all of them share, in milliseconds. */
export const common = {
  timeout: TIMEOUT_MILLIS,
  connectTimeout: 600,
  closeTimeout: CLOSE_TIMEOUT_MILLIS,
  healthCheckInterval: 400,
  stableAfter: 300,
  backoffFirst: 20,
  backoffInitial: 30,
  backoffFactor: 2,
  backoffCap: 250,
  leases: 10,
  leaseIdle: 500
} satisfies RedisOptions.Options

/** The settings that differ, so that each way is soaked. */
export const connections: ReadonlyArray<Connection> = [
  { name: "soak-wait", options: common },
  { name: "soak-resp2", options: { ...common, protocol: 2, mailboxCommands: 24, inFlightCommands: 16 } },
  { name: "soak-fail", options: { ...common, protocol: 3, whenDown: "fail", whenFull: "fail", mailboxCommands: 200 } },
  { name: "soak-pool", size: 3, options: common }
]

/** The commands a second that the workload aims at, and the rate below which no kind of call may hold up the others. */
export const rate = { most: 4_000, least: 1_800 }

/** The least that a run must have done to mean something. */
export const enough = {
  commandsPerSecond: 1_000,
  faultsPerSecond: 1,
  /** From this many seconds on there must also be */
  longSeconds: 40,
  /** so many faults of each kind, */
  faultsPerKind: 3,
  /** and this share of the commands of each kind. */
  sharePerKind: 0.01
}
