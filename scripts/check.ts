/**
 * `npm run check`: the types of everything, and then whether what is generated is what its generator makes.
 */
import { spawnSync } from "node:child_process"
import * as Path from "node:path"
import { root } from "./lib/workspace.ts"

const run = (file: string, ...args: ReadonlyArray<string>): boolean =>
  spawnSync(process.execPath, [Path.join(root, file), ...args], { cwd: root, stdio: "inherit" }).status === 0

const isSound =
  run("node_modules/typescript/bin/tsc", "-b", "tsconfig.json", ...process.argv.slice(2)) &&
  run("packages/commands/scripts/generate.ts", "--check")

process.exitCode = isSound ? 0 : 1
