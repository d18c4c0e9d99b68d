// A call over WebSocket: where there is no WebRTC, or its packets do not get through.
import { decoded, newName, type Received, type Sent } from "../core/events";
import { Trouble } from "../core/trouble";
import { fromBase64, toBase64 } from "../audio/pcm";
import type { Cut, PlayerNote } from "../audio/player";
import type { ToPlayout } from "../audio/voice.worklet";
import { audibleAt, type Link, type LinkEvents, type Sound } from "./link";

const OPEN_MS = 8_000;
const BUSY_MS = 1_000;
const FULL_BYTES = 256_000; // a network that cannot carry the voice: what is late by seconds is not worth sending

type FromPlayout = (PlayerNote & { at_s?: number }) | { kind: "flushed"; n: number; cut: Cut | null };

export async function connectWebSocket(
  server: string,
  secret: string,
  sound: Sound,
  events: LinkEvents,
): Promise<Link> {
  const url = `${server.replace(/^http/, "ws")}/v1/realtime?voicestack_events=1`;
  const socket = new WebSocket(url, ["realtime", `openai-insecure-api-key.${secret}`]);
  const first = await greeting(socket);
  const link = new WebSocketLink(socket, sound, events);
  events.onEvent(first);
  return link;
}

/** The first event. A server that has no room says so in it, and hangs up. */
function greeting(socket: WebSocket): Promise<Received> {
  return new Promise((resolve, reject) => {
    const end = (why: Trouble) => {
      clearTimeout(timer);
      socket.onclose = socket.onmessage = null;
      socket.close();
      reject(why);
    };
    const timer = setTimeout(() => end(new Trouble("unreachable", "WebSocket: no answer")), OPEN_MS);
    socket.onclose = ({ code }) => end(new Trouble("unreachable", `WebSocket: closed with ${code}`));
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      const event = typeof data === "string" ? decoded(data) : null;
      if (!event) return;
      if (event.type === "error") return end(closing(event.error.code ?? "", event.error.message));
      clearTimeout(timer);
      resolve(event);
    };
  });
}

function closing(code: string, message: string): Trouble {
  const kind = code === "overloaded" || code === "rate_limit_exceeded" ? "busy" : "failed";
  return new Trouble(kind, `${code} ${message}`, kind === "busy" ? BUSY_MS : 0);
}

/** What a server that plays by itself would say. */
function buffer(what: "started" | "stopped" | "cleared", response: string): Received {
  return { type: `output_audio_buffer.${what}`, event_id: newName("event"), response_id: response };
}

class WebSocketLink implements Link {
  readonly kind = "websocket";
  readonly callId = null;
  readonly tailMs = 60;
  private readonly playout: AudioWorkletNode;
  private capture: { node: AudioWorkletNode; source: MediaStreamAudioSourceNode } | null = null;
  private isOpen = false;
  private isClosed = false;
  private marks = new Map<number, Received>();
  private nextMark = 0;
  private dead = new Set<string>(); // responses that were cut: what still comes of them is not played
  private done = new Set<string>();

  constructor(
    private readonly socket: WebSocket,
    private readonly sound: Sound,
    private readonly events: LinkEvents,
  ) {
    this.playout = new AudioWorkletNode(sound.audio, "voicestack-playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playout.port.onmessage = ({ data }: MessageEvent<FromPlayout>) => this.onPlayout(data);
    sound.connect(this.playout);
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      const event = typeof data === "string" ? decoded(data) : null;
      if (event) this.onEvent(event);
    };
    socket.onclose = ({ code, reason }) => this.onClosed(code, reason);
    void this.microphone(sound.stream);
  }

  send(event: Sent): void {
    if (event.type === "output_audio_buffer.clear") return; // the buffer is here
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  open(isOpen: boolean): void {
    this.isOpen = isOpen;
  }

  hush(): void {
    this.send({ type: "response.cancel" });
    this.flush();
  }

  async microphone(stream: MediaStream | null): Promise<void> {
    this.capture?.source.disconnect();
    this.capture?.node.disconnect();
    this.capture = null;
    if (!stream || this.isClosed) return;
    const source = this.sound.audio.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(this.sound.audio, "voicestack-capture", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }: MessageEvent<Int16Array>) => {
      if (!this.isOpen || this.socket.bufferedAmount > FULL_BYTES) return;
      this.send({ type: "input_audio_buffer.append", audio: toBase64(data) });
    };
    source.connect(node).connect(this.sound.audio.destination); // it makes silence; unconnected it would not run
    this.capture = { node, source };
  }

  revive(): void {
    this.onClosed(1006, "nothing comes any more");
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    void this.microphone(null);
    this.playout.port.onmessage = null;
    this.playout.disconnect();
    this.sound.quiet();
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
  }

  private onEvent(event: Received): void {
    switch (event.type) {
      case "response.output_audio.delta":
        if (!this.dead.has(event.response_id)) {
          const pcm = fromBase64(event.delta);
          this.toPlayout({ do: "push", response: event.response_id, item: event.item_id, pcm }, [pcm.buffer]);
        }
        return;
      case "response.output_audio_transcript.delta":
      case "response.output_item.done":
        if (!this.dead.has(event.response_id)) {
          // shown when the audio that came before it has been played
          this.marks.set(this.nextMark, event);
          this.toPlayout({ do: "mark", mark: this.nextMark++ });
          return;
        }
        if (event.type === "response.output_audio_transcript.delta") return;
        break;
      case "input_audio_buffer.speech_started":
        this.flush();
        break;
      case "response.done":
        this.done.add(event.response.id);
        if (event.response.status === "cancelled") this.flush(event.response.id);
        else this.toPlayout({ do: "end", response: event.response.id });
        break;
    }
    this.events.onEvent(event);
  }

  private flush(response?: string): void {
    if (response !== undefined) this.dead.add(response);
    this.toPlayout({ do: "flush", n: 0 });
  }

  private toPlayout(message: ToPlayout, transfer: Transferable[] = []): void {
    this.playout.port.postMessage(message, transfer);
  }

  private onPlayout(note: FromPlayout): void {
    switch (note.kind) {
      case "started":
        this.events.onEvent(buffer("started", note.response));
        break;
      case "stopped":
        this.events.onEvent(buffer("stopped", note.response));
        break;
      case "heard":
        this.events.onHeard(note.response, audibleAt(this.sound.audio, note.at_s ?? 0));
        break;
      case "reached": {
        const event = this.marks.get(note.mark);
        this.marks.delete(note.mark);
        if (event) this.events.onEvent(event);
        break;
      }
      case "flushed":
        if (note.cut) this.onCut(note.cut);
        break;
    }
  }

  private onCut(cut: Cut): void {
    this.dead.add(cut.response);
    const unheard = [...this.marks.values()];
    this.marks.clear();
    for (const event of unheard) if (event.type === "response.output_item.done") this.events.onEvent(event);
    this.events.onEvent(buffer("cleared", cut.response));
    if (cut.droppedMs > 0 || !this.done.has(cut.response)) {
      this.send({
        type: "conversation.item.truncate",
        item_id: cut.item,
        content_index: 0,
        audio_end_ms: Math.floor(cut.playedMs),
      });
    }
  }

  private onClosed(code: number, reason: string): void {
    if (this.isClosed) return;
    this.close();
    this.events.onClosed(`${code} ${reason}`.trim(), code === 1000);
  }
}
