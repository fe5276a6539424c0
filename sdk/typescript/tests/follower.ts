/** Follows a context as a process of its own, and says what is said: `follower.ts URL KEY CONTEXT`. */

import { createClient, textOf } from "../src/index.ts";

const [url, apiKey, id] = process.argv.slice(2);
const context = await createClient({ baseUrl: url!, apiKey: apiKey! }).context(id!);
console.log("made");
for await (const frame of context.follow({ cursor: 0 })) {
  if (frame.type === "message") console.log(textOf(frame.message));
}
