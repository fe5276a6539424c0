/** For chats on the AI SDK: its messages stored and read back, and answers that outlive a reload. */

export { Answers } from "./answers.ts";
export type { AnswerOptions, Chunks } from "./answers.ts";
export { NotUIMessage } from "./errors.ts";
export { saveUIMessages, toUIMessages } from "./ui-messages.ts";
export type { Saved } from "./ui-messages.ts";
