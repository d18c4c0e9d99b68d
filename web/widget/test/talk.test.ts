import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LinkEvents } from "../src/links/link";
import { Talk, type Saved, type State, type World } from "../src/core/talk";
import type { Mode } from "../src/core/opening";
import { Trouble } from "../src/core/trouble";
import { created, done, event, FakeLink, responding } from "./events";

/** A server that connects, or does what the test says next. */
class FakeWorld implements World {
  links: FakeLink[] = [];
  asked: (string | null)[] = [];
  next: (Trouble | "call-gone")[] = [];
  hungUp: string[] = [];
  kept: Saved | null = null;
  callIds = ["rtc_1", "rtc_2", "rtc_3"];

  async connect(resume: string | null, events: LinkEvents) {
    this.asked.push(resume);
    const outcome = this.next.shift();
    if (outcome === "call-gone") return outcome;
    if (outcome) throw outcome;
    const link = new FakeLink(resume ?? this.callIds.shift() ?? null, events);
    this.links.push(link);
    return link;
  }
  get link(): FakeLink {
    return this.links.at(-1)!;
  }
  hangUp(callId: string): void {
    this.hungUp.push(callId);
  }
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
  nowMs(): number {
    return Date.now();
  }
  random(): number {
    return 0.5;
  }
  save(saved: Saved | null): void {
    this.kept = saved && structuredClone(saved);
  }
  load(): Saved | null {
    return this.kept;
  }
}

function talking(world = new FakeWorld(), mode: Mode = "hands-free") {
  const states: State[] = [];
  const notices: string[] = [];
  const talk = new Talk(world, { mode }, {
    onState: (state) => states.push(state),
    onTurn: () => {},
    onNotice: (code) => notices.push(code),
  });
  return { world, talk, states, notices };
}

async function connected(world?: FakeWorld, mode?: Mode) {
  const all = talking(world, mode);
  await all.talk.start();
  all.world.link.events.onEvent(created());
  await vi.advanceTimersByTimeAsync(6_000); // long enough to count as a connection
  return all;
}

const said = (id: string, text: string) =>
  event("conversation.item.input_audio_transcription.completed", { item_id: id, transcript: text });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the start", () => {
  it("tells a new session what the page wants, and opens the microphone", async () => {
    const { world, states } = await connected();
    expect(world.link.types()).toEqual(["session.update"]);
    expect(world.link.isOpen).toBe(true);
    expect(states).toEqual(["connecting", "listening"]);
  });

  it("is the same when the session is there before the connection is", async () => {
    const { world, talk } = talking();
    const connect = world.connect.bind(world);
    world.connect = async (resume, events) => {
      events.onEvent(created());
      return connect(resume, events);
    };
    await talk.start();
    expect(world.link.types()).toEqual(["session.update"]);
    expect(talk.state).toBe("listening");
  });

  it("tries a busy server again when it asked to, and says what cannot be helped", async () => {
    const { world, talk } = talking();
    world.next = [new Trouble("busy", "", 1_000)];
    const started = talk.start();
    await vi.advanceTimersByTimeAsync(999);
    expect(world.asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await started;
    expect(world.asked).toHaveLength(2);

    const other = talking();
    other.world.next = [new Trouble("refused")];
    await other.talk.start();
    expect(other.talk.state).toBe("error");
    expect(other.talk.trouble?.code).toBe("refused");
  });

  it("gives a server that is not there a few seconds", async () => {
    const { world, talk } = talking();
    world.next = Array.from({ length: 50 }, () => new Trouble("unreachable"));
    void talk.start();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(talk.state).toBe("error");
    expect(talk.trouble?.code).toBe("unreachable");
  });

  it("shows while the page prepares, and can be ended by then", async () => {
    const { world, talk, states } = talking();
    let ready = () => {};
    const started = talk.start(() => new Promise((resolve) => (ready = resolve)));
    expect(talk.state).toBe("connecting");
    talk.end();
    ready();
    await started;
    expect(world.asked).toEqual([]);
    expect(states).toEqual(["connecting", "ended"]);
  });

  it("that cannot be prepared says why", async () => {
    const { talk } = talking();
    await talk.start(async () => {
      throw new Trouble("mic-denied");
    });
    expect(talk.state).toBe("error");
    expect(talk.trouble?.code).toBe("mic-denied");
  });

  it("says what was typed before there was a connection", async () => {
    const { world, talk } = talking();
    talk.say("hello");
    await talk.start();
    world.link.events.onEvent(created());
    expect(world.link.types()).toEqual(["session.update", "conversation.item.create", "response.create"]);
  });
});

describe("a lost connection", () => {
  it("is resumed by the name of the call, and told nothing again", async () => {
    const { world, talk, states } = await connected();
    world.link.events.onClosed("failed", false);
    expect(talk.state).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(0);
    expect(world.asked).toEqual([null, "rtc_1"]);
    world.link.events.onEvent(created());
    expect(world.link.types()).toEqual([]);
    expect(states).toEqual(["connecting", "listening", "reconnecting", "listening"]);
  });

  it("whose call is over begins anew with what was said", async () => {
    const { world } = await connected();
    world.link.events.onEvent(said("item_1", "What is the capital of France?"));
    world.link.events.onEvent(event("response.output_audio_transcript.delta", { item_id: "item_2", delta: "Paris." }));
    world.next = ["call-gone"];
    world.link.events.onClosed("failed", false);
    await vi.advanceTimersByTimeAsync(0);
    expect(world.asked).toEqual([null, "rtc_1", null]);
    world.link.events.onEvent(created());
    const items = world.link.sent.filter((sent) => sent.type === "conversation.item.create");
    expect(items.map(({ item }) => item)).toEqual([
      { type: "message", id: "item_1", role: "user", content: [{ type: "input_text", text: "What is the capital of France?" }] },
      { type: "message", id: "item_2", role: "assistant", content: [{ type: "output_text", text: "Paris." }] },
    ]);
  });

  it("is tried for two minutes, ever more rarely", async () => {
    const { world, talk } = await connected();
    world.next = Array.from({ length: 200 }, () => new Trouble("unreachable"));
    world.link.events.onClosed("failed", false);
    await vi.advanceTimersByTimeAsync(115_000);
    expect(talk.state).toBe("reconnecting");
    const tries = world.asked.length;
    expect(tries).toBeGreaterThan(15);
    expect(tries).toBeLessThan(40);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(talk.state).toBe("error");
    expect(talk.trouble?.code).toBe("lost");
    expect(talk.canContinue).toBe(false); // nothing was said
  });

  it("that ends at once each time does not come back at once each time", async () => {
    const { world } = await connected();
    for (let i = 0; i < 5; i++) {
      world.link.events.onClosed("1013", false);
      await vi.advanceTimersByTimeAsync(200);
    }
    expect(world.links.length).toBeLessThan(5);
  });

  it("is noticed when nothing answers, whatever the browser believes", async () => {
    const { world } = await connected();
    const ping = async (ms: number) => {
      await vi.advanceTimersByTimeAsync(ms);
      world.link.events.onEvent(event("voicestack.clock.pong", { client_ms: Date.now(), server_ms: 1 }));
    };
    for (let i = 0; i < 10; i++) await ping(1_500);
    expect(world.link.nRevivals).toBe(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(world.link.nRevivals).toBe(1);
  });

  it("that the server ended is over", async () => {
    const { world, talk } = await connected();
    world.link.events.onClosed("The session was ended.", true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(talk.state).toBe("error");
    expect(talk.trouble?.code).toBe("over");
    expect(world.asked).toHaveLength(1);
  });

  it("tells nothing any more", async () => {
    const { world, talk } = await connected();
    const old = world.link;
    old.events.onClosed("failed", false);
    await vi.advanceTimersByTimeAsync(0);
    old.events.onEvent(said("item_9", "late"));
    old.events.onClosed("failed", false);
    expect(talk.record.lines).toEqual([]);
    expect(world.links).toHaveLength(2);
  });

  it("that shakes shows as such, and comes back", async () => {
    const { world, talk } = await connected();
    world.link.events.onShaky(true);
    expect(talk.state).toBe("reconnecting");
    world.link.events.onShaky(false);
    expect(talk.state).toBe("listening");
  });
});

describe("a page that is loaded again", () => {
  it("goes on with the call and its captions", async () => {
    const { world } = await connected();
    world.link.events.onEvent(said("item_1", "Hello"));
    world.link.events.onEvent(done("resp_1"));
    const again = talking(world);
    expect(again.talk.canContinue).toBe(true);
    expect(again.talk.record.lines.map(({ text }) => text)).toEqual(["Hello"]);
    await again.talk.start();
    expect(world.asked.at(-1)).toBe("rtc_1");
  });

  it("after the end finds nothing", async () => {
    const { world, talk } = await connected();
    world.link.events.onEvent(said("item_1", "Hello"));
    talk.end();
    expect(world.hungUp).toEqual(["rtc_1"]);
    expect(world.kept).toBeNull();
    expect(talk.state).toBe("ended");
    talk.save();
    expect(world.kept).toBeNull();
    await talk.start();
    expect(talk.record.lines).toEqual([]);
    expect(world.asked.at(-1)).toBeNull();
  });
});

describe("typing", () => {
  it("stops the agent, and asks when the stopped response is done", async () => {
    const { world, talk } = await connected();
    const { link } = world;
    link.events.onEvent(responding("resp_1"));
    talk.say("Stop.");
    expect(link.nHushes).toBe(1);
    expect(link.types().at(-1)).toBe("conversation.item.create");
    link.events.onEvent(done("resp_1", "cancelled"));
    expect(link.types().at(-1)).toBe("response.create");
  });
});

describe("push-to-talk", () => {
  it("sends what is said while it is held, and asks for an answer", async () => {
    const { world, talk } = await connected(undefined, "push-to-talk");
    const { link } = world;
    expect(link.isOpen).toBe(false);
    talk.press();
    expect(link.isOpen).toBe(true);
    expect(talk.state).toBe("listening");
    await vi.advanceTimersByTimeAsync(1_000);
    const released = talk.release();
    expect(link.isOpen).toBe(true); // the last word is still on its way
    await vi.advanceTimersByTimeAsync(200);
    await released;
    expect(link.isOpen).toBe(false);
    expect(link.types()).toEqual(["session.update", "input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]);
    expect(talk.state).toBe("thinking");
  });

  it("held too briefly sends nothing, and says so", async () => {
    const { world, talk, notices } = await connected(undefined, "push-to-talk");
    talk.press();
    await vi.advanceTimersByTimeAsync(100);
    await talk.release();
    expect(world.link.types()).not.toContain("input_audio_buffer.commit");
    expect(notices).toEqual(["too-short"]);
  });

  it("can be chosen, and left, while the call goes on", async () => {
    const { world, talk } = await connected();
    talk.setMode("push-to-talk");
    expect(world.link.isOpen).toBe(false);
    expect(world.link.sent.at(-1)).toMatchObject({ session: { audio: { input: { turn_detection: null } } } });
    talk.setMode("hands-free");
    expect(world.link.isOpen).toBe(true);
  });
});

describe("what was heard", () => {
  it("is told in the server's time, once it has come true", async () => {
    const { world } = await connected();
    const { link } = world;
    const nowMs = Date.now();
    link.events.onEvent(event("voicestack.clock.pong", { client_ms: nowMs - 10, server_ms: 5_000 }));
    link.events.onHeard("resp_1", nowMs + 30);
    expect(link.types()).not.toContain("voicestack.audio.heard");
    await vi.advanceTimersByTimeAsync(32);
    expect(link.sent.find(({ type }) => type === "voicestack.audio.heard")).toMatchObject({
      response_id: "resp_1",
      heard_ms: 5_035,
      error_ms: 5,
    });
  });

  it("is not told to a server that knows no clock", async () => {
    const { world, notices } = await connected();
    const { link } = world;
    await vi.advanceTimersByTimeAsync(0);
    const ping = link.sent.find(({ type }) => type === "voicestack.clock.ping")!;
    link.events.onEvent(event("error", { error: { type: "invalid_request_error", code: "invalid_value", message: "", event_id: ping.event_id } }));
    link.events.onHeard("resp_1", Date.now());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(link.types()).not.toContain("voicestack.audio.heard");
    expect(link.nRevivals).toBe(0);
    expect(notices).toEqual([]);
  });
});
