/**
 * The decoders and encoders alone, ours against those of node-redis and ioredis: no socket, no event loop. Replies come in
 * chunks of 64 KiB, as a socket gives them. The rounds are interleaved in a rotating order; medians.
 *
 *     node benchmarks/src/codec.ts [--rounds n] [--milliseconds n]
 *
 * Prints a table on stderr and one JSON object, the last line on stdout: per stream and codec the replies (commands) a
 * second and MB a second, and `toBestPeer`, above 1 when ours is faster.
 *
 * Not the same work: ours checks every byte of the grammar and that texts are UTF-8, the others do neither. ioredis is
 * given the type mapping its client uses (strings arrive as buffers) plus the conversion to text its client does per
 * command, but not its dispatch.
 */
import * as Resp from "@relive/core/Resp"
import { createRequire } from "node:module"
import { parseArgs } from "node:util"
import { rounded, summarise } from "./statistics.ts"

const CHUNK = 64 * 1024

/** Takes a stream in chunks and returns the number of replies it found. */
type Decode = (chunks: ReadonlyArray<Buffer>) => number
/** Encodes commands into `sink` and returns the number of bytes it made. */
type Encode = (commands: ReadonlyArray<ReadonlyArray<string>>) => number

/** The decoder that both peers carry, one the descendant of the other; it is not part of their documented API. */
interface PeerDecoder {
  readonly write: (chunk: Buffer) => void
}
interface PeerDecoderModule {
  readonly Decoder: new (config: {
    readonly onReply: (reply: unknown) => void
    readonly onErrorReply: (error: unknown) => void
    readonly onPush: (push: unknown) => void
    readonly getTypeMapping: () => Record<number, unknown>
  }) => PeerDecoder
  readonly RESP_TYPES: Readonly<Record<string, number>>
}

const fromRedis = createRequire(createRequire(import.meta.url).resolve("redis"))
const fromHere = createRequire(import.meta.url)
const nodeRedisDecoder: PeerDecoderModule = fromRedis("@redis/client/dist/lib/RESP/decoder.js")
const nodeRedisEncoder: { readonly default: (args: ReadonlyArray<string>) => ReadonlyArray<string> } = fromRedis(
  "@redis/client/dist/lib/RESP/encoder.js"
)
const ioredisDecoder: PeerDecoderModule = fromHere("ioredis/built/resp/decoder.js")
const ioredisCommand: {
  readonly default: new (
    name: string,
    args: ReadonlyArray<string>,
    options: object
  ) => { readonly toWritable: (socket?: unknown) => string | Buffer }
} = fromHere("ioredis/built/Command.js")

/** A long text may be a list of its parts until somebody reads it: read it. */
const touched = (reply: unknown): unknown => {
  if (typeof reply === "string" && reply.length > CHUNK) reply.charCodeAt(0)
  return reply
}

const toText = (value: unknown): unknown => {
  if (value instanceof Buffer) return value.toString("utf8")
  return Array.isArray(value) ? value.map(toText) : value
}

const peer = (
  module: PeerDecoderModule,
  typeMapping: Record<number, unknown>,
  finish: (reply: unknown) => unknown
): Decode => {
  let replies = 0
  let last: unknown
  const decoder = new module.Decoder({
    onReply: (reply) => {
      last = touched(finish(reply))
      replies++
    },
    onErrorReply: () => {},
    onPush: () => {},
    getTypeMapping: () => typeMapping
  })
  return (chunks) => {
    replies = 0
    for (const chunk of chunks) decoder.write(chunk)
    if (last === undefined) throw new Error("no reply")
    return replies
  }
}

const type = (module: PeerDecoderModule, name: string): number => {
  const code = module.RESP_TYPES[name]
  if (code === undefined) throw new Error(`no type ${name}`)
  return code
}

const ours = (): Decode => {
  const decoder = Resp.makeDecoder()
  return (chunks) => {
    let replies = 0
    for (const chunk of chunks) {
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      const error = decoder.push(chunk, out)
      if (error !== undefined) throw error
      for (const reply of out) touched(reply)
      replies += out.length
    }
    return replies
  }
}

const decoders: Readonly<Record<string, () => Decode>> = {
  relive: ours,
  "node-redis": () => peer(nodeRedisDecoder, { [type(nodeRedisDecoder, "MAP")]: Map }, (reply) => reply),
  ioredis: () =>
    peer(
      ioredisDecoder,
      {
        [type(ioredisDecoder, "SIMPLE_STRING")]: Buffer,
        [type(ioredisDecoder, "BLOB_STRING")]: Buffer,
        [type(ioredisDecoder, "MAP")]: Array
      },
      toText
    )
}

/** Where the encoded commands go, as a socket would copy them; a codec that only links strings together has not ended. */
const sink = Buffer.allocUnsafeSlow(1024 * 1024)
const written = (parts: Iterable<string | Uint8Array>, from: number): number => {
  let at = from
  for (const part of parts) {
    if (typeof part === "string") at += sink.write(part, at, "utf8")
    else {
      sink.set(part, at)
      at += part.length
    }
  }
  return at
}

const encoders: Readonly<Record<string, () => Encode>> = {
  relive: () => (commands) => {
    const chunks = Resp.encodePipeline(commands)
    if (!(Symbol.iterator in chunks)) throw new Error("refused")
    return written(chunks, 0)
  },
  "node-redis": () => (commands) => {
    let size = 0
    for (const command of commands) size = written(nodeRedisEncoder.default(command), size)
    return size
  },
  ioredis: () => (commands) => {
    let size = 0
    for (const [name = "", ...args] of commands) {
      const whole = new ioredisCommand.default(name, args, { replyEncoding: "utf8" }).toWritable()
      size = written([whole], size)
    }
    return size
  }
}

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const repeated = (count: number, of: (i: number) => string) => Array.from({ length: count }, (_, i) => of(i)).join("")
const cut = (text: string): ReadonlyArray<Buffer> => {
  const whole = Buffer.from(text)
  return Array.from({ length: Math.ceil(whole.length / CHUNK) }, (_, i) =>
    Buffer.from(whole.subarray(i * CHUNK, (i + 1) * CHUNK))
  )
}

/** A stream of replies or commands. */
interface Material {
  readonly name: string
  readonly title: string
}

const streams: ReadonlyArray<Material & { readonly text: () => string }> = [
  { name: "decode-get", title: "bulks of 16 B", text: () => repeated(20_000, (i) => bulk(`${i}`.padStart(16, "v"))) },
  { name: "decode-ok", title: "+OK", text: () => repeated(50_000, () => "+OK\r\n") },
  { name: "decode-integer", title: "integers", text: () => repeated(50_000, (i) => `:${i * 7}\r\n`) },
  { name: "decode-1k", title: "bulks of 1 KiB", text: () => repeated(1000, (i) => bulk(`${i}`.padStart(1024, "v"))) },
  { name: "decode-1m", title: "bulks of 1 MiB", text: () => repeated(4, (i) => bulk(`${i}`.repeat(1024 * 1024))) },
  {
    name: "decode-array",
    title: "arrays of 10 000",
    text: () => repeated(4, () => `*10000\r\n${repeated(10_000, (i) => bulk(`element:${i}`))}`)
  },
  {
    name: "decode-map",
    title: "maps of 100",
    text: () =>
      repeated(200, () => `%100\r\n${repeated(100, (i) => bulk(`field:${i}`) + bulk(`${i}`.padStart(16, "v")))}`)
  },
  {
    name: "decode-utf8",
    title: "bulks of 16 characters, some multi-byte",
    text: () => repeated(20_000, (i) => bulk(`€${i}`.padStart(16, "é")))
  }
]

const commandSets: ReadonlyArray<Material & { readonly commands: ReadonlyArray<ReadonlyArray<string>> }> = [
  {
    name: "encode-get",
    title: "GET",
    commands: Array.from({ length: 500 }, (_, i) => ["GET", `key:${i}`])
  },
  {
    name: "encode-set",
    title: "SET … EX, 16 B",
    commands: Array.from({ length: 500 }, (_, i) => ["SET", `key:${i}`, `${i}`.padStart(16, "v"), "EX", "300"])
  },
  {
    name: "encode-1k",
    title: "SET, 1 KiB",
    commands: Array.from({ length: 100 }, (_, i) => ["SET", `key:${i}`, `${i}`.padStart(1024, "v")])
  }
]

/** The result of one codec on one stream. */
interface Speed {
  readonly perSecond: number
  readonly megabytesPerSecond: number
}

/** One row of the result. */
interface Row {
  readonly name: string
  readonly title: string
  readonly median: Readonly<Record<string, Speed>>
  readonly toBestPeer: number
}

const forAWhile = (
  milliseconds: number,
  body: () => number
): { readonly items: number; readonly seconds: number; readonly runs: number } => {
  const start = performance.now()
  let items = 0
  let runs = 0
  let now = start
  while (now - start < milliseconds) {
    items += body()
    runs++
    now = performance.now()
  }
  return { items, runs, seconds: (now - start) / 1000 }
}

const compare = (
  material: Material,
  bytes: number,
  bodies: Readonly<Record<string, () => number>>,
  rounds: number,
  milliseconds: number
): Row => {
  const names = Object.keys(bodies)
  const speeds: Record<string, Array<Speed>> = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round + names.length) % names.length] ?? ""
      const body = bodies[name]
      if (body === undefined) continue
      const { items, runs, seconds } = forAWhile(milliseconds, body)
      if (round < 0) continue
      speeds[name]?.push({ perSecond: items / seconds, megabytesPerSecond: (runs * bytes) / seconds / 1e6 })
    }
  }
  const median = Object.fromEntries(
    names.map((name) => {
      const taken = speeds[name] ?? []
      return [
        name,
        {
          perSecond: rounded(summarise(taken.map(({ perSecond }) => perSecond)).median),
          megabytesPerSecond: rounded(summarise(taken.map(({ megabytesPerSecond }) => megabytesPerSecond)).median)
        }
      ]
    })
  )
  const of = (name: string) => median[name]?.perSecond ?? Number.NaN
  const best = Math.max(...names.filter((name) => name !== "relive").map(of))
  return { name: material.name, title: material.title, median, toBestPeer: rounded(of("relive") / best) }
}

const decodeRow = (material: Material & { readonly text: () => string }, rounds: number, milliseconds: number): Row => {
  const chunks = cut(material.text())
  const counts = new Set<number>()
  const bodies = Object.fromEntries(
    Object.entries(decoders).map(([name, make]) => {
      const decode = make()
      counts.add(decode(chunks))
      return [name, () => decode(chunks)]
    })
  )
  if (counts.size !== 1) throw new Error(`${material.name}: the decoders disagree: ${[...counts].join(", ")} replies`)
  return compare(
    material,
    chunks.reduce((sum, { length }) => sum + length, 0),
    bodies,
    rounds,
    milliseconds
  )
}

const encodeRow = (
  material: Material & { readonly commands: ReadonlyArray<ReadonlyArray<string>> },
  rounds: number,
  milliseconds: number
): Row => {
  const sizes = new Set<number>()
  const bodies = Object.fromEntries(
    Object.entries(encoders).map(([name, make]) => {
      const encode = make()
      sizes.add(encode(material.commands))
      return [
        name,
        () => {
          encode(material.commands)
          return material.commands.length
        }
      ]
    })
  )
  if (sizes.size !== 1) throw new Error(`${material.name}: the encoders disagree: ${[...sizes].join(", ")} bytes`)
  return compare(material, [...sizes][0] ?? 0, bodies, rounds, milliseconds)
}

const main = (): void => {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "7" }, milliseconds: { type: "string", default: "150" } }
  })
  const [rounds, milliseconds] = [Number(values.rounds), Number(values.milliseconds)]
  const rows = [
    ...streams.map((stream) => decodeRow(stream, rounds, milliseconds)),
    ...commandSets.map((set) => encodeRow(set, rounds, milliseconds))
  ]
  for (const { name, median, toBestPeer } of rows) {
    const cells = Object.entries(median).map(([codec, { perSecond, megabytesPerSecond }]) =>
      `${codec} ${(perSecond / 1e6).toFixed(3)} M/s ${megabytesPerSecond.toFixed(0)} MB/s`.padEnd(38)
    )
    process.stderr.write(`${name.padEnd(16)}${cells.join("")}to best peer ${toBestPeer.toFixed(2)}\n`)
  }
  process.stdout.write(`${JSON.stringify({ node: process.version, codecs: rows })}\n`)
}

main()
