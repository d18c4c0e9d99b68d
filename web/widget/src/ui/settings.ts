// Which microphone, which speaker, and how to talk.
import { PageSound } from "../audio/sound";
import { devices } from "../audio/microphone";
import { h } from "./dom";
import type { Strings } from "./strings";

export type Choice = "microphone" | "speaker" | "mode";

export class Settings {
  readonly element: HTMLElement;
  private readonly selects: Record<Choice, HTMLSelectElement>;
  private readonly speakerLabel: HTMLElement;

  constructor(
    private readonly strings: Strings,
    choose: (kind: Choice, value: string) => void,
  ) {
    const select = (kind: Choice) =>
      h("select", { onchange: (event: Event) => choose(kind, (event.target as HTMLSelectElement).value) });
    this.selects = { microphone: select("microphone"), speaker: select("speaker"), mode: select("mode") };
    this.selects.mode.append(
      h("option", { value: "hands-free" }, strings.handsFree),
      h("option", { value: "push-to-talk" }, strings.pushToTalk),
    );
    const label = (text: string, kind: Choice) => h("label", {}, h("span", {}, text), this.selects[kind]);
    this.speakerLabel = label(strings.speaker, "speaker");
    this.speakerLabel.hidden = !PageSound.hasSpeakerChoice;
    this.element = h(
      "div",
      { class: "panel", part: "settings", id: "settings", role: "group", "aria-label": strings.settings, hidden: true },
      label(strings.mode, "mode"),
      label(strings.microphone, "microphone"),
      this.speakerLabel,
    );
  }

  async show(chosen: { [kind in Choice]: string }): Promise<void> {
    this.selects.mode.value = chosen.mode;
    await Promise.all([
      this.fill("microphone", await devices("audioinput"), chosen.microphone),
      this.fill("speaker", await devices("audiooutput"), chosen.speaker),
    ]);
  }

  private fill(kind: "microphone" | "speaker", all: MediaDeviceInfo[], chosen: string): void {
    const named = all.filter((device) => device.label && device.deviceId !== "default");
    this.selects[kind].replaceChildren(
      h("option", { value: "" }, this.strings.standard),
      ...named.map((device) => h("option", { value: device.deviceId }, device.label)),
    );
    this.selects[kind].value = named.some((device) => device.deviceId === chosen) ? chosen : "";
  }
}
