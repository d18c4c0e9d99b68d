// The live feed: connects, comes back when it is lost, rests while nobody looks.
import { AskFailed } from "./ask";
import { SseParser, type SseEvent } from "./sse";

export type FeedState = "connecting" | "live" | "lost" | "resting" | "refused";

export interface FeedNeeds {
  open(signal: AbortSignal): Promise<Response>;
  onEvent(event: SseEvent): void;
  onState(state: FeedState, error: AskFailed | null): void;
  wait(ms: number, run: () => void): () => void;
  random(): number;
}

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
/** The server says something every 15 s; whoever is silent for longer is gone. */
export const SILENT_MS = 40_000;

/** Doubles up to a quarter of a minute, spread so that not all come back at once. */
export function backoffMs(attempt: number, random: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt) * (0.75 + random / 2);
}

export class Feed {
  #abort: AbortController | null = null;
  #cancelWait = () => {};
  #cancelWatch = () => {};
  #attempt = 0;

  constructor(private readonly needs: FeedNeeds) {}

  /** Connect, unless that is so already. */
  start(): void {
    if (this.#abort) return;
    this.#cancelWait();
    const abort = new AbortController();
    this.#abort = abort;
    this.needs.onState("connecting", null);
    void this.#run(abort);
  }

  /** Hang up until `start`. */
  rest(): void {
    this.#hangUp();
    this.#attempt = 0;
    this.needs.onState("resting", null);
  }

  /** Hang up for good. Nobody is told. */
  stop(): void {
    this.#hangUp();
  }

  #hangUp(): void {
    this.#cancelWait();
    this.#cancelWatch();
    const abort = this.#abort;
    this.#abort = null;
    abort?.abort();
  }

  async #run(abort: AbortController): Promise<void> {
    let failure: AskFailed | null = null;
    try {
      const response = await this.needs.open(abort.signal);
      if (this.#abort === abort) await this.#read(response, abort);
    } catch (error) {
      failure = error instanceof AskFailed ? error : new AskFailed(0, "unreachable", "The live feed was lost.");
    }
    if (this.#abort !== abort) return; // hung up on purpose
    this.#cancelWatch();
    this.#abort = null;
    if (failure && failure.status >= 400 && failure.status < 500 && failure.status !== 429) {
      this.needs.onState("refused", failure); // asking again would not help
      return;
    }
    this.needs.onState("lost", failure);
    this.#cancelWait = this.needs.wait(backoffMs(this.#attempt++, this.needs.random()), () => this.start());
  }

  async #read(response: Response, abort: AbortController): Promise<void> {
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new SseParser();
    const watch = () => {
      this.#cancelWatch();
      this.#cancelWatch = this.needs.wait(SILENT_MS, () => abort.abort());
    };
    watch();
    this.needs.onState("live", null);
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.#abort !== abort) return;
      this.#attempt = 0;
      watch();
      for (const event of parser.push(value)) this.needs.onEvent(event);
    }
  }
}
