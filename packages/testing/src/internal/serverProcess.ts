/**
 * One life of a server process: spawned, read, signalled, and awaited.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { spawn, type ChildProcess } from "node:child_process"
import { Signal } from "./signal.ts"

/** The end of a process, in words: `exit code 1`, `signal SIGKILL`, or the error that kept it from starting. */
export type Ending = string

// After "exit" the pipes may still hold lines ("close" tells when they are read), but a forked child of the server
// can keep them open for long: then its parent's end counts after this time.
const DRAIN_MILLIS = 200

export class ServerProcess {
  private readonly child: ChildProcess
  private readonly changed = new Signal()
  private partialLine = ""
  ending: Ending | undefined = undefined

  constructor(options: {
    readonly binary: string
    readonly args: ReadonlyArray<string>
    readonly directory: string
    readonly onLine: (line: string) => void
    readonly onEnd: (ending: Ending) => void
  }) {
    this.child = spawn(options.binary, options.args, { cwd: options.directory, stdio: ["ignore", "pipe", "pipe"] })
    const settle = (ending: Ending) => {
      if (this.ending !== undefined) return
      this.ending = ending
      options.onEnd(ending)
      this.changed.notify()
    }
    const onData = (chunk: string) => {
      const lines = (this.partialLine + chunk).split("\n")
      this.partialLine = lines.pop() ?? ""
      for (const line of lines) options.onLine(line)
    }
    for (const pipe of [this.child.stdout, this.child.stderr]) pipe?.setEncoding("utf8").on("data", onData)
    this.child.once("error", (error) => settle(error.message))
    this.child.once("exit", (code, signal) => {
      const ending = signal === null ? `exit code ${code}` : `signal ${signal}`
      const timer = setTimeout(() => {
        this.child.stdout?.destroy()
        this.child.stderr?.destroy()
        settle(ending)
      }, DRAIN_MILLIS)
      this.child.once("close", () => {
        clearTimeout(timer)
        settle(ending)
      })
    })
  }

  get pid(): number | undefined {
    return this.ending === undefined ? this.child.pid : undefined
  }

  /** Sends a signal; does nothing once the process has ended. */
  signal(signal: NodeJS.Signals): void {
    if (this.ending === undefined) this.child.kill(signal)
  }

  readonly awaitEnd: Effect.Effect<Ending> = Effect.suspend(() =>
    this.changed.waitFor(() => (this.ending === undefined ? undefined : Exit.succeed(this.ending)))
  )
}
