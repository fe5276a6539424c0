/** Lines that break, servers that are something else, what is refused, and what is tried again. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { test } from "node:test";

import * as calls from "../src/calls.ts";
import { REFUSALS } from "../src/errors.ts";
import { Exchange, pauseMs } from "../src/exchange.ts";
import {
  Internal,
  NoAnswer,
  NotRewindow,
  OtherVersion,
  RateLimited,
  Refused,
  RewindowError,
  Unavailable,
  createClient,
  text,
} from "../src/index.ts";
import { Canned, STATE, http, listening, refused } from "./support.ts";

const OK = http("200 OK", STATE);

/** What a client makes of a server that answers so. */
function stateFrom(answers: string[], timeoutMs = 400) {
  return listening(new Canned(...answers).serve, (url) =>
    createClient({ baseUrl: url, timeoutMs }).existing("demo").state(),
  );
}

async function caught(answers: string[]): Promise<RewindowError> {
  const error: unknown = await stateFrom(answers).then(
    () => assert.fail("it was no error"),
    (error: unknown) => error,
  );
  assert(error instanceof RewindowError, String(error));
  return error;
}

// -- servers that are something else --------------------------------------------------------------

test("a field that a newer server adds is passed over", async () => {
  assert.equal((await stateFrom([OK])).version, 3);
});

test("a server of another version is told from one that is broken", async () => {
  const error = await caught([http("200 OK", '{"id":"demo"}')]);
  assert(error instanceof OtherVersion);
  assert.match(error.message, /`status` should be .*use a client of the server's version/);
});

test("a wrong address is said to be one", async () => {
  const page = http("200 OK", "<!DOCTYPE html><p>Welcome", ["Content-Type: text/html"]);
  const other = http("404 Not Found", '{"detail":"Not Found"}', ["Content-Type: application/json"]);
  const moved = http("308 Permanent Redirect", "", ["Location: https://node/"]);
  for (const [answer, says] of [
    [page, /text\/html: '<!DOCTYPE html><p>Welcome'; give the address of one as baseUrl/],
    [other, /answered 404 with application\/json/],
    [moved, /sends elsewhere, to https:\/\/node\//],
    [http("200 OK", ""), /answered 200 with nothing that has a type/],
  ] as const) {
    const error = await caught([answer]);
    assert(error instanceof NotRewindow);
    assert.match(error.message, says);
  }
});

test("a port where nobody listens", async () => {
  const nowhere = createClient({ baseUrl: "http://127.0.0.1:1", timeoutMs: 300 });
  await assert.rejects(nowhere.existing("demo").state(), {
    name: "NoAnswer",
    message: /within 0.3 s \(no connection: .*mend baseUrl/,
  });
});

test("an answer that is cut in its middle", async () => {
  const cut = http("200 OK", STATE.slice(0, 50), [], STATE.length);
  for (const answer of [cut, ""]) {
    const error = await caught([answer]);
    assert(error instanceof NoAnswer);
    assert.match(error.message, /cut before the answer was whole/);
  }
  assert.equal((await stateFrom([cut, "", OK], 30_000)).version, 3);
});

test("a server that says nothing, or too slowly, is given up in time", async () => {
  const silent = (socket: Socket) => void socket.resume();
  const dripping = (socket: Socket) => {
    socket.write(http("200 OK", "", [], 1 << 20));
    const drops = setInterval(() => socket.write(" "), 50);
    socket.on("close", () => clearInterval(drops));
  };
  for (const serve of [silent, dripping]) {
    await listening(serve, async (url) => {
      const slow = createClient({ baseUrl: url, timeoutMs: 300 }).existing("demo");
      await assert.rejects(slow.state(), { name: "NoAnswer", message: /it took too long/ });
    });
  }
});

// -- what is refused --------------------------------------------------------------------------------

test("each documented code has its class, with the server's sentence and fields", async () => {
  const more = { field: "f", version: 7, seq: 9, trace_id: "t" };
  for (const [code, kind] of Object.entries(REFUSALS)) {
    const error = await caught([refused("418 Some", code, more)]);
    assert.equal(error.constructor, kind);
    assert(error instanceof Refused);
    assert.deepEqual([error.message, error.status, error.code], ["Do this.", 418, code]);
    assert.deepEqual(error.fields, more);
    assert.equal(error.name, kind.name);
  }
});

test("the codes are those of the contract", () => {
  const openapi = readFileSync(new URL("../../../schemas/openapi.json", import.meta.url), "utf8");
  const codes = Object.values(JSON.parse(openapi).components.schemas).flatMap(
    (schema: any) => schema.properties?.error?.const ?? [],
  );
  assert(codes.length > 8);
  for (const code of codes) assert(code in REFUSALS, code);
});

test("a code that a newer server has is a refusal with its sentence", async () => {
  const error = await caught([refused("451 Legal", "never_heard_of", { why: 1 })]);
  assert.equal(error.constructor, Refused);
  assert.match(error.message, /Do this/);
});

test("what refusals carry", async () => {
  const late = await caught([refused("503 Away", "unavailable", { retry_after: 5 })]);
  assert(late instanceof Unavailable);
  assert.equal(late.retryAfter, 5);
  const many = await caught([refused("429 Many", "rate_limited", { retry_after: 6 })]);
  assert(many instanceof RateLimited);
  assert.equal(many.retryAfter, 6);
  const bug = await caught([refused("500 Bug", "internal", { trace_id: "abc" })]);
  assert(bug instanceof Internal);
  assert.equal(bug.traceId, "abc");
});

// -- what can be none ---------------------------------------------------------------------------------

test("an address, a key, an id or a number that can be none", async () => {
  for (const baseUrl of [
    "",
    "127.0.0.1:4000",
    "localhost",
    "ftp://node",
    "http://",
    "http://n:99999",
  ]) {
    assert.throws(() => createClient({ baseUrl }), /baseUrl has to be/, baseUrl);
  }
  assert.throws(() => createClient({ baseUrl: "http://node", apiKey: "schlüssel" }), /apiKey/);
  const client = createClient({ baseUrl: "http://node" });
  for (const id of ["", ".", "..", "\ud800"]) assert.throws(() => client.existing(id), TypeError);
  const context = client.existing("demo");
  await assert.rejects(context.append(text("user", "One"), { idempotencyKey: "zwölf" }), TypeError);
  const broken = { role: "user", parts: [{ type: "number", value: NaN }] };
  await assert.rejects(context.append(broken), /value is NaN, which JSON has no number for/);
});

// -- what is tried again ------------------------------------------------------------------------------

const APPENDED = http("201 Created", '{"seq":1,"version":1,"token_estimate":3}');

test("what may pass is tried again under the same key", async () => {
  const server = new Canned(
    refused("503 Away", "unavailable"),
    refused("429 Many", "rate_limited"),
    http("502 Bad Gateway", "<html>"),
    http("504 Gateway Timeout", ""),
    "",
    APPENDED,
  );
  await listening(server.serve, async (url) => {
    await createClient({ baseUrl: url }).existing("demo").append(text("user", "One"));
  });
  const keys = server.asked.map((request) => /idempotency-key: (\w+)/i.exec(request)?.[1]);
  assert.equal(keys.length, 6);
  assert.equal(new Set(keys).size, 1);
  assert.equal(keys[0]?.length, 32);
});

test("what will not pass is not", async () => {
  for (const status of [400, 401, 404, 405, 409, 413, 422, 500]) {
    const server = new Canned(refused(`${status} No`, "some_code"), OK);
    await listening(server.serve, async (url) => {
      await assert.rejects(createClient({ baseUrl: url }).existing("demo").state(), Refused);
    });
    assert.equal(server.asked.length, 1);
  }
});

test("whoever waits in vain learns of the doubt and the key", async () => {
  await listening(new Canned("").serve, async (url) => {
    const context = createClient({ baseUrl: url, timeoutMs: 300 }).existing("demo");
    await assert.rejects(context.append(text("user", "One"), { idempotencyKey: "mine" }), {
      message: /whether it was written is not known; ask again/,
      key: "mine",
    });
    await assert.rejects(context.state(), (error) => {
      assert(error instanceof NoAnswer);
      assert.equal(error.key, undefined);
      assert.doesNotMatch(error.message, /not known/);
      return true;
    });
  });
});

/** A call that hears the same answers over and over, by a clock of its own; how long it waited. */
async function waitsOf(answers: (() => Response)[], chance = 0): Promise<number[]> {
  const waits: number[] = [];
  let now = 0;
  const seams = {
    now: () => now,
    random: () => chance,
    pause: async (ms: number) => {
      waits.push(ms);
      now += ms;
    },
  };
  const fetch = async () => (answers.length > 1 ? answers.shift()! : answers[0]!)();
  const exchange = new Exchange({ baseUrl: "http://node", fetch }, seams);
  await exchange.ask(calls.state("demo")).catch((error: unknown) => {
    assert(error instanceof RewindowError, String(error));
  });
  assert(now < 30_000, "no call takes longer than it may");
  return waits;
}

function away(retryAfter?: string): () => Response {
  const headers: Record<string, string> =
    retryAfter === undefined ? {} : { "Retry-After": retryAfter };
  return () =>
    new Response('{"error":"unavailable","message":"Not now."}', { status: 503, headers });
}

test("the server says when to come back", async () => {
  assert.deepEqual(await waitsOf([away("7"), () => new Response(STATE)]), [7000]);
  assert.deepEqual(await waitsOf([away("30")]), [], "that is too late");
});

test("pauses grow, to an end, and a crowd does not come back as one", async () => {
  const waits = await waitsOf([away()]);
  assert.deepEqual(
    waits,
    waits.toSorted((one, other) => one - other),
  );
  assert.equal(waits[0], 50);
  assert.equal(waits.at(-1), 2000);
  assert(pauseMs(3, 0.9) < pauseMs(3, 0.1));
  assert(pauseMs(3, 0.99) > pauseMs(3, 0) / 2);
});
