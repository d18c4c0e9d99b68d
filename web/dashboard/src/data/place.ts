// Where in the dashboard one is. All of it is in the address, so that a link shows what its sender saw.
import { OUTCOMES, RUNGS, STAGES, VERDICTS } from "./wire";

export const VIEWS = [
  ...["overview", "turns", "live", "heat", "interruptions", "replicas", "capacity", "compare"],
] as const;
export type View = (typeof VIEWS)[number];

export const FILTERS = [
  ...["tenant", "route", "region", "profile", "release", "verdict", "outcome", "rung", "stage", "replica", "cold"],
] as const;
export type Filter = (typeof FILTERS)[number];
export type Filters = { [name: string]: string };

/** Filters that the server knows only some values of. It refuses others. */
const CLOSED: { [name: string]: readonly string[] } = {
  verdict: VERDICTS,
  outcome: OUTCOMES,
  rung: RUNGS,
  stage: STAGES,
  cold: ["0", "1"],
};

export const LASTS = { "5m": 300e3, "15m": 900e3, "1h": 3_600e3, "6h": 21_600e3, "24h": 86_400e3, "7d": 604_800e3 } as const;
export type Last = keyof typeof LASTS;
export type Range = { last: Last } | { from: number; to: number };
export const EVERY_S = [0, 5, 15, 60] as const;

/** One side of a comparison; what is null is not restricted. */
export interface Side {
  from: number | null;
  to: number | null;
  release: string | null;
}

export interface Place {
  view: View;
  turn: string | null;
  range: Range;
  filters: Filters;
  everyS: number;
  selected: string[];
  a: Side;
  b: Side;
}

export const NO_SIDE: Side = { from: null, to: null, release: null };
export const HOME: Place = {
  view: "overview",
  turn: null,
  range: { last: "1h" },
  filters: {},
  everyS: 15,
  selected: [],
  a: NO_SIDE,
  b: NO_SIDE,
};
export const MAX_SELECTED = 12;

/** What an address says. What makes no sense in it is as if it were not there. */
export function placeOf(search: string): Place {
  const asked = new URLSearchParams(search);
  const view = VIEWS.find((one) => one === asked.get("view")) ?? HOME.view;
  const filters: Filters = {};
  for (const name of FILTERS) {
    const value = asked.get(name);
    if (value && (CLOSED[name]?.includes(value) ?? value.length <= 200)) filters[name] = value;
  }
  const every = Number(asked.get("every") ?? HOME.everyS);
  return {
    view,
    turn: view === "turns" ? asked.get("turn") || null : null,
    range: rangeIn(asked),
    filters,
    everyS: EVERY_S.find((one) => one === every) ?? HOME.everyS,
    selected: [...new Set((asked.get("sel") ?? "").split(",").filter(Boolean))].slice(0, MAX_SELECTED),
    a: sideIn(asked, "a"),
    b: sideIn(asked, "b"),
  };
}

function instant(text: string | null): number | null {
  const value = text ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

function rangeIn(asked: URLSearchParams): Range {
  const [from, to] = [instant(asked.get("from")), instant(asked.get("to"))];
  if (from !== null && to !== null && from < to) return { from, to };
  const last = asked.get("last");
  return last !== null && Object.hasOwn(LASTS, last) ? { last: last as Last } : HOME.range;
}

function sideIn(asked: URLSearchParams, side: "a" | "b"): Side {
  const [from, to] = [instant(asked.get(`${side}_from`)), instant(asked.get(`${side}_to`))];
  const ordered = from === null || to === null || from < to;
  return { from: ordered ? from : null, to: ordered ? to : null, release: asked.get(`${side}_release`) || null };
}

/** The address of a place: only what differs from how one arrives, always in the same order. */
export function searchOf(place: Place): string {
  const said = new URLSearchParams();
  if (place.view !== HOME.view) said.set("view", place.view);
  if (place.turn !== null && place.view === "turns") said.set("turn", place.turn);
  if ("last" in place.range) {
    if (place.range.last !== "1h") said.set("last", place.range.last);
  } else {
    said.set("from", String(place.range.from));
    said.set("to", String(place.range.to));
  }
  for (const name of FILTERS) if (place.filters[name]) said.set(name, place.filters[name]);
  if (place.everyS !== HOME.everyS) said.set("every", String(place.everyS));
  if (place.selected.length) said.set("sel", place.selected.join(","));
  for (const side of ["a", "b"] as const) {
    for (const [name, value] of Object.entries(place[side])) if (value !== null) said.set(`${side}_${name}`, String(value));
  }
  const text = said.toString();
  return text ? `?${text}` : "";
}

/** The period that is shown, if it were asked for now. */
export function periodOf(range: Range, nowMs: number): { from: number; to: number } {
  return "last" in range ? { from: nowMs - LASTS[range.last], to: nowMs } : range;
}

/** What the server is asked with. Without an end for a period that ends now: its clock decides what that is. */
export function queryOf(place: Place, nowMs: number): { [name: string]: string } {
  const { from, to } = periodOf(place.range, nowMs);
  const period: Filters = { from: String(from) };
  if (!("last" in place.range)) period.to = String(to);
  return { ...period, ...place.filters };
}

/** With a filter set, or without it. */
export function filtered(place: Place, name: Filter, value: string | null): Place {
  const { [name]: _, ...others } = place.filters;
  return { ...place, filters: value ? { ...others, [name]: value } : others };
}
