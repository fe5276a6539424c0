/** What can be asked of a node: each request with the way to read its answer. No I/O. */

import { reading } from "./reading.ts";
import type {
  Appended,
  AppendedAll,
  Compacted,
  Contexts,
  ContextState,
  Format,
  JsonObject,
  Page,
  Policy,
  RenderedWindow,
  Requests,
  Tail,
  Undone,
  Window,
} from "./shapes.ts";
import type { NewMessage } from "./shapes.ts";

/** What may stand in a query; what is undefined does not. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One request. `key`: the idempotency key of a write, so that it may be sent again. `read`
 * understands the parsed body of an answer, and throws `Unknown` otherwise. */
export type Call<T> = {
  method: "GET" | "PUT" | "PATCH" | "POST" | "DELETE";
  path: string;
  read: (body: unknown) => T;
  query?: Query;
  body?: string;
  key?: string;
};

/** What a context can be told; what is left out has its default, or keeps its value. */
export type Settings = {
  /** Tokens that the window may hold. */
  budget?: number;
  /** Above this share of the budget the policy runs. */
  trigger?: number;
  policy?: Policy;
  metadata?: JsonObject;
  /** How tokens are counted. */
  encoding?: "o200k_base" | "cl100k_base" | "approximate";
};

// -- contexts ---------------------------------------------------------------------------------------

const readState = reading<ContextState>({
  id: "string",
  status: "string",
  token_budget: "number",
  policy: "object",
  metadata: "object",
  version: "number",
  last_seq: "number",
  archived_seq: "number",
  used_tokens: "number",
  needs_compaction: "boolean",
});

export function contexts(
  prefix: string | undefined,
  limit: number,
  after?: string,
): Call<Contexts> {
  const read = reading<Contexts>({ contexts: "array" });
  return { method: "GET", path: "/v1/contexts", read, query: { prefix, limit, after } };
}

export function configure(id: string, settings: Settings, key?: string): Call<ContextState> {
  const { budget, trigger, ...rest } = settings;
  const body = { token_budget: budget, trigger_ratio: trigger, ...rest };
  return write("PUT", pathOf(id), readState, body, key);
}

export function state(id: string): Call<ContextState> {
  return { method: "GET", path: pathOf(id), read: readState };
}

export function remove(id: string): Call<void> {
  return { method: "DELETE", path: pathOf(id), read: () => undefined, key: newKey() };
}

export function patchMetadata(id: string, metadata: JsonObject, key?: string): Call<ContextState> {
  return write("PATCH", pathOf(id, "metadata"), readState, { metadata }, key);
}

// -- messages ---------------------------------------------------------------------------------------

const readAppended = reading<Appended>({ seq: "number", version: "number" });
const readAppendedAll = reading<AppendedAll>({
  first_seq: "number",
  last_seq: "number",
  version: "number",
  token_estimates: "array",
});

export function append(
  id: string,
  message: NewMessage,
  ifVersion?: number,
  key?: string,
): Call<Appended> {
  const body = { message, if_version: ifVersion };
  return write("POST", pathOf(id, "messages"), readAppended, body, key);
}

export function appendAll(
  id: string,
  messages: readonly NewMessage[],
  ifVersion?: number,
  key?: string,
): Call<AppendedAll> {
  const body = { messages, if_version: ifVersion };
  return write("POST", pathOf(id, "messages"), readAppendedAll, body, key);
}

export function undo(id: string, fromSeq: number, ifVersion?: number, key?: string): Call<Undone> {
  const body = { from_seq: fromSeq, if_version: ifVersion };
  const read = reading<Undone>({ version: "number", undone: "number" });
  return write("POST", pathOf(id, "undo"), read, body, key);
}

export function tail(id: string, limit?: number, offset?: number): Call<Tail> {
  const read = reading<Tail>({ messages: "array" });
  return { method: "GET", path: pathOf(id, "tail"), read, query: { limit, offset } };
}

/** Which page of the history: from a seq on (-n: from the n-th newest), or what is before a seq. */
export type Span = { fromSeq?: number; beforeSeq?: number; limit?: number };

export function page(id: string, { fromSeq, beforeSeq, limit }: Span): Call<Page> {
  const read = reading<Page>({ messages: "array", version: "number", last_seq: "number" });
  const query = { from_seq: fromSeq, before_seq: beforeSeq, limit };
  return { method: "GET", path: pathOf(id, "messages"), read, query };
}

// -- window -----------------------------------------------------------------------------------------

/** `budgetTokens`: another budget, this once; `ifVersion`: only at this version; `minVersion`: wait
 * for this version. */
export type WindowQuery = { budgetTokens?: number; ifVersion?: number; minVersion?: number };

const readWindow = reading<Window>({
  version: "number",
  used_tokens: "number",
  token_budget: "number",
  needs_compaction: "boolean",
  segments: "array",
});

export function window(id: string, asked: WindowQuery): Call<Window> {
  const read = (body: unknown) => {
    reading<Window>({ messages: "array" })(body);
    return readWindow(body);
  };
  return { method: "GET", path: pathOf(id, "context"), read, query: windowQuery(asked) };
}

export function renderedWindow<F extends Format>(
  id: string,
  format: F,
  asked: WindowQuery,
): Call<RenderedWindow<F>> {
  const query = { format, ...windowQuery(asked) };
  return { method: "GET", path: pathOf(id, "context"), read: readRendered<F>, query };
}

/** What is not of the envelope is the provider's. */
function readRendered<F extends Format>(body: unknown): RenderedWindow<F> {
  readWindow(body);
  const envelope = reading<RenderedWindow<F>>({ format: "string", left_out: "object" })(body);
  const { messages, input, system, ...ours } = envelope as RenderedWindow<F> & JsonObject;
  const theirs = Object.entries({ system, messages, input }).filter(
    ([, value]) => value !== undefined,
  );
  return { ...ours, request: Object.fromEntries(theirs) as Requests[F] } as RenderedWindow<F>;
}

function windowQuery({ budgetTokens, ifVersion, minVersion }: WindowQuery): Query {
  return { budget_tokens: budgetTokens, if_version: ifVersion, min_version: minVersion };
}

export function compact(
  id: string,
  replacement: readonly NewMessage[],
  ifVersion?: number,
  key?: string,
): Call<Compacted> {
  const body = { replacement, if_version: ifVersion };
  return write("POST", pathOf(id, "compact"), reading<Compacted>({ version: "number" }), body, key);
}

// -- writing ----------------------------------------------------------------------------------------

/** An idempotency key that nobody has used. */
export function newKey(): string {
  // Not randomUUID, which browsers have on secure pages alone.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The path of a context, or of something of it. Throws a `TypeError` where none can have the id. */
export function pathOf(id: string, noun?: string): string {
  // Clients and proxies resolve these, however they are written: another path would be asked.
  if (id === "." || id === ".." || id === "") {
    throw new TypeError(
      `${JSON.stringify(id)} can't stand in a path; call the context something else`,
    );
  }
  let path: string;
  try {
    path = `/v1/contexts/${encodeURIComponent(id)}`;
  } catch {
    throw new TypeError("the id of a context holds half of a surrogate pair, which is no text");
  }
  return noun === undefined ? path : `${path}/${noun}`;
}

function write<T>(
  method: Call<T>["method"],
  path: string,
  read: (body: unknown) => T,
  body: JsonObject,
  key?: string,
): Call<T> {
  if (key !== undefined && !isPrintable(key)) {
    throw new TypeError(`an idempotency key is printable ASCII; ${JSON.stringify(key)} is not`);
  }
  return { method, path, read, body: encoded(body), key: key ?? newKey() };
}

/** Whether a header can hold it. */
export function isPrintable(text: string): boolean {
  return /^[\x20-\x7e]+$/.test(text);
}

/** JSON. Throws a `TypeError` of what would silently become something else. */
function encoded(body: JsonObject): string {
  return JSON.stringify(body, (name, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new TypeError(`${name} is ${value}, which JSON has no number for`);
    }
    return value;
  });
}
