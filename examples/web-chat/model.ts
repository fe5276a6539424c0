/** A model that needs no network. To have a real one, give the messages to `streamText` of the AI SDK
 * and its `toUIMessageStream()` to `answers.stream`. */

import { setTimeout as pause } from "node:timers/promises";

type Said = { role: string; parts: { type: string; text?: string }[] };

/** Word by word, what a parrot answers to a window; `paceMs` between them. */
export async function* parrot(messages: Said[], paceMs: number): AsyncGenerator<string> {
  const heard = messages.filter((message) => message.role === "user");
  const last =
    heard
      .at(-1)
      ?.parts.map((part) => part.text ?? "")
      .join("") ?? "";
  const answer = `I have heard ${heard.length} messages. The last one: ${last}`;
  for (const word of answer.split(/(?<= )/)) {
    await pause(paceMs);
    yield word;
  }
}
