// The same figures by way in, region, tenant, profile and release.
import { useState } from "preact/hooks";
import { count, ms, percent } from "../data/format";
import { filtered } from "../data/place";
import { GROUPINGS, type Group, type Grouping, type Overview } from "../data/wire";
import { FILTER_NAMES } from "../data/words";
import { useDesk } from "../ui/desk";
import { Go, Panel, Table, Tabs } from "../ui/parts";

export function Groups({ found }: { found: Overview }) {
  const { place } = useDesk();
  const [by, setBy] = useState<Grouping>("route");
  const groups = found.by[by] ?? [];
  const tabs = GROUPINGS.map((one) => [one, FILTER_NAMES[one]!] as const);
  return (
    <Panel title="Who waited" class="wide" explain="Choose a name to see only its turns." side={<Tabs label="Group by" value={by} options={tabs} onChoose={(value) => setBy(value)} />}>
      {groups.length === 0 ? (
        <p class="note empty">No turns.</p>
      ) : (
        <Table
          caption={`Wait by ${FILTER_NAMES[by]!.toLowerCase()}`}
          numeric={[1, 2, 3, 4, 5]}
          head={[FILTER_NAMES[by]!, "Turns", "p50", "p95", "p99", "In time", <span class="unseen">Picture</span>]}
          rows={groups.map((group) => ({ key: group.name, cells: cellsOf(group, by, found.budget_ms) }))}
        />
      )}
    </Panel>
  );

  function cellsOf(group: Group, grouping: Grouping, budget: number | null) {
    const over = group.p95 !== null && budget !== null && group.p95 > budget;
    const longest = Math.max(1, budget ?? 0, ...groups.map((one) => one.p95 ?? 0));
    return [
      <Go to={filtered(place, grouping, group.name)}>{group.name || "(none)"}</Go>,
      count(group.n),
      ms(group.p50),
      over ? <span class="over" title="Over the budget">{ms(group.p95)} ▲</span> : ms(group.p95),
      ms(group.p99),
      percent(group.met_ratio),
      <span class="span-bar" aria-hidden="true">
        <span class="to-p95" style={{ width: `${(100 * (group.p95 ?? 0)) / longest}%` }} />
        <span class="to-p50" style={{ width: `${(100 * (group.p50 ?? 0)) / longest}%` }} />
        {budget !== null && <span class="budget" style={{ left: `${(100 * budget) / longest}%` }} />}
      </span>,
    ];
  }
}
