/** What the tests share: the node that they are given, contexts of their own, and servers that are not
 * what they should be. */

import { randomUUID } from "node:crypto";
import { createConnection, createServer } from "node:net";
import type { Socket } from "node:net";

import type { Context, Frame } from "../src/index.ts";
import { createClient, textOf } from "../src/index.ts";

/** The node that is there for these tests. Its tail holds five messages. */
export const NODE = process.env["REWINDOW_TEST_NODE"] ?? "";

export const client = createClient({ baseUrl: NODE || "http://node" });

/** A context that nobody has made, with an id that has to be encoded. */
export function freshId(): string {
  return `ts:${randomUUID()} ü?%`;
}

/** One that is there, whose window holds all that is said. */
export function freshContext(): Promise<Context> {
  return client.context(freshId(), { budget: 1_000_000, policy: { strategy: "manual" } });
}

/** All that an iterator gives. */
export async function listed<T>(given: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of given) all.push(one);
  return all;
}

/** Ask again and again until it is so; half a minute at most. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`it did not come to pass: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What is told until the window's state at a version is; nobody listens on. */
export async function toldUntil(
  frames: AsyncGenerator<Frame, void, void>,
  version: number,
): Promise<Frame[]> {
  try {
    return await toldSoFar(frames, version);
  } finally {
    await frames.return();
  }
}

/** The same, and whoever asks is told more. */
export async function toldSoFar(
  frames: AsyncGenerator<Frame, void, void>,
  version: number,
): Promise<Frame[]> {
  const told: Frame[] = [];
  for (;;) {
    const next = await frames.next();
    if (next.done) throw new Error(`it ended after ${JSON.stringify(told)}`);
    told.push(next.value);
    if (next.value.type === "context" && next.value.version >= version) return told;
  }
}

/** What was said in these frames. */
export function said(frames: Frame[]): string[] {
  return frames.flatMap((frame) => (frame.type === "message" ? [textOf(frame.message)] : []));
}

// -- servers ------------------------------------------------------------------------------------------

export const STATE = JSON.stringify({
  id: "demo",
  status: "active",
  token_budget: 1,
  trigger_ratio: 1,
  policy: {},
  encoding: "",
  metadata: {},
  version: 3,
  last_seq: 0,
  archived_seq: 0,
  used_tokens: 0,
  needs_compaction: false,
  created_at: "",
  updated_at: "",
  new: "from a newer server",
});

/** An answer. `length`: what it says of its body, if not the truth. */
export function http(
  status: string,
  body: string,
  headers: string[] = [],
  length?: number,
): string {
  const bytes = length ?? Buffer.byteLength(body);
  return [`HTTP/1.1 ${status}`, `Content-Length: ${bytes}`, ...headers, "", body].join("\r\n");
}

/** An answer as a node refuses something. */
export function refused(status: string, error: string, more: object = {}, ...headers: string[]) {
  const body = JSON.stringify({ error, message: "Do this.", ...more });
  return http(status, body, ["Content-Type: application/json", ...headers]);
}

/** Does something at the address of a server that treats each connection so. */
export async function listening<T>(
  serve: (socket: Socket) => void,
  then: (url: string) => Promise<T>,
): Promise<T> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => socket.destroy());
    serve(socket);
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  try {
    return await then(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
  } finally {
    for (const socket of open) socket.destroy();
    server.close();
  }
}

/** Gives the answers that it was told, one a request, the last one again and again, and closes the
 * connection behind each; an empty one cuts the line. `asked`: the requests. */
export class Canned {
  readonly asked: string[] = [];
  readonly #answers: string[];

  constructor(...answers: string[]) {
    this.#answers = answers;
  }

  readonly serve = (socket: Socket): void => {
    let request = "";
    socket.on("data", (piece) => {
      request += piece.toString();
      const [head, body] = request.split("\r\n\r\n", 2);
      const length = Number(/content-length: (\d+)/i.exec(head!)?.[1] ?? 0);
      if (body === undefined || Buffer.byteLength(body) < length) return;
      this.asked.push(request);
      const answer = this.#answers.length > 1 ? this.#answers.shift()! : this.#answers[0]!;
      if (answer === "") socket.destroy();
      else socket.end(answer);
    });
  };
}

/** Passes requests on to the node, and cuts the line in one of so many pieces, by a chance that is
 * always the same: before the request has reached the node, before the answer has left, or in its
 * middle. */
export class Cutting {
  cuts = 0;
  readonly #oneIn: number;
  #seed: number;

  constructor(seed: number, oneIn: number) {
    this.#seed = seed;
    this.#oneIn = oneIn;
  }

  readonly serve = (socket: Socket): void => {
    const { hostname, port } = new URL(NODE);
    const node = createConnection(Number(port), hostname);
    node.on("error", () => socket.destroy());
    for (const [from, to] of [
      [socket, node],
      [node, socket],
    ] as const) {
      from.on("data", (piece) => {
        if (this.#below(this.#oneIn) > 0) {
          to.write(piece);
          return;
        }
        this.cuts += 1;
        to.end(piece.subarray(0, this.#below(piece.length)));
        from.destroy();
      });
      from.on("close", () => to.destroySoon());
    }
  };

  #below(limit: number): number {
    this.#seed = (this.#seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((this.#seed / 2 ** 31) * limit);
  }
}
