// What the charts show, as options of ECharts. Tooltips are drawn as text: no markup, no inline styles.
import { count, ms, percent, second, tick } from "../data/format";
import type { Heat, Interruptions, Step } from "../data/wire";
import type { Option } from "./chart";
import type { Colours } from "./colours";

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

function tooltip(colours: Colours) {
  return {
    renderMode: "richText" as const,
    confine: true,
    backgroundColor: colours.paper,
    borderColor: colours.line,
    borderWidth: 1,
    padding: [8, 10],
    textStyle: { color: colours.text, fontSize: 12, fontFamily: FONT },
  };
}

const axisText = (colours: Colours) => ({ color: colours.muted, fontSize: 11, fontFamily: FONT });

function times(at: number[], colours: Colours, width: number) {
  const length = (at.at(-1) ?? 0) - (at[0] ?? 0);
  const every = Math.max(1, Math.ceil(at.length / Math.max(2, Math.floor(width / 90))));
  return {
    type: "category" as const,
    data: at.map(String),
    boundaryGap: true,
    axisLine: { lineStyle: { color: colours.line } },
    axisTick: { show: false },
    axisLabel: { ...axisText(colours), interval: (i: number) => i % every === 0, formatter: (one: string) => tick(Number(one), length) },
  };
}

function upwards(colours: Colours, name: (value: number) => string) {
  return {
    type: "value" as const,
    splitNumber: 3,
    axisLabel: { ...axisText(colours), formatter: name },
    splitLine: { lineStyle: { color: colours.line } },
  };
}

/** A value that is above almost all others would press the rest flat: the axis ends a little above the second. */
export function ceiling(values: (number | null)[], budget: number | null): number {
  const known = values.filter((one) => one !== null).sort((a, b) => a - b);
  const high = known[Math.floor((known.length - 1) * 0.97)] ?? 0;
  const wanted = Math.max(high * 1.2, (budget ?? 0) * 1.25, 1);
  const size = 10 ** Math.floor(Math.log10(wanted));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((one) => one * size).find((one) => one >= wanted) ?? wanted;
}

/** What callers waited, over time, against the budget; below it how many turns were in time. */
export function waitOption(series: Step[], budget: number | null, colours: Colours, width: number): Option {
  const at = series.map((one) => one.at);
  const line = (name: "p50" | "p95" | "p99", title: string, type: "solid" | "dashed" | "dotted") => ({
    ...{ name: title, type: "line" as const, sampling: "lttb" as const, symbolSize: 5, showSymbol: series.length < 40 },
    data: series.map((one) => one[name]),
    connectNulls: false,
    itemStyle: { color: colours[name] },
    lineStyle: { color: colours[name], width: 2, type },
  });
  const bar = (name: "met" | "declared" | "missed", colour: string) => ({
    ...{ name, type: "bar" as const, stack: "turns", xAxisIndex: 1, yAxisIndex: 1, barCategoryGap: "15%" },
    data: series.map((one) => one[name]),
    itemStyle: { color: colour },
  });
  const marked = budget === null ? {} : { markLine: budgetLine(budget, colours) };
  const left = 56;
  return {
    grid: [
      { left, right: 12, top: 14, height: "58%" },
      { left, right: 12, top: "76%", bottom: 24 },
    ],
    tooltip: { ...tooltip(colours), trigger: "axis", formatter: (found: unknown) => stepText(found, series) },
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    xAxis: [
      { ...times(at, colours, width), axisLabel: { show: false } },
      { ...times(at, colours, width), gridIndex: 1 },
    ],
    yAxis: [
      { ...upwards(colours, ms), max: ceiling(series.flatMap((one) => [one.p95, one.p99]), budget) },
      { ...upwards(colours, count), gridIndex: 1, splitNumber: 1, minInterval: 1 },
    ],
    series: [
      { ...line("p50", "p50", "solid"), ...marked },
      line("p95", "p95", "solid"),
      line("p99", "p99", "dashed"),
      bar("met", colours.good),
      bar("declared", colours.warn),
      bar("missed", colours.bad),
    ],
  };
}

function budgetLine(budget: number, colours: Colours) {
  return {
    silent: true,
    symbol: "none",
    data: [{ yAxis: budget }],
    lineStyle: { color: colours.text, type: "dashed" as const, width: 1.5 },
    label: { show: false }, // the legend says it: here it would hide the lines
  };
}

function indexIn(found: unknown): number {
  const first = (Array.isArray(found) ? found[0] : found) as { dataIndex: number } | undefined;
  return first?.dataIndex ?? 0;
}

function stepText(found: unknown, series: Step[]): string {
  const step = series[indexIn(found)];
  if (!step) return "";
  return [
    second(step.at),
    `half waited up to ${ms(step.p50)}`,
    `19 of 20 up to ${ms(step.p95)}`,
    `99 of 100 up to ${ms(step.p99)}`,
    `${count(step.n)} turns: ${count(step.met)} in time, ${count(step.declared)} late and said so, ${count(step.missed)} missed`,
  ].join("\n");
}

/** How many turns took how long, over time. */
export function heatOption(heat: Heat, colours: Colours, width: number): Option {
  const { first, last } = usedRows(heat);
  const cells = heat.counts
    .flatMap((row, x) => row.map((n, y) => [x, y - first, n] as const))
    .filter(([, y, n]) => n > 0 && y >= 0 && y <= last - first);
  const most = Math.max(1, ...cells.map(([, , n]) => n));
  return {
    grid: { left: 72, right: 12, top: 10, bottom: 26 },
    tooltip: { ...tooltip(colours), formatter: (found: unknown) => heatText(found, heat, first) },
    xAxis: times(heat.at, colours, width),
    yAxis: {
      type: "category",
      data: heat.edges_ms.slice(first, last + 1).map((_, i) => edgeName(heat.edges_ms, first + i)),
      axisTick: { show: false },
      axisLine: { lineStyle: { color: colours.line } },
      axisLabel: { ...axisText(colours), interval: last - first > 18 ? 1 : 0 },
    },
    visualMap: {
      ...{ show: false, min: 0, max: most, type: "continuous" },
      inRange: { color: [colours["heat-0"], colours["heat-1"], colours["heat-2"], colours["heat-3"]] },
    },
    series: [{ type: "heatmap", data: cells.map((one) => [...one]), itemStyle: { borderColor: colours.paper, borderWidth: 1 }, progressive: 0 }],
  } as Option;
}

export function edgeName(edges: (number | null)[], i: number): string {
  const edge = edges[i];
  return edge === null || edge === undefined ? `> ${ms(edges[i - 1])}` : `≤ ${ms(edge)}`;
}

/** From the lowest row with turns to the highest, with one empty one around them. */
function usedRows(heat: Heat): { first: number; last: number } {
  const used = heat.edges_ms.map((_, y) => heat.counts.some((row) => (row[y] ?? 0) > 0));
  return { first: Math.max(0, used.indexOf(true) - 1), last: Math.min(used.length - 1, used.lastIndexOf(true) + 1) };
}

function heatText(found: unknown, heat: Heat, first: number): string {
  const [x, y, n] = ((found as { value?: number[] }).value ?? []) as [number, number, number];
  return `${second(heat.at[x] ?? 0)}\n${count(n)} ${n === 1 ? "turn" : "turns"} ${edgeName(heat.edges_ms, first + y)}`;
}

/** Turns that were interrupted, and those where the agent seems to have spoken too early. */
export function interruptionOption(series: Interruptions["series"], colours: Colours, width: number): Option {
  const bar = (name: string, data: number[], colour: string) => ({
    ...{ name, type: "bar" as const, barGap: "0%", data, itemStyle: { color: colour } },
  });
  return {
    grid: { left: 44, right: 12, top: 12, bottom: 24 },
    tooltip: {
      ...tooltip(colours),
      trigger: "axis",
      formatter: (found: unknown) => {
        const step = series[indexIn(found)];
        if (!step) return "";
        const part = step.n ? ` (${percent(step.cut_off / step.n)})` : "";
        return `${second(step.at)}\n${count(step.n)} turns\n${count(step.interrupted)} interrupted\n${count(step.cut_off)} begun too early${part}`;
      },
    },
    xAxis: times(series.map((one) => one.at), colours, width),
    yAxis: { ...upwards(colours, count), minInterval: 1 },
    series: [
      bar("interrupted", series.map((one) => one.interrupted), colours.quiet),
      bar("begun too early", series.map((one) => one.cut_off), colours.bad),
    ],
  };
}
