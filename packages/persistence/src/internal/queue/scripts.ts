/**
 * The scripts of a queue. Its keys and their contents are those of Effect's own store, which may work on them, too:
 *
 * - `<name>` a list of payloads, `{"id":…,"element":…}`, that may be taken · `:delayed` payloads by the time when they may be
 * - `:pending` id to payload of what is taken · `:owners` id to the lock of its taker, a key that expires with its taker
 * - `:attempts` id to how often it was taken · `:ids` ids that were offered before, by when they were completed, or `+inf`
 * - `:failed` a list of what failed for good, with why and when
 *
 * Time is the server's.
 *
 * @internal
 */
import { prepare } from "../script.ts"

export interface QueueKeys {
  readonly queue: string
  readonly delayed: string
  readonly pending: string
  readonly owners: string
  readonly attempts: string
  readonly ids: string
  readonly failed: string
}

export const keysOf = (prefix: string, name: string): QueueKeys => {
  const queue = `${prefix}${name}`
  return {
    queue,
    delayed: `${queue}:delayed`,
    pending: `${queue}:pending`,
    owners: `${queue}:owners`,
    attempts: `${queue}:attempts`,
    ids: `${queue}:ids`,
    failed: `${queue}:failed`
  }
}

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Only the id is decoded: an element may hold what the server's JSON does not take. */
const idOf = `
local function idOf(payload)
  if string.sub(payload, 1, 7) ~= '{"id":"' then return nil end
  local from = 8
  while true do
    local at = string.find(payload, '["\\\\]', from)
    if not at then return nil end
    if string.byte(payload, at) == 34 then
      local ok, decoded = pcall(cjson.decode, '[' .. string.sub(payload, 7, at) .. ']')
      return ok and decoded[1] or nil
    end
    from = at + 2
  end
end
`

/** KEYS queue delayed ids · ARGV payload, milliseconds of delay, id where it was given by the caller. */
export const offer = prepare(`
local queue, delayed, ids = unpack(KEYS)
local payload, delay, id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
${now}
if id and redis.call('ZADD', ids, 'NX', '+inf', id) == 0 then return 0 end
if delay > 0 then
  redis.call('ZADD', delayed, now + delay, payload)
else
  redis.call('RPUSH', queue, payload)
end
return 1
`)

/**
 * KEYS queue delayed pending owners attempts failed · ARGV prefix of the locks, how many, milliseconds until the locks expire.
 * Returns in how many milliseconds the next delayed element is due (-1 for none), and for each that was taken its payload, its
 * attempt and its lock. What has no id, nobody can take: it goes to the failed ones as it is.
 */
export const take = prepare(`
local queue, delayed, pending, owners, attempts, failed = unpack(KEYS)
local locks, count, expiration = ARGV[1], tonumber(ARGV[2]), ARGV[3]
${now}${idOf}
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', delayed, payload)
  redis.call('RPUSH', queue, payload)
end
local taken = {}
while #taken < 3 * count do
  local payload = redis.call('LPOP', queue)
  if not payload then break end
  local id = idOf(payload)
  if id then
    local lock = locks .. #taken
    redis.call('SET', lock, 1, 'PX', expiration)
    redis.call('HSET', owners, id, lock)
    redis.call('HSET', pending, id, payload)
    local attempt = redis.call('HINCRBY', attempts, id, 1)
    taken[#taken + 1] = payload
    taken[#taken + 1] = attempt
    taken[#taken + 1] = lock
  else
    redis.call('RPUSH', failed, payload)
  end
end
local due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
return {due and math.max(0, math.ceil(due - now)) or -1, taken}
`)

/**
 * Ends a claim, if it is still its taker's. KEYS queue delayed pending owners attempts ids failed, lock · ARGV id, how it ends:
 * `complete`, `release` (as if it had not been taken), `retry` or `fail`, the payload or the failed record without its end, and
 * milliseconds of delay.
 */
export const settle = prepare(`
local queue, delayed, pending, owners, attempts, ids, failed, lock = unpack(KEYS)
local id, how, payload, delay = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HGET', owners, id) ~= lock then return 0 end
${now}
redis.call('HDEL', owners, id)
redis.call('HDEL', pending, id)
redis.call('DEL', lock)
if how == 'complete' then
  redis.call('HDEL', attempts, id)
  redis.call('ZADD', ids, 'XX', now, id)
elseif how == 'release' then
  if redis.call('HINCRBY', attempts, id, -1) <= 0 then redis.call('HDEL', attempts, id) end
  redis.call('RPUSH', queue, payload)
elseif how == 'retry' then
  redis.call('ZADD', delayed, now + delay, payload)
else
  redis.call('HDEL', attempts, id)
  redis.call('RPUSH', failed, payload .. ',"failedAt":' .. string.format('%.0f', now) .. '}')
  redis.call('ZADD', ids, 'XX', '+inf', id)
end
return 1
`)

/**
 * Gives back what was taken by takers that are gone. KEYS queue pending owners attempts ids failed · ARGV the most attempts.
 * Returns how many.
 */
export const recover = prepare(`
local queue, pending, owners, attempts, ids, failed = unpack(KEYS)
local most = tonumber(ARGV[1])
${now}
local taken = redis.call('HGETALL', pending)
local recovered = 0
for place = 1, #taken, 2 do
  local id, payload = taken[place], taken[place + 1]
  local lock = redis.call('HGET', owners, id)
  if not lock or redis.call('EXISTS', lock) == 0 then
    recovered = recovered + 1
    redis.call('HDEL', owners, id)
    redis.call('HDEL', pending, id)
    local attempt = tonumber(redis.call('HGET', attempts, id) or 0)
    if attempt < most then
      redis.call('RPUSH', queue, payload)
    else
      redis.call('HDEL', attempts, id)
      redis.call('RPUSH', failed, string.sub(payload, 1, -2) .. ',"attempts":' .. attempt ..
        ',"lastFailure":"Its taker was gone after the last attempt","failedAt":' .. string.format('%.0f', now) .. '}')
      redis.call('ZADD', ids, 'XX', '+inf', id)
    end
  end
end
return recovered
`)

/** KEYS owners, lock, owners, lock … · ARGV milliseconds, id, id … A lock that expired comes back while its claim stands. */
export const extend = prepare(`
for place = 2, #ARGV do
  local owners, lock = KEYS[2 * place - 3], KEYS[2 * place - 2]
  if redis.call('HGET', owners, ARGV[place]) == lock then redis.call('SET', lock, 1, 'PX', ARGV[1]) end
end
`)

export const TRIM_BATCH = 1000

/** KEYS failed ids · ARGV milliseconds. Removes what failed longer ago, a batch at a time; returns how many were removed. */
export const trimFailed = prepare(`
local failed, ids = unpack(KEYS)
${now}${idOf}
local removed = 0
while removed < ${TRIM_BATCH} do
  local record = redis.call('LINDEX', failed, 0)
  if not record then break end
  local at = tonumber(string.match(record, ',"failedAt":(%d+)}$') or 0)
  if at >= now - ARGV[1] then break end
  local id = idOf(record)
  if id then redis.call('ZREM', ids, id) end
  redis.call('LPOP', failed)
  removed = removed + 1
end
return removed
`)

/** KEYS ids · ARGV milliseconds. Forgets the ids of what was completed longer ago. */
export const trimCompleted = prepare(`
${now}
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[1]))
`)
