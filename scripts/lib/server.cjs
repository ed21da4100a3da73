/**
 * A real server to talk to: found, or installed without its service.
 *
 * Debian's `redis-server` is two packages: the one of that name brings the service (which would start on 6379), while
 * `redis-tools` holds the binary, one file that behaves by the name it is called by. So `redis-tools` alone is
 * installed and called through a link inside the clone: no service exists, so none can start or stay behind. Valkey is
 * packaged in the same way.
 */
"use strict"

const { spawnSync } = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const { Failure, say } = require("./log.cjs")

/** In order of preference; all tests hold on both. */
const families = ["redis", "valkey"]
/** Where Homebrew puts programs, whether or not the PATH says so. */
const brewFolders = ["/opt/homebrew/bin", "/usr/local/bin"]

/**
 * Whether this file starts and says that it is a server.
 *
 * @param {string} file
 */
function works(file) {
  const { status, stdout } = spawnSync(file, ["--version"], { encoding: "utf8", timeout: 10_000 })
  return status === 0 && /server v=/i.test(stdout)
}

/**
 * @param {string} program
 * @param {readonly string[]} folders
 */
const candidates = (program, folders) =>
  folders.map((folder) => path.join(folder, program)).filter((file) => fs.existsSync(file))

const pathFolders = () => (process.env.PATH ?? "").split(path.delimiter).filter(Boolean)

/** @param {string} root */
const ownFolder = (root) => path.join(root, ".relive", "bin")

/**
 * @param {string} root
 * @returns {string | undefined}
 */
function find(root) {
  const folders = [...pathFolders(), ...(process.platform === "darwin" ? brewFolders : []), ownFolder(root)]
  return families.flatMap((family) => candidates(`${family}-server`, folders)).find(works)
}

/** The server the user named. Named wrongly is an error: another one would surprise. */
function named() {
  const value = process.env.RELIVE_REDIS_SERVER
  if (value === undefined || value === "") return undefined
  const file = value.includes(path.sep)
    ? path.resolve(process.env.INIT_CWD ?? process.cwd(), value)
    : candidates(value, pathFolders())[0]
  if (file !== undefined && works(file)) return file
  throw new Failure(`RELIVE_REDIS_SERVER is ${value}, which is not a Redis or Valkey server that starts here`)
}

/**
 * The path of a server; installs one when there is none.
 *
 * @param {{ root: string, runner: import("./run.cjs").Runner }} at
 * @returns {Promise<string>}
 */
async function ensureServer({ root, runner }) {
  const found = named() ?? find(root)
  if (found !== undefined) return found
  // The tools may be there already: then no one has to be root.
  if (families.some((family) => link(root, family))) return ensureServer({ root, runner })
  if (process.platform === "darwin") await installWithBrew(root, runner)
  else await installWithApt(root, runner)
  const installed = find(root)
  if (installed === undefined) throw cannot("the installation brought no server that starts")
  return installed
}

/**
 * @param {string} why
 */
function cannot(why) {
  const command =
    process.platform === "darwin"
      ? "brew install redis"
      : "sudo apt-get install redis-tools   (or your system's package of redis or valkey)"
  return new Failure(
    `a redis-server or valkey-server is needed, and ${why}.\nInstall one:  ${command}\n` +
      `or name one:  RELIVE_REDIS_SERVER=/path/to/redis-server`
  )
}

/** @param {string} program */
const isThere = (program) => candidates(program, [...pathFolders(), ...brewFolders]).length > 0

/**
 * Runs one step of an installation, its chatter on stderr.
 *
 * @param {import("./run.cjs").Runner} runner
 * @param {readonly string[]} command
 * @param {string} cwd
 * @returns {Promise<boolean>} whether it succeeded
 */
async function step(runner, [program = "", ...args], cwd) {
  const ended = await runner.run(program, args, { cwd, stdio: ["inherit", 2, 2] })
  if (runner.signal() !== undefined) {
    await runner.sweep()
    return runner.end(ended)
  }
  return ended.code === 0
}

/**
 * @param {string} root
 * @param {import("./run.cjs").Runner} runner
 */
async function installWithBrew(root, runner) {
  const brew = candidates("brew", [...pathFolders(), ...brewFolders])[0]
  if (brew === undefined) throw cannot("there is no Homebrew to install it with")
  say("installing redis with Homebrew (once)")
  if (!(await step(runner, [brew, "install", "redis"], root))) throw cannot("Homebrew could not install it (see above)")
}

/**
 * What a command needs in front to run as root, or `undefined` when nothing can.
 *
 * @returns {string[] | undefined}
 */
function asRoot() {
  if (process.getuid?.() === 0) return ["env"]
  if (!isThere("sudo")) return undefined
  const isSilent = spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0
  if (isSilent) return ["sudo", "-n", "env"]
  return process.stdin.isTTY ? ["sudo", "env"] : undefined
}

/**
 * @param {string} root
 * @param {import("./run.cjs").Runner} runner
 */
async function installWithApt(root, runner) {
  if (!isThere("apt-get")) throw cannot("this system has no apt to install it with")
  const prefix = asRoot()
  if (prefix === undefined) throw cannot("installing it needs root or sudo")
  const apt = [...prefix, "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]
  const install = (/** @type {string} */ tools) =>
    step(runner, [...apt, "install", "--yes", "--no-install-recommends", tools], root)

  say("installing redis-tools with apt (once; it holds the server, and brings no service)")
  for (const family of families) {
    const tools = `${family}-tools`
    const isInstalled =
      (await install(tools)) || ((await step(runner, [...apt, "update"], root)) && (await install(tools)))
    if (isInstalled && (link(root, family) || (await unpack(root, runner, family)))) return
  }
  throw cannot("apt could not install it (see above)")
}

/**
 * Calls the tools' binary by the server's name.
 *
 * @param {string} root
 * @param {string} family
 */
function link(root, family) {
  const binary = candidates(`${family}-check-rdb`, pathFolders())[0]
  if (binary === undefined) return false
  const server = path.join(ownFolder(root), `${family}-server`)
  fs.mkdirSync(ownFolder(root), { recursive: true })
  fs.rmSync(server, { force: true })
  fs.symlinkSync(binary, server)
  if (works(server)) return true
  fs.rmSync(server, { force: true })
  return false
}

/**
 * Where the tools do not hold the server, takes it out of its package without installing that.
 *
 * @param {string} root
 * @param {import("./run.cjs").Runner} runner
 * @param {string} family
 */
async function unpack(root, runner, family) {
  const folder = path.join(root, ".relive", "server")
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  if (!(await step(runner, ["apt-get", "download", `${family}-server`], folder))) return false
  const archive = fs.readdirSync(folder).find((file) => file.endsWith(".deb"))
  if (archive === undefined || !(await step(runner, ["dpkg-deb", "-x", archive, "."], folder))) return false
  const server = path.join(ownFolder(root), `${family}-server`)
  fs.symlinkSync(path.join(folder, "usr", "bin", `${family}-server`), server)
  return works(server)
}

module.exports = { ensureServer }
