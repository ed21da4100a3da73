/**
 * The timeouts that blocking commands tell the server: a command that goes on at another node has what is left of its time.
 * Pure.
 *
 * @internal
 */
import type * as Resp from "@relive/core/Resp"

const firstElementOf = (argument: Resp.Argument | undefined): string =>
  typeof argument === "string" ? argument.toUpperCase() : ""

const atFirst: ReadonlySet<string> = new Set(["BLMPOP", "BZMPOP"])
const withOption: ReadonlySet<string> = new Set(["XREAD", "XREADGROUP"])

/** Where the timeout stands, and in what unit. */
const placeOf = (command: Resp.Command): { readonly at: number; readonly perSecond: boolean } | undefined => {
  const name = firstElementOf(command[0])
  if (withOption.has(name)) {
    const at = command.findIndex((argument, index) => index > 0 && firstElementOf(argument) === "BLOCK")
    return at < 0 ? undefined : { at: at + 1, perSecond: false }
  }
  return { at: atFirst.has(name) ? 1 : command.length - 1, perSecond: true }
}

/** The same command with this much less of its timeout, which stays above zero: zero is for ever. */
export const withLess = (command: Resp.Command, millis: number): Resp.Command => {
  const place = placeOf(command)
  const given = place === undefined ? NaN : Number(command[place.at])
  if (place === undefined || !(given > 0) || millis <= 0) return command
  const left = place.perSecond ? Math.max(0.001, given - millis / 1000) : Math.max(1, Math.ceil(given - millis))
  return command.map((argument, index) => (index === place.at ? left : argument))
}
