// How loud are both sides? Decoration for the eye: the status says the same in words.
import { h } from "./dom";
import type { Strings } from "./strings";

const N_BARS = 18;
const MOVING_MS = 50;
const STILL_MS = 250;

export class Meters {
  readonly element: HTMLElement;
  private readonly sides: { bars: HTMLElement[]; history: number[] }[] = [];
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");
  private frame = 0;
  private shownAtMs = 0;

  constructor(
    strings: Strings,
    private readonly orb: HTMLElement,
  ) {
    this.element = h("div", { class: "meters", part: "meters", "aria-hidden": "true" });
    for (const name of [strings.you, strings.agent]) {
      const bars = Array.from({ length: N_BARS }, () => h("i"));
      this.sides.push({ bars, history: new Array<number>(N_BARS).fill(0) });
      this.element.append(h("div", { class: "meter" }, h("span", {}, name), h("div", { class: "bars" }, ...bars)));
    }
  }

  start(levels: () => { user: number; agent: number }): void {
    this.stop();
    const tick = (nowMs: number) => {
      this.frame = requestAnimationFrame(tick);
      if (nowMs - this.shownAtMs < (this.still.matches ? STILL_MS : MOVING_MS)) return;
      this.shownAtMs = nowMs;
      const { user, agent } = levels();
      this.show([user, agent]);
    };
    this.frame = requestAnimationFrame(tick);
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.sides.forEach((side) => side.history.fill(0));
    this.show([0, 0]);
  }

  private show(levels: [number, number]): void {
    const isStill = this.still.matches;
    this.element.classList.toggle("still", isStill);
    this.orb.style.setProperty("--loud", isStill ? "0" : String(Math.max(...levels)));
    levels.forEach((level, i) => {
      const { bars, history } = this.sides[i]!;
      if (isStill) {
        bars[0]!.style.transform = `scaleX(${level.toFixed(2)})`;
        return;
      }
      history.pop();
      history.unshift(level);
      // the newest is nearest to the middle of the card, and the past runs outwards
      bars.forEach((bar, at) => {
        const value = history[i === 0 ? N_BARS - 1 - at : at]!;
        bar.style.transform = `scaleY(${Math.max(0.08, value).toFixed(2)})`;
      });
    });
  }
}
