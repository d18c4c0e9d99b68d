// A long list that is loaded page by page, newest first, while new turns arrive at its top.
import type { TurnPage, TurnRow } from "./wire";

export interface Pages {
  rows: TurnRow[];
  /** Where the rest begins; null: this is all. */
  next: string | null;
  nTotal: number;
}

export const NO_PAGES: Pages = { rows: [], next: null, nTotal: 0 };

/** With the page that follows. */
export function appended(pages: Pages, page: TurnPage): Pages {
  const known = new Set(pages.rows.map((turn) => turn.id));
  const rows = [...pages.rows, ...page.turns.filter((turn) => !known.has(turn.id))];
  return { rows, next: page.next, nTotal: totalOf(rows, page.next, page.n_total) };
}

/** The server's count, until all is there: the oldest turns may have left the period since it counted. */
function totalOf(rows: TurnRow[], next: string | null, n_total: number): number {
  return next === null ? rows.length : Math.max(n_total, rows.length);
}

/**
 * With the first page asked for anew: what is new goes to the top, and what was loaded below stays.
 *
 * `nNew` is null when nothing of the old list is in the page: then the list begins anew.
 */
export function refreshed(pages: Pages, page: TurnPage): { pages: Pages; nNew: number | null } {
  const newest = pages.rows[0]?.id;
  const at = newest === undefined ? -1 : page.turns.findIndex((turn) => turn.id === newest);
  if (at === -1) return { pages: { rows: page.turns, next: page.next, nTotal: page.n_total }, nNew: null };
  const fresh = new Map(page.turns.map((turn) => [turn.id, turn]));
  const below = pages.rows.filter((turn) => !page.turns.slice(0, at).some((one) => one.id === turn.id));
  const rows = [...page.turns.slice(0, at), ...below.map((turn) => fresh.get(turn.id) ?? turn)];
  return { pages: { rows, next: pages.next, nTotal: totalOf(rows, pages.next, page.n_total) }, nNew: at };
}

/** Which rows of a long list are drawn: those in sight and some around, in steps so that few scrolls draw. */
export function windowOf(scrollTop: number, height: number, rowHeight: number, n: number): { from: number; to: number } {
  const STEP = 6;
  const AROUND = 9;
  const first = Math.floor(scrollTop / rowHeight / STEP) * STEP;
  const shown = Math.ceil(height / rowHeight) + STEP;
  return { from: Math.max(0, Math.min(first - AROUND, n)), to: Math.max(0, Math.min(n, first + shown + AROUND)) };
}
