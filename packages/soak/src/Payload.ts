/**
 * The values that are written: texts that are a function of a call's id, so that a reader can tell whose one is and whether it
 * is whole.
 */

const filler = "abcdefghijklmnopqrstuvwxyzäß€漢😀\r\n$5:*3"

/** Most are small, some large. */
const lengthOf = (id: number): number => {
  const luck = (Math.imul(id + 1, 2_654_435_761) >>> 0) % 1_000
  if (luck < 700) return luck % 40
  if (luck < 990) return luck
  return luck * 20
}

/** The text that carries an id. */
export const text = (id: number): string => {
  const length = lengthOf(id)
  return `${id}:${filler
    .repeat(Math.ceil(length / filler.length))
    .slice(0, length)
    .toWellFormed()}:${id}`
}

/** The same as bytes. */
export const bytes = (id: number): Uint8Array => new TextEncoder().encode(text(id))

/** The id at the start of a text; -1 if there is none. */
export const idOf = (found: string): number => {
  const digits = /^\d+(?=:|$)/.exec(found)
  return digits === null ? -1 : Number(digits[0])
}

/** Whether a text is what its id says. */
export const isWhole = (found: string): boolean => found === text(idOf(found))
