// Who does the work, and how they are.
import { count, ms, percent, plain } from "../data/format";
import { filtered } from "../data/place";
import type { Tone } from "../data/verdicts";
import type { Replica, Replicas } from "../data/wire";
import { breakerWord, replicaWord, stageWord } from "../data/words";
import { useAsk, useDesk } from "../ui/desk";
import { Chip, Go, Panel, Title, Wait } from "../ui/parts";

const STATE: { [state: string]: readonly [tone: Tone, glyph: string] } = {
  warm: ["good", "●"],
  cold: ["warn", "❄"],
  asleep: ["plain", "☾"],
  down: ["bad", "✕"],
};
const BREAKER: { [state: string]: Tone } = { closed: "good", half_open: "warn", open: "bad" };

export function ReplicasView() {
  const { live } = useDesk();
  const asked = useAsk<Replicas>("replicas", () => ({}), "");
  const now = live.replicas && !asked.error ? { ...asked, data: live.replicas } : asked;
  return (
    <>
      <Title name="Replicas" explain="A replica is one copy of an engine: for understanding, thinking or speaking. A warm one answers at full speed.">Replicas</Title>
      <Wait asked={now} empty={(found) => (found.replicas.length ? null : "This server has no replicas of its own to show.")}>
        {({ replicas }) => (
          <div class="grid cards">
            {[...replicas].sort(byTrouble).map((one) => <Card key={`${one.stage} ${one.name}`} replica={one} />)}
          </div>
        )}
      </Wait>
    </>
  );
}

const STAGES = ["asr", "llm", "tts"];

/** By stage; within one, those in trouble first. */
function byTrouble(a: Replica, b: Replica): number {
  const trouble = (one: Replica) => ["down", "cold", "asleep", "warm"].indexOf(one.state) - (one.breaker && one.breaker !== "closed" ? 0.5 : 0);
  return STAGES.indexOf(a.stage) - STAGES.indexOf(b.stage) || trouble(a) - trouble(b) || a.name.localeCompare(b.name);
}

function Card({ replica }: { replica: Replica }) {
  const { place } = useDesk();
  const [tone, glyph] = STATE[replica.state] ?? ["plain", "·"];
  const failed = replica.requests ? replica.failures / replica.requests : null;
  const about = Object.entries(replica.about);
  return (
    <Panel
      title={replica.name}
      explain={`${stageWord(replica.stage).name} (${replica.stage}) in ${replica.region}`}
      side={<Chip tone={tone} glyph={glyph} title={replicaWord(replica.state).what}>{replicaWord(replica.state).name}</Chip>}
    >
      <dl class="pairs">
        <dt>At work on</dt>
        <dd>{count(replica.in_flight)}</dd>
        {replica.queue !== null && <><dt>Waiting in its queue</dt><dd>{count(replica.queue)}</dd></>}
        <dt>First result (p50)</dt>
        <dd>{ms(replica.first_p50_ms)}</dd>
        <dt>First result (p95)</dt>
        <dd>{ms(replica.first_p95_ms)}</dd>
        {replica.kv_used_ratio !== null && <><dt title="KV cache: where it keeps the conversations that it has read.">Memory (KV) in use</dt><dd><Meter ratio={replica.kv_used_ratio} high={0.9} /></dd></>}
        {replica.acceptance_ratio !== null && <><dt title="Speculative decoding: how many of the guessed words were right.">Guesses that were right</dt><dd><Meter ratio={replica.acceptance_ratio} /></dd></>}
        {replica.breaker !== null && (
          <><dt title="Opens when too many requests fail, so that nobody waits for a broken replica.">Circuit breaker</dt><dd><Chip tone={BREAKER[replica.breaker] ?? "plain"} title={breakerWord(replica.breaker).what}>{breakerWord(replica.breaker).name}</Chip></dd></>
        )}
        <dt>Requests</dt>
        <dd>{count(replica.requests)}</dd>
        <dt>Failed</dt>
        <dd>{count(replica.failures)}{failed ? ` (${percent(failed)})` : ""}</dd>
      </dl>
      {about.length > 0 && (
        <details class="as-table">
          <summary>All its figures</summary>
          <dl class="pairs">{about.map(([name, value]) => [<dt key={name}>{name.replaceAll("_", " ")}</dt>, <dd key={`${name}=`}>{plain(value)}</dd>])}</dl>
        </details>
      )}
      <p class="links"><Go to={{ ...filtered(place, "replica", replica.name), view: "turns" }}>Its turns</Go></p>
    </Panel>
  );
}

export function Meter(props: { ratio: number; high?: number }) {
  const tone = props.high !== undefined && props.ratio >= props.high ? "bad" : "good";
  return (
    <span class="meter-row">
      <span class="meter" aria-hidden="true"><span data-tone={tone} style={{ width: `${100 * Math.min(1, Math.max(0, props.ratio))}%` }} /></span>
      {percent(props.ratio)}
    </span>
  );
}
