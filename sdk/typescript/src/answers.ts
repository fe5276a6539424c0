/**
 * Answers that outlive a reload: a model's chunks, kept in small steps in a context beside the chat, so
 * that whoever comes back in the middle is told all from the beginning, and then the rest as it comes.
 */

import type { UIMessageChunk } from "ai";

import { newKey } from "./calls.ts";
import type { Client } from "./client.ts";
import type { Context } from "./context.ts";
import { Conflict, NotFound, Refused, RewindowError } from "./errors.ts";
import type { JsonObject, Message, NewMessage } from "./shapes.ts";

/** What the AI SDK wants of a stream of its chunks. */
const HEADERS = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-cache",
  "X-Accel-Buffering": "no",
  "X-Vercel-AI-UI-Message-Stream": "v1",
};
const DONE = "data: [DONE]\n\n";

/** As many chunks as come within this time go into one record. */
const STEP_MS = 100;
const RECORD_CHARS = 250_000;
/** A model that thinks gives so many signs within the time of silence that is allowed. */
const SIGNS = 4;

/** What `toUIMessageStream()` gives, or a generator of the like. */
export type Chunks = ReadableStream<UIMessageChunk> | AsyncIterable<UIMessageChunk>;

/** `waitUntil`: of a platform that stops when a request is answered, what keeps it going until the
 * answer is kept; `onError`: told why an answer is no longer kept; `silenceMs`: an answer of which
 * nothing was heard for so long has ended with its process (a minute; the same for all processes). */
export type AnswerOptions = {
  waitUntil?: (kept: Promise<void>) => void;
  onError?: (error: unknown) => void;
  silenceMs?: number;
};

/** The answers of chats, one at a time in each. */
export class Answers {
  readonly #client: Client;
  readonly #waitUntil: AnswerOptions["waitUntil"];
  readonly #onError: (error: unknown) => void;
  readonly #silenceMs: number;

  constructor(
    client: Client,
    { waitUntil, onError = console.warn, silenceMs = 60_000 }: AnswerOptions = {},
  ) {
    this.#client = client;
    this.#waitUntil = waitUntil;
    this.#onError = onError;
    this.#silenceMs = silenceMs;
  }

  /** Where the chunks of a chat are kept. Delete it when you delete the chat. */
  contextOf(chatId: string): Context {
    return this.#client.existing(`${chatId}:answer`);
  }

  /**
   * A model's answer, to be streamed to whoever has asked for it, and to be kept meanwhile: it goes on
   * to its end though nobody listens. Rejects with a `RewindowError` where it can't be begun; later,
   * what is not kept is streamed all the same.
   *
   * Save the message before `chunks` ends, as `onFinish` does: then it is never in neither place.
   */
  async stream(chatId: string, chunks: Chunks): Promise<Response> {
    const context = this.contextOf(chatId);
    await context.configure({ policy: { strategy: "last_n", config: { limit: 1 } } });
    const keeping = new Keeping(context, this.#silenceMs / SIGNS);
    await keeping.begin();
    const { readable, writer } = piped();
    const kept = keeping.run().catch((error: unknown) => {
      // A newer answer has taken the place of this one.
      if (error instanceof Conflict) return;
      this.#onError(error);
    });
    const passed = pass(chunks, writer, keeping, kept);
    this.#waitUntil?.(passed);
    return new Response(readable, { headers: HEADERS });
  }

  /** The answer that is being given, from its beginning, to whoever comes back; `204` where there is
   * none. Rejects with a `RewindowError`. */
  async resume(chatId: string): Promise<Response> {
    const context = this.contextOf(chatId);
    const last = await newest(context);
    const answer = last?.metadata["answer"];
    const ended = last === undefined || answer === undefined || last.metadata["done"] === true;
    if (ended || Date.now() - Date.parse(last.inserted_at) > this.#silenceMs) {
      return new Response(null, { status: 204 });
    }
    const since = (last.metadata["since"] as number | undefined) ?? last.version;
    return new Response(told(context, since, answer, this.#silenceMs), { headers: HEADERS });
  }

  /** `resume` as an endpoint: `idOf` says which chat a request is about. */
  endpoint(idOf: (request: Request) => string | Promise<string>) {
    return async (request: Request): Promise<Response> => {
      try {
        return await this.resume(await idOf(request));
      } catch (error) {
        if (!(error instanceof RewindowError)) throw error;
        const [status, code] =
          error instanceof Refused ? [error.status, error.code] : [503, "unavailable"];
        return Response.json({ error: code, message: error.message }, { status });
      }
    };
  }
}

// -- keeping --------------------------------------------------------------------------------------------

/** Writes the chunks of one answer down, in the order of their coming, some at once. */
class Keeping {
  readonly #context: Context;
  readonly #signMs: number;
  readonly #answer = newKey();
  #waiting: UIMessageChunk[] = [];
  #ended = false;
  /** The version that its beginning has. */
  #since = 0;
  #version = 0;
  #wake: () => void = () => undefined;

  constructor(context: Context, signMs: number) {
    this.#context = context;
    this.#signMs = signMs;
  }

  /** Say that there is an answer: from now on whoever comes back finds it. */
  async begin(): Promise<void> {
    const { version } = await this.#context.append(this.#record([], {}));
    this.#since = this.#version = version;
  }

  add(chunk: UIMessageChunk): void {
    this.#waiting.push(chunk);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** To the end. Rejects with a `RewindowError`; a `Conflict` where another answer has begun. */
  async run(): Promise<void> {
    for (let done = false; !done;) {
      if (this.#waiting.length === 0 && !this.#ended) await this.#woken(this.#signMs);
      const chunks = this.#taken();
      done = this.#ended && this.#waiting.length === 0;
      const record = this.#record(chunks, { since: this.#since, ...(done && { done }) });
      const { version } = await this.#context.append(record, { ifVersion: this.#version });
      this.#version = version;
      const pause = performance.now() + STEP_MS;
      while (!this.#ended && performance.now() < pause) {
        await this.#woken(pause - performance.now());
      }
    }
  }

  /** What is waiting, as far as it fits into a record; one chunk at least. */
  #taken(): UIMessageChunk[] {
    let chars = 0;
    const over = this.#waiting.findIndex((chunk, index) => {
      chars += JSON.stringify(chunk).length;
      return chars > RECORD_CHARS && index > 0;
    });
    return this.#waiting.splice(0, over === -1 ? this.#waiting.length : over);
  }

  #record(data: UIMessageChunk[], more: JsonObject): NewMessage {
    return {
      role: "assistant",
      parts: [{ type: "data", name: "ui-chunks", data }],
      metadata: { answer: this.#answer, ...more },
      // No model is shown it.
      token_count: 0,
    };
  }

  /** There is something new, or the time is over. */
  #woken(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

type Sink = { write: (text: string) => void; close: () => void };

/** A body, and what is written into it; nothing once nobody listens. */
function piped(): { readable: ReadableStream<Uint8Array>; writer: Sink } {
  const encoder = new TextEncoder();
  let listened = true;
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const readable = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: () => void (listened = false),
  });
  const writer = {
    write: (text: string) => listened && controller.enqueue(encoder.encode(text)),
    close: () => listened && controller.close(),
  };
  return { readable, writer };
}

/** Every chunk to whoever listens and into what is kept; over when both are. */
async function pass(
  chunks: Chunks,
  writer: Sink,
  keeping: Keeping,
  kept: Promise<void>,
): Promise<void> {
  const say = (chunk: UIMessageChunk) => {
    writer.write(eventOf(chunk));
    keeping.add(chunk);
  };
  try {
    // Every runtime that serves can iterate over a stream; the types of browsers don't say so.
    for await (const chunk of chunks as AsyncIterable<UIMessageChunk>) say(chunk);
  } catch {
    say({ type: "error", errorText: "the answer broke off; ask again" });
  }
  keeping.end();
  // Whoever knows that it is over and comes back at once finds that it is over.
  await kept;
  writer.write(DONE);
  writer.close();
}

// -- telling --------------------------------------------------------------------------------------------

async function newest(context: Context): Promise<Message | undefined> {
  try {
    return (await context.getTail({ limit: 1 }))[0];
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}

/** What is kept of an answer, and what comes to it, as a body. */
function told(
  context: Context,
  since: number,
  answer: unknown,
  silenceMs: number,
): ReadableStream<Uint8Array> {
  const gone = new AbortController();
  const events = chunksOf(context, since, answer, silenceMs, gone);
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await events.next();
      controller.enqueue(encoder.encode(next.done ? DONE : eventOf(next.value)));
      if (next.done) controller.close();
    },
    cancel: () => gone.abort(),
  });
}

/** The chunks of an answer, to its end; it ends with an error where there is none. */
async function* chunksOf(
  context: Context,
  since: number,
  answer: unknown,
  silenceMs: number,
  gone: AbortController,
): AsyncGenerator<UIMessageChunk, void, void> {
  let silence = setTimeout(() => gone.abort(), silenceMs);
  try {
    for await (const frame of context.follow({ cursor: since, signal: gone.signal })) {
      if (frame.type !== "message") continue;
      const { metadata, parts } = frame.message;
      if (metadata["answer"] !== answer) break;
      clearTimeout(silence);
      silence = setTimeout(() => gone.abort(), silenceMs);
      yield* parts[0]!["data"] as UIMessageChunk[];
      if (metadata["done"] === true) return;
    }
  } catch (error) {
    if (!(error instanceof RewindowError)) throw error;
    yield { type: "error", errorText: `the rest can't be read: ${error.message}` };
    return;
  } finally {
    clearTimeout(silence);
  }
  yield { type: "error", errorText: "the answer broke off; ask again" };
}

function eventOf(chunk: UIMessageChunk): string {
  return `data: ${JSON.stringify(chunk)}\n\n`;
}
