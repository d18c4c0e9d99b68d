// The period that is shown, how often it is asked for anew, and which turns count. All of it is in the address.
import { useState } from "preact/hooks";
import { lasting, localInput } from "../data/format";
import { EVERY_S, FILTERS, filtered, LASTS, periodOf, type Filter, type Last, type Place } from "../data/place";
import { OUTCOMES, RUNGS, STAGES, VERDICTS, type Facets } from "../data/wire";
import { FILTER_NAMES, valueName } from "../data/words";
import { useDesk } from "./desk";
import { Choice } from "./parts";

const PLAIN_VIEWS = ["replicas", "capacity"];

export function Filters() {
  const { place, go, refresh } = useDesk();
  if (place.turn !== null || PLAIN_VIEWS.includes(place.view)) return null;
  if (place.view === "live") {
    return <div class="filter-row" role="search" aria-label="Which turns are shown"><FilterParts offered={["tenant", "route", "region"]} /></div>;
  }
  return (
    <div class="filters" role="search" aria-label="Which turns are shown">
      <div class="filter-row">
        <RangePicker />
        <Choice
          {...{ label: "Update", value: String(place.everyS), onChoose: (value) => go({ ...place, everyS: Number(value) }, { replace: true }) }}
          options={EVERY_S.map((s) => [String(s), s ? `every ${lasting(s * 1000)}` : "by hand"] as const)}
        />
        <button type="button" class="quiet" onClick={refresh}>Update now</button>
        <FilterParts offered={FILTERS} />
      </div>
    </div>
  );
}

function RangePicker() {
  const { place, go } = useDesk();
  const own = !("last" in place.range);
  const [open, setOpen] = useState(false);
  const onChoose = (value: string) => {
    if (value === "own") setOpen(true);
    else {
      setOpen(false);
      go({ ...place, range: { last: value as Last } });
    }
  };
  const lasts = (Object.keys(LASTS) as Last[]).map((last) => [last, `last ${lasting(LASTS[last])}`] as const);
  return (
    <>
      <Choice label="Period" value={own || open ? "own" : (place.range as { last: Last }).last} options={[...lasts, ["own", "from … to …"]]} onChoose={onChoose} />
      {(own || open) && <OwnPeriod key={own ? JSON.stringify(place.range) : "new"} onDone={() => setOpen(false)} />}
    </>
  );
}

function OwnPeriod(props: { onDone(): void }) {
  const { place, go } = useDesk();
  const period = periodOf(place.range, Date.now());
  const [from, setFrom] = useState(localInput(period.from));
  const [to, setTo] = useState(localInput(period.to));
  const wrong = !(Date.parse(from) < Date.parse(to));
  const onSubmit = (event: Event) => {
    event.preventDefault();
    if (wrong) return;
    props.onDone();
    go({ ...place, range: { from: Date.parse(from), to: Date.parse(to) } });
  };
  return (
    <form class="own-period" onSubmit={onSubmit}>
      <label>
        from <input type="datetime-local" value={from} required onInput={(event) => setFrom(event.currentTarget.value)} />
      </label>
      <label>
        to <input type="datetime-local" value={to} required onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
      <button type="submit" class="quiet" disabled={wrong}>Show</button>
      {wrong && <span class="note" role="status">The end must be after the beginning.</span>}
    </form>
  );
}

function FilterParts({ offered }: { offered: readonly Filter[] }) {
  const { place, go, facets } = useDesk();
  const set = offered.filter((name) => place.filters[name]);
  const free = offered.filter((name) => !place.filters[name] && valuesOf(name, facets).length > 0);
  const without = (name: Filter): Place => filtered(place, name, null);
  return (
    <>
      <AddFilter free={free} />
      {set.length > 0 && <ul class="chips" aria-label="Filters in force">
        {set.map((name) => (
          <li key={name}>
            <button type="button" class="filter-chip" aria-label={`Remove the filter ${FILTER_NAMES[name]}: ${valueName(name, place.filters[name]!)}`} onClick={() => go(without(name))}>
              <span class="filter-name">{FILTER_NAMES[name]}</span> {valueName(name, place.filters[name]!)} <span aria-hidden="true">✕</span>
            </button>
          </li>
        ))}
        {set.length > 1 && (
          <li>
            <button type="button" class="quiet small" onClick={() => go(set.reduce((at, name) => filtered(at, name, null), place))}>Remove all</button>
          </li>
        )}
      </ul>}
    </>
  );
}

function AddFilter(props: { free: readonly Filter[] }) {
  const { place, go, facets } = useDesk();
  if (!props.free.length) return null;
  const onChange = (event: Event) => {
    const select = event.currentTarget as HTMLSelectElement;
    const cut = select.value.indexOf("=");
    const [name, value] = [select.value.slice(0, cut) as Filter, select.value.slice(cut + 1)];
    select.value = "";
    if (name) go(filtered(place, name, value));
  };
  return (
    <div class="choice adds">
      <label class="unseen" for="add-filter">Add a filter</label>
      <select id="add-filter" value="" onChange={onChange}>
        <option value="">+ Filter</option>
        {props.free.map((name) => (
          <optgroup key={name} label={FILTER_NAMES[name]!}>
            {valuesOf(name, facets).map((value) => <option key={value} value={`${name}=${value}`}>{FILTER_NAMES[name]}: {valueName(name, value)}</option>)}
          </optgroup>
        ))}
      </select>
    </div>
  );
}

function valuesOf(name: Filter, facets: Facets | null): readonly string[] {
  switch (name) {
    case "verdict":
      return VERDICTS;
    case "outcome":
      return OUTCOMES;
    case "stage":
      return STAGES;
    case "cold":
      return ["0", "1"];
    case "rung":
      return facets?.rungs.length ? facets.rungs : RUNGS;
    case "replica":
      return facets?.replicas ?? [];
    default:
      return facets?.[`${name}s` as "tenants"] ?? [];
  }
}
