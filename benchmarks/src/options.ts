/** The command line of the benchmarks. */
import { parseArgs } from "node:util"
import { clientNames, isName, optionNames, variantNames, type AnyName } from "./clients/client.ts"
import { scenarios, type Durations, type Scenario } from "./scenarios.ts"
import { surroundings, type Surroundings } from "./surroundings.ts"

/** The things to run. */
export interface Options {
  readonly scenarios: ReadonlyArray<Scenario>
  readonly clients: ReadonlyArray<AnyName>
  /** The number of processes of each client, one after the other. */
  readonly processes: number
  /** Rounds of each process. */
  readonly rounds: number
  readonly durations: Durations
  readonly where: Surroundings
  /** Misses of targets are failures. */
  readonly check: boolean
  /** Only the JSON on stdout, no table. */
  readonly json: boolean
}

/** A mistake of the person who called, with a message for them. */
export class UsageError extends Error {}

/** The usage. */
export const usage = `node benchmarks/src/main.ts [options]

  --scenario NAME      instead of the workloads: what happens under faults (failover, pubsub), with options of its own
  --quick              the gated workloads with short rounds, some four minutes
  --json               nothing but the JSON object on stdout
  --workload a,b       only these: ${scenarios.map(({ name }) => name).join(", ")}
  --clients a,b        only these: ${[...clientNames, ...variantNames].join(", ")}
  --processes n        processes per client: each has a mode of its own (quick 3, else 5)
  --rounds n           rounds per process (quick 2, else 4)
  --milliseconds n     length of one round (quick 250, else 600)
  --where name         ${surroundings.join(", ")}: all of it on one core (needs taskset), or
                       the clients under strace
  --check              ends with code 1 when a target is missed

A table goes to stderr; the last line on stdout is the result as one JSON object.
RELIVE_REDIS_SERVER names the server's program, else redis-server or valkey-server from the PATH is taken.`

const list = (value: string): ReadonlyArray<string> =>
  value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")

const positive = (name: string, value: string | undefined, otherwise: number): number => {
  if (value === undefined) return otherwise
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1)
    throw new UsageError(`--${name} must be a whole number from 1, not ${value}`)
  return number
}

const chosenScenarios = (names: string | undefined, quick: boolean): ReadonlyArray<Scenario> => {
  if (names === undefined) return scenarios.filter(({ gated }) => gated || !quick)
  return list(names).map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name)
    if (found === undefined) throw new UsageError(`there is no workload ${name}`)
    return found
  })
}

const chosenClients = (names: string | undefined, quick: boolean): ReadonlyArray<AnyName> => {
  if (names === undefined)
    return [...clientNames, ...variantNames].filter((name) => !quick || !optionNames.includes(name))
  return list(names).map((name) => {
    if (!isName(name)) throw new UsageError(`there is no client ${name}`)
    return name
  })
}

/** Reads the arguments; `undefined` when help was asked for. */
export const parseOptions = (args: ReadonlyArray<string>): Options | undefined => {
  let values
  try {
    values = parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        workload: { type: "string" },
        clients: { type: "string" },
        rounds: { type: "string" },
        processes: { type: "string" },
        where: { type: "string", default: "as-it-is" },
        check: { type: "boolean", default: false },
        milliseconds: { type: "string" }
      }
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  if (values.help) return undefined
  const where = surroundings.find((name) => name === values.where)
  if (where === undefined) throw new UsageError(`there are no surroundings ${values.where}`)
  return {
    scenarios: chosenScenarios(values.workload, values.quick),
    clients: chosenClients(values.clients, values.quick),
    where,
    check: values.check,
    processes: positive("processes", values.processes, values.quick ? 3 : 5),
    rounds: positive("rounds", values.rounds, values.quick ? 2 : 4),
    durations: {
      warmUp: values.quick ? 250 : 1000,
      round: positive("milliseconds", values.milliseconds, values.quick ? 250 : 600)
    },
    json: values.json
  }
}
