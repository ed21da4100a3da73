/**
 * Where a command belongs: the slot of its keys, or that it has none, or several. Pure, from core's command table.
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import type * as Resp from "@relive/core/Resp"
import { slotOf } from "./slots.ts"

/** It has no keys. */
export const KEYLESS = -1
/** Its keys have several slots. */
export const CROSSING = -2

/** The slot of a command, or `KEYLESS`, or `CROSSING`. Never throws, whatever the command is. */
export const slotOfCommand = (command: Resp.Command): number => {
  const positions = CommandTable.routePositions(command)
  const first = positions[0]
  if (first === undefined) return KEYLESS
  const slot = slotOf(command[first] ?? "")
  for (let i = 1; i < positions.length; i++) {
    if (slotOf(command[positions[i] ?? 0] ?? "") !== slot) return CROSSING
  }
  return slot
}

/** The one slot of several commands, whatever keyless ones are among them. */
export const slotOfAll = (commands: ReadonlyArray<Resp.Command>): number => {
  let slot = KEYLESS
  for (const command of commands) {
    const own = slotOfCommand(command)
    if (own === KEYLESS) continue
    if (own === CROSSING || (slot !== KEYLESS && own !== slot)) return CROSSING
    slot = own
  }
  return slot
}

const SHOWN = 5

/** Why a command whose keys have several slots is refused, and what to do. No key is shown. */
export const crossing = (name: string, command: Resp.Command): string => {
  const positions = CommandTable.routePositions(command)
  const slots = new Set(positions.map((position) => slotOf(command[position] ?? "")))
  const places = positions.slice(0, SHOWN).join(", ") + (positions.length > SHOWN ? ", …" : "")
  return (
    `${name} has keys of ${slots.size} slots (arguments ${places}); in a cluster all keys of one command must share a ` +
    `hash tag, such as user:{42}:name and user:{42}:mail (CROSSSLOT)`
  )
}

/** The same for a transaction. */
export const crossingAll = (commands: ReadonlyArray<Resp.Command>): string => {
  const slots = new Set(
    commands.flatMap((command) =>
      CommandTable.routePositions(command).map((position) => slotOf(command[position] ?? ""))
    )
  )
  return (
    `The transaction has keys of ${slots.size} slots; in a cluster all keys of one transaction must share a hash tag, such ` +
    `as user:{42}:name and user:{42}:mail (CROSSSLOT)`
  )
}
