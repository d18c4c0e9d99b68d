import { describe, expect, it } from "vitest";
import { pathOf, quantile, stackOf, stacksOf, stacksOfTurns, sumMs, ticksOf, waterfallOf } from "../src/data/waterfall";
import type { StageFigures } from "../src/data/wire";
import { turn } from "./samples";

describe("a waterfall", () => {
  it("has everything on it, in fractions of its width", () => {
    const fall = waterfallOf(turn());
    expect(fall.fromMs).toBe(0);
    expect(fall.toMs).toBeCloseTo(832);
    expect(fall.budget).toBeCloseTo(800 / 832);
    expect(fall.answer).toBeCloseTo(700 / 832);
    const tts = fall.bars.find((bar) => bar.stage === "tts")!;
    expect([tts.start, tts.hidden, tts.exposed].map((one) => Math.round(one * 832))).toEqual([250, 250, 120]);
    for (const bar of fall.bars) expect(bar.start + bar.hidden + bar.exposed).toBeLessThanOrEqual(1);
  });

  it("begins before the end of speech where a stage does", () => {
    const early = turn({ spans: [{ stage: "llm", start_ms: -100, end_ms: 50, hidden_ms: 120 }] });
    expect(waterfallOf(early).bars[0]!.start).toBe(0);
    expect(waterfallOf(early).budget).toBeCloseTo(900 / 936);
  });

  it("has four to eight round ticks", () => {
    expect(ticksOf(0, 832)).toEqual([0, 200, 400, 600, 800]);
    for (const [from, to] of [[0, 12], [-130, 2_345], [0, 61_000]] as const) {
      expect(ticksOf(from, to).length).toBeGreaterThanOrEqual(3);
      expect(ticksOf(from, to).length).toBeLessThanOrEqual(9);
    }
  });
});

describe("the critical path", () => {
  it("adds up to the wait, with what overlaps counted once", () => {
    const path = pathOf(turn());
    expect(path.map((one) => [one.stage, Math.round(one.ms)])).toEqual([["endpoint", 500], ["tts", 120], ["waiting", 30], ["send", 50]]);
    expect(sumMs(path)).toBeCloseTo(700);
  });

  it("gives a moment of two stages to the one that began last", () => {
    const spans = [
      { stage: "endpoint", start_ms: 0, end_ms: 600, hidden_ms: 0 },
      { stage: "asr", start_ms: 600, end_ms: 700, hidden_ms: 0 },
      { stage: "llm", start_ms: 640, end_ms: 730, hidden_ms: 0 },
      { stage: "tts", start_ms: 730, end_ms: 800, hidden_ms: 0 },
    ];
    expect(stackOf(turn({ spans, response_ms: 800 })).exposed).toEqual([
      ...[{ stage: "endpoint", ms: 600 }, { stage: "asr", ms: 40 }, { stage: "llm", ms: 90 }, { stage: "tts", ms: 70 }],
    ]);
  });

  it("gives it to that one even where the other ends later", () => {
    const spans = [
      { stage: "endpoint", start_ms: 0, end_ms: 600, hidden_ms: 0 },
      { stage: "asr", start_ms: 600, end_ms: 720, hidden_ms: 0 },
      { stage: "llm", start_ms: 610, end_ms: 680, hidden_ms: 0 },
      { stage: "tts", start_ms: 680, end_ms: 750, hidden_ms: 0 },
    ];
    expect(pathOf(turn({ spans, response_ms: 750 })).map((one) => one.ms)).toEqual([600, 10, 70, 70]);
  });

  it("is empty without an answer, and one wait without stages", () => {
    expect(pathOf(turn({ response_ms: null }))).toEqual([]);
    expect(pathOf(turn({ spans: [] }))).toEqual([{ stage: "waiting", ms: 700 }]);
  });

  it("ends, whatever the spans are", () => {
    const odd = turn({ spans: [{ stage: "llm", start_ms: 699.999, end_ms: 700.001, hidden_ms: 0 }, { stage: "tts", start_ms: 10, end_ms: 5, hidden_ms: 9 }] });
    expect(sumMs(pathOf(odd))).toBeCloseTo(700);
  });
});

describe("stacks", () => {
  it("show hidden time apart", () => {
    expect(stackOf(turn()).hidden).toEqual([{ stage: "llm", ms: 150 }, { stage: "tts", ms: 250 }]);
  });

  it("are in the order of the stages", () => {
    const figures = (stage: string, p50: number) => ({ stage, exposed_p50: p50, exposed_p95: 2 * p50, hidden_p50: 1 }) as StageFigures;
    const [typical, slow] = stacksOf([figures("llm", 5), figures("endpoint", 7)], { p50: 11, p95: 20 });
    expect(typical!.exposed.map((one) => one.stage)).toEqual(["endpoint", "llm"]);
    expect(slow!.exposed.map((one) => one.ms)).toEqual([14, 10]);
  });

  it("are made of turns that are chosen", () => {
    const [half, slow] = stacksOfTurns([turn(), turn({ id: "s.2", response_ms: 900 }), turn({ id: "s.3", response_ms: null })]);
    expect([half!.totalMs, slow!.totalMs]).toEqual([800, 890]);
    expect(stacksOfTurns([])[0]!.totalMs).toBeNull();
  });

  it("have quantiles between neighbours", () => {
    expect([quantile([], 0.5), quantile([3], 0.95), quantile([1, 2, 3, 4], 0.5)]).toEqual([null, 3, 2.5]);
  });
});
