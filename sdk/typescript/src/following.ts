/** Where a follower is, what its stream means to it, and the lines that it takes. */

import * as calls from "./calls.ts";
import type { Call } from "./calls.ts";
import { NoAnswer, OtherVersion, RateLimited, Unavailable } from "./errors.ts";
import type { Event } from "./events.ts";
import { Events } from "./events.ts";
import type { Exchange } from "./exchange.ts";
import { RETRIED, answerOf, refusal, retryAfterMs } from "./exchange.ts";
import type { Kind } from "./reading.ts";
import { Unknown, reading } from "./reading.ts";
import type { Frame, GapFrame, MessageFrame } from "./shapes.ts";

/** A node says something on a stream every 30 s; a line that is silent for so long is dead. */
const SILENCE_MS = 90_000;
const PAGE_MESSAGES = 1000;
const EVENT_STREAM = "text/event-stream";

/** What to be told. `cursor`: what came after this version, 0 for everything; left out: from now on.
 * `messages`: false for what becomes of the window alone. `signal`: ends it, without an error. */
export type FollowOptions = { cursor?: number; messages?: boolean; signal?: AbortSignal };

/** What each frame has to hold; what has another type is passed over. */
const FRAMES: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  message: { version: "number", seq: "number", message: "object" },
  context: { version: "number", used_tokens: "number", needs_compaction: "boolean" },
  compaction: { version: "number", range: "object" },
  undone: { version: "number", range: "object" },
  tombstoned: { version: "number" },
  reset: { version: "number" },
  gap: { expected: "number", actual: "number" },
};

/**
 * One follower of one context.
 *
 * A line that is cut is taken up again at the cursor; what is told twice by that is passed over.
 * Messages that are no longer hot are read from the history.
 */
export class Following {
  readonly #exchange: Exchange;
  readonly #id: string;
  readonly #messages: boolean;
  readonly #signal: AbortSignal | undefined;
  /** The version up to which all is known. */
  #cursor: number | undefined;
  /** Of the last message that was told, where that is known. */
  #seq: number | undefined;
  /** The version up to which the history was read. */
  #readTo = 0;
  /** Whether there is more to read in the history. */
  #behind = false;
  /** Whether the line has to be left, and taken up again once the history is read. */
  #leaves = false;
  #done = false;
  #failures = 0;
  /** How long the server does not want to be asked. */
  #awayMs = 0;

  constructor(exchange: Exchange, id: string, options: FollowOptions) {
    this.#exchange = exchange;
    this.#id = id;
    this.#messages = options.messages ?? true;
    this.#signal = options.signal;
    this.#cursor = options.cursor;
    this.#seq = options.cursor === 0 ? 0 : undefined;
  }

  /** Frames, over as many lines as it takes. Throws `RewindowError`. */
  async *frames(): AsyncGenerator<Frame, void, void> {
    try {
      await this.#begin();
      while (!this.#done) {
        yield* this.#line();
        yield* this.#history();
        await this.#pause();
      }
    } catch (error) {
      if (!this.#signal?.aborted) throw error;
    }
  }

  /** Find out whether there is something to follow, before any patience; and where now is, so that
   * nothing is missed when the first line is cut. */
  async #begin(): Promise<void> {
    const state = await this.#exchange.ask(calls.state(this.#id), this.#signal);
    if (this.#cursor === undefined) {
      this.#cursor = state.version;
      this.#seq = state.last_seq;
    }
  }

  // -- a line ---------------------------------------------------------------------------------------

  /** Frames of one stream, to its end, or until it has to be left. */
  async *#line(): AsyncGenerator<Frame, void, void> {
    this.#leaves = false;
    const left = new AbortController();
    const leave = () => left.abort();
    this.#signal?.addEventListener("abort", leave);
    let silence = setTimeout(leave, SILENCE_MS);
    try {
      for await (const chunk of this.#chunks(left.signal)) {
        clearTimeout(silence);
        for (const event of chunk) {
          const frame = this.#take(event);
          if (frame !== undefined) yield frame;
          this.#signal?.throwIfAborted();
          if (this.#leaves || this.#done) return;
        }
        silence = setTimeout(leave, SILENCE_MS);
      }
    } finally {
      clearTimeout(silence);
      this.#signal?.removeEventListener("abort", leave);
      left.abort();
    }
  }

  /** The events of one stream, as they come in; it ends where the line breaks. */
  async *#chunks(signal: AbortSignal): AsyncGenerator<Event[], void, void> {
    const path = calls.pathOf(this.#id, "events");
    const query = { cursor: this.#cursor, include_messages: this.#messages ? undefined : false };
    const answer = await unlessCut(this.#exchange.open(path, query, signal));
    if (answer === undefined) return;
    const streams = answer.headers.get("Content-Type")?.startsWith(EVENT_STREAM);
    if (answer.status !== 200 || !streams || answer.body === null) {
      return this.#refused(path, answer);
    }
    const events = new Events();
    // Not every browser can iterate over a body.
    const reader = answer.body.getReader();
    for (;;) {
      const read = await unlessCut(reader.read());
      if (read === undefined || read.done) return;
      yield [...events.feed(read.value)];
    }
  }

  /** Something else than a stream. Throws where to come back does not help. */
  async #refused(path: string, response: Response): Promise<void> {
    const answer = await unlessCut(answerOf(response));
    if (answer === undefined) return;
    this.#awayMs = retryAfterMs(answer);
    if (!RETRIED.has(answer.status)) {
      throw refusal(this.#exchange.url, { method: "GET", path, read: () => undefined }, answer);
    }
  }

  /** What an event tells; it may be nothing. */
  #take(event: Event): Frame | undefined {
    this.#failures = 0;
    const frame = this.#told(event.data);
    if (event.id !== undefined) this.#cursor = event.id;
    switch (frame?.type) {
      case "gap":
        this.#behind = this.#messages && this.#readTo < frame.actual;
        this.#leaves = this.#behind;
        return undefined;
      case "message":
        return this.#new(frame);
      case "reset":
        this.#cursor = this.#seq = this.#readTo = 0;
        this.#leaves = true;
        return frame;
      case "tombstoned":
        this.#done = true;
        return frame;
      default:
        return frame;
    }
  }

  #new(frame: MessageFrame): Frame | undefined {
    if (this.#seq !== undefined && frame.seq <= this.#seq) return undefined;
    this.#seq = frame.seq;
    return frame;
  }

  #told(data: string): Frame | GapFrame | undefined {
    try {
      const frame = reading<{ type: string }>({ type: "string" })(JSON.parse(data));
      const needed = Object.hasOwn(FRAMES, frame.type) ? FRAMES[frame.type] : undefined;
      return needed && reading<Frame | GapFrame>(needed)(frame);
    } catch (error) {
      if (!(error instanceof Unknown || error instanceof SyntaxError)) throw error;
      throw new OtherVersion(
        `${this.#exchange.url} sent an event that this client does not know (${error.message}); use ` +
          "a client of the server's version",
      );
    }
  }

  /** A line has ended; wait before the next one. */
  async #pause(): Promise<void> {
    if (this.#done) return;
    const awayMs = this.#awayMs;
    this.#awayMs = 0;
    await this.#exchange.rest(this.#failures++, awayMs, this.#signal);
  }

  // -- the history ----------------------------------------------------------------------------------

  /** Tell what is no longer hot, and all behind it, to the end of the history. What was undone is told
   * as well: the stream, taken up again where it was, says so afterwards. */
  async *#history(): AsyncGenerator<Frame, void, void> {
    let next = this.#behind ? await this.#firstUnknown() : null;
    while (next !== null) {
      const page = await this.#ask(calls.page(this.#id, { fromSeq: next, limit: PAGE_MESSAGES }));
      for (const message of page.messages) {
        // Only what stands in a window may have no seq.
        const seq = message.seq!;
        this.#seq = seq;
        yield { type: "message", version: message.version, seq, message };
      }
      this.#readTo = page.version;
      next = page.next_seq;
    }
    this.#behind = false;
  }

  /** The first seq whose version is above the cursor: versions grow with seqs. */
  async #firstUnknown(): Promise<number> {
    if (this.#seq !== undefined) return this.#seq + 1;
    let low = 1;
    let high = (await this.#ask(calls.state(this.#id))).last_seq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const page = await this.#ask(calls.page(this.#id, { fromSeq: middle, limit: 1 }));
      if (page.messages[0]!.version > this.#cursor!) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** As often as it takes: whoever follows outlives an outage. */
  async #ask<T>(call: Call<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#exchange.ask(call, this.#signal);
      } catch (error) {
        const passes =
          error instanceof NoAnswer || error instanceof RateLimited || error instanceof Unavailable;
        if (!passes) throw error;
        await this.#pause();
      }
    }
  }
}

/** What it comes to; undefined where the line was cut, or left. */
async function unlessCut<T>(coming: Promise<T>): Promise<T | undefined> {
  try {
    return await coming;
  } catch {
    return undefined;
  }
}
