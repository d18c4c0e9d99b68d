// The sound of one page: its microphone, its loudspeaker, and how loud both are.
import type { Sound } from "../links/link";
import workletUrl from "./voice.worklet.ts?worker&url";

type WithSink = { setSinkId?: (id: string) => Promise<void> };

export class PageSound implements Sound {
  readonly audio: AudioContext;
  readonly element = new Audio();
  stream: MediaStream | null = null;
  onOnset: (atS: number) => void = () => {};

  private readonly user: AnalyserNode;
  private readonly agent: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;
  private microphone: MediaStreamAudioSourceNode | null = null;
  private voice: AudioNode[] = [];
  private tap: MediaStreamAudioDestinationNode | null = null;
  private remote: MediaStream | null = null;
  private speaker = "";

  private constructor() {
    this.audio = new AudioContext({ latencyHint: "interactive" });
    this.user = new AnalyserNode(this.audio, { fftSize: 1024 });
    this.agent = new AnalyserNode(this.audio, { fftSize: 1024 });
    this.samples = new Float32Array(1024);
    this.element.autoplay = true;
  }

  /** To be called while a gesture of the user is being dealt with, or it may stay silent. */
  static async open(): Promise<PageSound> {
    const sound = new PageSound();
    const resumed = sound.audio.resume();
    await sound.audio.audioWorklet.addModule(new URL(workletUrl, import.meta.url));
    await Promise.race([resumed, new Promise((resolve) => setTimeout(resolve, 500))]);
    return sound;
  }

  /** What is heard, as a stream: for whoever records or watches. */
  get output(): MediaStream {
    if (this.remote) return this.remote;
    if (!this.tap) this.agent.connect((this.tap = this.audio.createMediaStreamDestination()));
    return this.tap.stream;
  }

  use(stream: MediaStream | null): void {
    this.microphone?.disconnect();
    this.microphone = null;
    this.stream = stream;
    if (!stream) return;
    this.microphone = this.audio.createMediaStreamSource(stream);
    this.microphone.connect(this.user);
  }

  play(stream: MediaStream): void {
    this.quiet();
    this.remote = stream;
    this.element.srcObject = stream;
    void this.element.play().catch(() => {}); // it was begun by a gesture; a refusal shows as silence
    const source = this.audio.createMediaStreamSource(stream);
    const ear = new AudioWorkletNode(this.audio, "voicestack-ear");
    ear.port.onmessage = ({ data }: MessageEvent<number>) => this.onOnset(data);
    source.connect(this.agent);
    source.connect(ear).connect(this.audio.destination); // silent; unconnected it would not run
    this.voice = [source, ear];
  }

  connect(node: AudioNode): void {
    this.quiet();
    node.connect(this.agent);
    this.voice = [node];
    this.route();
  }

  quiet(): void {
    for (const node of this.voice) node.disconnect();
    this.voice = [];
    this.remote = null;
    this.agent.disconnect();
    this.tap = null;
    this.element.srcObject = null;
  }

  /** Whether this browser lets one choose. */
  static get hasSpeakerChoice(): boolean {
    return "setSinkId" in HTMLMediaElement.prototype;
  }

  async useSpeaker(id: string): Promise<void> {
    this.speaker = id;
    await (this.element as WithSink).setSinkId?.(id);
    await (this.audio as WithSink).setSinkId?.(id);
    if (!this.remote && this.voice.length) this.route();
  }

  /** RMS of the last 20 ms of the user and the agent, 0..1 from -60 dB to full scale. */
  levels(): { user: number; agent: number } {
    return { user: this.level(this.user), agent: this.level(this.agent) };
  }

  async close(): Promise<void> {
    this.quiet();
    this.use(null);
    await this.audio.close().catch(() => {});
  }

  /** Straight out where the context itself has a choice of speakers, else over the element, which has one. */
  private route(): void {
    this.agent.disconnect();
    this.tap = null;
    this.element.srcObject = null;
    if (this.speaker && !(this.audio as WithSink).setSinkId) {
      this.element.srcObject = this.output;
      void this.element.play().catch(() => {});
    } else {
      this.agent.connect(this.audio.destination);
    }
  }

  private level(analyser: AnalyserNode): number {
    analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    const db = 10 * Math.log10(sum / this.samples.length + 1e-9);
    return Math.max(0, Math.min(1, (db + 60) / 60));
  }
}
