/**
 * The practical limit of JavaScript: a socket, a string to write, a queue of promises and the shortest parser that gets
 * these workloads right. No errors, no reconnection, no limits, no deadlines, RESP2 only: nobody should use it.
 */
import { connect as openSocket, type Socket } from "node:net"
import { entriesOf, plainBatch, Unsupported, type Calls } from "../calls.ts"
import { promiseDriver } from "../loops.ts"
import type { Client, Connection, Target } from "./client.ts"
import { roundRobin } from "./roundRobin.ts"

declare global {
  // Node has them on every Buffer; `toString(encoding, from, to)` is the same with a look-up before it.
  interface Buffer<TArrayBuffer extends ArrayBufferLike = ArrayBufferLike> {
    latin1Slice(from: number, to: number): string
    utf8Slice(from: number, to: number): string
  }
}

type Reply = string | Buffer | null | Array<Reply>
export type Finish = (last: Reply) => unknown

/** One call: how many replies it takes, and what becomes of the last one or, with {@link every}, of all. */
class Waiting {
  replies: Array<Reply> | undefined
  lacking: number
  readonly bytes: boolean
  readonly finish: Finish
  readonly resolve: (value: unknown) => void

  constructor(count: number, bytes: boolean, finish: Finish, resolve: (value: unknown) => void) {
    this.replies = finish === every ? [] : undefined
    this.lacking = count
    this.bytes = bytes
    this.finish = finish
    this.resolve = resolve
  }
}

const CR = 13
const PLUS = 43
const DOLLAR = 36
const STAR = 42
const COPY_FROM = 32 * 1024
const NOTHING = Buffer.alloc(0)

export class Bare {
  readonly #socket: Socket
  #text = ""
  #flushing = false
  #queue: Array<Waiting> = []
  #head = 0
  #rest: Buffer = NOTHING
  /** The array being filled, and how many elements it still lacks. */
  #array: Array<Reply> | undefined
  #lacking = 0
  /** The large bulk being filled. */
  #bulk: Buffer | undefined
  #filled = 0
  /** Reused for large texts, which are copied out of it. */
  #scratch: Buffer = NOTHING

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on("data", (chunk: Buffer) => this.#read(chunk))
    socket.on("error", () => {})
  }

  call(text: string, count: number, bytes: boolean, finish: Finish): Promise<unknown> {
    return new Promise((resolve) => this.send(text, count, bytes, finish, resolve))
  }

  /** The same without a promise. */
  send(text: string, count: number, bytes: boolean, finish: Finish, resolve: (value: unknown) => void): void {
    this.#queue.push(new Waiting(count, bytes, finish, resolve))
    this.#text += text
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => this.#flush())
  }

  close(): void {
    this.#socket.destroy()
  }

  #flush(): void {
    const text = this.#text
    this.#text = ""
    this.#flushing = false
    this.#socket.write(text, "latin1")
  }

  #read(chunk: Buffer): void {
    let from = 0
    if (this.#bulk !== undefined) {
      from = this.#fill(this.#bulk, chunk, 0)
      if (from < 0) return
    }
    const data = this.#rest.length === 0 ? chunk.subarray(from) : Buffer.concat([this.#rest, chunk])
    const read = this.#parse(data)
    this.#rest = read === data.length ? NOTHING : Buffer.from(data.subarray(read))
  }

  /** Parses whole frames and returns where the first incomplete one begins. */
  #parse(data: Buffer): number {
    let at = 0
    while (at < data.length) {
      const end = data.indexOf(CR, at)
      if (end < 0 || end + 1 >= data.length) return at
      const type = data[at]
      if (type === PLUS) {
        this.#value(data.latin1Slice(at + 1, end))
        at = end + 2
        continue
      }
      const size = this.#integer(data, at + 1, end)
      if (type === STAR) {
        this.#array = []
        this.#lacking = size
        at = end + 2
        continue
      }
      if (type !== DOLLAR) throw new Error(`bare cannot read ${data.latin1Slice(at, end)}`)
      const start = end + 2
      if (size < 0) {
        this.#value(null)
        at = start
      } else if (start + size + 2 <= data.length) {
        this.#value(this.#decode(data, start, start + size))
        at = start + size + 2
      } else if (size > COPY_FROM) {
        this.#bulk = this.#space(size + 2)
        this.#filled = 0
        this.#fill(this.#bulk, data, start)
        return data.length
      } else return at
    }
    return at
  }

  #space(size: number): Buffer {
    if (this.#queue[this.#head]?.bytes === true) return Buffer.allocUnsafeSlow(size)
    if (this.#scratch.length < size) this.#scratch = Buffer.allocUnsafeSlow(size)
    return this.#scratch.subarray(0, size)
  }

  #integer(data: Buffer, from: number, to: number): number {
    if (data[from] === 45) return -1
    let value = 0
    for (let i = from; i < to; i++) value = value * 10 + (data[i] ?? 0) - 48
    return value
  }

  /** Returns where the bulk ended in `chunk`, or −1 when it goes on. */
  #fill(bulk: Buffer, chunk: Buffer, from: number): number {
    const end = Math.min(chunk.length, from + bulk.length - this.#filled)
    chunk.copy(bulk, this.#filled, from, end)
    this.#filled += end - from
    if (this.#filled < bulk.length) return -1
    this.#bulk = undefined
    this.#value(this.#decode(bulk, 0, bulk.length - 2))
    return end
  }

  #decode(data: Buffer, from: number, to: number): Reply {
    if (this.#queue[this.#head]?.bytes !== true) return data.utf8Slice(from, to)
    return to - from > COPY_FROM ? data.subarray(from, to) : Buffer.from(data.subarray(from, to))
  }

  #value(value: Reply): void {
    if (this.#array === undefined) return this.#reply(value)
    this.#array.push(value)
    if (--this.#lacking > 0) return
    const array = this.#array
    this.#array = undefined
    this.#reply(array)
  }

  #reply(value: Reply): void {
    const waiting = this.#queue[this.#head]
    if (waiting === undefined) throw new Error("a reply that nobody asked for")
    waiting.replies?.push(value)
    if (--waiting.lacking > 0) return
    this.#head++
    if (this.#head === this.#queue.length) {
      this.#queue = []
      this.#head = 0
    }
    waiting.resolve(waiting.replies ?? waiting.finish(value))
  }
}

const get = (key: string) => `*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`
const set = (key: string, value: string) =>
  `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`
const last: Finish = (reply) => reply
const every: Finish = (reply) => reply
const asMap: Finish = (flat) => {
  const map = new Map<Reply, Reply>()
  if (Array.isArray(flat)) for (let i = 0; i < flat.length; i += 2) map.set(flat[i] ?? null, flat[i + 1] ?? null)
  return map
}

/** Opens the socket. */
export const openBare = async (target: Target): Promise<Bare> => {
  const socket = openSocket({ host: target.host, port: target.port, noDelay: true })
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject))
  return new Bare(socket)
}

/** The calls of the workloads, by whatever waits for a reply. */
export const bareCalls = <P>(call: (text: string, count: number, bytes: boolean, finish: Finish) => P): Calls<P> => ({
  get: (key) => call(get(key), 1, false, last),
  getBytes: (key) => call(get(key), 1, true, last),
  set: (key, value) => call(set(key, value), 1, false, last),
  publish: () => {
    throw new Unsupported("it reads no numbers")
  },
  list: (key) => call(`*4\r\n$6\r\nLRANGE\r\n$${key.length}\r\n${key}\r\n$1\r\n0\r\n$2\r\n-1\r\n`, 1, false, last),
  hash: (key) => call(`*2\r\n$7\r\nHGETALL\r\n$${key.length}\r\n${key}\r\n`, 1, false, asMap),
  pipeline: (keys) => {
    let text = ""
    for (const key of keys) text += get(key)
    return call(text, keys.length, false, every)
  },
  transaction: (keys, value) => {
    let text = "*1\r\n$5\r\nMULTI\r\n"
    for (const key of keys) text += set(key, value)
    for (const key of keys) text += get(key)
    return call(`${text}*1\r\n$4\r\nEXEC\r\n`, keys.length * 2 + 2, false, last)
  }
})

const connect = async (target: Target) => {
  const bare = await openBare(target)
  const calls = bareCalls((text, count, bytes, finish) => bare.call(text, count, bytes, finish))
  return { calls, close: () => bare.close() }
}

const connection = (calls: Calls<Promise<unknown>>, close: () => void): Connection => ({
  driver: promiseDriver(calls),
  shapes: { batch: plainBatch, hash: entriesOf },
  close: async () => close()
})

export const client: Client = {
  open: async (target) => {
    const { calls, close } = await connect(target)
    return connection(calls, close)
  },
  openPool: async (target, size) => {
    const all = await Promise.all(Array.from({ length: size }, () => connect(target)))
    return connection(roundRobin(all.map(({ calls }) => calls)), () => all.forEach(({ close }) => close()))
  }
}
