/**
 * The log of the demo: what the supervisors say about sessions that ended would tear the live view, so it is kept, and the
 * view shows the last lines.
 */
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

const KEPT = 200

/** The last lines that were logged, and those who want each of them at once. */
export class Logs {
  readonly lines: Array<string> = []
  onLine: ((line: string) => void) | undefined = undefined

  add(line: string): void {
    this.lines.push(line)
    if (this.lines.length > KEPT) this.lines.shift()
    this.onLine?.(line)
  }
}

const textOf = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map((part) => String(part).replaceAll(/\s+/g, " ")).join(" ")

/** Everything the program logs goes to `logs`, and nowhere else. */
export const layer = (logs: Logs): Layer.Layer<never> =>
  Logger.layer([
    Logger.make(({ logLevel, message }) => {
      logs.add(`${logLevel.toLowerCase()}: ${textOf(message)}`)
    })
  ])
