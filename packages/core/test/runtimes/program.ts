/**
 * What a program asks of Relive, on whatever runtime it is started: each line it prints is a thing that works. It ends by itself.
 *
 * It is told where the servers are by `REDIS_URL`, `REDIS_TLS_URL` with `REDIS_CA`, and `REDIS_SOCKET`.
 */
import { Redis } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const variable = (name: string): string => process.env[name] ?? ""

const done = (what: string) => Effect.sync(() => process.stdout.write(`${what}\n`))

const expect = (is: boolean, what: string) => (is ? Effect.void : Effect.die(new Error(`not as expected: ${what}`)))

const commands = Effect.gen(function* () {
  yield* Redis.command(["SET", "text", "Grüße"])
  yield* expect((yield* Redis.command(["GET", "text"])) === "Grüße", "GET")
  yield* Redis.command(["HSET", "hash", "a", "1"])
  const hash = yield* Redis.command(["HGETALL", "hash"], { schema: Schema.Struct({ a: Schema.NumberFromString }) })
  yield* expect(hash.a === 1, "HGETALL")
  const many = yield* Effect.forEach(
    Array.from({ length: 1000 }, (_, i) => i),
    (i) => Redis.command(["INCRBY", "sum", i]),
    { concurrency: "unbounded" }
  )
  yield* expect(many[999] === 499_500, "a thousand at once")
  const replies = yield* Redis.transaction([
    ["SET", "n", 1],
    ["INCR", "n"]
  ])
  yield* expect(replies[1] === 2, "MULTI")
  yield* expect((yield* Redis.script("return ARGV[1]")([], ["x"])) === "x", "a script")
  const error = yield* Effect.flip(Redis.command(["LPUSH", "text", "x"]))
  yield* expect(error.reason._tag === "ReplyError" && error.reason.code === "WRONGTYPE", "an error")
})

const large = Effect.gen(function* () {
  const value = new Uint8Array(3 * 1024 * 1024).map((_, i) => i % 251)
  yield* Redis.command(["SET", "large", value])
  const read = yield* Redis.command(["GET", "large"], { decode: "bytes" })
  yield* expect(
    read instanceof Uint8Array && read.length === value.length && read[1_000_003] === value[1_000_003],
    "3 MB"
  )
  const text = "x€".repeat(1024 * 1024)
  yield* Redis.command(["SET", "large-text", text])
  yield* expect((yield* Redis.command(["GET", "large-text"])) === text, "4 MB of text")
})

const blocking = Effect.gen(function* () {
  const popped = yield* Effect.forkChild(Redis.command(["BLPOP", "queue", 10]), { startImmediately: true })
  yield* Effect.repeat(Redis.command(["INFO", "clients"]), {
    until: (info) => /blocked_clients:1/.test(String(info))
  })
  yield* Redis.command(["RPUSH", "queue", "element"])
  const reply = yield* Fiber.join(popped)
  yield* expect(Array.isArray(reply) && reply[1] === "element", "BLPOP")
})

const killed = Effect.gen(function* () {
  const before = (yield* Redis.status).sessions
  yield* Effect.ignore(Redis.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]))
  yield* expect((yield* Redis.command(["GET", "text"])) === "Grüße", "a call after the kill")
  yield* expect((yield* Redis.status).sessions > before, "another session")
})

const pubsub = Effect.gen(function* () {
  const messages = yield* Redis.subscribe("channel").pipe(
    Stream.tap((event) => (event._tag === "Subscribed" ? Redis.publish("channel", "hello") : Effect.void)),
    Stream.filter((event) => event._tag === "Message"),
    Stream.take(1),
    Stream.runCollect
  )
  const [message] = messages
  yield* expect(message?._tag === "Message" && message.payload === "hello", "a message")
})

const ping = Effect.flatMap(Redis.command(["PING"]), (pong) => expect(pong === "PONG", "PING"))

const program = Effect.gen(function* () {
  const main = Redis.layer(variable("REDIS_URL"))
  yield* Effect.gen(function* () {
    yield* commands
    yield* done("commands")
    yield* large
    yield* done("large values")
    yield* blocking
    yield* done("blocking pops")
    yield* pubsub
    yield* done("pub/sub")
    yield* killed
    yield* done("a killed connection")
  }).pipe(Effect.provide(main))
  yield* done("close")
  yield* Effect.provide(ping, Redis.layer({ url: variable("REDIS_TLS_URL"), tls: { ca: variable("REDIS_CA") } }))
  yield* done("TLS")
  yield* Effect.provide(ping, Redis.layer({ path: variable("REDIS_SOCKET") }))
  yield* done("a Unix socket")
})

const exit = await Effect.runPromiseExit(Effect.timeout(program, "25 seconds"))
if (Exit.isFailure(exit)) {
  process.stderr.write(`${String(exit.cause)} ${JSON.stringify(exit.cause)}\n`)
  process.exitCode = 1
}
// Nothing is left that would keep the process alive.
