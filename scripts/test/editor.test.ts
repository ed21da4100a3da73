/**
 * What an editor shows of the public calls, by the compiler's own language server: documentation where the mouse is, and
 * completions that are options and nothing else.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "../lib/workspace.ts"

/** A program in an editor; `|` marks where the mouse is, each mark with a name behind it. */
const program = `
import { Redis, RedisError, RedisService } from "@relive/core"
import type { Effect } from "effect"
Redis.com|command|mand(["GET", "k"], { tim|timeout|eout: 1, re|retry|try: false })
Redis.command(["GET", "k"], { |options| })
Redis.pipe|pipeline|line([["GET", "k"]])
Redis.transac|transaction|tion([["GET", "k"]])
Redis.no|noreply|reply([["GET", "k"]])
Redis.wat|watch|ch(["k"], Redis.command(["GET", "k"]))
Redis.scr|script|ipt("return 1")
Redis.sc|scan|an({ cou|count|nt: 1 })
Redis.hs|hscan|can("k")
Redis.sub|subscribe|scribe("c")
Redis.pub|publish|lish("c", "m")
Redis.lea|lease|se
Redis.lay|layer|er("redis://localhost")
Redis.layer({ |layerOptions| })
Redis.command(|signature|["GET", "k"])
const program: Effect.Effect<string, RedisError, RedisService> = null!
const isIt = (error: unknown) => error instanceof RedisError ? error.reason : undefined
export { isIt, program }
`

interface Position {
  readonly line: number
  readonly character: number
}

const positions = new Map<string, Position>()

/** The program without its marks. */
const text = program
  .split("\n")
  .map((line, index) => {
    let rest = line
    for (let mark = /\|([a-zA-Z]+)\|/.exec(rest); mark !== null; mark = /\|([a-zA-Z]+)\|/.exec(rest)) {
      positions.set(mark[1] ?? "", { line: index, character: mark.index })
      rest = rest.slice(0, mark.index) + rest.slice(mark.index + mark[0].length)
    }
    return rest
  })
  .join("\n")

const uri = pathToFileURL(Path.join(root, "packages/core/test/editor.ts")).href

/** A language server, spoken to as an editor does. */
const startServer = () => {
  const server = spawn(Path.join(root, "node_modules/.bin/tsc"), ["--lsp", "--stdio"], { cwd: root })
  const waiting = new Map<number, (result: unknown) => void>()
  let received = Buffer.alloc(0)
  let requests = 0
  const send = (message: object) => {
    const body = JSON.stringify({ jsonrpc: "2.0", ...message })
    server.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  }
  const onMessage = (message: { readonly id?: number; readonly method?: string; readonly result?: unknown }) => {
    if (message.id === undefined) return
    // It asks for settings; there are none.
    if (message.method !== undefined) return send({ id: message.id, result: [null] })
    waiting.get(message.id)?.(message.result)
    waiting.delete(message.id)
  }
  server.stdout.on("data", (data: Buffer) => {
    received = Buffer.concat([received, data])
    for (;;) {
      const end = received.indexOf("\r\n\r\n")
      if (end < 0) return
      const length = Number(/Content-Length: (\d+)/.exec(received.subarray(0, end).toString())?.[1])
      if (received.length < end + 4 + length) return
      const body = received.subarray(end + 4, end + 4 + length).toString()
      received = received.subarray(end + 4 + length)
      onMessage(JSON.parse(body))
    }
  })
  const request = (method: string, params: object) =>
    new Promise<unknown>((resolve) => {
      waiting.set(++requests, resolve)
      send({ id: requests, method, params })
    })
  return { request, notify: (method: string, params: object) => send({ method, params }), stop: () => server.kill() }
}

describe("An editor", () => {
  let ask: (method: string, name: string) => Promise<string> = () => Promise.reject(new Error("not started"))
  let server: ReturnType<typeof startServer> | undefined

  beforeAll(async () => {
    server = startServer()
    const { notify, request, stop } = server
    const plain = { contentFormat: ["plaintext"] }
    const capabilities = { textDocument: { hover: plain, completion: {}, signatureHelp: {} } }
    await request("initialize", { processId: process.pid, rootUri: pathToFileURL(root).href, capabilities })
    notify("initialized", {})
    notify("textDocument/didOpen", { textDocument: { uri, languageId: "typescript", version: 1, text } })
    ask = async (method, name) => {
      const position = positions.get(name)
      assert.isDefined(position, name)
      return JSON.stringify(await request(`textDocument/${method}`, { textDocument: { uri }, position }))
    }
    return stop
  }, 60_000)

  for (const [name, says] of [
    ["command", "Fails with a `RedisError`"],
    ["pipeline", "waits for all replies"],
    ["transaction", "one transaction"],
    ["noreply", "replies are not sent"],
    ["watch", "optimistic transaction"],
    ["script", "Lua script"],
    ["scan", "page by page"],
    ["hscan", "fields and values"],
    ["subscribe", "`Subscribed` comes first"],
    ["publish", "Publishes a message"],
    ["lease", "nobody else uses"],
    ["layer", "from a URL"],
    ["timeout", "deadline"],
    ["retry", "not written again"],
    ["count", "per page"]
  ] as const) {
    it(`shows what \`${name}\` is for`, async () => {
      assert.include(await ask("hover", name), says)
    })
  }

  it("shows what a call is for while its arguments are written", async () => {
    const help: unknown = JSON.parse(await ask("signatureHelp", "signature"))
    assert.ok(typeof help === "object" && help !== null && "signatures" in help && Array.isArray(help.signatures))
    assert.isAtLeast(help.signatures.length, 5)
    for (const { documentation, label } of help.signatures) assert.isDefined(documentation, label)
  })

  it("offers the options of a layer, and nothing else", async () => {
    const completions: unknown = JSON.parse(await ask("completion", "layerOptions"))
    const items =
      typeof completions === "object" && completions !== null && "items" in completions
        ? completions.items
        : completions
    assert.ok(Array.isArray(items))
    const labels = items.map(({ label }) => String(label))
    for (const wanted of ["host?", "port?", "timeout?", "leases?"]) assert.include(labels, wanted)
    for (const label of labels) assert.notMatch(label, /effect|hash|href|origin|searchParams|toJSON/)
  })

  it("takes `RedisError` of the barrel for a type and for a value", async () => {
    const report: unknown = await server?.request("textDocument/diagnostic", { textDocument: { uri } })
    assert.ok(typeof report === "object" && report !== null && "items" in report && Array.isArray(report.items))
    const first = text.split("\n").findIndex((line) => line.startsWith("const program"))
    assert.deepStrictEqual(
      report.items.filter(({ range }) => range.start.line >= first).map(({ message }) => message),
      []
    )
    assert.notMatch(JSON.stringify(report.items), /as a type|namespace/)
  })
})
