/**
 * Facts about commands beyond `data.ts`, kept by hand: commands of newer servers, which commands change
 * nothing although their server does not say so, which are refused and what to use instead, and where a blocking command
 * has its timeout.
 *
 * @internal
 */

/**
 * Commands that no source of the generated table knows, and corrections of it, in its form. It wins where both have one.
 * Valkey 8.1 to 9.1, Sentinel, Redis Enterprise, and modules.
 *
 * - `ts.read` blocks with an option, which no flag says, as `xread` does
 * - `ft.cursor` moves a cursor or deletes it, and `cf.compact` rewrites a filter: no reads, though their flags say so
 * - `json.mget` has a path after its keys, its specification only the first of them
 */
export const newerCommands = `
cf.compact - 1 -
client|import-source - - -
client|maint_notifications - - -
cluster|cancelslotmigrations - - all_shards/all_succeeded
cluster|flushslot - - -
cluster|getslotmigrations - - -
cluster|migrateslots - - -
clusterscan r - special/special
commandlog - - -
commandlog|get - - all_nodes
commandlog|help - - -
commandlog|len - - all_nodes/agg_sum
commandlog|reset - - all_nodes/all_succeeded
delifeq - 1 -
ft._list r - -
ft.cursor - - -
ft.cursor|del - - -
ft.cursor|gc - - -
ft.cursor|read - - -
json.mget r 1..-2 -
sentinel - - -
sentinel|ckquorum - - -
sentinel|get-master-addr-by-name - - -
sentinel|info-cache - - -
sentinel|master - - -
sentinel|masters - - -
sentinel|myid - - -
sentinel|primaries - - -
sentinel|primary - - -
sentinel|replicas - - -
sentinel|sentinels - - -
sentinel|slaves - - -
tfcall s n2 -
tfcallasync bs n2 -
ts.read rB 1 -
`

/**
 * Commands that change nothing on the server, though it flags them neither as reads nor as writes: the flag is about
 * keys. Not here: what resets, kills or loads, and `ACL LOG`, which can reset.
 */
export const changesNothing = `
acl|cat acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|users acl|whoami
backup|help backup|list backup|status
client|getname client|getredir client|help client|id client|info client|list client|trackinginfo
cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot cluster|help cluster|info cluster|keyslot
cluster|getslotmigrations cluster|links cluster|myid cluster|myshardid cluster|nodes cluster|replicas cluster|shards
cluster|slaves cluster|slot-stats cluster|slots commandlog|get commandlog|help commandlog|len
command command|count command|docs command|getkeys command|getkeysandflags command|help command|info command|list
config|get config|help echo function|dump function|help function|list function|stats hotkeys|get hotkeys|help info lastsave
latency|doctor latency|graph latency|help latency|histogram latency|history latency|latest
memory|doctor memory|help memory|malloc-stats memory|stats module|help module|list object|help ping
pubsub|channels pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub
role script|exists script|help script|show sentinel|ckquorum sentinel|get-master-addr-by-name sentinel|info-cache
sentinel|master sentinel|masters sentinel|myid sentinel|primaries sentinel|primary sentinel|replicas sentinel|sentinels
sentinel|slaves slowlog|get slowlog|help slowlog|len time xgroup|help xinfo|help
`

/**
 * Refused everywhere: they change how many replies come, or end the session under the other calls. By command, what to
 * do instead.
 */
export const neverSent: Readonly<Record<string, string>> = {
  subscribe: "Redis.subscribe does it, on a connection of its own",
  psubscribe: "Redis.psubscribe does it, on a connection of its own",
  ssubscribe: "Redis.ssubscribe does it, on a connection of its own",
  unsubscribe: "It ends with the stream of Redis.subscribe",
  punsubscribe: "It ends with the stream of Redis.psubscribe",
  sunsubscribe: "It ends with the stream of Redis.ssubscribe",
  monitor: "Its output never ends; use redis-cli for it",
  sync: "It is for replicas",
  psync: "It is for replicas",
  replconf: "It is for replicas",
  "cluster|syncslots": "It is for the servers of a cluster among themselves",
  "client|reply": "Use Redis.noreply",
  hello: "Use the options `protocol`, `username`, `password` and `name`",
  reset: "It would undo the handshake; to drop what a lease has set, close its scope",
  quit: "Close the scope of the connection or lease instead",
  "script|debug": "Use redis-cli --ldb for it"
}

/** Where a command of the second class may stand besides a lease. */
export interface LeaseOnly {
  readonly instead: string
  readonly onConnect: boolean
}

const leaseOnlyUnless = (instead: string): LeaseOnly => ({ instead, onConnect: false })

const leaseOrOnConnect = (instead: string): LeaseOnly => ({ instead, onConnect: true })

/** Refused except on a lease: they change the state of their connection, or speak of it. */
export const leaseOnly: Readonly<Record<string, LeaseOnly>> = {
  multi: leaseOnlyUnless("Use Redis.transaction, which sends MULTI and EXEC itself, or Redis.lease"),
  exec: leaseOnlyUnless("Use Redis.transaction, which sends MULTI and EXEC itself, or Redis.lease"),
  discard: leaseOnlyUnless("Use Redis.transaction, or Redis.lease"),
  watch: leaseOnlyUnless("Use Redis.watch, or Redis.lease"),
  unwatch: leaseOnlyUnless("Use Redis.watch, or Redis.lease"),
  select: leaseOnlyUnless("Use the option `database`, or Redis.lease"),
  auth: leaseOnlyUnless("Use the options `username` and `password`, or Redis.lease"),
  "client|tracking": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "client|caching": leaseOrOnConnect("Use Redis.lease"),
  "client|setname": leaseOrOnConnect("Use the option `name`, or Redis.lease"),
  "client|setinfo": leaseOrOnConnect("Use the options `libraryName` and `libraryVersion`, or Redis.lease"),
  "client|no-evict": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "client|no-touch": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "client|capa": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "client|import-source": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "client|maint_notifications": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  "himport|prepare": leaseOrOnConnect("Use the option `onConnect`, or Redis.lease for it and HIMPORT SET"),
  "himport|discard": leaseOrOnConnect("Use Redis.lease"),
  "himport|discardall": leaseOrOnConnect("Use Redis.lease"),
  readonly: leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  readwrite: leaseOrOnConnect("Use the option `onConnect`, or Redis.lease"),
  asking: leaseOrOnConnect("Use Redis.lease"),
  wait: leaseOnlyUnless("It speaks of the writes of its own connection: use Redis.lease for both"),
  waitaof: leaseOnlyUnless("It speaks of the writes of its own connection: use Redis.lease for both")
}

/** Commands that wait on the server although it does not flag them as blocking. */
export const blockingWithoutFlag: ReadonlyArray<string> = ["wait"]

/** Where a blocking command has its timeout, and in which unit. */
export type TimeoutPlace =
  | { readonly at: number; readonly unit: "seconds" | "millis" }
  | { readonly at: "last"; readonly unit: "seconds" | "millis" }
  | { readonly at: "BLOCK"; readonly unit: "millis" }

const lastSeconds: TimeoutPlace = { at: "last", unit: "seconds" }
const firstSeconds: TimeoutPlace = { at: 1, unit: "seconds" }
const lastMillis: TimeoutPlace = { at: "last", unit: "millis" }
const blockMillis: TimeoutPlace = { at: "BLOCK", unit: "millis" }

export const timeoutPlaces: Readonly<Record<string, TimeoutPlace>> = {
  blpop: lastSeconds,
  brpop: lastSeconds,
  blmove: lastSeconds,
  blmovem: { at: 5, unit: "seconds" },
  brpoplpush: lastSeconds,
  bzpopmin: lastSeconds,
  bzpopmax: lastSeconds,
  blmpop: firstSeconds,
  bzmpop: firstSeconds,
  xread: blockMillis,
  xreadgroup: blockMillis,
  "ts.read": blockMillis,
  wait: lastMillis,
  waitaof: lastMillis
}

/** The options of a command that blocks only with `BLOCK`, read as the server does so that no value is taken for an option. */
export interface BlockOption {
  /** The position of the first option. */
  readonly from: number
  /** How many values an option has, where it has any. */
  readonly values: ReadonlyMap<string, number>
}

const streamOptions: BlockOption = {
  from: 1,
  values: new Map([
    ["BLOCK", 1],
    ["COUNT", 1],
    ["CLAIM", 1],
    ["GROUP", 2],
    // Nothing after it is an option.
    ["STREAMS", Infinity]
  ])
}

export const blockOptions: Readonly<Record<string, BlockOption>> = {
  xread: streamOptions,
  xreadgroup: streamOptions,
  "ts.read": {
    from: 3,
    values: new Map([
      ["BLOCK", 2],
      ["MAX_COUNT", 1]
    ])
  }
}
