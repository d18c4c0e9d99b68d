// Events as the server writes them, with only what a test is about.
import type { Received, Sent } from "../src/core/events";
import type { Link, LinkEvents } from "../src/links/link";

/** An event; what a test does not name is not there. */
export function event(type: string, fields: object = {}): Received {
  return { type, event_id: "event_1", ...fields } as unknown as Received;
}

export function session(fields: object = {}): object {
  return {
    type: "realtime",
    tools: [],
    audio: { input: { transcription: null, turn_detection: { type: "server_vad" } }, output: {} },
    ...fields,
  };
}

export const created = (fields: object = {}) => event("session.created", { session: session(fields) });
export const delta = (item: string, words: string) =>
  event("response.output_audio_transcript.delta", { response_id: "resp_1", item_id: item, delta: words });
export const responding = (id: string) => event("response.created", { response: { id, conversation_id: "conv_1" } });
export const done = (id: string, status = "completed") => event("response.done", { response: { id, status } });

/** A connection that a test holds the other end of. */
export class FakeLink implements Link {
  readonly kind = "webrtc";
  readonly tailMs = 200;
  sent: Sent[] = [];
  isOpen: boolean | null = null;
  isClosed = false;
  nHushes = 0;
  nRevivals = 0;

  constructor(
    readonly callId: string | null,
    readonly events: LinkEvents,
  ) {}

  send(sent: Sent): void {
    this.sent.push(sent);
  }
  open(isOpen: boolean): void {
    this.isOpen = isOpen;
  }
  hush(): void {
    this.nHushes += 1;
  }
  revive(): void {
    this.nRevivals += 1;
  }
  async microphone(): Promise<void> {}
  close(): void {
    this.isClosed = true;
  }
  types(): string[] {
    return this.sent.map(({ type }) => type).filter((type) => type !== "voicestack.clock.ping");
  }
}
