/** One conversation. */

import * as calls from "./calls.ts";
import type { Settings, Span, WindowQuery } from "./calls.ts";
import type { Exchange } from "./exchange.ts";
import type { FollowOptions } from "./following.ts";
import { Following } from "./following.ts";
import type {
  Appended,
  AppendedAll,
  Compacted,
  ContextState,
  Format,
  Frame,
  JsonObject,
  Message,
  NewMessage,
  Page,
  RenderedWindow,
  Undone,
  Window,
} from "./shapes.ts";

/** Of every call. `signal` gives it up; it rejects with the signal's reason. */
export type CallOptions = { signal?: AbortSignal };

/** Of every write. `ifVersion`: only at this version, else `Conflict`. `idempotencyKey`: one of your
 * own, by which another process may repeat it; each write has one in any case. */
export type WriteOptions = CallOptions & { ifVersion?: number; idempotencyKey?: string };

/** Every method rejects with a `RewindowError`. */
export class Context {
  readonly id: string;
  readonly #exchange: Exchange;

  /** Asks nothing. Throws a `TypeError` where no context can have this id. */
  constructor(exchange: Exchange, id: string) {
    calls.pathOf(id);
    this.id = id;
    this.#exchange = exchange;
  }

  // -- the context itself ---------------------------------------------------------------------------

  /** Make it, or change its settings. */
  async configure(
    settings: Settings = {},
    { idempotencyKey, signal }: Omit<WriteOptions, "ifVersion"> = {},
  ): Promise<ContextState> {
    return this.#exchange.ask(calls.configure(this.id, settings, idempotencyKey), signal);
  }

  /** Settings and state. */
  async state({ signal }: CallOptions = {}): Promise<ContextState> {
    return this.#exchange.ask(calls.state(this.id), signal);
  }

  /** Close it for good; what was said stays readable. */
  async delete({ signal }: CallOptions = {}): Promise<void> {
    return this.#exchange.ask(calls.remove(this.id), signal);
  }

  /** Merge keys into its metadata; null takes a key away. */
  async patchMetadata(
    metadata: JsonObject,
    { idempotencyKey, signal }: Omit<WriteOptions, "ifVersion"> = {},
  ): Promise<ContextState> {
    return this.#exchange.ask(calls.patchMetadata(this.id, metadata, idempotencyKey), signal);
  }

  // -- messages -------------------------------------------------------------------------------------

  /** Append a message once, whatever happens on the way. `tokenCount`: your own count. */
  append(message: NewMessage, options?: WriteOptions & { tokenCount?: number }): Promise<Appended>;
  /** Append up to 100 messages, all or nothing. */
  append(messages: readonly NewMessage[], options?: WriteOptions): Promise<AppendedAll>;
  async append(
    said: NewMessage | readonly NewMessage[],
    { ifVersion, idempotencyKey, tokenCount, signal }: WriteOptions & { tokenCount?: number } = {},
  ): Promise<Appended | AppendedAll> {
    if (isSeveral(said)) {
      const call = calls.appendAll(this.id, said, ifVersion, idempotencyKey);
      return this.#exchange.ask(call, signal);
    }
    const message = tokenCount === undefined ? said : { ...said, token_count: tokenCount };
    return this.#exchange.ask(calls.append(this.id, message, ifVersion, idempotencyKey), signal);
  }

  /** Undo every message that stands from this seq on: it stays in the history, and leaves the window
   * and the tail. */
  async undo(
    fromSeq: number,
    { ifVersion, idempotencyKey, signal }: WriteOptions = {},
  ): Promise<Undone> {
    return this.#exchange.ask(calls.undo(this.id, fromSeq, ifVersion, idempotencyKey), signal);
  }

  /** Up to 1,000 messages counted back from the newest, oldest first; none where the beginning is
   * passed. */
  async getTail({
    offset,
    limit,
    signal,
  }: CallOptions & { offset?: number; limit?: number } = {}): Promise<Message[]> {
    return (await this.#exchange.ask(calls.tail(this.id, limit, offset), signal)).messages;
  }

  /** A page of the history: from a seq on (-n: from the n-th newest), or what is before a seq. */
  async page({ signal, ...span }: CallOptions & Span = {}): Promise<Page> {
    return this.#exchange.ask(calls.page(this.id, span), signal);
  }

  /** The history from a seq on, over all pages, undone messages as well. */
  async *messages({
    fromSeq = 1,
    pageSize = 1000,
    signal,
  }: CallOptions & { fromSeq?: number; pageSize?: number } = {}): AsyncGenerator<
    Message,
    void,
    void
  > {
    let next: number | null = fromSeq;
    while (next !== null) {
      const page: Page = await this.page({ fromSeq: next, limit: pageSize, signal });
      yield* page.messages;
      next = page.next_seq;
    }
  }

  // -- window ---------------------------------------------------------------------------------------

  /** What the model sees. */
  context(options?: CallOptions & WindowQuery & { format?: undefined }): Promise<Window>;
  /** What the model sees, in the shape that a provider takes. */
  context<F extends Format>(
    options: CallOptions & WindowQuery & { format: F },
  ): Promise<RenderedWindow<F>>;
  async context({
    format,
    signal,
    ...asked
  }: CallOptions & WindowQuery & { format?: Format } = {}): Promise<
    Window | RenderedWindow<Format>
  > {
    return format === undefined
      ? this.#exchange.ask(calls.window(this.id, asked), signal)
      : this.#exchange.ask(calls.renderedWindow(this.id, format, asked), signal);
  }

  /** Put these messages in the place of the whole window; the history keeps the others. */
  async compact(
    replacement: readonly NewMessage[],
    { ifVersion, idempotencyKey, signal }: WriteOptions = {},
  ): Promise<Compacted> {
    const call = calls.compact(this.id, replacement, ifVersion, idempotencyKey);
    return this.#exchange.ask(call, signal);
  }

  // -- live -----------------------------------------------------------------------------------------

  /** What happens, as it happens, without an end, unless the context is deleted: each message once and
   * in order, over lines that break and nodes that go. */
  follow(options: FollowOptions = {}): AsyncGenerator<Frame, void, void> {
    return new Following(this.#exchange, this.id, options).frames();
  }
}

function isSeveral(said: NewMessage | readonly NewMessage[]): said is readonly NewMessage[] {
  return Array.isArray(said);
}
