/** The data that the page gets: plain JSON without functions, states or payloads. */
import * as ExitReason from "@relive/otp/ExitReason"
import * as Process from "@relive/otp/Process"
import type { SupervisorEvent, TreeNode } from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"

/** One process of the tree. Its path is that of its parent and its id: paths of thousands would be most of the reply. */
export interface Node {
  readonly id: string
  readonly serial: number | undefined
  readonly type: string
  readonly state: string
  readonly generation: number
  readonly restarts: number
  readonly mailbox: number | undefined
  readonly lastExit: string | undefined
  readonly handling: { readonly what: string; readonly millis: number } | undefined
  readonly details: Process.Details | undefined
  readonly children: ReadonlyArray<Node>
}

const infoOf = (process: Process.Process): Process.Info => Effect.runSync(Process.info(process))

export const nodeOf = (node: TreeNode): Node => {
  const info = node.process === undefined ? undefined : infoOf(node.process)
  return {
    id: node.id,
    serial: node.process?.serial,
    type: node.type,
    state: node.busy === true && node.state === "running" ? "busy" : node.state,
    generation: node.generation,
    restarts: node.restarts,
    mailbox: node.mailboxDepth ?? (info !== undefined && info.mailboxDepth > 0 ? info.mailboxDepth : undefined),
    lastExit: node.lastExit === undefined ? undefined : ExitReason.format(node.lastExit),
    handling: info?.handling,
    details: info?.details,
    children: node.children.map(nodeOf)
  }
}

/** All that is known of one process; `undefined` when it is not in the tree (any more). */
export const processOf = (tree: TreeNode, serial: number): unknown => {
  const process = find(tree, serial)
  if (process === undefined) return undefined
  const { exitReason, links, monitoredBy, monitors, supervisor, ...info } = infoOf(process)
  const paths = (processes: ReadonlyArray<Process.Process>) => processes.map(({ path }) => path)
  return {
    ...info,
    exitReason: exitReason === undefined ? undefined : ExitReason.format(exitReason),
    supervisor: supervisor?.path,
    links: paths(links),
    monitors: paths(monitors),
    monitoredBy: paths(monitoredBy)
  }
}

const find = (node: TreeNode, serial: number): Process.Process | undefined => {
  if (node.process?.serial === serial) return node.process
  for (const child of node.children) {
    const found = find(child, serial)
    if (found !== undefined) return found
  }
  return undefined
}

export const eventOf = (event: SupervisorEvent): unknown =>
  "reason" in event ? { ...event, reason: ExitReason.format(event.reason) } : event
