/**
 * The types of the functions: checked by the compiler, since nothing of it can be seen when it runs. Each command whose reply
 * has several shapes has a line for each of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Command, type Reader, Redis, type RedisError, type RedisService, type Resp } from "@relive/core"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Bloom, Commands as C, type Json, type Search, type TimeSeries, type VectorSet } from "../src/index.ts"
import type {
  Entry,
  LcsMatch,
  PairsBytes,
  PairsEntry,
  Position,
  Rec,
  Role,
  Scored,
  ScoredBytes,
  SearchReply,
  TimeSeriesSample
} from "../src/Reply.ts"

type Equal<X, Y> = (<T>() => T extends X ? 1 : 2) extends <T>() => T extends Y ? 1 : 2 ? true : false

type Value<T> = T extends { readonly reply: Reader.Reader<infer A, infer _B> } ? A : never
type Bytes<T> = T extends { readonly reply: Reader.Reader<infer _A, infer B> } ? B : never
type Success<T> = T extends Effect.Effect<infer A, infer _E, infer _R> ? A : never

/** The types are equal: a call that does not compile says that they are not. */
const is = <X, Y>(..._proof: Equal<X, Y> extends true ? [] : [expected: Y, found: X]): void => {}

type Text = string | null
type Texts = ReadonlyArray<string>

// Nothing below runs.
export const checked = () => {
  const scored = { withScores: true } as const

  // The shapes that arguments choose.
  const catalogue = C.aclCat()
  is<Value<typeof catalogue>, Texts>()
  const reset = C.aclLog({ reset: true })
  is<Value<typeof reset>, "OK">()
  const log = C.aclLog({ count: 1 })
  is<Value<typeof log>[number]["reason"], string>()
  const radius = C.georadius("g", 1, 2, 3, "km")
  is<Value<typeof radius>, Texts>()
  const stored = C.georadius("g", 1, 2, 3, "km", { store: "to" })
  is<Value<typeof stored>, number>()
  const radiusRo = C.georadiusRo("g", 1, 2, 3, "km", { withDist: true })
  is<Value<typeof radiusRo>, ReadonlyArray<readonly [member: string, distance: number]>>()
  const byMember = C.georadiusbymember("g", "m", 3, "km", { withHash: true })
  is<Value<typeof byMember>, ReadonlyArray<readonly [member: string, hash: number]>>()
  const byMemberRo = C.georadiusbymemberRo("g", "m", 3, "km", { withCoord: true })
  is<Value<typeof byMemberRo>, ReadonlyArray<readonly [member: string, coordinates: Position]>>()
  const from = { fromMember: "a" } as const
  const by = { byRadius: [1, "km"] } as const
  const near = C.geosearch("g", from, by)
  is<Value<typeof near>, Texts>()
  const nearAll = C.geosearch("g", from, by, { withDist: true, withHash: true, withCoord: true })
  is<
    Value<typeof nearAll>,
    ReadonlyArray<readonly [member: string, distance: number, hash: number, coordinates: Position]>
  >()
  const nearBoth = C.geosearch("g", from, by, { withDist: true, withCoord: true })
  is<Bytes<typeof nearBoth>, ReadonlyArray<readonly [member: Uint8Array, distance: number, coordinates: Position]>>()
  const field = C.hrandfield("h")
  is<Value<typeof field>, Text>()
  const fields = C.hrandfield("h", 2)
  is<Value<typeof fields>, Texts>()
  const pairs = C.hrandfield("h", 2, { withValues: true })
  is<Value<typeof pairs>, ReadonlyArray<readonly [string, string]>>()
  const common = C.lcs("a", "b")
  is<Value<typeof common>, string>()
  const length = C.lcs("a", "b", { len: true })
  is<Value<typeof length>, number>()
  const matches = C.lcs("a", "b", { idx: true, withMatchLen: true })
  is<Value<typeof matches>["matches"], ReadonlyArray<LcsMatch>>()
  const popped = C.lpop("l")
  is<Value<typeof popped>, Text>()
  const poppedMany = C.rpop("l", 2)
  is<Value<typeof poppedMany>, Texts | null>()
  const position = C.lpos("l", "a")
  is<Value<typeof position>, number | null>()
  const positions = C.lpos("l", "a", { count: 0 })
  is<Value<typeof positions>, ReadonlyArray<number>>()
  const role = C.role()
  is<Value<typeof role>, Role>()
  const sorted = C.sort("l")
  is<Value<typeof sorted>, ReadonlyArray<Text>>()
  const sortedTo = C.sort("l", { store: "to" })
  is<Value<typeof sortedTo>, number>()
  const spopped = C.spop("s")
  is<Value<typeof spopped>, Text>()
  const spoppedMany = C.spop("s", 2)
  is<Value<typeof spoppedMany>, ReadonlySet<string>>()
  const random = C.srandmember("s")
  is<Value<typeof random>, Text>()
  const randoms = C.srandmember("s", -2)
  is<Value<typeof randoms>, Texts>()
  const claimed = C.xautoclaim("s", "g", "c", 0, "0")
  is<Value<typeof claimed>[1], ReadonlyArray<readonly [id: string, fields: Rec<string> | null]>>()
  const claimedIds = C.xautoclaim("s", "g", "c", 0, "0", { justId: true })
  is<Value<typeof claimedIds>[1], Texts>()
  const claim = C.xclaim("s", "g", "c", 0, "1-1", { pairs: true })
  is<Value<typeof claim>, ReadonlyArray<readonly [id: string, fields: PairsEntry[1] | null] | null>>()
  const claimIds = C.xclaim("s", "g", "c", 0, ["1-1"], { justId: true })
  is<Value<typeof claimIds>, Texts>()
  const stream = C.xinfoStream("s")
  is<Value<typeof stream>["first-entry"], Entry | null>()
  const streamFull = C.xinfoStream("s", { full: true, count: 1 })
  is<Value<typeof streamFull>["entries"], ReadonlyArray<Entry>>()
  const pending = C.xpending("s", "g")
  is<Value<typeof pending>[0], number>()
  const pendingRange = C.xpending("s", "g", { start: "-", end: "+", count: 10 })
  is<Value<typeof pendingRange>, ReadonlyArray<readonly [string, string, number, number]>>()
  const zdiff = C.zdiff(["a", "b"], scored)
  const zinter = C.zinter(["a", "b"], scored)
  const zunion = C.zunion(["a", "b"], scored)
  const zrange = C.zrange("z", "(1", "+inf", { byScore: true, ...scored })
  const zrangebyscore = C.zrangebyscore("z", 0, "+inf", scored)
  const zrevrange = C.zrevrange("z", 0, -1, scored)
  const zrevrangebyscore = C.zrevrangebyscore("z", "+inf", 0, scored)
  is<Value<typeof zdiff>, ReadonlyArray<Scored>>()
  is<Value<typeof zinter>, ReadonlyArray<Scored>>()
  is<Value<typeof zunion>, ReadonlyArray<Scored>>()
  is<Value<typeof zrange>, ReadonlyArray<Scored>>()
  is<Bytes<typeof zrange>, ReadonlyArray<ScoredBytes>>()
  is<Value<typeof zrangebyscore>, ReadonlyArray<Scored>>()
  is<Value<typeof zrevrange>, ReadonlyArray<Scored>>()
  is<Value<typeof zrevrangebyscore>, ReadonlyArray<Scored>>()
  const plainDiff = C.zdiff("a")
  const plainInter = C.zinter("a")
  const plainUnion = C.zunion("a")
  const plainRange = C.zrange("z", 0, -1)
  const plainByScore = C.zrangebyscore("z", 0, 1)
  const plainReverse = C.zrevrange("z", 0, 1)
  const plainReverseByScore = C.zrevrangebyscore("z", 1, 0)
  is<Value<typeof plainDiff>, Texts>()
  is<Value<typeof plainInter>, Texts>()
  is<Value<typeof plainUnion>, Texts>()
  is<Value<typeof plainRange>, Texts>()
  is<Value<typeof plainByScore>, Texts>()
  is<Value<typeof plainReverse>, Texts>()
  is<Value<typeof plainReverseByScore>, Texts>()
  const member = C.zrandmember("z")
  is<Value<typeof member>, Text>()
  const members = C.zrandmember("z", 2)
  is<Value<typeof members>, Texts>()
  const membersScored = C.zrandmember("z", 2, scored)
  is<Value<typeof membersScored>, ReadonlyArray<Scored>>()
  const least = C.zpopmin("z")
  is<Value<typeof least>, Scored | null>()
  const most = C.zpopmax("z", 2)
  is<Value<typeof most>, ReadonlyArray<Scored>>()
  const rank = C.zrank("z", "a")
  is<Value<typeof rank>, number | null>()
  const rankScored = C.zrevrank("z", "a", { withScore: true })
  is<Value<typeof rankScored>, readonly [number, number] | null>()
  const added = C.zadd(
    "z",
    [
      [1, "a"],
      [Infinity, "b"]
    ],
    { nx: true }
  )
  is<Value<typeof added>, number>()
  const increased = C.zadd("z", [1, "a"], { incr: true })
  is<Value<typeof increased>, number | null>()
  const set = C.set("k", 1)
  is<Value<typeof set>, "OK">()
  const setWhen = C.set("k", 1, { ex: 10, nx: true })
  is<Value<typeof setWhen>, "OK" | null>()
  const setGet = C.set("k", 1, { get: true, keepTtl: true })
  is<Value<typeof setGet>, Text>()
  const id = C.xadd("s", "*", { f: 1 })
  is<Value<typeof id>, string>()
  const maybeId = C.xadd("s", "*", { f: 1 }, { nomkstream: true })
  is<Value<typeof maybeId>, Text>()
  const entries = C.xrange("s", "-", "+")
  is<Value<typeof entries>, ReadonlyArray<Entry>>()
  const allPairs = C.xrevrange("s", "+", "-", { pairs: true })
  is<Value<typeof allPairs>, ReadonlyArray<PairsEntry>>()
  const read = C.xread({ s: "0" }, { count: 1 })
  is<Value<typeof read>, Rec<ReadonlyArray<Entry>> | null>()
  const page = C.hscan("h", 0)
  is<Value<typeof page>, readonly [string, ReadonlyArray<readonly [string, string]>]>()
  const names = C.hscan("h", 0, { noValues: true })
  is<Value<typeof names>, readonly [string, Texts]>()
  const killed = C.clientKill({ id: 1 })
  is<Value<typeof killed>, number>()

  // Single shapes, of each kind.
  is<Value<ReturnType<typeof C.get>>, Text>()
  is<Bytes<ReturnType<typeof C.get>>, Uint8Array | null>()
  is<Value<ReturnType<typeof C.expire>>, 0 | 1>()
  is<Value<ReturnType<typeof C.hgetall>>, Rec<string>>()
  is<Bytes<ReturnType<typeof C.hgetall>>, PairsBytes>()
  is<Value<ReturnType<typeof C.smembers>>, ReadonlySet<string>>()
  is<Value<ReturnType<typeof C.incrbyfloat>>, string>()
  is<Value<ReturnType<typeof C.fcall>>, Resp.Reply>()
  is<Value<ReturnType<typeof Json.get>>, Text>()
  is<Value<ReturnType<typeof VectorSet.vismember>>, boolean>()
  is<Value<ReturnType<typeof TimeSeries.range>>, ReadonlyArray<TimeSeriesSample>>()
  is<Value<ReturnType<typeof Bloom.bfAdd>>, boolean>()
  is<Value<ReturnType<typeof Search.search>>, SearchReply>()

  // Calls.
  const alone: Effect.Effect<Text, RedisError.RedisError, RedisService> = C.get("k")
  const piped = Redis.pipeline([C.get("a"), C.incr("n"), C.hgetall("h"), ["PING"]])
  is<
    Success<typeof piped>,
    readonly [Text | Command.Failure, number | Command.Failure, Rec<string> | Command.Failure, Redis.PipelineReply]
  >()
  const pipedBytes = Redis.pipeline([C.get("a"), C.smembers("s")], { decode: "bytes" })
  is<
    Success<typeof pipedBytes>,
    readonly [Uint8Array | null | Command.Failure, ReadonlyArray<Uint8Array> | Command.Failure]
  >()
  const many = Redis.pipeline(["a", "b"].map((key) => C.get(key)))
  is<Success<typeof many>, ReadonlyArray<Text | Command.Failure>>()
  const atOnce = Redis.transaction([C.incr("n"), C.get("k")])
  is<Success<typeof atOnce>, readonly [number | Command.Failure, Text | Command.Failure]>()
  const bytes = Redis.command(C.get("k"), { decode: "bytes", timeout: "1 second" })
  is<Success<typeof bytes>, Uint8Array | null>()
  const number = Redis.command(C.get("k"), { schema: Schema.NullOr(Schema.FiniteFromString) })
  is<Success<typeof number>, number | null>()
  const user = Redis.command(C.hgetall("u"), { schema: Schema.Struct({ name: Schema.String }) })
  is<Success<typeof user>, { readonly name: string }>()
  const raw = Redis.command(["GET", "k"])
  is<Success<typeof raw>, Resp.Reply>()
  const exact = Command.asBigInt(C.incr("n"))
  is<Value<typeof exact>, bigint>()
  const own = Command.withSchema(C.get("k"), Schema.NullOr(Schema.FiniteFromString))
  is<Value<typeof own>, number | null>()

  // @ts-expect-error two conditions
  C.set("k", 1, { nx: true, xx: true })
  // @ts-expect-error two lifetimes
  C.set("k", 1, { ex: 1, px: 1 })
  // @ts-expect-error an option that there is not
  C.set("k", 1, { ttl: 1 })
  // @ts-expect-error by score and by name
  C.zrange("z", 0, 1, { byScore: true, byLex: true })
  const flag: boolean = Math.random() > 1
  // @ts-expect-error a boolean that is not known has no one reply
  C.zrange("z", 0, 1, { withScores: flag })
  // @ts-expect-error GET may give null, and this schema does not take it
  Redis.command(C.get("k"), { schema: Schema.FiniteFromString })
  // @ts-expect-error GET gives text, and this schema reads numbers
  Redis.command(C.get("k"), { schema: Schema.NullOr(Schema.Int) })
  // @ts-expect-error neither a member nor a position
  C.geosearch("g", {}, by)
  return alone
}

describe("types", () => {
  it("are what the compiler has checked", () => assert.isFunction(checked))
})
