/**
 * Child processes of the bootstrap, and how they end.
 *
 * A child shares the terminal and the process group. Ctrl-C in a terminal reaches the whole group, so it is not sent on:
 * a second one would make many programs give up their orderly shutdown. Sent by a program (`kill`, or npm, which passes on what
 * it gets), a signal may have reached the bootstrap alone; then it is sent on, unless the child ends by itself at once.
 *
 * Every process below carries `RELIVE_RUN` in its environment: by it `sweep` finds those that outlived the program.
 */
"use strict"

const { spawn } = require("node:child_process")
const { constants } = require("node:os")
const { setTimeout: sleep } = require("node:timers/promises")
const { Failure, say } = require("./log.cjs")
const { marked, terminate } = require("./processes.cjs")

/** How long a signalled child has to end by itself before the signal is sent on: it may have got it already. */
const forwardAfter = 250
/** How long a signalled child has to end at all. */
const killAfter = 15_000
/** How long a process may outlive the program before it counts as left behind: some end a moment after their parent. */
const lingerFor = 2_000
/** The same when a signal stopped the program, which ends some of them hard. */
const lingerAfterSignal = 300

/**
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null }} Ended
 *
 * @typedef {object} Runner
 * @property {(command: string, args: readonly string[], options: import("node:child_process").SpawnOptions) => Promise<Ended>} run
 *   starts a program and waits for its end
 * @property {() => NodeJS.Signals | undefined} signal the signal that asked us to stop, if any did
 * @property {() => Promise<string[]>} sweep ends what outlived the program; answers with what it found
 * @property {(ended: Ended) => never} end ends this process the way the program ended
 */

/** @returns {Runner} */
function createRunner() {
  const id = [process.env.RELIVE_RUN, `${process.pid}-${process.hrtime.bigint()}`].filter(Boolean).join("/")
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child
  /** @type {NodeJS.Signals | undefined} */
  let received
  /** @type {Map<NodeJS.Signals, NodeJS.Timeout>} */
  const pending = new Map()

  /** @param {NodeJS.Signals} signal */
  const onSignal = (signal) => {
    if (received === undefined) {
      received = signal
      setTimeout(() => void terminate(marked(id), "SIGKILL"), killAfter).unref()
    }
    // Between two children nothing is there to wait for.
    if (child === undefined) process.exit(128 + (constants.signals[signal] ?? 0))
    const fromTerminal = signal !== "SIGTERM" && Boolean(process.stdin.isTTY || process.stderr.isTTY)
    if (fromTerminal || pending.has(signal)) return
    const forward = () => {
      pending.delete(signal)
      child?.kill(signal)
    }
    pending.set(signal, setTimeout(forward, forwardAfter))
  }
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, onSignal)

  return {
    signal: () => received,

    run: (command, args, options) =>
      new Promise((resolve, reject) => {
        const env = { ...(options.env ?? process.env), RELIVE_RUN: id }
        const started = spawn(command, args, { ...options, env })
        child = started
        started.once("error", (error) => reject(new Failure(`${command} could not be started: ${error.message}`)))
        started.once("exit", (code, signal) => {
          child = undefined
          resolve({ code, signal })
        })
      }),

    sweep: async () => {
      const deadline = process.uptime() * 1000 + (received === undefined ? lingerFor : lingerAfterSignal)
      while (marked(id).length > 0 && process.uptime() * 1000 < deadline) await sleep(50)
      const left = marked(id)
      if (left.length === 0) return []
      for (const { name, pid } of left) say(`ending a process that was left behind: ${name} (${pid})`)
      await terminate(left, "SIGTERM")
      await terminate(marked(id), "SIGKILL")
      return left.map(({ name }) => name)
    },

    end: ({ code, signal }) => {
      for (const timer of pending.values()) clearTimeout(timer)
      const by = signal ?? received
      if (by !== undefined && (code === null || received !== undefined))
        process.exit(128 + (constants.signals[by] ?? 0))
      process.exit(code ?? 1)
    }
  }
}

module.exports = { createRunner }
