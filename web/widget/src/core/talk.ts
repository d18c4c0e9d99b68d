// One conversation with the agent, over as many connections as it takes.
import type { Link, LinkEvents } from "../links/link";
import type { Session, TranscriptionSession, TurnMeasured } from "../wire";
import { SessionClock } from "./clock";
import { newName, type Received, type Sent } from "./events";
import { type Mode, openingPatch, turnDetection, type Wishes } from "./opening";
import { ConversationRecord } from "./record";
import { waitMs } from "./retry";
import { ToolDesk } from "./tools";
import { Trouble } from "./trouble";
import { type Floor, heardEvent, QUIET, type Turn, turnOf } from "./turns";

export type State = "idle" | "connecting" | "reconnecting" | "ended" | "error" | Turn;

/** The world outside of a conversation. Tests bring their own. */
export interface World {
  /** A connection that has opened. `resume` names the call to go on with: "call-gone" where that is over. */
  connect(resume: string | null, events: LinkEvents): Promise<Link | "call-gone">;
  hangUp(callId: string): void;
  /** Ends early when the network comes back. */
  sleep(ms: number): Promise<void>;
  nowMs(): number;
  random(): number;
  /** Keeps what a page that is loaded again goes on with; null for nothing. */
  save(saved: Saved | null): void;
  load(): Saved | null;
}

export interface Saved {
  callId: string | null;
  entries: unknown;
}

export interface TalkEvents {
  onState(state: State, trouble: Trouble | null): void;
  onTurn(turn: TurnMeasured): void;
  /** Something small went wrong; the conversation goes on. */
  onNotice(code: string, message: string): void;
}

type Phase = "idle" | "connecting" | "open" | "shaky" | "reconnecting" | "ended" | "error";

const SHORTEST_PRESS_MS = 250;
const PINGS_MS = [0, 150, 300, 600, 1200] as const; // after the opening; then
const PING_EVERY_MS = 1_500;
const MISSED_PINGS = 2; // unanswered by then, the connection is gone, whatever the browser still believes
const STEADY_MS = 5_000; // a connection that ends sooner was none: the next one waits longer
const OWN = "vs_own"; // begins the names of events that only voicestack knows
const BENIGN = new Set(["response_cancel_not_active", "conversation_already_has_active_response"]);

export class Talk {
  readonly record = new ConversationRecord();
  readonly desk = new ToolDesk((event) => this.send(event));
  readonly clock = new SessionClock();
  state: State = "idle";
  isMuted = false;
  link: Link | null = null;

  private phase: Phase = "idle";
  private floor: Floor = QUIET;
  trouble: Trouble | null = null;
  private session: Session | TranscriptionSession | null = null;
  private connection = 0; // counts; what comes of an older one is not heard
  private callId: string | null = null;
  private waitsAs: "connecting" | "reconnecting" = "connecting"; // until the session is there
  private isPressed = false;
  private pressedAtMs = 0;
  private wantsResponse = false;
  private isResumed = false;
  private knowsClock = true;
  private attempt = 0; // to connect, since the last connection that lasted
  private openedAtMs = 0;
  private nUnanswered = 0;
  private pingTimers: ReturnType<typeof setTimeout>[] = [];
  private unsent: string[] = []; // typed before the connection was there

  constructor(
    private readonly world: World,
    public wishes: Wishes,
    private readonly events: TalkEvents,
  ) {
    this.desk.onAnswer = (callId, output) => this.record.answered(callId, output);
    const saved = world.load();
    if (saved) {
      this.callId = saved.callId;
      this.record.restore(saved.entries);
    }
  }

  /** Whether there is something to go on with. */
  get canContinue(): boolean {
    return this.phase !== "ended" && !this.record.isEmpty;
  }

  get isLive(): boolean {
    return this.phase === "connecting" || this.phase === "open" || this.phase === "shaky" || this.phase === "reconnecting";
  }

  /** Begin, or go on where a page that was left had been. Resolves when connected; troubles are told as a state. */
  async start(): Promise<void> {
    if (this.isLive) return;
    if (this.phase === "ended") this.forget();
    this.trouble = null;
    this.attempt = 0;
    this.enter("connecting");
    await this.tryUntilOpen(this.world.nowMs(), 3_000);
  }

  /** Hang up, and keep nothing. */
  end(): void {
    this.leave();
    if (this.callId !== null) this.world.hangUp(this.callId);
    this.callId = null;
    this.record.settle();
    this.world.save(null);
    this.enter("ended");
  }

  /** Drop what was said before, and what is kept of it. */
  forget(): void {
    this.callId = null;
    this.record.clear();
    this.world.save(null);
    if (!this.isLive) this.enter("idle");
  }

  /** A trouble is over. */
  reset(): void {
    this.trouble = null;
    if (!this.isLive) this.enter("idle");
  }

  /** The widget was taken out of the page. The call may be resumed. */
  close(): void {
    this.leave();
    this.enter("idle");
  }

  /** It cannot go on, or not begin. */
  fail(trouble: Trouble): void {
    this.leave();
    this.trouble = trouble;
    this.record.settle();
    this.enter("error");
  }

  /** For a page that is about to go away. */
  save(): void {
    if (this.phase === "ended" || this.phase === "idle") return;
    this.world.save({ callId: this.callId, entries: this.record.saved() });
  }

  send(event: Sent): void {
    this.link?.send(event);
  }

  say(text: string): void {
    const words = text.trim();
    if (!words) return;
    if (this.phase !== "open" || !this.session) {
      this.unsent.push(words);
      return;
    }
    this.interrupt();
    const id = newName("item");
    this.record.typed(id, words);
    this.send({
      type: "conversation.item.create",
      item: { type: "message", id, role: "user", content: [{ type: "input_text", text: words }] },
    });
    this.ask();
  }

  mute(isMuted: boolean): void {
    this.isMuted = isMuted;
    this.openMicrophone();
  }

  setMode(mode: Mode): void {
    if (mode === this.wishes.mode) return;
    this.wishes.mode = mode;
    this.isPressed = false;
    if (this.session) {
      this.send({
        type: "session.update",
        session: { type: "realtime", audio: { input: { turn_detection: turnDetection(mode) } } },
      });
    }
    this.openMicrophone();
  }

  /** The tools have changed. */
  showTools(): void {
    if (this.session?.type !== "realtime") return;
    this.send({ type: "session.update", session: { type: "realtime", tools: this.desk.beside(this.session.tools) } });
  }

  /** Push-to-talk: what is said from now on counts. */
  press(): void {
    if (this.isPressed || this.phase !== "open" || this.wishes.mode !== "push-to-talk") return;
    this.isPressed = true;
    this.pressedAtMs = this.world.nowMs();
    this.interrupt();
    this.send({ type: "input_audio_buffer.clear" });
    this.openMicrophone();
    this.setFloor({ ...this.floor, userSpeaks: true, isExpecting: false });
  }

  /** Push-to-talk: that was it. */
  async release(): Promise<void> {
    if (!this.isPressed) return;
    this.isPressed = false;
    const connection = this.connection;
    const isShort = this.world.nowMs() - this.pressedAtMs < SHORTEST_PRESS_MS;
    if (!isShort) await this.world.sleep(this.link?.tailMs ?? 0);
    if (connection !== this.connection || this.isPressed) return;
    this.openMicrophone();
    this.setFloor({ ...this.floor, userSpeaks: false, isExpecting: !isShort });
    if (isShort) {
      this.send({ type: "input_audio_buffer.clear" });
      this.events.onNotice("too-short", "");
      return;
    }
    this.send({ type: "input_audio_buffer.commit" });
    this.ask();
  }

  /** Stop the agent, as speaking would. */
  interrupt(): void {
    if (this.floor.response !== null || this.floor.audible !== null) this.link?.hush();
  }

  // --- connections ------------------------------------------------------------------------------------

  private async tryUntilOpen(sinceMs: number, patienceMs: number): Promise<void> {
    for (; this.phase === "connecting" || this.phase === "reconnecting"; this.attempt++) {
      const connection = ++this.connection;
      try {
        const link = await this.connect(connection);
        if (connection !== this.connection) link.close();
        else this.opened(link);
        return;
      } catch (error) {
        if (connection !== this.connection) return;
        const trouble = error instanceof Trouble ? error : new Trouble("failed", String(error));
        const lostForMs = this.world.nowMs() - sinceMs;
        const isFirst = this.phase === "connecting";
        const wait = waitMs(this.attempt, lostForMs, this.world.random(), trouble.retryAfterMs);
        if (!trouble.passes || wait === null || (isFirst && lostForMs > patienceMs)) {
          this.fail(trouble.passes && !isFirst ? new Trouble("lost", trouble.detail) : trouble);
          return;
        }
        await this.world.sleep(wait);
        if (connection !== this.connection) return;
      }
    }
  }

  private async connect(connection: number): Promise<Link> {
    const is = () => connection === this.connection;
    const events: LinkEvents = {
      onEvent: (event) => is() && this.hear(event),
      onShaky: (isShaky) => is() && this.onShaky(isShaky),
      onClosed: (reason, isFinal) => is() && this.onClosed(reason, isFinal),
      onHeard: (response, pageMs) => is() && void this.onHeard(response, pageMs),
    };
    if (this.callId !== null) {
      const link = await this.world.connect(this.callId, events);
      if (link !== "call-gone") return link;
      this.callId = null;
    }
    const link = await this.world.connect(null, events);
    if (link === "call-gone") throw new Trouble("failed", "a new call is gone");
    return link;
  }

  /** Events may have come already: what they asked for is sent by `session.created`, on either side of this. */
  private opened(link: Link): void {
    this.link = link;
    this.openedAtMs = this.world.nowMs();
    this.isResumed = link.callId !== null && link.callId === this.callId;
    this.callId = link.callId;
    this.enter("open");
    this.openMicrophone();
    this.begin();
  }

  private onShaky(isShaky: boolean): void {
    if (isShaky && this.phase === "open") this.enter("shaky");
    else if (!isShaky && this.phase === "shaky") this.enter("open");
  }

  private onClosed(reason: string, isFinal: boolean): void {
    if (!this.isLive) return;
    this.leave();
    if (isFinal) {
      this.callId = null;
      this.fail(new Trouble("over", reason));
      return;
    }
    this.record.settle();
    if (this.world.nowMs() - this.openedAtMs > STEADY_MS) this.attempt = 0;
    this.enter("reconnecting");
    void this.tryAgain();
  }

  private async tryAgain(): Promise<void> {
    const { connection } = this;
    if (this.attempt > 0) await this.world.sleep(waitMs(this.attempt, 0, this.world.random()) ?? 0);
    if (connection === this.connection) await this.tryUntilOpen(this.world.nowMs(), 0);
  }

  private leave(): void {
    this.connection += 1;
    this.pingTimers.forEach(clearTimeout);
    this.pingTimers = [];
    this.link?.close();
    this.link = null;
    this.session = null;
    this.isPressed = this.wantsResponse = false;
    this.floor = QUIET;
    this.clock.reset();
    this.nUnanswered = 0;
    this.desk.reset();
  }

  // --- events -----------------------------------------------------------------------------------------

  private hear(event: Received): void {
    if (event.type === "error" && this.isHarmless(event.error)) return;
    if (event.type === "voicestack.clock.pong") {
      this.clock.pong(event.client_ms, event.server_ms, this.world.nowMs());
      this.nUnanswered = 0;
      return;
    }
    this.record.hear(event);
    this.desk.hear(event);
    this.setFloor(heardEvent(this.floor, event));
    switch (event.type) {
      case "session.created":
        this.session = event.session;
        this.begin();
        break;
      case "session.updated":
        this.session = event.session;
        break;
      case "conversation.item.truncated": // what of it does the server think was heard?
        this.send({ type: "conversation.item.retrieve", event_id: newName(OWN), item_id: event.item_id });
        break;
      case "response.done":
        if (event.response.status === "failed") this.events.onNotice("failed", event.response.status_details?.error?.message ?? "");
        if (this.wantsResponse && this.floor.response === null) this.ask();
        this.save();
        break;
      case "voicestack.turn.measured":
        this.events.onTurn(event);
        break;
      case "error":
        this.events.onNotice(event.error.code ?? event.error.type, event.error.message);
        break;
    }
  }

  /** When both are there: the connection, and its session. */
  private begin(): void {
    if (!this.link || !this.session || this.phase !== "open") return;
    if (!this.isResumed) {
      this.send({ type: "session.update", session: openingPatch(this.session, this.wishes, this.desk) });
      for (const item of this.record.replay()) this.send({ type: "conversation.item.create", item });
    }
    this.isResumed = false;
    this.keepTime();
    this.save();
    for (const words of this.unsent.splice(0)) this.say(words);
  }

  private ask(): void {
    this.wantsResponse = this.floor.response !== null; // the one that was cancelled has to be done first
    if (this.wantsResponse) return;
    this.send({ type: "response.create" });
    this.setFloor({ ...this.floor, isExpecting: true });
  }

  private isHarmless(error: { code?: string | null; event_id?: string | null }): boolean {
    if (error.event_id?.startsWith(OWN)) {
      if (error.event_id.startsWith(`${OWN}_ping`)) this.knowsClock = false;
      return true;
    }
    return BENIGN.has(error.code ?? "");
  }

  private openMicrophone(): void {
    this.link?.open(this.wishes.mode === "push-to-talk" ? this.isPressed : !this.isMuted);
  }

  private keepTime(): void {
    const ping = () => {
      if (!this.knowsClock) return;
      this.send({ type: "voicestack.clock.ping", event_id: newName(`${OWN}_ping`), client_ms: this.world.nowMs() });
    };
    this.pingTimers = PINGS_MS.map((ms) => setTimeout(ping, ms));
    const again = () => {
      if (this.nUnanswered++ >= MISSED_PINGS && this.knowsClock && this.clock.roundTripMs !== null) {
        this.nUnanswered = 0;
        this.link?.revive();
      }
      ping();
      this.pingTimers[0] = setTimeout(again, PING_EVERY_MS);
    };
    this.pingTimers.push(setTimeout(again, PING_EVERY_MS));
  }

  /** `pageMs` may lie ahead by the way from here to the loudspeaker: it is told when it has come true. */
  private async onHeard(response: string, pageMs: number): Promise<void> {
    const { connection } = this;
    await this.world.sleep(Math.max(0, pageMs - this.world.nowMs()) + 1);
    const heard = this.clock.at(pageMs);
    if (!heard || connection !== this.connection) return;
    this.send({
      type: "voicestack.audio.heard",
      event_id: newName(OWN),
      response_id: response,
      heard_ms: heard.ms,
      error_ms: heard.errorMs,
    });
  }

  // --- state ------------------------------------------------------------------------------------------

  private setFloor(floor: Floor): void {
    this.floor = floor;
    this.tellState();
  }

  private enter(phase: Phase): void {
    this.phase = phase;
    this.tellState();
  }

  private tellState(): void {
    if (this.phase !== "open") this.waitsAs = this.phase === "connecting" ? "connecting" : "reconnecting";
    const state = this.phase === "open" && !this.session ? this.waitsAs : stateOf(this.phase, this.floor);
    if (state === this.state) return;
    this.state = state;
    this.events.onState(state, this.trouble);
  }
}

function stateOf(phase: Phase, floor: Floor): State {
  if (phase === "shaky") return "reconnecting";
  return phase === "open" ? turnOf(floor) : phase;
}
