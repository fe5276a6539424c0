/** The TypeScript client of Rewindow, a context store for LLM conversations. */

export { Client, createClient } from "./client.ts";
export { Context } from "./context.ts";
export type { CallOptions, WriteOptions } from "./context.ts";
export type { Settings, Span, WindowQuery } from "./calls.ts";
export {
  Conflict,
  IdempotencyKeyReused,
  Internal,
  InvalidRequest,
  MethodNotAllowed,
  NoAnswer,
  NotExpressible,
  NotFound,
  NotRewindow,
  OtherVersion,
  RateLimited,
  Refused,
  RewindowError,
  Tombstoned,
  TooLarge,
  Unauthorized,
  Unavailable,
} from "./errors.ts";
export type { Options } from "./exchange.ts";
export type { FollowOptions } from "./following.ts";
export { text, textOf } from "./shapes.ts";
export type {
  Appended,
  AppendedAll,
  Compacted,
  ContextState,
  Format,
  Frame,
  JsonObject,
  Message,
  MessageFrame,
  NewMessage,
  Page,
  Part,
  Policy,
  Range,
  RenderedWindow,
  Requests,
  Segment,
  Undone,
  Window,
} from "./shapes.ts";
