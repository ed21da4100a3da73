/**
 * Kills a server when its test process is gone, however that ended.
 *
 * A `process` "exit" hook does not run after SIGKILL, nor after an unhandled SIGTERM, which is how test runners end a
 * worker that hangs. So a small shell waits on a pipe from this process: the operating system closes the pipe when the
 * process dies, and the shell then kills the server and removes its directory. The "exit" hook does the same at once
 * where it runs, and is all there is on a machine without `/bin/sh`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn, type ChildProcess } from "node:child_process"

// Each line on standard input names the process to kill from then on; an empty line names none.
const script = `trap '' INT TERM HUP
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null; fi
rm -rf "$1"`

const guardians = new Set<Guardian>()
process.once("exit", () => {
  for (const guardian of guardians) guardian.strike()
})

/** Watches one server that may be restarted under other process ids. */
export class Guardian {
  private readonly shell: ChildProcess
  private pid: number | undefined = undefined

  constructor(directory: string) {
    this.shell = spawn("/bin/sh", ["-c", script, "sh", directory], {
      stdio: ["pipe", "ignore", "ignore"],
      // A session of its own: Ctrl-C in the terminal must not end the guardian before the server.
      detached: true
    })
    this.shell.on("error", () => {})
    this.shell.stdin?.on("error", () => {})
    this.shell.unref()
    guardians.add(this)
  }

  /** Names the process to kill: none while the server is down. */
  watch(pid: number | undefined): void {
    this.pid = pid
    this.shell.stdin?.write(`${pid ?? ""}\n`)
  }

  /** Does the shell's work now, except for the directory. */
  strike(): void {
    if (this.pid !== undefined) killQuietly(this.pid)
  }

  dismiss(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      guardians.delete(this)
      const shell = this.shell
      if (shell.pid === undefined || shell.exitCode !== null || shell.signalCode !== null) return resume(Effect.void)
      // It must not keep the process alive, but its end may be the last thing a program waits for.
      shell.ref()
      shell.once("exit", () => resume(Effect.void))
      shell.kill("SIGKILL")
      shell.stdin?.destroy()
    })
  }
}

const killQuietly = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended by itself.
  }
}

/** A guardian of `directory` and of the process it will be told of, dismissed when the scope closes. */
export const make = (directory: string): Effect.Effect<Guardian, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Guardian(directory)),
    (guardian) => guardian.dismiss()
  )
