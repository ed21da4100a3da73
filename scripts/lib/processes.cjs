/**
 * The processes that one run started and that outlive it. Linux only: elsewhere none is found.
 *
 * Every process below the bootstrap carries the run's mark in its environment, which tells wherever it hangs in the
 * process tree. Servers are the exception: they write their title over their environment. A server is ours when it is
 * an orphan of our own process group and started after us.
 */
"use strict"

const fs = require("node:fs")
const { setTimeout: sleep } = require("node:timers/promises")

/**
 * @typedef {{ pid: number, name: string }} Found
 *
 * @typedef {object} Status a line of /proc/PID/stat
 * @property {string} name
 * @property {string} state
 * @property {number} parent
 * @property {number} group
 * @property {number} startedAt in clock ticks since the machine started
 */

/** @param {string} file */
function read(file) {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    // It has ended meanwhile, or is another user's.
    return ""
  }
}

/**
 * @param {number} pid
 * @returns {Status | undefined}
 */
function statusOf(pid) {
  const text = read(`/proc/${pid}/stat`)
  const end = text.lastIndexOf(")")
  if (end < 0) return undefined
  const [state = "", parent, group, ...rest] = text.slice(end + 2).split(" ")
  return {
    name: text.slice(text.indexOf("(") + 1, end),
    state,
    parent: Number(parent),
    group: Number(group),
    startedAt: Number(rest[16])
  }
}

const isServer = (/** @type {string} */ name) => /^(redis|valkey)-/.test(name)
const hasEnded = (/** @type {Status} */ { state }) => state === "Z" || state === "X"

/**
 * Whether nobody of the group is left above a process: what adopts orphans is in another one.
 *
 * @param {Status} status
 */
const isOrphan = (status) => statusOf(status.parent)?.group !== status.group

/**
 * Live processes of this run, and of runs that it started itself.
 *
 * @param {string} id
 * @returns {Found[]}
 */
function marked(id) {
  if (process.platform !== "linux") return []
  const self = statusOf(process.pid)
  const isMarked = (/** @type {number} */ pid) =>
    read(`/proc/${pid}/environ`)
      .split("\0")
      .some((entry) => entry === `RELIVE_RUN=${id}` || entry.startsWith(`RELIVE_RUN=${id}/`))
  const isOurServer = (/** @type {Status} */ status) =>
    self !== undefined &&
    isServer(status.name) &&
    status.group === self.group &&
    status.startedAt >= self.startedAt &&
    isOrphan(status)

  return fs
    .readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid)
    .flatMap((pid) => {
      const status = statusOf(pid)
      if (status === undefined || hasEnded(status)) return []
      return isMarked(pid) || isOurServer(status) ? [{ pid, name: status.name }] : []
    })
}

/**
 * Signals processes and waits, a second at most, for them to end.
 *
 * @param {readonly Found[]} found
 * @param {NodeJS.Signals} signal
 */
async function terminate(found, signal) {
  const left = found.filter(({ pid }) => kill(pid, signal))
  const isThere = (/** @type {Found} */ { pid }) => {
    const status = statusOf(pid)
    return status !== undefined && !hasEnded(status)
  }
  for (let waited = 0; waited < 1000 && left.some(isThere); waited += 50) await sleep(50)
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
function kill(pid, signal) {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

module.exports = { marked, terminate }
