/**
 * The meaning of the errors of servers, and of the proxies that stand before them, for a connection. Their first word is not
 * enough: servers before Redis 7 wrap the error of a script, and proxies have texts of their own. One table, tested with the
 * texts of many of them (`test/fixtures/serverErrors.jsonl`).
 *
 * @internal
 */
import type { ReplyError } from "../resp/model.ts"

/**
 * - `replica`: the server takes no writes, as it has become a replica
 * - `notReady`: it serves next to nothing for a while
 * - `notNow`: it refuses some commands for a while
 * - `unreachable`: a proxy does not reach its server
 * - `full`: it has as many clients as it takes
 * - `protected`: it takes no clients from other machines
 * - `wrongPassword`: it knows the user or the password otherwise
 * - `noPassword`: it has no password, and was given one
 * - `noUsers`: it knows passwords only, no users (before Redis 6)
 * - `wantsPassword`: it has a password, and was given none yet
 * - `noPermission`: the user may not do this
 * - `noDatabase`: it has no such database
 */
export type Meaning =
  | "replica"
  | "notReady"
  | "notNow"
  | "unreachable"
  | "full"
  | "protected"
  | "wrongPassword"
  | "noPassword"
  | "noUsers"
  | "wantsPassword"
  | "noPermission"
  | "noDatabase"

/** In this order: the first that fits counts. */
const table: ReadonlyArray<readonly [Meaning, RegExp]> = [
  ["replica", /^READONLY\b|READONLY You can't write against a read.?only/],
  ["notReady", /^(LOADING|BUSY|MASTERDOWN)\b/],
  ["notNow", /^(CLUSTERDOWN|TRYAGAIN|MISCONF|OOM)\b/],
  ["unreachable", /^(ERR )?(no upstream host|upstream |host is down|connection (refused|timed out|reset)|backend )/i],
  ["full", /max(imum)? (number of )?(concurrent )?(clients|connections)|too many (clients|connections)/i],
  ["protected", /^DENIED\b/],
  ["noPassword", /without any password|no password is set/i],
  ["noUsers", /wrong number of arguments for '?`?auth\b/i],
  ["wrongPassword", /^WRONGPASS\b|(invalid|wrong|incorrect) (username|user|password)|auth\w* fail/i],
  ["wantsPassword", /^NOAUTH\b|authentication required|^ERR operation not permitted/i],
  ["noPermission", /^NOPERM\b/],
  ["noDatabase", /DB index|invalid DB|DB number/i]
]

/** The meaning of an error for the connection; `undefined` for one that concerns its command alone. */
export const meaningOf = ({ message }: ReplyError): Meaning | undefined =>
  table.find(([, text]) => text.test(message))?.[0]

/** Does it say that the server has become a replica? Asked of every error reply, so most cost a few comparisons. */
export const saysReplica = (error: ReplyError): boolean =>
  error.code === "READONLY" ||
  (error.code === "ERR" && error.message.includes("READONLY") && meaningOf(error) === "replica") ||
  // A transaction that was open when that happened.
  (error.code === "EXECABORT" && error.message.includes("because of: READONLY"))

/** Does it say that the server serves nothing for a while: it loads, or is a replica without its primary? Asked as the above. */
export const saysNotServing = ({ code }: ReplyError): boolean => code === "LOADING" || code === "MASTERDOWN"

/** Does it say that a blocked call was let go because the server has become a replica? Nothing was taken for it. */
export const saysLetGo = ({ code, message }: Pick<ReplyError, "code" | "message">): boolean =>
  code === "UNBLOCKED" && message.includes("instance state changed")

const named = /'([a-z|_]+)'|`([a-z|_]+)`|command:? ([a-z|_]+)/i

/** The command that an error names, in upper case. It tells whether an error is the reply that it is taken for. */
export const commandNamedIn = ({ message }: ReplyError): string | undefined => {
  const [, ...names] = named.exec(message) ?? []
  return names
    .find((name) => name !== undefined)
    ?.split("|", 1)[0]
    ?.toUpperCase()
}
