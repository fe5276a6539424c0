/** Answers that are resumed in their middle, read with the AI SDK's own reader. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mock, test } from "node:test";

import type { UIMessage, UIMessageChunk } from "ai";
import {
  createUIMessageStream,
  parseJsonEventStream,
  readUIMessageStream,
  uiMessageChunkSchema,
} from "ai";

import { Answers, saveUIMessages, toUIMessages } from "../src/ai-sdk.ts";
import { Unavailable } from "../src/index.ts";
import { client, listed, until } from "./support.ts";

const answers = new Answers(client);

/** A model that says what it is told to, when it is told to. */
function model() {
  const through = new TransformStream<UIMessageChunk, UIMessageChunk>(undefined, {
    highWaterMark: 1000,
  });
  const writer = through.writable.getWriter();
  return {
    chunks: through.readable,
    begin: async () => {
      await writer.write({ type: "start", messageId: "a1" });
      await writer.write({ type: "text-start", id: "t" });
    },
    say: (delta: string) => writer.write({ type: "text-delta", id: "t", delta }),
    end: async () => {
      await writer.write({ type: "text-end", id: "t" });
      await writer.write({ type: "finish" });
      await writer.close();
    },
    breakOff: () => writer.abort(new Error("the model is gone")),
  };
}

/** The chunks of a response, as the AI SDK reads them. */
function chunksOf(response: Response): ReadableStream<UIMessageChunk> {
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("X-Vercel-AI-UI-Message-Stream"), "v1");
  const parsed = parseJsonEventStream({ stream: response.body!, schema: uiMessageChunkSchema });
  return parsed.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        assert(chunk.success, String(chunk));
        controller.enqueue(chunk.value as UIMessageChunk);
      },
    }),
  );
}

/** All of them. */
async function allOf(response: Response): Promise<UIMessageChunk[]> {
  const all: UIMessageChunk[] = [];
  await chunksOf(response).pipeTo(new WritableStream({ write: (chunk) => void all.push(chunk) }));
  return all;
}

/** What a response comes to. */
async function messageOf(response: Response): Promise<UIMessage> {
  const states = await listed(readUIMessageStream({ stream: chunksOf(response) }));
  return states.at(-1)!;
}

/** Reads until these words are there, and no further. */
async function heardUntil(response: Response, words: string): Promise<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let heard = "";
  while (!heard.includes(words)) {
    const { done, value } = await reader.read();
    assert(!done, heard);
    heard += value;
  }
  await reader.cancel();
  return heard;
}

function wordsOf(message: UIMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

test("whoever comes back in the middle is told all of it, live to its end", async () => {
  const chat = randomUUID();
  const { chunks, begin, say, end } = model();
  const first = await answers.stream(chat, chunks);
  await begin();
  await say("Once upon ");
  await heardUntil(first, "Once upon ");
  const second = await answers.resume(chat);
  const third = await answers.endpoint(() => chat)(new Request("http://chat/stream"));
  const coming = Promise.all([messageOf(second), messageOf(third)]);
  for (const word of ["a ", "time ", "there was."]) await say(word);
  await end();
  for (const message of await coming) {
    assert.equal(message.id, "a1");
    assert.equal(wordsOf(message), "Once upon a time there was.");
  }
  assert.equal((await answers.resume(chat)).status, 204, "now it is over");
});

test("whoever asks first is told as it comes, and it is over when it is kept", async () => {
  const chat = randomUUID();
  const { chunks, begin, say, end } = model();
  const response = await answers.stream(chat, chunks);
  const coming = messageOf(response);
  await begin();
  for (let number = 0; number < 300; number++) await say(`${number} `);
  await end();
  const expected = Array.from({ length: 300 }, (_, number) => `${number} `).join("");
  assert.equal(wordsOf(await coming), expected);
  assert.equal((await answers.resume(chat)).status, 204);
  const records = (await answers.contextOf(chat).state()).last_seq;
  assert(records < 300, `${records} records: some chunks go together`);
});

test("an answer goes on though nobody listens, and its message is saved before it is over", async () => {
  const id = randomUUID();
  const chat = await client.context(id);
  const asked: UIMessage = { id: "u1", role: "user", parts: [{ type: "text", text: "Well?" }] };
  let kept: Promise<void> | undefined;
  const own = new Answers(client, { waitUntil: (promise) => (kept = promise) });
  const { chunks, begin, say, end } = model();
  const stream = createUIMessageStream({
    originalMessages: [asked],
    generateId: () => "a1",
    execute: ({ writer }) => writer.merge(chunks),
    onFinish: async ({ messages }) => void (await saveUIMessages(chat, messages)),
  });
  const response = await own.stream(id, stream);
  await begin();
  await response.body!.cancel();
  await say("Nobody hears this.");
  await end();
  await kept;
  const [, answer] = toUIMessages(await chat.getTail());
  assert.deepEqual([answer!.id, wordsOf(answer!)], ["a1", "Nobody hears this."]);
  assert.equal((await own.resume(id)).status, 204);
});

test("there is nothing to resume where nothing was asked, or the process has gone", async () => {
  const chat = randomUUID();
  assert.equal((await answers.resume(chat)).status, 204);
  const { chunks, begin, end } = model();
  await answers.stream(chat, chunks);
  await begin();
  mock.timers.enable({ apis: ["Date"], now: Date.now() + 120_000 });
  try {
    assert.equal((await answers.resume(chat)).status, 204);
  } finally {
    mock.timers.reset();
  }
  const resumed = await answers.resume(chat);
  assert.equal(resumed.status, 200);
  await end();
  await resumed.text();
});

test("a model that thinks for long is waited for, a process that is gone is not", async () => {
  const chat = randomUUID();
  const patient = new Answers(client, { silenceMs: 2000 });
  const { chunks, begin, say, end } = model();
  await patient.stream(chat, chunks);
  await begin();
  const followed = messageOf(await patient.resume(chat));
  // So many signs take longer than a silence may.
  await until(async () => (await patient.contextOf(chat).state()).last_seq >= 8);
  await say("Well.");
  await end();
  assert.equal(wordsOf(await followed), "Well.");

  const gone = {
    role: "assistant",
    parts: [{ type: "data", data: [] }],
    metadata: { answer: "x" },
  };
  await patient.contextOf(chat).append(gone);
  assert.equal((await allOf(await patient.resume(chat))).at(-1)!.type, "error");
});

test("a model that breaks off, and a newer answer, end the one that is followed", async () => {
  const chat = randomUUID();
  const broken = model();
  const first = await answers.stream(chat, broken.chunks);
  await broken.begin();
  const followed = allOf(await answers.resume(chat));
  await broken.breakOff();
  assert.equal((await allOf(first)).at(-1)!.type, "error");
  assert.equal((await followed).at(-1)!.type, "error");

  const older = model();
  const newer = model();
  const one = await answers.stream(chat, older.chunks);
  await older.begin();
  const told = allOf(await answers.resume(chat));
  const other = await answers.stream(chat, newer.chunks);
  assert.equal((await told).at(-1)!.type, "error");
  await newer.begin();
  await newer.say("New.");
  await older.say("Old.");
  const resumed = messageOf(await answers.resume(chat));
  await older.end();
  await newer.end();
  assert.equal(wordsOf(await messageOf(one)), "Old.", "whoever has asked is told all the same");
  assert.equal(wordsOf(await messageOf(other)), "New.");
  assert.equal(wordsOf(await resumed), "New.");
});

test("what is not kept is told all the same, and said to be so", async () => {
  const chat = randomUUID();
  const errors: unknown[] = [];
  const own = new Answers(client, { onError: (error) => errors.push(error) });
  const { chunks, begin, say, end } = model();
  const response = await own.stream(chat, chunks);
  const coming = messageOf(response);
  await begin();
  await say("x".repeat(1_100_000));
  await end();
  assert.equal(wordsOf(await coming).length, 1_100_000);
  assert.match(String(errors[0]), /TooLarge/);
});

test("a resuming endpoint says what is the matter", async () => {
  const down = new Answers(client);
  const fails = down.endpoint(() => {
    throw new Unavailable(503, "unavailable", "Not now.", {});
  });
  const answer = await fails(new Request("http://chat/stream"));
  assert.equal(answer.status, 503);
  assert.deepEqual(await answer.json(), { error: "unavailable", message: "Not now." });
});
