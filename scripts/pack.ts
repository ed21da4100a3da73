/**
 * Builds and packs all public packages, and prints the line that installs them: what a release would bring, to try it.
 *
 * `npm run pack [-- FOLDER]`: the tarballs go to `.relive/tarballs`, or to the folder.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { build, pack } from "./lib/packing.ts"
import { publicPackages, root } from "./lib/workspace.ts"

const [folder] = process.argv.slice(2)
const destination = folder === undefined ? Path.join(root, ".relive", "tarballs") : Path.resolve(folder)

const say = (text: string) => process.stdout.write(`${text}\n`)

build()
Fs.mkdirSync(destination, { recursive: true })
for (const name of Fs.readdirSync(destination)) {
  if (/^relive-.*\.tgz$/.test(name)) Fs.rmSync(Path.join(destination, name))
}
const files = new Map<string, string>()
for (const each of publicPackages) files.set(each.name, pack(each, destination))

const fileOf = (name: string) => files.get(name) ?? name
const basics = ["@relive/otp", "@relive/core"]
say("In your project, with Node 22.19 or newer:\n")
say(`npm install ${basics.map(fileOf).join(" ")} effect@^4.1.0 @effect/platform-node@^4.1.0\n`)
say("And as you need them:\n")
for (const { name } of publicPackages.filter(({ name }) => !basics.includes(name))) say(`npm install ${fileOf(name)}`)
