// `<voicestack-widget>`: one element, one conversation.
import { openMicrophone, microphonePermission, stop } from "../audio/microphone";
import { PageSound } from "../audio/sound";
import { Secrets, secretFrom } from "../core/secret";
import { Talk, type State } from "../core/talk";
import type { ToolFunction, ToolSchema } from "../core/tools";
import { Trouble } from "../core/trouble";
import type { Line } from "../core/record";
import type { Mode } from "../core/opening";
import { Dialer, type Way } from "../links/connect";
import type { LinkEvents } from "../links/link";
import { Keeping } from "./keeping";
import { ATTRIBUTES, isOn, trimmed, type VoiceOptions } from "./options";
import { CSS } from "./styles";
import { ENGLISH, wordsOf, type Strings } from "./strings";
import { View } from "./view";

const ASKING_MS = 500; // an answer that was given before comes sooner
let sheet: CSSStyleSheet | undefined;

export class VoicestackWidget extends HTMLElement {
  static readonly observedAttributes = ATTRIBUTES;
  /** Where this script came from. */
  static origin = "";

  /** What attributes cannot say: functions and words. Set before the element is put into the page. */
  options: Pick<VoiceOptions, "getToken" | "strings"> = (this as Partial<VoicestackWidget>).options ?? {};

  private talk: Talk | null = null;
  private view: View | null = null;
  private sound: PageSound | null = null;
  private dialer: Dialer | null = null;
  private tools: [string, ToolSchema, ToolFunction][] = [];
  private strings: Strings = ENGLISH;
  private chosen = { microphone: "", speaker: "" };
  private hasMicrophone = false;
  private isHeld = false;
  private leaving: AbortController | null = null;

  // --- for the page -----------------------------------------------------------------------------------

  get state(): State {
    return this.talk?.state ?? "idle";
  }

  /** What was said so far. */
  get transcript(): Line[] {
    return this.talk?.record.lines.filter((line) => line.text).map((line) => ({ ...line })) ?? [];
  }

  /** Over what it runs now. */
  get connection(): "webrtc" | "websocket" | null {
    return this.talk?.link?.kind ?? null;
  }

  /** What the visitor hears, while there is a call. */
  get output(): MediaStream | null {
    return this.sound?.output ?? null;
  }

  /** To be called in reaction to a gesture. Without a microphone the visitor types. */
  async start({ microphone = true } = {}): Promise<void> {
    const { talk } = this;
    if (!talk || talk.isLive) return;
    if (talk.state === "ended") this.view?.captions.clear();
    this.hasMicrophone = microphone;
    this.view?.tell(null);
    await talk.start(() => this.prepareSound(talk));
  }

  /** Hang up. */
  end(): void {
    this.talk?.end();
  }

  /** Forget what was said. */
  forget(): void {
    this.view?.captions.clear();
    this.talk?.forget();
    this.refresh();
  }

  mute(isMuted = true): void {
    this.talk?.mute(isMuted);
    this.refresh();
  }

  /** Say something in writing. */
  say(text: string): void {
    this.talk?.say(text);
  }

  /** Stop the agent. */
  interrupt(): void {
    this.talk?.interrupt();
  }

  /** A function of the page that the agent may call. What it returns, or throws, is told to the agent. */
  registerTool(name: string, schema: ToolSchema, run: ToolFunction): void {
    this.tools.push([name, schema, run]);
    this.talk?.desk.register(name, schema, run);
    this.talk?.showTools();
  }

  // --- for the browser --------------------------------------------------------------------------------

  connectedCallback(): void {
    if (!this.shadowRoot) this.attachShadow({ mode: "open" });
    this.build();
    const { signal } = (this.leaving = new AbortController());
    addEventListener("pagehide", () => this.talk?.save(), { signal });
    addEventListener("keydown", (event) => this.onKey(event, true), { signal });
    addEventListener("keyup", (event) => this.onKey(event, false), { signal });
    addEventListener("blur", () => this.release(), { signal });
    document.addEventListener("visibilitychange", () => void this.sound?.audio.resume(), { signal });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.showSettings(), { signal });
  }

  disconnectedCallback(): void {
    this.leaving?.abort();
    this.talk?.save();
    this.talk?.close();
    void this.letGo();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.talk) return;
    if (name === "mode") this.talk.setMode(this.mode);
    else if (name === "instructions") this.talk.wishes.instructions = after ?? undefined;
    else if (name === "voice") this.talk.wishes.voice = after ?? undefined;
    else if (name === "transport" && this.dialer) this.dialer.way = this.way;
    else if (["server", "token-url", "heading", "lang", "no-memory"].includes(name) && !this.talk.isLive) this.build();
    this.refresh();
  }

  private get mode(): Mode {
    return this.getAttribute("mode") === "push-to-talk" ? "push-to-talk" : "hands-free";
  }

  private get way(): Way {
    const way = this.getAttribute("transport");
    return way === "webrtc" || way === "websocket" ? way : "auto";
  }

  private get server(): string {
    return trimmed(new URL(this.getAttribute("server") || VoicestackWidget.origin, document.baseURI).href);
  }

  private build(): void {
    const later = () => this.isConnected && !this.talk?.isLive && this.build();
    const strings = (this.strings = {
      ...wordsOf(this.getAttribute("lang") ?? "", later),
      ...this.options.strings,
    });
    const { server } = this;
    const tokenUrl = new URL(this.getAttribute("token-url") ?? `${server}/v1/realtime/client_secrets`, document.baseURI).href;
    const secrets = new Secrets(() => (this.options.getToken ?? secretFrom(tokenUrl))());
    const keeping = new Keeping(`voicestack:${server}:${this.id}`, !this.hasAttribute("no-memory"));
    const dialer = (this.dialer = new Dialer(server, secrets, this.way));
    this.view = new View(strings, this.wanted(), this.getAttribute("heading") ?? strings.title);
    const wishes = {
      mode: this.mode,
      instructions: this.getAttribute("instructions") ?? undefined,
      voice: this.getAttribute("voice") ?? undefined,
      language: this.getAttribute("lang") ?? undefined,
    };
    this.talk = new Talk(
      {
        connect: async (resume: string | null, events: LinkEvents) => {
          if (!this.sound) throw new Trouble("failed", "no sound");
          return dialer.connect(resume, this.sound, events);
        },
        hangUp: (callId) => dialer.hangUp(callId),
        sleep,
        nowMs: () => performance.now(),
        random: () => Math.random(),
        save: (saved) => keeping.save(saved),
        load: () => keeping.load(),
      },
      wishes,
      {
        onState: () => this.refresh(true),
        onTurn: (turn) => {
          this.view?.badge.show(turn);
          this.tell("turn", turn);
        },
        onNotice: (code, message) => this.onNotice(code, message),
      },
    );
    for (const tool of this.tools) this.talk.desk.register(...tool);
    this.talk.record.onLine = (line) => this.onLine(line);
    for (const line of this.talk.record.lines) this.onLine(line);
    sheet ??= styles();
    this.shadowRoot!.adoptedStyleSheets = [sheet];
    this.shadowRoot!.replaceChildren(this.view.card);
    this.refresh();
  }

  private wanted() {
    return {
      start: () => void this.start(),
      startWithoutMicrophone: () => void this.start({ microphone: false }),
      forget: () => this.forget(),
      end: () => this.end(),
      mute: () => this.mute(!this.talk?.isMuted),
      press: () => this.press(),
      release: () => this.release(),
      say: (text: string) => this.say(text),
      choose: (kind: "microphone" | "speaker" | "mode", value: string) => void this.choose(kind, value),
      showSettings: () => this.showSettings(),
    };
  }

  // --- sound ------------------------------------------------------------------------------------------

  private async prepareSound(talk: Talk): Promise<void> {
    if (this.hasMicrophone && !globalThis.isSecureContext) throw new Trouble("insecure");
    this.dialer?.prepare();
    const opening = PageSound.open(); // now, while the gesture counts
    opening.catch(() => {}); // told below
    let stream: MediaStream | null = null;
    if (this.hasMicrophone) {
      const asking = setTimeout(() => this.view?.tell(this.strings.asking), ASKING_MS);
      try {
        stream = await openMicrophone(this.chosen.microphone);
      } catch (error) {
        void opening.then((sound) => sound.close());
        void microphonePermission(() => this.onPermission());
        throw error;
      } finally {
        clearTimeout(asking);
        if (talk.isLive) this.view?.tell(null);
      }
    }
    const sound = await opening;
    if (!talk.isLive || this.sound) {
      stop(stream);
      await sound.close();
      throw new Trouble("failed", "ended before it began");
    }
    this.sound = sound;
    sound.use(stream);
    this.watch(stream);
    if (this.chosen.speaker) await sound.useSpeaker(this.chosen.speaker).catch(() => {});
    this.view?.meters.start(() => sound.levels());
  }

  /** The visitor has changed her mind in the browser's settings. */
  private onPermission(): void {
    if (this.state !== "error") return;
    void microphonePermission(() => this.onPermission()).then((permission) => {
      if (permission !== "denied") this.talk?.reset();
    });
  }

  private watch(stream: MediaStream | null): void {
    const track = stream?.getAudioTracks()[0];
    track?.addEventListener("ended", () => {
      if (this.sound?.stream !== stream || !this.talk?.isLive) return;
      this.chosen.microphone = "";
      this.view?.tell(this.strings.micLost);
      void this.useMicrophone("").catch(() => this.view?.tell(...this.strings.trouble["mic-missing"]));
    });
  }

  private async useMicrophone(id: string): Promise<void> {
    const before = this.sound?.stream ?? null;
    const stream = await openMicrophone(id);
    if (!this.sound || !this.talk?.isLive) return stop(stream);
    this.sound.use(stream);
    this.watch(stream);
    await this.talk.link?.microphone(stream);
    stop(before);
    this.refresh();
  }

  private async letGo(): Promise<void> {
    const { sound } = this;
    this.sound = null;
    this.view?.meters.stop();
    stop(sound?.stream ?? null);
    await sound?.close();
  }

  private async choose(kind: "microphone" | "speaker" | "mode", value: string): Promise<void> {
    if (kind === "mode") {
      this.setAttribute("mode", value);
      return;
    }
    this.chosen[kind] = value;
    try {
      if (kind === "speaker") await this.sound?.useSpeaker(value);
      else if (this.sound?.stream) await this.useMicrophone(value);
    } catch (error) {
      const code = error instanceof Trouble ? error.code : "failed";
      this.view?.tell(...this.strings.trouble[code]);
    }
  }

  private showSettings(): void {
    if (this.view && !this.view.settings.element.hidden) void this.view.settings.show({ ...this.chosen, mode: this.mode });
  }

  // --- push-to-talk -----------------------------------------------------------------------------------

  private press(): void {
    if (this.mode !== "push-to-talk" || !this.sound?.stream) return;
    this.isHeld = true;
    this.view?.tell(null);
    this.talk?.press();
    this.refresh();
  }

  private release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    void this.talk?.release();
    this.refresh();
  }

  /** The space bar, where it does not mean something else already. */
  private onKey(event: KeyboardEvent, isDown: boolean): void {
    if (event.key !== " " || this.mode !== "push-to-talk" || !this.talk?.isLive) return;
    if (!isDown) {
      if (this.isHeld) event.preventDefault();
      this.release();
      return;
    }
    const target = event.composedPath()[0];
    const isFree = target === document.body || target === document.documentElement || target === this;
    const isOurs = target instanceof Element && target.matches(".big, [role=log]") && target.getRootNode() === this.shadowRoot;
    if (!isFree && !isOurs) return;
    event.preventDefault();
    if (!event.repeat) this.press();
  }

  // --- telling ----------------------------------------------------------------------------------------

  private onLine(line: Line): void {
    const order = this.talk?.record.lines.map(({ id }) => id) ?? [];
    this.view?.captions.show(line, order);
    if (line.text) this.tell("caption", { ...line, final: !line.live });
  }

  private onNotice(code: string, message: string): void {
    if (code === "too-short" || code === "input_audio_buffer_commit_empty") this.view?.tell(this.strings.tooShort);
    else if (code === "failed" || code === "server_error") this.view?.tell(this.strings.notice);
    else console.warn(`voicestack: ${code}: ${message}`);
    this.tell("notice", { code, message });
  }

  private refresh(isNew = false): void {
    const { talk, view } = this;
    if (!talk || !view) return;
    const trouble = talk.state === "error" ? talk.trouble : null;
    this.dataset["state"] = talk.state;
    view.show(
      {
        state: talk.state,
        trouble,
        canContinue: talk.canContinue,
        hasMicrophone: this.hasMicrophone,
        isMuted: talk.isMuted,
        isHeld: this.isHeld,
        mode: this.mode,
        showsCaptions: isOn(this.getAttribute("captions"), true),
        showsBadge: isOn(this.getAttribute("badge"), false),
        host: new URL(this.server).host,
      },
      this.shadowRoot?.activeElement ?? null,
    );
    if (!isNew) return;
    if (!talk.isLive) void this.letGo();
    if (trouble) console.warn(`voicestack: ${trouble.message}`);
    this.tell("state", { state: talk.state, code: trouble?.code ?? null, connection: this.connection });
  }

  private tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(`voicestack-${name}`, { detail, bubbles: true, composed: true }));
  }
}

/** Ends early when the network is back. */
function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}

function styles(): CSSStyleSheet {
  const made = new CSSStyleSheet();
  made.replaceSync(CSS);
  return made;
}
