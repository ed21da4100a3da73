"use strict"

/** A failure that its message explains wholly: shown without a stack. */
class Failure extends Error {}

/**
 * Tells the user what the set-up does. Always on stderr: stdout belongs to the program.
 *
 * @param {string} message
 */
function say(message) {
  process.stderr.write(`relive: ${message}\n`)
}

module.exports = { Failure, say }
