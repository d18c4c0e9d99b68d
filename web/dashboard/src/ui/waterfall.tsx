// The waterfall of one turn: a lane for each stage, the budget and the answer as lines through all of them.
import { ms } from "../data/format";
import { waterfallOf, type Bar } from "../data/waterfall";
import type { TurnRow } from "../data/wire";
import { stageWord } from "../data/words";
import { AsTable } from "./parts";

const part = (value: number) => `${100 * value}%`;

export function WaterfallOf({ turn }: { turn: TurnRow }) {
  if (!turn.spans.length) return <p class="note empty">This turn did not begin with speech, so there is no end of speech to measure from.</p>;
  const fall = waterfallOf(turn);
  const steps = turn.rungs.filter((one) => one.at_ms >= fall.fromMs && one.at_ms <= fall.toMs);
  const place = (value: number) => (value - fall.fromMs) / (fall.toMs - fall.fromMs);
  return (
    <>
      <div class="fall" role="img" aria-label={spoken(turn)}>
        <div class="fall-names">
          {fall.bars.map((bar) => <span key={bar.stage} title={stageWord(bar.stage).what}>{stageWord(bar.stage).name}</span>)}
          {steps.length > 0 && <span>Steps taken</span>}
        </div>
        <div class="fall-lanes">
          {fall.ticks.map((tick) => <span key={tick.ms} class="rule" style={{ left: part(tick.at) }} />)}
          {fall.bars.map((bar) => (
            <div key={bar.stage} class="fall-lane">
              {bar.hidden > 0 && (
                <span class="piece hatched" data-stage={bar.stage} style={{ left: part(bar.start), width: part(bar.hidden) }} title={`${ms(bar.hiddenMs)} hidden`} />
              )}
              <span class="piece" data-stage={bar.stage} style={{ left: part(bar.start + bar.hidden), width: part(bar.exposed) }} title={`${ms(bar.exposedMs)} waited for`} />
              <span class={`fall-value ${labelOf(bar).side}`} style={{ left: part(labelOf(bar).at) }}>
                {ms(bar.hiddenMs + bar.exposedMs)}
                {bar.hiddenMs > 0 && <span class="muted"> ({ms(bar.hiddenMs)} hidden)</span>}
              </span>
            </div>
          ))}
          {steps.length > 0 && (
            <div class="fall-lane">
              {steps.map((one, i) => <span key={i} class="step" style={{ left: part(place(one.at_ms)) }}>{i + 1}</span>)}
            </div>
          )}
          <span class="budget" style={{ left: part(fall.budget) }}><span class={fall.budget > 0.8 ? "to-left" : ""}>budget {ms(turn.budget_ms)}</span></span>
          {fall.answer !== null && <span class="answer" data-over={turn.response_ms! > turn.budget_ms || undefined} style={{ left: part(fall.answer) }} />}
        </div>
        <div class="fall-axis">{fall.ticks.map((tick) => <span key={tick.ms} style={{ left: part(tick.at) }}>{ms(tick.ms)}</span>)}</div>
      </div>
      <AsTable
        caption="Stages of this turn"
        numeric={[1, 2, 3, 4]}
        head={["Stage", "from", "to", "hidden", "waited for"]}
        rows={turn.spans.map((span, i) => ({
          key: span.stage,
          cells: [stageWord(span.stage).name, ms(span.start_ms), ms(span.end_ms), ms(span.hidden_ms), ms(fall.bars[i]!.exposedMs)],
        }))}
      />
    </>
  );
}

/** Beside its bar where there is room, else within it. */
function labelOf(bar: Bar): { side: string; at: number } {
  const end = bar.start + bar.hidden + bar.exposed;
  if (end <= 0.7) return { side: "", at: end };
  return bar.start >= 0.25 ? { side: "before", at: bar.start } : { side: "within", at: end };
}

function spoken(turn: TurnRow): string {
  const stages = turn.spans.map((span) => `${stageWord(span.stage).name} from ${ms(span.start_ms)} to ${ms(span.end_ms)}`).join(", ");
  const end = turn.response_ms === null ? "There was no answer." : `The answer came after ${ms(turn.response_ms)}.`;
  return `Waterfall. ${end} The budget was ${ms(turn.budget_ms)}. ${stages}.`;
}
