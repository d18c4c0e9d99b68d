// The frame of the dashboard: who is looking, where they are, how the server is.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { clock } from "../data/format";
import { heard, NOTHING_YET, type Live } from "../data/live";
import type { Facets, Me } from "../data/wire";
import { ask, AskFailed, heldKey, holdKey, reach, urlOf } from "../net/ask";
import { Feed, type FeedState } from "../net/feed";
import { DeskContext, usePlace, type Desk } from "./desk";
import { Filters } from "./filters";
import { Login } from "./login";
import { Header, Nav } from "./frame";
import { applyTheme, heldTheme, onSystemScheme, shownScheme, type Theme } from "./theme";
import { Page } from "../views/page";

const FACETS_EVERY_MS = 60_000;
const BATCH_MS = 250;

export function App() {
  const [place, go] = usePlace();
  const [key, setKey] = useState(heldKey);
  const [refused, setRefused] = useState<string | null>(null);
  const [me, setMe] = useState<Me | null>(null);
  const [round, setRound] = useState(0);
  const [theme, setTheme] = useState<Theme>(heldTheme);
  const [scheme, setScheme] = useState(() => shownScheme(theme));
  const [goneSince, setGoneSince] = useState<number | null>(null);
  const lastGood = useRef<number | null>(null);

  const report = useCallback((failure: AskFailed | null) => {
    if (failure === null) {
      lastGood.current = Date.now();
      setGoneSince(null);
    } else if (failure.status === 401) {
      setRefused(heldKey() ? "This key is not known here, or it has expired." : "");
      setMe(null);
    } else if (failure.status === 0 || failure.status >= 500) {
      setGoneSince((since) => since ?? lastGood.current ?? Date.now());
    }
  }, []);

  useEffect(() => {
    applyTheme(theme);
    setScheme(shownScheme(theme));
    return onSystemScheme(() => setScheme(shownScheme(theme)));
  }, [theme]);

  const facets = useWhoAmI(key, round, refused === null, setMe, report);
  const { live, feed } = useFeed(me !== null && refused === null, `${key} ${feedFilters(place.filters)}`, place.filters, report);

  const desk: Desk = useMemo(
    () => ({ place, go, me, facets, live, feed, round, refresh: () => setRound((n) => n + 1), scheme, report }),
    [place, go, me, facets, live, feed, round, scheme, report],
  );

  if (refused !== null) {
    const onKey = (given: string) => {
      holdKey(given);
      setKey(given);
      setRefused(null);
      setRound((n) => n + 1);
    };
    return <Login trouble={refused} onKey={onKey} />;
  }
  const signOut = () => {
    holdKey("");
    setKey("");
    setMe(null);
    setRound((n) => n + 1);
  };
  return (
    <DeskContext.Provider value={desk}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        Skip to the figures
      </a>
      <Header {...{ theme, onTheme: setTheme, onSignOut: key ? signOut : null }} />
      <Nav />
      <div class="content">
        <div role="status" class="gone-place">
          {goneSince !== null && (
            <p class="notice gone" data-tone="bad">
              The server has not answered since {clock(goneSince)}. What you see is from then. Trying again…
            </p>
          )}
        </div>
        <main id="main" tabIndex={-1} data-gone={goneSince !== null || undefined}>
          {me === null ? (
            <p class="note loading" aria-busy="true">Loading…</p>
          ) : (
            <>
              <Filters />
              <Page />
            </>
          )}
        </main>
      </div>
    </DeskContext.Provider>
  );
}

function useWhoAmI(key: string, round: number, wanted: boolean, onMe: (me: Me) => void, report: Desk["report"]): Facets | null {
  const [facets, setFacets] = useState<Facets | null>(null);
  useEffect(() => {
    if (!wanted) return;
    const abort = new AbortController();
    let timer = 0;
    const again = async () => {
      let wait = FACETS_EVERY_MS;
      try {
        onMe(await ask<Me>("me", {}, abort.signal));
        setFacets(await ask<Facets>("facets", {}, abort.signal));
        report(null);
      } catch (error) {
        if (abort.signal.aborted) return;
        report(error instanceof AskFailed ? error : new AskFailed(0, "unreachable", String(error)));
        if (error instanceof AskFailed && error.status === 401) return;
        wait = 5_000;
      }
      timer = window.setTimeout(() => void again(), wait);
    };
    void again();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, round, wanted]);
  return facets;
}

const FED = ["tenant", "route", "region"];

function feedFilters(filters: { [name: string]: string }): string {
  return FED.map((name) => filters[name] ?? "").join(" ");
}

function useFeed(wanted: boolean, key: string, filters: { [name: string]: string }, report: Desk["report"]) {
  const [live, setLive] = useState<Live>(NOTHING_YET);
  const [feed, setFeed] = useState<FeedState>("connecting");
  useEffect(() => {
    if (!wanted) return;
    let held: { type: string; data: string }[] = [];
    let timer = 0;
    const take = () => {
      timer = 0;
      const batch = held;
      held = [];
      setLive((before) => batch.reduce((all, one) => heard(all, one.type, one.data), before));
    };
    const query = Object.fromEntries(FED.filter((name) => filters[name]).map((name) => [name, filters[name]!]));
    const running = new Feed({
      open: (signal) => reach(urlOf("live", query), signal),
      onEvent: (event) => {
        held.push(event);
        timer ||= window.setTimeout(take, BATCH_MS); // a busy server: one drawing for many turns
      },
      onState: (state, error) => {
        setFeed(state);
        if (error?.status === 401) report(error);
      },
      wait: (ms, run) => {
        const waiting = setTimeout(run, ms);
        return () => clearTimeout(waiting);
      },
      random: Math.random,
    });
    const follow = () => (document.hidden ? running.rest() : running.start());
    document.addEventListener("visibilitychange", follow);
    follow();
    return () => {
      document.removeEventListener("visibilitychange", follow);
      running.stop();
      clearTimeout(timer);
      setLive(NOTHING_YET);
    };
  }, [wanted, key]);
  return { live, feed };
}
