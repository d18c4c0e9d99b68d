// The entry: defines `<voicestack-widget>`, and `mountVoice` for pages that rather call than write elements.
import type { Line } from "./core/record";
import type { State } from "./core/talk";
import type { TroubleCode } from "./core/trouble";
import { VoicestackWidget } from "./ui/element";
import { serverOf, type VoiceOptions } from "./ui/options";
import type { TurnMeasured } from "./wire";

export type { VoiceOptions } from "./ui/options";
export type { Strings } from "./ui/strings";
export type { ToolFunction, ToolSchema } from "./core/tools";
export type { Line, State, TroubleCode, TurnMeasured };
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

/** What the element tells its page. All of these bubble. */
export interface VoicestackEvents {
  /** `code` says why, where the state is `error`. */
  "voicestack-state": CustomEvent<{ state: State; code: TroubleCode | null; connection: "webrtc" | "websocket" | null }>;
  /** A line of the conversation as it is now; `final` when it will stay so. */
  "voicestack-caption": CustomEvent<Line & { final: boolean }>;
  /** Where the time of a turn went. */
  "voicestack-turn": CustomEvent<TurnMeasured>;
  /** Something small went wrong; the conversation goes on. */
  "voicestack-notice": CustomEvent<{ code: string; message: string }>;
}

declare global {
  interface Window {
    voicestack: { mountVoice: typeof mountVoice };
  }
  interface HTMLElementEventMap extends VoicestackEvents {}
  interface HTMLElementTagNameMap {
    "voicestack-widget": VoicestackWidget;
  }
}

window.voicestack = { mountVoice };
