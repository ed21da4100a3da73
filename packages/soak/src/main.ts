/**
 * The soak: `npm run -s soak -- --seconds N --seed S --json`.
 *
 * Commands of all kinds from many fibers, over connections that are cut, stalled, refused and killed all the while, to a real
 * server that is paused, stopped and killed as well. Every call is recorded, and compared with what the server executed.
 *
 * The last line on stdout is one line of JSON. Exit code 0: no law was broken. 1: one was; stderr shows which, with the
 * stretch of the history it happened in. 2: there was too little load, or too few faults, for the run to mean anything.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import { common, connections, parse, rate, usage, type Settings } from "./Settings.ts"
import * as Soak from "./Soak.ts"
import * as Verdict from "./Verdict.ts"

const tell = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const introduce = ({ seconds, seed, tls }: Settings): void => {
  const names = connections.map(({ name }) => name).join(", ")
  tell(`soak: ${seconds} s, seed ${seed}${tls ? ", over TLS" : ""}; ${names}; at most ${rate.most} commands/s`)
  tell(`soak: chosen for all of them (milliseconds): ${JSON.stringify(common)}`)
}

/** The exit code of a run; says on stderr what is wrong. */
const judge = ({ findings, history, report, seconds }: Soak.Outcome): number => {
  const broken = Verdict.broken(report)
  if (broken.length > 0) {
    tell(`soak: broken: ${broken.join(", ")} (seed ${report.seed})\n\n${Verdict.render(findings, history)}`)
    return 1
  }
  const tooLittle = Verdict.tooLittle(report, seconds)
  for (const reason of tooLittle) tell(`soak: too little to mean something: ${reason}`)
  return tooLittle.length > 0 ? 2 : 0
}

/** The last line, once it is really out. */
const printed = (report: Verdict.Report): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    process.stdout.write(`${JSON.stringify(report)}\n`, () => resume(Effect.void))
  })

const program = (settings: Settings): Effect.Effect<number, unknown> =>
  Effect.gen(function* () {
    introduce(settings)
    const outcome = yield* Effect.scoped(Soak.run(settings))
    const code = judge(outcome)
    if (!settings.json) for (const [name, value] of Object.entries(outcome.report)) console.log(name, value)
    yield* printed(outcome.report)
    return code
  })

const settings = parse(process.argv.slice(2))
if (typeof settings === "string") {
  tell(`soak: ${settings}\n${usage}`)
  process.exitCode = 64
} else {
  // Each ended session is a line of the supervisor's log; here they are all meant to end.
  NodeRuntime.runMain(Effect.provideService(program(settings), References.MinimumLogLevel, "None"), {
    // Leftovers of a broken client must not keep the process: the exit code is known.
    teardown: (exit, onExit) =>
      onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : Exit.hasInterrupts(exit) ? 130 : 70)
  })
}
