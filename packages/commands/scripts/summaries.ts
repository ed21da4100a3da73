/**
 * One sentence for a command, in our own words: `NAME | sentence`. It continues "`NAME`: ".
 */
const text = `
APPEND | adds text at the end of a string, which is made if it is not there; the new length.
DECR | takes 1 from a counter; the new value.
DECRBY | takes a number from a counter; the new value.
DELEX | deletes a string if a condition on its value holds; how many were deleted.
DIGEST | a digest of a string, for the conditions of \`SET\` and \`DELEX\`.
GET | the value of a string, or null.
GETDEL | the value of a string, which is deleted in the same step.
GETEX | the value of a string, whose lifetime is set or removed in the same step.
GETRANGE | a part of a string, by byte positions, both included; negative ones count from the end.
GETSET | sets a string and gives what it was.
INCR | adds 1 to a counter; the new value.
INCRBY | adds a number to a counter; the new value.
INCRBYFLOAT | adds a number with a fraction to a counter; the new value, as text with all its digits.
INCREX | adds to a counter within bounds, and sets its lifetime; the new value, and what was added.
LCS | the longest common subsequence of two strings: its text, its length, or where the parts are.
MGET | the values of several strings, null for each that is not there.
MSET | sets several strings in one step.
MSETEX | sets several strings in one step, with a lifetime and on a condition; 1 when they were set.
MSETNX | sets several strings, if none of them is there; 1 when they were set.
PSETEX | sets a string with a lifetime in milliseconds.
SET | sets a string: with a lifetime, on a condition, or giving what was there.
SETEX | sets a string with a lifetime in seconds.
SETNX | sets a string that is not there yet; 1 when it was set.
SETRANGE | overwrites a part of a string from a byte position on; the new length.
STRLEN | the length of a string in bytes, 0 where there is none.
SUBSTR | a part of a string: the old name of \`GETRANGE\`.
HDEL | deletes fields of a hash; how many were there.
HEXISTS | whether a hash has a field.
HEXPIRE | sets the lifetime of fields of a hash, in seconds; for each field 1 (set), 0 (condition not met), 2 (deleted at once) or -2 (no such field).
HEXPIREAT | sets when fields of a hash end, in seconds since 1970; see \`HEXPIRE\` for the results.
HEXPIRETIME | when fields of a hash end, in seconds since 1970; -1 for never, -2 for no such field.
HGET | the value of a field of a hash, or null.
HGETALL | all fields and values of a hash; empty where there is none.
HGETDEL | the values of fields of a hash, which are deleted in the same step.
HGETEX | the values of fields of a hash, whose lifetime is set or removed in the same step.
HINCRBY | adds a number to a field of a hash; the new value.
HINCRBYFLOAT | adds a number with a fraction to a field of a hash; the new value, as text with all its digits.
HKEYS | the names of all fields of a hash.
HLEN | how many fields a hash has.
HMGET | the values of several fields of a hash, null for each that is not there.
HMSET | sets fields of a hash: use \`HSET\`.
HPERSIST | removes the lifetime of fields of a hash; for each field 1 (removed), -1 (had none) or -2 (no such field).
HPEXPIRE | sets the lifetime of fields of a hash, in milliseconds; see \`HEXPIRE\` for the results.
HPEXPIREAT | sets when fields of a hash end, in milliseconds since 1970; see \`HEXPIRE\` for the results.
HPEXPIRETIME | when fields of a hash end, in milliseconds since 1970; -1 for never, -2 for no such field.
HPTTL | how long fields of a hash still live, in milliseconds; -1 for ever, -2 for no such field.
HRANDFIELD | a field of a hash at random, or several (with a negative count the same one may come twice).
HSCAN | one page of a hash's fields; \`Redis.hscan\` walks all of them.
HSET | sets fields of a hash; how many of them are new.
HSETEX | sets fields of a hash with a lifetime, on a condition; 1 when they were set.
HSETNX | sets a field of a hash that is not there yet; 1 when it was set.
HSTRLEN | the length of a field's value in bytes, 0 where there is none.
HTTL | how long fields of a hash still live, in seconds; -1 for ever, -2 for no such field.
HVALS | all values of a hash.
HIMPORT DISCARD | forgets a prepared set of field names.
HIMPORT DISCARDALL | forgets all prepared sets of field names.
HIMPORT PREPARE | names the fields of hashes that \`HIMPORT SET\` will fill.
HIMPORT SET | fills a hash from values alone, their fields being those of a prepared set.
BLMOVE | moves an element from the end of one list to the end of another, and waits until there is one; null when the time is over. (Timeouts are in seconds, 0 for ever.)
BLMOVEM | moves several elements from one list to another, and waits until there are some.
BLMPOP | takes elements from the first list that has any, and waits until one has; the key and its elements.
BLPOP | takes the first element of the first list that has any, and waits until one has; the key and the element, null when the time is over.
BRPOP | takes the last element of the first list that has any, and waits until one has; the key and the element, null when the time is over.
BRPOPLPUSH | moves the last element of one list to the head of another, and waits until there is one.
LINDEX | the element at a position of a list, or null; negative positions count from the end.
LINSERT | puts an element before or after another one; the new length, -1 when that one is not there.
LLEN | how many elements a list has.
LMOVE | moves an element from the end of one list to the end of another; the element, or null.
LMOVEM | moves several elements from one list to another; the elements, or null.
LMPOP | takes elements from the first list that has any; the key and its elements, or null.
LPOP | takes the first element of a list, or several; null where there is no list.
LPOS | the position of an element in a list, or with \`count\` the positions of several.
LPUSH | puts elements at the head of a list, one after the other; the new length.
LPUSHX | puts elements at the head of a list that is there; the new length, 0 when it is not.
LRANGE | elements of a list by positions, both included; negative ones count from the end.
LREM | removes equal elements: the first \`count\`, with a negative count the last, with 0 all; how many.
LSET | replaces the element at a position.
LTRIM | keeps the elements between two positions, both included, and removes the others.
RPOP | takes the last element of a list, or several; null where there is no list.
RPOPLPUSH | moves the last element of one list to the head of another: use \`LMOVE\`.
RPUSH | puts elements at the end of a list; the new length.
RPUSHX | puts elements at the end of a list that is there; the new length, 0 when it is not.
SADD | adds members to a set; how many are new.
SCARD | how many members a set has.
SDIFF | the members of the first set that no other one has.
SDIFFCARD | how many members the first set has that no other one has.
SDIFFSTORE | stores the members of the first set that no other one has; how many.
SINTER | the members that all the sets have.
SINTERCARD | how many members all the sets have in common, counted up to a limit.
SINTERSTORE | stores the members that all the sets have; how many.
SISMEMBER | whether a set has a member.
SMEMBERS | all members of a set; empty where there is none.
SMISMEMBER | for each of several members whether a set has it.
SMOVE | moves a member from one set to another; 1 when it was there.
SPOP | takes a member at random, or several.
SRANDMEMBER | a member at random, or several (with a negative count the same one may come twice).
SREM | removes members from a set; how many were there.
SSCAN | one page of a set's members; \`Redis.sscan\` walks all of them.
SUNION | the members that any of the sets has.
SUNIONCARD | how many members any of the sets has.
SUNIONSTORE | stores the members that any of the sets has; how many.
BZMPOP | takes members from the first sorted set that has any, and waits until one has.
BZPOPMAX | takes the member with the highest score of the first sorted set that has any, and waits until one has; key, member and score.
BZPOPMIN | takes the member with the lowest score of the first sorted set that has any, and waits until one has; key, member and score.
ZADD | adds members with their scores, or changes scores; how many are new (with \`ch\`: changed). With \`incr\` it adds to one score and gives it.
ZCARD | how many members a sorted set has.
ZCOUNT | how many members have a score between two bounds.
ZDIFF | the members of the first sorted set that no other one has.
ZDIFFSTORE | stores the members of the first sorted set that no other one has; how many.
ZINCRBY | adds to the score of a member, which is added if it is not there; the new score.
ZINTER | the members that all the sorted sets have, with scores put together.
ZINTERCARD | how many members all the sorted sets have in common, counted up to a limit.
ZINTERSTORE | stores the members that all the sorted sets have; how many.
ZLEXCOUNT | how many members are between two others, where all have the same score.
ZMPOP | takes the members with the lowest or highest scores from the first sorted set that has any.
ZMSCORE | the scores of several members, null for each that is not there.
ZPOPMAX | takes the member with the highest score, or several, the highest first.
ZPOPMIN | takes the member with the lowest score, or several, the lowest first.
ZRANDMEMBER | a member at random, or several (with a negative count the same one may come twice).
ZRANGE | members between two positions, scores or names, both included unless the bound says otherwise.
ZRANGEBYLEX | members between two names: use \`ZRANGE\` with \`byLex\`.
ZRANGEBYSCORE | members between two scores: use \`ZRANGE\` with \`byScore\`.
ZRANGESTORE | stores members between two positions, scores or names; how many.
ZRANK | the position of a member, the lowest score first; null when it is not there.
ZREM | removes members; how many were there.
ZREMRANGEBYLEX | removes members between two names; how many.
ZREMRANGEBYRANK | removes members between two positions; how many.
ZREMRANGEBYSCORE | removes members between two scores; how many.
ZREVRANGE | members between two positions, the highest first: use \`ZRANGE\` with \`rev\`.
ZREVRANGEBYLEX | members between two names, the last first: use \`ZRANGE\` with \`byLex\` and \`rev\`.
ZREVRANGEBYSCORE | members between two scores, the highest first: use \`ZRANGE\` with \`byScore\` and \`rev\`.
ZREVRANK | the position of a member, the highest score first; null when it is not there.
ZSCAN | one page of a sorted set's members; \`Redis.zscan\` walks all of them.
ZSCORE | the score of a member, or null.
ZUNION | the members that any of the sorted sets has, with scores put together.
ZUNIONSTORE | stores the members that any of the sorted sets has; how many.
XACK | acknowledges entries of a group; how many were pending.
XACKDEL | acknowledges entries and deletes them; for each 1 (deleted), -1 (not there) or 2 (acknowledged, and kept for other groups).
XADD | adds an entry to a stream (\`"*"\` lets the server choose its id), and trims the stream; the id.
XAUTOCLAIM | takes over entries that have been pending for long, page by page: where to go on, the entries, and ids that were deleted.
XCFGSET | changes how long and how many producer ids a stream remembers.
XCLAIM | takes over pending entries by their ids; the entries, or with \`justId\` their ids.
XDEL | deletes entries; how many were there.
XDELEX | deletes entries with regard to the groups that refer to them; see \`XACKDEL\` for the results.
XGROUP CREATE | makes a group of consumers that reads from an id on (\`"$"\`: from now on).
XGROUP CREATECONSUMER | makes a consumer; 1 when it is new.
XGROUP DELCONSUMER | deletes a consumer; how many entries it had pending.
XGROUP DESTROY | deletes a group; 1 when it was there.
XGROUP SETID | sets from which id on a group reads.
XIDMPRECORD | notes a producer's id for an entry, so that it is not added twice.
XINFO CONSUMERS | the consumers of a group.
XINFO GROUPS | the groups of a stream.
XINFO STREAM | what is known of a stream; with \`full\` its entries and groups, too.
XLEN | how many entries a stream has.
XNACK | gives pending entries back to their group; how many.
XPENDING | how many entries of a group are pending, and with whom; with \`range\` which ones.
XRANGE | entries between two ids, the oldest first (\`"-"\` and \`"+"\` for the ends).
XREAD | entries of streams after an id each, and with \`block\` waits for new ones (\`"$"\`); null when there are none.
XREADGROUP | entries of streams for a consumer of a group (\`">"\`: new ones), which are pending until \`XACK\`; null when there are none.
XREVRANGE | entries between two ids, the newest first.
XSETID | sets the last id of a stream: for replication and repair.
XTRIM | removes old entries down to a number or an id; how many.
BITCOUNT | how many bits are set in a string, or in a part of it.
BITFIELD | reads, sets and increments integers of any width in a string, one operation after the other.
BITFIELD_RO | reads integers of any width in a string.
BITOP | stores a bitwise combination of strings; its length.
BITPOS | the position of the first bit that is 0 or 1; -1 when there is none.
GETBIT | one bit of a string.
SETBIT | sets one bit of a string; what it was.
PFADD | adds elements to a HyperLogLog; 1 when its estimate may have changed.
PFCOUNT | about how many different elements HyperLogLogs have seen together.
PFMERGE | stores the union of HyperLogLogs.
GEOADD | adds places with their longitudes and latitudes; how many are new.
GEODIST | the distance of two places, or null.
GEOHASH | the geohashes of places, null for each that is not there.
GEOPOS | the positions of places, null for each that is not there.
GEORADIUS | places around a position: use \`GEOSEARCH\`.
GEORADIUSBYMEMBER | places around another one: use \`GEOSEARCH\`.
GEORADIUSBYMEMBER_RO | places around another one: use \`GEOSEARCH\`.
GEORADIUS_RO | places around a position: use \`GEOSEARCH\`.
GEOSEARCH | places within a circle or a box, around a place or a position; with distances, hashes or positions.
GEOSEARCHSTORE | stores places within a circle or a box; how many.
COPY | copies a key; 1 when it was copied.
DEL | deletes keys; how many were there.
DUMP | a key's value in the server's own form, for \`RESTORE\`; bytes: ask with \`decode: "bytes"\`.
EXISTS | how many of the keys are there; one that is named twice counts twice.
EXPIRE | sets the lifetime of a key, in seconds; 1 when it was set.
EXPIREAT | sets when a key ends, in seconds since 1970; 1 when it was set.
EXPIRETIME | when a key ends, in seconds since 1970; -1 for never, -2 for no such key.
KEYS | all keys that match a pattern: it holds up the server; \`Redis.scan\` does not.
MIGRATE | moves keys to another server.
MOVE | moves a key to another database; 1 when it was moved.
OBJECT ENCODING | how the server keeps a value.
OBJECT FREQ | how often a key is used, as the server estimates it.
OBJECT IDLETIME | for how long a key was not used, in seconds.
OBJECT REFCOUNT | how many references a value has.
PERSIST | removes the lifetime of a key; 1 when it had one.
PEXPIRE | sets the lifetime of a key, in milliseconds; 1 when it was set.
PEXPIREAT | sets when a key ends, in milliseconds since 1970; 1 when it was set.
PEXPIRETIME | when a key ends, in milliseconds since 1970; -1 for never, -2 for no such key.
PTTL | how long a key still lives, in milliseconds; -1 for ever, -2 for no such key.
RANDOMKEY | a key at random, or null.
RENAME | renames a key, and replaces the one that has the name.
RENAMENX | renames a key, unless one has the name; 1 when it was renamed.
RESTORE | makes a key from what \`DUMP\` gave.
SCAN | one page of the keys; \`Redis.scan\` walks all of them.
SORT | the elements of a list, set or sorted set in order, also by other keys; with \`store\` how many were stored.
SORT_RO | as \`SORT\`, and stores nothing.
TOUCH | marks keys as used; how many are there.
TTL | how long a key still lives, in seconds; -1 for ever, -2 for no such key.
TYPE | the type of a key, \`"none"\` where there is none.
UNLINK | deletes keys, and frees their memory in the background; how many were there.
WAIT | waits until replicas have the writes of this connection; how many have them.
WAITAOF | waits until the writes of this connection are on disk, here and on replicas.
PUBLISH | sends a message to a channel; how many received it.
SPUBLISH | sends a message to a shard channel; how many received it.
PUBSUB CHANNELS | the channels that have subscribers.
PUBSUB NUMPAT | how many patterns are subscribed to.
PUBSUB NUMSUB | how many subscribers each of the channels has.
PUBSUB SHARDCHANNELS | the shard channels that have subscribers.
PUBSUB SHARDNUMSUB | how many subscribers each of the shard channels has.
EVAL | runs a Lua script; \`Redis.script\` sends it by its digest.
EVALSHA | runs a Lua script that the server has, by its digest.
EVALSHA_RO | runs a Lua script by its digest, which may only read.
EVAL_RO | runs a Lua script, which may only read.
FCALL | calls a function of a library.
FCALL_RO | calls a function of a library, which may only read.
FUNCTION DELETE | deletes a library.
FUNCTION DUMP | all libraries in the server's own form, for \`FUNCTION RESTORE\`; bytes: ask with \`decode: "bytes"\`.
FUNCTION FLUSH | deletes all libraries.
FUNCTION KILL | ends the function that runs, if it has not written.
FUNCTION LIST | the libraries and their functions.
FUNCTION LOAD | loads a library; its name.
FUNCTION RESTORE | loads what \`FUNCTION DUMP\` gave.
FUNCTION STATS | which function runs, and how many there are for each engine.
SCRIPT EXISTS | for each digest whether the server has the script.
SCRIPT FLUSH | forgets all scripts.
SCRIPT KILL | ends the script that runs, if it has not written.
SCRIPT LOAD | loads a script; its digest.
SCRIPT SHOW | the text of a script, by its digest.
DISCARD | drops the commands that were queued since \`MULTI\`.
EXEC | runs the commands that were queued since \`MULTI\`: use \`Redis.transaction\`.
MULTI | begins a transaction: use \`Redis.transaction\`.
UNWATCH | watches no key any more.
WATCH | makes the next transaction depend on keys: use \`Redis.watch\`.
AUTH | signs the connection in.
CLIENT CACHING | says whether the next command's keys are tracked.
CLIENT CAPA | tells the server what the client can do.
CLIENT GETNAME | the name of the connection, or null.
CLIENT GETREDIR | to which client notices of tracked keys go; -1 when nothing is tracked.
CLIENT ID | the number of the connection.
CLIENT INFO | what the server knows of the connection, as text.
CLIENT KILL | closes connections, by an address or by filters; how many.
CLIENT LIST | what the server knows of its connections, as text.
CLIENT NO-EVICT | keeps the connection from being closed for want of memory.
CLIENT NO-TOUCH | keeps the connection's commands from marking keys as used.
CLIENT PAUSE | holds up commands of clients, all or those that write, for milliseconds.
CLIENT SETINFO | names the client's library or its version.
CLIENT SETNAME | names the connection.
CLIENT TRACKING | has the server tell of keys that change.
CLIENT TRACKINGINFO | how the connection tracks keys.
CLIENT UNBLOCK | ends the wait of a blocked client; 1 when it was blocked.
CLIENT UNPAUSE | ends \`CLIENT PAUSE\`.
ECHO | gives its argument back.
PING | \`"PONG"\`, or its argument.
SELECT | changes the database of the connection.
ACL CAT | the categories of commands, or the commands of one.
ACL DELUSER | deletes users; how many.
ACL DRYRUN | whether a user may run a command: \`"OK"\`, or why not.
ACL GENPASS | a new password.
ACL GETUSER | the rules of a user, or null.
ACL LIST | the rules of all users, as text.
ACL LOAD | reads the users from their file again.
ACL LOG | what was refused of late.
ACL SAVE | writes the users to their file.
ACL SETUSER | makes a user, or changes its rules.
ACL USERS | the names of all users.
ACL WHOAMI | the name of the connection's user.
BGREWRITEAOF | begins to write the append-only file anew.
BGSAVE | begins to save a snapshot in the background.
COMMAND | what the server knows of all its commands.
COMMAND COUNT | how many commands the server has.
COMMAND DOCS | what the server says of commands: since when, how long they take, their arguments.
COMMAND GETKEYS | the keys of a command line.
COMMAND GETKEYSANDFLAGS | the keys of a command line, and what is done with each.
COMMAND INFO | what the server knows of commands, null for each that it does not know.
COMMAND LIST | the names of the server's commands.
CONFIG GET | settings of the server whose names match.
CONFIG RESETSTAT | sets the server's counters back.
CONFIG REWRITE | writes the settings to their file.
CONFIG SET | changes settings of the server.
DBSIZE | how many keys the database has.
FAILOVER | hands the role of the primary to a replica.
FLUSHALL | deletes all keys of all databases.
FLUSHDB | deletes all keys of the database.
HOTKEYS GET | what was found of keys that are used much.
HOTKEYS RESET | forgets what was found.
HOTKEYS START | begins to look for keys that are used much.
HOTKEYS STOP | ends the look for keys that are used much.
INFO | what the server knows of itself, as text by sections.
LASTSAVE | when the last snapshot was saved, in seconds since 1970.
LATENCY DOCTOR | what the server thinks of its slow events, as text.
LATENCY GRAPH | how slow an event was over time, as a drawing in text.
LATENCY HISTOGRAM | how long commands took.
LATENCY HISTORY | when an event was slow, and for how many milliseconds.
LATENCY LATEST | the events that were slow: name, time, milliseconds, and the most milliseconds.
LATENCY RESET | forgets slow events; how many.
LOLWUT | a drawing, and the version of the server.
MEMORY DOCTOR | what the server thinks of its memory, as text.
MEMORY MALLOC-STATS | what the allocator says of itself, as text.
MEMORY PURGE | asks the allocator to give memory back.
MEMORY STATS | what the server's memory is used for.
MEMORY USAGE | how many bytes a key takes, or null.
MODULE LIST | the modules of the server.
MODULE LOAD | loads a module.
MODULE LOADEX | loads a module with settings of its own.
MODULE UNLOAD | unloads a module.
REPLICAOF | makes the server a replica of another; \`("NO", "ONE")\` makes it a primary.
ROLE | what the server is among others: primary, replica or Sentinel.
SAVE | saves a snapshot, and holds up the server until that is done.
SHUTDOWN | ends the server.
SLAVEOF | the old name of \`REPLICAOF\`.
SLOWLOG GET | the slowest commands of late.
SLOWLOG LEN | how many slow commands are noted.
SLOWLOG RESET | forgets the slow commands.
SWAPDB | swaps two databases.
TIME | the server's clock: seconds since 1970, and microseconds, as text.
BACKUP ABORT | ends a backup that is under way.
BACKUP CLEANUP | removes what a backup has left.
BACKUP LIST | the backups that there are.
BACKUP SEAL | finishes a backup.
BACKUP START | begins a backup.
BACKUP STATUS | how far a backup is.
ASKING | lets the next command use a slot that is being imported.
CLUSTER ADDSLOTS | gives slots to the node.
CLUSTER ADDSLOTSRANGE | gives ranges of slots to the node.
CLUSTER BUMPEPOCH | raises the configuration epoch.
CLUSTER COUNT-FAILURE-REPORTS | how many nodes report another one as failing.
CLUSTER COUNTKEYSINSLOT | how many keys of a slot the node has.
CLUSTER DELSLOTS | takes slots from the node.
CLUSTER DELSLOTSRANGE | takes ranges of slots from the node.
CLUSTER FAILOVER | makes the replica a primary.
CLUSTER FLUSHSLOTS | takes all slots from the node.
CLUSTER FORGET | forgets a node.
CLUSTER GETKEYSINSLOT | keys of a slot that the node has.
CLUSTER INFO | the state of the cluster, as text.
CLUSTER KEYSLOT | the slot of a key.
CLUSTER LINKS | the node's links to others.
CLUSTER MEET | brings a node into the cluster.
CLUSTER MIGRATION | begins, cancels or looks at a migration of slots.
CLUSTER MYID | the id of the node.
CLUSTER MYSHARDID | the id of the node's shard.
CLUSTER NODES | the nodes of the cluster, as text.
CLUSTER REPLICAS | the replicas of a primary, as text.
CLUSTER REPLICATE | makes the node a replica.
CLUSTER RESET | makes the node forget the cluster.
CLUSTER SAVECONFIG | writes the node's state of the cluster to its file.
CLUSTER SET-CONFIG-EPOCH | sets the configuration epoch of a new node.
CLUSTER SETSLOT | says to which node a slot belongs, or moves.
CLUSTER SHARDS | the shards, their slots and their nodes.
CLUSTER SLAVES | the old name of \`CLUSTER REPLICAS\`.
CLUSTER SLOT-STATS | how slots are used.
CLUSTER SLOTS | the ranges of slots and their nodes.
READONLY | lets the connection read from a replica of a cluster.
READWRITE | ends \`READONLY\`.
ARCOUNT | how many elements of an array are there.
ARDEL | deletes elements by their indexes; how many.
ARDELRANGE | deletes elements by ranges of indexes; how many.
ARGET | the element at an index, or null.
ARGETRANGE | the elements between two indexes, null for each that is not there.
ARGREP | the indexes of elements that match; with \`withValues\` the elements, too.
ARINFO | what is known of an array.
ARINSERT | puts elements at the array's insertion point; the last index.
ARLASTITEMS | the elements that were inserted last.
ARLEN | the length of an array: its highest index and one.
ARMGET | the elements at several indexes, null for each that is not there.
ARMSET | sets elements at several indexes; how many are new.
ARNEXT | the index at which the next element is inserted.
AROP | one number out of a range of elements.
ARRING | inserts elements into a ring of a fixed size; the last index.
ARSCAN | the elements between two indexes that are there, with their indexes.
ARSEEK | moves the array's insertion point.
ARSET | sets elements from an index on; how many are new.
VADD | adds an element with its vector; whether it is new.
VCARD | how many elements a vector set has.
VDIM | how many dimensions the vectors have.
VEMB | the vector of an element; with \`raw\` as the server keeps it.
VGETATTR | the attributes of an element, as JSON text, or null.
VINFO | what is known of a vector set, or null.
VISMEMBER | whether a vector set has an element.
VLINKS | the neighbours of an element, for each layer of the graph.
VRANDMEMBER | an element at random, or several.
VRANGE | elements between two names.
VREM | removes an element; whether it was there.
VSETATTR | sets the attributes of an element, as JSON text; whether it is there.
VSIM | the elements that are most similar to an element or a vector.
JSON.ARRAPPEND | adds values at the end of arrays; the new lengths.
JSON.ARRINDEX | where a value is in arrays, -1 when it is in none.
JSON.ARRINSERT | puts values into arrays; the new lengths.
JSON.ARRLEN | the lengths of arrays.
JSON.ARRPOP | takes an element of arrays, the last one unless an index is given; as JSON text.
JSON.ARRTRIM | keeps a part of arrays; the new lengths.
JSON.CLEAR | empties arrays and objects, and sets numbers to 0; how many.
JSON.DEBUG | how much memory values take.
JSON.DEL | deletes values; how many.
JSON.FORGET | deletes values: the other name of \`JSON.DEL\`.
JSON.GET | values as JSON text: with a path that begins with \`$\` an array of what matches.
JSON.MERGE | merges a value into another one.
JSON.MGET | values of several documents as JSON text, null for each that is not there.
JSON.MSET | sets values of several documents in one step.
JSON.NUMINCRBY | adds to numbers; the new values.
JSON.NUMMULTBY | multiplies numbers; the new values.
JSON.NUMPOWBY | raises numbers to a power; the new values.
JSON.OBJKEYS | the names in objects.
JSON.OBJLEN | how many names objects have.
JSON.RESP | values as the protocol's own types.
JSON.SET | sets a value, given as JSON text, on a condition.
JSON.STRAPPEND | adds text at the end of strings; the new lengths.
JSON.STRLEN | the lengths of strings.
JSON.TOGGLE | changes true to false and false to true; the new values.
JSON.TYPE | the types of values.
FT._LIST | the names of all indexes.
FT.AGGREGATE | searches, and sends what was found through steps in their order: groups, sorts, computes.
FT.ALIASADD | gives an index another name.
FT.ALIASDEL | takes another name from an index.
FT.ALIASLIST | the other names of an index.
FT.ALIASUPDATE | moves another name to an index.
FT.ALTER | adds fields to an index.
FT.CONFIG GET | settings of the search module.
FT.CONFIG HELP | what a setting of the search module means.
FT.CONFIG SET | changes a setting of the search module.
FT.CREATE | makes an index over hashes or JSON documents.
FT.CURSOR DEL | closes a cursor.
FT.CURSOR READ | the next rows of a cursor, and the cursor to go on with (0 at the end).
FT.DICTADD | adds terms to a dictionary; how many are new.
FT.DICTDEL | removes terms from a dictionary; how many were there.
FT.DICTDUMP | the terms of a dictionary.
FT.DROPINDEX | deletes an index; with \`dd\` its documents, too.
FT.EXPLAIN | how a query is understood, as text.
FT.EXPLAINCLI | how a query is understood, as lines.
FT.HYBRID | searches by text and by vector at once; the clauses are given word by word.
FT.INFO | what is known of an index.
FT.PROFILE | runs a query, and says how long its parts took.
FT.SEARCH | the documents that match a query.
FT.SPELLCHECK | for each misspelt term of a query what it may mean.
FT.SUGADD | adds a suggestion with its score; how many there are.
FT.SUGDEL | removes a suggestion; 1 when it was there.
FT.SUGGET | the suggestions that begin with a prefix.
FT.SUGLEN | how many suggestions there are.
FT.SYNDUMP | the groups of synonyms that each term is in.
FT.SYNUPDATE | makes a group of synonyms, or adds to it.
FT.TAGVALS | all values of a tag field.
TS.ADD | adds a sample (\`"*"\`: now) to a series, which is made if it is not there; its time.
TS.ALTER | changes the settings of a series.
TS.CREATE | makes a series.
TS.CREATERULE | has a series aggregated into another one.
TS.DECRBY | takes from the last value, as a new sample; its time.
TS.DEL | deletes samples between two times; how many.
TS.DELETERULE | ends the aggregation of a series into another one.
TS.GET | the last sample of a series, or null.
TS.INCRBY | adds to the last value, as a new sample; its time.
TS.INFO | what is known of a series.
TS.MADD | adds samples to several series; for each its time, or an error.
TS.MGET | the last samples of all series whose labels match.
TS.MRANGE | samples between two times of all series whose labels match, the oldest first.
TS.MREVRANGE | samples between two times of all series whose labels match, the newest first.
TS.NRANGE | samples between two times of several series side by side, the oldest first.
TS.NREVRANGE | samples between two times of several series side by side, the newest first.
TS.QUERYINDEX | the keys of all series whose labels match.
TS.QUERYLABELS | the labels that there are, or the values of one.
TS.RANGE | samples between two times, the oldest first; aggregated where that is asked for.
TS.READ | samples after a time, and waits for new ones.
TS.REVRANGE | samples between two times, the newest first; aggregated where that is asked for.
BF.ADD | adds an item to a Bloom filter; false when it was probably there.
BF.CARD | how many items were added to a Bloom filter.
BF.EXISTS | whether an item is probably in a Bloom filter; false is certain.
BF.INFO | what is known of a Bloom filter, or one number of it.
BF.INSERT | adds items to a Bloom filter, which is made if it is not there.
BF.LOADCHUNK | loads a part of what \`BF.SCANDUMP\` gave.
BF.MADD | adds items to a Bloom filter.
BF.MEXISTS | for each item whether it is probably in a Bloom filter.
BF.RESERVE | makes a Bloom filter with an error rate and a capacity.
BF.SCANDUMP | a part of a Bloom filter, and where to go on (0 at the end); bytes: ask with \`decode: "bytes"\`.
CF.ADD | adds an item to a cuckoo filter.
CF.ADDNX | adds an item to a cuckoo filter, unless it is probably there.
CF.COMPACT | makes a cuckoo filter smaller.
CF.COUNT | about how many times an item is in a cuckoo filter.
CF.DEL | removes an item once; whether it was there.
CF.EXISTS | whether an item is probably in a cuckoo filter; false is certain.
CF.INFO | what is known of a cuckoo filter.
CF.INSERT | adds items to a cuckoo filter, which is made if it is not there; -1 when it is full.
CF.INSERTNX | adds items that are probably not there yet; -1 when the filter is full.
CF.LOADCHUNK | loads a part of what \`CF.SCANDUMP\` gave.
CF.MEXISTS | for each item whether it is probably in a cuckoo filter.
CF.RESERVE | makes a cuckoo filter with a capacity.
CF.SCANDUMP | a part of a cuckoo filter, and where to go on (0 at the end); bytes: ask with \`decode: "bytes"\`.
CMS.INCRBY | counts items in a count-min sketch; their new estimates.
CMS.INFO | what is known of a count-min sketch.
CMS.INITBYDIM | makes a count-min sketch of a width and a depth.
CMS.INITBYPROB | makes a count-min sketch by its error.
CMS.MERGE | stores the sum of count-min sketches.
CMS.QUERY | about how often items were counted.
TDIGEST.ADD | adds values to a t-digest.
TDIGEST.BYRANK | the values at ranks, the lowest at 0.
TDIGEST.BYREVRANK | the values at ranks, the highest at 0.
TDIGEST.CDF | for each value what part of all is at most as high.
TDIGEST.CREATE | makes a t-digest.
TDIGEST.INFO | what is known of a t-digest.
TDIGEST.MAX | the highest value, \`NaN\` where there is none.
TDIGEST.MERGE | stores the values of several t-digests together.
TDIGEST.MIN | the lowest value, \`NaN\` where there is none.
TDIGEST.QUANTILE | the values at quantiles: 0.5 is the median.
TDIGEST.RANK | the ranks of values, the lowest at 0.
TDIGEST.RESET | empties a t-digest.
TDIGEST.REVRANK | the ranks of values, the highest at 0.
TDIGEST.TRIMMED_MEAN | the mean of the values between two quantiles.
TOPK.ADD | counts items; for each the one that it drove out of the list, or null.
TOPK.COUNT | about how often items were counted.
TOPK.INCRBY | counts items several times; for each the one that it drove out of the list, or null.
TOPK.INFO | what is known of a top-k list.
TOPK.LIST | the items that were counted most.
TOPK.QUERY | for each item whether it is among those that were counted most.
TOPK.RESERVE | makes a list of the items that are counted most.
`

export const summaries: Readonly<Record<string, string>> = Object.fromEntries(
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const at = line.indexOf(" | ")
      return [line.slice(0, at), line.slice(at + 3)]
    })
)
