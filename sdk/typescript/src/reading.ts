/** Whether an answer is what this client knows. */

/** What a field has to be. */
export type Kind = "string" | "number" | "boolean" | "object" | "array";

/** What something should be, and is not; `message` names the field. */
export class Unknown extends Error {}

/** Reads an object that has these fields; what else is in it is passed over. Throws `Unknown`. */
export function reading<T extends object>(
  needed: Partial<Record<Extract<keyof T, string>, Kind>>,
): (body: unknown) => T {
  return (body) => {
    if (kindOf(body) !== "object") throw new Unknown(`an object was expected, not ${kindOf(body)}`);
    for (const [name, kind] of Object.entries(needed)) {
      const found = kindOf((body as Record<string, unknown>)[name]);
      if (found !== kind)
        throw new Unknown(`\`${name}\` should be of the kind ${kind}, not ${found}`);
    }
    return body as T;
  };
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
