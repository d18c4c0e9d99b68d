// What was said, as it is being said.
import type { Line } from "../core/record";
import { h } from "./dom";
import type { Strings } from "./strings";

const NEAR_PX = 48; // of the end: whoever has scrolled further up reads, and is left there

/** An element with the role `log`. A line without words is not there. */
export class Captions {
  readonly element: HTMLElement;
  private readonly lines = new Map<string, HTMLParagraphElement>();
  private readonly empty: HTMLParagraphElement;

  constructor(private strings: Strings) {
    this.empty = h("p", { class: "empty" }, strings.empty);
    this.element = h(
      "div",
      { class: "captions", part: "captions", role: "log", "aria-live": "polite", "aria-relevant": "additions text", tabindex: "0" },
      this.empty,
    );
    this.element.setAttribute("aria-label", strings.captions);
  }

  get isEmpty(): boolean {
    return this.lines.size === 0;
  }

  /** `order`: the ids of all lines, as they were begun. */
  show(line: Line, order: readonly string[]): void {
    const { element } = this;
    let shown = this.lines.get(line.id);
    if (!line.text) {
      shown?.remove();
      this.lines.delete(line.id);
      return;
    }
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
    if (!shown) {
      const who = line.role === "user" ? this.strings.you : this.strings.agent;
      shown = h("p", { class: "line", part: `line ${line.role}`, "data-role": line.role, "data-id": line.id });
      shown.append(h("span", { class: "seen-not" }, `${who}: `), h("span", {}));
      this.lines.set(line.id, shown);
      const later = order.slice(order.indexOf(line.id) + 1).map((id) => this.lines.get(id));
      this.empty.remove();
      element.insertBefore(shown, later.find((next) => next !== undefined) ?? null);
    }
    shown.lastElementChild!.textContent = line.text;
    shown.toggleAttribute("data-live", line.live);
    shown.toggleAttribute("data-interrupted", line.interrupted);
    shown.setAttribute("aria-busy", String(line.live)); // read out when it is complete, not word by word
    if (line.interrupted) shown.title = this.strings.interrupted;
    if (isAtEnd) element.scrollTop = element.scrollHeight;
  }

  clear(): void {
    this.lines.clear();
    this.element.replaceChildren(this.empty);
  }
}
