// The goal for turns in time, how fast its allowance is used up, and the alarms about that.
import { count, percent, times } from "../data/format";
import { burnSaid, objectiveSaid, windowName } from "../data/verdicts";
import type { Slo } from "../data/wire";
import { alarmName } from "../data/words";
import { Chip, Panel, Table } from "../ui/parts";

export function SloPanel({ slo }: { slo: Slo }) {
  const firing = slo.alerts.filter((one) => one.firing);
  const left = slo.budget_left_ratio;
  return (
    <Panel title="Keeping the promise" explain={`${objectiveSaid(slo)} The burn rate says how fast this allowance is used: at 1× it is used up just when the period ends, at 10× in a tenth of it.`}>
      {left !== null && (
        <div class="meter-row">
          <span>Allowance left</span>
          <div class="meter" aria-hidden="true">
            <span data-tone={left > 0.25 ? "good" : left > 0 ? "warn" : "bad"} style={{ width: `${100 * Math.min(1, Math.max(0, left))}%` }} />
          </div>
          <span class="value" data-figure="budget-left">{left < 0 ? `overdrawn by ${percent(-left)}` : percent(left)}</span>
        </div>
      )}
      <Table
        caption="Burn rates"
        numeric={[1, 2]}
        head={["Window", "Too late", "Burn rate", "Which means"]}
        rows={slo.windows.map((one) => {
          const said = burnSaid(one.burn);
          return {
            key: String(one.window_s),
            cells: [windowName(one.window_s), `${count(one.bad)} of ${count(one.n)}`, times(one.burn), <Chip tone={said.tone}>{said.text}</Chip>],
          };
        })}
      />
      <ul class="alerts" aria-label="Alarms">
        {slo.alerts.map((one) => (
          <li key={one.name}>
            <Chip tone={one.firing ? "bad" : "good"} glyph={one.firing ? "!" : "✓"}>{one.firing ? "Firing" : "Quiet"}</Chip> {alarmName(one.name)}
            <span class="explain"> when the burn rate is {times(one.threshold)} or more; now {times(one.burn)}</span>
          </li>
        ))}
      </ul>
      {slo.alerts.length > 0 && firing.length === 0 && <p class="note">No alarm is firing.</p>}
    </Panel>
  );
}
