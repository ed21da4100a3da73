/**
 * BullMQ's structured arguments as words.
 *
 * @internal
 */
import type { Argument } from "@relive/core/Resp"

/** Fields and values of a record, one after the other. */
export const flat = (data: Readonly<Record<string, string | number>>): Array<string | number> =>
  Object.entries(data).flat()

export const maxlen = (
  options: { readonly MAXLEN?: number; readonly approximate?: boolean } = {}
): Array<string | number> => {
  if (options.MAXLEN === undefined) return []
  return options.approximate === false ? ["MAXLEN", options.MAXLEN] : ["MAXLEN", "~", options.MAXLEN]
}

const argumentOf = (value: unknown): Argument => {
  if (value === undefined || value === null) return ""
  return value instanceof Uint8Array ? value : String(value)
}

/** The arguments of a script, in one array or not; one that is missing is the empty text, in its place. */
export const argumentsOf = (args: ReadonlyArray<unknown>): Array<Argument> => args.flat().map(argumentOf)
