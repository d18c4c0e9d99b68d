// What was waited for, stacked stage by stage, and below it what was hidden. Bars are boxes, so they have names.
import { ms } from "../data/format";
import { sumMs, type Stack } from "../data/waterfall";
import { STAGES } from "../data/wire";
import { stageWord } from "../data/words";

export function Legend(props: { hidden?: boolean; waiting?: boolean }) {
  return (
    <ul class="legend" aria-label="Stages">
      {STAGES.map((stage) => (
        <li key={stage} title={stageWord(stage).what}>
          <span class="swatch" data-stage={stage} aria-hidden="true" /> {stageWord(stage).name}
        </li>
      ))}
      {props.waiting && (
        <li title={stageWord("waiting").what}>
          <span class="swatch" data-stage="waiting" aria-hidden="true" /> {stageWord("waiting").name}
        </li>
      )}
      {props.hidden !== false && (
        <li title="Done before the caller was known to have finished, so it cost the caller nothing.">
          <span class="swatch hatched" data-stage="llm" aria-hidden="true" /> Striped: hidden, cost the caller nothing
        </li>
      )}
    </ul>
  );
}

export interface NamedStack extends Stack {
  title: string;
  explain?: string;
}

/** Stacks on one scale, with the budget as a line through all of them. */
export function Stacks(props: { stacks: NamedStack[]; budgetMs: number | null }) {
  const longest = Math.max(1, props.budgetMs ?? 0, ...props.stacks.flatMap((one) => [sumMs(one.exposed), sumMs(one.hidden), one.totalMs ?? 0]));
  const width = (value: number) => `${(100 * value) / (longest * 1.08)}%`;
  return (
    <div class="stacks">
      {props.stacks.map((stack) => (
        <div key={stack.name} class="stack" role="group" aria-label={`${stack.title}: ${described(stack)}`}>
          <p class="stack-name">
            <strong>{stack.title}</strong> <span class="value">{ms(stack.totalMs)}</span>
            {stack.explain && <span class="explain"> {stack.explain}</span>}
          </p>
          <div class="lane" aria-hidden="true">
            {stack.exposed.map((one) => (
              <span key={one.stage} class="piece" data-stage={one.stage} style={{ width: width(one.ms) }} title={`${stageWord(one.stage).name}: ${ms(one.ms)}`}>
                {one.ms > longest / 12 ? <span class="piece-name">{ms(one.ms)}</span> : null}
              </span>
            ))}
            {props.budgetMs !== null && <span class="budget" style={{ left: width(props.budgetMs) }} />}
          </div>
          {stack.hidden.length > 0 && (
            <div class="lane thin" aria-hidden="true">
              {stack.hidden.map((one) => (
                <span
                  {...{ key: one.stage, class: "piece hatched", "data-stage": one.stage, style: { width: width(one.ms) } }}
                  title={`${stageWord(one.stage).name}: ${ms(one.ms)} hidden`}
                />
              ))}
              <span class="lane-note">{ms(sumMs(stack.hidden))} hidden</span>
            </div>
          )}
        </div>
      ))}
      {props.budgetMs !== null && (
        <p class="budget-note" aria-hidden="true">
          <span class={props.budgetMs > 0.8 * longest ? "to-left" : ""} style={{ left: width(props.budgetMs) }}>budget {ms(props.budgetMs)}</span>
        </p>
      )}
    </div>
  );
}

function described(stack: Stack): string {
  const list = (parts: { stage: string; ms: number }[]) => parts.map((one) => `${stageWord(one.stage).name} ${ms(one.ms)}`).join(", ");
  const hidden = stack.hidden.length ? `; hidden: ${list(stack.hidden)}` : "";
  return `${ms(stack.totalMs)} in all; waited for: ${list(stack.exposed) || "nothing"}${hidden}`;
}
