// What all parts of the page share: where one is, who one is, how the server is, and how to ask it.
import { createContext } from "preact";
import { useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Live } from "../data/live";
import { HOME, placeOf, searchOf, type Place } from "../data/place";
import type { Facets, Me } from "../data/wire";
import { ask, AskFailed } from "../net/ask";
import type { FeedState } from "../net/feed";

export interface Desk {
  place: Place;
  /** Go somewhere. `replace`: without a step for the back button. */
  go(place: Place, how?: { replace?: boolean }): void;
  me: Me | null;
  facets: Facets | null;
  live: Live;
  feed: FeedState;
  /** Rises when somebody wants everything anew. */
  round: number;
  refresh(): void;
  /** "light" or "dark", as it is shown now. */
  scheme: string;
  /** How a question went: null is well. */
  report(failure: AskFailed | null): void;
}

export const DeskContext = createContext<Desk>({
  place: HOME,
  go: () => {},
  me: null,
  facets: null,
  live: { turns: [], now: null, capacity: null, replicas: null, nSeen: 0 },
  feed: "connecting",
  round: 0,
  refresh: () => {},
  scheme: "light",
  report: () => {},
});

export const useDesk = () => useContext(DeskContext);

/** The place that the address names, and the way to another one. */
export function usePlace(): [Place, Desk["go"]] {
  const [place, setPlace] = useState(() => placeOf(location.search));
  useEffect(() => {
    const onBack = () => setPlace(placeOf(location.search));
    addEventListener("popstate", onBack);
    return () => removeEventListener("popstate", onBack);
  }, []);
  const go = useMemo(
    () => (next: Place, how: { replace?: boolean } = {}) => {
      const search = searchOf(next);
      const same = search === searchOf(placeOf(location.search));
      history[how.replace || same ? "replaceState" : "pushState"](null, "", hrefOf(next));
      setPlace(placeOf(search));
    },
    [],
  );
  return [place, go];
}

export const hrefOf = (place: Place) => `${location.pathname}${searchOf(place)}`;

export interface Asked<T> {
  data: T | null;
  error: AskFailed | null;
  /** The data is an answer to another question, or older than the server's last failure. */
  old: boolean;
}

const AGAIN_MS = [1_000, 2_000, 5_000, 10_000];

/**
 * What the server says, asked again as often as the place says, and after a failure.
 *
 * `query` is called for each question, so that a period that ends now moves on; `key` says when it is another
 * question. Hidden pages do not ask. `path` null: nothing is asked.
 */
export function useAsk<T>(path: string | null, query: () => { [name: string]: string }, key: string): Asked<T> {
  const { place, round, report } = useDesk();
  const [state, setState] = useState<{ path: string | null; key: string; data: T | null; error: AskFailed | null }>({
    ...{ path: null, key: "", data: null, error: null },
  });
  const latest = useRef(query);
  latest.current = query;
  useEffect(() => {
    if (path === null) return;
    let abort = new AbortController();
    let timer = 0;
    let n_failed = 0;
    const later = (ms: number) => {
      clearTimeout(timer);
      timer = window.setTimeout(() => void again(), ms);
    };
    const again = async () => {
      abort.abort();
      abort = new AbortController();
      const { signal } = abort;
      if (document.hidden) return; // asked when it is shown again
      try {
        const data = await ask<T>(path, latest.current(), signal);
        if (signal.aborted) return;
        n_failed = 0;
        setState({ path, key, data, error: null });
        report(null);
        if (place.everyS) later(place.everyS * 1000);
      } catch (error) {
        if (signal.aborted) return;
        const failure = error instanceof AskFailed ? error : new AskFailed(0, "unreachable", String(error));
        setState((before) => ({ ...before, error: failure }));
        report(failure);
        if (failure.status === 0 || failure.status >= 500) later(AGAIN_MS[Math.min(n_failed++, AGAIN_MS.length - 1)]!);
      }
    };
    const onShown = () => !document.hidden && void again();
    document.addEventListener("visibilitychange", onShown);
    void again();
    return () => {
      document.removeEventListener("visibilitychange", onShown);
      clearTimeout(timer);
      abort.abort();
    };
  }, [path, key, place.everyS, round, report]);
  const mine = state.path === path;
  return {
    data: mine ? state.data : null,
    error: state.error,
    old: state.key !== key || state.error !== null,
  };
}

/** Changes with what is asked for, and not with the time. */
export function keyOf(place: Place): string {
  return searchOf({ ...HOME, range: place.range, filters: place.filters });
}

/** An instant that moves on: for "12 s ago". */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
