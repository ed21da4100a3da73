/**
 * A server that answers when it is told to, and remembers what it saw: the judge of the property tests.
 *
 * The reply to a command says whose it is: that of `GET x` is `r:x`, that of `SET x …` is `w:x`, and some are errors
 * `ERR e:x`. So a reply that went to the wrong call is seen.
 */
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"

/** A command that a connection received. */
export interface Sighting {
  readonly connection: number
  readonly name: string
  readonly id: string
}

/** Every seventh id is answered by an error. */
export const isError = (id: string): boolean => Number(/\d+/.exec(id)?.[0] ?? 1) % 7 === 0

export const replyTo = (name: string, id: string): string => {
  if (isError(id)) return `-ERR e:${id}\r\n`
  return name === "GET" ? FakeServer.bulk(`r:${id}`) : `+w:${id}\r\n`
}

class Line {
  readonly connection: FakeServer.Connection
  /** Bytes of replies that are due and were not sent. */
  due: Array<string> = []
  /** The first of them was sent in part. */
  isCut = false
  muted = false
  /** Of a transaction under way: the replies that EXEC will hold. */
  queued: Array<string> | undefined = undefined

  constructor(connection: FakeServer.Connection) {
    this.connection = connection
  }
}

/** How a connection begins. */
export type Greeting = "good" | "mute" | "half"

export class Judge {
  readonly seen: Array<Sighting> = []
  readonly lines: Array<Line> = []
  /** Answers at once from now on. */
  prompt = false
  private readonly greet: (index: number) => Greeting

  constructor(greet: (index: number) => Greeting) {
    this.greet = greet
  }

  /** What to do on each connection. */
  readonly script: FakeServer.Script = (connection) => {
    const line = new Line(connection)
    this.lines[connection.index] = line
    const greeting = this.prompt ? "good" : this.greet(connection.index)
    if (greeting === "mute") return connection.silent
    if (greeting === "half") return Effect.andThen(connection.send("%7\r\n$6\r\nser"), connection.reset)
    return connection.serve((command) => this.take(line, command), FakeServer.handshake)
  }

  private take(line: Line, command: ReadonlyArray<string>): string | undefined {
    const [name = "", id = ""] = command
    if (name === "CLIENT" && id === "REPLY") {
      line.muted = command[2] === "OFF"
      return this.answer(line, line.muted ? "" : "+OK\r\n")
    }
    // What ends a noreply is answered in its turn; the handshake's has another length.
    if (name === "PING" && id.length === 16) return this.answer(line, FakeServer.bulk(id))
    if (["HELLO", "CLIENT", "PING"].includes(name)) return undefined
    this.seen.push({ connection: line.connection.index, name, id })
    if (line.muted) return ""
    return this.answer(line, this.reply(line, name, id))
  }

  private reply(line: Line, name: string, id: string): string {
    if (name === "MULTI") {
      line.queued = []
      return "+OK\r\n"
    }
    const { queued } = line
    if (name === "EXEC" && queued !== undefined) {
      line.queued = undefined
      return FakeServer.array(...queued)
    }
    const reply = replyTo(name, id)
    if (queued === undefined) return reply
    queued.push(reply)
    return "+QUEUED\r\n"
  }

  private answer(line: Line, reply: string): string {
    if (reply === "") return ""
    line.due.push(reply)
    return this.prompt ? this.release(line, Infinity) : ""
  }

  /** Takes out the bytes of so many replies. */
  private release(line: Line, count: number): string {
    if (count > 0) line.isCut = false
    return line.due.splice(0, count).join("")
  }

  /** The connection that was accepted last. */
  get last(): Line | undefined {
    return this.lines.at(-1)
  }

  /** Sends so many replies. */
  answerSome(count: number): Effect.Effect<void> {
    const line = this.last
    return line === undefined ? Effect.void : line.connection.send(this.release(line, count))
  }

  /** Sends so much, as a fraction, of the bytes that are due; the rest stays due. */
  answerPart(fraction: number): Effect.Effect<void> {
    const line = this.last
    if (line === undefined) return Effect.void
    let left = Math.floor(line.due.join("").length * fraction)
    let bytes = ""
    while (left > 0 && line.due[0] !== undefined) {
      const [reply] = line.due
      if (reply.length <= left) bytes += this.release(line, 1)
      else {
        bytes += reply.slice(0, left)
        line.due[0] = reply.slice(left)
        line.isCut = true
        left = 0
      }
      left -= reply.length
    }
    return line.connection.send(bytes)
  }

  /** A byte outside the grammar, where a reply would begin: inside of one it could not be told. */
  get garbage(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const line = this.last
      return line === undefined ? Effect.void : line.connection.send(`${this.release(line, line.isCut ? 1 : 0)}@x\r\n`)
    })
  }

  /** Everything that is due, and from now on each reply at once. */
  get answerAll(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.prompt = true
      return Effect.forEach(this.lines, (line) => line.connection.send(this.release(line, Infinity)), { discard: true })
    })
  }
}
