// What has come over the live feed so far: a pure function of it and the next event.
import type { Capacity, LiveNow, Replicas, TurnRow } from "./wire";

export const MAX_TURNS = 200;

export interface Live {
  turns: TurnRow[];
  now: LiveNow | null;
  capacity: Capacity | null;
  replicas: Replicas | null;
  nSeen: number;
}

export const NOTHING_YET: Live = { turns: [], now: null, capacity: null, replicas: null, nSeen: 0 };

/** Turns of the feed, and those that had ended before it began. */
export function withEarlier(turns: TurnRow[], earlier: TurnRow[]): TurnRow[] {
  const known = new Set(turns.map((turn) => turn.id));
  return [...turns, ...earlier.filter((turn) => !known.has(turn.id))];
}

/** Newest turn first; a turn that comes again (told after a reconnect) replaces the earlier one. Unknown events change nothing. */
export function heard(live: Live, type: string, data: string): Live {
  let said: unknown;
  try {
    said = JSON.parse(data);
  } catch {
    return live;
  }
  if (typeof said !== "object" || said === null) return live;
  switch (type) {
    case "turn": {
      const turn = said as TurnRow;
      const known = live.turns.some((one) => one.id === turn.id);
      const others = known ? live.turns.filter((one) => one.id !== turn.id) : live.turns;
      return { ...live, turns: [turn, ...others].slice(0, MAX_TURNS), nSeen: live.nSeen + (known ? 0 : 1) };
    }
    case "live":
      return { ...live, now: said as LiveNow };
    case "capacity":
      return { ...live, capacity: said as Capacity };
    case "replicas":
      return { ...live, replicas: said as Replicas };
    default:
      return live;
  }
}
