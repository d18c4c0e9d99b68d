// When does sound begin on a stream that is otherwise silent? Without any I/O.
import { AUDIBLE } from "./player";

const PAUSE_MS = 120; // shorter silence belongs to the speech around it

export class Onsets {
  private silentFor: number;

  constructor(private readonly rateHz: number) {
    this.silentFor = rateHz;
  }

  /** The index of the first sample of a new sound in this block, null when none begins here. */
  push(block: Float32Array): number | null {
    let onset: number | null = null;
    for (let i = 0; i < block.length; i++) {
      if (Math.abs(block[i]!) > AUDIBLE) {
        if (onset === null && this.silentFor >= (PAUSE_MS / 1000) * this.rateHz) onset = i;
        this.silentFor = 0;
      } else {
        this.silentFor += 1;
      }
    }
    return onset;
  }
}
