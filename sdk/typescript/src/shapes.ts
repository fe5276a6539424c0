/**
 * What is sent and what comes back, in the names of the HTTP contract. Made from its OpenAPI document;
 * only what may hold anything is said to be so here.
 */

import type { components } from "./openapi.ts";

type Schemas = components["schemas"];

/** An object of JSON. */
export type JsonObject = Record<string, unknown>;

/** One part of a message: its type, and beside it anything. */
export type Part = { type: string; [field: string]: unknown };

/** `T` with fields in the place of those that it has. */
type With<T, Fields> = Omit<T, keyof Fields> & Fields;

/** A message as it is read; it can be sent back as it is. What a compaction put into the window has no
 * `seq`. */
export type Message = With<Schemas["Message"], { parts: Part[]; metadata: JsonObject }>;

/** A message as it is said. `token_count`: your own count; `id`: your own name for it. */
export type NewMessage = With<
  Schemas["MessageBody"],
  { parts: readonly Part[]; metadata?: JsonObject | null }
>;

/** How a window is kept small. */
export type Policy = NonNullable<Schemas["ConfigureBody"]["policy"]>;

/** Settings and state of a context. Times are RFC 3339; budgets and counts, tokens. */
export type ContextState = With<Schemas["Context"], { metadata: JsonObject }>;

/** One message is in. `token_estimate`: what it counts in the window, in tokens. */
export type Appended = Schemas["Appended"];

/** Messages are in, one seq after the other. */
export type AppendedAll = Schemas["AppendedAll"];

/** The window holds the replacement since `version`. */
export type Compacted = Schemas["Compacted"];

/** So many messages were undone, from the one seq to the other. */
export type Undone = Schemas["Undone"];

/** Seqs, both included. */
export type Range = Schemas["Range"];

/** A run of the window: a summary stands for these seqs, a live one shows them as they are. */
export type Segment = Schemas["Segment"];

/** What the model sees. `over_budget`: the newest message alone is larger than the budget. */
export type Window = With<Omit<Schemas["Window"], "format">, { messages: Message[] }>;

/** A page of the history. `next_seq`: where the next one begins, null where there is none; `undone`:
 * the ranges of undone messages that have a part in it. */
export type Page = With<Schemas["Replay"], { messages: Message[] }>;

/** What goes into a provider's request, by format. The shapes are the provider's own, which its
 * library knows better than this one: so that they fit its types, they have none here. */
export type Requests = {
  "openai-chat": { messages: any[] };
  "openai-responses": { input: any[] };
  anthropic: { system?: any[]; messages: any[] };
  "ai-sdk": { messages: any[] };
};

/** The shapes that a window can be given in. */
export type Format = keyof Requests;

/** The window in the shape that a provider takes. `request`: what goes into its request; `left_out`:
 * how many parts of each type it is not shown. */
export type RenderedWindow<F extends Format> = {
  format: F;
  request: Requests[F];
  left_out: Record<string, number>;
} & Omit<Window, "messages">;

/** A page of contexts; `next` is the `after` of the next one. */
export type Contexts = With<Schemas["Contexts"], { contexts: ContextState[] }>;

/** A page counted back from the newest message. */
export type Tail = With<Schemas["Tail"], { messages: Message[] }>;

/** A message was appended. */
export type MessageFrame = With<Schemas["MessageFrame"], { message: Message }>;

/** What whoever follows a context is told. After a `reset` (it was made anew), all that it holds is
 * told from the first message on. */
export type Frame =
  | MessageFrame
  | Schemas["ContextFrame"]
  | Schemas["CompactionFrame"]
  | Schemas["UndoneFrame"]
  | Schemas["TombstonedFrame"]
  | Schemas["ResetFrame"];

/** What a stream says beside. */
export type GapFrame = Schemas["GapFrame"];

/** A message of one text part. */
export function text(role: string, words: string): NewMessage & { parts: [Part] } {
  return { role, parts: [{ type: "text", text: words }] };
}

/** What a message's text parts say, one after the other. */
export function textOf(message: { parts: readonly Part[] }): string {
  return message.parts
    .map((part) => (part.type === "text" ? String(part["text"] ?? "") : ""))
    .join("");
}
