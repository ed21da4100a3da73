/** A real browser: the one in `RELIVE_CHROMIUM`, one on the `PATH`, or Debian's package, which is installed then. */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

const names = ["chromium", "chromium-browser", "google-chrome"]

const find = (): string | undefined => {
  const named = process.env.RELIVE_CHROMIUM
  if (named !== undefined && named !== "") return named
  const folders = (process.env.PATH ?? "").split(Path.delimiter).filter(Boolean)
  return names.flatMap((name) => folders.map((folder) => Path.join(folder, name))).find((file) => Fs.existsSync(file))
}

const apt = (...args: ReadonlyArray<string>) => {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"]
  const [command = "apt-get", ...rest] = [...sudo, "apt-get", ...args]
  return spawnSync(command, rest, { encoding: "utf8", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } })
}

/** The path of a browser; installs one when there is none, and fails when that cannot be done. */
export const ensureChromium = (): string => {
  const found = find()
  if (found !== undefined) return found
  apt("update")
  const { status, stderr } = apt("install", "-y", "--no-install-recommends", "chromium")
  const installed = find()
  if (installed !== undefined) return installed
  throw new Error(
    `No Chromium, and none could be installed (apt-get: ${status ?? "not there"}). Install the package chromium, or name a ` +
      `browser in RELIVE_CHROMIUM.\n${stderr ?? ""}`
  )
}
