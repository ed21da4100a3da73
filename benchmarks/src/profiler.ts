/** The engine's own profilers, started and stopped around a piece of work in the same process, and their summaries. */
import type { HeapProfiler, Profiler, Runtime } from "node:inspector"
import { Session } from "node:inspector/promises"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import type { ProfileSummary } from "./protocol.ts"

const CPU_INTERVAL_MICROSECONDS = 100
const ALLOCATION_INTERVAL_BYTES = 4096

const connected = (): Session => {
  const session = new Session()
  session.connect()
  return session
}

/** Starts to sample the stack. */
export const startCpuProfile = async (): Promise<Session> => {
  const session = connected()
  await session.post("Profiler.enable")
  await session.post("Profiler.setSamplingInterval", { interval: CPU_INTERVAL_MICROSECONDS })
  await session.post("Profiler.start")
  return session
}

/** The samples since then. */
export const stopCpuProfile = async (session: Session): Promise<Profiler.Profile> => {
  const { profile } = await session.post("Profiler.stop")
  session.disconnect()
  return profile
}

/** Starts to sample allocations, those that were collected since included. */
export const startAllocationProfile = async (): Promise<Session> => {
  const session = connected()
  await session.post("HeapProfiler.startSampling", {
    samplingInterval: ALLOCATION_INTERVAL_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true
  })
  return session
}

/** The allocations since then. */
export const stopAllocationProfile = async (session: Session): Promise<HeapProfiler.SamplingHeapProfile> => {
  const { profile } = await session.post("HeapProfiler.stopSampling")
  session.disconnect()
  return profile
}

const allNodes = (head: HeapProfiler.SamplingHeapProfileNode): Array<HeapProfiler.SamplingHeapProfileNode> => {
  const found = [head]
  for (const node of found) found.push(...node.children)
  return found
}

/** All bytes that were allocated on the JavaScript heap. */
export const totalBytes = (profile: HeapProfiler.SamplingHeapProfile): number =>
  allNodes(profile.head).reduce((sum, node) => sum + node.selfSize, 0)

const placeOf = (frame: Runtime.CallFrame): string => {
  if (frame.url === "") return ""
  const file = frame.url.startsWith("file:") ? fileURLToPath(frame.url) : frame.url
  const [inside, dependency] = [relative(process.cwd(), file), file.split("/node_modules/").at(-1)]
  const short = file.includes("/node_modules/") ? (dependency ?? file) : file.startsWith("/") ? inside : file
  return `${short}:${frame.lineNumber + 1}`
}

const summarised = (
  parts: Iterable<readonly [frame: Runtime.CallFrame, self: number]>,
  commands: number
): ProfileSummary => {
  const byFunction = new Map<string, { name: string; place: string; self: number }>()
  let total = 0
  for (const [frame, self] of parts) {
    const name = frame.functionName === "" ? "(anonymous)" : frame.functionName
    const place = placeOf(frame)
    const known = byFunction.get(`${name} ${place}`)
    total += self
    if (known === undefined) byFunction.set(`${name} ${place}`, { name, place, self })
    else known.self += self
  }
  const functions = [...byFunction.values()].filter(({ self }) => self > 0).sort((a, b) => b.self - a.self)
  return { commands, total, functions }
}

/** Waiting, and the profiler's own work. */
const isOurs = ({ functionName, url }: Runtime.CallFrame) =>
  functionName === "(idle)" || (functionName === "post" && url === "node:inspector")

/** Self time per function, in microseconds. Time in which the process waited is left out. */
export const summariseCpu = (profile: Profiler.Profile, commands: number): ProfileSummary => {
  const self = new Map<number, number>()
  const deltas = profile.timeDeltas ?? []
  profile.samples?.forEach((id, i) => self.set(id, (self.get(id) ?? 0) + (deltas[i] ?? 0)))
  const busy = profile.nodes.filter(({ callFrame }) => !isOurs(callFrame))
  return summarised(
    busy.map((node) => [node.callFrame, self.get(node.id) ?? 0] as const),
    commands
  )
}

/** Allocated bytes per function. */
export const summariseAllocation = (profile: HeapProfiler.SamplingHeapProfile, commands: number): ProfileSummary =>
  summarised(
    allNodes(profile.head).map((node) => [node.callFrame, node.selfSize] as const),
    commands
  )
