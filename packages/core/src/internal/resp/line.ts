/**
 * The grammar of RESP's short lines: lengths, integers, doubles, booleans.
 *
 * Each `…Fit` function reads the content of a line and returns, with one number, what an incremental parser asks:
 * `fits` when it is complete and right; the content's length when it is right so far but cannot end here; else the index
 * of the first byte that can never be right. So a wrong byte is seen at once, also while the line is still coming.
 *
 * @internal
 */

/** The line is complete and inside the grammar. */
export const FITS = -1

const isDigit = (unit: number): boolean => unit >= 48 && unit <= 57

const skipDigits = (text: string, from: number): number => {
  let index = from
  while (index < text.length && isDigit(text.charCodeAt(index))) index++
  return index
}

const afterSign = (text: string): number => (text[0] === "-" || text[0] === "+" ? 1 : 0)

/** `[+-]? digit+`. */
export const integerFit = (text: string): number => {
  const first = afterSign(text)
  const last = skipDigits(text, first)
  return last < text.length || last === first ? last : FITS
}

/** `digit+`, or `-1` where there is a null form, or `?` where there is a streamed form. No sign otherwise. */
export const lengthFit = (text: string, hasNull: boolean, hasStream: boolean): number => {
  if (hasStream && text[0] === "?") return wordFit(text, "?")
  if (hasNull && text[0] === "-") return wordFit(text, "-1")
  const last = skipDigits(text, 0)
  return last < text.length || last === 0 ? last : FITS
}

/** `[+-]? digit+ ( "." digit+ )? ( [eE] [+-]? digit+ )?`, or infinity or not-a-number as the C library prints them. */
export const doubleFit = (text: string): number => {
  const first = afterSign(text)
  const lower = text.slice(first, first + 1).toLowerCase()
  if (lower === "i") return shift(wordFit(text.slice(first).toLowerCase(), "inf"), first)
  if (lower === "n") return shift(nanFit(text.slice(first).toLowerCase()), first)
  let index = skipDigits(text, first)
  if (index === first) return index
  if (text[index] === ".") {
    const fraction = index + 1
    index = skipDigits(text, fraction)
    if (index === fraction) return index
  }
  if (text[index] === "e" || text[index] === "E") {
    const sign = text[index + 1]
    const exponent = sign === "-" || sign === "+" ? index + 2 : index + 1
    index = skipDigits(text, exponent)
    if (index === exponent) return index
  }
  return index < text.length ? index : FITS
}

/** The number that a line inside `doubleFit` stands for. */
export const toDouble = (text: string): number => {
  const first = text.charCodeAt(afterSign(text)) | 0x20
  if (first === 0x69) return text[0] === "-" ? -Infinity : Infinity
  if (first === 0x6e) return NaN
  return Number(text)
}

const least = -(2n ** 63n)
const most = 2n ** 63n - 1n

/** The number that a line inside `integerFit` stands for; `undefined` when it is outside 64 bits. */
export const toInteger = (text: string): number | bigint | undefined => {
  if (text.length <= 15) return Number(text) + 0
  const value = BigInt(text)
  if (value < least || value > most) return undefined
  const near = Number(value)
  return Number.isSafeInteger(near) ? near : value
}

/** Exactly `word`. */
export const wordFit = (text: string, word: string): number => {
  let index = 0
  while (index < text.length && index < word.length && text[index] === word[index]) index++
  return index === word.length && index === text.length ? FITS : index
}

/** `nan`, or `nan(` letters, digits and `_` `)`. */
const nanFit = (text: string): number => {
  if (text.length <= 3) return wordFit(text, "nan")
  const start = wordFit(text.slice(0, 4), "nan(")
  if (start !== FITS) return start
  let index = 4
  while (index < text.length && /[0-9a-z_]/.test(text.charAt(index))) index++
  if (text[index] !== ")") return index
  return index + 1 === text.length ? FITS : index + 1
}

const shift = (fit: number, by: number): number => (fit === FITS ? FITS : fit + by)
