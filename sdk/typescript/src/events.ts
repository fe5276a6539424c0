/** Server-sent events: bytes, however they were cut, as events. */

/** `id`: the version to come back with, undefined where it moves nothing; `data` is JSON. */
export type Event = { id: number | undefined; data: string };

/** Reads one stream. Lines end at line feeds alone: JSON may hold every other separator. */
export class Events {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #id: number | undefined;
  #data: string | undefined;

  /** The events that are whole now. */
  *feed(chunk: Uint8Array): Generator<Event> {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      if (line !== "") {
        this.#take(line);
      } else if (this.#data !== undefined) {
        yield { id: this.#id, data: this.#data };
        this.#id = this.#data = undefined;
      }
    }
  }

  /** A line without a name is a comment; names that nobody knows are passed over. */
  #take(line: string): void {
    if (line.startsWith("data: ")) this.#data = line.slice(6);
    else if (/^id: \d+$/.test(line)) this.#id = Number(line.slice(4));
  }
}
