// The audio thread: the microphone in frames of 20 ms, the loudspeaker's queue, and an ear on the remote voice.
import { Onsets } from "./onsets";
import { toFloats, toPcm16, WIRE_RATE_HZ } from "./pcm";
import { Player } from "./player";
import { Resampler } from "./resampler";

declare const sampleRate: number;
declare const currentTime: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

const FRAME_SAMPLES = WIRE_RATE_HZ / 50;

/** Posts Int16Array frames of 20 ms at 24 kHz. */
class Capture extends AudioWorkletProcessor {
  private readonly resampler = new Resampler(sampleRate, WIRE_RATE_HZ);
  private frame = new Float32Array(FRAME_SAMPLES);
  private filled = 0;

  process(inputs: Float32Array[][]): boolean {
    const input = inputs[0]?.[0];
    if (!input) return true;
    for (const sample of this.resampler.push(input)) {
      this.frame[this.filled++] = sample;
      if (this.filled === FRAME_SAMPLES) {
        const pcm = toPcm16(this.frame);
        this.port.postMessage(pcm, [pcm.buffer]);
        this.filled = 0;
      }
    }
    return true;
  }
}

export type ToPlayout =
  | { do: "push"; response: string; item: string; pcm: Int16Array }
  | { do: "mark"; mark: number }
  | { do: "end"; response: string }
  | { do: "flush"; n: number };

/** Takes `ToPlayout`; posts `PlayerNote` with `sample` turned into `at_s` of the context, and answers to flushes. */
class Playout extends AudioWorkletProcessor {
  private began = -1;
  private resampler = new Resampler(WIRE_RATE_HZ, sampleRate);
  private last = { response: "", item: "" };
  private readonly player = new Player(sampleRate, (note) => {
    const at_s = "sample" in note ? this.began + note.sample / sampleRate : undefined;
    this.port.postMessage({ ...note, at_s });
  });

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToPlayout>) => this.take(data);
  }

  process(_: Float32Array[][], outputs: Float32Array[][]): boolean {
    if (this.began < 0) this.began = currentTime;
    const [first, ...others] = outputs[0] ?? [];
    if (!first) return true;
    this.player.pull(first);
    for (const other of others) other.set(first);
    return true;
  }

  private take(message: ToPlayout): void {
    switch (message.do) {
      case "push":
        if (message.response !== this.last.response) this.resampler = new Resampler(WIRE_RATE_HZ, sampleRate);
        this.last = message;
        this.player.push(message.response, message.item, this.resampler.push(toFloats(message.pcm)));
        break;
      case "mark":
        this.player.mark(message.mark);
        break;
      case "end":
        if (message.response === this.last.response) {
          this.player.push(message.response, this.last.item, this.resampler.flush());
        }
        this.player.end(message.response);
        break;
      case "flush":
        this.port.postMessage({ kind: "flushed", n: message.n, cut: this.player.flush() });
        break;
    }
  }
}

/** Posts the context time, in seconds, at which a sound begins. */
class Ear extends AudioWorkletProcessor {
  private readonly onsets = new Onsets(sampleRate);

  process(inputs: Float32Array[][]): boolean {
    const input = inputs[0]?.[0];
    const onset = input ? this.onsets.push(input) : this.onsets.push(new Float32Array(128));
    if (onset !== null) this.port.postMessage(currentTime + onset / sampleRate);
    return true;
  }
}

registerProcessor("voicestack-capture", Capture);
registerProcessor("voicestack-playout", Playout);
registerProcessor("voicestack-ear", Ear);
