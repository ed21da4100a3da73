/**
 * A client's socket, the socket to the server behind it, and the two lanes between them.
 *
 * @internal
 */
import type * as Net from "node:net"
import type { Cut } from "../Fault.ts"
import { Lane, type LaneContext } from "./lane.ts"
import * as PeerSocket from "./peerSocket.ts"

// After a FIN the peer gets this long to close its side, then we do.
const LINGER_MILLIS = 1_000

export class ProxiedConnection {
  readonly index: number
  private readonly client: Net.Socket
  private readonly server: Net.Socket
  private readonly lanes: readonly [toServer: Lane, toClient: Lane]
  private isOver = false
  private linger: NodeJS.Timeout | undefined = undefined

  constructor(
    index: number,
    client: Net.Socket,
    server: Net.Socket,
    context: Omit<LaneContext, "cut" | "onSettled">,
    onClosed: () => void
  ) {
    this.index = index
    this.client = client
    this.server = server
    const cut: LaneContext["cut"] = (how) => this.cut(how)
    const onSettled = () => this.closeIfSettled()
    const toServer = new Lane("toServer", client, server, { ...context, cut, onSettled })
    const toClient = new Lane("toClient", server, client, { ...context, cut, onSettled })
    this.lanes = [toServer, toClient]
    // A server that is gone looks like one to the client, unless a fault hides it. ("close" follows each "error".)
    server.on("error", () => {
      if (!toClient.hidesEnd) this.cut("rst")
    })
    client.on("error", () => this.cut("rst"))
    client.on("close", () => {
      clearTimeout(this.linger)
      this.destroy()
      PeerSocket.onClosed(server, onClosed)
    })
  }

  onChange(): void {
    for (const lane of this.lanes) lane.onChange()
  }

  cut(how: Cut["how"]): void {
    if (this.isOver) return
    this.stop()
    if (how === "rst") {
      PeerSocket.reset(this.client)
      PeerSocket.reset(this.server)
      return
    }
    // Closing with unread bytes would send RST: so FIN first, and read on until the peer has closed too.
    for (const socket of [this.client, this.server]) {
      socket.removeAllListeners("data")
      socket.end()
      socket.resume()
      socket.on("end", () => socket.destroy())
    }
    this.linger = setTimeout(() => this.destroy(), LINGER_MILLIS)
  }

  /** Closes without a word. */
  destroy(): void {
    this.stop()
    this.client.destroy()
    this.server.destroy()
  }

  /**
   * The connection is over when nothing more will pass, or when the client has gone and its end was swallowed: no fault
   * keeps a connection that nobody holds.
   */
  private closeIfSettled(): void {
    const [toServer, toClient] = this.lanes
    if (toServer.hasLostEnd) return this.cut("rst")
    if (!toServer.isFinished || !toClient.isSettled) return
    this.client.destroySoon()
    this.server.destroySoon()
  }

  private stop(): void {
    this.isOver = true
    for (const lane of this.lanes) lane.stop()
  }
}
