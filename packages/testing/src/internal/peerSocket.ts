/**
 * Ways to end a socket that Node does not offer for every kind of socket.
 *
 * @internal
 */
import type * as Net from "node:net"

/** Ends with RST where the transport has one (TCP); else closes at once (Unix sockets). */
export const reset = (socket: Net.Socket): void => {
  // Node reports ERR_INVALID_HANDLE_TYPE as an "error" event for what is not TCP; a destroyed socket stays quiet.
  const isTcp = socket.remotePort !== undefined
  // While its FIN is on the way, a reset fails (EINVAL), and Node keeps the handle for ever.
  const isEnding = socket.writableEnded && !socket.writableFinished
  if (isTcp && !isEnding) socket.resetAndDestroy()
  else socket.destroy()
}

/** Runs `listener` once the socket has closed, now if it has. */
export const onClosed = (socket: Net.Socket, listener: () => void): void => {
  if (socket.closed) listener()
  else socket.once("close", listener)
}
