/**
 * A tree as text: one line per process, in columns.
 *
 * @internal
 */
import * as ExitReason from "../../ExitReason.ts"
import type { TreeNode } from "../../Supervisor.ts"

type Row = readonly [process: string, state: string, gen: string, restarts: string, mailbox: string, lastExit: string]

const titles: Row = ["process", "state", "gen", "restarts", "mailbox", "last exit"]

const rowsOf = (node: TreeNode, branch: string, below: string, rows: Array<Row>): Array<Row> => {
  const { generation, id, lastExit, mailboxDepth, restarts, state } = node
  rows.push([
    `${branch}${id}`,
    node.busy === true && state === "running" ? "busy" : state,
    String(generation),
    String(restarts),
    mailboxDepth === undefined ? "" : String(mailboxDepth),
    lastExit === undefined ? "" : ExitReason.format(lastExit)
  ])
  node.children.forEach((child, index) => {
    const isLast = index === node.children.length - 1
    rowsOf(child, `${below}${isLast ? "└─ " : "├─ "}`, `${below}${isLast ? "   " : "│  "}`, rows)
  })
  return rows
}

const isNumber = (column: number): boolean => column >= 2 && column <= 4

export const render = (tree: TreeNode): string => {
  const rows = [titles, ...rowsOf(tree, "", "", [])]
  const widths = titles.map((_, column) => rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0))
  const line = (row: Row) =>
    row
      .map((cell, column) => (isNumber(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd()
  return rows.map(line).join("\n")
}
