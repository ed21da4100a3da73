/**
 * Names of functions, arguments and options, from those of the server.
 */

/** Tokens that are several words without a separator. A token that is none of these is one word. */
const compounds: Readonly<Record<string, string>> = Object.fromEntries(
  `abs-ttl align-timestamp alpha async batch-size bucket-size bucket-timestamp by-box by-float by-int by-lex by-radius by-score
  case-sensitive chunk-size count-nan del-ref duplicate-policy entries-added entries-read explain-score filter-by
  flush-type from-lon-lat from-member idle-time idmp-auto in-fields in-keys in-order
  index-all index-empty index-missing keep-ref keep-ttl last-id max-age max-count max-deleted-id max-iterations
  max-size max-text-fields min-match-len no-ack no-content no-create no-fields no-freqs no-hl no-index
  no-offsets no-quant no-save no-scaling no-stem no-stop-words no-thread no-values non-scaling
  on-duplicate order-by retry-count set-attr skip-initial-scan skip-me slots-range sort-by stop-words
  store-dist sync-slots with-attribs with-code with-coord with-count with-cursor with-dist with-hash with-labels
  with-match-len with-payloads with-score with-scores with-sort-keys with-suffix-trie with-values library-name filter-ef
  acl-cat filter-by any-id just-id add-scores max-prefix-expansions lib-name lib-ver exclude-empty group-by
  num-docs key-ttl free-q`
    .split(/\s+/)
    .map((words) => [words.replaceAll("-", ""), words])
)

const special: Readonly<Record<string, string>> = { "*": "all", ELE: "element" }

const upperFirst = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1)

const join = (words: ReadonlyArray<string>): string =>
  words.map((word, index) => (index === 0 ? word : upperFirst(word))).join("")

/** `WITHSCORES` becomes `withScores`, `last-id` `lastId`. */
export const camel = (name: string): string => {
  const known = special[name]
  if (known !== undefined) return known
  const lower = name.toLowerCase().replace(/^[^a-z]+/, "")
  const words = (compounds[lower] ?? lower).split(/[^a-z0-9]+/).flatMap((word) => (compounds[word] ?? word).split("-"))
  return join(words.filter((word) => word !== ""))
}

/** Names of arguments whose own spelling is not that of an option. */
export const argumentName = (name: string): string =>
  join(
    name
      .replaceAll(/([a-z])([A-Z])/g, "$1-$2")
      .toLowerCase()
      .split(/[^a-z0-9]+/)
      .filter((word) => word !== "")
  )

export const plural = (name: string): string => {
  if (name.endsWith("s")) return name
  return /[^aeiou]y$/.test(name) ? `${name.slice(0, -1)}ies` : `${name}s`
}

/** Names that cannot be declared, and are exported under an alias. */
export const reserved: ReadonlySet<string> = new Set([
  "eval",
  "type",
  "delete",
  "default",
  "switch",
  "void",
  "function",
  "debugger"
])
