/**
 * A chat in the browser that forgets nothing: answers stream, the history scrolls back to the first
 * message, and a reload in the middle of an answer shows the rest of it.
 *
 *     node examples/web-chat/server.ts --url http://127.0.0.1:4000 --port 8080
 *
 * Takes Node 22.18 or later, and nothing else.
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";

import { Answers } from "../../sdk/typescript/src/ai-sdk.ts";
import { RewindowError, createClient } from "../../sdk/typescript/src/index.ts";
import type { Model } from "./chats.ts";
import { Chats } from "./chats.ts";
import { parrot } from "./model.ts";

const BODY_BYTES_MAX = 1_000_000;
const FILES: Readonly<Record<string, string>> = {
  "/": "index.html",
  "/chat.ts": "chat.ts",
  "/page.ts": "page.ts",
};

/** The server of the chats that are kept at `url`. */
export function chatServer(url: string, model: Model): Server {
  const client = createClient({ baseUrl: url });
  const chats = new Chats(client, new Answers(client), model);
  return createServer((request, response) => {
    answer(chats, request)
      .catch(apology)
      .then((given) => send(given, response))
      // The page was closed while it was told something.
      .catch(() => response.destroy());
  });
}

async function answer(chats: Chats, request: IncomingMessage): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://chat");
  if (request.method === "GET" && pathname in FILES) return file(FILES[pathname]!);
  const [, id, noun] = /^\/chats\/([^/]+)\/(messages|answer)$/.exec(pathname) ?? [];
  const number = (name: string) => Number(searchParams.get(name));
  switch (id && `${request.method} ${noun}`) {
    case "GET messages":
      return chats.history(decodeURIComponent(id!), number("offset"), number("limit"));
    case "POST messages":
      return chats.say(decodeURIComponent(id!), JSON.parse(await bodyOf(request)));
    case "GET answer":
      return chats.resume(decodeURIComponent(id!));
    default:
      return Response.json({ message: "there is nothing here" }, { status: 404 });
  }
}

async function file(name: string): Promise<Response> {
  const text = await readFile(new URL(name, import.meta.url), "utf8");
  return name.endsWith(".ts")
    ? new Response(stripTypeScriptTypes(text), { headers: { "Content-Type": "text/javascript" } })
    : new Response(text, { headers: { "Content-Type": "text/html; charset=utf-8" } });
}

function apology(error: unknown): Response {
  if (error instanceof RewindowError)
    return Response.json({ message: error.message }, { status: 503 });
  if (error instanceof SyntaxError || error instanceof URIError || error instanceof TypeError) {
    return Response.json(
      { message: `the request can't be read: ${error.message}` },
      { status: 400 },
    );
  }
  console.error(error);
  return Response.json({ message: "something is wrong here; see the log" }, { status: 500 });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > BODY_BYTES_MAX) throw new TypeError(`it has more than ${BODY_BYTES_MAX} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

async function send(given: Response, response: ServerResponse): Promise<void> {
  response.writeHead(given.status, Object.fromEntries(given.headers));
  if (given.body === null) response.end();
  else await pipeline(given.body as unknown as AsyncIterable<Uint8Array>, response);
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: "http://127.0.0.1:4000" },
      port: { type: "string", default: "8080" },
    },
  });
  const server = chatServer(values.url, (messages) => parrot(messages, 150));
  server.listen(Number(values.port), "127.0.0.1", () => {
    console.log(`chat at http://127.0.0.1:${values.port}/`);
  });
}
