/**
 * In a module of its own, because both the server and its connections make it.
 *
 * @internal
 */
import * as Schema from "effect/Schema"

/**
 * Something a `FakeServer` did not expect: which connection it was (counted from 0) and, in `message`, what was
 * expected and what came.
 *
 * @since 0.1.0
 * @category errors
 */
export class FakeServerError extends Schema.TaggedError<FakeServerError>()("FakeServerError", {
  connection: Schema.Number,
  message: Schema.String
}) {}
