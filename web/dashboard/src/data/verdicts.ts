// The overview in sentences: what an operator would say who has looked at all the figures.
import { count, factor, lasting, many, ms, percent } from "./format";
import type { Capacity, Comparison, Overview, Slo } from "./wire";
import { stageWord } from "./words";

export type Tone = "good" | "warn" | "bad" | "plain";
export interface Said {
  tone: Tone;
  text: string;
}

/** The first line of the overview. */
export function headline(overview: Overview): Said {
  const { response, budget_ms: budget } = overview;
  if (!overview.n_turns) return { tone: "plain", text: "No turns in this period." };
  if (response.p95 === null || budget === null) return { tone: "plain", text: "No measured turn in this period." };
  const over = response.p95 - budget;
  const text = `19 of 20 callers waited ${ms(response.p95)} or less.`;
  if (over <= 0) return { tone: "good", text: `${text} That is within the budget of ${ms(budget)}.` };
  return { tone: over > budget / 2 ? "bad" : "warn", text: `${text} That is ${ms(over)} over the budget of ${ms(budget)}.` };
}

/** Which stage to look at first. */
export function blame(overview: Overview): string {
  const worst = [...overview.stages].sort((a, b) => b.blamed - a.blamed)[0];
  const all = overview.stages.reduce((sum, one) => sum + one.blamed, 0);
  if (!worst || !all) return "No turn was late.";
  const { name } = stageWord(worst.stage);
  return `“${name}” went furthest beyond its share of the budget in ${percent(worst.blamed / all)} of the late turns.`;
}

/** A burn rate in words. 1 is as fast as the objective allows. */
export function burnSaid(burn: number | null): Said {
  if (burn === null) return { tone: "plain", text: "no turns to judge" };
  if (burn <= 0) return { tone: "good", text: "no turn too late" };
  if (burn <= 1) return { tone: "good", text: "the allowance lasts" };
  if (burn < 6) return { tone: "warn", text: "too fast: it will not last" };
  return { tone: "bad", text: burn < 14 ? "much too fast" : "far too fast: act now" };
}

/** What the objective is. */
export function objectiveSaid(slo: Slo): string {
  const allowed = Math.round((1 - slo.objective) * 10_000) / 10;
  return `Goal: ${percent(slo.objective)} of turns in time, so ${plainCount(allowed)} of 1,000 may be late.`;
}

const plainCount = (value: number) => (Number.isInteger(value) ? count(value) : String(value));

export const windowName = (seconds: number) => `last ${lasting(seconds * 1000)}`;

/** Whether there is room for more. */
export function admission(capacity: Capacity): Said {
  if (!capacity.admitting) {
    return { tone: "bad", text: `New calls are turned away${capacity.reason ? `: ${capacity.reason.replaceAll("_", " ")}` : ""}.` };
  }
  const room = capacity.headroom_sessions;
  if (room === null) return { tone: "good", text: "New calls are taken." };
  return { tone: room < 1 ? "warn" : "good", text: `New calls are taken; there is room for about ${many(room, "more call", "more calls")}.` };
}

/** What a comparison found. */
export function compared(found: Comparison): Said {
  if (!found.a.n || !found.b.n) return { tone: "plain", text: "One of the two sides has no turns." };
  const ratio = found.ratio.p95;
  const how = ratio
    ? ` The slow turns of B took ${factor(ratio.value)} as long as those of A (with 95 % certainty between ${factor(ratio.low)} and ${factor(ratio.high)}).`
    : "";
  if (found.verdict === "better") return { tone: "good", text: `B is faster than A.${how}` };
  if (found.verdict === "worse") return { tone: "bad", text: `B is slower than A.${how}` };
  if (found.verdict === "same") return { tone: "plain", text: `No difference that could not be chance.${how}` };
  return { tone: "plain", text: `Too few turns to tell.${how}` };
}
