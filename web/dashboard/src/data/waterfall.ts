// The geometry of a turn's waterfall, and of the stack of what was waited for. In fractions of the width, 0 to 1.
import type { Span, StageFigures, TurnRow } from "./wire";
import { STAGES } from "./wire";

export interface Bar {
  stage: string;
  start: number;
  hidden: number;
  exposed: number;
  hiddenMs: number;
  exposedMs: number;
}

export interface Waterfall {
  fromMs: number;
  toMs: number;
  bars: Bar[];
  budget: number;
  answer: number | null;
  ticks: { at: number; ms: number }[];
}

export const exposedMs = (span: Span) => Math.max(0, span.end_ms - span.start_ms - span.hidden_ms);

/** The hidden part of a span is its beginning: what passed before the caller was known to have finished. */
export function waterfallOf(turn: TurnRow): Waterfall {
  const fromMs = Math.min(0, ...turn.spans.map((span) => span.start_ms));
  const ends = [turn.budget_ms, turn.response_ms ?? 0, turn.silence_ms ?? 0, ...turn.spans.map((span) => span.end_ms)];
  const toMs = fromMs + (Math.max(...ends) - fromMs) * 1.04;
  const place = (ms: number) => (ms - fromMs) / (toMs - fromMs);
  return {
    fromMs,
    toMs,
    bars: turn.spans.map((span) => ({
      stage: span.stage,
      start: place(span.start_ms),
      hidden: span.hidden_ms / (toMs - fromMs),
      exposed: exposedMs(span) / (toMs - fromMs),
      hiddenMs: span.hidden_ms,
      exposedMs: exposedMs(span),
    })),
    budget: place(turn.budget_ms),
    answer: turn.response_ms === null ? null : place(turn.response_ms),
    ticks: ticksOf(fromMs, toMs).map((ms) => ({ at: place(ms), ms })),
  };
}

/** Round numbers, four to eight of them. */
export function ticksOf(fromMs: number, toMs: number): number[] {
  const rough = (toMs - fromMs) / 5;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * size).find((one) => one >= rough * 0.75) ?? size * 10;
  const out: number[] = [];
  for (let at = Math.ceil(fromMs / step) * step; at <= toMs; at += step) out.push(at || 0);
  return out;
}

export interface Stack {
  name: string;
  totalMs: number | null;
  exposed: { stage: string; ms: number }[];
  hidden: { stage: string; ms: number }[];
}

/**
 * The critical path: each moment up to the answer belongs to one stage, so that the parts add up to the wait.
 *
 * Walks back from the answer. Where stages overlap, the moment belongs to the one that began last: the earlier one was not what it
 * took. Moments without a stage at work are `waiting`.
 */
export function pathOf(turn: TurnRow): { stage: string; ms: number }[] {
  const open = turn.spans
    .map((span) => ({ stage: span.stage, from: Math.max(0, span.start_ms + span.hidden_ms), to: span.end_ms }))
    .filter((one) => one.to > one.from);
  const path: { stage: string; ms: number }[] = [];
  let at = turn.response_ms ?? 0;
  while (at > 0.01) {
    const working = open.filter((one) => one.from < at && one.to >= at - 0.01);
    const last = working.sort((a, b) => b.from - a.from)[0];
    const from = last?.from ?? Math.max(0, ...open.filter((one) => one.to < at).map((one) => one.to));
    path.unshift({ stage: last?.stage ?? "waiting", ms: at - from });
    at = from;
  }
  return path;
}

/** What was waited for in a turn, stage by stage in order, and what was hidden. */
export function stackOf(turn: TurnRow): Stack {
  const path = pathOf(turn);
  const exposed = [...STAGES, "waiting"]
    .map((stage) => ({ stage, ms: sumMs(path.filter((one) => one.stage === stage)) }))
    .filter((one) => one.ms > 0);
  const hidden = turn.spans.map((span) => ({ stage: span.stage, ms: span.hidden_ms })).filter((one) => one.ms > 0);
  return { name: turn.id, totalMs: turn.response_ms, exposed, hidden };
}

/** Typical and slow, from the figures of all turns. The parts of percentiles do not add up to one of the whole. */
export function stacksOf(stages: StageFigures[], totals: { p50: number | null; p95: number | null }): Stack[] {
  const ordered = STAGES.map((name) => stages.find((one) => one.stage === name)).filter((one) => one !== undefined);
  const part = (pick: (one: StageFigures) => number | null) =>
    ordered.map((one) => ({ stage: one.stage, ms: pick(one) ?? 0 })).filter((one) => one.ms > 0);
  const hidden = part((one) => one.hidden_p50);
  return [
    { name: "p50", totalMs: totals.p50, exposed: part((one) => one.exposed_p50), hidden },
    { name: "p95", totalMs: totals.p95, exposed: part((one) => one.exposed_p95), hidden: [] },
  ];
}

export const sumMs = (parts: { ms: number }[]) => parts.reduce((sum, one) => sum + one.ms, 0);

/** The value below which such a part of the values lies, between neighbours in a straight line; null of none. */
export function quantile(values: number[], p: number): number | null {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * p;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/** Typical and slow stage by stage, of turns that somebody has chosen. */
export function stacksOfTurns(turns: TurnRow[]): Stack[] {
  const measured = turns.filter((turn) => turn.response_ms !== null && turn.spans.length > 0);
  const all = measured.map(stackOf);
  const at = (kind: "exposed" | "hidden", p: number) =>
    [...STAGES, "waiting"]
      .map((stage) => ({ stage, ms: quantile(all.map((one) => one[kind].find((part) => part.stage === stage)?.ms ?? 0), p) ?? 0 }))
      .filter((one) => one.ms > 0);
  return [0.5, 0.95].map((p) => ({
    name: p === 0.5 ? "p50" : "p95",
    totalMs: quantile(measured.map((turn) => turn.response_ms!), p),
    exposed: at("exposed", p),
    hidden: at("hidden", p),
  }));
}
