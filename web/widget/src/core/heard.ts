// Which response was it that began to sound? On WebRTC the sound and the word for it come by different ways.

const EARLY_MS = 400; // the sound may be here so much sooner than the event that announces it
const LATE_MS = 3_000; // a response that is not heard by then was not heard

/** Matches onsets on the remote track with `output_audio_buffer.started`. Times are of this page's clock. */
export class HeardMatch {
  private onsetMs: number | null = null;
  private started: { response: string; atMs: number } | null = null;

  /** A response's audio is on its way. When it was heard, if it was. */
  start(response: string, nowMs: number): number | null {
    const onset = this.onsetMs;
    this.onsetMs = null;
    if (onset !== null && nowMs - onset <= EARLY_MS) {
      this.started = null;
      return onset;
    }
    this.started = { response, atMs: nowMs };
    return null;
  }

  /** A sound began. The response that it belongs to, if that is known already. */
  onset(atMs: number): string | null {
    const { started } = this;
    this.started = null;
    if (started && atMs - started.atMs <= LATE_MS) return started.response;
    this.onsetMs = atMs;
    return null;
  }

  /** The response is over. */
  stop(): void {
    this.started = null;
    this.onsetMs = null;
  }
}
