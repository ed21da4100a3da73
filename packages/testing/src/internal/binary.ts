/**
 * Finding the server program.
 *
 * @internal
 */
import * as Fs from "node:fs"
import * as Path from "node:path"

const isExecutable = (file: string): boolean => {
  try {
    Fs.accessSync(file, Fs.constants.X_OK)
    return Fs.statSync(file).isFile()
  } catch {
    return false
  }
}

const onPath = (program: string): string | undefined => {
  const directories = (process.env.PATH ?? "").split(Path.delimiter).filter((directory) => directory !== "")
  return directories.map((directory) => Path.join(directory, program)).find(isExecutable)
}

/** The file of `program`: looked up on `PATH`, unless it names a file by a path. */
export const findProgram = (program: string): string | undefined => {
  if (!program.includes(Path.sep)) return onPath(program)
  const file = Path.resolve(program)
  return isExecutable(file) ? file : undefined
}
