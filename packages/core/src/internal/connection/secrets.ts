/**
 * The passwords that a connection has given to its server. Servers and proxies repeat what they were sent, in errors of which
 * each has its own form, so whatever a connection says of such a text is searched for them first.
 *
 * @internal
 */
import { ReplyError } from "../resp/model.ts"

/** While passwords rotate, the last ones may still be in use. */
const KEPT = 4

/** A shorter text may be a part of any word, so it is looked for as a whole word only. */
const SHORT = 5

/** So long that its letters in another case are no other word. */
const LONG = 8

const hidden = "***"

const escape = (text: string): string => text.replaceAll(/[$()*+./?[\\\]^{|}-]/g, "\\$&")

/** Percent-encoding writes the same byte in two ways. */
const percentEncoded = (password: string): ReadonlyArray<string> =>
  [encodeURIComponent(password), encodeURIComponent(password).replaceAll("%20", "+"), encodeURI(password)].flatMap(
    (text) => [text, text.replaceAll(/%[0-9A-F]{2}/g, (byte) => byte.toLowerCase())]
  )

/** With padding or without, in both alphabets. */
const base64 = (text: string): ReadonlyArray<string> =>
  (["base64", "base64url"] as const).map((alphabet) => {
    const encoded = Buffer.from(text).toString(alphabet)
    return `${escape(encoded.replace(/=+$/, ""))}=*`
  })

const word = (text: string): string =>
  text.length < SHORT ? `(?<![A-Za-z0-9])${escape(text)}(?![A-Za-z0-9])` : escape(text)

/** A long one is known also where a proxy has changed its case. */
const inAnyCase = (password: string): ReadonlyArray<string> =>
  password.length < LONG ? [password] : [password, password.toLowerCase(), password.toUpperCase()]

/** The forms in which a password is repeated: as it is, in JSON, percent-encoded as URLs have it, and as a header has it. */
const patternsOf = (username: string, password: string): ReadonlyArray<string> => [
  ...[...inAnyCase(password), JSON.stringify(password).slice(1, -1), ...percentEncoded(password)].map(word),
  ...[password, `${username}:${password}`, `default:${password}`, `:${password}`].flatMap(base64)
]

export class Secrets {
  /** With the patterns of each. */
  private passwords: Map<string, ReadonlyArray<string>> | undefined = undefined
  private pattern: RegExp | undefined = undefined

  /** The credentials of a new session. */
  add(username = "default", password: string | undefined): void {
    if (password === undefined || password.trim() === "") return
    const passwords = (this.passwords ??= new Map<string, ReadonlyArray<string>>())
    const known = passwords.has(password)
    passwords.delete(password)
    passwords.set(password, patternsOf(username, password.trim()))
    if (known) return
    const [oldest] = passwords.keys()
    if (passwords.size > KEPT && oldest !== undefined) passwords.delete(oldest)
    // The longer ones first, so that none is found inside of another.
    const patterns = [...new Set([...passwords.values()].flat())].sort((a, b) => b.length - a.length)
    this.pattern = new RegExp(patterns.join("|"), "g")
  }

  /** A text of the server without them. */
  hide(text: string): string {
    return this.pattern === undefined ? text : text.replace(this.pattern, hidden)
  }

  /** An error of the server without them: the same one when it holds none. */
  hideIn(error: ReplyError): ReplyError {
    const message = this.hide(error.message)
    return message === error.message ? error : new ReplyError({ ...error, code: this.hide(error.code), message })
  }
}
