/**
 * The scripts of `RedisRunnerStorage`.
 *
 * Under `{prefix}`: `:runners` address to runner · `:healthy` the addresses that are · `:beats` address by the time of its last sign
 * of life · `:machines` address to machine id, and `:machine` the last id given · `:shard:<id>` the lease of a shard, with
 * `<address> <token>`.
 *
 * @internal
 */
import { DecodeError } from "@relive/core/Resp"
import { RedisError } from "@relive/core/RedisError"
import type { CallOptions, Service } from "@relive/core/RedisService"
import type { Argument, Reply } from "@relive/core/Resp"
import { PersistenceError } from "effect/cluster/ClusterError"
import type { Encoded } from "effect/cluster/RunnerStorage"
import type { ShardingConfig } from "effect/cluster/ShardingConfig"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import { prepare, words } from "./script.ts"
import type { Run } from "./script.ts"

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Runners have no machine id twice, and keep theirs while they are registered. */
const register = prepare(`
local runners, healthy, beats, machines, machine = unpack(KEYS)
local address, runner, isHealthy = unpack(ARGV)
${now}
redis.call('HSET', runners, address, runner)
redis.call(isHealthy == '1' and 'SADD' or 'SREM', healthy, address)
redis.call('ZADD', beats, now, address)
local id = redis.call('HGET', machines, address)
if not id then
  id = redis.call('INCR', machine)
  redis.call('HSET', machines, address, id)
end
return tonumber(id)
`)

/** Also those who have said nothing for too long: nobody else would take them away. */
const unregister = prepare(`
local runners, healthy, beats, machines = unpack(KEYS)
local expiration = ARGV[2]
${now}
local gone = redis.call('ZRANGEBYSCORE', beats, '-inf', now - expiration)
gone[#gone + 1] = ARGV[1]
for _, address in ipairs(gone) do
  redis.call('HDEL', runners, address)
  redis.call('SREM', healthy, address)
  redis.call('ZREM', beats, address)
  redis.call('HDEL', machines, address)
end
`)

const getRunners = prepare(`
local runners, healthy, beats = unpack(KEYS)
${now}
local found = {}
for _, address in ipairs(redis.call('ZRANGEBYSCORE', beats, '(' .. (now - ARGV[1]), '+inf')) do
  local runner = redis.call('HGET', runners, address)
  if runner then found[#found + 1] = {runner, redis.call('SISMEMBER', healthy, address)} end
end
return found
`)

const setHealth = prepare(`
local runners, healthy = unpack(KEYS)
if redis.call('HEXISTS', runners, ARGV[1]) == 1 then
  redis.call(ARGV[2] == '1' and 'SADD' or 'SREM', healthy, ARGV[1])
end
`)

/** The keys are the shards; what is held by the runner already, by whatever process of it, becomes this process's. */
const acquire = prepare(`
local address, token, expiration = unpack(ARGV)
local acquired = {}
for place, shard in ipairs(KEYS) do
  local holder = redis.call('GET', shard)
  if not holder or string.match(holder, '^(%S+) ') == address then
    redis.call('SET', shard, address .. ' ' .. token, 'PX', expiration)
    acquired[#acquired + 1] = place
  end
end
return acquired
`)

/** The first key holds the signs of life, the others are the shards. Returns those that are still its own. */
const refresh = prepare(`
local address, token, expiration = unpack(ARGV)
${now}
if redis.call('ZSCORE', KEYS[1], address) then redis.call('ZADD', KEYS[1], now, address) end
local held = {}
for place = 2, #KEYS do
  if redis.call('GET', KEYS[place]) == address .. ' ' .. token then
    redis.call('PEXPIRE', KEYS[place], expiration)
    held[#held + 1] = place - 1
  end
end
return held
`)

const release = prepare(`
local released = 0
for _, shard in ipairs(KEYS) do
  if redis.call('GET', shard) == ARGV[1] .. ' ' .. ARGV[2] then released = released + redis.call('DEL', shard) end
end
return released
`)

const unexpected = (): RedisError =>
  new RedisError({
    reason: new DecodeError("schema", "A script of RedisRunnerStorage returned something else than it does")
  })

const isArray = (reply: Reply | undefined): reply is ReadonlyArray<Reply> => Array.isArray(reply)

const refail = <A>(effect: Effect.Effect<A, RedisError>): Effect.Effect<A, PersistenceError> =>
  Effect.mapError(effect, (cause) => new PersistenceError({ cause }))

export const make = (service: Service, config: ShardingConfig["Service"], prefix: string): Encoded => {
  const key = (name: string) => `{${prefix}}:${name}`
  const shardKey = (shard: string) => key(`shard:${shard}`)
  const runnerKeys = ["runners", "healthy", "beats", "machines", "machine"].map(key)
  const token = randomUUID()
  const expiration = Math.max(1, Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(config.shardLockExpiration))))
  const interval = Duration.toMillis(Duration.fromInputUnsafe(config.shardLockRefreshInterval))
  const options: CallOptions = { timeout: Math.max(1, Math.min(interval, expiration / 3, service.timeoutMillis)) }
  /** The shards that this process asked for and did not release: only this list of them is there for `releaseAll`. */
  const asked = new Set<string>()

  const run = (script: Run, keys: ReadonlyArray<string>, args: ReadonlyArray<Argument>) =>
    script(service, words(keys, args), options)

  /** The shards at the places that a script returned. */
  const shardsAt = (shards: ReadonlyArray<string>, places: Reply) =>
    isArray(places)
      ? Effect.succeed(shards.filter((_shard, index) => places.includes(index + 1)))
      : Effect.fail(unexpected())

  return {
    register: (address, runner, healthy) =>
      refail(
        Effect.flatMap(run(register, runnerKeys, [address, runner, healthy ? 1 : 0]), (id) =>
          typeof id === "number" ? Effect.succeed(id) : Effect.fail(unexpected())
        )
      ),
    unregister: (address) => refail(Effect.asVoid(run(unregister, runnerKeys.slice(0, 4), [address, expiration]))),
    getRunners: refail(
      Effect.flatMap(run(getRunners, runnerKeys.slice(0, 3), [expiration]), (runners) =>
        isArray(runners) ? Effect.succeed(runners.flatMap(runnerOf)) : Effect.fail(unexpected())
      )
    ),
    setRunnerHealth: (address, healthy) =>
      refail(Effect.asVoid(run(setHealth, runnerKeys.slice(0, 2), [address, healthy ? 1 : 0]))),
    acquire: (address, shards) =>
      refail(
        Effect.suspend(() => {
          // Before it is known: what is acquired and not told, as the reply did not come, is released with the rest.
          for (const shard of shards) asked.add(shard)
          return Effect.flatMap(run(acquire, shards.map(shardKey), [address, token, expiration]), (places) =>
            shardsAt(shards, places)
          )
        })
      ),
    refresh: (address, shards) =>
      refail(
        Effect.flatMap(run(refresh, [key("beats"), ...shards.map(shardKey)], [address, token, expiration]), (places) =>
          shardsAt(shards, places)
        )
      ),
    release: (address, shard) =>
      refail(
        Effect.asVoid(
          Effect.tap(run(release, [shardKey(shard)], [address, token]), () => Effect.sync(() => asked.delete(shard)))
        )
      ),
    releaseAll: (address) =>
      refail(
        Effect.suspend(() => {
          const shards = [...asked]
          if (shards.length === 0) return Effect.void
          const forget = () => shards.forEach((shard) => asked.delete(shard))
          return Effect.map(run(release, shards.map(shardKey), [address, token]), forget)
        })
      )
  }
}

const runnerOf = (reply: Reply): ReadonlyArray<readonly [runner: string, healthy: boolean]> => {
  if (!isArray(reply)) return []
  const [runner, healthy] = reply
  return typeof runner === "string" ? [[runner, healthy === 1]] : []
}
