import { describe, expect, it } from "vitest";
import * as format from "../src/data/format";
import { admission, blame, burnSaid, compared, headline, objectiveSaid } from "../src/data/verdicts";
import type { Capacity, Comparison, StageFigures } from "../src/data/wire";
import { alarmName, reasonWords, rungWord, valueName } from "../src/data/words";
import { overview } from "./samples";

describe("figures", () => {
  it("have a unit that fits their size", () => {
    const read = [0, 3.21, 9.96, 742.4, 999.6, 1_540, 59_990, 60_000, 125_000].map(format.ms);
    expect(read).toEqual(["0 ms", "3.2 ms", "10 ms", "742 ms", "1 s", "1.54 s", "59.99 s", "1 min", "2 min 5 s"]);
    expect(format.ms(-12.3)).toBe("-12 ms");
    expect([null, undefined, Number.NaN].map(format.ms)).toEqual(["–", "–", "–"]);
  });

  it("say how long something lasts", () => {
    const read = [5_000, 300_000, 5_400_000, 86_400_000, 604_800_000].map(format.lasting);
    expect(read).toEqual(["5 s", "5 min", "1 h 30 min", "1 day", "7 days"]);
  });

  it("do not round to all or nothing", () => {
    expect([0, 0.0004, 0.123, 0.9996, 1].map(format.percent)).toEqual(["0 %", "under 0.1 %", "12.3 %", "over 99.9 %", "100 %"]);
  });

  it("are counted in words", () => {
    expect(format.many(1, "turn")).toBe("1 turn");
    expect(format.many(12_408, "turn")).toBe("12,408 turns");
    expect(format.times(14.44)).toBe("14.4×");
    expect(format.factor(1)).toBe("1.00×");
  });

  it("are instants in the reader's zone", () => {
    const at = new Date(2026, 10, 8, 4, 5, 9).getTime();
    expect([format.clock(at), format.minute(at), format.second(at)]).toEqual(["04:05:09", "2026-11-08 04:05", "2026-11-08 04:05:09"]);
    expect(Date.parse(format.localInput(at))).toBe(at - 9_000);
    expect([600e3, 7_200e3, 7 * 86_400e3].map((length) => format.tick(at, length))).toEqual(["04:05:09", "04:05", "11-08"]);
  });
});

describe("sentences", () => {
  it("say whether the budget was kept", () => {
    expect(headline(overview())).toEqual({ tone: "good", text: "19 of 20 callers waited 700 ms or less. That is within the budget of 800 ms." });
    const late = overview({ response: { n: 9, p50: 700, p95: 900, p99: 990, max: 1_000 } });
    expect(headline(late)).toEqual({ tone: "warn", text: "19 of 20 callers waited 900 ms or less. That is 100 ms over the budget of 800 ms." });
    expect(headline(overview({ n_turns: 0 })).text).toBe("No turns in this period.");
  });

  it("name the stage to blame for the late turns", () => {
    const stage = (name: string, blamed: number) => ({ stage: name, blamed }) as StageFigures;
    expect(blame(overview({ stages: [stage("llm", 1), stage("endpoint", 3)] }))).toMatch(/“Noticing the end” .* 75 % of the late turns/);
    expect(blame(overview({ stages: [stage("llm", 0)] }))).toBe("No turn was late.");
  });

  it("say what a burn rate means", () => {
    expect([null, 0, 1, 2, 8, 20].map((burn) => burnSaid(burn).tone)).toEqual(["plain", "good", "good", "warn", "bad", "bad"]);
    expect(objectiveSaid({ objective: 0.995, windows: [], budget_left_ratio: 1, alerts: [] })).toBe("Goal: 99.5 % of turns in time, so 5 of 1,000 may be late.");
    expect(alarmName("page_1h")).toBe("Act now (over 1h)");
  });

  it("say whether there is room", () => {
    const capacity = { admitting: true, reason: null, headroom_sessions: 1 } as Capacity;
    expect(admission(capacity).text).toBe("New calls are taken; there is room for about 1 more call.");
    expect(admission({ ...capacity, admitting: false, reason: "predicted_p95" })).toEqual({ tone: "bad", text: "New calls are turned away: predicted p95." });
  });

  it("say what a comparison found", () => {
    const found = { a: { n: 5 }, b: { n: 5 }, ratio: { p50: null, p95: { value: 1.2, low: 1.1, high: 1.3 } }, verdict: "worse" } as Comparison;
    expect(compared(found).text).toMatch(/^B is slower than A\. .* 1\.20× .* between 1\.10× and 1\.30×/);
    expect(compared({ ...found, b: { ...found.b, n: 0 } }).text).toBe("One of the two sides has no turns.");
  });

  it("never show a word of the wire that has a plain one, and show unknown ones as they are", () => {
    expect(rungWord("hedge").name).toBe("Asked a second replica");
    expect(rungWord("new_rung").name).toBe("new rung");
    expect(reasonWords("soft_end")).toBe("the caller paused");
    expect(valueName("cold", "1")).toBe("Cold only");
    expect(valueName("tenant", "acme")).toBe("acme");
  });
});
