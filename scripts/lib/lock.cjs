/**
 * One set-up at a time per clone: two scripts started together would install into the same folder.
 */
"use strict"

const fs = require("node:fs")
const path = require("node:path")
const { setTimeout: sleep } = require("node:timers/promises")
const { say } = require("./log.cjs")

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM"
  }
}

/**
 * Takes the lock file, or says which live process holds it.
 *
 * @param {string} file
 * @returns {number | undefined} the holder, `undefined` when the lock is ours now
 */
function tryLock(file) {
  try {
    fs.writeFileSync(file, String(process.pid), { flag: "wx" })
    return undefined
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error
  }
  const holder = Number(fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "")
  if (holder > 0 && isAlive(holder)) return holder
  // Its holder is gone without a word.
  fs.rmSync(file, { force: true })
  return tryLock(file)
}

/**
 * Runs `body` while holding the lock.
 *
 * @param {string} file
 * @param {() => Promise<void>} body
 */
async function withLock(file, body) {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  let holder = tryLock(file)
  if (holder !== undefined) say(`waiting for the set-up that process ${holder} is doing`)
  while (holder !== undefined) {
    await sleep(200)
    holder = tryLock(file)
  }
  const release = () => fs.rmSync(file, { force: true })
  process.once("exit", release)
  try {
    await body()
  } finally {
    process.off("exit", release)
    release()
  }
}

module.exports = { withLock }
