/**
 * What is known by hand: where the metadata says less than is true, and what it does not say at all. Each entry names its
 * command. One that changes nothing fails the generator.
 *
 * Sources: the documentation of the commands, the behaviour of real servers as recorded in `test/fixtures`, and the faults
 * of the metadata that were found by matching it with real word lists.
 */
import type { Argument, Facts } from "./lib/facts.ts"
import { args } from "./lib/notation.ts"
import * as p from "./lib/plans.ts"
import type { Plan } from "./lib/plans.ts"

/** Refused everywhere: they have no function. The command table says why. */
export const refused: ReadonlyArray<string> = [
  "SUBSCRIBE",
  "PSUBSCRIBE",
  "SSUBSCRIBE",
  "UNSUBSCRIBE",
  "PUNSUBSCRIBE",
  "SUNSUBSCRIBE",
  "MONITOR",
  "SYNC",
  "PSYNC",
  "REPLCONF",
  "CLIENT REPLY",
  "HELLO",
  "RESET",
  "QUIT",
  "SCRIPT DEBUG"
]

/** Commands that have no meaning alone. (`COMMAND` has.) */
export const containers: ReadonlyArray<string> = [
  "ACL",
  "BACKUP",
  "CLIENT",
  "CLUSTER",
  "CONFIG",
  "FT.CONFIG",
  "FT.CURSOR",
  "FUNCTION",
  "HIMPORT",
  "HOTKEYS",
  "LATENCY",
  "MEMORY",
  "MODULE",
  "OBJECT",
  "PUBSUB",
  "SCRIPT",
  "SLOWLOG",
  "XGROUP",
  "XINFO"
]

/** For servers among themselves, for debugging a server, or replaced before today's servers. */
export const internal: ReadonlyArray<string> = [
  "BF.DEBUG",
  "CF.DEBUG",
  "CLUSTER SYNCSLOTS",
  "DEBUG",
  "FT.ADD",
  "FT.CURSOR GC",
  "FT.DEL",
  "FT.DROP",
  "FT.GET",
  "FT.MGET",
  "FT.SAFEADD",
  "FT.SYNADD",
  "PFDEBUG",
  "PFSELFTEST",
  "RESTORE-ASKING",
  "TRIMSLOTS"
]

const field = `{AS <alias>} (type: TEXT | TAG | NUMERIC | GEO | GEOSHAPE | VECTOR)
  {[vector: (algorithm: FLAT | HNSW | SVS-VAMANA) <nargs:integer> [attribute: <name> <value>]...]}
  {(coordinates: SPHERICAL | FLAT)} {WEIGHT <weight:double>} {NOSTEM} {PHONETIC <matcher>} {SEPARATOR <separator>}
  {CASESENSITIVE} {WITHSUFFIXTRIE} {INDEXEMPTY} {INDEXMISSING} {SORTABLE} {UNF} {NOINDEX}`

const seriesRange = `{LATEST} {FILTER_BY_TS <timestamp>...} {FILTER_BY_VALUE [range: <min:double> <max:double>]}`

const aggregation = `{[aggregation: {ALIGN <align>} AGGREGATION <aggregators:aggregators> <bucketDuration:integer>
  {BUCKETTIMESTAMP <bucketTimestamp>} {EMPTY}]}`

const alignedAggregation = aggregation.replace("<aggregators:aggregators>", "<aggregator>...")

const range = `<key:key> <from> <to> ${seriesRange} {COUNT <count:integer>} ${aggregation}`

const nrange = `<numkeys:integer> <key:key>... <from> <to> ${seriesRange} {COUNT <count:integer>} ${alignedAggregation}`

const mrange = `<from> <to> ${seriesRange} {(labels: WITHLABELS | SELECTED_LABELS <label>...)} {COUNT <count:integer>}
  ${aggregation} {EXCLUDEEMPTY} FILTER <filter>...
  {[group: GROUPBY <label> REDUCE <reducer>]}`

const seriesOptions = `{RETENTION <retention:integer>} {ENCODING (encoding: COMPRESSED | UNCOMPRESSED)} {UNCOMPRESSED}
  {CHUNK_SIZE <size:integer>} {DUPLICATE_POLICY (policy: BLOCK | FIRST | LAST | MIN | MAX | SUM)}
  {ON_DUPLICATE (policy: BLOCK | FIRST | LAST | MIN | MAX | SUM)}
  {IGNORE [ignore: <maxTimeDiff:integer> <maxValDiff:double>]} {LABELS [label: <label> <value>]...}`

const increment = `{TIMESTAMP <timestamp>} ${seriesOptions.replace(/\{ON_DUPLICATE [^}]*\}/, "")}`

const killFilter = `{(old: <address>)} {ID <clientId:integer>...}
  {TYPE (type: NORMAL | MASTER | SLAVE | REPLICA | PUBSUB)} {USER <username>} {ADDR <address>} {LADDR <address>}
  {SKIPME (skipMe: YES | NO)} {MAXAGE <seconds:integer>} {NAME <name>} {IDLE <seconds:integer>} {FLAGS <flags>}
  {LIB-NAME <name>} {LIB-VER <version>} {DB <db:integer>} {CAPA <capa>} {IP <ip>}`

const moveMany = `{(selector: COUNT <count:integer> | EXACTLY <count:integer>)} {(ordering: OBO | BULK)}`

const ftOptions = `{TIMEOUT <timeout:integer>} {PARAMS [params: <nargs:integer> [param: <name> <value>]...]} {DIALECT <dialect:integer>}`

const trim = `[trim: (strategy: MAXLEN | MINID) {(operator: = | ~)} <threshold> {LIMIT <count:integer>}]`

/** Argument trees, in the notation of `lib/notation.ts`. */
const argumentNotations: Readonly<Record<string, string>> = {
  ARGREP: `<key:key> <start> <end> (predicate: EXACT <text> | MATCH <text> | GLOB <pattern> | RE <pattern>)...
    {(logic: AND | OR)} {LIMIT <limit:integer>} {WITHVALUES} {NOCASE}`,
  BITFIELD: `<key:key> {(operation: GET [get: <encoding> <offset>] | OVERFLOW (overflow: WRAP | SAT | FAIL) |
    SET [set: <encoding> <offset> <value:integer>] | INCRBY [incrby: <encoding> <offset> <increment:integer>])...}`,
  BITFIELD_RO: "<key:key> {GET [get: <encoding> <offset>]...T}",
  BLMOVEM: `<source:key> <destination:key> (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT) <timeout:double> ${moveMany}`,
  "CLIENT KILL": killFilter,
  "CLIENT LIST": killFilter.replace("{(old: <address>)} ", "").replace("SLAVE | ", ""),
  "FT.AGGREGATE": `<index> <query> {VERBATIM} {ADDSCORES} {SCORER <scorer>}
    {(step: [loadAll: LOAD *] | LOAD [fields: <count:integer> <field>...] |
      GROUPBY [groupBy: <nargs:integer> {<property>...} {[reduce: REDUCE <function> <nargs:integer> {<arg>...} {AS <name>}]...}] |
      SORTBY [sortBy: <nargs:integer> <property>... {MAX <max:integer>}] |
      [apply: APPLY <expression> AS <name>] | LIMIT [limit: <offset:integer> <count:integer>] | FILTER <filter>)...}
    {[cursor: WITHCURSOR {COUNT <count:integer>} {MAXIDLE <milliseconds:integer>}]} ${ftOptions}`,
  "FT.ALTER": `<index> {SKIPINITIALSCAN} SCHEMA ADD [field: <name> ${field}]...`,
  "FT.CREATE": `<index> {ON (dataType: HASH | JSON)} {INDEXALL (indexAll: ENABLE | DISABLE)}
    {PREFIX [prefix: <count:integer> <prefix>...]} {FILTER <filter>} {LANGUAGE <language>} {LANGUAGE_FIELD <attribute>}
    {SCORE <score:double>} {SCORE_FIELD <attribute>} {PAYLOAD_FIELD <attribute>} {MAXTEXTFIELDS} {TEMPORARY <seconds:double>}
    {NOOFFSETS} {NOHL} {NOFIELDS} {NOFREQS} {STOPWORDS [stopWords: <count:integer> {<stopword>...}]} {SKIPINITIALSCAN}
    SCHEMA {[field: <name> ${field}]...}`,
  "FT.EXPLAIN": `<index> <query> {PARAMS [params: <nargs:integer> [param: <name> <value>]...]} {DIALECT <dialect:integer>}`,
  "FT.HYBRID": "<index> <clause>...",
  "FT.PROFILE": "<index> (type: SEARCH | AGGREGATE | HYBRID) {LIMITED} QUERY <query> {<arg>...}",
  "FT.SEARCH": `<index> <query> {NOCONTENT} {VERBATIM} {NOSTOPWORDS} {WITHSCORES} {WITHPAYLOADS} {WITHSORTKEYS}
    {FILTER [filter: <field> <min:score> <max:score>]...T}
    {GEOFILTER [geoFilter: <field> <longitude:double> <latitude:double> <radius:double> <unit:unit>]...T}
    {INKEYS [inKeys: <count:integer> <key>...]} {INFIELDS [inFields: <count:integer> <field>...]}
    {RETURN [return: <count:integer> <field>...]}
    {[summarize: SUMMARIZE {FIELDS [fields: <count:integer> <field>...]} {FRAGS <fragments:integer>} {LEN <length:integer>} {SEPARATOR <separator>}]}
    {[highlight: HIGHLIGHT {FIELDS [fields: <count:integer> <field>...]} {TAGS [tags: <open> <close>]}]}
    {SLOP <slop:integer>} {TIMEOUT <timeout:integer>} {INORDER} {LANGUAGE <language>} {EXPANDER <expander>} {SCORER <scorer>}
    {EXPLAINSCORE} {PAYLOAD <payload>} {[sortBy: SORTBY <field> {(order: ASC | DESC)} {WITHCOUNT}]}
    {LIMIT [limit: <offset:integer> <count:integer>]} {PARAMS [params: <nargs:integer> [param: <name> <value>]...]}
    {DIALECT <dialect:integer>}`,
  "FT.SPELLCHECK": `<index> <query> {DISTANCE <distance:integer>}
    {TERMS [terms: (inclusion: INCLUDE | EXCLUDE) <dictionary>]...T} {DIALECT <dialect:integer>}`,
  // Valkey also takes the conditions of a key.
  HSETEX: `<key:key> {(condition: FNX | FXX | NX | XX)} {(expiration: EX <seconds:integer> | PX <milliseconds:integer> |
    EXAT <seconds:integer> | PXAT <milliseconds:integer> | KEEPTTL)} FIELDS [fields: <numfields:integer> [data: <field> <value>]...]`,
  HINCRBYFLOAT: "<key:key> <field> <increment>",
  "HOTKEYS START": `METRICS [metrics: <count:integer> (metric: CPU | NET)...] {COUNT <count:integer>} {DURATION <seconds:integer>}
    {SAMPLE <ratio:integer>} {SLOTS [slots: <count:integer> <slot:integer>...]}`,
  // The server computes with more digits than a number has: text keeps them.
  INCRBYFLOAT: "<key:key> <increment>",
  "JSON.ARRLEN": "<key:key> {<path:path>}",
  "JSON.ARRPOP": "<key:key> {FORMAT (format: STRINGS | EXPAND1 | EXPAND)} {<path:path>} {<index:integer>}",
  "JSON.CLEAR": "<key:key> {<path:path>}",
  "JSON.DEL": "<key:key> {<path:path>}",
  "JSON.FORGET": "<key:key> {<path:path>}",
  "JSON.GET": `<key:key> {INDENT <indent>} {NEWLINE <newline>} {SPACE <space>} {FORMAT (format: STRING | EXPAND1 | EXPAND)}
    {<path:path>...}`,
  "JSON.OBJKEYS": "<key:key> {<path:path>}",
  "JSON.OBJLEN": "<key:key> {<path:path>}",
  "JSON.RESP": "<key:key> {<path:path>}",
  "JSON.STRAPPEND": "<key:key> {<path:path>} <json>",
  "JSON.STRLEN": "<key:key> {<path:path>}",
  "JSON.TYPE": "<key:key> {<path:path>}",
  LMOVEM: `<source:key> <destination:key> (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT) ${moveMany}`,
  LOLWUT: "{[version: VERSION <version:integer> {<argument:integer>...}]}",
  MIGRATE: `<host> <port:integer> <key:key> <destinationDb:integer> <timeout:integer> {COPY} {REPLACE}
    {(authentication: AUTH <password> | AUTH2 [auth2: <username> <password>])} {KEYS <key:key>...}`,
  "MODULE LOADEX": "<path> {CONFIG [config: <name> <value>]...T} {ARGS <arg>...}",
  REPLICAOF: "<host> <port>",
  SLAVEOF: "<host> <port>",
  "TS.ADD": `<key:key> <timestamp> <value:sample> ${seriesOptions.replace("{UNCOMPRESSED}", "")}`,
  "TS.DECRBY": `<key:key> <subtrahend:double> ${increment}`,
  "TS.DEL": "<key:key> <from> <to>",
  "TS.INCRBY": `<key:key> <addend:double> ${increment}`,
  "TS.MADD": "[ktv: <key:key> <timestamp> <value:sample>]...",
  "TS.MRANGE": mrange,
  "TS.MREVRANGE": mrange,
  "TS.NRANGE": nrange,
  "TS.NREVRANGE": nrange,
  "TS.RANGE": range,
  "TS.REVRANGE": range,
  VADD: `<key:key> {REDUCE <dimension:integer>} <vector:vector> <element> {CAS} {(quantization: NOQUANT | BIN | Q8)}
    {EF <explorationFactor:integer>} {SETATTR <attributes>} {M <links:integer>}`,
  VSIM: `<key:key> (query: ELE <element> | <vector:vector>) {WITHSCORES} {WITHATTRIBS} {COUNT <count:integer>}
    {EPSILON <maxDistance:double>} {EF <explorationFactor:integer>} {FILTER <expression>} {FILTER-EF <effort:integer>} {TRUTH} {NOTHREAD}`,
  XADD: `<key:key> {NOMKSTREAM} {(references: KEEPREF | DELREF | ACKED)} {(idempotence: IDMPAUTO <producer> | IDMP [idmp: <producer> <id>])}
    {${trim}} <id> [data: <field> <value>]...`,
  "XINFO STREAM": "<key:key> {FULL} {COUNT <count:integer>}",
  XPENDING: "<key:key> <group> {[range: {IDLE <minIdleTime:integer>} <start> <end> <count:integer> {<consumer>}]}",
  XREAD:
    "{COUNT <count:integer>} {MAXCOUNT <maxCount:integer>} {MAXSIZE <maxSize:integer>} {BLOCK <milliseconds:integer>} STREAMS <streams:streams>",
  XREADGROUP: `GROUP <group> <consumer> {COUNT <count:integer>} {MAXCOUNT <maxCount:integer>} {MAXSIZE <maxSize:integer>}
    {BLOCK <milliseconds:integer>} {CLAIM <minIdleTime:integer>} {NOACK} STREAMS <streams:streams>`,
  ZINCRBY: "<key:key> <increment:double> <member>"
}

export const argumentTrees: ReadonlyMap<string, ReadonlyArray<Argument>> = new Map(
  Object.entries(argumentNotations).map(([name, text]) => [name, args(text)])
)

// -----------------------------------------------------------------------------
// Replies
// -----------------------------------------------------------------------------

/**
 * One shape of a reply. `with` names the options and optional parameters that lead to it; a case without `with` is the one
 * that is left. `bare` has no options at all, and only its type differs.
 */
export interface Case {
  readonly with?: ReadonlyArray<string> | undefined
  readonly bare?: true | undefined
  readonly plan: Plan
}

export type Replies = Plan | ReadonlyArray<Case>

const otherwise = (plan: Plan): Case => ({ plan })
const when = (names: string, plan: Plan): Case => ({ with: names.split(" "), plan })
const bare = (plan: Plan): Case => ({ bare: true, plan })

const texts = p.list(p.text)
export const words = p.list(p.word)
const maybeText = p.nullable(p.text)
const maybeTexts = p.list(maybeText)
const integers = p.list(p.integer)
const bits = p.literal(0, 1)
const entries = p.list(p.entry)
const pairsEntries = p.list(p.pairsEntry)

const withScores: Replies = [when("withScores", p.scored), otherwise(texts)]
const streamRange: Replies = [when("pairs", pairsEntries), otherwise(entries)]
const popping = (many: Plan): Replies => [when("count", p.nullable(many)), otherwise(maybeText)]

const read = (entry: Plan, pairsEntry: Plan): Replies => [
  when("pairs", p.nullable(p.record(p.list(pairsEntry)))),
  otherwise(p.nullable(p.record(p.list(entry))))
]

/** The three parts of a place that can be asked for, in the server's order. */
const geo = (): ReadonlyArray<Case> =>
  [7, 6, 5, 4, 3, 2, 1].map((bits): Case => {
    const [distance, hash, coordinates] = [(bits & 4) !== 0, (bits & 2) !== 0, (bits & 1) !== 0]
    const names = [distance ? "withDist" : "", hash ? "withHash" : "", coordinates ? "withCoord" : ""].filter(
      (name) => name !== ""
    )
    const parts = `${distance ? ", distance: number" : ""}${hash ? ", hash: number" : ""}${coordinates ? ", coordinates: Position" : ""}`
    return when(names.join(" "), {
      code: `list(located${distance ? "Dist" : ""}${hash ? "Hash" : ""}${coordinates ? "Coord" : ""})`,
      text: `ReadonlyArray<readonly [member: string${parts}]>`,
      bytes: `ReadonlyArray<readonly [member: Uint8Array${parts}]>`
    })
  })

const places: Replies = [...geo(), otherwise(texts)]
const placesOrStored: Replies = [when("store", p.integer), when("storeDist", p.integer), ...geo(), otherwise(texts)]

const jsonIntegers = p.either(p.list(p.nullable(p.integer)), p.nullable(p.integer))
const jsonNumbers = p.named("jsonNumbers", "ReadonlyArray<number | null> | number | null")

const samples = p.named("samples", "ReadonlyArray<TimeSeriesSample>")
const series = p.named("manySeries", "Rec<TimeSeries>", "PairsBytes<TimeSeriesBytes>")

const found = p.named("searchReply(options ?? {})", "SearchReply", "SearchReplyBytes")

const xinfoGroup = p.struct({
  name: p.text,
  "last-delivered-id": p.text,
  "entries-read?": p.nullable(p.integer),
  "lag?": p.nullable(p.integer),
  "pel-count": p.integer,
  pending: p.list(p.quadruple(p.text, p.text, p.integer, p.integer)),
  consumers: p.list(
    p.struct({
      name: p.text,
      "seen-time": p.integer,
      "active-time?": p.integer,
      "pel-count": p.integer,
      pending: p.list(p.triple(p.text, p.integer, p.integer))
    })
  )
})

const xinfoCommon = {
  length: p.integer,
  "radix-tree-keys": p.integer,
  "radix-tree-nodes": p.integer,
  "last-generated-id": p.text,
  "max-deleted-entry-id?": p.text,
  "recorded-first-entry-id?": p.text,
  "entries-added?": p.integer
}

const xinfo = (entry: Plan): Plan =>
  p.struct({ ...xinfoCommon, groups: p.integer, "first-entry": p.nullable(entry), "last-entry": p.nullable(entry) })

const xinfoFull = (entry: Plan): Plan =>
  p.struct({ ...xinfoCommon, entries: p.list(entry), groups: p.list(xinfoGroup) })

const matches = p.struct({ matches: p.named("list(lcsMatch)", "ReadonlyArray<LcsMatch>"), len: p.integer })

const bloomInfo = p.struct({
  Capacity: p.integer,
  Size: p.integer,
  "Number of filters": p.integer,
  "Number of items inserted": p.integer,
  "Expansion rate": p.nullable(p.integer)
})

const oneNumber = p.named("oneNumber", "number | null")

export const replies: Readonly<Record<string, Replies>> = {
  // Several shapes by their arguments.
  "ACL CAT": texts,
  "ACL LOG": [
    when("reset", p.ok),
    otherwise(
      p.list(
        p.struct({
          count: p.integer,
          reason: p.text,
          context: p.text,
          object: p.text,
          username: p.text,
          "age-seconds": p.double,
          "client-info": p.text,
          "entry-id?": p.integer,
          "timestamp-created?": p.integer,
          "timestamp-last-updated?": p.integer
        })
      )
    )
  ],
  "CLIENT KILL": [when("address", p.ok), otherwise(p.integer)],
  GEORADIUS: placesOrStored,
  GEORADIUSBYMEMBER: placesOrStored,
  GEORADIUSBYMEMBER_RO: places,
  GEORADIUS_RO: places,
  GEOSEARCH: places,
  HRANDFIELD: [when("count withValues", p.pairs(p.text, p.text)), when("count", texts), otherwise(maybeText)],
  LCS: [when("len", p.integer), when("idx", matches), otherwise(p.text)],
  LPOP: popping(texts),
  LPOS: [when("count", integers), otherwise(p.nullable(p.integer))],
  PING: [when("message", p.text), otherwise(p.literal("PONG"))],
  ROLE: p.named("role", "Role", "RoleBytes"),
  RPOP: popping(texts),
  SET: [bare(p.ok), when("get", maybeText), otherwise(p.nullable(p.ok))],
  SORT: [when("store", p.integer), otherwise(maybeTexts)],
  SPOP: [when("count", p.set(p.text)), otherwise(maybeText)],
  SRANDMEMBER: [when("count", texts), otherwise(maybeText)],
  XADD: [when("nomkstream", maybeText), otherwise(p.text)],
  XAUTOCLAIM: [
    when(
      "justId",
      p.named(
        "claimedIds",
        "readonly [cursor: string, ids: ReadonlyArray<string>, deleted: ReadonlyArray<string>]",
        "readonly [cursor: Uint8Array, ids: ReadonlyArray<Uint8Array>, deleted: ReadonlyArray<Uint8Array>]"
      )
    ),
    when(
      "pairs",
      p.named(
        "claimed(maybePairsEntry)",
        `readonly [cursor: string, entries: ReadonlyArray<${p.maybePairsEntry.text}>, deleted: ReadonlyArray<string>]`,
        `readonly [cursor: Uint8Array, entries: ReadonlyArray<${p.maybePairsEntry.bytes}>, deleted: ReadonlyArray<Uint8Array>]`
      )
    ),
    otherwise(
      p.named(
        "claimed(maybeEntry)",
        `readonly [cursor: string, entries: ReadonlyArray<${p.maybeEntry.text}>, deleted: ReadonlyArray<string>]`,
        `readonly [cursor: Uint8Array, entries: ReadonlyArray<${p.maybeEntry.bytes}>, deleted: ReadonlyArray<Uint8Array>]`
      )
    )
  ],
  XCLAIM: [
    when("justId", texts),
    when(
      "pairs",
      p.named(
        "existing(maybePairsEntry)",
        `ReadonlyArray<${p.maybePairsEntry.text} | null>`,
        `ReadonlyArray<${p.maybePairsEntry.bytes} | null>`
      )
    ),
    otherwise(
      p.named(
        "existing(maybeEntry)",
        `ReadonlyArray<${p.maybeEntry.text} | null>`,
        `ReadonlyArray<${p.maybeEntry.bytes} | null>`
      )
    )
  ],
  "XINFO STREAM": [
    when("full pairs", xinfoFull(p.pairsEntry)),
    when("full", xinfoFull(p.entry)),
    when("pairs", xinfo(p.pairsEntry)),
    otherwise(xinfo(p.entry))
  ],
  XPENDING: [
    when("range", p.list(p.quadruple(p.text, p.text, p.integer, p.integer))),
    otherwise(
      p.named(
        "pendingSummary",
        "readonly [count: number, first: string | null, last: string | null, consumers: ReadonlyArray<readonly [name: string, count: number]>]",
        "readonly [count: number, first: Uint8Array | null, last: Uint8Array | null, consumers: ReadonlyArray<readonly [name: Uint8Array, count: number]>]"
      )
    )
  ],
  XRANGE: streamRange,
  XREAD: read(p.entry, p.pairsEntry),
  XREADGROUP: read(p.maybeEntry, p.maybePairsEntry),
  XREVRANGE: streamRange,
  ZADD: [when("incr", p.nullable(p.double)), otherwise(p.integer)],
  ZDIFF: withScores,
  ZINTER: withScores,
  ZPOPMAX: [when("count", p.scored), otherwise(p.popped)],
  ZPOPMIN: [when("count", p.scored), otherwise(p.popped)],
  ZRANDMEMBER: [when("count withScores", p.scored), when("count", texts), otherwise(maybeText)],
  ZRANGE: withScores,
  ZRANGEBYSCORE: withScores,
  ZRANK: [when("withScore", p.nullable(p.pair(p.integer, p.double))), otherwise(p.nullable(p.integer))],
  ZREVRANGE: withScores,
  ZREVRANGEBYSCORE: withScores,
  ZREVRANK: [when("withScore", p.nullable(p.pair(p.integer, p.double))), otherwise(p.nullable(p.integer))],
  ZUNION: withScores,
  HSCAN: [when("noValues", p.pair(p.text, texts)), otherwise(p.pair(p.text, p.pairs(p.text, p.text)))],
  ZSCAN: p.pair(p.text, p.scored),

  // Where the schema forgets null, or calls a number a text.
  GEODIST: p.nullable(p.double),
  GEOHASH: maybeTexts,
  LMOVE: maybeText,
  "OBJECT FREQ": p.nullable(p.integer),
  "OBJECT IDLETIME": p.nullable(p.integer),
  "OBJECT REFCOUNT": p.nullable(p.integer),
  BZMPOP: p.nullable(p.pair(p.text, p.scored)),
  ZMPOP: p.nullable(p.pair(p.text, p.scored)),
  TYPE: p.word,
  TIME: p.pair(p.text, p.text),

  // Sets.
  "ACL GETUSER": p.nullable(
    p.struct({
      flags: p.set(p.text),
      passwords: texts,
      commands: p.text,
      keys: p.text,
      channels: p.text,
      selectors: p.list(p.struct({ commands: p.text, keys: p.text, channels: p.text }))
    })
  ),
  "CLIENT TRACKINGINFO": p.struct({ flags: p.set(p.text), redirect: p.integer, prefixes: texts }),
  "COMMAND GETKEYSANDFLAGS": p.list(p.pair(p.text, p.set(p.text))),
  "FUNCTION LIST": p.list(
    p.struct({
      library_name: p.text,
      engine: p.text,
      functions: p.list(p.struct({ name: p.text, description: maybeText, flags: p.set(p.text) })),
      "library_code?": p.text
    })
  ),
  SDIFF: p.set(p.text),
  SINTER: p.set(p.text),
  SMEMBERS: p.set(p.text),
  SUNION: p.set(p.text),

  // Arguments that the schema leaves open.
  MIGRATE: p.literal("OK", "NOKEY"),
  "CLUSTER BUMPEPOCH": p.word,
  "CLUSTER MIGRATION": p.plain,
  "CLUSTER SLOTS": p.named("list(clusterSlots)", "ReadonlyArray<ClusterSlots>", "ReadonlyArray<ClusterSlotsBytes>"),
  COMMAND: p.named("list(commandInfo)", "ReadonlyArray<CommandInfo>", "ReadonlyArray<CommandInfoBytes>"),
  "COMMAND DOCS": p.named("commandDocs", "Rec<CommandDocs>", "PairsBytes<CommandDocsBytes>"),
  "COMMAND INFO": p.named(
    "list(nullable(commandInfo))",
    "ReadonlyArray<CommandInfo | null>",
    "ReadonlyArray<CommandInfoBytes | null>"
  ),
  EVAL: p.plain,
  EVALSHA: p.plain,
  EVALSHA_RO: p.plain,
  EVAL_RO: p.plain,
  EXEC: p.nullable(p.list(p.plain)),
  FCALL: p.plain,
  FCALL_RO: p.plain,
  "HOTKEYS GET": p.nullable(p.plain),
  "MEMORY STATS": p.named("memoryStats", "MemoryStats"),
  "PUBSUB NUMSUB": p.record(p.integer),
  "PUBSUB SHARDNUMSUB": p.record(p.integer),
  "SLOWLOG GET": p.named("list(slowlog)", "ReadonlyArray<SlowlogEntry>", "ReadonlyArray<SlowlogEntryBytes>"),

  // Core commands that have no schema.
  ARCOUNT: p.bigInteger,
  ARGREP: [when("withValues", p.pairs(p.bigInteger, p.text)), otherwise(p.list(p.bigInteger))],
  AROP: p.either(p.either(p.nullable(p.bigInteger), p.double), p.text),
  ARSCAN: p.pairs(p.bigInteger, p.text),
  "BACKUP ABORT": p.plain,
  "BACKUP CLEANUP": p.plain,
  "BACKUP HELP": words,
  "BACKUP LIST": p.plain,
  "BACKUP SEAL": p.plain,
  "BACKUP START": p.plain,
  "BACKUP STATUS": p.plain,
  BLMOVEM: p.nullable(texts),
  DELEX: bits,
  DIGEST: maybeText,
  HGETDEL: p.nullable(maybeTexts),
  HGETEX: p.nullable(maybeTexts),
  "HIMPORT DISCARD": p.integer,
  "HIMPORT DISCARDALL": p.integer,
  "HIMPORT PREPARE": p.ok,
  "HIMPORT SET": p.integer,
  "HOTKEYS RESET": p.ok,
  HSETEX: bits,
  LMOVEM: p.nullable(texts),
  MSETEX: bits,
  SDIFFCARD: p.integer,
  SUNIONCARD: p.integer,
  XACKDEL: integers,
  XCFGSET: p.ok,
  XDELEX: integers,
  XNACK: p.integer,

  // Vector sets.
  VADD: p.boolean,
  VCARD: p.integer,
  VDIM: p.integer,
  VEMB: [when("raw", p.nullable(p.list(p.plain))), otherwise(p.nullable(p.list(p.double)))],
  VGETATTR: maybeText,
  VINFO: p.nullable(p.record(p.plain)),
  VISMEMBER: p.boolean,
  VLINKS: [when("withScores", p.nullable(p.list(p.scored))), otherwise(p.nullable(p.list(texts)))],
  VRANDMEMBER: [when("count", texts), otherwise(maybeText)],
  VRANGE: texts,
  VREM: p.boolean,
  VSETATTR: p.boolean,
  VSIM: [
    when(
      "withScores withAttribs",
      p.named(
        "similar",
        "ReadonlyArray<readonly [element: string, score: number, attributes: string | null]>",
        "ReadonlyArray<readonly [element: Uint8Array, score: number, attributes: Uint8Array | null]>"
      )
    ),
    when("withAttribs", p.pairs(p.text, maybeText)),
    when("withScores", p.scored),
    otherwise(texts)
  ],

  // JSON.
  "JSON.ARRAPPEND": jsonIntegers,
  "JSON.ARRINDEX": jsonIntegers,
  "JSON.ARRINSERT": jsonIntegers,
  "JSON.ARRLEN": jsonIntegers,
  "JSON.ARRPOP": p.either(maybeTexts, maybeText),
  "JSON.ARRTRIM": jsonIntegers,
  "JSON.CLEAR": p.integer,
  "JSON.DEBUG": p.plain,
  "JSON.DEL": p.integer,
  "JSON.FORGET": p.integer,
  "JSON.GET": maybeText,
  "JSON.MERGE": p.ok,
  "JSON.MGET": maybeTexts,
  "JSON.MSET": p.ok,
  "JSON.NUMINCRBY": jsonNumbers,
  "JSON.NUMMULTBY": jsonNumbers,
  "JSON.NUMPOWBY": jsonNumbers,
  "JSON.OBJKEYS": p.nullable(p.either(texts, p.list(p.nullable(texts)))),
  "JSON.OBJLEN": jsonIntegers,
  "JSON.RESP": p.plain,
  "JSON.SET": p.nullable(p.ok),
  "JSON.STRAPPEND": jsonIntegers,
  "JSON.STRLEN": jsonIntegers,
  "JSON.TOGGLE": p.named("jsonToggles", "ReadonlyArray<boolean | null> | boolean | null"),
  "JSON.TYPE": p.named(
    "jsonTypes",
    "ReadonlyArray<string | null> | string | null",
    "ReadonlyArray<Uint8Array | null> | Uint8Array | null"
  ),

  // Bloom and the other probabilistic types.
  "BF.ADD": p.boolean,
  "BF.CARD": p.integer,
  "BF.EXISTS": p.boolean,
  "BF.INFO": [
    when("capacity", oneNumber),
    when("size", oneNumber),
    when("filters", oneNumber),
    when("items", oneNumber),
    when("expansion", oneNumber),
    otherwise(bloomInfo)
  ],
  "BF.INSERT": p.list(p.orError(p.boolean)),
  "BF.LOADCHUNK": p.ok,
  "BF.MADD": p.list(p.orError(p.boolean)),
  "BF.MEXISTS": p.list(p.boolean),
  "BF.RESERVE": p.ok,
  "BF.SCANDUMP": p.pair(p.bigInteger, maybeText),
  "CF.ADD": p.boolean,
  "CF.ADDNX": p.boolean,
  "CF.COMPACT": p.plain,
  "CF.COUNT": p.integer,
  "CF.DEL": p.boolean,
  "CF.EXISTS": p.boolean,
  "CF.INFO": p.struct({
    Size: p.integer,
    "Number of buckets": p.integer,
    "Number of filters": p.integer,
    "Number of items inserted": p.integer,
    "Number of items deleted": p.integer,
    "Bucket size": p.integer,
    "Expansion rate": p.integer,
    "Max iterations": p.integer
  }),
  "CF.INSERT": p.list(p.orError(p.either(p.boolean, p.literal(-1)))),
  "CF.INSERTNX": p.list(p.orError(p.either(p.boolean, p.literal(-1)))),
  "CF.LOADCHUNK": p.ok,
  "CF.MEXISTS": p.list(p.boolean),
  "CF.RESERVE": p.ok,
  "CF.SCANDUMP": p.pair(p.bigInteger, maybeText),
  "CMS.INCRBY": integers,
  "CMS.INFO": p.struct({ width: p.integer, depth: p.integer, count: p.integer }),
  "CMS.INITBYDIM": p.ok,
  "CMS.INITBYPROB": p.ok,
  "CMS.MERGE": p.ok,
  "CMS.QUERY": integers,
  "TDIGEST.ADD": p.ok,
  "TDIGEST.BYRANK": p.list(p.double),
  "TDIGEST.BYREVRANK": p.list(p.double),
  "TDIGEST.CDF": p.list(p.double),
  "TDIGEST.CREATE": p.ok,
  "TDIGEST.INFO": p.struct({
    Compression: p.integer,
    Capacity: p.integer,
    "Merged nodes": p.integer,
    "Unmerged nodes": p.integer,
    "Merged weight": p.double,
    "Unmerged weight": p.double,
    Observations: p.double,
    "Total compressions": p.integer,
    "Memory usage": p.integer
  }),
  "TDIGEST.MAX": p.double,
  "TDIGEST.MERGE": p.ok,
  "TDIGEST.MIN": p.double,
  "TDIGEST.QUANTILE": p.list(p.double),
  "TDIGEST.RANK": integers,
  "TDIGEST.RESET": p.ok,
  "TDIGEST.REVRANK": integers,
  "TDIGEST.TRIMMED_MEAN": p.double,
  "TOPK.ADD": maybeTexts,
  "TOPK.COUNT": integers,
  "TOPK.INCRBY": maybeTexts,
  "TOPK.INFO": p.struct({ k: p.integer, width: p.integer, depth: p.integer, decay: p.double }),
  "TOPK.LIST": [when("withCount", p.pairs(p.text, p.integer)), otherwise(maybeTexts)],
  "TOPK.QUERY": p.list(p.boolean),
  "TOPK.RESERVE": p.ok,

  // Time series.
  "TS.ADD": p.integer,
  "TS.ALTER": p.ok,
  "TS.CREATE": p.ok,
  "TS.CREATERULE": p.ok,
  "TS.DECRBY": p.integer,
  "TS.DEL": p.integer,
  "TS.DELETERULE": p.ok,
  "TS.GET": p.named("head(sample)", "TimeSeriesSample | null"),
  "TS.INCRBY": p.integer,
  "TS.INFO": p.named("seriesInfo", "TimeSeriesInfo", "TimeSeriesInfoBytes"),
  "TS.MADD": p.list(p.orError(p.integer)),
  "TS.MGET": p.named("latestSamples", "Rec<TimeSeriesLatest>", "PairsBytes<TimeSeriesLatestBytes>"),
  "TS.MRANGE": series,
  "TS.MREVRANGE": series,
  "TS.NRANGE": samples,
  "TS.NREVRANGE": samples,
  "TS.QUERYINDEX": p.set(p.text),
  "TS.QUERYLABELS": p.set(p.text),
  "TS.RANGE": samples,
  "TS.READ": samples,
  "TS.REVRANGE": samples,

  // Search.
  "FT._LIST": p.set(p.text),
  "FT.AGGREGATE": [
    when(
      "withCursor",
      p.named(
        "cursored(aggregateReply)",
        "readonly [reply: SearchReply, cursor: number]",
        "readonly [reply: SearchReplyBytes, cursor: number]"
      )
    ),
    otherwise(p.named("aggregateReply", "SearchReply", "SearchReplyBytes"))
  ],
  "FT.ALIASADD": p.ok,
  "FT.ALIASDEL": p.ok,
  "FT.ALIASLIST": p.set(p.text),
  "FT.ALIASUPDATE": p.ok,
  "FT.ALTER": p.ok,
  "FT.CONFIG GET": p.record(maybeText),
  "FT.CONFIG HELP": p.plain,
  "FT.CONFIG SET": p.ok,
  "FT.CREATE": p.ok,
  "FT.CURSOR DEL": p.ok,
  "FT.CURSOR READ": p.named(
    "cursored(aggregateReply)",
    "readonly [reply: SearchReply, cursor: number]",
    "readonly [reply: SearchReplyBytes, cursor: number]"
  ),
  "FT.DICTADD": p.integer,
  "FT.DICTDEL": p.integer,
  "FT.DICTDUMP": p.set(p.text),
  "FT.DROPINDEX": p.ok,
  "FT.EXPLAIN": p.text,
  "FT.EXPLAINCLI": texts,
  "FT.HYBRID": p.record(p.plain),
  "FT.INFO": p.record(p.plain),
  "FT.PROFILE": p.plain,
  "FT.SEARCH": found,
  "FT.SPELLCHECK": p.named(
    "spellcheck",
    "Rec<ReadonlyArray<readonly [suggestion: string, score: number]>>",
    "PairsBytes<ReadonlyArray<readonly [suggestion: Uint8Array, score: number]>>"
  ),
  "FT.SUGADD": p.integer,
  "FT.SUGDEL": p.integer,
  "FT.SUGGET": [
    when(
      "withScores withPayloads",
      p.named(
        "nullable(similar)",
        "ReadonlyArray<readonly [suggestion: string, score: number, payload: string | null]> | null",
        "ReadonlyArray<readonly [suggestion: Uint8Array, score: number, payload: Uint8Array | null]> | null"
      )
    ),
    when(
      "withScores",
      p.named(
        "nullable(pairs(text, double))",
        "ReadonlyArray<readonly [suggestion: string, score: number]> | null",
        "ReadonlyArray<readonly [suggestion: Uint8Array, score: number]> | null"
      )
    ),
    when(
      "withPayloads",
      p.named(
        "nullable(pairs(text, nullable(text)))",
        "ReadonlyArray<readonly [suggestion: string, payload: string | null]> | null",
        "ReadonlyArray<readonly [suggestion: Uint8Array, payload: Uint8Array | null]> | null"
      )
    ),
    otherwise(p.named("nullable(list(text))", "ReadonlyArray<string> | null", "ReadonlyArray<Uint8Array> | null"))
  ],
  "FT.SUGLEN": p.integer,
  "FT.SYNDUMP": p.record(texts),
  "FT.SYNUPDATE": p.ok,
  "FT.TAGVALS": p.set(p.text)
}

/** Commands that no server lists in its metadata. */
export const additions: ReadonlyArray<Facts> = [
  {
    name: "FT._LIST",
    group: "search",
    since: "2.0.0",
    arity: 1,
    flags: ["module", "readonly"],
    acl: ["search", "slow"],
    complexity: ["O(1)"],
    servers: ["redis-8.10"]
  }
]

/** Options of ours that are not sent: they choose how the reply is read. */
export const readingOptions: Readonly<Record<string, ReadonlyArray<string>>> = {
  XAUTOCLAIM: ["pairs"],
  XCLAIM: ["pairs"],
  "XINFO STREAM": ["pairs"],
  XRANGE: ["pairs"],
  XREAD: ["pairs"],
  XREADGROUP: ["pairs"],
  XREVRANGE: ["pairs"]
}
