// All turns of the period, and the stacked waterfall of those that are selected.
import { useEffect, useRef, useState } from "preact/hooks";
import { count, ms, second } from "../data/format";
import { appended, NO_PAGES, refreshed, type Pages } from "../data/pages";
import { MAX_SELECTED, queryOf } from "../data/place";
import { stackOf, stacksOfTurns } from "../data/waterfall";
import type { TurnPage, TurnRow } from "../data/wire";
import { ask } from "../net/ask";
import { keyOf, useAsk, useDesk } from "../ui/desk";
import { Go, Panel, Title, Wait } from "../ui/parts";
import { Legend, Stacks } from "../ui/stack";
import { TurnList } from "../ui/turn_list";

const PAGE_TURNS = 200;

export function TurnsView() {
  const { place } = useDesk();
  const key = keyOf(place);
  return (
    <>
      <Title name="Turns" explain="Every question and its answer, newest first. Open one to see where its milliseconds went; tick some to compare them.">
        Turns
      </Title>
      <Turns key={key} of={key} />
    </>
  );
}

function Turns({ of }: { of: string }) {
  const { place } = useDesk();
  const query = () => ({ ...queryOf(place, Date.now()), limit: String(PAGE_TURNS) });
  const asked = useAsk<TurnPage>("turns", query, of);
  const [state, setState] = useState<{ pages: Pages; nAdded: number }>({ pages: NO_PAGES, nAdded: 0 });
  const loading = useRef<AbortController | null>(null);
  const latest = useRef(state.pages);
  latest.current = state.pages;
  const wanted = useRef(0);

  useEffect(() => {
    const page = asked.data;
    if (page) setState(({ pages }) => {
      const { pages: next, nNew } = refreshed(pages, page);
      return { pages: next, nAdded: nNew ?? 0 };
    });
  }, [asked.data]);
  useEffect(() => () => loading.current?.abort(), []);

  /** Load pages until the row is there. */
  const need = async (row: number) => {
    wanted.current = row;
    if (loading.current) return;
    const abort = new AbortController();
    loading.current = abort;
    try {
      while (latest.current.rows.length < wanted.current && latest.current.next !== null) {
        const page = await ask<TurnPage>("turns", { ...query(), before: latest.current.next }, abort.signal);
        if (abort.signal.aborted) return;
        latest.current = appended(latest.current, page);
        setState({ pages: latest.current, nAdded: 0 });
      }
    } catch {
      // The list says of itself what it could not load; scrolling asks again.
    } finally {
      if (loading.current === abort) loading.current = null;
    }
  };

  return (
    <>
      <Selected known={state.pages.rows} />
      <Wait asked={asked} empty={(page) => (page.n_total ? null : "No turns in this period. Choose a longer one, or remove a filter.")}>
        {() => (
          <Panel title="List" old={asked.old} explain={<><span data-figure="n-total">{count(state.pages.nTotal)}</span> turns. Arrow keys move, Enter opens, Space selects. The line in a bar is the budget.</>}>
            <Legend hidden={false} waiting />
            <TurnList pages={state.pages} nAdded={state.nAdded} onNeed={(row) => void need(row)} />
          </Panel>
        )}
      </Wait>
    </>
  );
}

/** The turns with these names: from the list, or asked for one by one. */
function useTurns(ids: string[], known: TurnRow[]): TurnRow[] {
  const [fetched, setFetched] = useState<{ [id: string]: TurnRow | null }>({});
  const found = ids.map((id) => known.find((turn) => turn.id === id) ?? fetched[id]);
  const missing = ids.filter((_, i) => found[i] === undefined);
  useEffect(() => {
    if (!missing.length) return;
    const abort = new AbortController();
    const wait = setTimeout(async () => {
      for (const id of missing) {
        const turn = await ask<TurnRow>(`turns/${encodeURIComponent(id)}`, {}, abort.signal).catch(() => null);
        if (abort.signal.aborted) return;
        setFetched((before) => ({ ...before, [id]: turn }));
      }
    }, 400); // the list may have them
    return () => {
      clearTimeout(wait);
      abort.abort();
    };
  }, [missing.join()]);
  return found.filter((turn) => turn !== undefined && turn !== null);
}

function Selected({ known }: { known: TurnRow[] }) {
  const { place, go } = useDesk();
  const turns = useTurns(place.selected, known);
  if (!place.selected.length) return null;
  const all = turns.length > 1 ? stacksOfTurns(turns).map((one) => ({ ...one, title: one.name === "p50" ? "Half of them (p50)" : "19 of 20 (p95)" })) : [];
  const each = turns.map((turn) => ({ ...stackOf(turn), title: second(turn.began_unix_ms), explain: `${turn.tenant} · ${turn.route}` }));
  const clear = <button type="button" class="quiet" onClick={() => go({ ...place, selected: [] }, { replace: true })}>Select none</button>;
  return (
    <Panel title={`Selected turns (${turns.length})`} class="wide" side={clear} explain={`Stage by stage, up to ${MAX_SELECTED} turns. Striped: hidden, nobody waited for it.`}>
      <Legend waiting />
      <Stacks stacks={[...all, ...each]} budgetMs={turns[0]?.budget_ms ?? null} />
      <p class="links">
        {turns.map((turn) => (
          <Go key={turn.id} to={{ ...place, turn: turn.id }}>{second(turn.began_unix_ms).slice(11)} ({ms(turn.response_ms)})</Go>
        ))}
      </p>
    </Panel>
  );
}
