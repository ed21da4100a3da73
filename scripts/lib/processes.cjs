/**
 * The processes that one run started, found by the mark in their environment. Linux only: elsewhere none is found.
 */
"use strict"

const fs = require("node:fs")
const { setTimeout: sleep } = require("node:timers/promises")

/** @typedef {{ pid: number, name: string }} Found */

/** @param {string} file */
function read(file) {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    // It has ended meanwhile, or is another user's.
    return ""
  }
}

/** @param {number} pid */
const isZombie = (pid) => /^State:\s+[ZX]/m.test(read(`/proc/${pid}/status`))

/**
 * Live processes marked with this run, or with one that this run started.
 *
 * @param {string} id
 * @returns {Found[]}
 */
function marked(id) {
  if (process.platform !== "linux") return []
  const isOurs = (/** @type {string} */ entry) => entry === `RELIVE_RUN=${id}` || entry.startsWith(`RELIVE_RUN=${id}/`)
  return fs
    .readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid && read(`/proc/${pid}/environ`).split("\0").some(isOurs))
    .filter((pid) => !isZombie(pid))
    .map((pid) => ({ pid, name: read(`/proc/${pid}/comm`).trim() }))
}

/**
 * Signals processes and waits, a second at most, for them to end.
 *
 * @param {readonly Found[]} found
 * @param {NodeJS.Signals} signal
 */
async function terminate(found, signal) {
  const left = found.filter(({ pid }) => kill(pid, signal))
  for (let waited = 0; waited < 1000; waited += 50) {
    if (!left.some(({ pid }) => kill(pid, 0) && !isZombie(pid))) return
    await sleep(50)
  }
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals | 0} signal
 */
function kill(pid, signal) {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

module.exports = { marked, terminate }
