import { describe, expect, it, vi } from "vitest";
import { SessionClock } from "../src/core/clock";
import { decoded, newName, type Sent } from "../src/core/events";
import { HeardMatch } from "../src/core/heard";
import { openingPatch } from "../src/core/opening";
import { GIVE_UP_MS, waitMs } from "../src/core/retry";
import { secretIn, Secrets } from "../src/core/secret";
import { ToolDesk } from "../src/core/tools";
import { microphoneTrouble, refusalTrouble } from "../src/core/trouble";
import { heardEvent, QUIET, turnOf } from "../src/core/turns";
import { bars } from "../src/ui/badge";
import { isOn, serverOf } from "../src/ui/options";
import type { Session, TurnMeasured } from "../src/wire";
import { created, done, event, responding, session } from "./events";

describe("the clock", () => {
  it("believes the ping with the shortest way", () => {
    const clock = new SessionClock();
    expect(clock.at(0)).toBeNull();
    clock.pong(1_000, 500, 1_100); // 100 ms there and back: -550 give or take 50
    clock.pong(2_000, 1_460, 2_010); // 10 ms: -545 give or take 5
    clock.pong(3_000, 2_300, 3_400);
    expect(clock.at(5_000)).toEqual({ ms: 4_455, errorMs: 5 });
  });

  it("forgets old pings: quartzes drift", () => {
    const clock = new SessionClock();
    clock.pong(0, 0, 2);
    for (let i = 0; i < 16; i++) clock.pong(1_000 * i, 1_000 * i + 105, 1_000 * i + 10);
    expect(clock.at(0)).toEqual({ ms: 100, errorMs: 5 });
  });

  it("does not believe an answer from before the question", () => {
    const clock = new SessionClock();
    clock.pong(100, 5, 50);
    clock.pong(100, Number.NaN, 150);
    expect(clock.at(0)).toBeNull();
  });
});

describe("waiting", () => {
  it("doubles up to its longest, and ends", () => {
    expect([0, 1, 2, 3, 9].map((n) => waitMs(n, 0, 0.5))).toEqual([250, 500, 1_000, 2_000, 2_500]);
    expect(waitMs(20, 60_000, 0.5)).toBe(8_000);
    expect(waitMs(0, GIVE_UP_MS, 0.5)).toBeNull();
  });

  it("is as long as the server asks, and spread", () => {
    expect(waitMs(0, 0, 0.5, 5_000)).toBe(5_000);
    expect(waitMs(1, 0, 0)).toBeLessThan(waitMs(1, 0, 1)!);
  });
});

describe("who has the floor", () => {
  const after = (...events: Parameters<typeof heardEvent>[1][]) => turnOf(events.reduce(heardEvent, QUIET));
  const started = event("input_audio_buffer.speech_started");
  const stopped = event("input_audio_buffer.speech_stopped");
  const sounds = event("output_audio_buffer.started", { response_id: "r1" });

  it("goes round", () => {
    expect(after(created())).toBe("listening");
    expect(after(started)).toBe("listening");
    expect(after(started, stopped)).toBe("thinking");
    expect(after(started, stopped, responding("r1"))).toBe("thinking");
    expect(after(started, stopped, responding("r1"), sounds)).toBe("speaking");
    expect(after(responding("r1"), sounds, done("r1"))).toBe("speaking"); // what was sent is still being played
    expect(after(responding("r1"), sounds, done("r1"), event("output_audio_buffer.stopped"))).toBe("listening");
  });

  it("is the user's as soon as she speaks", () => {
    expect(after(responding("r1"), sounds, started)).toBe("listening");
  });

  it("does not wait for an answer to nothing", () => {
    const nothing = event("conversation.item.input_audio_transcription.completed", { transcript: " " });
    expect(after(started, stopped, nothing)).toBe("listening");
  });

  it("is not changed by what is said beside the conversation", () => {
    expect(after(event("response.created", { response: { id: "r2", conversation_id: null } }))).toBe("listening");
  });
});

describe("what was heard over WebRTC", () => {
  it("is matched whichever comes first", () => {
    const match = new HeardMatch();
    expect(match.start("r1", 1_000)).toBeNull();
    expect(match.onset(1_040)).toBe("r1");
    match.stop();
    expect(match.onset(5_000)).toBeNull();
    expect(match.start("r2", 5_030)).toBe(5_000);
    expect(match.onset(6_000)).toBeNull(); // a pause within the same answer
  });

  it("is not matched with a sound from before, or long after", () => {
    const match = new HeardMatch();
    match.onset(1_000);
    expect(match.start("r1", 2_000)).toBeNull();
    expect(match.onset(9_000)).toBeNull();
  });
});

describe("a secret", () => {
  it.each([
    [{ value: "ek_1", expires_at: 5 }, "ek_1"],
    [{ client_secret: { value: "ek_2" } }, "ek_2"],
    [{ client_secret: "ek_3" }, "ek_3"],
    [{ token: "ek_4" }, "ek_4"],
    [" ek_5\n", "ek_5"],
  ])("is found in %j", (answer, value) => {
    expect(secretIn(answer, 0).value).toBe(value);
  });

  it.each([[{ value: "sk-1" }], ["sk-vs-2"], [{ token: "Bearer ek_1" }]])("that is a key is refused: %j", (answer) => {
    expect(() => secretIn(answer, 0)).toThrow(/bad-secret/);
    expect(() => secretIn(answer, 0)).not.toThrow(/sk-/);
  });

  it.each([[null], [{}], [""], [{ value: 7 }]])("is missed in %j", (answer) => {
    expect(() => secretIn(answer, 0)).toThrow(/no-secret/);
  });

  it("is asked for once, until it ends", async () => {
    const ask = vi.fn(async () => ({ value: "ek_1", expires_at: Date.now() / 1000 + 600 }));
    const secrets = new Secrets(ask);
    await Promise.all([secrets.take(), secrets.take()]);
    await secrets.take();
    expect(ask).toHaveBeenCalledTimes(1);
    secrets.drop();
    await secrets.take();
    expect(ask).toHaveBeenCalledTimes(2);
  });

  it("that ends soon, or could not be had, is asked for again", async () => {
    const ask = vi.fn<() => unknown>(() => "ek_1");
    const secrets = new Secrets(ask);
    await secrets.take();
    await secrets.take();
    expect(ask).toHaveBeenCalledTimes(2);
    ask.mockImplementationOnce(() => {
      throw new Error("down");
    });
    await expect(secrets.take()).rejects.toThrow("down");
    expect(await secrets.take()).toBe("ek_1");
  });
});

describe("tools", () => {
  function desk() {
    const sent: Sent[] = [];
    const made = new ToolDesk((one) => sent.push(one));
    return { desk: made, sent, types: () => sent.map(({ type }) => type) };
  }
  const call = (name: string, args: string, callId = "c1") =>
    event("response.function_call_arguments.done", { response_id: "r1", item_id: "f1", call_id: callId, name, arguments: args });
  const settled = () => new Promise((resolve) => setTimeout(resolve));

  it("are run, and the agent goes on when the response is done", async () => {
    const { desk: made, sent, types } = desk();
    made.register("add", { description: "Adds" }, (args) => (args as { a: number }).a + 1);
    made.hear(call("add", '{"a": 1}'));
    await settled();
    expect(sent[0]).toMatchObject({ item: { type: "function_call_output", call_id: "c1", output: "2" } });
    expect(types()).toEqual(["conversation.item.create"]);
    made.hear(done("r1"));
    expect(types()).toEqual(["conversation.item.create", "response.create"]);
  });

  it("are waited for when the response is done before they are", async () => {
    const { desk: made, types } = desk();
    let finish = (_: string) => {};
    made.register("slow", {}, () => new Promise<string>((resolve) => (finish = resolve)));
    made.register("quick", {}, () => "here");
    made.hear(call("slow", "{}", "c1"));
    made.hear(call("quick", "", "c2"));
    await settled();
    made.hear(done("r1"));
    expect(types()).toEqual(["conversation.item.create"]);
    expect(made.isBusy).toBe(true);
    finish("there");
    await settled();
    expect(types()).toEqual(["conversation.item.create", "conversation.item.create", "response.create"]);
    expect(made.isBusy).toBe(false);
  });

  it("that fail say so to the agent", async () => {
    const { desk: made, sent } = desk();
    made.register("broken", {}, () => {
      throw new Error("no such order");
    });
    made.hear(call("broken", "{}"));
    made.hear(call("broken", "{not json", "c2"));
    await settled();
    expect(sent[0]).toMatchObject({ item: { output: '{"error":"no such order"}' } });
    expect(sent).toHaveLength(2);
  });

  it("of somebody else are left to them", async () => {
    const { desk: made, sent } = desk();
    made.hear(call("theirs", "{}"));
    made.hear(done("r1"));
    await settled();
    expect(sent).toEqual([]);
  });

  it("of a lost connection are answered to nobody", async () => {
    const { desk: made, sent } = desk();
    made.register("look", {}, () => "x");
    made.hear(call("look", "{}"));
    made.reset();
    await settled();
    expect(sent).toEqual([]);
  });

  it("stand beside those that the session has already", () => {
    const { desk: made } = desk();
    made.register("mine", { type: "object", properties: { a: {} } }, () => 1);
    const theirs = [{ type: "function", name: "mine" }, { type: "mcp", server_label: "docs" }];
    expect(made.beside(theirs)).toEqual([
      { type: "mcp", server_label: "docs" },
      { type: "function", name: "mine", parameters: { type: "object", properties: { a: {} } } },
    ]);
  });
});

describe("the opening", () => {
  const desk = new ToolDesk(() => {});
  const opened = (fields: object, wishes: Parameters<typeof openingPatch>[1]) =>
    openingPatch(session(fields) as unknown as Session, wishes, desk);

  it("leaves what the secret was made for", () => {
    const audio = { input: { transcription: { model: "x" }, turn_detection: { type: "semantic_vad" } }, output: {} };
    const patch = opened({ audio }, { mode: "hands-free" });
    expect(Object.keys(patch.audio!.input!)).toEqual(["format"]);
    expect(patch).not.toHaveProperty("instructions");
    expect(patch).not.toHaveProperty("tools");
  });

  it("asks for captions, and for what the page wants", () => {
    const patch = opened({}, { mode: "push-to-talk", voice: "anna", instructions: "Be brief.", language: "de" });
    expect(patch.audio!.input).toMatchObject({ transcription: { language: "de" }, turn_detection: null });
    expect(patch.audio!.output!.voice).toBe("anna");
    expect(patch.instructions).toBe("Be brief.");
  });
});

describe("troubles", () => {
  it.each([
    [401, "invalid_api_key", "refused"],
    [403, "origin_not_allowed", "origin"],
    [429, "rate_limit_exceeded", "busy"],
    [503, "overloaded", "busy"],
    [502, "", "unreachable"],
    [400, "invalid_offer", "failed"],
  ])("%i %s is %s", (status, code, expected) => {
    expect(refusalTrouble(status, code, "", "7").code).toBe(expected);
  });

  it("say how long to wait", () => {
    expect(refusalTrouble(503, "", "", "7").retryAfterMs).toBe(7_000);
    expect(refusalTrouble(503, "", "", null).retryAfterMs).toBe(1_000);
  });

  it.each([
    ["NotAllowedError", "mic-denied"],
    ["NotFoundError", "mic-missing"],
    ["NotReadableError", "mic-busy"],
    ["Oddity", "mic-failed"],
  ])("of a microphone: %s is %s", (name, expected) => {
    expect(microphoneTrouble(new DOMException("", name)).code).toBe(expected);
  });
});

describe("the badge", () => {
  const turn = (fields: object) => ({ spans: [], response_ms: null, heard_after_ms: null, ...fields }) as unknown as TurnMeasured;

  it("goes on to the ear", () => {
    const shown = bars(turn({ spans: [{ stage: "endpoint", start_ms: 0, end_ms: 500, hidden_ms: 0 }], response_ms: 510, heard_after_ms: 570 }));
    expect(shown.bars.at(-1)).toEqual({ stage: "ear", startMs: 510, endMs: 570, hiddenMs: 0 });
    expect(shown.totalMs).toBe(570);
  });

  it("says nothing of an ear that did not tell", () => {
    expect(bars(turn({ response_ms: 510 })).bars).toEqual([]);
  });
});

describe("small things", () => {
  it("finds the server beside the script", () => {
    expect(serverOf("https://voice.example/widget/voicestack.js")).toBe("https://voice.example");
    expect(serverOf("https://a.example/voice/widget/assets/voicestack-x.js?v=1")).toBe("https://a.example/voice");
    expect(serverOf("https://cdn.example/lib/voicestack.js")).toBe("https://cdn.example");
  });

  it("reads attributes as people write them", () => {
    expect(isOn(null, true)).toBe(true);
    expect(isOn("", false)).toBe(true);
    expect(isOn("OFF", true)).toBe(false);
  });

  it("reads frames, and nothing else", () => {
    expect(decoded('{"type": "error"}')?.type).toBe("error");
    for (const frame of ["", "7", "null", "{}", "[1]", '{"type": 3}', "{"]) expect(decoded(frame)).toBeNull();
  });

  it("makes names of at most 32 characters", () => {
    expect(newName("vs_own_ping").length).toBeLessThanOrEqual(32);
    expect(newName("item")).not.toBe(newName("item"));
  });
});
