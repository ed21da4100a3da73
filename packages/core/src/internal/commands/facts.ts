/**
 * What is known of commands beyond `commandTableData.ts`, kept by hand: commands of newer servers, which commands change
 * nothing although their server does not say so, which are refused and what to use instead, and where a blocking command
 * has its timeout.
 */

/**
 * Commands that the server of the generated table does not know, in the form of that table. It wins where both have one.
 * Redis 7.2, 7.4, 8.0, 8.2, 8.4 with its modules, and Valkey 8 and 9.
 */
export const newerCommands = `
client|capa - -
client|import-source - -
client|no-touch - -
client|setinfo - -
cluster|cancelslotmigrations - -
cluster|flushslot - -
cluster|getslotmigrations r -
cluster|migrateslots - -
cluster|migration - -
cluster|myshardid r -
cluster|slot-stats r -
commandlog - -
commandlog|get r -
commandlog|help r -
commandlog|len r -
commandlog|reset - -
delex - 1
delifeq - 1
digest r 1
hexpire - 1
hexpireat - 1
hexpiretime r 1
hgetdel - 1
hgetex - 1
hpersist - 1
hpexpire - 1
hpexpireat - 1
hpexpiretime r 1
hpttl r 1
hsetex - 1
httl r 1
msetex - n1
script|show r -
sentinel - -
vadd - 1
vcard r 1
vdim r 1
vemb r 1
vgetattr r 1
vinfo r 1
vismember r 1
vlinks r 1
vrandmember r 1
vrange r 1
vrem - 1
vsetattr - 1
vsim r 1
waitaof b -
xackdel - 1
xdelex - 1
bf.card r 1
bf.exists r 1
bf.info r 1
bf.mexists r 1
bf.scandump r 1
cf.count r 1
cf.exists r 1
cf.info r 1
cf.mexists r 1
cf.scandump r 1
cms.info r 1
cms.query r 1
ft._list r -
ft.explain r -
ft.info r -
ft.search r -
json.arrindex r 1
json.arrlen r 1
json.get r 1
json.mget r 1
json.objkeys r 1
json.objlen r 1
json.resp r 1
json.strlen r 1
json.type r 1
tdigest.byrank r 1
tdigest.byrevrank r 1
tdigest.cdf r 1
tdigest.info r 1
tdigest.max r 1
tdigest.min r 1
tdigest.quantile r 1
tdigest.rank r 1
tdigest.revrank r 1
tdigest.trimmed_mean r 1
topk.info r 1
topk.list r 1
topk.query r 1
ts.get r 1
ts.info r 1
ts.mget r -
ts.mrange r -
ts.mrevrange r -
ts.queryindex r -
ts.range r 1
ts.revrange r 1
`

/**
 * Commands that change nothing on the server, though it flags them neither as reads nor as writes: the flag is about
 * keys. Not here: what resets, kills or loads, and `ACL LOG`, which can reset.
 */
export const changesNothing = `
acl|cat acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|users acl|whoami
client|getname client|getredir client|help client|id client|info client|list client|trackinginfo
cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot cluster|help cluster|info cluster|keyslot
cluster|links cluster|myid cluster|nodes cluster|replicas cluster|shards cluster|slaves cluster|slots
command command|count command|docs command|getkeys command|getkeysandflags command|help command|info command|list
config|get config|help echo function|dump function|help function|list function|stats info lastsave
latency|doctor latency|graph latency|help latency|histogram latency|history latency|latest
memory|doctor memory|help memory|malloc-stats memory|stats module|help module|list object|help ping
pubsub|channels pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub
role script|exists script|help slowlog|get slowlog|help slowlog|len time xgroup|help xinfo|help
`

/**
 * Refused everywhere: they change how many replies come, or end the session under the other calls. By command, what to
 * do instead.
 */
export const neverSent: Readonly<Record<string, string>> = {
  subscribe: "Redis.subscribe is to do it, and is not part of this version yet",
  psubscribe: "Redis.psubscribe is to do it, and is not part of this version yet",
  ssubscribe: "Redis.ssubscribe is to do it, and is not part of this version yet",
  unsubscribe: "It ends with the stream of Redis.subscribe, which is not part of this version yet",
  punsubscribe: "It ends with the stream of Redis.psubscribe, which is not part of this version yet",
  sunsubscribe: "It ends with the stream of Redis.ssubscribe, which is not part of this version yet",
  monitor: "Its output never ends; use redis-cli for it",
  sync: "It is for replicas",
  psync: "It is for replicas",
  replconf: "It is for replicas",
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
  | { readonly at: "first" | "last"; readonly unit: "seconds" | "millis" }
  | { readonly at: "BLOCK"; readonly unit: "millis" }

const lastSeconds: TimeoutPlace = { at: "last", unit: "seconds" }
const firstSeconds: TimeoutPlace = { at: "first", unit: "seconds" }
const lastMillis: TimeoutPlace = { at: "last", unit: "millis" }
const blockMillis: TimeoutPlace = { at: "BLOCK", unit: "millis" }

export const timeoutPlaces: Readonly<Record<string, TimeoutPlace>> = {
  blpop: lastSeconds,
  brpop: lastSeconds,
  blmove: lastSeconds,
  brpoplpush: lastSeconds,
  bzpopmin: lastSeconds,
  bzpopmax: lastSeconds,
  blmpop: firstSeconds,
  bzmpop: firstSeconds,
  xread: blockMillis,
  xreadgroup: blockMillis,
  wait: lastMillis,
  waitaof: lastMillis
}
