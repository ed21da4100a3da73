/**
 * The page: one document without anything from elsewhere. It asks for the tree when an event comes, and now and then for
 * the mailboxes, as long as it is visible; a tree that takes long to fetch is fetched less often. Only the rows that are
 * in sight are drawn, so that tens of thousands of processes stay usable. Every text is set as text.
 */
export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>observer</title>
<style>
:root { color-scheme: light dark; --bg: #fff; --fg: #1c2026; --dim: #6b7480; --line: #e3e6ea; --row: #f5f7f9; --pick: #e4effb;
  --good: #17803d; --busy: #9a6200; --bad: #c0262d; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --fg: #dde2e8; --dim: #8a94a0; --line: #2a3038; --row: #1a1e24;
  --pick: #1d3348; --good: #4cc474; --busy: #e3a83a; --bad: #f47178; } }
* { box-sizing: border-box; }
body { margin: 0; height: 100vh; display: grid; grid-template: auto 1fr 190px / 1fr 340px; background: var(--bg);
  color: var(--fg); font: 13px/1.45 ui-sans-serif, system-ui, sans-serif; }
header { grid-column: 1 / 3; display: flex; gap: 14px; align-items: center; padding: 8px 14px; border-bottom: 1px solid var(--line); }
header b { font-size: 14px; }
#counts { color: var(--dim); flex: 1; }
#link.lost { color: var(--bad); font-weight: 600; }
#link { color: var(--dim); }
input, button { font: inherit; color: inherit; background: var(--row); border: 1px solid var(--line); border-radius: 4px; padding: 3px 8px; }
#filter { width: 220px; }
.columns { display: grid; grid-template-columns: minmax(180px, 1.4fr) 76px 40px 60px 60px minmax(200px, 2.4fr) minmax(120px, 1.2fr);
  column-gap: 10px; padding: 0 14px; align-items: center; white-space: nowrap; }
.columns > * { overflow: hidden; text-overflow: ellipsis; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
main { display: flex; flex-direction: column; min-width: 0; min-height: 0; }
#titles { height: 26px; color: var(--dim); border-bottom: 1px solid var(--line); font-size: 12px; }
#view { flex: 1; overflow: auto; position: relative; outline: none; }
#rows { position: relative; }
.row { position: absolute; left: 0; right: 0; height: 24px; cursor: default; }
.row:hover { background: var(--row); }
.row.picked { background: var(--pick); }
.toggle { display: inline-block; width: 16px; color: var(--dim); cursor: pointer; user-select: none; }
.supervisor .id { font-weight: 600; }
.running { color: var(--good); }
.busy, .starting, .stopping, .restarting { color: var(--busy); }
.abandoned { color: var(--bad); }
.stopped, .dim { color: var(--dim); }
.hot { color: var(--bad); font-weight: 600; }
aside { border-left: 1px solid var(--line); overflow: auto; padding: 10px 14px; min-width: 0; }
aside h2 { font-size: 13px; margin: 0 0 6px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; margin: 0 0 10px; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
#events { grid-column: 1 / 3; border-top: 1px solid var(--line); overflow: auto; padding: 6px 14px;
  font: 12px/1.5 ui-monospace, monospace; }
#events:empty::before { content: "What happens from now on is listed here."; color: var(--dim); }
#events div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.time { color: var(--dim); margin-right: 10px; }
</style>
</head>
<body>
<header><b id="root">observer</b><span id="counts"></span><span id="link">connecting</span>
<input id="filter" type="search" placeholder="filter by path, state or kind" aria-label="filter">
<button id="open">open all</button><button id="shut">close all</button></header>
<main><div id="titles" class="columns"><span>process</span><span>state</span><span class="number">gen</span>
<span class="number">restarts</span><span class="number">mailbox</span><span>tells</span><span>last exit</span></div>
<div id="view" tabindex="0"><div id="rows"></div></div></main>
<aside id="detail"><p class="dim">Click a process to look into it.</p></aside>
<section id="events" aria-label="events"></section>
<script>
"use strict"
const get = (id) => document.getElementById(id)
const HEIGHT = 24, MANY = 60, KEPT = 300
let tree, rows = [], picked, filter = "", shut = new Set(), seen = new Set(), fetching = false, again = false, timer, drawn = ""

const element = (tag, name, text) => {
  const made = document.createElement(tag)
  if (name) made.className = name
  if (text !== undefined) made.textContent = text
  return made
}
const told = ({ details, handling }) => {
  const parts = []
  if (handling) parts.push("handling " + handling.what + (handling.millis >= 100 ? " for " + time(handling.millis) : ""))
  if (details) {
    const { state, ...others } = details.facts
    const facts = Object.entries(others).filter(([, value]) => value !== undefined && value !== null)
    parts.push(details.kind + (state === undefined ? "" : " " + state) + ": " + facts.map(([name, value]) => name + " " + value).join(", "))
  }
  return parts.join(" · ")
}
const time = (millis) => millis < 1000 ? millis + " ms" : (millis / 1000).toFixed(1) + " s"

// --- rows: the tree, flat, as it is open and filtered ---
const flatten = () => {
  rows = []
  let processes = 0, restarts = 0, waiting = 0, down = 0
  const words = filter.toLowerCase()
  const visit = (node, parent, depth, isOpen) => {
    const path = parent === "" ? node.id : parent + "/" + node.id
    const key = path + "#" + (node.serial ?? "")
    processes++; restarts += node.restarts; waiting += node.mailbox ?? 0
    if (node.state !== "running" && node.state !== "busy") down++
    const many = node.children.length > MANY && depth > 0
    if (many && !seen.has(path)) { seen.add(path); shut.add(path) }
    if (words === "" ? isOpen : (path + " " + node.state + " " + told(node)).toLowerCase().includes(words)) {
      rows.push({ node, path, key, depth: words === "" ? depth : 0 })
    }
    const below = isOpen && !shut.has(path)
    for (const child of node.children) visit(child, path, depth + 1, below)
  }
  visit(tree, "", 0, true)
  get("root").textContent = tree.id
  document.title = "observer: " + tree.id
  get("counts").textContent = processes + " processes · " + down + " not running · " + restarts + " restarts · " + waiting + " messages wait"
}
const draw = (force) => {
  const view = get("view"), first = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - 8)
  const last = Math.min(rows.length, first + Math.ceil(view.clientHeight / HEIGHT) + 16)
  get("rows").style.height = rows.length * HEIGHT + "px"
  const window = first + "-" + last
  if (!force && window === drawn) return
  drawn = window
  get("rows").replaceChildren(...rows.slice(first, last).map((row, index) => rowOf(row, first + index)))
}
const rowOf = ({ depth, key, node, path }, index) => {
  const row = element("div", "row columns " + node.type + (picked && picked.key === key ? " picked" : ""))
  row.style.top = index * HEIGHT + "px"
  row.dataset.path = path
  const name = element("span")
  name.style.paddingLeft = depth * 16 + "px"
  name.title = path
  const toggle = element("span", "toggle", node.children.length === 0 ? "" : shut.has(path) ? "▸" : "▾")
  toggle.addEventListener("click", (event) => {
    event.stopPropagation()
    if (!shut.delete(path)) shut.add(path)
    flatten(); draw(true)
  })
  name.append(toggle, element("span", "id", filter === "" ? node.id : path))
  if (node.children.length > 0 && shut.has(path)) name.append(element("span", "dim", "  " + node.children.length))
  const tells = element("span", "dim", told(node))
  tells.title = told(node)
  const exit = element("span", node.lastExit && node.lastExit.startsWith("crash") ? "hot" : "dim", node.lastExit ?? "")
  exit.title = node.lastExit ?? ""
  row.append(name, element("span", node.state, node.state), element("span", "number", node.generation),
    element("span", "number" + (node.restarts > 0 ? " hot" : ""), node.restarts),
    element("span", "number", node.mailbox ?? ""), tells, exit)
  row.addEventListener("click", () => { picked = { key, path, serial: node.serial }; draw(true); look() })
  return row
}

// --- one process ---
const look = async () => {
  if (!picked) return
  const { path, serial } = picked, detail = get("detail")
  const response = serial === undefined ? undefined : await fetch("/process/" + serial).catch(() => undefined)
  if (!picked || picked.path !== path) return
  const info = response && response.ok ? await response.json() : undefined
  const list = element("dl")
  const add = (name, value) => {
    if (value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0)) return
    list.append(element("dt", "", name), element("dd", "", Array.isArray(value) ? value.join(", ") : String(value)))
  }
  if (!info) {
    add("state", "does not run")
    return detail.replaceChildren(element("h2", "", path), list)
  }
  add("state", info.state); add("generation", info.generation); add("supervisor", info.supervisor)
  add("handling", info.handling && info.handling.what + " for " + time(info.handling.millis))
  add("messages", info.mailboxDepth); add("timers", info.timers); add("traps exits", info.trapExit ? "yes" : "no")
  add("links", info.links); add("monitors", info.monitors); add("monitored by", info.monitoredBy); add("ended", info.exitReason)
  const parts = [element("h2", "", path), list]
  if (info.details) {
    const facts = element("dl")
    for (const [name, value] of Object.entries(info.details.facts)) {
      if (value !== undefined && value !== null) facts.append(element("dt", "", name), element("dd", "", String(value)))
    }
    parts.push(element("h2", "", info.details.kind), facts)
  }
  detail.replaceChildren(...parts)
}

// --- fetching ---
const refresh = async () => {
  clearTimeout(timer)
  if (document.hidden) return
  if (fetching) { again = true; return }
  fetching = true
  const began = performance.now()
  try {
    tree = await (await fetch("/tree")).json()
    flatten(); draw(true); await look()
    get("link").className = ""; get("link").textContent = "live"
  } catch {
    get("link").className = "lost"; get("link").textContent = "the program does not answer"
  }
  fetching = false
  const took = performance.now() - began
  timer = setTimeout(refresh, again ? Math.max(200, took * 4) : Math.max(1000, took * 10))
  again = false
}
let soon
const refreshSoon = () => { soon ??= setTimeout(() => { soon = undefined; refresh() }, 200) }

const texts = {
  ChildStarted: "started", ChildStartIgnored: "does not run", ChildStartFailed: "failed to start", ChildExited: "ended",
  ChildRestarting: "restarts", ChildAbandoned: "was killed, but something of it still runs", ChildReleased: "has really ended",
  IntensityExceeded: "gives up: too many restarts", SupervisorExited: "the supervisor ended"
}
const eventLine = (event) => {
  const line = element("div")
  const bad = (event.reason ?? "").startsWith("crash") || event._tag === "IntensityExceeded" || event.reason === "killed"
  const delay = event.delayMillis > 0 ? " after " + time(Math.round(event.delayMillis)) : ""
  line.append(element("span", "time", new Date().toLocaleTimeString()), element("span", "", event.path + " "),
    element("span", bad ? "hot" : "dim", (texts[event._tag] ?? event._tag) + delay + (event.reason ? " (" + event.reason + ")" : "")))
  return line
}
let source
const listen = () => {
  if (source) source.close()
  if (document.hidden) { source = undefined; return }
  source = new EventSource("/events")
  source.onopen = refresh
  source.onmessage = ({ data }) => {
    const events = get("events")
    events.prepend(eventLine(JSON.parse(data)))
    while (events.childElementCount > KEPT) events.lastElementChild.remove()
    refreshSoon()
  }
}
document.addEventListener("visibilitychange", () => { listen(); refresh() })
get("view").addEventListener("scroll", () => draw(false))
addEventListener("resize", () => draw(true))
get("filter").addEventListener("input", () => { filter = get("filter").value.trim(); if (tree) { flatten(); get("view").scrollTop = 0; draw(true) } })
get("open").addEventListener("click", () => { shut.clear(); flatten(); draw(true) })
get("shut").addEventListener("click", () => {
  const close = (node, parent) => {
    const path = parent === "" ? node.id : parent + "/" + node.id
    if (parent !== "" && node.children.length > 0) shut.add(path)
    for (const child of node.children) close(child, path)
  }
  close(tree, ""); flatten(); draw(true)
})
listen()
refresh()
</script>
</body>
</html>
`
