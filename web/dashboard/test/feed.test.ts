import { describe, expect, it } from "vitest";
import { heard, MAX_TURNS, NOTHING_YET, withEarlier } from "../src/data/live";
import { appended, NO_PAGES, refreshed, windowOf } from "../src/data/pages";
import { AskFailed } from "../src/net/ask";
import { backoffMs, Feed, SILENT_MS, type FeedState } from "../src/net/feed";
import { SseParser, type SseEvent } from "../src/net/sse";
import { turn } from "./samples";

const STREAM = '\uFEFF: hello\n\nevent: turn\ndata: {"a":\ndata: 1}\n\ndata:no space\r\ndata: more\r\n\r\nevent: empty\n\nid: 7\rdata: é\r\r';
const EVENTS = [{ type: "turn", data: '{"a":\n1}' }, { type: "message", data: "no space\nmore" }, { type: "message", data: "é" }];

describe("server-sent events", () => {
  it("are read however the stream is cut", () => {
    for (let size = 1; size <= STREAM.length; size++) {
      const parser = new SseParser();
      const got: SseEvent[] = [];
      for (let at = 0; at < STREAM.length; at += size) got.push(...parser.push(STREAM.slice(at, at + size)));
      got.push(...parser.push("\n")); // decides what the last carriage return was
      expect(got, `pieces of ${size}`).toEqual(EVENTS);
    }
  });

  it("end with an empty line only", () => {
    const parser = new SseParser();
    expect(parser.push("data: half")).toEqual([]);
    expect(parser.push("\n")).toEqual([]);
    expect(parser.push("\n")).toEqual([{ type: "message", data: "half" }]);
  });
});

describe("what the feed has told", () => {
  const told = (live: typeof NOTHING_YET, id: string) => heard(live, "turn", JSON.stringify(turn({ id })));

  it("has the newest turn first, each once", () => {
    const live = ["a", "b", "a"].reduce(told, NOTHING_YET);
    expect(live.turns.map((one) => one.id)).toEqual(["a", "b"]);
    expect(live.nSeen).toBe(2);
    expect(withEarlier(live.turns, [turn({ id: "b" }), turn({ id: "c" })]).map((one) => one.id)).toEqual(["a", "b", "c"]);
  });

  it("does not grow for ever", () => {
    const live = Array.from({ length: MAX_TURNS + 50 }, (_, i) => `s.${i}`).reduce(told, NOTHING_YET);
    expect(live.turns).toHaveLength(MAX_TURNS);
    expect(live.nSeen).toBe(MAX_TURNS + 50);
  });

  it("takes what it knows and survives the rest", () => {
    const live = heard(NOTHING_YET, "live", '{"at": 5, "sessions": []}');
    expect(live.now).toEqual({ at: 5, sessions: [] });
    for (const [type, data] of [["turn", "{"], ["turn", "null"], ["new", "{}"]] as const) expect(heard(live, type, data)).toBe(live);
  });
});

describe("a long list", () => {
  const page = (ids: string[], next: string | null, n_total = 9) => ({ turns: ids.map((id) => turn({ id })), next, n_total });
  const ids = (pages: { rows: { id: string }[] }) => pages.rows.map((one) => one.id).join("");

  it("grows at its end, and at its top", () => {
    let pages = refreshed(NO_PAGES, page(["d", "c"], "c")).pages;
    pages = appended(pages, page(["c", "b", "a"], null));
    expect([ids(pages), pages.next, pages.nTotal]).toEqual(["dcba", null, 4]);
    const { pages: next, nNew } = refreshed(pages, page(["f", "e", "d"], "d", 11));
    expect([ids(next), nNew, next.next, next.nTotal]).toEqual(["fedcba", 2, null, 6]);
  });

  it("counts what is to come until all is there", () => {
    const pages = appended(refreshed(NO_PAGES, page(["d"], "d", 7)).pages, page(["c"], "c", 6));
    expect(pages.nTotal).toBe(6);
    expect(appended(pages, page(["b"], null, 6)).nTotal).toBe(3);
  });

  it("begins anew when too much has happened", () => {
    const { pages, nNew } = refreshed(refreshed(NO_PAGES, page(["b", "a"], "a")).pages, page(["z", "y"], "y"));
    expect([ids(pages), nNew, pages.next]).toEqual(["zy", null, "y"]);
  });

  it("draws what is in sight, and never more than there is", () => {
    expect(windowOf(0, 400, 40, 10_000)).toEqual({ from: 0, to: 25 });
    const { from, to } = windowOf(200_000, 400, 40, 10_000);
    expect(from).toBeLessThanOrEqual(5_000);
    expect(to).toBeGreaterThanOrEqual(5_010);
    expect(to - from).toBeLessThan(45);
    expect(windowOf(1e9, 400, 40, 3)).toEqual({ from: 3, to: 3 });
  });
});

/** A feed whose server and clock are in the test's hand. */
function newFeed(answers: (() => Response | AskFailed)[]) {
  const states: FeedState[] = [];
  const events: SseEvent[] = [];
  const waits: { ms: number; run: () => void }[] = [];
  let nOpened = 0;
  const feed = new Feed({
    open: async () => {
      const answer = (answers[nOpened++] ?? answers.at(-1)!)();
      if (answer instanceof AskFailed) throw answer;
      return answer;
    },
    onEvent: (event) => events.push(event),
    onState: (state) => states.push(state),
    wait: (ms, run) => {
      const one = { ms, run };
      waits.push(one);
      return () => void waits.splice(waits.indexOf(one) >>> 0, 1);
    },
    random: () => 0.5,
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve));
  return { feed, states, events, waits, settle, opened: () => nOpened };
}

const stream = (text: string) => () => new Response(text);
const gone = () => new AskFailed(0, "unreachable", "");

describe("the feed", () => {
  it("tells what comes, and comes back when it ends", async () => {
    const { feed, states, events, waits, settle, opened } = newFeed([stream("data: 1\n\n"), stream("data: 2\n\n")]);
    feed.start();
    feed.start(); // once is enough
    while (!states.includes("lost")) await settle();
    expect(events.map((one) => one.data)).toEqual(["1"]);
    expect(states).toEqual(["connecting", "live", "lost"]);
    expect(waits.map((one) => one.ms)).toEqual([500]);
    waits[0]!.run();
    while (events.length < 2) await settle();
    expect(opened()).toBe(2);
  });

  it("waits longer each time that it fails", async () => {
    const { feed, states, waits, settle } = newFeed([gone]);
    feed.start();
    for (let n = 1; n <= 3; n++) {
      while (states.filter((one) => one === "lost").length < n) await settle();
      expect(waits.at(-1)!.ms).toBe(500 * 2 ** (n - 1));
      waits.at(-1)!.run();
    }
    expect(backoffMs(50, 0.5)).toBe(15_000);
  });

  it("does not insist where it is refused", async () => {
    const { feed, states, waits, settle } = newFeed([() => new AskFailed(401, "invalid_api_key", "")]);
    feed.start();
    while (!states.includes("refused")) await settle();
    expect(waits).toEqual([]);
  });

  it("hangs up when nobody looks, and says nothing of it later", async () => {
    const never = () => new Response(new ReadableStream());
    const { feed, states, waits, settle, opened } = newFeed([never]);
    feed.start();
    while (!states.includes("live")) await settle();
    expect(waits.map((one) => one.ms)).toEqual([SILENT_MS]);
    feed.rest();
    await settle();
    expect(states).toEqual(["connecting", "live", "resting"]);
    expect(waits).toEqual([]);
    feed.start();
    while (opened() < 2) await settle();
    feed.stop();
  });
});
