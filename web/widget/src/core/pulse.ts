// Is the server still there, and what time is it at its end?
import { SessionClock } from "./clock";
import { newName, type Received, type Sent } from "./events";

const FIRST_PINGS_MS = [0, 150, 300, 600, 1_200] as const; // for a clock soon; then
const PING_EVERY_MS = 1_500;
const MISSED_PINGS = 2; // unanswered by then, the connection is gone, whatever the browser still believes

/** Begins the names of events that only voicestack knows: what is wrong with these is nobody's concern. */
export const OWN = "vs_own";

export interface Heart {
  send(event: Sent): void;
  sleep(ms: number): Promise<void>;
  nowMs(): number;
  /** Nothing is answered any more. */
  onSilence(): void;
}

/** Pings, for as long as a connection lasts. */
export class Pulse {
  readonly clock = new SessionClock();
  private timers: ReturnType<typeof setTimeout>[] = [];
  private nUnanswered = 0;
  private isKnown = true; // to a server of another make a ping is an error
  private beat = 0; // counts connections

  constructor(private readonly heart: Heart) {}

  start(): void {
    this.stop();
    this.timers = FIRST_PINGS_MS.map((ms) => setTimeout(() => this.ping(), ms));
    this.timers.push(setTimeout(() => this.again(), PING_EVERY_MS));
  }

  stop(): void {
    this.timers.forEach(clearTimeout);
    this.timers = [];
    this.beat += 1;
    this.nUnanswered = 0;
    this.clock.reset();
  }

  /** Whether the event was the pulse's. */
  hear(event: Received): boolean {
    if (event.type === "voicestack.clock.pong") {
      this.nUnanswered = 0;
      this.clock.pong(event.client_ms, event.server_ms, this.heart.nowMs());
      return true;
    }
    if (event.type !== "error" || !event.error.event_id?.startsWith(OWN)) return false;
    if (event.error.event_id.startsWith(`${OWN}_ping`)) this.isKnown = false;
    return true;
  }

  /** `pageMs` may lie ahead by the way from here to the loudspeaker: it is told when it has come true. */
  async heard(response: string, pageMs: number): Promise<void> {
    const { beat } = this;
    await this.heart.sleep(Math.max(0, pageMs - this.heart.nowMs()) + 1);
    const heard = this.clock.at(pageMs);
    if (!heard || beat !== this.beat) return;
    this.heart.send({
      type: "voicestack.audio.heard",
      event_id: newName(OWN),
      response_id: response,
      heard_ms: heard.ms,
      error_ms: heard.errorMs,
    });
  }

  private ping(): void {
    if (!this.isKnown) return;
    this.heart.send({ type: "voicestack.clock.ping", event_id: newName(`${OWN}_ping`), client_ms: this.heart.nowMs() });
  }

  private again(): void {
    this.timers = [setTimeout(() => this.again(), PING_EVERY_MS)];
    if (this.nUnanswered++ >= MISSED_PINGS && this.isKnown && this.clock.roundTripMs !== null) {
      this.nUnanswered = 0;
      this.heart.onSilence();
      if (!this.timers.length) return; // that was the end of it
    }
    this.ping();
  }
}
