// The overview: did callers get their answers in time, and if not, why not?
import { clock, count, many, minute, ms, percent } from "../data/format";
import { filtered, queryOf, type Filter, type Place } from "../data/place";
import { blame, headline } from "../data/verdicts";
import { stacksOf } from "../data/waterfall";
import { VERDICTS, type Overview, type Step } from "../data/wire";
import { rungWord, stageWord, verdictWord } from "../data/words";
import { Chart } from "../ui/chart";
import { keyOf, useAsk, useDesk } from "../ui/desk";
import { waitOption } from "../ui/options";
import { AsTable, Chip, Figure, Go, Panel, Table, Title, verdictTone, Wait } from "../ui/parts";
import { Legend, Stacks } from "../ui/stack";
import { Groups } from "./groups";
import { SloPanel } from "./slo";

export function useOverview() {
  const { place } = useDesk();
  return useAsk<Overview>("overview", () => queryOf(place, Date.now()), keyOf(place));
}

export function OverviewView() {
  const asked = useOverview();
  return (
    <>
      <Title name="Overview" explain="How long callers waited for an answer: from their last word to its first sound.">Overview</Title>
      <Wait asked={asked} empty={(found) => (found.n_turns ? null : "No turns in this period. Choose a longer one, or remove a filter.")}>
        {(found) => (
          <div class="grid" data-old={asked.old || undefined}>
            {found.oldest_unix_ms != null && <p class="note wide-note">Turns before {minute(found.oldest_unix_ms)} are not kept here: the figures begin then.</p>}
            <Waited found={found} />
            <Verdicts found={found} />
            <SloPanel slo={found.slo} />
            <WaitChart found={found} />
            <StagePanel found={found} />
            <Rungs found={found} />
            <Groups found={found} />
          </div>
        )}
      </Wait>
    </>
  );
}

function Waited({ found }: { found: Overview }) {
  const said = headline(found);
  const { response, budget_ms: budget } = found;
  const tone = (value: number | null) => (value === null || budget === null ? "plain" : value <= budget ? "good" : value <= budget * 1.5 ? "warn" : "bad");
  return (
    <Panel title="What the caller waited" class="wide hero" explain="Warm turns only; turns that met a cold replica are counted apart, so that neither hides the other.">
      <p class="headline" data-tone={said.tone}>{said.text}</p>
      <dl class="figures">
        <Figure name="p50" label="Half of the turns (p50)" value={ms(response.p50)} tone={tone(response.p50)} explain="The typical wait." />
        <Figure name="p95" label="19 of 20 (p95)" value={ms(response.p95)} tone={tone(response.p95)} explain="One in twenty waited longer." />
        <Figure name="p99" label="99 of 100 (p99)" value={ms(response.p99)} tone={tone(response.p99)} explain={`The slow end. Longest: ${ms(response.max)}.`} />
        <Figure name="budget" label="Budget" value={ms(budget)} explain="What a turn may take. It is enforced while the turn runs." />
        <Figure
          {...{ name: "heard", label: "At the caller’s ear (p95)", value: ms(found.heard.p95) }}
          explain={found.heard.n ? `The way to the caller included, as ${many(found.heard.n, "caller’s device", "callers’ devices")} reported.` : "No caller’s device has reported it."}
        />
        <Figure name="silence" label="Silence (p95)" value={ms(found.silence.p95)} explain="Until anything at all was heard, a filler too." />
      </dl>
    </Panel>
  );
}

/** A place with one filter more, where turns are listed. */
export function turnsWith(place: Place, name: Filter, value: string): Place {
  return { ...filtered(place, name, value), view: "turns", turn: null };
}

function Verdicts({ found }: { found: Overview }) {
  const { place } = useDesk();
  const all = Math.max(1, VERDICTS.reduce((sum, one) => sum + found.verdicts[one], 0));
  return (
    <Panel title="Did they get it in time?" explain={`${many(found.n_turns, "turn")} in this period. A turn is one question and its answer.`}>
      <div class="split" aria-hidden="true">
        {VERDICTS.map((one) => <span key={one} data-tone={verdictTone(one)} style={{ width: `${(100 * found.verdicts[one]) / all}%` }} />)}
      </div>
      <ul class="rows">
        {VERDICTS.map((one) => (
          <li key={one} data-figure={`verdict-${one}`}>
            <Go to={turnsWith(place, "verdict", one)}>
              <Chip tone={verdictTone(one)}>{verdictWord(one).name}</Chip>
              <span class="explain">{verdictWord(one).what}</span>
              <span class="value">{count(found.verdicts[one])}</span>
              <span class="share">{percent(found.verdicts[one] / all)}</span>
            </Go>
          </li>
        ))}
      </ul>
      <dl class="figures small">
        <Figure name="dead-air" label="Dead air" value={count(found.dead_air)} tone={found.dead_air ? "bad" : "good"} explain="Turns in which nothing at all was heard for 1.5 s. The goal is none." />
        <Figure name="cold" label="Met a cold replica" value={percent(found.cold_rate)} explain={found.cold_response.n ? `These waited ${ms(found.cold_response.p50)} (p50), ${ms(found.cold_response.p95)} (p95).` : "No turn had to wait for a replica to warm up."} />
        <Figure name="hidden" label="Work hidden" value={percent(found.hidden_ratio)} explain="Part of the work that was done while it was still being decided whether the caller had finished." />
      </dl>
    </Panel>
  );
}

function WaitChart({ found }: { found: Overview }) {
  const { place, go } = useDesk();
  const { series } = found;
  const step = series.length > 1 ? series[1]!.at - series[0]!.at : 0;
  const onDrag = (from: number, to: number) => {
    const [first, last] = [series[Math.max(0, from)], series[Math.min(series.length - 1, to)]];
    if (first && last) go({ ...place, range: { from: first.at, to: last.at + step } });
  };
  return (
    <Panel title="Over time" class="wide" explain="Above: how long half, 19 of 20 and 99 of 100 callers waited. Below: turns in time, late but said so, and missed. Drag over the chart to look closer.">
      <ul class="legend">
        <li><span class="swatch line" data-line="p50" aria-hidden="true" /> half (p50)</li>
        <li><span class="swatch line" data-line="p95" aria-hidden="true" /> 19 of 20 (p95)</li>
        <li><span class="swatch line" data-line="p99" aria-hidden="true" /> 99 of 100 (p99)</li>
        {found.budget_ms !== null && <li><span class="swatch line dashed" aria-hidden="true" /> budget {ms(found.budget_ms)}</li>}
        <li><span class="swatch" data-tone="good" aria-hidden="true" /> in time</li>
        <li><span class="swatch" data-tone="warn" aria-hidden="true" /> late, said so</li>
        <li><span class="swatch" data-tone="bad" aria-hidden="true" /> missed</li>
      </ul>
      <Chart
        {...{ height: 300, of: found, onDrag }}
        label={`Wait over time, from ${clock(found.from)} to ${clock(found.to)}. ${headline(found).text}`}
        option={(colours, width) => waitOption(series, found.budget_ms, colours, width)}
      />
      <AsTable
        caption="Wait over time"
        numeric={[1, 2, 3, 4, 5, 6, 7, 8]}
        head={["from", "p50", "p95", "p99", "turns", "in time", "late, said so", "missed", "cold"]}
        rows={series.filter((one) => one.n).map(stepRow)}
      />
    </Panel>
  );
}

function stepRow(one: Step) {
  return {
    key: String(one.at),
    cells: [clock(one.at), ms(one.p50), ms(one.p95), ms(one.p99), ...[one.n, one.met, one.declared, one.missed, one.cold].map(count)],
  };
}

function StagePanel({ found }: { found: Overview }) {
  const { place } = useDesk();
  const titles = { p50: "A typical turn (p50)", p95: "A slow turn (p95)" } as { [name: string]: string };
  const stacks = stacksOf(found.stages, found.response).map((one) => ({ ...one, title: titles[one.name]! }));
  return (
    <Panel title="Where the time went" class="wide" explain={`${blame(found)} Solid: what callers waited for. Striped: work that ran while the server was still listening, so nobody waited for it.`}>
      <Legend />
      <Stacks stacks={stacks} budgetMs={found.budget_ms} />
      <p class="note">Each part is that stage’s own percentile; slow stages seldom meet in one turn, so the parts of the slow turn add up to more than its wait.</p>
      <Table
        caption="Stages"
        numeric={[1, 2, 3, 4, 5, 6]}
        head={["Stage", "Waited for, p50", "Waited for, p95", "May take", "Hidden, p50", "Took, p95", "Late turns"]}
        rows={found.stages.map((one) => ({
          key: one.stage,
          cells: [
            <>
              <span class="swatch" data-stage={one.stage} aria-hidden="true" /> <Go to={turnsWith(place, "stage", one.stage)}>{stageWord(one.stage).name}</Go> <code class="muted">{one.stage}</code>
              <span class="explain block">{stageWord(one.stage).what}</span>
            </>,
            ms(one.exposed_p50),
            <Over value={one.exposed_p95} limit={one.budget_ms} />,
            ms(one.budget_ms),
            ms(one.hidden_p50),
            ms(one.p95),
            count(one.blamed),
          ],
        }))}
      />
    </Panel>
  );
}

/** A figure that says so when it is over its limit. */
function Over(props: { value: number | null; limit: number | null }) {
  const over = props.value !== null && props.limit !== null && props.value > props.limit;
  return over ? <span class="over" title="More than its share of the budget">{ms(props.value)} ▲</span> : <>{ms(props.value)}</>;
}

function Rungs({ found }: { found: Overview }) {
  const { place } = useDesk();
  const taken = Object.entries(found.rungs).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...taken.map(([, n]) => n));
  return (
    <Panel title="What was done to be in time" class="wide" explain="Steps that the server took, before the budget was used up, so that the answer would not be late. A turn can take several.">
      {taken.length === 0 && <p class="note empty">No step was needed.</p>}
      <ul class="rows two">
        {taken.map(([rung, n]) => (
          <li key={rung} data-figure={`rung-${rung}`}>
            <Go to={turnsWith(place, "rung", rung)}>
              <span class="row-name">{rungWord(rung).name}</span>
              <span class="explain">{rungWord(rung).what}</span>
              <span class="value">{count(n)}</span>
              <span class="bar" aria-hidden="true"><span style={{ width: `${(100 * n) / most}%` }} /></span>
            </Go>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

