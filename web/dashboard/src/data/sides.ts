// The two sides of a comparison: which turns each has, as the server is asked for them.
import { LASTS, NO_SIDE, periodOf, type Place, type Side } from "./place";

export type Kind = "before" | "day" | "releases" | "own";
export const DAY_MS = 86_400_000;

/** What a place compares: by itself the period that is shown (B) with the one before it (A). */
export function kindOf(place: Place): Kind {
  if (place.a.release !== null || place.b.release !== null) return "releases";
  if (place.a.from === null) return "before";
  return "own";
}

const lengthOf = (place: Place) => ("last" in place.range ? LASTS[place.range.last] : place.range.to - place.range.from);

/** The query of /compare. Each side has a period; what is not said is the period shown, or the one before it. */
export function compareQuery(place: Place, nowMs: number): { [name: string]: string } {
  const shown = periodOf(place.range, nowMs);
  const before = { from: shown.from - lengthOf(place), to: shown.from };
  const byRelease = kindOf(place) === "releases";
  const query: { [name: string]: string } = {};
  for (const [name, side, otherwise] of [["a", place.a, byRelease ? shown : before], ["b", place.b, shown]] as const) {
    query[`${name}_from`] = String(Math.round(side.from ?? otherwise.from));
    query[`${name}_to`] = String(Math.round(side.to ?? otherwise.to));
    if (side.release !== null) query[`${name}_release`] = side.release;
  }
  return { ...query, ...place.filters };
}

/** The place with another kind of comparison. */
export function comparing(place: Place, kind: Kind, releases: string[], nowMs: number): Place {
  const shown = periodOf(place.range, nowMs);
  switch (kind) {
    case "before":
      return { ...place, a: NO_SIDE, b: NO_SIDE };
    case "day": {
      const a: Side = { from: Math.round(shown.from - DAY_MS), to: Math.round(shown.to - DAY_MS), release: null };
      return { ...place, a, b: { from: Math.round(shown.from), to: Math.round(shown.to), release: null } };
    }
    case "releases":
      return { ...place, a: { ...NO_SIDE, release: releases.at(-2) ?? releases[0] ?? "" }, b: { ...NO_SIDE, release: releases.at(-1) ?? "" } };
    case "own": {
      const a: Side = { from: Math.round(shown.from - lengthOf(place)), to: Math.round(shown.from), release: null };
      return { ...place, a, b: { from: Math.round(shown.from), to: Math.round(shown.to), release: null } };
    }
  }
}
