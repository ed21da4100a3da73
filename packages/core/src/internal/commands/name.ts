/**
 * The name of a command for errors, logs and spans.
 *
 * @internal
 */
import type * as Resp from "../../Resp.ts"

/** A command's first element as it was given. Kept on the hot path, where nothing may be spent on a name. */
export const firstElementOf = (command: Resp.Command): string => (typeof command[0] === "string" ? command[0] : "")

/** The name in a word: nothing else gets out, should a caller have put a whole command line into one element. */
export const displayNameOf = (word: string): string =>
  /^[a-z][\w.-]*/i.exec(word)?.[0].slice(0, 40).toUpperCase() ?? "COMMAND"
