// The entry: defines `<voicestack-widget>`, and `mountVoice` for pages that rather call than write elements.
import { VoicestackWidget } from "./ui/element";
import { serverOf, type VoiceOptions } from "./ui/options";

export type { VoiceOptions } from "./ui/options";
export type { Strings } from "./ui/strings";
export type { Line } from "./core/record";
export type { State } from "./core/talk";
export type { ToolFunction, ToolSchema } from "./core/tools";
export type { TurnMeasured } from "./wire";
export { VoicestackWidget };

VoicestackWidget.origin = serverOf(import.meta.url);
if (!customElements.get("voicestack-widget")) customElements.define("voicestack-widget", VoicestackWidget);

/** Puts a widget into the page. */
export function mountVoice(options: VoiceOptions = {}): VoicestackWidget {
  const element = document.createElement("voicestack-widget") as VoicestackWidget;
  const { target, getToken, strings, tools, tokenUrl, title, remember, ...plain } = options;
  element.options = { getToken, strings };
  const attributes = { ...plain, "token-url": tokenUrl, heading: title, "no-memory": remember === false ? "" : undefined };
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(name, typeof value === "boolean" ? (value ? "on" : "off") : value);
  }
  for (const [name, { schema, run }] of Object.entries(tools ?? {})) element.registerTool(name, schema, run);
  const place = typeof target === "string" ? document.querySelector(target) : (target ?? document.body);
  if (!place) throw new Error(`mountVoice: there is no ${String(target)} in this page`);
  place.append(element);
  return element;
}

declare global {
  interface Window {
    voicestack: { mountVoice: typeof mountVoice };
  }
  interface HTMLElementTagNameMap {
    "voicestack-widget": VoicestackWidget;
  }
}

window.voicestack = { mountVoice };
