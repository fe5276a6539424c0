/** The page: shows a chat, and tells it what its reader does. */

import { Chat } from "./chat.ts";

const list = document.querySelector("ol")!;
const form = document.querySelector("form")!;
const input = document.querySelector("input")!;
const note = document.querySelector("p")!;

// Who has the address has the chat; a new one gets an address of its own.
if (!location.hash) location.hash = crypto.getRandomValues(new Uint32Array(2)).join("-");
const chat = new Chat("", location.hash.slice(1), show);

/** What was in view stays in view: the end, if that was it, and else what was read. */
function show(): void {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
  const below = list.scrollHeight - list.scrollTop;
  list.replaceChildren(
    ...chat.messages.map((message) => {
      const item = document.createElement("li");
      item.className = message.role;
      item.textContent = message.parts
        .map((part) => (part.type === "text" ? part.text : ""))
        .join("");
      return item;
    }),
  );
  list.scrollTop = atEnd ? list.scrollHeight : list.scrollHeight - below;
  note.textContent = chat.trouble ?? "";
  input.disabled = chat.answering;
}

list.addEventListener("scroll", () => {
  if (list.scrollTop === 0 && !chat.complete && !chat.answering) void chat.older();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "" || chat.answering) return;
  input.value = "";
  void chat.send(text).then(() => input.focus());
});

void chat.open().then(() => input.focus());
