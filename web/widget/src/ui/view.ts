// The widget's elements, and what is to be seen of them in which state. Decides nothing.
import type { State } from "../core/talk";
import type { Trouble } from "../core/trouble";
import { Badge } from "./badge";
import { Captions } from "./captions";
import { h, icon } from "./dom";
import { Meters } from "./meters";
import { Settings } from "./settings";
import { filled, type Strings } from "./strings";
import type { Mode } from "../core/opening";

/** What the visitor wants. */
export interface Wanted {
  start(): void;
  startWithoutMicrophone(): void;
  forget(): void;
  end(): void;
  mute(): void;
  press(): void;
  release(): void;
  say(text: string): void;
  choose(kind: "microphone" | "speaker" | "mode", value: string): void;
  showSettings(): void;
}

export interface Shown {
  state: State;
  trouble: Trouble | null;
  canContinue: boolean;
  hasMicrophone: boolean;
  isMuted: boolean;
  isHeld: boolean;
  mode: Mode;
  showsCaptions: boolean;
  showsBadge: boolean;
  host: string;
}

export class View {
  readonly card: HTMLElement;
  readonly captions: Captions;
  readonly meters: Meters;
  readonly badge: Badge;
  readonly settings: Settings;

  private readonly orb = h("div", { class: "orb", part: "orb", "aria-hidden": "true" }, icon("mic"));
  private readonly status = h("span");
  private readonly notice = h("div", { class: "notice", part: "notice", role: "alert", hidden: true });
  private readonly begin: HTMLElement;
  private readonly hint = h("p", { id: "hint" });
  private readonly startLabel = h("span");
  private readonly start: HTMLButtonElement;
  private readonly fresh: HTMLButtonElement;
  private readonly live: HTMLElement;
  private readonly muteButton: HTMLButtonElement;
  private readonly muteLabel = h("span");
  private readonly talk: HTMLButtonElement;
  private readonly talkLabel = h("span");
  private readonly gear: HTMLButtonElement;
  private isLive = false;

  constructor(
    private readonly strings: Strings,
    private readonly wanted: Wanted,
    title: string,
  ) {
    this.captions = new Captions(strings);
    this.meters = new Meters(strings, this.orb);
    this.badge = new Badge(strings);
    this.settings = new Settings(strings, (kind, value) => wanted.choose(kind, value));
    this.gear = h(
      "button",
      { class: "plain", part: "settings-button", type: "button", "aria-label": strings.settings, "aria-expanded": "false", "aria-controls": "settings", onclick: () => this.toggleSettings() },
      icon("gear"),
    );
    this.start = h(
      "button",
      { class: "start", part: "start-button", type: "button", "aria-describedby": "hint", onclick: () => wanted.start() },
      icon("mic"),
      this.startLabel,
    );
    this.fresh = h("button", { class: "link", type: "button", onclick: () => wanted.forget() }, strings.newConversation);
    this.begin = h("div", { class: "begin", part: "begin" }, this.start, this.fresh, this.hint);
    this.muteButton = h(
      "button",
      { class: "control", part: "mute-button", type: "button", "aria-pressed": "false", onclick: () => wanted.mute() },
      icon("mic"),
      this.muteLabel,
    );
    this.talk = this.talkButton();
    const hang = h(
      "button",
      { class: "control hang", part: "end-button", type: "button", onclick: () => wanted.end() },
      icon("end"),
      h("span", {}, strings.end),
    );
    this.live = h(
      "div",
      { class: "live" },
      this.meters.element,
      this.writing(),
      h("div", { class: "controls", part: "controls" }, this.muteButton, this.talk, hang),
    );
    this.card = h(
      "section",
      { class: "card", part: "card", "aria-label": title },
      h(
        "div",
        { class: "top", part: "header" },
        this.orb,
        h(
          "div",
          { class: "names" },
          h("div", { class: "title", part: "title" }, title),
          h("p", { class: "status", part: "status", role: "status", "aria-live": "polite" }, h("span", { class: "dot", "aria-hidden": "true" }), this.status),
        ),
        this.gear,
      ),
      this.settings.element,
      this.notice,
      this.captions.element,
      this.begin,
      this.live,
      this.badge.element,
    );
  }

  show(shown: Shown, focused: Element | null): void {
    const { strings } = this;
    const { state, trouble } = shown;
    const isLive = !["idle", "ended", "error"].includes(state);
    this.card.dataset["state"] = state;
    this.orb.toggleAttribute("data-live", state === "listening" || state === "speaking");
    this.orb.toggleAttribute("data-dim", state === "ended" || state === "error");
    this.status.textContent = this.said(shown);
    this.begin.hidden = isLive;
    this.live.hidden = !isLive;
    this.captions.element.hidden = !shown.showsCaptions || (!isLive && this.captions.isEmpty);
    this.badge.element.hidden = !shown.showsBadge;
    const goesOn = shown.canContinue && !isLive;
    this.startLabel.textContent = goesOn ? strings.startContinue : state === "idle" ? strings.start : strings.startAgain;
    this.fresh.hidden = !goesOn;
    this.hint.textContent = filled(goesOn ? strings.hintContinue : strings.hint, { host: shown.host });
    this.hint.hidden = state === "error";
    const isPush = shown.mode === "push-to-talk";
    this.muteButton.hidden = isPush || !shown.hasMicrophone;
    this.muteButton.setAttribute("aria-pressed", String(shown.isMuted));
    this.muteLabel.textContent = shown.isMuted ? strings.unmute : strings.mute;
    this.muteButton.firstElementChild!.replaceWith(icon(shown.isMuted ? "micOff" : "mic"));
    this.talk.hidden = !isPush || !shown.hasMicrophone;
    this.talk.toggleAttribute("data-held", shown.isHeld);
    this.talkLabel.textContent = shown.isHeld ? strings.releaseToSend : strings.pressToTalk;
    if (trouble) this.tellTrouble(trouble);
    else if (state === "error" || this.notice.dataset["trouble"]) this.tell(null);
    this.moveFocus(isLive, focused);
  }

  /** Something to read, with what can be done; null for nothing. */
  tell(what: string | null, todo = "", action: [label: string, act: () => void] | null = null): void {
    delete this.notice.dataset["trouble"];
    this.notice.hidden = what === null;
    this.notice.replaceChildren(
      ...(what ? [h("strong", {}, what)] : []),
      ...(todo ? [h("p", {}, todo)] : []),
      ...(action ? [h("button", { class: "link", type: "button", onclick: action[1] }, action[0])] : []),
    );
  }

  private tellTrouble(trouble: Trouble): void {
    const [what, todo] = this.strings.trouble[trouble.code];
    const isMicrophone = trouble.code.startsWith("mic-") || trouble.code === "insecure";
    this.tell(what, todo, isMicrophone ? [this.strings.typeInstead, () => this.wanted.startWithoutMicrophone()] : null);
    this.notice.dataset["trouble"] = trouble.code;
  }

  private said({ state, isMuted, mode, isHeld, hasMicrophone }: Shown): string {
    const { strings } = this;
    if (state !== "listening" || !hasMicrophone) return strings.states[state];
    if (mode === "push-to-talk") return isHeld ? strings.states.listening : strings.held;
    return isMuted ? strings.muted : strings.states.listening;
  }

  /** What had the focus may be gone: the visitor finds herself on what comes next. */
  private moveFocus(isLive: boolean, focused: Element | null): void {
    if (isLive === this.isLive) return;
    this.isLive = isLive;
    if (!focused) return;
    const next = isLive ? [this.talk, this.muteButton, this.live.querySelector<HTMLElement>(".text")] : [this.start];
    next.find((element) => element && !element.hidden)?.focus({ preventScroll: true });
  }

  private toggleSettings(): void {
    const isOpen = this.settings.element.hidden;
    this.settings.element.hidden = !isOpen;
    this.gear.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.wanted.showSettings();
  }

  private talkButton(): HTMLButtonElement {
    const button = h("button", { class: "control big", part: "talk-button", type: "button" }, icon("mic"), this.talkLabel);
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.wanted.press();
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(name, () => this.wanted.release());
    }
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
    return button;
  }

  private writing(): HTMLElement {
    const { strings } = this;
    const input = h("input", { class: "text", part: "input", type: "text", autocomplete: "off", enterkeyhint: "send", maxlength: "2000", placeholder: strings.write, "aria-label": strings.write });
    const submit = (event: Event) => {
      event.preventDefault();
      this.wanted.say(input.value);
      input.value = "";
    };
    return h(
      "form",
      { class: "write", part: "form", onsubmit: submit },
      input,
      h("button", { class: "plain", part: "send-button", type: "submit", "aria-label": strings.send }, icon("send")),
    );
  }
}
