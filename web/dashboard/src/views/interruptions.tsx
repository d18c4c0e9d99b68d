// When did the agent speak too early, and what did the drafts cost that let it speak early?
import { clock, count, many, percent } from "../data/format";
import type { Interruptions } from "../data/wire";
import { Chart } from "../ui/chart";
import { useDesk } from "../ui/desk";
import { interruptionOption } from "../ui/options";
import { AsTable, Figure, Go, Panel, Title, Wait } from "../ui/parts";
import { turnsWith, useOverview } from "./overview";

export function InterruptionsView() {
  const asked = useOverview();
  const { place } = useDesk();
  return (
    <>
      <Title name="Interruptions" explain="An agent that answers fast but cuts callers off is no good. Look at both figures together.">Interruptions and false starts</Title>
      <Wait asked={asked} empty={(found) => (found.n_turns ? null : "No turns in this period. Choose a longer one, or remove a filter.")}>
        {({ interruptions: found }) => (
          <div class="grid" data-old={asked.old || undefined}>
            <Panel title="Speaking too early" class="wide" explain="The caller spoke again within a second of the answer’s first sound: most likely they had not finished.">
              <dl class="figures">
                <Figure name="cut-off" label="Begun too early" value={percent(found.cut_off_ratio)} tone={(found.cut_off_ratio ?? 0) > 0.05 ? "bad" : "good"} explain={`${count(found.cut_off)} of ${many(found.n_turns, "turn")}. Under 5 % is what callers put up with.`} />
                <Figure name="interrupted" label="Interrupted" value={count(found.interrupted)} explain="All interruptions. Callers may interrupt; the agent stops at once." />
              </dl>
              <p class="links"><Go to={turnsWith(place, "outcome", "interrupted")}>See the interrupted turns</Go></p>
            </Panel>
            <OverTime found={found} />
            <Drafts found={found} />
          </div>
        )}
      </Wait>
    </>
  );
}

function OverTime({ found }: { found: Interruptions }) {
  return (
    <Panel title="Over time" class="wide" explain="Grey: interrupted by the caller. Red: of these, begun too early.">
      <Chart
        {...{ height: 220, of: found, label: `Interruptions over time: ${count(found.interrupted)} in all, ${count(found.cut_off)} of them begun too early.` }}
        option={(colours, width) => interruptionOption(found.series, colours, width)}
      />
      <AsTable
        caption="Interruptions over time"
        numeric={[1, 2, 3]}
        head={["from", "turns", "interrupted", "begun too early"]}
        rows={found.series.filter((one) => one.n).map((one) => ({ key: String(one.at), cells: [clock(one.at), count(one.n), count(one.interrupted), count(one.cut_off)] }))}
      />
    </Panel>
  );
}

function Drafts({ found }: { found: Interruptions }) {
  const won = found.drafts ? found.drafts_won / found.drafts : null;
  const wasted = found.drafted_tokens ? found.wasted_tokens / found.drafted_tokens : null;
  return (
    <Panel title="Early drafts" class="wide" explain="At a short pause the server begins an answer in silence. If the caller goes on, it is thrown away; if not, the answer is there sooner.">
      <dl class="figures">
        <Figure name="drafts" label="Drafts begun" value={count(found.drafts)} explain="In all turns of the period." />
        <Figure name="drafts-won" label="Used" value={percent(won)} explain={`${count(found.drafts_won)} drafts became the answer.`} />
        <Figure name="wasted" label="Tokens wasted" value={count(found.wasted_tokens)} explain={wasted === null ? "No draft has written anything." : `${percent(wasted)} of the ${count(found.drafted_tokens)} that drafts wrote. The price of being early.`} />
      </dl>
    </Panel>
  );
}
