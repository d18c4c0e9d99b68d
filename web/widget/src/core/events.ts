// What goes over the wire, and voicestack's own events that the generated types may not have yet.
import type { ClientEvent, ServerEvent } from "../wire";

export interface ClockPing {
  type: "voicestack.clock.ping";
  event_id?: string;
  client_ms: number;
}

export interface AudioHeard {
  type: "voicestack.audio.heard";
  event_id?: string;
  response_id: string;
  heard_ms: number;
  error_ms: number;
}

export interface OutputClear {
  type: "output_audio_buffer.clear";
  event_id?: string;
}

export interface ClockPong {
  type: "voicestack.clock.pong";
  client_ms: number;
  server_ms: number;
}

export interface ConversationResumed {
  type: "voicestack.conversation.resumed";
  items: { id: string; role: "user" | "assistant" | "system"; text: string }[];
}

/** On WebRTC the server says these; over WebSocket the link does, from what its own loudspeaker plays. */
export interface OutputBuffer {
  type: "output_audio_buffer.started" | "output_audio_buffer.stopped" | "output_audio_buffer.cleared";
  response_id: string;
}

export type Sent = ClientEvent | ClockPing | AudioHeard | OutputClear;
export type Received = ServerEvent | ClockPong | ConversationResumed | OutputBuffer;

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
