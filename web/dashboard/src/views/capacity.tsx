// Is there room for another caller, and who decides that there is not?
import { count, ms } from "../data/format";
import { admission } from "../data/verdicts";
import type { Capacity } from "../data/wire";
import { useAsk, useDesk } from "../ui/desk";
import { Figure, Panel, Table, Title, Wait } from "../ui/parts";

export function CapacityView() {
  const { live } = useDesk();
  const asked = useAsk<Capacity>("capacity", () => ({}), "");
  const now = live.capacity && !asked.error ? { ...asked, data: live.capacity } : asked;
  return (
    <>
      <Title name="Capacity" explain="A new call is taken only if its turns, and everybody else’s, would still be in time.">Capacity and admission</Title>
      <Wait asked={now}>{(found) => <Found found={found} />}</Wait>
    </>
  );
}

function Found({ found }: { found: Capacity }) {
  const said = admission(found);
  const predicted = found.predicted_p95_ms;
  const over = predicted !== null && found.budget_ms !== null && predicted > found.budget_ms;
  const refused = Object.entries(found.refused).filter(([, n]) => n > 0);
  const full = found.max_sessions ? Math.min(1, found.sessions / found.max_sessions) : null;
  return (
    <div class="grid">
      <Panel title="Now" class="wide hero">
        <p class="headline" data-tone={said.tone}>{said.text}</p>
        {full !== null && (
          <div class="meter-row">
            <span>Calls</span>
            <div class="meter" aria-hidden="true"><span data-tone={full > 0.9 ? "bad" : "good"} style={{ width: `${100 * full}%` }} /></div>
            <span class="value">{count(found.sessions)} of {count(found.max_sessions)}</span>
          </div>
        )}
        <dl class="figures">
          <Figure label="Calls now" value={count(found.sessions)} explain={found.max_sessions ? `The limit that is set is ${count(found.max_sessions)}.` : "No limit is set."} />
          <Figure label="Forecast (p95)" value={ms(predicted)} tone={predicted === null ? "plain" : over ? "bad" : "good"} explain="How long one in twenty callers would wait if one more call were taken." />
          <Figure label="Budget" value={ms(found.budget_ms)} explain="Above it, new calls are turned away before those that are held get slower." />
          <Figure label="Room for" value={count(found.headroom_sessions)} explain="More calls, by the same forecast." />
        </dl>
      </Panel>
      <Panel title="Turned away" explain="Calls that were refused since the server started, and why.">
        {refused.length === 0 ? (
          <p class="note empty">Nobody was turned away.</p>
        ) : (
          <Table caption="Refused calls" numeric={[1]} head={["Reason", "Calls"]} rows={refused.map(([code, n]) => ({ key: code, cells: [code.replaceAll("_", " "), count(n)] }))} />
        )}
      </Panel>
      <Panel title="Queues" explain="Work that waits for a free place. A long wait here is felt by callers.">
        {found.queues.length === 0 ? (
          <p class="note empty">There are no queues.</p>
        ) : (
          <Table caption="Queues" numeric={[1, 2]} head={["Queue", "Waiting", "Wait"]} rows={found.queues.map((one) => ({ key: one.name, cells: [one.name.replaceAll("_", " "), count(one.waiting), ms(one.wait_ms)] }))} />
        )}
      </Panel>
    </div>
  );
}
