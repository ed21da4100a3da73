/**
 * Names of channels and patterns. Text and bytes that mean the same bytes are one name; what is not UTF-8 is kept apart, so that no
 * two names are ever taken for one.
 *
 * @internal
 */
import { Buffer, isUtf8 } from "node:buffer"
import type { Kind, Name } from "../../RedisPubSub.ts"

/** As text where it is UTF-8, else as bytes nobody else can change. */
export const canonical = (name: Name): Name => {
  if (typeof name === "string") return name
  return isUtf8(name) ? Buffer.from(name).toString("utf8") : Uint8Array.from(name)
}

/** A map by canonical names. */
export class NameMap<A> {
  private readonly texts = new Map<string, A>()
  /** By one unit per byte. */
  private readonly others = new Map<string, A>()

  get(name: Name): A | undefined {
    return typeof name === "string" ? this.texts.get(name) : this.others.get(latin1(name))
  }

  set(name: Name, value: A): void {
    if (typeof name === "string") this.texts.set(name, value)
    else this.others.set(latin1(name), value)
  }

  delete(name: Name): void {
    if (typeof name === "string") this.texts.delete(name)
    else this.others.delete(latin1(name))
  }
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")

/** The commands of each kind. */
export const verbs: Record<Kind, { readonly subscribe: string; readonly unsubscribe: string }> = {
  channel: { subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE" },
  pattern: { subscribe: "PSUBSCRIBE", unsubscribe: "PUNSUBSCRIBE" },
  shard: { subscribe: "SSUBSCRIBE", unsubscribe: "SUNSUBSCRIBE" }
}
