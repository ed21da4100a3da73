/**
 * What is said of the project in every package, from one place: `repository` in the root's `package.json`. Whoever owns the
 * project changes it there, and runs `npm run metadata`.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Package, root } from "./workspace.ts"

/** The owner that stands there until there is one. */
export const placeholder = "OWNER"

const rootManifest: unknown = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))

const readUrl = (): string => {
  if (typeof rootManifest === "object" && rootManifest !== null && "repository" in rootManifest) {
    const { repository } = rootManifest
    if (typeof repository === "object" && repository !== null && "url" in repository) return String(repository.url)
  }
  throw new Error("The root's package.json has no repository.url")
}

/** As in `git+https://github.com/owner/name.git`. */
export const repositoryUrl = readUrl()

/** As in `https://github.com/owner/name`. */
export const projectUrl = repositoryUrl.replace(/^git\+/, "").replace(/\.git$/, "")

/** Where a file of the project is shown. */
export const urlOf = (path: string): string => `${projectUrl}/tree/main/${path}`

/** The fields of a package's manifest that are about the project. */
export const metadataOf = ({ folder }: Package) => ({
  homepage: `${urlOf(folder)}#readme`,
  bugs: `${projectUrl}/issues`,
  repository: { type: "git", url: repositoryUrl, directory: folder }
})

const [, host = "", , name = ""] = /^(https:\/\/[^/]+\/)([^/]+)\/([^/]+)$/.exec(projectUrl) ?? []

const others = new RegExp(`${host.replaceAll(".", String.raw`\.`)}[^/\\s)]+/${name}(?=[/)\\s])`, "g")

/**
 * A package's README whose links to the project are whole, and those of its owner: the registry shows it, where nothing is beside
 * it.
 */
export const withLinks = (text: string, { folder }: Pick<Package, "folder">): string =>
  text
    .replaceAll(/\]\((\.\.?\/[^)\s#]*)/g, (_link, path: string) => `](${urlOf(Path.posix.join(folder, path))}`)
    .replaceAll(others, projectUrl)
