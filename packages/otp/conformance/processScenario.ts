/** The form of the process scenarios, and the check that a file has it: unknown fields are errors, not skipped. */

/** What a message says its handler does; `m` is its label. */
export interface Msg {
  readonly m: string
  readonly gate?: string
  readonly delay_ms?: number
  readonly raise?: string
  readonly exit?: string
  readonly throw?: true
  readonly reply_to?: string
  readonly value?: unknown
  readonly cast_self?: Msg
  readonly call_self?: true
  readonly call?: { readonly to: string; readonly msg: Msg; readonly timeout_ms?: number }
  readonly monitor?: string
  readonly stop?: string
  readonly reply?: unknown
  readonly noreply?: true
  readonly timeout_ms?: number
  readonly continue?: Msg
}

export type Init =
  | "ok"
  | "ignore"
  | { readonly stop: string }
  | { readonly raise: string }
  | { readonly gate: string }
  | { readonly timeout_ms: number }
  | { readonly continue: Msg }

export interface ServerScript {
  readonly id: string
  readonly traps_exit?: boolean
  readonly init?: Init
}

/** A step, or an item of a burst. Which fields there are depends on `op`. */
export interface Step {
  readonly op: string
  readonly by?: string
  readonly process?: string
  readonly traps_exit?: boolean
  readonly server?: string
  readonly link?: boolean
  readonly register?: string
  readonly key?: unknown
  readonly timeout_ms?: number
  readonly to?: string
  readonly to_name?: string
  readonly to_key?: readonly [registry: string, key: unknown]
  readonly msg?: Msg
  readonly items?: ReadonlyArray<Step>
  readonly flush?: boolean
  readonly reason?: string
  readonly value?: unknown
  readonly name?: string
  readonly gate?: string
  readonly ms?: number
  readonly registry?: string
  readonly keys?: "unique" | "duplicate"
  readonly partitions?: number
  readonly listeners?: ReadonlyArray<string>
}

export interface Scenario {
  readonly name: string
  readonly family: "server" | "registry"
  readonly servers: ReadonlyArray<ServerScript>
  readonly steps: ReadonlyArray<Step>
}

type Check = (value: unknown, where: string) => void

const fail = (where: string, what: string): never => {
  throw new Error(`${where}: ${what}`)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const anything: Check = () => {}

const type =
  (name: "string" | "number" | "boolean"): Check =>
  (value, where) => {
    if (typeof value !== name) fail(where, `not a ${name}`)
  }
const string = type("string")
const number = type("number")
const boolean = type("boolean")

const literal =
  (...values: ReadonlyArray<unknown>): Check =>
  (value, where) => {
    if (!values.includes(value)) fail(where, `not one of ${values.map(String).join(", ")}`)
  }

const listOf =
  (check: Check): Check =>
  (value, where) => {
    if (!Array.isArray(value)) return fail(where, "not a list")
    for (const [index, item] of value.entries()) check(item, `${where}[${index}]`)
  }

const label: Check = (value, where) => {
  const known = /^(normal|shutdown|killed|kill|noproc|shutdown:.+|crash:.+)$/
  if (typeof value !== "string" || !known.test(value)) fail(where, `not a reason: ${String(value)}`)
}

/** An object with these fields and no others; those after `required` may be absent. */
const object =
  (required: Readonly<Record<string, Check>>, optional: Readonly<Record<string, Check>> = {}): Check =>
  (value, where) => {
    if (!isRecord(value)) return fail(where, "not an object")
    for (const key of Object.keys(required)) if (!(key in value)) fail(where, `no field "${key}"`)
    for (const [key, field] of Object.entries(value)) {
      const check = Object.hasOwn(required, key)
        ? required[key]
        : Object.hasOwn(optional, key)
          ? optional[key]
          : undefined
      if (check === undefined) return fail(where, `unknown field "${key}"`)
      check(field, `${where}.${key}`)
    }
  }

const message: Check = (value, where) =>
  object(
    { m: string },
    {
      gate: string,
      delay_ms: number,
      raise: label,
      exit: label,
      throw: literal(true),
      reply_to: string,
      value: anything,
      cast_self: message,
      call_self: literal(true),
      call: object({ to: string, msg: message }, { timeout_ms: number }),
      monitor: string,
      stop: label,
      reply: anything,
      noreply: literal(true),
      timeout_ms: number,
      continue: message
    }
  )(value, where)

const init: Check = (value, where) => {
  if (value === "ok" || value === "ignore") return
  const fields = { stop: label, raise: label, gate: string, timeout_ms: number, continue: message }
  object({}, fields)(value, where)
  if (!isRecord(value) || Object.keys(value).length !== 1) fail(where, "not one outcome")
}

const server = object({ id: string }, { traps_exit: boolean, init })

const registryKey: Check = (value, where) => {
  if (!Array.isArray(value) || value.length !== 2) return fail(where, "not [registry, key]")
  string(value[0], `${where}[0]`)
}

const by = { by: string }
const target = { to: string, to_name: string, to_key: registryKey }

const addressed: Check = (value, where) => {
  const given = isRecord(value) ? ["to", "to_name", "to_key"].filter((field) => field in value) : []
  if (given.length !== 1) fail(where, "not one of to, to_name, to_key")
}

const all =
  (...checks: ReadonlyArray<Check>): Check =>
  (value, where) => {
    for (const check of checks) check(value, where)
  }

const op = { op: string }
const sending = all(object({ ...op, msg: message }, { ...by, ...target }), addressed)
const aiming = all(object(op, { ...by, ...target }), addressed)

const steps: Readonly<Record<string, Check>> = {
  spawn: object({ ...op, process: string }, { traps_exit: boolean }),
  start_server: object(
    { ...op, server: string },
    { ...by, link: boolean, register: string, key: registryKey, timeout_ms: number }
  ),
  call: all(object({ ...op, msg: message }, { ...by, ...target, timeout_ms: number }), addressed),
  cast: sending,
  send: sending,
  burst: (value, where) => object({ ...op, items: listOf(step) }, by)(value, where),
  monitor: aiming,
  demonitor: all(object(op, { ...by, ...target, flush: boolean }), addressed),
  link: aiming,
  unlink: aiming,
  is_alive: aiming,
  exit: object({ ...op, process: string, reason: label }),
  raise: object({ ...op, process: string, reason: label }),
  kill: object({ ...op, process: string }),
  signal: all(object({ ...op, reason: label }, { ...by, ...target }), addressed),
  trap_exit: object({ ...op, value: boolean }, by),
  stop: all(object(op, { ...by, ...target, reason: label, timeout_ms: number }), addressed),
  register_name: object({ ...op, name: string }, by),
  unregister_name: object({ ...op, name: string }, by),
  whereis: object({ ...op, name: string }, by),
  open_gate: object({ ...op, gate: string }),
  sleep: object({ ...op, ms: number }),
  start_registry: object(
    { ...op, registry: string, keys: literal("unique", "duplicate") },
    { ...by, partitions: number, listeners: listOf(string) }
  ),
  stop_registry: object({ ...op, registry: string }, by),
  register: object({ ...op, registry: string, key: anything }, { ...by, value: anything }),
  unregister: object({ ...op, registry: string, key: anything }, by),
  lookup: object({ ...op, registry: string, key: anything }, by),
  keys: object({ ...op, registry: string, process: string }, by),
  values: object({ ...op, registry: string, key: anything, process: string }, by),
  count: object({ ...op, registry: string }, by),
  update_value: object({ ...op, registry: string, key: anything, value: anything }, by),
  dispatch: object({ ...op, registry: string, key: anything, msg: message }, by),
  whereis_key: object({ ...op, registry: string, key: anything }, by),
  put_meta: object({ ...op, registry: string, key: anything, value: anything }, by),
  meta: object({ ...op, registry: string, key: anything }, by)
}

const step: Check = (value, where) => {
  const name = isRecord(value) ? value.op : undefined
  const check = typeof name === "string" && Object.hasOwn(steps, name) ? steps[name] : undefined
  if (check === undefined) return fail(where, `unknown step "${String(name)}"`)
  check(value, where)
}

const scenario = object({
  format: literal(1),
  name: string,
  title: string,
  rules: listOf(string),
  recorded_with: anything,
  family: literal("server", "registry"),
  servers: listOf(server),
  steps: listOf(step),
  expected: listOf(anything)
})

/** The scenario, or an error that says where the file is not one. */
export const parse = (value: unknown): Scenario => {
  scenario(value, "scenario")
  // Every field has been checked above.
  return value as Scenario
}
