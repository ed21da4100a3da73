/**
 * The bootstrap every root script starts through: `node scripts/boot.cjs <script> [arguments]`.
 *
 * It runs on any Node from 20 up and needs nothing installed. It sets up what is missing (packages, a Node 24, a real
 * Redis server), says so on stderr, and then becomes a thin parent of the program itself: same terminal, same process
 * group, same arguments, same exit code. Once set up it touches neither the network nor a package manager.
 *
 * What each script is lives in `lib/commands.cjs`; each step of the set-up in a module of its own beside it.
 */
"use strict"

const path = require("node:path")
const { commands } = require("./lib/commands.cjs")
const { ensureInstalled } = require("./lib/install.cjs")
const { Failure } = require("./lib/log.cjs")
const { findNode } = require("./lib/node.cjs")
const { createRunner } = require("./lib/run.cjs")
const { ensureServer } = require("./lib/server.cjs")

const root = path.resolve(__dirname, "..")

async function main() {
  const [name = "", ...args] = process.argv.slice(2)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) {
    throw new Failure(`there is no script "${name}"; there are: ${Object.keys(commands).join(", ")}`)
  }
  const runner = createRunner()

  await ensureInstalled({ root, runner })
  const node = findNode(root)
  const server = command.server === true ? await ensureServer({ root, runner }) : undefined

  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, ...command.env }
  // Programs that a script starts find the same Node.
  env.PATH = [path.dirname(node), process.env.PATH].filter(Boolean).join(path.delimiter)
  if (server !== undefined) env.RELIVE_REDIS_SERVER = server

  // The user's own folder is where relative paths on the command line start.
  const cwd = command.cwd === "user" ? (process.env.INIT_CWD ?? process.cwd()) : root
  const plan = command.plan({ root, args })
  const ended = await runner.run(node, plan.run, { cwd, env, stdio: "inherit" })
  const leftBehind = await runner.sweep()

  if (runner.signal() !== undefined || plan.judge === undefined) return runner.end(ended)
  const report = { code: ended.code, signal: ended.signal, leftBehind }
  return runner.end(
    await runner.run(node, plan.judge, {
      cwd: root,
      env: { ...env, RELIVE_ENDED: JSON.stringify(report) },
      stdio: "inherit"
    })
  )
}

// When the terminal goes away, what we would say has no reader; the cleaning up goes on.
process.stderr.on("error", () => undefined)

main().catch((error) => {
  // A failure of the set-up is a message for a person; anything else is a bug of ours and shows its stack.
  process.stderr.write(error instanceof Failure ? `relive: ${error.message}\n` : `${error?.stack ?? error}\n`)
  process.exitCode = 1
})
