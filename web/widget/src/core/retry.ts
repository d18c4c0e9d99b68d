// When is a lost call tried again?

export const GIVE_UP_MS = 120_000;
const FIRST_MS = 250;
const LONGEST_MS = 8_000;

/**
 * How long to wait before the attempt with this number (from 0), or null to give up.
 *
 * Doubles from a quarter of a second to 8 s. `random` in 0..1 spreads the visitors of a server that restarts;
 * `askedMs` is what the server asked for (Retry-After).
 */
export function waitMs(attempt: number, lostForMs: number, random: number, askedMs = 0): number | null {
  if (lostForMs >= GIVE_UP_MS) return null;
  const backoff = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  return Math.max(askedMs, backoff * (0.75 + random / 2));
}
