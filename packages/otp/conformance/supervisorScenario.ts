/** The form of the supervision scenarios, and the check that a file has it: unknown fields are errors, not skipped. */

export type Reason =
  | string
  | { readonly shutdown: { readonly failed_to_start_child: { readonly id: string; readonly reason: Reason } } }

export type Outcome =
  | "ok"
  | "ignore"
  | { readonly error: string }
  | { readonly raise: string }
  | { readonly info: string }
  | { readonly delay_ms: number; readonly then?: Outcome }
  | { readonly gate: string; readonly then?: Outcome }

export interface Behavior {
  readonly start?: ReadonlyArray<Outcome>
  readonly cleanup?: true | number | { readonly gate: string }
  readonly on_shutdown?: "obey" | "ignore" | { readonly exit: string }
  readonly traps_exit?: boolean
  readonly run?: ReadonlyArray<{ readonly exit: string; readonly after_ms: number }>
}

export interface SupervisorSettings {
  readonly kind?: "supervisor" | "dynamic_supervisor"
  readonly strategy?: string
  readonly intensity?: number
  readonly period_ms?: number
  readonly auto_shutdown?: string
  readonly max_children?: number
  readonly init?: "ok" | "ignore"
}

export interface ScriptedChild {
  readonly id?: string
  readonly restart?: string
  readonly shutdown?: number | string
  readonly type?: string
  readonly significant?: unknown
  readonly no_start?: true
  readonly behavior?: Behavior
  readonly supervisor?: SupervisorSettings
  readonly children?: ReadonlyArray<ScriptedChild>
}

export interface Step {
  readonly op: string
  readonly sup?: string
  readonly child?: string
  readonly reason?: string
  readonly spec?: ScriptedChild
  readonly args?: { readonly name: string; readonly behavior?: Behavior }
  readonly by?: "id"
  readonly children?: ReadonlyArray<ScriptedChild>
  readonly auto_shutdown?: string
  readonly tag?: string
  readonly call?: Step
  readonly gate?: string
  readonly outcomes?: ReadonlyArray<Outcome>
  readonly ms?: number
}

export interface Scenario {
  readonly name: string
  readonly supervisor: SupervisorSettings
  readonly children: ReadonlyArray<ScriptedChild>
  readonly steps: ReadonlyArray<Step>
}

const fail = (where: string, what: string): never => {
  throw new Error(`${where}: ${what}`)
}

const record = (value: unknown, where: string, allowed: ReadonlyArray<string>): Record<string, unknown> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fail(where, "not an object")
  for (const key of Object.keys(value)) if (!allowed.includes(key)) fail(where, `unknown field "${key}"`)
  return value as Record<string, unknown>
}

const list = (value: unknown, where: string, check: (item: unknown, where: string) => void): void => {
  if (!Array.isArray(value)) return fail(where, "not a list")
  for (const [index, item] of value.entries()) check(item, `${where}[${index}]`)
}

const optional = (value: unknown, where: string, check: (value: unknown, where: string) => void): void => {
  if (value !== undefined) check(value, where)
}

const typed =
  (...types: ReadonlyArray<"string" | "number" | "boolean">) =>
  (value: unknown, where: string): void => {
    if (!types.some((type) => typeof value === type)) fail(where, `not a ${types.join(" or ")}`)
  }
const string = typed("string")
const boolean = typed("boolean")

const integer = (value: unknown, where: string): void => {
  if (!Number.isInteger(value)) fail(where, "not an integer")
}

const label = (value: unknown, where: string): void => {
  if (typeof value !== "string" || !/^(normal|shutdown|killed|kill|noproc|shutdown:.+|crash:.+)$/.test(value)) {
    fail(where, "not a reason")
  }
}

const outcome = (value: unknown, where: string): void => {
  if (value === "ok" || value === "ignore") return
  const it = record(value, where, ["error", "raise", "info", "delay_ms", "gate", "then"])
  const kinds = ["error", "raise", "info", "delay_ms", "gate"].filter((kind) => it[kind] !== undefined)
  if (kinds.length !== 1) fail(where, "not one outcome")
  optional(it.error, `${where}.error`, label)
  optional(it.raise, `${where}.raise`, label)
  optional(it.info, `${where}.info`, string)
  optional(it.delay_ms, `${where}.delay_ms`, integer)
  optional(it.gate, `${where}.gate`, string)
  if (it.then !== undefined && it.delay_ms === undefined && it.gate === undefined) fail(where, "then without a wait")
  optional(it.then, `${where}.then`, outcome)
}

const run = (value: unknown, where: string): void => {
  const it = record(value, where, ["exit", "after_ms"])
  label(it.exit, `${where}.exit`)
  integer(it.after_ms, `${where}.after_ms`)
}

const behavior = (value: unknown, where: string): void => {
  const it = record(value, where, ["start", "cleanup", "on_shutdown", "traps_exit", "run"])
  optional(it.start, `${where}.start`, (items, at) => list(items, at, outcome))
  optional(it.traps_exit, `${where}.traps_exit`, boolean)
  if (typeof it.cleanup === "object") string(record(it.cleanup, `${where}.cleanup`, ["gate"]).gate, where)
  else if (it.cleanup !== undefined && it.cleanup !== true) integer(it.cleanup, `${where}.cleanup`)
  if (typeof it.on_shutdown === "object") label(record(it.on_shutdown, where, ["exit"]).exit, where)
  else if (it.on_shutdown !== undefined && it.on_shutdown !== "obey" && it.on_shutdown !== "ignore") {
    fail(where, "unknown on_shutdown")
  }
  optional(it.run, `${where}.run`, (items, at) => list(items, at, run))
}

const supervisor = (value: unknown, where: string): void => {
  const fields = ["kind", "strategy", "intensity", "period_ms", "auto_shutdown", "max_children", "init"]
  const it = record(value, where, fields)
  if (it.kind !== undefined && it.kind !== "supervisor" && it.kind !== "dynamic_supervisor") fail(where, "unknown kind")
  if (it.init !== undefined && it.init !== "ok" && it.init !== "ignore") fail(where, "unknown init")
  for (const field of ["strategy", "auto_shutdown"]) optional(it[field], `${where}.${field}`, string)
  for (const field of ["intensity", "period_ms", "max_children"]) optional(it[field], `${where}.${field}`, integer)
}

const child = (value: unknown, where: string): void => {
  const fields = ["id", "restart", "shutdown", "type", "significant", "no_start", "behavior", "supervisor", "children"]
  const it = record(value, where, fields)
  for (const field of ["id", "restart", "type"]) optional(it[field], `${where}.${field}`, string)
  optional(it.shutdown, `${where}.shutdown`, typeof it.shutdown === "string" ? string : integer)
  if (it.no_start !== undefined && it.no_start !== true) fail(where, "unknown no_start")
  optional(it.behavior, `${where}.behavior`, behavior)
  optional(it.supervisor, `${where}.supervisor`, supervisor)
  optional(it.children, `${where}.children`, (items, at) => list(items, at, child))
}

/** The fields of each step; a question mark follows those that may be absent. */
const fieldsByOp: Readonly<Record<string, ReadonlyArray<string>>> = {
  start: [],
  stop: ["sup?", "reason?"],
  parent_exit: ["reason"],
  exit: ["child", "reason"],
  raise: ["child", "reason"],
  kill: ["child"],
  exit_signal: ["child", "reason"],
  start_child: ["spec?", "args?", "sup?"],
  terminate_child: ["child", "sup?", "by?"],
  restart_child: ["child", "sup?"],
  delete_child: ["child", "sup?"],
  get_childspec: ["child", "sup?"],
  which_children: ["sup?"],
  count_children: ["sup?"],
  check_childspecs: ["children", "auto_shutdown?"],
  async: ["tag", "call"],
  open_gate: ["gate"],
  set_start: ["child", "outcomes"],
  sleep: ["ms"]
}

const step = (value: unknown, where: string): void => {
  const op = typeof value === "object" && value !== null && "op" in value ? value.op : undefined
  const fields = typeof op === "string" ? fieldsByOp[op] : undefined
  if (fields === undefined) return fail(where, `unknown step "${String(op)}"`)
  const it = record(value, where, ["op", ...fields.map((field) => field.replace("?", ""))])
  for (const field of fields) if (!field.endsWith("?") && it[field] === undefined) fail(where, `no field "${field}"`)
  for (const field of ["sup", "child", "tag", "gate", "auto_shutdown"]) optional(it[field], `${where}.${field}`, string)
  optional(it.reason, `${where}.reason`, label)
  optional(it.ms, `${where}.ms`, integer)
  if (it.by !== undefined && it.by !== "id") fail(where, "unknown by")
  if (op === "start_child" && (it.spec === undefined) === (it.args === undefined))
    fail(where, "not one of spec and args")
  optional(it.spec, `${where}.spec`, child)
  optional(it.children, `${where}.children`, (items, at) => list(items, at, child))
  optional(it.outcomes, `${where}.outcomes`, (items, at) => list(items, at, outcome))
  optional(it.call, `${where}.call`, step)
  optional(it.args, `${where}.args`, (args, at) => {
    const fields = record(args, at, ["name", "behavior"])
    string(fields.name, `${at}.name`)
    optional(fields.behavior, `${at}.behavior`, behavior)
  })
}

const event = (value: unknown, where: string): void => {
  const it = record(value, where, ["ev", "id", "gen", "reason", "gate", "op", "result", "branches"])
  string(it.ev, `${where}.ev`)
  optional(it.branches, `${where}.branches`, (branches, at) =>
    list(branches, at, (branch, below) => list(branch, below, event))
  )
}

const stepTrace = (value: unknown, where: string): void => {
  const it = record(value, where, ["step", "op", "events", "async_replies"])
  integer(it.step, `${where}.step`)
  string(it.op, `${where}.op`)
  list(it.events, `${where}.events`, event)
  optional(it.async_replies, `${where}.async_replies`, (replies, at) =>
    list(replies, at, (reply, below) => void record(reply, below, ["tag", "op", "result"]))
  )
}

/** The scenario, or an error that says where the file is not one. */
export const parse = (value: unknown): Scenario => {
  const fields = ["format", "name", "title", "rules", "recorded_with", "supervisor", "children", "steps", "expected"]
  const it = record(value, "scenario", fields)
  if (it.format !== 1) fail("format", "is not 1")
  string(it.name, "name")
  string(it.title, "title")
  list(it.rules, "rules", string)
  const versions = record(it.recorded_with, "recorded_with", ["otp", "elixir"])
  string(versions.otp, "recorded_with.otp")
  optional(versions.elixir, "recorded_with.elixir", string)
  supervisor(it.supervisor, "supervisor")
  list(it.children, "children", child)
  list(it.steps, "steps", step)
  list(it.expected, "expected", stepTrace)
  // Every field has been checked above.
  return it as unknown as Scenario
}
