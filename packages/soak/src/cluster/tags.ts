/** A short hash tag of a slot, by trying. */
import { ClusterTopology } from "@relive/cluster"

const found = new Map<number, string>()
let next = 0

export const tagOf = (slot: number): string => {
  for (;;) {
    const known = found.get(slot)
    if (known !== undefined) return known
    const tag = (next++).toString(36)
    const own = ClusterTopology.slotOf(tag)
    if (!found.has(own)) found.set(own, tag)
  }
}
