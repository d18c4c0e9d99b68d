// What may a page say about its widget?
import type { Way } from "../links/connect";
import type { Mode } from "../core/opening";
import type { ToolFunction, ToolSchema } from "../core/tools";
import type { Strings } from "./strings";

export interface VoiceOptions {
  /** Where to put it: an element or a selector. The end of the page's body by default. */
  target?: Element | string;
  /** The voicestack server. Where this script came from by default. */
  server?: string;
  /** Where the page's own backend answers a `POST` with a secret: `{"value": "ek_..."}`. */
  tokenUrl?: string;
  /** Or a function that gets one. */
  getToken?: () => string | object | Promise<string | object>;
  instructions?: string;
  voice?: string;
  mode?: Mode;
  /** Shown by default. */
  captions?: boolean;
  /** The waterfall of the last turn. Not shown by default. */
  badge?: boolean;
  theme?: "auto" | "light" | "dark";
  /** BCP 47: of what is said, and of the widget's own words where it has them. */
  lang?: string;
  transport?: Way;
  /** Its heading. */
  title?: string;
  /** Go on with the conversation when the page is loaded again. True by default. */
  remember?: boolean;
  tools?: { [name: string]: { schema: ToolSchema; run: ToolFunction } };
  /** The widget's own words, all or some. */
  strings?: Partial<Strings>;
}

/** The attributes that say the same. */
export const ATTRIBUTES = [
  "server",
  "token-url",
  "instructions",
  "voice",
  "mode",
  "captions",
  "badge",
  "theme",
  "lang",
  "transport",
  "heading",
  "no-memory",
] as const;

/** `captions="off"` and the like. */
export function isOn(value: string | null, byDefault: boolean): boolean {
  return value === null ? byDefault : !["off", "false", "no", "0"].includes(value.toLowerCase());
}

/** Where the server is, from the address of this script: beside its `widget/` folder. */
export function serverOf(script: string): string {
  const url = new URL(script);
  const folder = url.pathname.match(/^(.*)\/widget\/(?:assets\/)?[^/]*$/)?.[1] ?? "";
  return url.origin + folder;
}

/** Without the slash at its end. */
export function trimmed(server: string): string {
  return server.replace(/\/+$/, "");
}
