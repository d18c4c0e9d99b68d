// One turn: where its milliseconds went, what was decided and why, who answered, what was said.
import { useState } from "preact/hooks";
import { count, many, ms, percent, second } from "../data/format";
import { filtered } from "../data/place";
import type { RungTaken, TurnRow } from "../data/wire";
import { markWord, outcomeWord, reasonWords, rungWord, stageWord, verdictWord } from "../data/words";
import { heldKey, reach } from "../net/ask";
import { useAsk, useDesk } from "../ui/desk";
import { Chip, Figure, Go, Notice, Panel, Table, Title, verdictTone, Wait } from "../ui/parts";
import { Legend } from "../ui/stack";
import { WaterfallOf } from "../ui/waterfall";

export function TurnView({ id }: { id: string }) {
  const { place } = useDesk();
  const asked = useAsk<TurnRow>(`turns/${encodeURIComponent(id)}`, () => ({}), id);
  const back = <Go class="quiet button" to={{ ...place, turn: null }}>← All turns</Go>;
  const missing = asked.error?.status === 404;
  return (
    <>
      <Title name="Turn" explain={asked.data ? `${second(asked.data.began_unix_ms)}, turn ${asked.data.turn} of conversation ${asked.data.session}` : id} side={<div class="actions">{back}<Share /></div>}>
        One turn
      </Title>
      {missing ? (
        <Notice tone="warn">There is no such turn, or it is not yours to see. The server keeps the latest turns only.</Notice>
      ) : (
        <Wait asked={asked}>{(turn) => <Turn turn={turn} />}</Wait>
      )}
    </>
  );
}

function Share() {
  const [said, setSaid] = useState("Copy link");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      setSaid("Copied");
    } catch {
      setSaid("Copy it from the address bar");
    }
    setTimeout(() => setSaid("Copy link"), 2_500);
  };
  return <button type="button" class="quiet" onClick={() => void copy()}><span role="status">{said}</span></button>;
}

function Turn({ turn }: { turn: TurnRow }) {
  const { place } = useDesk();
  const over = turn.response_ms === null ? null : turn.response_ms - turn.budget_ms;
  const outcome = outcomeWord(turn.outcome);
  return (
    <div class="grid">
      <Panel title="What the caller waited" class="wide hero">
        <p class="headline" data-tone={verdictTone(turn.verdict)}>
          {turn.response_ms === null ? "No answer was heard. " : `The answer came after ${ms(turn.response_ms)}. `}
          {over !== null && (over <= 0 ? `That left ${ms(-over)} of the budget of ${ms(turn.budget_ms)}.` : `That was ${ms(over)} over the budget of ${ms(turn.budget_ms)}.`)}
        </p>
        <p class="chip-row">
          <Chip tone={verdictTone(turn.verdict)} title={verdictWord(turn.verdict).what}>{verdictWord(turn.verdict).name}</Chip>
          <Chip tone={turn.outcome === "failed" ? "bad" : "plain"} title={outcome.what}>{outcome.name}</Chip>
          {turn.cold && <Chip tone="warn" glyph="❄" title="A replica that was not warm took part.">Cold</Chip>}
          {turn.cut_off && <Chip tone="bad" glyph="✂" title="The caller spoke again within a second: they had probably not finished.">Begun too early</Chip>}
          {turn.drafted && <Chip tone="plain" glyph="✎" title={rungWord("draft").what}>Drafted early</Chip>}
          {turn.failure && <Chip tone="bad">{turn.failure.replaceAll("_", " ")}</Chip>}
        </p>
        <dl class="figures small">
          <Figure label="Heard after" value={ms(turn.heard_after_ms)} explain={turn.heard_after_ms === null ? "The caller’s device did not say." : "At the caller’s ear, by its own word."} />
          <Figure label="Silence" value={ms(turn.silence_ms)} explain="Until anything at all was heard." />
          <Figure label="Stage to blame" value={turn.blamed ? stageWord(turn.blamed).name : "–"} explain={turn.blamed ? stageWord(turn.blamed).what : "No stage was measured."} />
          <Figure label="Hidden work" value={ms(turn.hidden_ms)} explain={turn.work_ms > 0 ? `${percent(turn.hidden_ms / turn.work_ms)} of the work cost the caller nothing.` : "No work was measured."} />
        </dl>
        <p class="explain origin-line">
          {(["tenant", "route", "region", "profile", "release"] as const).map((name) => turn[name] && (
            <Go key={name} to={{ ...filtered(place, name, turn[name]), turn: null }}>{turn[name]}</Go>
          ))}
        </p>
      </Panel>
      <Panel title="Where the milliseconds went" class="wide" explain="Time runs from left to right, from the caller’s last word. Striped parts ran while it was still being decided whether the caller had finished: they cost nothing.">
        <Legend />
        <WaterfallOf turn={turn} />
      </Panel>
      <div class="column">
        <Decisions turn={turn} />
        <Uses turn={turn} />
        <Tokens turn={turn} />
      </div>
      <div class="column">
        <Words turn={turn} />
        <Marks turn={turn} />
      </div>
    </div>
  );
}

function Decisions({ turn }: { turn: TurnRow }) {
  return (
    <Panel title="What was decided, and why" explain="Steps that the server took so that the answer would not be late.">
      {turn.rungs.length === 0 && <p class="note empty">No step was needed.</p>}
      <ol class="decisions">
        {turn.rungs.map((one, i) => (
          <li key={i}>
            <p><strong>{rungWord(one.rung).name}</strong> <span class="muted">at {ms(one.at_ms)}</span></p>
            <p class="explain">{rungWord(one.rung).what}</p>
            <p>Because {reasonWords(one.reason)}. {left(one)} {promise(one)}</p>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

const left = (one: RungTaken) => (one.remaining_ms >= 0 ? `${ms(one.remaining_ms)} of the budget were left.` : `The budget had been over for ${ms(-one.remaining_ms)}.`);

function promise(one: RungTaken): string {
  if (one.forecast_ms === null) return "";
  const fits = one.forecast_ms <= one.remaining_ms ? "in time" : "late all the same";
  return `Forecast: sound within ${ms(one.forecast_ms)} in 19 of 20 cases, which is ${fits}.`;
}

function Marks({ turn }: { turn: TurnRow }) {
  const marks = Object.entries(turn.marks).sort(([, a], [, b]) => a - b);
  return (
    <Panel title="Moment by moment" explain="Measured from the caller’s last word.">
      <Table
        caption="Moments"
        numeric={[1]}
        head={["What happened", "after"]}
        rows={marks.map(([mark, at]) => ({ key: mark, cells: [<>{markWord(mark).name}<span class="explain block">{markWord(mark).what}</span></>, ms(at)] }))}
      />
    </Panel>
  );
}

function Uses({ turn }: { turn: TurnRow }) {
  const { place } = useDesk();
  return (
    <Panel title="Who did the work" explain="Replicas that were asked. With a second one asked as well, only one answer is used.">
      {turn.uses.length === 0 ? (
        <p class="note empty">Nobody was asked.</p>
      ) : (
        <Table
          caption="Replicas asked"
          numeric={[2]}
          head={["Stage", "Replica", "First result", "State", "Answer"]}
          rows={turn.uses.map((one, i) => ({
            key: String(i),
            cells: [
              one.stage,
              <><Go to={{ ...filtered(place, "replica", one.replica), turn: null }}>{one.replica || "–"}</Go><span class="explain block">{one.region}</span></>,
              ms(one.first_ms),
              <Chip tone={one.warm ? "good" : "warn"} glyph={one.warm ? "●" : "❄"}>{one.warm ? "warm" : "cold"}</Chip>,
              one.won ? <Chip tone="good">used</Chip> : <Chip tone="plain" glyph="–">not used</Chip>,
            ],
          }))}
        />
      )}
    </Panel>
  );
}

function Tokens({ turn }: { turn: TurnRow }) {
  return (
    <Panel title="Tokens" explain="Pieces of words that the language model read and wrote.">
      <dl class="figures small">
        <Figure label="Read" value={count(turn.read_tokens)} explain="The conversation so far." />
        <Figure label="Written" value={count(turn.written_tokens)} explain="The answer." />
        <Figure label="Drafted" value={count(turn.drafted_tokens)} explain={many(turn.n_drafts, "draft")} />
        <Figure label="Wasted" value={count(turn.wasted_tokens)} tone={turn.wasted_tokens > turn.written_tokens ? "warn" : "plain"} explain="Written, and used by nobody." />
      </dl>
    </Panel>
  );
}

function Words({ turn }: { turn: TurnRow }) {
  const { me } = useDesk();
  const said = turn.user_text || turn.agent_text;
  return (
    <Panel title="What was said" explain="As it was heard: an interrupted answer ends where the caller stopped listening.">
      {said ? (
        <dl class="said">
          <dt>Caller</dt>
          <dd>{turn.user_text || "–"}</dd>
          <dt>Agent</dt>
          <dd>{turn.agent_text || "–"}</dd>
        </dl>
      ) : (
        <p class="note empty">
          {me?.keeps_transcripts ? "Nothing was said in this turn." : <>No words are kept on this server. <code>ledger.transcripts</code> changes that.</>}
        </p>
      )}
      {turn.recording && <Recording path={turn.recording} />}
    </Panel>
  );
}

/** A link, or where a key is needed, a button that fetches with it. */
function Recording({ path }: { path: string }) {
  const [trouble, setTrouble] = useState("");
  const url = new URL(path, location.href);
  if (!["http:", "https:"].includes(url.protocol)) return null;
  if (url.origin !== location.origin) return <p><a href={url.href} rel="noopener noreferrer">Recording of the call</a></p>;
  if (!heldKey()) return <audio controls preload="none" src={url.href} aria-label="Recording of the call" />;
  const fetchIt = async () => {
    try {
      const response = await reach(url.href, new AbortController().signal);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = url.pathname.split("/").at(-1) || "recording.wav";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch {
      setTrouble("The recording could not be fetched.");
    }
  };
  return (
    <p>
      <button type="button" class="quiet" onClick={() => void fetchIt()}>Download the recording</button> {trouble && <span role="alert">{trouble}</span>}
    </p>
  );
}
