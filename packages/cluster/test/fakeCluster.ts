/** Scripted nodes of a cluster: they tell the map that a test sets, and say whatever it wants. */
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"

/** A range of slots, and the nodes that have it: the primary first. A node may also be told as it stands on the wire. */
export type Range = readonly [from: number, to: number, ...nodes: ReadonlyArray<string>]

export interface FakeNode {
  readonly name: string
  readonly port: number
  readonly server: FakeServer.FakeServer
  /** What it was sent, without handshakes and questions for the map. */
  readonly lines: Array<string>
  /** How often it was asked for the map. */
  asked: number
  /** What it says; `undefined` leaves the line to the defaults: `OK`, and the text of GET's key. */
  answer: (line: ReadonlyArray<string>, connection: FakeServer.Connection) => FakeServer.Answer | undefined
}

export interface FakeCluster {
  readonly nodes: ReadonlyArray<FakeNode>
  readonly node: (name: string) => FakeNode
  map: ReadonlyArray<Range>
  /** In place of the map. */
  mapReply: FakeServer.Answer | undefined
  readonly seeds: ReadonlyArray<{ readonly host: string; readonly port: number }>
}

const whole: ReadonlyArray<Range> = [[0, 16_383, "A"]]

export const nodeReply = (host: string | null, port: number, id: string): string =>
  FakeServer.array(host === null ? "$-1\r\n" : FakeServer.bulk(host), `:${port}\r\n`, FakeServer.bulk(id), "*0\r\n")

export const makeFakes = (names: ReadonlyArray<string> = ["A", "B", "C"], map: ReadonlyArray<Range> = whole) =>
  Effect.gen(function* () {
    const nodes: Array<FakeNode> = []
    const cluster: FakeCluster = {
      nodes,
      node: (name) => {
        const found = nodes.find((node) => node.name === name)
        if (found === undefined) throw new Error(`no node ${name}`)
        return found
      },
      map,
      mapReply: undefined,
      get seeds() {
        return nodes.slice(0, 1).map(({ port }) => ({ host: "127.0.0.1", port }))
      }
    }
    const slots = (): FakeServer.Answer => {
      if (cluster.mapReply !== undefined) return cluster.mapReply
      const rows = cluster.map.map(([from, to, ...owners]) =>
        FakeServer.array(
          `:${from}\r\n`,
          `:${to}\r\n`,
          ...owners.map((name) => nodeReply("127.0.0.1", cluster.node(name).port, name.padEnd(40, "0")))
        )
      )
      return FakeServer.array(...rows)
    }
    for (const name of names) {
      const handler: FakeServer.Handler = (line, connection) => {
        const [word = "", key = ""] = line
        const node = cluster.node(name)
        if (["HELLO", "CLIENT", "AUTH"].includes(word)) return undefined
        if (word === "PING") return undefined
        if (word === "CLUSTER" && /SLOTS/i.test(key)) {
          node.asked++
          return slots()
        }
        node.lines.push(line.join(" "))
        const said = node.answer(line, connection)
        if (said !== undefined) return said
        if (word === "GET") return FakeServer.bulk(`${key} of ${name}`)
        return "+OK\r\n"
      }
      const server = yield* FakeServer.make((connection) => connection.serve(handler, FakeServer.handshake))
      nodes.push({ name, port: server.port, server, lines: [], asked: 0, answer: () => undefined })
    }
    return cluster
  })
