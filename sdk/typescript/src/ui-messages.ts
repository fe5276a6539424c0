/** The AI SDK's `UIMessage` as messages of a context, and back, unchanged. */

import type { UIMessage } from "ai";

import type { CallOptions, Context } from "./context.ts";
import { Conflict, NotUIMessage } from "./errors.ts";
import type { JsonObject, Message, NewMessage, Part } from "./shapes.ts";

/** Metadata that no object is, or an empty one, stand under this key. */
const WRAPPED = "ui_metadata";
/** What stands in a message that has no parts: a context takes none of these. */
const NOTHING: Part = { type: "step" };
/** Of those that stand, how many are looked at for the first message to be saved, at least. */
const LOOKED_AT = 100;
const TAIL_MESSAGES_MAX = 1000;
const BATCH_MESSAGES = 100;
/** A request has at most 4 MiB; a letter may need three bytes. */
const BATCH_CHARS = 1_000_000;
/** Each time that this fails, somebody else has got something in. */
const ATTEMPTS = 10;

/** What was done: so many were new, and so many that stood before are undone. */
export type Saved = { appended: number; undone: number; version: number };

/**
 * Has a context say, from the first of these messages on, exactly what they say: what it says already
 * stays, what it says otherwise is undone, and the rest is appended. So it takes what the AI SDK hands
 * over, all messages or the newest, again and again, also after one was regenerated or a tool has
 * answered. The first one is looked for among as many as there are, or the newest 100.
 *
 * Rejects with a `RewindowError`, and with a `TypeError` where a message has no id.
 */
export async function saveUIMessages(
  context: Context,
  messages: readonly UIMessage[],
  { signal }: CallOptions = {},
): Promise<Saved> {
  const wanted = messages.map(fromUIMessage);
  for (let attempt = 1; ; attempt++) {
    try {
      return await save(context, wanted, signal);
    } catch (error) {
      if (!(error instanceof Conflict) || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Messages of a context, as `saveUIMessages` has stored them, as the AI SDK knows them. Throws
 * `NotUIMessage` where somebody else has said something in neutral parts. */
export function toUIMessages<UI extends UIMessage = UIMessage>(messages: readonly Message[]): UI[] {
  return messages.map((message) => toUIMessage(message) as UI);
}

// -- saving -------------------------------------------------------------------------------------------

async function save(
  context: Context,
  wanted: readonly NewMessage[],
  signal?: AbortSignal,
): Promise<Saved> {
  // In this order: what comes in between is a conflict.
  let { version } = await context.state({ signal });
  const limit = Math.min(TAIL_MESSAGES_MAX, Math.max(LOOKED_AT, wanted.length));
  const standing = await context.getTail({ limit, signal });
  const { from, said } = common(standing, wanted);
  let undone = 0;
  if (from < standing.length) {
    const gone = await context.undo(standing[from]!.seq!, { ifVersion: version, signal });
    ({ version, undone } = gone);
  }
  const fresh = wanted.slice(said);
  for (const batch of batches(fresh)) {
    ({ version } = await context.append(batch, { ifVersion: version, signal }));
  }
  return { appended: fresh.length, undone, version };
}

/** From where on what stands is not what is wanted, and how much of what is wanted is said. */
function common(
  standing: readonly Message[],
  wanted: readonly NewMessage[],
): { from: number; said: number } {
  const ids = new Map(standing.map((message, index) => [message.id, index]));
  const found = wanted.find((message) => ids.has(message.id ?? undefined));
  if (found === undefined) return { from: standing.length, said: 0 };
  const from = ids.get(found.id!)!;
  if (found !== wanted[0]) return { from, said: 0 };
  let said = 0;
  while (from + said < standing.length && said < wanted.length) {
    if (!saysTheSame(standing[from + said]!, wanted[said]!)) break;
    said += 1;
  }
  return { from: from + said, said };
}

function saysTheSame(one: Message, other: NewMessage): boolean {
  const of = ({ id, role, parts, metadata }: Message | NewMessage) =>
    sorted({ id, role, parts, metadata: metadata ?? {} });
  return of(one) === of(other);
}

/** JSON that is the same for the same, in whatever order its names are. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_name, one: unknown) =>
    one !== null && typeof one === "object" && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

function* batches(messages: readonly NewMessage[]): Generator<NewMessage[]> {
  let batch: NewMessage[] = [];
  let chars = 0;
  for (const message of messages) {
    const own = JSON.stringify(message).length;
    if (batch.length === BATCH_MESSAGES || (batch.length > 0 && chars + own > BATCH_CHARS)) {
      yield batch;
      batch = [];
      chars = 0;
    }
    batch.push(message);
    chars += own;
  }
  if (batch.length > 0) yield batch;
}

// -- one message --------------------------------------------------------------------------------------

function fromUIMessage({ id, role, metadata, parts }: UIMessage): NewMessage {
  if (!id) throw new TypeError("a message has no id; give the AI SDK a generateMessageId");
  const message: NewMessage = { id, role, parts: parts.length > 0 ? parts : [NOTHING] };
  if (isPlain(metadata)) message.metadata = metadata;
  else if (metadata !== undefined) message.metadata = { [WRAPPED]: metadata };
  return message;
}

function isPlain(metadata: unknown): metadata is JsonObject {
  return (
    metadata !== null &&
    typeof metadata === "object" &&
    !Array.isArray(metadata) &&
    Object.keys(metadata).length > 0 &&
    !(WRAPPED in metadata)
  );
}

function toUIMessage({ id, seq, role, parts, metadata }: Message): unknown {
  const stranger = parts.find(isNeutral);
  if (stranger !== undefined || !["system", "user", "assistant"].includes(role)) {
    const what =
      stranger === undefined ? `the role ${role}` : `a part of the type ${stranger.type}`;
    throw new NotUIMessage(
      `message ${seq} has ${what}, which the AI SDK does not know; read the window in its shape, with ` +
        'context({ format: "ai-sdk" })',
    );
  }
  const empty = parts.length === 1 && parts[0]!.type === NOTHING.type;
  const named = { id: id ?? `message-${seq}`, role };
  const theirs = WRAPPED in metadata ? metadata[WRAPPED] : metadata;
  const said = WRAPPED in metadata || Object.keys(metadata).length > 0 ? { metadata: theirs } : {};
  return { ...named, ...said, parts: empty ? [] : parts };
}

/** Whether the AI SDK would take it for something else. */
function isNeutral(part: Part): boolean {
  switch (part.type) {
    case "tool-call":
    case "tool-result":
      return "call_id" in part;
    case "file":
      return "media_type" in part;
    case "reasoning":
      return !("text" in part);
    default:
      return ["refusal", "summary", "source", "data", "opaque"].includes(part.type);
  }
}
