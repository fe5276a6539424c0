/** The client: the contexts behind one address. */

import * as calls from "./calls.ts";
import type { Settings } from "./calls.ts";
import type { CallOptions } from "./context.ts";
import { Context } from "./context.ts";
import type { Options } from "./exchange.ts";
import { Exchange } from "./exchange.ts";
import type { Contexts, ContextState } from "./shapes.ts";

/** A client of the nodes behind `baseUrl`; any node will do. Throws a `TypeError` where the address or
 * the key can be none. */
export function createClient(options: Options): Client {
  return new Client(new Exchange(options));
}

/** Made by `createClient`. */
export class Client {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** The context of this id, made if there is none, with these settings; what is left out keeps its
   * value. */
  async context(
    id: string,
    { signal, ...settings }: Settings & CallOptions = {},
  ): Promise<Context> {
    const context = this.existing(id);
    await context.configure(settings, { signal });
    return context;
  }

  /** A context that is there, or was, or will be; nothing is asked. */
  existing(id: string): Context {
    return new Context(this.#exchange, id);
  }

  /** All contexts whose id begins with `prefix`, in the order of their ids. */
  async *contexts({
    prefix,
    pageSize = 100,
    signal,
  }: CallOptions & { prefix?: string; pageSize?: number } = {}): AsyncGenerator<
    ContextState,
    void,
    void
  > {
    let after: string | undefined;
    do {
      const page: Contexts = await this.#exchange.ask(
        calls.contexts(prefix, pageSize, after),
        signal,
      );
      yield* page.contexts;
      after = page.next ?? undefined;
    } while (after !== undefined);
  }

  /** Close a context for good; what was said stays readable. */
  deleteContext(id: string, options: CallOptions = {}): Promise<void> {
    return this.existing(id).delete(options);
  }
}
