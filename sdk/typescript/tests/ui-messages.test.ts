/** The AI SDK's messages, stored at a live node and read back, by the rules of the AI SDK itself. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { UIMessage } from "ai";
import { convertToModelMessages, validateUIMessages } from "ai";

import { NotUIMessage, saveUIMessages, toUIMessages } from "../src/ai-sdk.ts";
import type { Context } from "../src/index.ts";
import { text } from "../src/index.ts";
import { client, freshContext, freshId } from "./support.ts";

const PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk";

const CHAT: UIMessage[] = [
  { id: "s1", role: "system", parts: [{ type: "text", text: "Be brief." }] },
  {
    id: "u1",
    role: "user",
    metadata: { at: 1764183600, tags: ["a"] },
    parts: [
      { type: "text", text: "What is this? \u2028 😀" },
      { type: "file", mediaType: "image/png", url: PIXEL, filename: "pixel.png" },
    ],
  },
  {
    id: "a1",
    role: "assistant",
    metadata: { source: "mine", name: "clerk", group: 7 },
    parts: [
      { type: "step-start" },
      {
        type: "reasoning",
        text: "A look will tell.",
        state: "done",
        providerMetadata: { anthropic: { signature: "c2lnbmVk" } },
      },
      {
        type: "tool-look",
        toolCallId: "c1",
        state: "output-available",
        input: { place: [1, 2.5, null] },
        output: { colour: "red", deep: { er: [true] } },
        callProviderMetadata: { openai: { itemId: "fc_1" } },
      },
      {
        type: "dynamic-tool",
        toolName: "ask",
        toolCallId: "c2",
        state: "output-error",
        input: {},
        errorText: "nobody there",
      },
      { type: "step-start" },
      { type: "source-url", sourceId: "1", url: "https://example.com/red", title: "Red" },
      { type: "data-weather", id: "w", data: { celsius: -4 } },
      { type: "text", text: "A red pixel.", state: "done" },
    ],
  },
];

function says(id: string, role: "user" | "assistant", words: string): UIMessage {
  return { id, role, parts: [{ type: "text", text: words }] };
}

async function stored(context: Context): Promise<UIMessage[]> {
  return toUIMessages(await context.getTail());
}

test("messages come back unchanged, from the tail and in the window", async () => {
  const context = await freshContext();
  await validateUIMessages({ messages: CHAT });
  const saved = await saveUIMessages(context, CHAT);
  assert.deepEqual(saved, { appended: 3, undone: 0, version: 1 });
  assert.deepEqual(await stored(context), CHAT);
  const { request } = await context.context({ format: "ai-sdk" });
  const inWindow: UIMessage[] = request.messages;
  assert.deepEqual(
    inWindow.map(({ parts }) => parts),
    CHAT.map(({ parts }) => parts),
  );
  assert.deepEqual(inWindow[1], CHAT[1]);
  const model = await convertToModelMessages(inWindow.slice(1));
  assert.deepEqual(
    model.map(({ role }) => role),
    ["user", "assistant", "tool", "assistant"],
  );
});

test("whatever metadata and parts are, they come back", async () => {
  const context = await freshContext();
  const odd: UIMessage[] = [undefined, {}, "words", 7, null, ["list"], { ui_metadata: 1 }].map(
    (metadata, index) => ({
      ...says(`m${index}`, "user", "Well."),
      ...(metadata !== undefined && { metadata }),
    }),
  );
  odd.push({ id: "empty", role: "assistant", parts: [] });
  await saveUIMessages(context, odd);
  assert.deepEqual(await stored(context), odd);
  assert.equal((await saveUIMessages(context, odd)).appended, 0);
});

test("what is saved again is there once, and only what is new is appended", async () => {
  const context = await freshContext();
  const chat = [says("u1", "user", "One?"), says("a1", "assistant", "One.")];
  await saveUIMessages(context, chat.slice(0, 1));
  assert.equal((await saveUIMessages(context, chat)).appended, 1);
  const reordered = chat.map(({ id, role, parts }) => ({
    parts: parts.map((part) => Object.fromEntries(Object.entries(part).reverse())),
    role,
    id,
  })) as UIMessage[];
  assert.deepEqual(await saveUIMessages(context, reordered), {
    appended: 0,
    undone: 0,
    version: 2,
  });
  await saveUIMessages(context, [says("u2", "user", "Two?")]);
  assert.deepEqual(await stored(context), [...chat, says("u2", "user", "Two?")]);
});

test("an answer that was regenerated, or changed, takes the place of the old one", async () => {
  const context = await freshContext();
  const asked = says("u1", "user", "One?");
  await saveUIMessages(context, [asked, says("a1", "assistant", "One.")]);
  const other = [asked, says("a2", "assistant", "One, I think.")];
  assert.deepEqual(await saveUIMessages(context, other), { appended: 1, undone: 1, version: 3 });
  assert.deepEqual(await stored(context), other);
  const more = [asked, says("a2", "assistant", "One, I am sure."), says("u2", "user", "Two?")];
  assert.deepEqual(await saveUIMessages(context, more), { appended: 2, undone: 1, version: 5 });
  assert.deepEqual(await stored(context), more);
  assert.deepEqual((await context.page()).messages.length, 5, "the history keeps what was said");
  const edited = [says("u2", "user", "Three?")];
  await saveUIMessages(context, edited);
  assert.deepEqual(
    await stored(context),
    [...more.slice(0, 2), ...edited],
    "the newest alone will do",
  );
});

test("two pages that save at once lose and double nothing", async () => {
  const context = await freshContext();
  const first = [says("u1", "user", "One?")];
  await saveUIMessages(context, first);
  await Promise.all(
    [1, 2, 3, 4].map(() => saveUIMessages(context, [...first, says("a1", "assistant", "1")])),
  );
  assert.deepEqual(await stored(context), [...first, says("a1", "assistant", "1")]);
  const others = [1, 2, 3].map((number) => says(`b${number}`, "user", "Mine!"));
  await Promise.all(others.map((one) => saveUIMessages(context, [one])));
  const ids = (await stored(context)).map(({ id }) => id);
  assert.deepEqual(ids.slice(2).sort(), ["b1", "b2", "b3"]);
});

test("many messages, and large ones, go in batches", async () => {
  const context = await client.context(freshId(), { budget: 100_000_000, encoding: "approximate" });
  const large = Array.from({ length: 8 }, (_, n) => says(`l${n}`, "user", "é".repeat(300_000)));
  const small = Array.from({ length: 210 }, (_, n) => says(`s${n}`, "user", `No. ${n}`));
  const saved = await saveUIMessages(context, [...large, ...small]);
  assert.equal(saved.appended, 218);
  const ids = toUIMessages(await context.getTail({ limit: 1000 })).map(({ id }) => id);
  assert.deepEqual(
    ids,
    [...large, ...small].map(({ id }) => id),
  );
});

test("what others said in neutral parts is the server's to translate", async () => {
  const context = await freshContext();
  await context.append([
    text("user", "How cold is it?"),
    {
      role: "assistant",
      parts: [{ type: "tool-call", call_id: "c1", name: "weather", input: {} }],
    },
    {
      role: "tool",
      parts: [{ type: "tool-result", call_id: "c1", output: { as: "json", value: -4 } }],
    },
  ]);
  const messages = await context.getTail();
  assert.throws(() => toUIMessages(messages), NotUIMessage);
  assert.throws(() => toUIMessages(messages.slice(2)), /message 3 has .*format: "ai-sdk"/);
  assert.deepEqual(toUIMessages(messages.slice(0, 1)), [
    says("message-1", "user", "How cold is it?"),
  ]);
  const { request } = await context.context({ format: "ai-sdk" });
  await validateUIMessages({ messages: request.messages });
});

test("a message without an id is refused before anything is said", async () => {
  const context = await freshContext();
  const nameless = [says("u1", "user", "One?"), says("", "assistant", "One.")];
  await assert.rejects(saveUIMessages(context, nameless), /generateMessageId/);
  assert.equal((await context.state()).version, 0);
});
