/**
 * Where the view goes: redrawn in place on a terminal, printed line by line in a pipe. Plain ANSI, no library.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Line, type Piece, type Style } from "./frame.ts"

export interface Screen {
  /** Whether the view is redrawn in place. */
  readonly live: boolean
  /** The number of lines that a frame can have. */
  readonly rows: number
  /** Puts lines above the view, for good. */
  readonly print: (lines: ReadonlyArray<Line>) => void
  /** Replaces the view. Does nothing in a pipe. */
  readonly draw: (lines: ReadonlyArray<Line>) => void
}

const escape = "\u001b["
const hideCursor = `${escape}?25l`
const showCursor = `${escape}?25h`
const codes: Record<Style, string> = { plain: "", bold: "1", dim: "2", good: "32", bad: "31;1", busy: "33" }

/** Cuts a line to the width of the terminal, so that each is one row. */
const cut = (line: Line, width: number): Line => {
  const pieces: Array<Piece> = []
  let left = width
  for (const { style, text } of line) {
    if (left <= 0) break
    pieces.push({ style, text: text.slice(0, left) })
    left -= text.length
  }
  return pieces
}

const paint = (line: Line, colours: boolean): string =>
  line
    .map(({ style, text }) => (colours && style !== "plain" ? `${escape}${codes[style]}m${text}${escape}0m` : text))
    .join("")

const pipe = (out: NodeJS.WriteStream): Screen => ({
  live: false,
  rows: 0,
  print: (lines) => out.write(lines.map((line) => `${paint(line, false)}\n`).join("")),
  draw: () => {}
})

class Terminal implements Screen {
  readonly live = true
  private readonly out: NodeJS.WriteStream
  private readonly colours = process.env.NO_COLOR === undefined
  private height = 0

  constructor(out: NodeJS.WriteStream) {
    this.out = out
  }

  get rows(): number {
    // The last row is the cursor's. A terminal that does not know its size says 0.
    return Math.max(1, (this.out.rows || 24) - 1)
  }

  readonly print = (lines: ReadonlyArray<Line>): void => {
    this.out.write(`${this.erase()}${this.text(lines)}`)
    this.height = 0
  }

  readonly draw = (lines: ReadonlyArray<Line>): void => {
    const shown = lines.slice(0, this.rows)
    this.out.write(`${hideCursor}${this.erase()}${this.text(shown)}`)
    this.height = shown.length
  }

  /** Back to the first row of the view. */
  private erase(): string {
    return this.height === 0 ? "" : `\r${escape}${this.height}A${escape}J`
  }

  private text(lines: ReadonlyArray<Line>): string {
    const width = this.out.columns || 80
    return lines.map((line) => `${paint(cut(line, width), this.colours)}\n`).join("")
  }
}

/** Standard output as a screen. The cursor is shown again when the scope closes, and whenever the program ends. */
export const open: Effect.Effect<Screen, never, Scope.Scope> = Effect.gen(function* () {
  const out = process.stdout
  // A reader that has gone away (`| head`) must not end the program in the middle.
  out.on("error", () => {})
  if (!out.isTTY) return pipe(out)
  const restore = () => out.write(showCursor)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.once("exit", restore)),
    () => Effect.sync(() => process.removeListener("exit", restore) && restore())
  )
  return new Terminal(out)
})
