// The small parts that every view is made of.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import type { Tone } from "../data/verdicts";
import type { Place } from "../data/place";
import { hrefOf, useDesk, type Asked } from "./desk";

/** A link within the dashboard: a real one, so that it can be opened in another tab. */
export function Go(props: { to: Place; class?: string; current?: boolean; label?: string; tab?: number; children: ComponentChildren }) {
  const { go } = useDesk();
  const onClick = (event: MouseEvent) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(props.to);
  };
  return (
    <a
      {...{ href: hrefOf(props.to), class: props.class, onClick, tabIndex: props.tab }}
      aria-current={props.current ? "page" : undefined}
      aria-label={props.label}
    >
      {props.children}
    </a>
  );
}

/** A part of a page with a heading, and a line that says what is to be seen. */
export function Panel(props: {
  title: string;
  explain?: ComponentChildren;
  class?: string;
  id?: string;
  side?: ComponentChildren;
  old?: boolean;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section id={props.id} class={`panel ${props.class ?? ""}`} aria-labelledby={id} data-old={props.old || undefined}>
      <header class="panel-head">
        <div>
          <h2 id={id}>{props.title}</h2>
          {props.explain && <p class="explain">{props.explain}</p>}
        </div>
        {props.side}
      </header>
      {props.children}
    </section>
  );
}

/** One figure with what it means. */
export function Figure(props: { label: string; value: ComponentChildren; explain: ComponentChildren; tone?: Tone; name?: string }) {
  return (
    <div class="figure" data-tone={props.tone ?? "plain"} data-figure={props.name}>
      <dt>{props.label}</dt>
      <dd class="value">{props.value}</dd>
      <dd class="explain">{props.explain}</dd>
    </div>
  );
}

/** What to show instead of data: that it is loading, why it does not come, or that there is none. */
export function Wait<T>(props: { asked: Asked<T>; empty?: (data: T) => string | null; children: (data: T) => ComponentChildren }) {
  const { data, error } = props.asked;
  if (data === null) {
    if (!error) return <p class="note loading" aria-busy="true">Loading…</p>;
    const gone = error.status === 0 || error.status >= 500;
    return <Notice tone="bad">{error.message}{gone ? " Trying again…" : ""}</Notice>;
  }
  const nothing = props.empty?.(data) ?? null;
  if (nothing !== null) return <p class="note empty">{nothing}</p>;
  const refused = error && error.status >= 400 && error.status < 500 && error.status !== 401;
  return (
    <>
      {refused && <Notice tone="warn">{error.message} What you see is from before.</Notice>}
      {props.children(data)}
    </>
  );
}

export function Notice(props: { tone: Tone; children: ComponentChildren }) {
  return <p class="notice" data-tone={props.tone}>{props.children}</p>;
}

const GLYPHS: { [tone: string]: string } = { good: "✓", warn: "!", bad: "✕", plain: "·" };

/** A word with a colour and a sign: colour alone says nothing to some. */
export function Chip(props: { tone: Tone; title?: string; glyph?: string; children: ComponentChildren }) {
  return (
    <span class="chip" data-tone={props.tone} title={props.title}>
      <span aria-hidden="true">{props.glyph ?? GLYPHS[props.tone]}</span> {props.children}
    </span>
  );
}

export const verdictTone = (verdict: string): Tone =>
  ({ met: "good", declared: "warn", missed: "bad" } as { [verdict: string]: Tone })[verdict] ?? "plain";

/** A choice with its name. */
export function Choice(props: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, name: string])[];
  onChoose(value: string): void;
  quiet?: boolean;
}) {
  const id = useId();
  return (
    <div class="choice">
      <label for={id} class={props.quiet ? "unseen" : ""}>{props.label}</label>
      <select id={id} value={props.value} onChange={(event) => props.onChoose(event.currentTarget.value)}>
        {props.options.map(([value, name]) => <option key={value} value={value} selected={value === props.value}>{name}</option>)}
      </select>
    </div>
  );
}

/** Two to six buttons of which one is pressed. */
export function Tabs<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, name: string])[];
  onChoose(value: T): void;
}) {
  return (
    <div class="tabs" role="group" aria-label={props.label}>
      {props.options.map(([value, name]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChoose(value)}>
          {name}
        </button>
      ))}
    </div>
  );
}

/** A plain table. `numeric`: columns of figures. Wide ones scroll on their own. */
export function Table(props: {
  caption: string;
  head: readonly ComponentChildren[];
  rows: readonly { key: string; cells: readonly ComponentChildren[] }[];
  numeric?: readonly number[];
  shown?: boolean;
}) {
  const numeric = (column: number) => (props.numeric?.includes(column) ? "numeric" : undefined);
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={`${props.caption} (table)`} onKeyDown={roam}>
      <table>
        <caption class={props.shown ? "" : "unseen"}>{props.caption}</caption>
        <thead>
          <tr>{props.head.map((name, i) => <th key={i} scope="col" class={numeric(i)}>{name}</th>)}</tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={row.key}>
              {row.cells.map((cell, i) =>
                i ? <td key={i} class={numeric(i)}>{cell}</td> : <th key={i} scope="row">{cell}</th>,
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Arrow keys go from link to link (or button) of a table, up and down. */
export function roam(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const stops = [...event.currentTarget.querySelectorAll<HTMLElement>("tbody a, tbody button")];
  const at = stops.indexOf(document.activeElement as HTMLElement);
  const next = stops[at === -1 ? 0 : at + step];
  if (!next || !stops.length) return;
  event.preventDefault();
  next.focus();
}

/** The same figures as a chart's, for those who cannot see it or want them exactly. */
export function AsTable(props: Parameters<typeof Table>[0]) {
  return (
    <details class="as-table">
      <summary>Show as a table</summary>
      <Table {...props} />
    </details>
  );
}

let arrived = false;

/** The head of a view. Whoever comes to it from another one has the focus there, so that it is read out. */
export function Title(props: { children: ComponentChildren; explain: ComponentChildren; side?: ComponentChildren; name: string }) {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${props.name} · voicestack`;
    if (arrived) ref.current?.focus();
    arrived = true; // the page as it was loaded: the focus stays where the browser puts it
  }, [props.name]);
  return (
    <div class="title">
      <div>
        <h1 ref={ref} tabIndex={-1}>{props.children}</h1>
        <p class="explain">{props.explain}</p>
      </div>
      {props.side}
    </div>
  );
}
