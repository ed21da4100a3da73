/**
 * The errors of servers without the arguments that they quote. Names of commands stay: they say what was wrong.
 *
 * @internal
 */
import * as CommandTable from "../../CommandTable.ts"
import { cutQuoted } from "../resp/redaction.ts"

/** `get`, `CONFIG`, `config|set`. */
const isCommand = (text: string): boolean => CommandTable.isKnown(text.split("|", 1)[0] ?? "")

/** The text of a server's error, without what it may have from us but for the name of its own command. */
export const redactQuotedArguments = (text: string, command?: string): string =>
  cutQuoted(text, (quoted) => isCommand(quoted) || quoted.toUpperCase() === command)
