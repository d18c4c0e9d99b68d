// Two periods, or two releases, side by side, with how sure the difference is.
import { count, factor, localInput, minute, ms, percent } from "../data/format";
import type { Side } from "../data/place";
import { compareQuery, comparing, kindOf, type Kind } from "../data/sides";
import { compared } from "../data/verdicts";
import { VERDICTS, type Comparison, type Interval } from "../data/wire";
import { rungWord, stageWord, verdictWord } from "../data/words";
import { keyOf, useAsk, useDesk } from "../ui/desk";
import { Choice, Panel, Table, Title, Wait } from "../ui/parts";

export function CompareView() {
  const { place } = useDesk();
  const key = `${keyOf(place)} ${JSON.stringify([place.a, place.b])}`;
  const asked = useAsk<Comparison>("compare", () => compareQuery(place, Date.now()), key);
  return (
    <>
      <Title name="Compare" explain="Has it become better or worse? A is before, B is after.">Compare</Title>
      <Sides />
      <Wait asked={asked} empty={(found) => (found.a.n || found.b.n ? null : "Neither side has turns. Choose other periods, or remove a filter.")}>
        {(found) => <Found found={found} old={asked.old} />}
      </Wait>
    </>
  );
}

function Sides() {
  const { place, go, facets } = useDesk();
  const releases = facets?.releases ?? [];
  const kind = kindOf(place);
  const options: [Kind, string][] = [["before", "this period with the one before"], ["day", "this period with a day earlier"], ["releases", "two releases"], ["own", "two periods of my own"]];
  const query = compareQuery(place, Date.now());
  const said = (side: "a" | "b") => place[side].release ?? `${minute(Number(query[`${side}_from`]))} to ${minute(Number(query[`${side}_to`])).slice(11)}`;
  return (
    <div class="sides">
      <Choice label="Compare" value={kind} options={options} onChoose={(value) => go(comparing(place, value as Kind, releases, Date.now()))} />
      {kind === "releases" &&
        (["a", "b"] as const).map((side) => (
          <Choice
            {...{ key: side, label: side.toUpperCase(), value: place[side].release ?? "" }}
            options={[...new Set([...releases, place[side].release ?? ""])].map((one) => [one, one || "(none)"] as const)}
            onChoose={(release) => go({ ...place, [side]: { ...place[side], release } })}
          />
        ))}
      {kind === "own" && (["a", "b"] as const).map((side) => <OwnSide key={side} name={side} side={place[side]} onSide={(next) => go({ ...place, [side]: next })} />)}
      {kind !== "own" && <p class="note">A: {said("a")} · B: {said("b")}</p>}
    </div>
  );
}

function OwnSide(props: { name: string; side: Side; onSide(side: Side): void }) {
  const field = (end: "from" | "to") => (
    <label>
      {end}{" "}
      <input
        {...{ type: "datetime-local", value: props.side[end] === null ? "" : localInput(props.side[end]!) }}
        onChange={(event) => {
          const next = { ...props.side, [end]: Date.parse(event.currentTarget.value) };
          if (next.from && next.to && next.from < next.to) props.onSide(next);
        }}
      />
    </label>
  );
  return <fieldset class="own-period"><legend>{props.name.toUpperCase()}</legend>{field("from")}{field("to")}</fieldset>;
}

function Found({ found, old }: { found: Comparison; old: boolean }) {
  const said = compared(found);
  const { a, b } = found;
  const row = (name: string, first: string, second: string) => ({ key: name, cells: [name, first, second] });
  const part = (n: number, of: number) => `${count(n)}${of ? ` (${percent(n / of)})` : ""}`;
  const rungs = [...new Set([...Object.keys(a.rungs), ...Object.keys(b.rungs)])];
  return (
    <div class="grid" data-old={old || undefined}>
      <Panel title="What came out" class="wide hero" explain="The range says where the true ratio lies with 95 % certainty, found by drawing from the turns again and again (bootstrap). If it spans 1, the difference may be chance.">
        <p class="headline" data-tone={said.tone}>{said.text}</p>
        <Ratio title="Typical wait (p50), B over A" ratio={found.ratio.p50} />
        <Ratio title="Slow wait (p95), B over A" ratio={found.ratio.p95} />
      </Panel>
      <Panel title="Side by side">
        <Table
          caption="Both sides"
          numeric={[1, 2]}
          head={[<span class="unseen">Figure</span>, "A", "B"]}
          rows={[
            row("Turns", count(a.n), count(b.n)),
            row("Half waited (p50)", ms(a.response.p50), ms(b.response.p50)),
            row("19 of 20 waited (p95)", ms(a.response.p95), ms(b.response.p95)),
            row("99 of 100 waited (p99)", ms(a.response.p99), ms(b.response.p99)),
            ...VERDICTS.map((one) => row(verdictWord(one).name, part(a.verdicts[one] ?? 0, a.n), part(b.verdicts[one] ?? 0, b.n))),
            row("Met a cold replica", percent(a.cold_rate), percent(b.cold_rate)),
            row("Begun too early", percent(a.cut_off_ratio), percent(b.cut_off_ratio)),
            ...rungs.map((rung) => row(rungWord(rung).name, part(a.rungs[rung] ?? 0, a.n), part(b.rungs[rung] ?? 0, b.n))),
          ]}
        />
      </Panel>
      <Panel title="Stage by stage" explain="How long each stage took, hidden time included.">
        <Table
          caption="Stages of both sides"
          numeric={[1, 2, 3, 4]}
          head={["Stage", "A p50", "B p50", "A p95", "B p95"]}
          rows={found.stages.map((one) => ({ key: one.stage, cells: [stageWord(one.stage).name, ms(one.a_p50), <Change a={one.a_p50} b={one.b_p50} />, ms(one.a_p95), <Change a={one.a_p95} b={one.b_p95} />] }))}
        />
      </Panel>
    </div>
  );
}

function Change({ a, b }: { a: number | null; b: number | null }) {
  const ratio = a && b ? b / a : null;
  return (
    <>
      {ms(b)}
      {ratio !== null && Math.abs(ratio - 1) >= 0.05 && <span class={`block small ${ratio > 1 ? "over" : "under"}`}>{factor(ratio)} {ratio > 1 ? "▲" : "▼"}</span>}
    </>
  );
}

/** A ratio with its interval, on a scale with 1 in the middle. */
function Ratio({ title, ratio }: { title: string; ratio: Interval | null }) {
  if (!ratio) return <p class="ratio"><span>{title}</span> <span class="muted">too few turns to tell</span></p>;
  const reach = Math.max(Math.log(1.25), ...[ratio.low, ratio.high].filter((one) => one > 0).map((one) => Math.abs(Math.log(one)))) * 1.15;
  const at = (value: number) => `${50 + (50 * Math.log(Math.max(value, 1e-6))) / reach}%`;
  const tone = ratio.low > 1 ? "bad" : ratio.high < 1 ? "good" : "plain";
  return (
    <div class="ratio" data-tone={tone}>
      <span>{title}</span>
      <span class="ratio-scale" aria-hidden="true">
        <span class="one" />
        <span class="range" style={{ left: at(ratio.low), width: `calc(${at(ratio.high)} - ${at(ratio.low)})` }} />
        <span class="point" style={{ left: at(ratio.value) }} />
      </span>
      <span class="value">{factor(ratio.value)} <span class="muted">({factor(ratio.low)} to {factor(ratio.high)})</span></span>
    </div>
  );
}
