/**
 * The workspace's packages: installed when the stamp of the last installation differs from what is wanted now.
 */
"use strict"

const { createHash } = require("node:crypto")
const fs = require("node:fs")
const path = require("node:path")
const { Failure, say } = require("./log.cjs")
const { withLock } = require("./lock.cjs")
const { hasPinned, pinned } = require("./node.cjs")

/** The lockfile's format and the workspace settings are this version's; a newer one may write them differently. */
const pnpm = "pnpm@12.21.0"

/**
 * All that decides what an installation looks like, as one line of text. The Node version is in the lockfile.
 *
 * @param {string} root
 * @returns {string}
 */
function wanted(root) {
  const hash = createHash("sha256")
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml"]) hash.update(fs.readFileSync(path.join(root, file)))
  return `${hash.digest("hex")} ${pnpm} ${process.platform}-${process.arch}\n`
}

/** @param {string} file */
const readIfThere = (file) => (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "")

/**
 * Installs the packages with the frozen lockfile, unless that was done before.
 *
 * @param {{ root: string, runner: import("./run.cjs").Runner }} at
 */
async function ensureInstalled({ root, runner }) {
  const stamp = path.join(root, "node_modules", ".relive-stamp")
  const isDone = () => readIfThere(stamp) === wanted(root) && (!hasPinned || fs.existsSync(pinned(root)))
  if (isDone()) return
  await withLock(path.join(root, ".relive", "setup.lock"), async () => {
    if (isDone()) return
    say(`installing the packages with ${pnpm} (once, about half a minute)`)
    await install(root, runner)
    fs.writeFileSync(stamp, wanted(root))
    say("the packages are ready")
  })
}

/**
 * @param {string} root
 * @param {import("./run.cjs").Runner} runner
 */
async function install(root, runner) {
  // `--prefer-offline`: both take what their caches hold without asking the registry. CI: no question is ever asked.
  const args = ["--yes", "--prefer-offline", pnpm, "install", "--frozen-lockfile", "--prefer-offline"]
  const ended = await runner.run("npx", args, {
    cwd: root,
    env: { ...process.env, CI: "true", npm_config_update_notifier: "false", npm_config_loglevel: "warn" },
    stdio: ["ignore", 2, 2]
  })
  if (runner.signal() !== undefined) {
    await runner.sweep()
    return runner.end(ended)
  }
  if (ended.code !== 0) {
    throw new Failure(
      `the packages could not be installed (see above).\nThe command was: npx ${args.join(" ")}\n` +
        `It needs the npm registry, or caches that hold everything.`
    )
  }
}

module.exports = { ensureInstalled, pnpm, wanted }
