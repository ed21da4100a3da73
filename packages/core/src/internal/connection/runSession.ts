/**
 * The body of a session: dial, handshake, then live until the end. Run as the supervised child of a connection.
 *
 * @internal
 */
import * as Process from "@relive/otp/Process"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { randomBytes } from "node:crypto"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Located } from "../../RedisOptions.ts"
import * as Resp from "../../Resp.ts"
import { Call, INTERNAL } from "../call/call.ts"
import type { Answer } from "../call/call.ts"
import type { Connection } from "./connection.ts"
import { RawReducer } from "../call/reducers.ts"
import { keepAuthenticated } from "./credentials.ts"
import type { Credentials } from "./credentials.ts"
import * as handshake from "./handshake.ts"
import { encoder } from "../call/encoding.ts"
import { ArgumentFailure } from "../resp/encoder.ts"
import { queueMicrotask, readFirst, startTimer, withinTime } from "../turns.ts"
import { lifetimeOf } from "../options/kinds.ts"
import { defective, Session } from "./session.ts"
import type { Inbound, Phase, SessionHooks } from "./session.ts"
import { sessionEnd } from "../transport/sessionEnd.ts"
import type { SessionEnd } from "../transport/sessionEnd.ts"
import { isTlsRecord, refusesUs, tlsOnPlainPort } from "../transport/tls.ts"
import { dial, diagnoseSilentClose } from "../transport/dial.ts"
import type { Target } from "../transport/dial.ts"
import { Wire } from "../transport/wire.ts"
import type { Decoded, WireClosed } from "../transport/wire.ts"

const connectFailed = (detail: string, cause?: unknown): SessionEnd =>
  sessionEnd({ kind: "connect", detail, permanent: false, cause })

const disconnected = (detail: string, cause?: unknown): SessionEnd =>
  sessionEnd({ kind: "disconnected", detail, permanent: false, cause })

export const shutdown = sessionEnd({ kind: "shutdown", detail: "the connection is closing", permanent: false })

/** A run of a session: what its parts leave here for the others, and for its end. */
class Run implements SessionHooks {
  /** Why the server refuses us, by its replies in the handshake so far; set while replies are waited for. */
  whyCut: (() => SessionEnd | undefined) | undefined = undefined
  /** Ends the socket; set once there is one. */
  disconnect: (() => void) | undefined = undefined
  /** Resumes the one who waits for the end. */
  onEnded: (() => void) | undefined = undefined

  readonly destroy = (): void => this.disconnect?.()
  readonly ended = (): void => this.onEnded?.()
}

/** The end of a session by a failed socket, or a bad byte. */
const readFailed = (session: Session, run: Run, error: WireClosed | Resp.ProtocolError | SessionEnd): SessionEnd => {
  const early = session.readyAt === Infinity ? " before the handshake was finished" : ""
  switch (error._tag) {
    case "SessionEnd":
      return error
    case "ProtocolError": {
      if (error.truncated) {
        const detail = "the server closed the connection in the middle of a reply"
        const cut = sessionEnd({ kind: "disconnected", detail, permanent: false, cause: error, closedByPeer: true })
        return run.whyCut?.() ?? cut
      }
      // Before the first good reply it is no Redis at all, and will be none next time.
      if (session.readyAt === Infinity) return notRedis(session, error)
      const detail = `the server broke the protocol: ${error.message}`
      return sessionEnd({ kind: "protocol", detail, permanent: false, cause: error })
    }
    case "WireClosed": {
      const refusal = run.whyCut?.()
      if (refusal !== undefined) return refusal
      if (error.cause === undefined) {
        const detail = `the server closed the connection${early}`
        return sessionEnd({ kind: "disconnected", detail, permanent: false, closedByPeer: true })
      }
      return refusesUs(error.cause) ?? disconnected(`the connection was lost${early}`, error.cause)
    }
  }
}

const notRedis = (session: Session, cause: Resp.ProtocolError): SessionEnd =>
  isTlsRecord(session.firstByte)
    ? tlsOnPlainPort
    : sessionEnd({
        kind: "handshake",
        detail: `what listens there does not speak Redis's protocol: ${cause.message}`,
        permanent: true,
        cause
      })

/** Turns the exit of a part into the end of the session. */
const endOf = (exit: Exit.Exit<unknown, SessionEnd>): SessionEnd => {
  if (Exit.isSuccess(exit)) return disconnected("the session has ended")
  const fail = exit.cause.reasons.find(Cause.isFailReason)
  if (fail !== undefined) return fail.error
  return Cause.hasInterruptsOnly(exit.cause) ? shutdown : defective(exit.cause)
}

const endsSession = (session: Session) =>
  Effect.onExit((exit: Exit.Exit<unknown, SessionEnd>) => Effect.sync(() => session.die(endOf(exit))))

/** Hands out all frames; between them subscribers may be given a turn. */
const dispatch = (session: Session, frames: ReadonlyArray<Decoded>, from: number): Effect.Effect<void, SessionEnd> => {
  const failure = session.dispatch(frames, from)
  if (failure !== undefined) return Effect.fail(failure)
  if (session.feed?.crowded !== true) return Effect.void
  return Effect.flatMap(session.feed.turn, () => dispatch(session, frames, session.dispatched))
}

/** The reader: the decoded replies of the socket as a stream of arrays, each handed to the session. */
const reader = (
  connection: Connection,
  session: Session,
  run: Run,
  wire: Wire,
  target: Target
): Effect.Effect<void, SessionEnd> =>
  Stream.fromPull(Effect.succeed(wire.pull)).pipe(
    Stream.runForEachArray((frames) => dispatch(session, frames, 0)),
    Effect.catch((error) => {
      const end = readFailed(session, run, error)
      // Once may be a restart; a server that never says a word is worth a closer look.
      const isMute = error._tag === "WireClosed" && session.firstByte < 0 && connection.silentSessions > 0
      return isMute ? Effect.flatMap(diagnoseSilentClose(target, end), Effect.fail) : Effect.fail(end)
    })
  )

const refusalEnd = (
  { secrets }: Connection,
  { detail, error, transient, wrongRole = false }: handshake.Refused
): SessionEnd =>
  sessionEnd({
    wrongRole,
    kind: transient ? "connect" : "handshake",
    detail: secrets.hide(detail),
    permanent: !transient,
    cause: error === undefined ? undefined : secrets.hideIn(error)
  })

/**
 * The peer has closed the connection in the middle of the handshake. Some proxies do that at a command that they do not know, and
 * never say why: so the next one goes without what is not needed. A peer that has said nothing at all may be one that has just
 * started, so it is given a second chance.
 */
const learnFromCut = (
  connection: Connection,
  batch: handshake.Batch,
  verdict: handshake.Verdict,
  answered: number
): void => {
  if (verdict._tag === "Send" && verdict.batch.protocol !== batch.protocol) connection.protocol = verdict.batch.protocol
  else if (answered < batch.steps.length && (answered > 0 || connection.silentSessions > 0)) {
    connection.greeting.isPlain = !connection.greeting.isPlain
  }
}

/** Writes one batch of the handshake and waits for its replies. */
const exchange = (
  connection: Connection,
  session: Session,
  run: Run,
  settings: handshake.Settings,
  batch: handshake.Batch
) =>
  Effect.callback<ReadonlyArray<Answer>, SessionEnd>((resume) => {
    const payload = encoder.encodeAll(batch.commands)
    if (payload instanceof ArgumentFailure) {
      resume(Effect.fail(sessionEnd({ kind: "handshake", detail: payload.message, permanent: true })))
      return
    }
    const replies: Array<Answer> = []
    // It may close without answering the rest.
    run.whyCut = () => {
      const verdict = handshake.next(settings, batch, replies)
      if (verdict._tag === "Refused") return refusalEnd(connection, verdict)
      learnFromCut(connection, batch, verdict, replies.length)
      return undefined
    }
    const reducer = new RawReducer((reply) => {
      replies.push(reply)
      // Not inside of the dispatch, which is in the middle of its state.
      if (handshake.turnsAway(reply)) queueMicrotask(() => resume(Effect.succeed([reply])))
    })
    session.submitInternal(
      new Call<ReadonlyArray<Answer>>(
        payload,
        batch.commands.length,
        encoder.bytes,
        "HELLO",
        INTERNAL,
        reducer,
        batch.commands.length,
        connection.options.connectTimeoutMillis,
        connection.now(),
        (outcome) => {
          // A failure is the end of the session, and the waiter for that says why.
          if (Exit.isSuccess(outcome)) resume(Effect.succeed(outcome.value))
        }
      )
    )
  })

/** How often the primary of a group that is loading is asked whether it serves now. */
const LOADING_MILLIS = 50

const freshMarker = (): string => randomBytes(8).toString("hex")

const shakeHands = Effect.fnUntraced(function* (
  connection: Connection,
  session: Session,
  run: Run,
  given: handshake.Settings
) {
  let settings = given
  let batch = handshake.start(settings)
  const loadingUntil = connection.now() + connection.options.connectTimeoutMillis / 2
  for (;;) {
    const verdict = handshake.next(settings, batch, yield* exchange(connection, session, run, settings, batch))
    run.whyCut = undefined
    if (verdict._tag === "Refused") {
      const end = refusalEnd(connection, verdict)
      settings = { ...settings, marker: freshMarker() }
      const again = handshake.onceMore(settings, batch, verdict)
      if (again === undefined || connection.now() >= loadingUntil) return yield* end
      connection.putOff(end)
      yield* Effect.sleep(LOADING_MILLIS)
      batch = again
      continue
    }
    session.unwanted = verdict.unwanted ?? session.unwanted
    // The same would be said of each lease.
    if (verdict.warning !== undefined && connection.kind === "shared") {
      yield* Effect.logWarning(`Redis at ${connection.address}: ${verdict.warning}`)
    }
    if (verdict._tag === "Ready") {
      session.protocol = verdict.protocol
      return
    }
    batch = verdict.batch
  }
})

/**
 * Credentials are asked for again for each session, so that they may rotate. However their effect ends: also when it dies or
 * interrupts itself, which must not be taken for an end of ours.
 */
const readCredentials = ({ options }: Connection): Effect.Effect<Credentials, SessionEnd> => {
  const { password, username } = options
  if (password === undefined) return Effect.succeed({ username, password, lifeMillis: Infinity })
  return password.pipe(
    Effect.map((secret) => ({ username, password: Redacted.value(secret), lifeMillis: lifetimeOf(secret) })),
    Effect.catchCause((cause) =>
      Effect.fail(connectFailed("the effect of the option `password` failed", Cause.squash(cause)))
    )
  )
}

const settingsOf = (
  { greeting, options, protocol }: Connection,
  role: "primary" | "replica" | undefined,
  { password, username }: Credentials
): handshake.Settings => {
  const { database, libraryName, libraryVersion, name, onConnect } = options
  return {
    protocol,
    username,
    password,
    name,
    database,
    libraryName,
    libraryVersion,
    onConnect,
    role,
    marker: freshMarker(),
    isPlain: greeting.isPlain
  }
}

/** Where to dial: the option, or what the resolver finds now. */
const locate = (connection: Connection): Effect.Effect<Located, SessionEnd> => {
  const { endpoint, resolver } = connection.options
  if (resolver === undefined) return Effect.succeed({ endpoint })
  return Effect.matchEffect(resolver.resolve(connection), {
    onFailure: (error) =>
      Effect.suspend(() => {
        connection.located(undefined)
        return Effect.fail(connectFailed(error.message, error))
      }),
    onSuccess: (located) =>
      Effect.sync(() => {
        connection.located(located.endpoint)
        return located
      })
  })
}

const saysWrongRole = (reason: Cause.Reason<SessionEnd>): boolean =>
  Cause.isFailReason(reason) && reason.error.wrongRole === true

/** Dials and shakes hands. The reader lives in the scope of the process, so it goes on while that terminates. */
const establish = Effect.fnUntraced(function* (
  connection: Connection,
  session: Session,
  run: Run,
  decoder: Resp.Decoder<Resp.Reply>
) {
  const located = yield* locate(connection)
  return yield* Effect.onExit(reach(connection, session, run, decoder, located), (exit) =>
    Effect.sync(() => {
      if (Exit.isFailure(exit)) located.rejected?.(exit.cause.reasons.some(saysWrongRole))
    })
  )
})

const reach = Effect.fnUntraced(function* (
  connection: Connection,
  session: Session,
  run: Run,
  decoder: Resp.Decoder<Resp.Reply>,
  { endpoint, role }: Located
) {
  const credentials = yield* readCredentials(connection)
  const settings = settingsOf(connection, role, credentials)
  connection.secrets.add(settings.username, settings.password)
  session.expiresAt = connection.now() + credentials.lifeMillis
  const wire = new Wire(decoder, (bytes, at) => session.inbound(bytes, at))
  const { options } = connection
  const target = endpoint === options.endpoint ? options : { ...options, endpoint }
  run.disconnect = yield* dial(target, wire, (secured) => {
    session.opens(secured ? "handshake" : "tls")
    connection.handshaking()
  })
  yield* Process.fork(reader(connection, session, run, wire, target).pipe(endsSession(session)), { label: "reader" })
  session.attach(wire)
  yield* shakeHands(connection, session, run, settings)
  session.sought = role
  const renewed = keepAuthenticated(connection, session, credentials, readCredentials(connection))
  if (credentials.lifeMillis !== Infinity) yield* Process.fork(renewed, { label: "credentials" })
})

const silentFor = (millis: number): SessionEnd =>
  sessionEnd({
    kind: "health-check",
    detail: `the server said nothing for ${Math.round(millis)} ms or more, or next to nothing for much longer, while a command waited`,
    permanent: false
  })

/** Ends a session that is silent for too long. It holds nothing but a timer between two looks. */
class HealthWatch {
  private readonly connection: Connection
  private readonly session: Session
  private readonly context: Context.Context<never>
  private cancel: (() => void) | undefined = undefined

  constructor(connection: Connection, session: Session, context: Context.Context<never>) {
    this.connection = connection
    this.session = session
    this.context = context
  }

  get interval(): number {
    return this.connection.options.healthCheckIntervalMillis
  }

  look(): void {
    try {
      const wait = this.session.checkHealth(this.interval)
      this.cancel =
        wait > 0
          ? startTimer(this.connection.clock, this.context, wait, () => this.look())
          : Effect.runCallbackWith(this.context)(this.lookAgain, { onExit: (exit) => this.noteDefect(exit) })
    } catch (defect) {
      this.noteDefect(Exit.die(defect))
    }
  }

  stop(): void {
    this.cancel?.()
  }

  /**
   * Our own event loop may have been held up: what has come in meanwhile is read before a session is given up. What stands
   * between us and the server in this very program, a relay say, has turns of its own to pass it on.
   */
  private get lookAgain(): Effect.Effect<void> {
    const { connection, interval, session } = this
    return Effect.andThen(Effect.yieldNow, Effect.yieldNow).pipe(
      Effect.andThen(readFirst(connection.clock, interval, () => session.received)),
      Effect.andThen(
        Effect.sync(() => (session.checkHealth(interval) > 0 ? this.look() : session.die(silentFor(interval))))
      )
    )
  }

  private noteDefect(exit: Exit.Exit<void>): void {
    if (Exit.hasDies(exit)) this.session.die(endOf(exit))
  }
}

/** The rest of a session that is ready. */
const lives = (connection: Connection, session: Session, run: Run): Effect.Effect<never, SessionEnd> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const watch = new HealthWatch(connection, session, context)
    if (watch.interval !== Infinity) watch.look()
    return Effect.onExit(awaitEnd(session, run), () => Effect.sync(() => watch.stop()))
  })

/** Waits for the end of the session, whatever ended it. */
const awaitEnd = (session: Session, run: Run): Effect.Effect<never, SessionEnd> =>
  Effect.callback((resume) => {
    const look = () => {
      if (session.end !== undefined) resume(Effect.fail(session.end))
    }
    run.onEnded = look
    look()
  })

/** The step that was not done in time, in words. */
const unfinished = (phase: Phase): string => {
  if (phase === "dial") return "no connection was open"
  return phase === "tls"
    ? "the connection is open, but its TLS handshake was not finished"
    : "the connection is open, but the server did not answer the handshake"
}

/** Dials and shakes hands, in time. Then the session is ready. */
const begin = (connection: Connection, session: Session, run: Run, decoder: Resp.Decoder<Resp.Reply>) => {
  const { connectTimeoutMillis } = connection.options
  const tooLate = () => Effect.fail(connectFailed(`${unfinished(session.phase)} within ${connectTimeoutMillis} ms`))
  return establish(connection, session, run, decoder).pipe(
    (established) =>
      withinTime(connection.clock, established, {
        millis: connectTimeoutMillis,
        orElse: tooLate,
        received: () => session.received,
        forgiving: true
      }),
    Effect.map(() => connection.ready(session))
  )
}

/**
 * Makes a session, and its run from dial to end, which never succeeds. An interruption alone does not end it: `closeSession` lets
 * the calls under way finish first, and the scope's finalizer ends what is left.
 */
export const makeSession = (connection: Connection, makeFeed?: (session: Session) => Inbound) => {
  const decoder = Resp.makeDecoder({ limits: connection.options.limits, volatile: true })
  const hooks = new Run()
  const session = new Session(connection, connection.options, decoder, hooks, makeFeed)
  const run = Effect.suspend(() => {
    connection.starting(session)
    return Effect.raceFirst(awaitEnd(session, hooks), begin(connection, session, hooks, decoder))
  }).pipe(
    // None of the fibers of the race is left while it lives.
    Effect.flatMap(() => lives(connection, session, hooks)),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        if (!Exit.hasInterrupts(exit)) session.die(endOf(exit))
      })
    )
  )
  return { session, run }
}

const giveUp = () => Effect.fail(shutdown)

/** The orderly end: what is under way may finish within `closeTimeout`, or `within` milliseconds if that is less. */
export const closeSession = (connection: Connection, session: Session, within = Infinity): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (session.phase === "ended") return Effect.void
    connection.beginClose(within)
    const { clock } = connection
    const received = () => session.received
    const drained = Effect.suspend(() =>
      // A blocking command may block for ever.
      !session.isUp || session.blocked
        ? Effect.void
        : withinTime(clock, connection.drained, { millis: connection.closeMillis, orElse: giveUp, received })
    )
    // An element that was taken for a blocked call may have come in already: then it is handed out.
    const isBlocked = session.isUp && session.blocked
    return Effect.ignore(isBlocked ? Effect.andThen(readFirst(clock, Infinity, received), drained) : drained)
  }).pipe(Effect.ensuring(Effect.sync(() => session.die(shutdown))))
