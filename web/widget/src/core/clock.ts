// Where does this page's clock stand in the server's session clock?

const KEPT = 16; // of the last pings; old ones are wrong by the drift of two quartzes since

/** Milliseconds of the server's session clock, and how far off they may be. */
export interface ServerTime {
  ms: number;
  errorMs: number;
}

interface Sample {
  offsetMs: number;
  roundTripMs: number;
}

/** Offsets from pings: the one with the smallest round trip has the smallest error, half of that trip. */
export class SessionClock {
  private samples: Sample[] = [];

  /** A pong came at `nowMs` for the ping of `clientMs`. */
  pong(clientMs: number, serverMs: number, nowMs: number): void {
    const roundTripMs = nowMs - clientMs;
    if (!(roundTripMs >= 0) || !Number.isFinite(serverMs)) return;
    this.samples.push({ offsetMs: serverMs - (clientMs + roundTripMs / 2), roundTripMs });
    if (this.samples.length > KEPT) this.samples.shift();
  }

  /** An instant of this page's clock as the server would have named it; null before the first pong. */
  at(pageMs: number): ServerTime | null {
    let best: Sample | null = null;
    for (const sample of this.samples) {
      if (best === null || sample.roundTripMs <= best.roundTripMs) best = sample;
    }
    return best && { ms: pageMs + best.offsetMs, errorMs: best.roundTripMs / 2 };
  }

  /** The smallest round trip of the last pings, null before the first pong. */
  get roundTripMs(): number | null {
    return this.samples.length ? Math.min(...this.samples.map((sample) => sample.roundTripMs)) : null;
  }

  /** Another session has another clock. */
  reset(): void {
    this.samples = [];
  }
}
