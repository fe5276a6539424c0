/** What the client does with contexts, messages and windows, at a live node. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Conflict,
  IdempotencyKeyReused,
  InvalidRequest,
  NotExpressible,
  NotFound,
  Tombstoned,
  TooLarge,
  createClient,
  text,
  textOf,
} from "../src/index.ts";
import { Cutting, NODE, client, freshContext, freshId, listed, listening } from "./support.ts";

test("a context is made, changed and deleted", async () => {
  const id = freshId();
  const policy = { strategy: "last_n", config: { limit: 7 } } as const;
  const context = await client.context(id, { budget: 900, policy, metadata: { a: 1, b: 2 } });
  const made = await context.state();
  assert.deepEqual([made.id, made.token_budget, made.policy], [id, 900, policy]);
  await client.context(id, { trigger: 0.5 });
  const changed = await context.state();
  assert.deepEqual([changed.token_budget, changed.trigger_ratio], [900, 0.5]);
  assert.deepEqual((await context.patchMetadata({ a: null, c: [3] })).metadata, { b: 2, c: [3] });
  await context.append(text("user", "One"));
  await client.deleteContext(id);
  await context.delete();
  const closed = client.existing(id);
  assert.equal((await closed.state()).status, "tombstoned");
  await assert.rejects(closed.append(text("user", "Two")), Tombstoned);
  await assert.rejects(client.context(id), Tombstoned);
  assert.deepEqual((await closed.getTail()).map(textOf), ["One"], "what was said stays readable");
});

test("contexts are listed over all pages", async () => {
  const prefix = freshId();
  const ids = [0, 1, 2, 3, 4].map((number) => `${prefix}-${number}`);
  for (const id of ids) await client.context(id);
  const found = await listed(client.contexts({ prefix, pageSize: 2 }));
  assert.deepEqual(
    found.map((state) => state.id),
    ids,
  );
  assert.deepEqual(await listed(client.contexts({ prefix: `${prefix}-none` })), []);
});

test("what is appended comes back as it was", async () => {
  const context = await freshContext();
  const parts = [
    { type: "text", text: 'NUL \0, " and \u2028 é 😀' },
    { type: "number", big: 2 ** 53 - 1, small: 1e-7, none: null },
  ];
  const metadata = { nested: { list: [1, 2.5, "three", true, null] } };
  const message = { role: "user", parts, metadata, id: "mine" };
  const appended = await context.append(message, { tokenCount: 12 });
  assert.deepEqual(appended, { seq: 1, version: 1, token_estimate: 12 });
  const [read] = await context.getTail();
  assert.deepEqual([read!.parts, read!.metadata, read!.id], [parts, metadata, "mine"]);
  const window = await context.context();
  assert.deepEqual(window.messages, [read]);
  assert.equal(window.used_tokens, 12);
});

test("several messages go in all or nothing", async () => {
  const context = await freshContext();
  const appended = await context.append([text("user", "One"), text("assistant", "Two")]);
  assert.deepEqual([appended.first_seq, appended.last_seq, appended.version], [1, 2, 1]);
  const broken = context.append([text("user", "Three"), { role: "user", parts: [] }]);
  await assert.rejects(broken, (error) => {
    assert(error instanceof InvalidRequest);
    assert.equal(error.field, "messages[1].parts");
    return true;
  });
  assert.deepEqual((await context.getTail()).map(textOf), ["One", "Two"]);
});

test("only one of two writes with one version wins", async () => {
  const context = await freshContext();
  await context.append(text("user", "One"), { ifVersion: 0 });
  await assert.rejects(context.append(text("user", "Two"), { ifVersion: 0 }), (error) => {
    assert(error instanceof Conflict);
    assert.deepEqual([error.version, error.status, error.code], [1, 409, "conflict"]);
    assert.match(error.message, /if_version is 0/);
    return true;
  });
  await assert.rejects(context.context({ ifVersion: 0 }), Conflict);
  await assert.rejects(context.compact([], { ifVersion: 0 }), Conflict);
  await assert.rejects(context.undo(1, { ifVersion: 0 }), Conflict);
});

test("a key of one's own makes a write once", async () => {
  const context = await freshContext();
  const first = await context.append(text("user", "One"), { idempotencyKey: "k" });
  assert.deepEqual(await context.append(text("user", "One"), { idempotencyKey: "k" }), first);
  const other = context.append(text("user", "Two"), { idempotencyKey: "k" });
  await assert.rejects(other, IdempotencyKeyReused);
  assert.equal((await context.state()).last_seq, 1);
});

test("pages of the tail and of the history reach into the archive", async () => {
  const context = await freshContext();
  const all = Array.from({ length: 23 }, (_, number) => `No. ${number}`);
  for (const one of all) await context.append(text("user", one));
  assert.deepEqual((await context.getTail({ limit: 10 })).map(textOf), all.slice(13));
  assert.deepEqual((await context.getTail({ offset: 20, limit: 10 })).map(textOf), all.slice(0, 3));
  assert.deepEqual(await context.getTail({ offset: 23 }), []);
  const replayed = await listed(context.messages({ fromSeq: 3, pageSize: 4 }));
  assert.deepEqual(replayed.map(textOf), all.slice(2));
  const older = await context.page({ beforeSeq: 5, limit: 2 });
  assert.deepEqual([older.messages.map(textOf), older.next_seq], [all.slice(2, 4), 3]);
});

test("what is undone leaves window and tail, and stays in the history", async () => {
  const context = await freshContext();
  await context.append(["One", "Two", "Three"].map((words) => text("user", words)));
  const undone = await context.undo(2, { ifVersion: 1 });
  assert.deepEqual(undone, { version: 2, undone: 2, from_seq: 2, to_seq: 3 });
  assert.deepEqual((await context.getTail()).map(textOf), ["One"]);
  assert.deepEqual((await context.context()).messages.map(textOf), ["One"]);
  const page = await context.page();
  assert.equal(page.messages.length, 3);
  assert.deepEqual(page.undone, [{ from_seq: 2, to_seq: 3 }]);
});

test("a window is compacted with what was read from it", async () => {
  const context = await freshContext();
  await context.append(["One", "Two", "Three"].map((words) => text("user", words)));
  const window = await context.context();
  const { version } = await context.compact(
    [text("system", "One and two were said."), window.messages.at(-1)!],
    { ifVersion: window.version },
  );
  const after = await context.context({ minVersion: version });
  assert.deepEqual(after.messages.map(textOf), ["One and two were said.", "Three"]);
  assert.equal(after.segments[0]!.type, "summary");
  const small = await context.context({ budgetTokens: after.messages[1]!.token_count });
  assert.deepEqual(small.messages.map(textOf), ["Three"]);
});

test("a window in the shape of a provider has what goes into its request", async () => {
  const context = await freshContext();
  await context.append([text("system", "Be brief."), text("user", "Hello.")]);
  const chat = await context.context({ format: "openai-chat" });
  assert.deepEqual(chat.request, {
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello." },
    ],
  });
  assert.deepEqual([chat.format, chat.version, chat.left_out], ["openai-chat", 1, {}]);
  const items = await context.context({ format: "openai-responses" });
  assert.deepEqual(Object.keys(items.request), ["input"]);
  const anthropic = await context.context({ format: "anthropic" });
  assert.deepEqual(Object.keys(anthropic.request).sort(), ["messages", "system"]);
  await context.append({ role: "user", parts: [{ type: "hologram" }] });
  await assert.rejects(context.context({ format: "anthropic" }), (error) => {
    assert(error instanceof NotExpressible);
    assert.equal(error.seq, 3);
    return true;
  });
});

test("what is not there, and what is too large, is said", async () => {
  const context = client.existing(freshId());
  await assert.rejects(context.append(text("user", "One")), NotFound);
  await context.configure();
  await assert.rejects(context.append(text("user", "x".repeat(2 ** 20))), TooLarge);
});

test("on a bad line each message is said once", async () => {
  const context = await freshContext();
  const cutting = new Cutting(7, 4);
  const all = Array.from({ length: 30 }, (_, number) => `No. ${number}`);
  await listening(cutting.serve, async (url) => {
    const there = createClient({ baseUrl: url }).existing(context.id);
    for (const one of all) await there.append(text("user", one));
    assert.deepEqual((await listed(there.messages({ pageSize: 10 }))).map(textOf), all);
  });
  assert(cutting.cuts > 0);
});

test("a call can be given up", async () => {
  const context = await freshContext();
  const reason = new Error("enough");
  const given = context.context({ minVersion: 9, signal: AbortSignal.abort(reason) });
  await assert.rejects(given, (error) => error === reason);
  const controller = new AbortController();
  const waiting = context.context({ minVersion: 9, signal: controller.signal });
  setImmediate(() => controller.abort(reason));
  await assert.rejects(waiting, (error) => error === reason);
});

test("the address may have a path, and a slash at its end", async () => {
  const seen: string[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    seen.push(String(input));
    return globalThis.fetch(String(input).replace("/behind/proxy", ""), init);
  };
  const there = createClient({ baseUrl: `${NODE}/behind/proxy/`, fetch });
  await there.context("behind a proxy");
  assert.deepEqual(seen, [`${NODE}/behind/proxy/v1/contexts/behind%20a%20proxy`]);
});
