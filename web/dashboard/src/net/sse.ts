// Server-sent events out of a stream of text, as the HTML standard parses them (chapter 9.2.6).

export interface SseEvent {
  type: string;
  data: string;
}

export class SseParser {
  #rest = "";
  #type = "";
  #data: string[] = [];
  #started = false;

  /** Take the next piece, cut anywhere. Returns the events that it completes. */
  push(piece: string): SseEvent[] {
    let text = this.#rest + piece;
    if (!this.#started && text) {
      this.#started = true;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    const out: SseEvent[] = [];
    let from = 0;
    for (;;) {
      const end = nextEnd(text, from);
      if (end === -1) break;
      if (text[end] === "\r" && end + 1 === text.length) break; // a line feed may follow
      this.#line(text.slice(from, end), out);
      from = text[end] === "\r" && text[end + 1] === "\n" ? end + 2 : end + 1;
    }
    this.#rest = text.slice(from);
    return out;
  }

  #line(line: string, out: SseEvent[]): void {
    if (line === "") {
      if (this.#data.length) out.push({ type: this.#type || "message", data: this.#data.join("\n") });
      this.#type = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon); // empty for a comment
    let value = colon === -1 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
  }
}

function nextEnd(text: string, from: number): number {
  const [feed, back] = [text.indexOf("\n", from), text.indexOf("\r", from)];
  if (feed === -1 || back === -1) return Math.max(feed, back);
  return Math.min(feed, back);
}
