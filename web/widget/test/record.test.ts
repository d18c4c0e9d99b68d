import { describe, expect, it } from "vitest";
import { ConversationRecord, type Line } from "../src/core/record";
import { delta, event } from "./events";

function hearing(...events: Parameters<ConversationRecord["hear"]>[0][]) {
  const record = new ConversationRecord();
  const told: Line[] = [];
  record.onLine = (line) => told.push(line);
  for (const one of events) record.hear(one);
  return { record, told, texts: () => record.lines.map(({ role, text }) => `${role}: ${text}`) };
}

const started = (id: string) => event("input_audio_buffer.speech_started", { item_id: id });
const hears = (id: string, text: string) => event("voicestack.user.hearing", { item_id: id, text });
const said = (id: string, transcript: string) =>
  event("conversation.item.input_audio_transcription.completed", { item_id: id, transcript });
const message = (id: string, role: string, content: object[]) => ({ type: "message", id, role, content });

describe("captions", () => {
  it("show the user's words as they are heard, and as they were", () => {
    const { told } = hearing(started("u1"), hears("u1", "what is"), said("u1", "What is it?"));
    expect(told.map(({ text, live }) => [text, live])).toEqual([
      ["what is", true],
      ["What is it?", false],
    ]);
  });

  it("stand in the order in which things began, not in which they were understood", () => {
    const { texts } = hearing(started("u1"), delta("a1", "Well, "), said("u1", "Why?"), delta("a1", "because."));
    expect(texts()).toEqual(["user: Why?", "agent: Well, because."]);
  });

  it("end an interrupted answer with what was heard", () => {
    const { record, texts } = hearing(
      delta("a1", "One two "),
      delta("a1", "three"),
      event("conversation.item.truncated", { item_id: "a1", content_index: 0, audio_end_ms: 700 }),
      delta("a1", " four"),
      event("conversation.item.retrieved", { item: message("a1", "assistant", [{ type: "output_audio", transcript: "One two" }]) }),
    );
    expect(texts()).toEqual(["agent: One two"]);
    expect(record.lines[0]).toMatchObject({ interrupted: true, live: false });
  });

  it("take an answer that nobody heard away", () => {
    const { told } = hearing(
      delta("a1", "One"),
      event("conversation.item.truncated", { item_id: "a1", content_index: 0, audio_end_ms: 0 }),
      event("conversation.item.retrieved", { item: message("a1", "assistant", [{ type: "output_audio" }]) }),
    );
    expect(told.at(-1)?.text).toBe("");
  });

  it("do not change for what is only looked up", () => {
    const { texts } = hearing(
      delta("a1", "One two"),
      event("conversation.item.retrieved", { item: message("a1", "assistant", [{ type: "output_audio", transcript: "One" }]) }),
    );
    expect(texts()).toEqual(["agent: One two"]);
  });

  it("take over what a resumed call remembers", () => {
    const { texts } = hearing(
      said("u1", "Hello"),
      event("voicestack.conversation.resumed", {
        items: [
          { id: "u1", role: "user", text: "Hello" },
          { id: "a1", role: "assistant", text: "Good day." },
          { id: "s1", role: "system", text: "Be kind." },
        ],
      }),
    );
    expect(texts()).toEqual(["user: Hello", "agent: Good day."]);
  });
});

describe("the replay", () => {
  it("has calls only with what they came to", () => {
    const call = (id: string, callId: string) =>
      event("response.function_call_arguments.done", { item_id: id, call_id: callId, name: "look", arguments: "{}" });
    const { record } = hearing(call("f1", "c1"), call("f2", "c2"));
    record.answered("c1", "42");
    expect(record.replay()).toEqual([
      { type: "function_call", call_id: "c1", name: "look", arguments: "{}" },
      { type: "function_call_output", call_id: "c1", output: "42" },
    ]);
  });

  it("is the newest part of a long conversation", () => {
    const { record } = hearing(...Array.from({ length: 500 }, (_, i) => said(`u${i}`, `number ${i}`)));
    const items = record.replay();
    expect(items.length).toBeLessThan(100);
    expect(items.at(-1)).toMatchObject({ id: "u499" });
  });
});

describe("storage", () => {
  it("gives back what was put in", () => {
    const { record, texts } = hearing(said("u1", "Hello"), delta("a1", "Hi."));
    const again = new ConversationRecord();
    again.restore(JSON.parse(JSON.stringify(record.saved())));
    expect(again.lines.map(({ role, text }) => `${role}: ${text}`)).toEqual(texts());
    expect(again.lines.every(({ live }) => !live)).toBe(true);
  });

  it.each([null, "x", 7, {}, [null], [{ id: 1 }], [{ id: "a", role: "boss", text: "x" }], [{ id: "a", role: "user" }]])(
    "takes nothing from %j",
    (kept) => {
      const record = new ConversationRecord();
      record.restore(kept);
      expect(record.isEmpty).toBe(true);
    },
  );
});
