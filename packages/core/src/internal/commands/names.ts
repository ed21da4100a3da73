/**
 * The names of all commands that are known, without those of subcommands. In small letters.
 *
 * @internal
 */
import { commandTableData } from "./data.ts"
import { newerCommands } from "./facts.ts"

const firstWord = (line: string): string => line.slice(0, Math.max(0, line.indexOf(" ")))

export const commandNames: ReadonlyArray<string> = `${commandTableData}${newerCommands}`
  .split("\n")
  .map(firstWord)
  .filter((name) => name !== "" && !name.includes("|"))
