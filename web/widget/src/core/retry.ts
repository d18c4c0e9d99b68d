// When is a lost call tried again?

export const GIVE_UP_MS = 120_000;
const FIRST_MS = 250;
const SOON_MS = 30_000; // so long a server may take to be started again
const LONGEST_MS = { soon: 2_500, later: 8_000 };

/**
 * How long to wait before the attempt with this number (from 0), or null to give up.
 *
 * Doubles from a quarter of a second to 2.5 s, after half a minute to 8 s. `random` in 0..1 spreads the visitors of a server that restarts;
 * `askedMs` is what the server asked for (Retry-After).
 */
export function waitMs(attempt: number, lostForMs: number, random: number, askedMs = 0): number | null {
  if (lostForMs >= GIVE_UP_MS) return null;
  const backoff = Math.min(lostForMs < SOON_MS ? LONGEST_MS.soon : LONGEST_MS.later, FIRST_MS * 2 ** attempt);
  return Math.max(askedMs, backoff * (0.75 + random / 2));
}
