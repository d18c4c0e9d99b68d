// From one sample rate to another, in pieces: a windowed sinc, 0.5 ms of delay at 24 kHz.

const CROSSINGS = 12; // of the sinc on either side: 60 dB and more of stopband
const FINENESS = 256; // table entries per input sample; between them the kernel is interpolated
const PASSBAND = 0.94; // of the lower Nyquist frequency

export class Resampler {
  private readonly step: number; // input samples per output sample
  private readonly half: number; // of the kernel, input samples
  private readonly table: Float32Array;
  private held: Float32Array;
  private centre: number; // of the next output sample, as an index into `held`

  constructor(readonly fromHz: number, readonly toHz: number) {
    this.step = fromHz / toHz;
    const scale = Math.min(1, toHz / fromHz) * PASSBAND;
    this.half = Math.ceil(CROSSINGS / scale);
    this.table = new Float32Array(this.half * FINENESS + 2);
    for (let i = 0; i <= this.half * FINENESS; i++) {
      const x = i / FINENESS;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * scale * x) / (Math.PI * scale * x);
      const window = 0.42 + 0.5 * Math.cos((Math.PI * x) / this.half) + 0.08 * Math.cos((2 * Math.PI * x) / this.half);
      this.table[i] = scale * sinc * window;
    }
    this.held = new Float32Array(this.half); // silence before the first sample
    this.centre = this.half;
  }

  /** The samples that are certain now. */
  push(samples: Float32Array): Float32Array {
    if (this.fromHz === this.toHz) return samples;
    const held = new Float32Array(this.held.length + samples.length);
    held.set(this.held);
    held.set(samples, this.held.length);
    const last = held.length - 1 - this.half;
    const n = Math.max(0, Math.floor((last - this.centre) / this.step) + 1);
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = this.at(held, this.centre + i * this.step);
    this.centre += n * this.step;
    const drop = Math.max(0, Math.floor(this.centre) - this.half);
    this.held = held.slice(drop);
    this.centre -= drop;
    return out;
  }

  /** The rest, with silence after it. */
  flush(): Float32Array {
    return this.push(new Float32Array(this.half));
  }

  private at(held: Float32Array, centre: number): number {
    let sum = 0;
    const from = Math.max(0, Math.ceil(centre - this.half));
    const to = Math.min(held.length - 1, Math.floor(centre + this.half));
    for (let i = from; i <= to; i++) {
      const place = Math.abs(i - centre) * FINENESS;
      const index = Math.floor(place);
      const left = this.table[index]!;
      sum += held[i]! * (left + (this.table[index + 1]! - left) * (place - index));
    }
    return sum;
  }
}
