/**
 * Which exports of a module lack their doc comment.
 *
 * The source is parsed, not searched: what is exported is a question of syntax. oxc-parser knows all of today's
 * TypeScript, and needs no type checker for this.
 */
import { parseSync } from "oxc-parser"

type Program = ReturnType<typeof parseSync>["program"]
type Statement = Program["body"][number]
type Comment = ReturnType<typeof parseSync>["comments"][number]

/** Something to repair: a line (from 1) of the file and what is wrong there. */
export interface Finding {
  readonly line: number
  readonly message: string
}

/** One exported declaration: overloads of a function are several with the same key. */
interface Exported {
  readonly key: string
  readonly name: string
  readonly at: number
  readonly isNested: boolean
}

/** A parsed module, with what is needed to look around in it. */
interface Source {
  readonly text: string
  readonly body: ReadonlyArray<Statement>
  readonly comments: ReadonlyArray<Comment>
  /** The comment on the module itself. */
  readonly header: Comment | undefined
}

/** The tags that each doc comment of an export carries. */
const requiredTags = ["@since", "@category"]

const lineOf = (text: string, offset: number) => text.slice(0, offset).split("\n").length

const isDoc = (comment: Comment) => comment.type === "Block" && comment.value.startsWith("*")

/** The doc comment a module opens with. One with a category is of the first export, and no header. */
const headerOf = (text: string, [first]: ReadonlyArray<Comment>): Comment | undefined =>
  first !== undefined && isDoc(first) && text.slice(0, first.start).trim() === "" && !first.value.includes("@category")
    ? first
    : undefined

/** The doc comment right before an offset; only white space and other comments may stand between. */
const docBefore = ({ text, comments, header }: Source, offset: number): Comment | undefined => {
  let end = offset
  for (const comment of comments.toReversed()) {
    if (comment.end > end) continue
    if (text.slice(comment.end, end).trim() !== "") return undefined
    if (isDoc(comment)) return comment === header ? undefined : comment
    end = comment.start
  }
  return undefined
}

/** A doc comment's prose and tags, without its stars. */
const textOf = (comment: Comment) => comment.value.replace(/^[ \t]*\*+ ?/gm, "").trim()

/** The names a declaration declares. */
const namesOf = (declaration: Statement): ReadonlyArray<{ readonly kind: string; readonly name: string }> => {
  switch (declaration.type) {
    case "VariableDeclaration":
      return declaration.declarations.map(({ id }) => ({
        kind: "value",
        name: id.type === "Identifier" ? id.name : "(pattern)"
      }))
    case "FunctionDeclaration":
    case "TSDeclareFunction":
      return [{ kind: "function", name: declaration.id?.name ?? "default" }]
    case "ClassDeclaration":
      return [{ kind: "class", name: declaration.id?.name ?? "default" }]
    case "TSTypeAliasDeclaration":
    case "TSInterfaceDeclaration":
      return [{ kind: "type", name: declaration.id.name }]
    case "TSModuleDeclaration":
      return [{ kind: "namespace", name: declaration.id.type === "Identifier" ? declaration.id.name : "(namespace)" }]
    default:
      return []
  }
}

/** What stands inside an exported namespace is exported, too. */
const insideOf = (declaration: Statement, prefix: string): ReadonlyArray<Exported> =>
  declaration.type === "TSModuleDeclaration" && declaration.body?.type === "TSModuleBlock"
    ? declaration.body.body.flatMap((inner) => exportedBy(inner, [], `${prefix}.`, true))
    : []

const declared = (declaration: Statement, at: number, prefix: string, isNested: boolean): ReadonlyArray<Exported> =>
  namesOf(declaration).flatMap(({ kind, name }) => [
    { key: `${kind} ${prefix}${name}`, name: `${prefix}${name}`, at, isNested },
    ...insideOf(declaration, `${prefix}${name}`)
  ])

/** Where a local name is declared in a module. */
const declarationOf = (body: ReadonlyArray<Statement>, name: string) =>
  body.find((statement) => namesOf(statement).some((each) => each.name === name))

/**
 * What one statement exports. A module of the same package that is re-exported is looked at by itself, so only names
 * taken from elsewhere, and local ones, count.
 */
function exportedBy(
  statement: Statement,
  body: ReadonlyArray<Statement>,
  prefix = "",
  isNested = false
): ReadonlyArray<Exported> {
  if (statement.type === "ExportDefaultDeclaration") {
    return [{ key: "default", name: `${prefix}default`, at: statement.start, isNested }]
  }
  if (statement.type === "ExportAllDeclaration") {
    if (statement.source.value.startsWith(".")) return []
    return [{ key: statement.source.value, name: `* from ${statement.source.value}`, at: statement.start, isNested }]
  }
  if (statement.type !== "ExportNamedDeclaration") return []
  if (statement.declaration !== null) return declared(statement.declaration, statement.start, prefix, isNested)
  if (statement.source?.value.startsWith(".") === true) return []
  return statement.specifiers.map(({ local, exported, start }) => {
    const nameOf = (node: typeof exported) => (node.type === "Literal" ? node.value : node.name)
    const origin = statement.source === null ? declarationOf(body, nameOf(local)) : undefined
    return {
      key: `specifier ${prefix}${nameOf(exported)}`,
      name: `${prefix}${nameOf(exported)}`,
      at: origin?.start ?? start,
      isNested
    }
  })
}

/** The fault of the doc comment of one export, `undefined` when nothing is. */
const judge = (source: Source, group: ReadonlyArray<Exported>): string | undefined => {
  const docs = group.map(({ at }) => docBefore(source, at)).filter((doc) => doc !== undefined)
  const name = group[0]?.name
  if (docs.length === 0) return `${name} has no doc comment`
  const texts = docs.map(textOf)
  if (texts.every((text) => text === "" || text.startsWith("@"))) return `the doc comment of ${name} says nothing`
  if (group.some(({ isNested }) => isNested)) return undefined
  const missing = requiredTags.filter((tag) => !texts.some((text) => text.includes(tag)))
  return missing.length === 0 ? undefined : `the doc comment of ${name} lacks ${missing.join(" and ")}`
}

/**
 * Checks one public module: it opens with a comment on itself, and each of its exports has a doc comment that says
 * something and carries the required tags. Of a function's overloads one is enough.
 */
export const missingDocs = (file: string, text: string): ReadonlyArray<Finding> => {
  const parsed = parseSync(file, text)
  const syntax = parsed.errors.map(({ message }) => ({ line: 1, message }))
  const { comments, program } = parsed
  const source: Source = { text, body: program.body, comments, header: headerOf(text, comments) }

  const groups = Map.groupBy(
    source.body.flatMap((statement) => exportedBy(statement, source.body)),
    ({ key }) => key
  )
  const exports = [...groups.values()].flatMap((group) => {
    const message = judge(source, group)
    return message === undefined ? [] : [{ line: lineOf(text, group[0]?.at ?? 0), message }]
  })
  const header =
    source.header === undefined ? [{ line: 1, message: "the module does not open with a comment on itself" }] : []
  return [...syntax, ...header, ...exports]
}
