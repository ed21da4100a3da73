/**
 * Cuts from the errors of servers what they repeat of the commands that they were sent, since arguments are secrets: the list behind
 * `with args beginning with:`, and what stands in quotes, as in `Error in ACL SETUSER modifier '>password'`.
 *
 * @internal
 */

/** Texts of the server after which it repeats the caller's arguments. */
const argumentList = /,? with args beginning with:/

/** The text without a list of arguments, and without what follows it. */
export const cutArgumentList = (text: string): string => {
  const start = text.search(argumentList)
  return start === -1 ? text : text.slice(0, start)
}

/** An apostrophe inside of a word opens nothing. */
const opening = /(?:^|[\s([{=:,;>/-])(['"`])/g

/** The text with an ellipsis in the place of each quoted one, unless that is harmless. */
export const cutQuoted = (text: string, isHarmless: (quoted: string) => boolean): string => {
  // Most errors quote nothing.
  if (!text.includes("'") && !text.includes('"') && !text.includes("`")) return text
  opening.lastIndex = 0
  let shown = ""
  let shownTo = 0
  for (let found = opening.exec(text); found !== null; found = opening.exec(text)) {
    const quote = found[1] ?? "'"
    const start = opening.lastIndex
    const end = text.indexOf(quote, start)
    if (end > 0 && isHarmless(text.slice(start, end))) {
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
