// What goes over the wire.
import type { ClientEvent, ServerEvent } from "../wire";

export type Sent = ClientEvent;
export type Received = ServerEvent;

/** Reads one frame. Null for what is not an event at all. */
export function decoded(frame: string): Received | null {
  try {
    const event: unknown = JSON.parse(frame);
    const is = typeof event === "object" && event !== null && typeof (event as { type?: unknown }).type === "string";
    return is ? (event as Received) : null;
  } catch {
    return null;
  }
}

/** Names that are unlike any other, of at most 32 characters, begun with what they name. */
export function newName(kind: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return `${kind}_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
