/** What the page can ask for: the chats, each of them a context. */

import { randomUUID } from "node:crypto";

import type { UIMessage, UIMessageChunk } from "ai";

import type { Answers } from "../../sdk/typescript/src/ai-sdk.ts";
import { saveUIMessages, toUIMessages } from "../../sdk/typescript/src/ai-sdk.ts";
import type { Client, Context } from "../../sdk/typescript/src/index.ts";
import { NotFound } from "../../sdk/typescript/src/index.ts";

/** A model: the messages of the window in, words out. */
export type Model = (messages: UIMessage[]) => AsyncIterable<string>;

const BUDGET_TOKENS = 2000;

export class Chats {
  readonly #client: Client;
  readonly #answers: Answers;
  readonly #model: Model;

  constructor(client: Client, answers: Answers, model: Model) {
    this.#client = client;
    this.#answers = answers;
    this.#model = model;
  }

  /** Up to `limit` messages, counted back from the newest: `[]` where the beginning is passed. */
  async history(id: string, offset: number, limit: number): Promise<Response> {
    try {
      const page = await this.#client.existing(id).getTail({ offset, limit });
      return Response.json(toUIMessages(page));
    } catch (error) {
      if (error instanceof NotFound) return Response.json([]);
      throw error;
    }
  }

  /** Store what the user says, and stream the answer. */
  async say(id: string, message: UIMessage): Promise<Response> {
    const chat = await this.#client.context(id, { budget: BUDGET_TOKENS });
    const { version } = await saveUIMessages(chat, [message]);
    const window = await chat.context({ format: "ai-sdk", minVersion: version });
    return this.#answers.stream(id, this.#chunks(chat, message, window.request.messages));
  }

  /** The rest of an answer, with its beginning, for a page that was reloaded. */
  resume(id: string): Promise<Response> {
    return this.#answers.resume(id);
  }

  /** The answer as the AI SDK streams it. It is stored before its stream closes. */
  async *#chunks(
    chat: Context,
    asked: UIMessage,
    window: UIMessage[],
  ): AsyncGenerator<UIMessageChunk> {
    const answer = { id: randomUUID(), role: "assistant" } as const;
    let text = "";
    yield { type: "start", messageId: answer.id };
    yield { type: "text-start", id: "text" };
    for await (const delta of this.#model(window)) {
      text += delta;
      yield { type: "text-delta", id: "text", delta };
    }
    yield { type: "text-end", id: "text" };
    await saveUIMessages(chat, [asked, { ...answer, parts: [{ type: "text", text }] }]);
    yield { type: "finish" };
  }
}
