/**
 * The demo as a person without a terminal runs it: a shorter one, as a child process, through pipes.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import * as Net from "node:net"
import * as Path from "node:path"

const program = Path.join(import.meta.dirname, "..", "demo.ts")

interface Run {
  readonly code: number | null
  readonly out: string
  readonly errors: string
}

/** Runs the demo; `onLine` is told of each line and may signal the process. */
const run = (
  args: ReadonlyArray<string>,
  onLine: (line: string, signal: (name: NodeJS.Signals) => void) => void = () => {}
): Promise<Run> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let errors = ""
    let rest = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) onLine(line, (name) => child.kill(name))
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text))
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, out, errors }))
  })

/** The number before `what` in the summary. */
const counted = (out: string, what: string): number =>
  Number(new RegExp(String.raw`^  ok      ([\d ]+) ${what}`, "m").exec(out)?.[1]?.replaceAll(" ", ""))

const portOf = (out: string): number => Number(/redis:\/\/127\.0\.0\.1:(\d+)/.exec(out)?.[1])

/** Nobody listens on the port any more. */
const assertRefused = (port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = Net.connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      reject(new Error(`something still listens on ${port}`))
    })
    socket.once("error", () => resolve())
  })

describe("the demo", () => {
  it("breaks the connection, counts, and finds nothing wrong", { timeout: 60_000 }, async () => {
    const { code, errors, out } = await run(["--seconds", "5", "--faults", "4"])
    assert.strictEqual(errors, "")
    assert.strictEqual(code, 0, out)
    assert.isAtLeast(counted(out, "calls"), 6_667)
    assert.isAtLeast(counted(out, "faults that each ended a ready session"), 4)
    assert.include(out, "All of it held.")
    assert.notInclude(out, "\u001b", "no escape sequences in a pipe")
    assert.include(out, "CLIENT KILL: ready again after")
    assert.include(out, "server killed, away for 0.4 s: ready again after")
    assert.match(out, /mailbox \d+, [\d ]+ calls\/s: sent [\d ]+, acknowledged/)
  })

  it("stops everything when it is interrupted", { timeout: 60_000 }, async () => {
    const { code, errors, out } = await run(["--seconds", "30"], (line, signal) => {
      if (line.includes("calls/s")) signal("SIGINT")
    })
    assert.strictEqual(code, 130)
    assert.strictEqual(errors, "\nInterrupted: everything is stopped.\n")
    assert.notInclude(out, "What the ledger")
    const port = portOf(out)
    assert.isAbove(port, 0)
    await assertRefused(port)
  })

  it("says what is wrong with its arguments", async () => {
    const { code, errors } = await run(["--seconds", "soon"])
    assert.strictEqual(code, 1)
    assert.include(errors, '--seconds must be a number above zero, not "soon"')
  })
})
