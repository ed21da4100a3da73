/**
 * Which Node runs everything.
 *
 * On Linux it is always the pinned one from the packages `node-linux-*` (optional dependencies of the root: each
 * carries the binary itself, held to the lockfile's checksum, with no install script), also where the machine has a
 * newer one: tests and measurements then mean the same everywhere. The registry has no such package of this version
 * for other systems; there the machine's own Node serves when it is new enough.
 */
"use strict"

const fs = require("node:fs")
const path = require("node:path")
const { Failure } = require("./log.cjs")

/** The oldest major version the tools run on. */
const oldest = 24

/** Whether the registry has the pinned Node for this machine. */
const hasPinned = process.platform === "linux" && ["x64", "arm64"].includes(process.arch)

/** @param {string} root */
const pinned = (root) => path.join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node")

/**
 * The path of the Node 24 to start.
 *
 * @param {string} root
 * @returns {string}
 */
function findNode(root) {
  const own = pinned(root)
  if (hasPinned && fs.existsSync(own)) return own
  if (Number(process.versions.node.split(".")[0]) >= oldest) return process.execPath
  throw new Failure(
    `Node ${oldest} is needed, this is ${process.versions.node} on ${process.platform} ${process.arch}, and the npm ` +
      `registry has no binary for it.\nInstall one (macOS: brew install node@${oldest}) and run this again.`
  )
}

module.exports = { findNode, hasPinned, pinned }
