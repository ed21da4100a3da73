/**
 * Where the benchmarks run: on the machine as it is, with all of it on one core, or with the clients' system calls made dear.
 * The same client can be the fastest in one and the slowest in another, so a figure of one alone says little.
 */
import { execPath } from "node:process"

/** The names of the surroundings, as the report has them. */
export const surroundings = ["as-it-is", "one-core", "dear-system-calls"] as const

/** One of {@link surroundings}. */
export type Surroundings = (typeof surroundings)[number]

/** A program that starts another one, and its arguments. */
type Prefix = ReadonlyArray<string>

const oneCore: Prefix = ["taskset", "--cpu-list", "0"]

/** Follows every system call and does nothing: each costs some tens of microseconds more. */
const traced: Prefix = ["strace", "--follow-forks", "--quiet=all", "--trace=none", "--output=/dev/null"]

/** The command that starts the server. */
export const serverPrefix = (where: Surroundings): Prefix => (where === "one-core" ? oneCore : [])

/** The command that starts a client's process: a program and the arguments before those of Node. */
export const clientExec = (where: Surroundings): { readonly execPath: string; readonly before: Prefix } => {
  const prefix = where === "one-core" ? oneCore : where === "dear-system-calls" ? traced : []
  const [program = execPath, ...before] = [...prefix, execPath]
  return { execPath: program, before }
}
