// One turn in a list: when, how long and where the time went, whether in time, what was done about it.
import { clock, ms } from "../data/format";
import { stackOf } from "../data/waterfall";
import type { TurnRow } from "../data/wire";
import { outcomeWord, rungWord, stageWord, verdictWord } from "../data/words";
import { useDesk } from "./desk";
import { Chip, Go, verdictTone } from "./parts";

export const COLUMNS = ["When", "Waited", "In time?", "Stage to blame", "Steps taken", "Who"] as const;

/** The turn's wait as a bar: its stages, with the budget as a line. */
export function MiniStack({ turn, longestMs }: { turn: TurnRow; longestMs: number }) {
  const width = (value: number) => `${Math.min(100, (100 * value) / longestMs)}%`;
  return (
    <span class="mini" aria-hidden="true">
      {stackOf(turn).exposed.map((one) => <span key={one.stage} class="piece" data-stage={one.stage} style={{ width: width(one.ms) }} />)}
      <span class="budget" style={{ left: width(turn.budget_ms) }} />
    </span>
  );
}

/** The cells of a row of the grid. `role`: of each. */
export function TurnCells({ turn, longestMs }: { turn: TurnRow; longestMs: number }) {
  const { place } = useDesk();
  const rungs = turn.rungs.filter((one) => one.rung !== "full");
  const outcome = turn.outcome === "answered" ? null : outcomeWord(turn.outcome);
  return (
    <>
      <span role="gridcell" class="when">
        <Go to={{ ...place, view: "turns", turn: turn.id }} tab={-1}>{clock(turn.began_unix_ms)}</Go>
      </span>
      <span role="gridcell" class="waited">
        <span class="value">{ms(turn.response_ms)}</span>
        <MiniStack turn={turn} longestMs={longestMs} />
      </span>
      <span role="gridcell" class="verdict"><Chip tone={verdictTone(turn.verdict)} title={verdictWord(turn.verdict).what}>{verdictWord(turn.verdict).name}</Chip></span>
      <span role="gridcell" class="blamed">{turn.blamed ? <><span class="swatch" data-stage={turn.blamed} aria-hidden="true" /> {stageWord(turn.blamed).name}</> : "–"}</span>
      <span role="gridcell" class="steps">{rungs.map((one) => rungWord(one.rung).name).join(", ") || "–"}</span>
      <span role="gridcell" class="origin">
        {turn.cold && <Chip tone="plain" glyph="❄" title="A cold replica took part.">cold</Chip>}
        {turn.cut_off ? <Chip tone="bad" glyph="✂" title="The agent seems to have spoken before the caller had finished.">too early</Chip> : outcome && <Chip tone="plain" glyph="–" title={outcome.what}>{outcome.name}</Chip>}
        <span class="muted">{turn.tenant} · {turn.route} · {turn.region}</span>
      </span>
    </>
  );
}

/** A scale on which turns can be compared at a glance: the longest but for outliers, the budget at least. */
export function scaleOf(turns: (TurnRow | undefined)[]): number {
  const waits = turns.map((turn) => turn?.response_ms ?? 0).sort((a, b) => a - b);
  const budget = turns.find((turn) => turn)?.budget_ms ?? 0;
  return Math.max(1, budget * 1.3, waits[Math.floor((waits.length - 1) * 0.98)] ?? 0);
}
