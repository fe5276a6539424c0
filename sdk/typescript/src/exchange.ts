/**
 * How a call comes to its answer: tried again while that may help, never twice in effect, and over
 * in time.
 */

import type { Call, Query } from "./calls.ts";
import { isPrintable } from "./calls.ts";
import { NoAnswer, NotRewindow, OtherVersion, REFUSALS, Refused, RewindowError } from "./errors.ts";
import { Unknown } from "./reading.ts";

/** How long one attempt may take of a call's time: longer than a node waits for anything. */
const ATTEMPT_MS = 15_000;
/** That an attempt which had less than this took too long says nothing of the server. */
const SHORT_MS = 1_000;
const PAUSE_MS = 50;
/** Pauses double from the one to the other; each is cut by a random half at most, so that a crowd that
 * was sent away does not come back as one. */
const PAUSE_MS_MAX = 2_000;
const SHOWN_CHARS = 60;

/** 502 and 504 are what a proxy says of a node that is away. */
export const RETRIED: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** An HTTP answer, read to its end. */
export type Answer = { status: number; headers: Headers; body: string; elsewhere?: boolean };

/** Why there is no answer. */
type Trouble = { why: string; late: boolean };

type Heard = Answer | Trouble;

/** What a client is made with. */
export type Options = {
  /** The address of any node, or of what stands before them. In a browser it may be a path. */
  baseUrl: string;
  apiKey?: string;
  /** What a call may take altogether, with all that is tried again in it. */
  timeoutMs?: number;
  /** In the place of the global one. */
  fetch?: typeof globalThis.fetch;
};

/** Time and chance, so that a test may have its own. */
export type Seams = {
  now: () => number;
  random: () => number;
  pause: (ms: number, signal?: AbortSignal) => Promise<void>;
};

const OURS: Seams = { now: () => performance.now(), random: Math.random, pause };

/** Asks the nodes behind one address. */
export class Exchange {
  readonly url: string;
  readonly #timeoutMs: number;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof globalThis.fetch;
  readonly #seams: Seams;

  /** Throws a `TypeError` where the address or the key can be none. */
  constructor({ baseUrl, apiKey, timeoutMs = 30_000, fetch }: Options, seams: Seams = OURS) {
    this.url = addressOf(baseUrl);
    this.#timeoutMs = timeoutMs;
    this.#headers = {};
    if (apiKey !== undefined) {
      if (!isPrintable(apiKey)) {
        throw new TypeError("apiKey has to be printable ASCII; no node has such a key");
      }
      this.#headers["Authorization"] = `Bearer ${apiKey}`;
    }
    // Browsers want theirs called as a function of no object.
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#seams = seams;
  }

  /** Until there is an answer, or no time left. Throws `RewindowError`, or the signal's reason. */
  async ask<T>(call: Call<T>, signal?: AbortSignal): Promise<T> {
    const { now, random } = this.#seams;
    const deadline = now() + this.#timeoutMs;
    let trouble: Heard | undefined;
    for (let attempt = 0; ; attempt++) {
      const withinMs = Math.min(ATTEMPT_MS, Math.max(0, deadline - now()));
      const heard = await this.#attempt(call, withinMs, signal);
      if ("status" in heard && !RETRIED.has(heard.status)) return understood(this.url, call, heard);
      if (trouble === undefined || withinMs > SHORT_MS || !("late" in heard && heard.late)) {
        trouble = heard;
      }
      const waitMs = Math.max(pauseMs(attempt, random()), retryAfterMs(heard));
      if (now() + waitMs >= deadline) throw this.#givenUp(call, trouble);
      await this.#seams.pause(waitMs, signal);
    }
  }

  /** Wait before the next attempt, after so many have failed. Throws the signal's reason. */
  async rest(failures: number, leastMs: number, signal?: AbortSignal): Promise<void> {
    await this.#seams.pause(Math.max(leastMs, pauseMs(failures, this.#seams.random())), signal);
  }

  /** A response whose body is still to come. Rejects as `fetch` does. */
  open(path: string, query: Query, signal: AbortSignal): Promise<Response> {
    const headers = { ...this.#headers, Accept: "text/event-stream" };
    return this.#fetch(this.#address(path, query), {
      headers,
      signal,
      redirect: "manual",
      cache: "no-store",
    });
  }

  async #attempt(call: Call<unknown>, withinMs: number, signal?: AbortSignal): Promise<Heard> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), withinMs);
    const both = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    try {
      return await answerOf(await this.#send(call, both));
    } catch (error) {
      signal?.throwIfAborted();
      return late.signal.aborted ? { why: "it took too long", late: true } : troubleOf(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #send({ method, path, query = {}, body, key }: Call<unknown>, signal: AbortSignal) {
    signal.throwIfAborted();
    const headers = { ...this.#headers };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key !== undefined) headers["Idempotency-Key"] = key;
    const init: RequestInit = { method, headers, signal, redirect: "manual", cache: "no-store" };
    if (body !== undefined) init.body = body;
    return this.#fetch(this.#address(path, query), init);
  }

  #address(path: string, query: Query): string {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return `${this.url}${path}${search.size > 0 ? `?${search}` : ""}`;
  }

  #givenUp(call: Call<unknown>, heard: Heard): RewindowError {
    let why: string;
    if ("status" in heard) {
      const refused = refusal(this.url, call, heard);
      if (!(refused instanceof NotRewindow)) return refused;
      why = `a proxy before it answered ${heard.status}`;
    } else {
      why = heard.why;
    }
    const doubt = call.key === undefined ? "" : "; whether it was written is not known";
    return new NoAnswer(
      `no answer from ${this.url} within ${this.#timeoutMs / 1000} s (${why})${doubt}; ask again, ` +
        "or mend baseUrl if no node is there",
      call.key,
    );
  }
}

/** How long to wait after so many attempts but one have failed. `chance`: from 0 to below 1. */
export function pauseMs(attempt: number, chance: number): number {
  return Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** Math.min(attempt, 16)) * (1 - chance / 2);
}

/** Wait. Rejects with the signal's reason. */
function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The whole of an answer. */
export async function answerOf(response: Response): Promise<Answer> {
  // Browsers don't say where they are sent.
  const elsewhere = response.type === "opaqueredirect" || response.headers.has("Location");
  try {
    const body = await response.text();
    return { status: response.status, headers: response.headers, body, elsewhere };
  } catch (error) {
    throw new Cut("the line was cut before the answer was whole", { cause: error });
  }
}

/** What an answer says. Throws `RewindowError`. */
function understood<T>(url: string, call: Call<T>, answer: Answer): T {
  if (answer.status < 200 || answer.status > 299) throw refusal(url, call, answer);
  const body = answer.body === "" ? undefined : parsed(answer.body);
  if (body === undefined && answer.status !== 204) throw stranger(url, answer);
  try {
    return call.read(body);
  } catch (error) {
    if (!(error instanceof Unknown)) throw error;
    throw new OtherVersion(
      `${url} answered ${call.method} ${call.path} with something else than this client knows ` +
        `(${error.message}); use a client of the server's version`,
    );
  }
}

/** The exception for an answer that is no success. */
export function refusal(url: string, call: Call<unknown>, answer: Answer): RewindowError {
  const problem = parsed(answer.body) as Record<string, unknown> | null | undefined;
  if (typeof problem?.["error"] !== "string" || typeof problem["message"] !== "string") {
    return stranger(url, answer);
  }
  const { error, message, ...fields } = problem as { error: string; message: string };
  // What the server gives back is the better one: it may have refused ours.
  const key =
    call.key === undefined ? undefined : (answer.headers.get("Idempotency-Key") ?? call.key);
  const kind = Object.hasOwn(REFUSALS, error) ? REFUSALS[error]! : Refused;
  return new kind(answer.status, error, message, fields, key);
}

/** How long the server does not want to be asked, where it says so. */
export function retryAfterMs(heard: object): number {
  const told = "headers" in heard ? (heard as Answer).headers.get("Retry-After") : null;
  return told !== null && /^\d{1,9}$/.test(told) ? Number(told) * 1000 : 0;
}

class Cut extends Error {}

function troubleOf(error: unknown): Trouble {
  if (error instanceof Cut) return { why: error.message, late: false };
  // Node says what it was behind a "fetch failed"; browsers don't say.
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  if (cause?.code === "UND_ERR_SOCKET" || cause?.code === "ECONNRESET") {
    return { why: "the line was cut before the answer was whole", late: false };
  }
  const said = cause?.message || cause?.code || (error as Error).message;
  return { why: `no connection: ${said}`, late: false };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function stranger(url: string, answer: Answer): NotRewindow {
  const kind = answer.headers.get("Content-Type") ?? "nothing that has a type";
  const text = answer.body.trim();
  const shown = text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS - 1)}…`;
  const said = answer.elsewhere
    ? `sends elsewhere${answer.headers.has("Location") ? `, to ${answer.headers.get("Location")}` : ""}`
    : `answered ${answer.status} with ${kind}: '${shown}'`;
  return new NotRewindow(
    `${url} is no node of Rewindow: it ${said}; give the address of one as baseUrl`,
  );
}

function addressOf(baseUrl: string): string {
  const here = (globalThis as { location?: { href: string } }).location?.href;
  let address: URL | undefined;
  try {
    address = new URL(baseUrl, here);
  } catch {
    // Said below.
  }
  const sound =
    address !== undefined &&
    /^https?:$/.test(address.protocol) &&
    !address.search &&
    !address.username &&
    (here !== undefined || /^https?:\/\//i.test(baseUrl));
  if (!sound) {
    throw new TypeError(
      `baseUrl has to be http://host:port, or https; it is ${JSON.stringify(baseUrl)}`,
    );
  }
  return `${address!.origin}${address!.pathname}`.replace(/\/+$/, "");
}
