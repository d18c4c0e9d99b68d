// The colours of the page, for what is drawn on a canvas: those of the style sheet, in the scheme that is shown.

const NAMES = [
  ...["text", "muted", "line", "paper", "accent", "good", "warn", "bad", "quiet", "p50", "p95", "p99", "raised"],
  ...["heat-0", "heat-1", "heat-2", "heat-3"],
] as const;
export type Colours = Record<(typeof NAMES)[number], string>;

export function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colours;
}
