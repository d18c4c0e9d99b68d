// What does a page find again when it is loaded again?
import type { Saved } from "../core/talk";

const VERSION = 1;
const KEPT_MS = 30 * 60_000; // a tab that is brought back tomorrow begins anew

/** In the session storage: for this tab only, and only until it is closed. */
export class Keeping {
  constructor(
    private readonly key: string,
    private readonly isWanted: boolean,
  ) {}

  save(saved: Saved | null): void {
    try {
      if (!saved || !this.isWanted) sessionStorage.removeItem(this.key);
      else sessionStorage.setItem(this.key, JSON.stringify({ ...saved, version: VERSION, atMs: Date.now() }));
    } catch {
      // storage is full or forbidden: then nothing is kept
    }
  }

  load(): Saved | null {
    if (!this.isWanted) return null;
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "null") as (Saved & { version: number; atMs: number }) | null;
      if (kept?.version !== VERSION || Date.now() - kept.atMs > KEPT_MS) return null;
      return { callId: typeof kept.callId === "string" ? kept.callId : null, entries: kept.entries };
    } catch {
      return null;
    }
  }
}
