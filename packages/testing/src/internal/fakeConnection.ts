/**
 * One connection of a `FakeServer`: what came in and waits to be taken, and the one fiber (its script) that takes it.
 * All state changes in socket events, which only wake that fiber.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Net from "node:net"
import type { Connection, Handler, LogEntry, SendOptions } from "../FakeServer.ts"
import { FakeServerError } from "./fakeServerError.ts"
import * as PeerSocket from "./peerSocket.ts"
import * as RealTime from "./realTime.ts"
import { encodeCommand, ErrorValue, GrammarError, incomplete, Parser, type Value } from "./resp.ts"
import { Signal } from "./signal.ts"

/** The result of a step of the script that waits for input: not yet, or this. */
type Attempt<A> = Exit.Exit<A, FakeServerError> | undefined

export class FakeConnection implements Connection {
  readonly index: number
  private readonly raw: Net.Socket
  /** The socket that bytes go through: `raw`, or TLS over it. */
  private readonly socket: Net.Socket
  private readonly log: (entry: LogEntry) => void
  private readonly parser = new Parser({ inline: true })
  private readonly changed = new Signal()
  private peerEnded = false
  private swallowing = false

  constructor(options: {
    readonly index: number
    readonly raw: Net.Socket
    readonly socket: Net.Socket
    readonly log: (entry: LogEntry) => void
  }) {
    this.index = options.index
    this.raw = options.raw
    this.socket = options.socket
    this.log = options.log
    this.record("opened")
    this.socket.on("data", this.onData)
    this.socket.on("end", this.onEnd)
    this.socket.on("close", this.onEnd)
    for (const socket of new Set([this.raw, this.socket])) {
      // The script judges what a peer does to a fake server; an error is always followed by "close".
      socket.on("error", () => {})
    }
    PeerSocket.onClosed(this.socket, () => this.record("closed"))
  }

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  readonly command: Effect.Effect<ReadonlyArray<string>, FakeServerError> = this.awaitInput("a command", () =>
    this.takeCommand()
  )

  readonly expect = (
    expected: ReadonlyArray<string | number> | ((command: ReadonlyArray<string>) => boolean)
  ): Effect.Effect<ReadonlyArray<string>, FakeServerError> => {
    const what = typeof expected === "function" ? "a command that the predicate takes" : shown(expected.map(String))
    const step = this.awaitInput(what, () => this.takeCommand())
    return Effect.flatMap(step, (command) =>
      matches(command, expected) ? Effect.succeed(command) : this.fail(`expected ${what}, got ${shown(command)}`)
    )
  }

  readonly expectBytes = (expected: string | Uint8Array): Effect.Effect<void, FakeServerError> => {
    const bytes = Buffer.from(expected)
    const what = `the bytes ${JSON.stringify(bytes.toString("latin1"))}`
    return this.awaitInput(what, () => {
      const unread = this.parser.unread
      const present = Math.min(unread.length, bytes.length)
      if (!unread.subarray(0, present).equals(bytes.subarray(0, present))) {
        const got = JSON.stringify(unread.subarray(0, bytes.length).toString("latin1"))
        return Exit.fail(this.error(`expected ${what}, got ${got}`))
      }
      if (present < bytes.length) return undefined
      this.parser.skip(bytes.length)
      return Exit.void
    })
  }

  readonly serve = (...handlers: ReadonlyArray<Handler>): Effect.Effect<void, FakeServerError> =>
    Effect.suspend(() => this.serveNext(handlers)).pipe(Effect.repeat({ while: (open) => open }), Effect.asVoid)

  readonly answer = (...handlers: ReadonlyArray<Handler>): Effect.Effect<void, FakeServerError> =>
    Effect.suspend(() => this.answerNext(handlers)).pipe(
      Effect.repeat({ while: (answered) => answered }),
      Effect.asVoid
    )

  readonly silent: Effect.Effect<void> = Effect.suspend(() => {
    this.swallowing = true
    this.parser.skip(this.parser.unread.length)
    return this.closed
  })

  readonly closed: Effect.Effect<void> = Effect.suspend(() =>
    this.changed.waitFor(() => (this.peerEnded ? Exit.void : undefined))
  )

  readonly pauseReading: Effect.Effect<void> = Effect.sync(() => void this.socket.pause())
  readonly resumeReading: Effect.Effect<void> = Effect.sync(() => void this.socket.resume())

  /** After the script: anything more is unexpected, unless the script said otherwise. */
  readonly expectNothing: Effect.Effect<void, FakeServerError> = Effect.suspend(() =>
    this.changed.waitFor<void, FakeServerError>(() => {
      if (this.parser.unread.length > 0) {
        const got = JSON.stringify(this.parser.unread.subarray(0, 200).toString("latin1"))
        return Exit.fail(this.error(`the script has ended, got ${got}`))
      }
      return this.peerEnded ? Exit.void : undefined
    })
  )

  // ---------------------------------------------------------------------------
  // Writing and ending
  // ---------------------------------------------------------------------------

  readonly send = (data: string | Uint8Array, options: SendOptions = {}): Effect.Effect<void> => {
    const pieces = cut(Buffer.from(data), options.cuts)
    const gap = options.gapMillis ?? (pieces.length > 1 ? 1 : 0)
    const write = (piece: Buffer, index: number) =>
      index === 0 || gap === 0 ? this.write(piece) : Effect.andThen(RealTime.sleep(gap), this.write(piece))
    const all = Effect.forEach(pieces, write, { discard: true })
    return options.delayMillis === undefined ? all : Effect.andThen(RealTime.sleep(options.delayMillis), all)
  }

  readonly end: Effect.Effect<void> = Effect.sync(() => {
    this.record("ended")
    this.socket.end()
  })

  readonly close: Effect.Effect<void> = Effect.sync(() => this.socket.destroySoon())

  readonly reset: Effect.Effect<void> = Effect.sync(() => {
    this.record("reset")
    PeerSocket.reset(this.raw)
    this.socket.destroy()
  })

  /** For the end of the server: closes without a word and waits until the socket is gone. */
  readonly release: Effect.Effect<void> = Effect.callback<void>((resume) => {
    PeerSocket.onClosed(this.raw, () => resume(Effect.void))
    this.socket.destroy()
    this.raw.destroy()
  })

  // ---------------------------------------------------------------------------
  // Inside
  // ---------------------------------------------------------------------------

  private readonly onData = (chunk: Buffer): void => {
    this.record("received", chunk)
    if (this.swallowing) return
    this.parser.feed(chunk)
    this.changed.notify()
  }

  private readonly onEnd = (): void => {
    if (this.peerEnded) return
    this.peerEnded = true
    this.changed.notify()
  }

  private record(event: LogEntry["event"], bytes?: Uint8Array): void {
    this.log({ connection: this.index, event, bytes })
  }

  private error(message: string): FakeServerError {
    return new FakeServerError({ connection: this.index, message: `FakeServer: connection ${this.index}: ${message}` })
  }

  private fail(message: string): Effect.Effect<never, FakeServerError> {
    return Effect.fail(this.error(message))
  }

  private write(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.sync(() => {
      if (!this.socket.writable || bytes.length === 0) return
      this.record("sent", bytes)
      this.socket.write(bytes)
    })
  }

  /** Waits for input that must come: a peer that closes instead is unexpected. */
  private awaitInput<A>(what: string, attempt: () => Attempt<A>): Effect.Effect<A, FakeServerError> {
    return Effect.suspend(() =>
      this.changed.waitFor(() => {
        const result = attempt()
        if (result !== undefined || !this.peerEnded) return result
        return Exit.fail(this.error(`the client closed the connection, expected ${what}`))
      })
    )
  }

  private takeCommand(): Attempt<ReadonlyArray<string>> {
    try {
      const value = this.parser.take()
      return value === incomplete ? undefined : Exit.succeed(commandWords(value))
    } catch (error) {
      if (error instanceof GrammarError) return Exit.fail(this.error(error.message))
      throw error
    }
  }

  /** Serves one command; `false` when the client has closed. */
  private serveNext(handlers: ReadonlyArray<Handler>): Effect.Effect<boolean, FakeServerError> {
    const next = this.changed.waitFor<ReadonlyArray<string> | undefined, FakeServerError>(
      () => this.takeCommand() ?? (this.peerEnded ? Exit.succeed(undefined) : undefined)
    )
    return Effect.flatMap(next, (command) => {
      if (command === undefined) {
        // The client may close in the middle of a command.
        this.parser.skip(this.parser.unread.length)
        return Effect.as(this.end, false)
      }
      return this.reply(command, handlers) ?? this.fail(`no handler takes ${shown(command)}`)
    })
  }

  /** Serves one command if a handler wants it; else leaves it for the next step and gives `false`. */
  private answerNext(handlers: ReadonlyArray<Handler>): Effect.Effect<boolean, FakeServerError> {
    const next = this.awaitInput("a command", () => this.takeCommand())
    return Effect.flatMap(next, (command) => {
      const reply = this.reply(command, handlers)
      if (reply !== undefined) return reply
      this.parser.putBack(encodeCommand(command))
      return Effect.succeed(false)
    })
  }

  private reply(command: ReadonlyArray<string>, handlers: ReadonlyArray<Handler>): Effect.Effect<true> | undefined {
    for (const handler of handlers) {
      const answer = handler(command, this)
      if (answer === undefined) continue
      const written = Effect.isEffect(answer)
        ? Effect.flatMap(answer, (data) => (data === undefined ? Effect.void : this.write(Buffer.from(data))))
        : this.write(Buffer.from(answer))
      return Effect.as(written, true)
    }
    return undefined
  }
}

const commandWords = (value: Value): ReadonlyArray<string> =>
  (Array.isArray(value) ? value : [value]).map((word) =>
    Buffer.isBuffer(word) ? word.toString("utf8") : word instanceof ErrorValue ? word.message : String(word)
  )

const shown = (command: ReadonlyArray<string>): string => JSON.stringify(command).slice(0, 500)

/** Command names are told apart without regard to case, as servers do; arguments are not. */
const matches = (
  command: ReadonlyArray<string>,
  expected: ReadonlyArray<string | number> | ((command: ReadonlyArray<string>) => boolean)
): boolean => {
  if (typeof expected === "function") return expected(command)
  if (command.length !== expected.length) return false
  return command.every((word, index) => {
    const other = String(expected[index])
    return index === 0 ? word.toUpperCase() === other.toUpperCase() : word === other
  })
}

/** The pieces of `bytes`: of a size, or ending at the given offsets. */
export const cut = (bytes: Buffer, cuts: SendOptions["cuts"]): Array<Buffer> => {
  if (cuts === undefined) return [bytes]
  const offsets = typeof cuts === "number" ? multiples(cuts, bytes.length) : [...cuts].sort((a, b) => a - b)
  const edges = [0, ...offsets.filter((offset) => offset > 0 && offset < bytes.length), bytes.length]
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge))
}

const multiples = (size: number, length: number): Array<number> => {
  const step = Math.max(1, Math.floor(size))
  return Array.from({ length: Math.max(0, Math.ceil(length / step) - 1) }, (_, index) => (index + 1) * step)
}
