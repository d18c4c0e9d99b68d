import { describe, expect, it } from "vitest";
import { filtered, HOME, LASTS, MAX_SELECTED, periodOf, placeOf, queryOf, searchOf, type Place } from "../src/data/place";
import { compareQuery, comparing, DAY_MS, kindOf } from "../src/data/sides";

const NOW = 1_795_000_000_000;

describe("the address", () => {
  it("is empty for the place where one arrives", () => {
    expect(searchOf(HOME)).toBe("");
    expect(placeOf("")).toEqual(HOME);
  });

  it("says all of a place, and nothing is lost on the way", () => {
    const places: Place[] = [
      { ...HOME, view: "turns", turn: "sess_1.2" },
      { ...HOME, range: { last: "24h" }, everyS: 0 },
      { ...HOME, range: { from: 1_000, to: 2_000 }, filters: { tenant: "a & b=c", verdict: "missed", cold: "1", stage: "llm" } },
      { ...HOME, view: "turns", selected: ["x.1", "y.2"] },
      { ...HOME, view: "compare", a: { from: 1, to: 2, release: null }, b: { from: null, to: null, release: "1.0 rc/2" } },
    ];
    for (const place of places) expect(placeOf(searchOf(place))).toEqual(place);
  });

  it("ignores what makes no sense", () => {
    const nonsense = "?view=moon&last=2y&from=9&to=3&verdict=fine&every=7&cold=maybe&a_from=9&a_to=2&turn=x&tenant=";
    expect(placeOf(nonsense)).toEqual(HOME);
    expect(placeOf("?last=constructor").range).toEqual(HOME.range);
    expect(placeOf(`?tenant=${"x".repeat(201)}`).filters).toEqual({});
  });

  it("compares so many turns and no more", () => {
    const ids = Array.from({ length: 40 }, (_, i) => `s.${i}`);
    expect(placeOf(`?view=turns&sel=${ids.join(",")}`).selected).toHaveLength(MAX_SELECTED);
    expect(placeOf("?sel=a,a,,b").selected).toEqual(["a", "b"]);
  });

  it("takes a filter in and out", () => {
    const place = filtered(filtered(HOME, "route", "sip"), "region", "eu");
    expect(searchOf(place)).toBe("?route=sip&region=eu");
    expect(searchOf(filtered(place, "route", null))).toBe("?region=eu");
  });
});

describe("what the server is asked", () => {
  it("ends now for the last hour, by the server's clock", () => {
    expect(queryOf({ ...HOME, filters: { cold: "0" } }, NOW)).toEqual({ from: String(NOW - LASTS["1h"]), cold: "0" });
    expect(queryOf({ ...HOME, range: { from: 5, to: 7 } }, NOW)).toEqual({ from: "5", to: "7" });
    expect(periodOf({ last: "5m" }, NOW)).toEqual({ from: NOW - 300_000, to: NOW });
  });

  it("compares with the period before", () => {
    const query = compareQuery({ ...HOME, filters: { route: "sip" } }, NOW);
    const hour = LASTS["1h"];
    const sides = { a_from: NOW - 2 * hour, a_to: NOW - hour, b_from: NOW - hour, b_to: NOW };
    expect(query).toEqual({ ...Object.fromEntries(Object.entries(sides).map(([name, at]) => [name, String(at)])), route: "sip" });
  });

  it("compares two releases in the same period", () => {
    const place = comparing(HOME, "releases", ["1.0", "1.1", "1.2"], NOW);
    expect(kindOf(place)).toBe("releases");
    const query = compareQuery(place, NOW);
    expect([query.a_release, query.b_release]).toEqual(["1.1", "1.2"]);
    expect(query.a_from).toBe(query.b_from);
  });

  it("compares with a day earlier, and goes back to the period before", () => {
    const place = comparing(HOME, "day", [], NOW);
    expect(place.b.from! - place.a.from!).toBe(DAY_MS);
    expect(kindOf(place)).toBe("own");
    expect(kindOf(comparing(place, "before", [], NOW))).toBe("before");
  });
});
