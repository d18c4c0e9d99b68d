// What was said? The widget's own record of the conversation: its captions, and what it tells a server that forgot.
import type { NewCall, NewMessage, NewOutput } from "../wire";
import type { Received } from "./events";

export interface Line {
  id: string;
  role: "user" | "agent";
  text: string;
  /** More words may come, or these may change. */
  live: boolean;
  /** The user spoke over it: the text ends with what was heard. */
  interrupted: boolean;
}

export interface Call {
  id: string;
  role: "call";
  callId: string;
  name: string;
  arguments: string;
  output: string | null;
}

export type Entry = Line | Call;

const REPLAYED_ENTRIES = 80;
const REPLAYED_CHARS = 24_000;

/** Order is the order in which things began. Changes are told to `onLine`, whole lines at a time; a line without words is not to be shown. */
export class ConversationRecord {
  entries: Entry[] = [];
  onLine: (line: Line) => void = () => {};

  get lines(): Line[] {
    return this.entries.filter((entry): entry is Line => entry.role !== "call");
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  clear(): void {
    this.entries = [];
  }

  /** The user typed this. */
  typed(id: string, text: string): void {
    this.change(id, "user", { text, live: false });
  }

  /** Take note of an event. */
  hear(event: Received): void {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.change(event.item_id, "user", { live: true });
        break;
      case "input_audio_buffer.committed":
        this.change(event.item_id, "user", {});
        break;
      case "voicestack.user.hearing":
        this.change(event.item_id, "user", { text: event.text, live: true });
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.change(event.item_id, "user", { text: event.transcript.trim(), live: false });
        break;
      case "conversation.item.input_audio_transcription.failed":
        this.change(event.item_id, "user", { live: false });
        break;
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta": {
        const line = this.line(event.item_id);
        if (line?.interrupted) break; // words on their way when it was cut
        this.change(event.item_id, "agent", { text: (line?.text ?? "") + event.delta, live: true });
        break;
      }
      case "conversation.item.truncated": {
        const line = this.line(event.item_id);
        if (line) this.change(event.item_id, line.role, { interrupted: true, live: false });
        break;
      }
      case "conversation.item.added":
      case "conversation.item.retrieved":
        this.item(event.item, event.type === "conversation.item.retrieved");
        break;
      case "response.output_item.done":
        if (event.item.type === "message" && event.item.id !== undefined) {
          const line = this.line(event.item.id);
          if (line) this.change(line.id, "agent", { live: false, ...(event.item.status === "incomplete" && { interrupted: true }) });
        }
        break;
      case "response.function_call_arguments.done":
        this.entries.push({
          id: event.item_id,
          role: "call",
          callId: event.call_id,
          name: event.name,
          arguments: event.arguments,
          output: null,
        });
        break;
      case "conversation.item.deleted":
        this.entries = this.entries.filter((entry) => entry.id !== event.item_id);
        break;
      case "voicestack.conversation.resumed":
        for (const item of event.items) {
          if (item.role === "system" || !item.text) continue;
          this.change(item.id, item.role === "user" ? "user" : "agent", { text: item.text, live: false });
        }
        break;
    }
  }

  /** What a call came to. */
  answered(callId: string, output: string): void {
    const call = this.entries.find((entry) => entry.role === "call" && entry.callId === callId);
    if (call?.role === "call") call.output = output;
  }

  /** Nothing more comes on this connection: lines stay as they are. */
  settle(): void {
    for (const line of this.lines) if (line.live) this.change(line.id, line.role, { live: false });
  }

  /** The newest part of it, as items of a conversation that begins anew, oldest first. */
  replay(): (NewMessage | NewCall | NewOutput)[] {
    const items: (NewMessage | NewCall | NewOutput)[] = [];
    let chars = 0;
    for (const entry of [...this.entries].reverse()) {
      if (entry.role === "call") {
        if (entry.output === null) continue; // a call without an answer is of no use to anybody
        chars += entry.arguments.length + entry.output.length;
        items.push({ type: "function_call_output", call_id: entry.callId, output: entry.output });
        items.push({ type: "function_call", call_id: entry.callId, name: entry.name, arguments: entry.arguments });
      } else if (entry.text) {
        chars += entry.text.length;
        items.push(
          entry.role === "user"
            ? { type: "message", id: entry.id, role: "user", content: [{ type: "input_text", text: entry.text }] }
            : { type: "message", id: entry.id, role: "assistant", content: [{ type: "output_text", text: entry.text }] },
        );
      }
      if (items.length >= REPLAYED_ENTRIES || chars >= REPLAYED_CHARS) break;
    }
    return items.reverse();
  }

  /** For storage. */
  saved(): Entry[] {
    return this.entries.filter((entry) => entry.role === "call" || entry.text !== "");
  }

  /** From storage; whatever is not an entry is left out. */
  restore(entries: unknown): void {
    if (!Array.isArray(entries)) return;
    this.entries = entries.filter(isEntry).map((entry) => (entry.role === "call" ? entry : { ...entry, live: false }));
    for (const line of this.lines) this.onLine(line);
  }

  private line(id: string): Line | undefined {
    return this.entries.find((entry): entry is Line => entry.id === id && entry.role !== "call");
  }

  private change(id: string, role: Line["role"], fields: Partial<Line>): void {
    let line = this.line(id);
    if (!line) this.entries.push((line = { id, role, text: "", live: true, interrupted: false }));
    const before = JSON.stringify(line);
    Object.assign(line, fields);
    if (JSON.stringify(line) !== before) this.onLine({ ...line });
  }

  private item(item: { type: string; id?: string; role?: string; content?: unknown }, isAnswer: boolean): void {
    if (item.type !== "message" || item.id === undefined || !Array.isArray(item.content)) return;
    if (item.role !== "user" && item.role !== "assistant") return;
    const text = item.content
      .map((part: { text?: string; transcript?: string }) => part.text ?? part.transcript ?? "")
      .join("")
      .trim();
    const role = item.role === "user" ? "user" : "agent";
    if (isAnswer) {
      if (this.line(item.id)?.interrupted) this.change(item.id, role, { text, live: false });
    } else if (text) {
      this.change(item.id, role, { text, live: false });
    } else {
      this.change(item.id, role, {});
    }
  }
}

function isEntry(entry: unknown): entry is Entry {
  const { id, role, text, callId } = (entry ?? {}) as { [key: string]: unknown };
  if (typeof id !== "string") return false;
  return role === "call" ? typeof callId === "string" : (role === "user" || role === "agent") && typeof text === "string";
}
