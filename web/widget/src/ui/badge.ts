// Where did the time of the last turn go, for whoever wants to know?
import { h } from "./dom";
import { filled, type Strings } from "./strings";
import type { TurnMeasured } from "../wire";

export interface Bar {
  stage: string;
  startMs: number;
  endMs: number;
  hiddenMs: number;
}

/** The stages of a turn, and last the way to the ear where the client told of it. */
export function bars(turn: TurnMeasured): { bars: Bar[]; totalMs: number; answeredMs: number | null; heardMs: number | null } {
  const out: Bar[] = turn.spans.map((span) => ({
    stage: span.stage,
    startMs: span.start_ms,
    endMs: span.end_ms,
    hiddenMs: span.hidden_ms,
  }));
  const heardMs = turn.heard_after_ms ?? null;
  if (heardMs !== null && turn.response_ms !== null && heardMs > turn.response_ms) {
    out.push({ stage: "ear", startMs: turn.response_ms, endMs: heardMs, hiddenMs: 0 });
  }
  const totalMs = Math.max(1, heardMs ?? 0, ...out.map((bar) => bar.endMs));
  return { bars: out, totalMs, answeredMs: turn.response_ms, heardMs };
}

export class Badge {
  readonly element: HTMLElement;

  constructor(private readonly strings: Strings) {
    this.element = h("div", { class: "badge", part: "badge" }, h("p", {}, strings.nothingMeasured));
  }

  show(turn: TurnMeasured): void {
    const { strings } = this;
    const { bars: shown, totalMs, answeredMs, heardMs } = bars(turn);
    if (answeredMs === null || !shown.length) return;
    const sentence = heardMs !== null ? strings.heardAfter : strings.sentAfter;
    const [before = "", after = ""] = sentence.split("{ms}");
    const hiddenMs = Math.round(shown.reduce((sum, bar) => sum + bar.hiddenMs, 0));
    const list = h("dl", { class: "fall" });
    for (const bar of shown) {
      const track = h("div", { class: "track", "aria-hidden": "true" });
      const hiddenEnd = bar.startMs + bar.hiddenMs;
      if (bar.hiddenMs > 0) track.append(piece("free", bar.startMs, hiddenEnd, totalMs));
      if (bar.endMs > hiddenEnd) track.append(piece("", hiddenEnd, bar.endMs, totalMs));
      list.append(
        h("dt", {}, strings.stages[bar.stage] ?? bar.stage),
        h("dd", {}, track),
        h("dd", { class: "ms" }, `${Math.round(bar.endMs - bar.startMs)} ms`),
      );
    }
    this.element.replaceChildren(
      h("p", {}, before, h("b", {}, String(Math.round(heardMs ?? answeredMs))), after,
        hiddenMs > 0 ? ` · ${filled(strings.hidden, { ms: hiddenMs })}` : null),
      list,
    );
  }
}

function piece(kind: string, startMs: number, endMs: number, totalMs: number): HTMLElement {
  const element = h("i", { class: kind });
  element.style.left = `${(Math.max(0, startMs) / totalMs) * 100}%`;
  element.style.width = `${(Math.max(0, endMs - Math.max(0, startMs)) / totalMs) * 100}%`;
  return element;
}
