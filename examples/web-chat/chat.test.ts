/** The chat, from the page's side: its logic against its server, against a live node. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import type { UIMessage } from "ai";

import { Chat, PAGE_MESSAGES } from "./chat.ts";
import type { Model } from "./chats.ts";
import { parrot } from "./model.ts";
import { chatServer } from "./server.ts";

const NODE = process.env["REWINDOW_TEST_NODE"] ?? "";

/** A model that says a word when it is let. */
function slowly(...words: string[]) {
  const gates = words.map(() => Promise.withResolvers<void>());
  const model: Model = async function* () {
    for (const [index, word] of words.entries()) {
      await gates[index]!.promise;
      yield word;
    }
  };
  return { model, let: (index: number) => gates[index]!.resolve() };
}

/** Does something with a server of chats. `cut` closes the lines of all its pages. */
async function served(
  model: Model,
  then: (url: string, cut: () => void) => Promise<void>,
): Promise<void> {
  const server = chatServer(NODE, model);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await then(url, () => server.closeAllConnections());
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** A page, and what waits until it shows something. */
function page(url: string, id: string) {
  const watchers = new Set<() => void>();
  const chat = new Chat(url, id, () => watchers.forEach((watch) => watch()));
  const shows = (found: (words: string[]) => boolean) =>
    new Promise<void>((resolve) => {
      const watch = () => {
        if (!found(words(chat))) return;
        watchers.delete(watch);
        resolve();
      };
      watchers.add(watch);
      watch();
    });
  return { chat, shows };
}

function words(chat: Chat): string[] {
  return chat.messages.map(wordsOf);
}

function wordsOf(message: UIMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

const parroting: Model = (messages) => parrot(messages, 0);

test("answers come word by word, and the history scrolls back to the first message", async () => {
  await served(parroting, async (url) => {
    const id = randomUUID();
    const { chat } = page(url, id);
    await chat.open();
    assert.deepEqual(words(chat), []);
    for (let number = 0; number < 25; number++) await chat.send(`This is number ${number}.`);
    assert.equal(chat.trouble, undefined);
    assert.equal(chat.messages.length, 50);
    assert.match(words(chat)[1]!, /^I have heard 1 messages. The last one: This is number 0.$/);

    const later = page(url, id).chat;
    await later.open();
    assert.deepEqual(words(later), words(chat).slice(-PAGE_MESSAGES));
    while (!later.complete) await later.older();
    assert.deepEqual(words(later), words(chat));
  });
});

test("a page that is reloaded in the middle of an answer shows the rest of it", async () => {
  const { model, let: go } = slowly("Once ", "upon ", "a time.");
  await served(model, async (url) => {
    const id = randomUUID();
    const before = page(url, id);
    const sending = before.chat.send("Tell me a story.");
    go(0);
    await before.shows((shown) => shown[1] === "Once ");

    const after = page(url, id);
    const opening = after.chat.open();
    await after.shows((shown) => shown[0] === "Tell me a story." && shown[1] === "Once ");
    go(1);
    await after.shows((shown) => shown[1] === "Once upon ");
    go(2);
    await Promise.all([sending, opening]);
    for (const { chat } of [before, after]) {
      assert.deepEqual(words(chat), ["Tell me a story.", "Once upon a time."]);
      assert.deepEqual([chat.answering, chat.trouble], [false, undefined]);
    }
    const last = page(url, id).chat;
    await last.open();
    assert.deepEqual(words(last), ["Tell me a story.", "Once upon a time."]);
    assert.equal(last.messages[1]!.id, after.chat.messages[1]!.id);
  });
});

test("a line that is cut in the middle of an answer is taken up again", async () => {
  const { model, let: go } = slowly("Once ", "upon ", "a time.");
  await served(model, async (url, cut) => {
    const { chat, shows } = page(url, randomUUID());
    const sending = chat.send("Tell me a story.");
    go(0);
    await shows((shown) => shown[1] === "Once ");
    cut();
    go(1);
    go(2);
    await sending;
    assert.deepEqual(words(chat), ["Tell me a story.", "Once upon a time."]);
    assert.equal(chat.trouble, undefined);
  });
});

test("two pages of one chat show the same", async () => {
  await served(parroting, async (url) => {
    const id = randomUUID();
    const [one, other] = [page(url, id).chat, page(url, id).chat];
    await one.send("Here.");
    await other.open();
    await other.send("There.");
    await one.open();
    assert.deepEqual(words(one), words(other));
    assert.equal(words(one).length, 4);
  });
});

test("what goes wrong is said in a sentence", async () => {
  await served(
    () => {
      throw new Error("no model");
    },
    async (url) => {
      const { chat } = page(url, randomUUID());
      await chat.send("Well?");
      assert.match(chat.trouble!, /broke off/);
      assert.equal(chat.answering, false);
    },
  );
  const { chat } = page("http://127.0.0.1:1", "nowhere");
  await chat.open();
  assert.match(chat.trouble!, /reload the page to try again$/);
});

test("the page and its modules are there, as a browser takes them", async () => {
  await served(parroting, async (url) => {
    const home = await fetch(url);
    assert.match(home.headers.get("Content-Type")!, /text\/html/);
    assert.match(await home.text(), /<script type="module" src="\/page.ts">/);
    for (const name of ["page.ts", "chat.ts"]) {
      const module = await fetch(`${url}/${name}`);
      assert.equal(module.headers.get("Content-Type"), "text/javascript");
      const text = await module.text();
      assert.doesNotMatch(text, /import type|: string/);
    }
    const missing = await fetch(`${url}/server.ts`);
    assert.equal(missing.status, 404);
    const broken = await fetch(`${url}/chats/x/messages`, { method: "POST", body: "{" });
    assert.equal(broken.status, 400);
  });
});
