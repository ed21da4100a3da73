/**
 * The SCAN family as streams: cursors stay inside.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Calls, ScanOptions } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions, Service } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { redisError } from "../errors.ts"

type Send<R> = (command: Resp.Command, options: CallOptions) => Effect.Effect<Resp.Reply, RedisError, R>

const unexpected = (name: string): RedisError =>
  redisError(new Resp.DecodeError("schema", `The reply to ${name} is not a cursor and elements`))

const callOptionsOf = ({ decode, retry, route, timeout }: ScanOptions): CallOptions => ({
  decode,
  retry,
  route,
  timeout
})

const argumentsOf = (options: ScanOptions): ReadonlyArray<string | number | Uint8Array> => [
  ...(options.match === undefined ? [] : ["MATCH", options.match]),
  ...(options.count === undefined ? [] : ["COUNT", options.count]),
  ...(options.type === undefined ? [] : ["TYPE", options.type])
]

const cursorText = (cursor: Resp.Reply | undefined): string | undefined =>
  cursor instanceof Uint8Array ? new TextDecoder().decode(cursor) : typeof cursor === "string" ? cursor : undefined

type Page = ReadonlyArray<Resp.Reply>

/**
 * The pages of one scan, each turned into elements by `read`, or `undefined` when there is anything else in it. The server may give an element more than once, and an empty
 * page before the end.
 */
export const scanStream = <A, R>(
  send: Send<R>,
  name: string,
  key: ReadonlyArray<string | Uint8Array>,
  options: ScanOptions,
  read: (page: Page) => ReadonlyArray<A> | undefined
): Stream.Stream<A, RedisError, R> =>
  Stream.paginate("0", (cursor) =>
    Effect.flatMap(send([name, ...key, cursor, ...argumentsOf(options)], callOptionsOf(options)), (reply) => {
      if (!Array.isArray(reply)) return Effect.fail(unexpected(name))
      const [next, page]: ReadonlyArray<Resp.Reply> = reply
      const nextCursor = cursorText(next)
      const elements = Array.isArray(page) ? read(page) : undefined
      if (nextCursor === undefined || elements === undefined) return Effect.fail(unexpected(name))
      return Effect.succeed([elements, nextCursor === "0" ? Option.none() : Option.some(nextCursor)] as const)
    })
  )

const isText = (reply: Resp.Reply | undefined): reply is string | Uint8Array =>
  typeof reply === "string" || reply instanceof Uint8Array

export const texts = (page: Page): ReadonlyArray<string | Uint8Array> | undefined =>
  page.every(isText) ? page : undefined

export const pairs = (page: Page): ReadonlyArray<readonly [string | Uint8Array, string | Uint8Array]> | undefined => {
  const out: Array<readonly [string | Uint8Array, string | Uint8Array]> = []
  for (let i = 0; i < page.length; i += 2) {
    const key = page[i]
    const value = page[i + 1]
    if (!isText(key) || !isText(value)) return undefined
    out.push([key, value])
  }
  return out
}

const scoreOf = (score: Resp.Reply | undefined): number => {
  if (typeof score === "number") return score
  const text = cursorText(score)
  if (text === "inf") return Infinity
  return text === "-inf" ? -Infinity : Number(text ?? NaN)
}

export const scored = (page: Page): ReadonlyArray<readonly [string | Uint8Array, number]> | undefined => {
  const out: Array<readonly [string | Uint8Array, number]> = []
  for (let i = 0; i < page.length; i += 2) {
    const member = page[i]
    const score = scoreOf(page[i + 1])
    if (!isText(member) || Number.isNaN(score)) return undefined
    out.push([member, score])
  }
  return out
}

/** The four scans over one function that sends. */
export const makeScans = <Self>(
  tag: Context.Key<Self, Service>,
  command: Calls<Self>["command"]
): Pick<Calls<Self>, "scan" | "hscan" | "sscan" | "zscan"> => {
  const send = (args: Resp.Command, options: CallOptions) => command(args, options)
  function scan(options: ScanOptions & { readonly decode: "bytes" }): Stream.Stream<Uint8Array, RedisError, Self>
  function scan(options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  function scan(options: ScanOptions = {}): Stream.Stream<string | Uint8Array, RedisError, Self> {
    return Stream.unwrap(
      Effect.withFiber((fiber) => {
        // A service over several servers walks them all.
        const { scan } = Context.getUnsafe(fiber.context, tag)
        return Effect.succeed(scan === undefined ? scanStream(send, "SCAN", [], options, texts) : scan(options))
      })
    )
  }
  function sscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<Uint8Array, RedisError, Self>
  function sscan(key: string | Uint8Array, options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  function sscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<string | Uint8Array, RedisError, Self> {
    return scanStream(send, "SSCAN", [key], options, texts)
  }
  function hscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<readonly [Uint8Array, Uint8Array], RedisError, Self>
  function hscan(
    key: string | Uint8Array,
    options?: ScanOptions
  ): Stream.Stream<readonly [string, string], RedisError, Self>
  function hscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<readonly [string | Uint8Array, string | Uint8Array], RedisError, Self> {
    return scanStream(send, "HSCAN", [key], options, pairs)
  }
  function zscan(
    key: string | Uint8Array,
    options: ScanOptions & { readonly decode: "bytes" }
  ): Stream.Stream<readonly [Uint8Array, number], RedisError, Self>
  function zscan(
    key: string | Uint8Array,
    options?: ScanOptions
  ): Stream.Stream<readonly [string, number], RedisError, Self>
  function zscan(
    key: string | Uint8Array,
    options: ScanOptions = {}
  ): Stream.Stream<readonly [string | Uint8Array, number], RedisError, Self> {
    return scanStream(send, "ZSCAN", [key], options, scored)
  }
  return { scan, hscan, sscan, zscan }
}
