/** Following a context: nothing is missed, nothing is told twice. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { NoAnswer, NotFound, NotRewindow, OtherVersion, createClient, text } from "../src/index.ts";
import {
  Canned,
  Cutting,
  STATE,
  client,
  freshContext,
  freshId,
  http,
  listed,
  listening,
  refused,
  said,
  toldSoFar,
  toldUntil,
  until,
} from "./support.ts";

const EVENTS = ["Content-Type: text/event-stream; charset=utf-8"];

test("everything from the beginning, and what comes then", async () => {
  const context = await freshContext();
  await context.append([text("user", "One"), text("user", "Two")]);
  const frames = context.follow({ cursor: 0 });
  assert.deepEqual(said(await toldSoFar(frames, 1)), ["One", "Two"]);
  await context.append(text("user", "Three"));
  await context.undo(2);
  await context.compact([text("system", "One was said.")]);
  await context.delete();
  const rest = await listed(frames);
  assert.deepEqual(said(rest), ["Three"]);
  const kinds = rest.map((frame) => frame.type).filter((kind) => kind !== "context");
  assert.deepEqual(kinds, ["message", "undone", "compaction", "tombstoned"]);
});

test("from now on means from now on", async () => {
  const context = await freshContext();
  await context.append(text("user", "One"));
  const frames = context.follow();
  const coming = frames.next();
  let told = false;
  void coming.then(() => (told = true));
  // Whatever was said before the stream was there is told, or not: so say something until it is.
  for (let number = 2; !told; number++) await context.append(text("user", `No. ${number}`));
  assert.notDeepEqual(said([(await coming).value!]), ["One"]);
  await frames.return();
});

test("what becomes of the window alone", async () => {
  const context = await freshContext();
  await context.append(text("user", "One"));
  const frames = await toldUntil(context.follow({ cursor: 0, messages: false }), 1);
  assert.deepEqual(
    frames.map((frame) => frame.type),
    ["context"],
  );
});

test("a signal ends it, whatever it waits for", async () => {
  const context = await freshContext();
  await context.append(text("user", "One"));
  const controller = new AbortController();
  const told = [];
  for await (const frame of context.follow({ cursor: 0, signal: controller.signal })) {
    told.push(frame.type);
    if (frame.type === "context") setImmediate(() => controller.abort());
  }
  assert.deepEqual(told, ["message", "context"]);
  assert.deepEqual(await listed(context.follow({ signal: AbortSignal.abort() })), []);
});

test("nobody follows what is not there", async () => {
  await assert.rejects(client.existing(freshId()).follow({ cursor: 0 }).next(), NotFound);
  const nowhere = createClient({ baseUrl: "http://127.0.0.1:1", timeoutMs: 300 });
  await assert.rejects(nowhere.existing("demo").follow().next(), NoAnswer);
});

test("what is no longer hot is read from the history", async () => {
  const context = await client.context(freshId(), {
    policy: { strategy: "last_n", config: { limit: 1 } },
    budget: 10,
  });
  const all = Array.from({ length: 40 }, (_, number) => `message ${number}`);
  for (const one of all) await context.append(text("user", one));
  await context.undo(38);
  await until(async () => (await context.state()).archived_seq === 40);
  const frames = await toldUntil(context.follow({ cursor: 0 }), 41);
  assert.deepEqual(said(frames), all);
  const undone = frames.flatMap((frame) => (frame.type === "undone" ? [frame.range] : []));
  assert.deepEqual(undone, [{ from_seq: 38, to_seq: 40 }]);
  const later = await toldUntil(context.follow({ cursor: 17 }), 41);
  assert.deepEqual(
    said(later),
    all.slice(17),
    "where only a version is known, its seq is looked for",
  );
});

for (const seed of [1, 2]) {
  test(`a line that is cut again and again tells everything once (${seed})`, async () => {
    const context = await freshContext();
    const batches = Array.from({ length: 20 }, (_, batch) => [0, 1, 2].map((n) => `${batch}.${n}`));
    const cutting = new Cutting(seed, 8);
    const frames = await listening(cutting.serve, async (url) => {
      const follower = createClient({ baseUrl: url }).existing(context.id);
      const told = toldUntil(follower.follow({ cursor: 0 }), batches.length);
      for (const batch of batches) await context.append(batch.map((one) => text("user", one)));
      return told;
    });
    assert(cutting.cuts > 0);
    assert.deepEqual(said(frames), batches.flat());
    const versions = frames.map((frame) => frame.version);
    assert.deepEqual(
      versions,
      versions.toSorted((one, other) => one - other),
    );
  });
}

test("a line that ends is taken up again where it was", async () => {
  const told = (version: number) =>
    `id: ${version}\ndata: {"type":"undone","version":${version},"range":{"from_seq":1,"to_seq":1}}\n\n`;
  const server = new Canned(
    http("200 OK", STATE),
    http("200 OK", told(4) + told(5), EVENTS),
    refused("503 Away", "unavailable"),
    http("200 OK", told(6), EVENTS),
  );
  await listening(server.serve, async (url) => {
    const frames = createClient({ baseUrl: url }).existing("demo").follow();
    for (const version of [4, 5, 6]) {
      const { value } = await frames.next();
      assert.deepEqual([value?.type, value?.version], ["undone", version]);
    }
    await frames.return();
  });
  const cursors = server.asked.map((request) => /cursor=(\d+)/.exec(request)?.[1]);
  assert.deepEqual(cursors.slice(0, 4), [undefined, "3", "5", "5"]);
});

test("a context that was made anew is told from its beginning", async () => {
  const context = await freshContext();
  await context.append(text("user", "One"));
  const frames = await toldUntil(context.follow({ cursor: 99 }), 1);
  assert.deepEqual(
    frames.map((frame) => frame.type),
    ["reset", "message", "context"],
  );
});

test("a stream that is none", async () => {
  const page = http("200 OK", "<html>", ["Content-Type: text/html"]);
  await listening(new Canned(http("200 OK", STATE), page).serve, async (url) => {
    const frames = createClient({ baseUrl: url }).existing("demo").follow({ cursor: 0 });
    await assert.rejects(frames.next(), NotRewindow);
  });
});

test("frames of another version", async () => {
  const known = '{"type":"context","version":1,"used_tokens":2,"needs_compaction":true,"new":3}';
  const stream = (...data: string[]) =>
    http("200 OK", data.map((one) => `id: 1\ndata: ${one}\n\n`).join(""), EVENTS);
  const first = async (...data: string[]) =>
    listening(new Canned(http("200 OK", STATE), stream(...data)).serve, async (url) => {
      const frames = createClient({ baseUrl: url }).existing("demo").follow({ cursor: 0 });
      const { value } = await frames.next();
      await frames.return();
      return value;
    });
  const frame = await first('{"type":"never heard of","version":1}', known);
  assert.equal(frame?.type, "context");
  await assert.rejects(first('{"type":"context"}'), OtherVersion);
  await assert.rejects(first("{"), OtherVersion);
});
