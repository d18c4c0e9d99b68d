// How many turns took how long, over time: where a slow minute was, and whether all of its turns were slow.
import { clock, count } from "../data/format";
import { queryOf } from "../data/place";
import type { Heat } from "../data/wire";
import { Chart } from "../ui/chart";
import { keyOf, useAsk, useDesk } from "../ui/desk";
import { edgeName, heatOption } from "../ui/options";
import { AsTable, Panel, Title, Wait } from "../ui/parts";

export function HeatView() {
  const { place, go } = useDesk();
  const asked = useAsk<Heat>("heat", () => queryOf(place, Date.now()), keyOf(place));
  const look = (heat: Heat, from: number, to: number) => {
    const step = heat.at.length > 1 ? heat.at[1]! - heat.at[0]! : 60_000;
    const [first, last] = [heat.at[Math.max(0, from)], heat.at[Math.min(heat.at.length - 1, to)]];
    if (first !== undefined && last !== undefined) go({ ...place, range: { from: first, to: last + step } });
  };
  return (
    <>
      <Title name="Heat map" explain="Each column is a moment, each row a wait; the stronger the colour, the more turns waited so long then.">Heat map</Title>
      <Wait asked={asked} empty={(heat) => (heat.counts.some((row) => row.some(Boolean)) ? null : "No turns in this period. Choose a longer one, or remove a filter.")}>
        {(heat) => (
          <Panel title="How long callers waited, over time" old={asked.old} explain="One strong band near the bottom is good. A second band above it is a group of callers who wait longer; a column that reaches up is a slow moment. Drag over it to look closer.">
            <p class="heat-key" aria-hidden="true">fewer turns <span class="heat-ramp" /> more turns</p>
            <Chart
              {...{ label: `Heat map of waits over time. ${described(heat)}`, height: 460, of: heat }}
              option={(colours, width) => heatOption(heat, colours, width)}
              onDrag={(from, to) => look(heat, from, to)}
            />
            <AsTable
              caption="Turns by wait and time"
              numeric={heat.edges_ms.map((_, i) => i + 1)}
              head={["from", ...heat.edges_ms.map((_, i) => edgeName(heat.edges_ms, i))]}
              rows={heat.at.map((at, i) => ({ key: String(at), cells: [clock(at), ...(heat.counts[i] ?? []).map(count)] }))}
            />
          </Panel>
        )}
      </Wait>
    </>
  );
}

/** In which row most turns are. */
function described(heat: Heat): string {
  const sums = heat.edges_ms.map((_, i) => heat.counts.reduce((sum, row) => sum + (row[i] ?? 0), 0));
  const most = sums.indexOf(Math.max(...sums));
  return `Most turns waited ${edgeName(heat.edges_ms, most)}: ${count(sums[most])} of ${count(sums.reduce((a, b) => a + b, 0))}.`;
}
