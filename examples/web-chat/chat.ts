/** What the page knows of a chat, and how it comes to know it. No DOM: it runs anywhere. */

import type { UIMessage, UIMessageChunk } from "ai";

export const PAGE_MESSAGES = 20;
const ATTEMPTS = 5;
const PAUSE_MS = 500;

/** One chat. `changed` is called whenever there is something else to show. */
export class Chat {
  messages: UIMessage[] = [];
  /** Whether an answer is coming. */
  answering = false;
  /** Whether the first message is there. */
  complete = false;
  /** What went wrong, in a sentence. */
  trouble: string | undefined;
  readonly #url: string;
  readonly #changed: () => void;
  /** The answer that is coming, which is not in the history yet. */
  #coming: UIMessage | undefined;

  constructor(base: string, id: string, changed: () => void) {
    this.#url = `${base}/chats/${encodeURIComponent(id)}`;
    this.#changed = changed;
  }

  /** The newest messages, and the answer that is being given, to its end. */
  async open(): Promise<void> {
    await this.#trying(() => this.#catchUp());
  }

  /** The page before what is there. */
  async older(): Promise<void> {
    await this.#trying(async () => {
      const stored = this.messages.length - (this.#coming === undefined ? 0 : 1);
      await this.#page(stored);
    });
  }

  /** Say something; until it is answered. */
  async send(text: string): Promise<void> {
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const message: UIMessage = { id, role: "user", parts: [{ type: "text", text }] };
    this.messages = [...this.messages, message];
    await this.#trying(async () => {
      const body = JSON.stringify(message);
      const response = await this.#ask("/messages", { method: "POST", body });
      if (!(await this.#heard(response))) await this.#again();
    });
  }

  /** In this order: an answer that ends in between is in the history. */
  async #catchUp(): Promise<void> {
    const response = await this.#ask("/answer");
    await this.#page(0);
    if (response.status === 200 && !(await this.#heard(response))) await this.#again();
  }

  /** The line was cut. The answer goes on, and is there in a moment. */
  async #again(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#catchUp();
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * attempt));
      }
    }
  }

  /** A page of the history, put before, or in the place of, what is there. */
  async #page(offset: number): Promise<void> {
    const response = await this.#ask(`/messages?offset=${offset}&limit=${PAGE_MESSAGES}`);
    const page: UIMessage[] = await response.json();
    if (page.length < PAGE_MESSAGES) this.complete = true;
    const there = new Set(page.map((message) => message.id));
    const others = this.messages.filter(({ id }) => !there.has(id));
    if (this.#coming !== undefined && there.has(this.#coming.id)) this.#coming = undefined;
    this.messages = offset === 0 ? [...others, ...page] : [...page, ...others];
    if (this.#coming !== undefined) this.#toEnd(this.#coming);
    this.#changed();
  }

  /** Read an answer; whether it was whole. */
  async #heard(response: Response): Promise<boolean> {
    try {
      for await (const chunk of chunksOf(response)) {
        if (chunk === "[DONE]") return true;
        if (!this.#take(chunk)) return true;
        this.#changed();
      }
    } catch {
      // The line was cut.
    } finally {
      await response.body?.cancel().catch(() => undefined);
    }
    return false;
  }

  /** One piece of an answer; whether to go on: not with one that is there already. */
  #take(chunk: UIMessageChunk): boolean {
    switch (chunk.type) {
      case "start":
        if (this.#coming?.id !== chunk.messageId) {
          if (this.messages.some(({ id }) => id === chunk.messageId)) return false;
        }
        this.messages = this.messages.filter((message) => message !== this.#coming);
        this.#coming = { id: chunk.messageId ?? "", role: "assistant", parts: [] };
        this.#toEnd(this.#coming);
        break;
      case "text-start":
        this.#coming?.parts.push({ type: "text", text: "" });
        break;
      case "text-delta": {
        const part = this.#coming?.parts.at(-1);
        if (part?.type === "text") part.text += chunk.delta;
        break;
      }
      case "error":
        this.trouble = chunk.errorText;
        break;
      case "finish":
        this.#coming = undefined;
        break;
    }
    return true;
  }

  #toEnd(message: UIMessage): void {
    this.messages = [...this.messages.filter((other) => other !== message), message];
  }

  async #ask(path: string, init?: RequestInit): Promise<Response> {
    const response = await fetch(`${this.#url}${path}`, init);
    if (!response.ok) throw new Error((await response.json()).message);
    return response;
  }

  async #trying(work: () => Promise<void>): Promise<void> {
    this.trouble = undefined;
    this.answering = true;
    this.#changed();
    try {
      await work();
    } catch (error) {
      this.trouble = `${(error as Error).message}; reload the page to try again`;
    } finally {
      this.answering = false;
      this.#changed();
    }
  }
}

/** The chunks of an answer as it comes in, and `[DONE]` at its end. */
async function* chunksOf(response: Response): AsyncGenerator<UIMessageChunk | "[DONE]"> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (rest + read.value).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      yield data === "[DONE]" ? data : JSON.parse(data);
    }
  }
}
