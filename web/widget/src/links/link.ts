// What is a connection to the server, whatever it runs over?
import type { Received, Sent } from "../core/events";

export interface LinkEvents {
  onEvent(event: Received): void;
  /** The network is gone, perhaps for a moment. */
  onShaky(isShaky: boolean): void;
  /** Once; nothing follows. `isFinal`: the server ended it in good order and does not want it back. */
  onClosed(reason: string, isFinal: boolean): void;
  /** The first sample of the response left the loudspeaker at this `performance.now()`. */
  onHeard(response: string, pageMs: number): void;
}

export interface Link {
  readonly kind: "webrtc" | "websocket";
  /** By which the server finds the call again, null where it cannot. */
  readonly callId: string | null;
  send(event: Sent): void;
  /** Whether the microphone is sent. */
  open(isOpen: boolean): void;
  /** Stop what is being played, and have the server forget the rest. */
  hush(): void;
  /** Another microphone, or none. */
  microphone(stream: MediaStream | null): Promise<void>;
  /** It says nothing any more: look for another way, or be closed. */
  revive(): void;
  /** How long what was said may still be on its way, ms. */
  readonly tailMs: number;
  close(): void;
}

/** Sound in and out of this page, shared by the connections of one call. */
export interface Sound {
  readonly audio: AudioContext;
  readonly stream: MediaStream | null;
  /** Plays a remote voice, and measures it. */
  play(stream: MediaStream): void;
  /** Plays what a node makes, and measures it. */
  connect(node: AudioNode): void;
  /** Stops playing either. */
  quiet(): void;
}

/** An instant of the audio clock as `performance.now()`, when it can be heard. */
export function audibleAt(audio: AudioContext, atS: number): number {
  const latencyS = audio.outputLatency || audio.baseLatency || 0;
  return performance.now() + (atS - audio.currentTime + latencyS) * 1000;
}
