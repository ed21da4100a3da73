/**
 * Servers repeat what they were sent in their errors, in quotes: `ERR unknown subcommand 'x'`, `Error in ACL SETUSER modifier
 * '>password'`. Arguments are secrets, so what is quoted is taken out, unless it is the name of a command.
 *
 * @internal
 */
import * as CommandTable from "../../CommandTable.ts"

/** An apostrophe inside of a word opens nothing. */
const opening = /(?:^|[\s([{=:,;>/-])(['"`])/g

/** `get`, `CONFIG`, `config|set`. */
const isCommand = (text: string): boolean => CommandTable.isKnown(text.split("|", 1)[0] ?? "")

/** The text of a server's error, without what it may have from us but for the name of its own command. */
export const redactQuotedArguments = (text: string, answered?: string): string => {
  // Most errors quote nothing.
  if (!text.includes("'") && !text.includes('"') && !text.includes("`")) return text
  opening.lastIndex = 0
  let shown = ""
  let shownTo = 0
  for (let found = opening.exec(text); found !== null; found = opening.exec(text)) {
    const quote = found[1] ?? "'"
    const start = opening.lastIndex
    const end = text.indexOf(quote, start)
    const quoted = text.slice(start, end)
    if (end > 0 && (isCommand(quoted) || quoted.toUpperCase() === answered)) {
      opening.lastIndex = end + 1
      continue
    }
    // A quoted text may hold such quotes itself: up to the last one, or the end.
    const last = text.lastIndexOf(quote)
    shown += `${text.slice(shownTo, start)}…`
    shownTo = last >= start ? last : text.length
    opening.lastIndex = Math.min(text.length, shownTo + 1)
  }
  return shown + text.slice(shownTo)
}
