// What does the loudspeaker play next, and how much of each message has it played? Without any I/O.

/** Louder than this (of full scale) is audible. -50 dB: eSpeak's and Piper's noise floors are below it. */
export const AUDIBLE = 0.003;

const START_MS = 40; // held before a response begins, so that the first late frame is not a hole
const AGAIN_MS = 80; // held after a hole
const FADE_MS = 5; // a cut is not a click

export type PlayerNote =
  | { kind: "started"; response: string; sample: number }
  | { kind: "heard"; response: string; sample: number }
  | { kind: "reached"; mark: number }
  | { kind: "stopped"; response: string };

/** Of a message that was cut: how much of it was played, and how much was not. */
export interface Cut {
  response: string;
  item: string;
  playedMs: number;
  droppedMs: number;
}

type Sound = { samples: Float32Array; response: string; item: string; at: number };
type Piece = Sound | { mark: number } | { end: string };

/** Plays one response after the other. Sample numbers count what `pull` was asked for, from 0. */
export class Player {
  private queue: Piece[] = [];
  private queued = 0; // samples
  private isRunning = false;
  private response: string | null = null; // in play; its audio may be late
  private item = "";
  private itemPlayed = 0;
  private isAudible = false;
  private needMs = START_MS;
  private clock = 0;
  private fade: Float32Array = new Float32Array(0);

  constructor(
    private readonly rateHz: number,
    private readonly note: (note: PlayerNote) => void,
  ) {}

  /** More of a response, at `rateHz`. */
  push(response: string, item: string, samples: Float32Array): void {
    if (!samples.length) return;
    this.queue.push({ samples, response, item, at: 0 });
    this.queued += samples.length;
  }

  /** Tell when everything pushed so far has been played. */
  mark(mark: number): void {
    if (this.queued === 0) this.note({ kind: "reached", mark });
    else this.queue.push({ mark });
  }

  /** The response is complete. */
  end(response: string): void {
    if (this.queued > 0) this.queue.push({ end: response });
    else this.finish(response);
  }

  /** Silence, now. What was cut, or null when nothing was in play. */
  flush(): Cut | null {
    const next = this.queue.find((piece): piece is Sound => "samples" in piece);
    const response = this.response ?? next?.response;
    const fresh = this.response === null || (next !== undefined && next.item !== this.item);
    const cut = response === undefined ? null : {
      response,
      item: fresh ? next!.item : this.item,
      playedMs: fresh ? 0 : (this.itemPlayed / this.rateHz) * 1000,
      droppedMs: (this.queued / this.rateHz) * 1000,
    };
    if (this.isRunning) this.fade = this.ramp();
    this.queue = [];
    this.queued = 0;
    this.response = null;
    this.isRunning = false;
    this.needMs = START_MS;
    return cut;
  }

  /** Fill the next samples. */
  pull(out: Float32Array): void {
    out.fill(0);
    out.set(this.fade.subarray(0, out.length));
    this.fade = this.fade.subarray(out.length);
    const isWhole = this.queue.some((piece) => "end" in piece);
    if (this.queued > 0 && (isWhole || this.queued >= (this.needMs / 1000) * this.rateHz)) this.isRunning = true;
    let filled = 0;
    while (this.isRunning && this.queue.length && (filled < out.length || !("samples" in this.queue[0]!))) {
      filled += this.take(this.queue[0]!, out, filled);
    }
    if (this.isRunning && !this.queue.length && filled < out.length) {
      this.isRunning = false; // a hole: hold a little more than at first
      this.needMs = AGAIN_MS;
    }
    this.clock += out.length;
  }

  private finish(response: string): void {
    if (this.response !== response) return;
    this.response = null;
    this.isRunning = false;
    this.needMs = START_MS;
    this.note({ kind: "stopped", response });
  }

  private take(piece: Piece, out: Float32Array, filled: number): number {
    if ("mark" in piece) {
      this.queue.shift();
      this.note({ kind: "reached", mark: piece.mark });
      return 0;
    }
    if ("end" in piece) {
      this.queue.shift();
      this.finish(piece.end);
      return 0;
    }
    if (this.response !== piece.response) {
      this.response = piece.response;
      this.isAudible = false;
      this.item = "";
      this.note({ kind: "started", response: piece.response, sample: this.clock + filled });
    }
    if (this.item !== piece.item) {
      this.item = piece.item;
      this.itemPlayed = 0;
    }
    const n = Math.min(out.length - filled, piece.samples.length - piece.at);
    const taken = piece.samples.subarray(piece.at, piece.at + n);
    out.set(taken, filled);
    if (!this.isAudible) this.listen(taken, filled);
    this.itemPlayed += n;
    this.queued -= n;
    piece.at += n;
    if (piece.at === piece.samples.length) this.queue.shift();
    return n;
  }

  private listen(taken: Float32Array, filled: number): void {
    const first = taken.findIndex((sample) => Math.abs(sample) > AUDIBLE);
    if (first < 0) return;
    this.isAudible = true;
    this.note({ kind: "heard", response: this.response!, sample: this.clock + filled + first });
  }

  private ramp(): Float32Array {
    const length = Math.round((FADE_MS / 1000) * this.rateHz);
    const out = new Float32Array(length);
    let filled = 0;
    for (const piece of this.queue) {
      if (!("samples" in piece) || filled === length) continue;
      const rest = piece.samples.subarray(piece.at, piece.at + length - filled);
      out.set(rest, filled);
      filled += rest.length;
    }
    for (let i = 0; i < length; i++) out[i]! *= 1 - i / length;
    return out;
  }
}
