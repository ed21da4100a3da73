/**
 * The codec alone, for work on it: nanoseconds per reply or command, and MB/s. `node benchmark/resp.ts [part of a name]`.
 * (The comparison with other clients' codecs is in the benchmarks package.)
 *
 * One decoder serves all workloads, as in life. Each figure is the best and the median of many short rounds; on a shared
 * machine compare the best ones only.
 */
import * as Resp from "@relive/core/Resp"
import { Batch, Encoder } from "../src/internal/resp/encoder.ts"

const rounds = 25
const roundMillis = 8
const chunkBytes = 65_536

interface Workload {
  readonly name: string
  /** Replies or commands in one run. */
  readonly count: number
  readonly bytes: number
  readonly run: () => void
}

const decoding = (name: string, wire: string, count: number, decode: "text" | "bytes" = "text"): Workload => {
  const bytes = Buffer.from(wire, "latin1")
  const chunks: Array<Buffer> = []
  for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(Buffer.from(bytes.subarray(at, at + chunkBytes)))
  const decoder = Resp.makeDecoder({ decode })
  const run = (): void => {
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    for (const chunk of chunks) decoder.push(chunk, out)
    if (decoder.error !== undefined || !decoder.idle) throw new Error(`${name} was not decoded`)
  }
  return { name, count, bytes: bytes.length, run }
}

const encoder = new Encoder()

const encoding = (name: string, count: number, command: (index: number) => Resp.Command): Workload => {
  const commands = Array.from({ length: count }, (_, index) => command(index))
  let bytes = 0
  const batch = new Batch()
  const run = (): void => {
    bytes = 0
    for (const one of commands) {
      const payload = encoder.encode(one)
      if (payload instanceof Resp.ArgumentFailure) throw new Error(payload.message)
      batch.add(payload)
      bytes += encoder.bytes
    }
    // What a socket does with a string, so that lazily joined text is paid for.
    for (const chunk of batch.take()) if (typeof chunk === "string") Buffer.from(chunk)
  }
  run()
  return { name, count, bytes, run }
}

const times = (text: string, count: number): string => text.repeat(count)
const pair = (index: number): string => `$6\r\nfie${100 + index}\r\n$10\r\n0123456789\r\n`
const hash = `%100\r\n${Array.from({ length: 100 }, (_, index) => pair(index)).join("")}`
const element = "$16\r\nabcdefghijklmnop\r\n"

const workloads: ReadonlyArray<Workload> = [
  decoding("decode GET 16 B, 500 a chunk", times(element, 500), 500),
  decoding("decode GET 16 B, alone in its chunk", element, 1),
  decoding("decode +OK", times("+OK\r\n", 500), 500),
  decoding("decode integer", times(":12345\r\n", 500), 500),
  decoding("decode double", times(",1234.5678\r\n", 500), 500),
  decoding("decode null", times("_\r\n", 500), 500),
  decoding("decode null of RESP2", times("$-1\r\n", 500), 500),
  decoding("decode error", times("-WRONGTYPE Operation against a key\r\n", 500), 500),
  decoding("decode element of LRANGE 10 000", `*10000\r\n${times(element, 10_000)}`, 10_000),
  decoding(
    "decode element that is not ASCII",
    `*10000\r\n${times("$16\r\nabcdefghijklmn\xc3\xb8\r\n", 10_000)}`,
    10_000
  ),
  decoding("decode field of HGETALL 100", times(hash, 10), 1000),
  decoding("decode push of 3", times(`>3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n${element}`, 500), 500),
  decoding("decode GET 1 KiB", times(`$1024\r\n${"x".repeat(1024)}\r\n`, 60), 60),
  decoding("decode GET 1 MiB", `$1048576\r\n${"x".repeat(1_048_576)}\r\n`, 1),
  decoding("decode GET 16 B as bytes", times(element, 500), 500, "bytes"),
  decoding("decode GET 1 KiB as bytes", times(`$1024\r\n${"x".repeat(1024)}\r\n`, 60), 60, "bytes"),
  decoding("decode GET 1 MiB as bytes", `$1048576\r\n${"x".repeat(1_048_576)}\r\n`, 1, "bytes"),
  encoding("encode GET", 500, (index) => ["GET", `key:${index}`]),
  encoding("encode SET EX", 500, (index) => ["SET", `key:${index}`, "abcdefghijklmnop", "EX", 60]),
  encoding("encode SET 1 KiB", 60, (index) => ["SET", `key:${index}`, "x".repeat(1024)]),
  encoding("encode SET 16 B of bytes", 500, (index) => ["SET", `key:${index}`, new Uint8Array(16).fill(200)]),
  encoding("encode SET 1 MiB", 1, () => ["SET", "key", "x".repeat(1_048_576)])
]

/** Nanoseconds per item of one round. */
const round = (workload: Workload, runs: number): number => {
  const start = performance.now()
  for (let run = 0; run < runs; run++) workload.run()
  return ((performance.now() - start) * 1e6) / (runs * workload.count)
}

const measure = (workload: Workload): void => {
  let runs = 1
  while (round(workload, runs) * runs * workload.count < roundMillis * 1e6) runs *= 2
  const figures = Array.from({ length: rounds }, () => round(workload, runs)).sort((a, b) => a - b)
  const best = figures[0]
  const median = figures[Math.floor(rounds / 2)]
  const speed = (workload.bytes / workload.count / best) * 1000
  process.stdout.write(
    `${workload.name.padEnd(38)} ${best.toFixed(1).padStart(10)} ns ${median.toFixed(1).padStart(10)} ns median ${speed.toFixed(0).padStart(7)} MB/s\n`
  )
}

const wanted = process.argv[2] ?? ""
for (const workload of workloads) if (workload.name.includes(wanted)) measure(workload)
