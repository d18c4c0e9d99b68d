// A list of any number of turns of which only those in sight are drawn. One row has the focus; arrows move it.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { windowOf, type Pages } from "../data/pages";
import { MAX_SELECTED } from "../data/place";
import { useDesk } from "./desk";
import { COLUMNS, scaleOf, TurnCells } from "./turn_row";

const ROW_PX = 44;
const NARROW_ROW_PX = 76;
const narrow = () => matchMedia("(max-width: 60rem)");

function useRowHeight(): number {
  const [height, setHeight] = useState(() => (narrow().matches ? NARROW_ROW_PX : ROW_PX));
  useEffect(() => {
    const query = narrow();
    const onChange = () => setHeight(query.matches ? NARROW_ROW_PX : ROW_PX);
    query.addEventListener("change", onChange);
    return () => query.removeEventListener("change", onChange);
  }, []);
  return height;
}

export function TurnList(props: { pages: Pages; nAdded: number; onNeed(row: number): void }) {
  const { place, go } = useDesk();
  const { rows, nTotal } = props.pages;
  const rowPx = useRowHeight();
  const frame = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ from: 0, to: 30 });
  const [active, setActive] = useState(0);
  const wantsFocus = useRef(false);
  const longestMs = useMemo(() => scaleOf(rows.slice(0, 400)), [rows.length > 0, rows[0]?.budget_ms]);

  const shown = Math.min(active, Math.max(0, nTotal - 1));

  const measure = () => {
    const element = frame.current;
    if (!element) return;
    const next = windowOf(element.scrollTop, element.clientHeight, rowPx, nTotal);
    setView((before) => (before.from === next.from && before.to === next.to ? before : next));
  };
  useLayoutEffect(measure, [rowPx, nTotal]);
  useEffect(() => {
    const sized = new ResizeObserver(measure);
    sized.observe(frame.current!);
    return () => sized.disconnect();
  }, [rowPx, nTotal]);
  useEffect(() => props.onNeed(view.to), [view.to, rows.length]);
  useLayoutEffect(() => {
    // New turns at the top: whoever has scrolled down stays at what they are reading.
    if (props.nAdded && frame.current && frame.current.scrollTop > rowPx) frame.current.scrollTop += props.nAdded * rowPx;
    if (props.nAdded) setActive((at) => (at ? at + props.nAdded : 0));
  }, [props.pages]);
  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    const row = frame.current?.querySelector<HTMLElement>(`[data-row="${shown}"]`);
    row?.focus({ preventScroll: true });
    if (row?.dataset.id) wantsFocus.current = false; // until then the list may turn out to end before it
  });

  const select = (id: string) => {
    const without = place.selected.filter((one) => one !== id);
    const selected = without.length < place.selected.length ? without : [...place.selected, id].slice(-MAX_SELECTED);
    go({ ...place, selected }, { replace: true });
  };
  const move = (to: number) => {
    const element = frame.current!;
    const next = Math.max(0, Math.min(nTotal - 1, to));
    const head = rowPx === ROW_PX ? ROW_PX : 0; // the head of the grid covers the first row
    const top = next * rowPx;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowPx + head > element.scrollTop + element.clientHeight) element.scrollTop = top + rowPx + head - element.clientHeight;
    wantsFocus.current = true;
    setActive(next);
    measure();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor((frame.current!.clientHeight - ROW_PX) / rowPx) - 1);
    const steps: { [key: string]: number } = { ArrowDown: shown + 1, ArrowUp: shown - 1, PageDown: shown + page, PageUp: shown - page, Home: 0, End: nTotal - 1 };
    const turn = rows[shown];
    if (event.key in steps) move(steps[event.key]!);
    else if (event.key === "Enter" && turn) go({ ...place, turn: turn.id });
    else if (event.key === " " && turn) select(turn.id);
    else return;
    event.preventDefault();
  };

  const indices = Array.from({ length: view.to - view.from }, (_, i) => view.from + i);
  if (!indices.includes(shown) && nTotal) indices.push(shown); // so that Tab finds its way back
  return (
    <div
      {...{ ref: frame, class: "turn-list", role: "grid", "aria-label": "Turns, newest first", "aria-rowcount": nTotal + 1, "aria-multiselectable": "true" }}
      onScroll={measure}
      onKeyDown={onKeyDown}
      onPointerDown={() => (wantsFocus.current = false)}
      onFocusOut={(event) => event.relatedTarget && !event.currentTarget.contains(event.relatedTarget as Node) && (wantsFocus.current = false)}
    >
      <div role="row" aria-rowindex={1} class="turn-head">
        <span role="columnheader"><span class="unseen">Selected</span></span>
        {COLUMNS.map((name) => <span key={name} role="columnheader">{name}</span>)}
      </div>
      <div role="rowgroup" class="turn-rows" style={{ height: `${nTotal * rowPx}px` }}>
        {indices.map((i) => {
          const turn = rows[i];
          const selected = turn !== undefined && place.selected.includes(turn.id);
          return (
            <div
              {...{ key: i, role: "row", class: "turn", "data-row": i, "data-id": turn?.id, tabIndex: i === shown ? 0 : -1 }}
              aria-rowindex={i + 2}
              aria-selected={selected}
              style={{ transform: `translateY(${i * rowPx}px)`, height: `${rowPx}px` }}
              onFocus={() => setActive(i)}
              onClick={() => turn && go({ ...place, turn: turn.id })}
            >
              {turn ? (
                <>
                  <span role="gridcell" class="pick" onClick={(event) => { event.stopPropagation(); select(turn.id); }}>
                    <input type="checkbox" tabIndex={-1} checked={selected} aria-label="Compare this turn" />
                  </span>
                  <TurnCells turn={turn} longestMs={longestMs} />
                </>
              ) : (
                <span role="gridcell" class="muted">Loading…</span>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
