/**
 * Builds the public packages into their `dist`, from nothing: `tsc -b` keeps the output of sources that are gone.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

const root = Path.resolve(import.meta.dirname, "..")

for (const name of Fs.readdirSync(Path.join(root, "packages"))) {
  for (const made of ["dist", ".tsbuildinfo"]) {
    Fs.rmSync(Path.join(root, "packages", name, made), { recursive: true, force: true })
  }
}
const tsc = Path.join(root, "node_modules/typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-b", "tsconfig.packages.json", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit"
})
process.exitCode = status ?? 1
