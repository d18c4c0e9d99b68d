// A call over WebRTC: the browser's own way for voices.
import { decoded, type Received, type Sent } from "../core/events";
import { HeardMatch } from "../core/heard";
import { Trouble, troubleOf } from "../core/trouble";
import type { PageSound } from "../audio/sound";
import { audibleAt, type Link, type LinkEvents } from "./link";

const CONNECT_MS = 4_000; // UDP that is blocked shows by then
const GATHER_MS = 300; // what takes longer is found from the other side
const ANSWER_MS = 8_000;
const SHAKY_MS = 1_500; // a connection often comes back by itself
const RESTART_MS = 6_000;

/** WebRTC does not work here, but a WebSocket may. */
export class NoWebRtc extends Error {}

export interface Signalling {
  server: string;
  secret: string;
  iceServers: RTCIceServer[];
  /** Go on with this call. */
  resume: string | null;
}

/** Resolves when events can be sent and the voice has a way; "call-gone" when there is nothing to resume. */
export async function connectWebRtc(
  how: Signalling,
  sound: PageSound,
  events: LinkEvents,
): Promise<Link | "call-gone"> {
  const peer = new RTCPeerConnection({ iceServers: how.iceServers, bundlePolicy: "max-bundle" });
  const channel = peer.createDataChannel("oai-events");
  const link = new WebRtcLink(how, peer, channel, sound, events);
  try {
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const query = `voicestack_events=1${how.resume ? `&resume=${encodeURIComponent(how.resume)}` : ""}`;
    const answer = await signal(how, "POST", `/v1/realtime/calls?${query}`, peer.localDescription!.sdp);
    if (answer.status === 404 && how.resume) {
      link.close();
      return "call-gone";
    }
    if ([404, 405, 415, 501].includes(answer.status)) throw new NoWebRtc(`${answer.status}`);
    if (!answer.ok) throw await troubleOf(answer);
    link.callId = answer.headers.get("Location")?.split("/").pop() || how.resume;
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await within(CONNECT_MS, link.opened);
    return link;
  } catch (error) {
    link.close();
    if (link.callId && !how.resume) hangUp(how.server, how.secret, link.callId);
    throw error;
  }
}

/** Ends a call, also from a page that is on its way out. */
export function hangUp(server: string, secret: string, callId: string): void {
  void fetch(`${server}/v1/realtime/calls/${callId}/hangup`, {
    method: "POST",
    headers: { Authorization: `Bearer ${secret}` },
    keepalive: true,
  }).catch(() => {}); // it ends by itself soon
}

function signal(how: Signalling, method: string, path: string, sdp: string): Promise<Response> {
  return fetch(`${how.server}${path}`, {
    method,
    headers: { Authorization: `Bearer ${how.secret}`, "Content-Type": "application/sdp" },
    body: sdp,
    signal: AbortSignal.timeout(ANSWER_MS),
  }).catch(() => {
    throw new Trouble("unreachable", `${method} of the offer`);
  });
}

function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoWebRtc("no connection")), ms);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class WebRtcLink implements Link {
  readonly kind = "webrtc";
  readonly tailMs = 200;
  readonly opened: Promise<void>;
  callId: string | null = null;

  private readonly heard = new HeardMatch();
  private readonly sender: RTCRtpSender;
  private isOpen = false;
  private isClosed = false;
  private isReviving = false;
  private shakyTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly how: Signalling,
    private readonly peer: RTCPeerConnection,
    private readonly channel: RTCDataChannel,
    private readonly sound: PageSound,
    private readonly events: LinkEvents,
  ) {
    const track = sound.stream?.getAudioTracks()[0];
    const transceiver = peer.addTransceiver(track ?? "audio", {
      direction: "sendrecv",
      streams: sound.stream ? [sound.stream] : [],
    });
    this.sender = transceiver.sender;
    peer.ontrack = ({ track: remote, streams }) => sound.play(streams[0] ?? new MediaStream([remote]));
    sound.onOnset = (atS) => this.onOnset(atS);
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      const event = typeof data === "string" ? decoded(data) : null;
      if (event) this.onEvent(event);
    };
    channel.onclose = () => this.onLost("the data channel was closed");
    this.opened = new Promise((resolve, reject) => {
      const check = () => {
        if (channel.readyState === "open" && peer.connectionState === "connected") resolve();
        if (peer.connectionState === "failed") reject(new NoWebRtc("the connection failed"));
      };
      channel.onopen = check;
      peer.onconnectionstatechange = () => {
        check();
        this.onConnection();
      };
    });
    this.opened.catch(() => {}); // told to whoever waits for it
  }

  send(event: Sent): void {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(event));
  }

  open(isOpen: boolean): void {
    this.isOpen = isOpen;
    if (this.sender.track) this.sender.track.enabled = isOpen;
  }

  hush(): void {
    this.send({ type: "response.cancel" });
    this.send({ type: "output_audio_buffer.clear" });
  }

  async microphone(stream: MediaStream | null): Promise<void> {
    const track = stream?.getAudioTracks()[0] ?? null;
    if (track) track.enabled = this.isOpen;
    if (!this.isClosed) await this.sender.replaceTrack(track);
  }

  revive(): void {
    if (this.isReviving) return;
    clearTimeout(this.shakyTimer);
    void this.restart();
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.shakyTimer);
    this.channel.onclose = this.channel.onmessage = null;
    this.peer.onconnectionstatechange = this.peer.ontrack = null;
    this.sound.onOnset = () => {};
    this.sound.quiet();
    this.peer.close();
  }

  private onEvent(event: Received): void {
    switch (event.type) {
      case "output_audio_buffer.started": {
        const heardMs = this.heard.start(event.response_id, performance.now());
        if (heardMs !== null) this.events.onHeard(event.response_id, heardMs);
        break;
      }
      case "output_audio_buffer.stopped":
      case "output_audio_buffer.cleared":
        this.heard.stop();
        break;
      case "error":
        if (event.error.code === "session_expired") {
          this.events.onEvent(event);
          this.onLost(event.error.message, true);
          return;
        }
    }
    this.events.onEvent(event);
  }

  private onOnset(atS: number): void {
    const pageMs = audibleAt(this.sound.audio, atS);
    const response = this.heard.onset(pageMs);
    if (response !== null) this.events.onHeard(response, pageMs);
  }

  private onConnection(): void {
    clearTimeout(this.shakyTimer);
    switch (this.peer.connectionState) {
      case "connected":
        this.isReviving = false;
        this.events.onShaky(false);
        break;
      case "disconnected":
        this.shakyTimer = setTimeout(() => this.revive(), SHAKY_MS);
        break;
      case "failed":
      case "closed":
        this.onLost(this.peer.connectionState);
    }
  }

  /** Looks for another way to the same server: the network may be another one now. */
  private async restart(): Promise<void> {
    this.isReviving = true;
    this.events.onShaky(true);
    try {
      if (!this.callId) throw new NoWebRtc();
      await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart: true }));
      await gathered(this.peer);
      const path = `/v1/realtime/calls/${this.callId}`;
      const answer = await signal(this.how, "PATCH", path, this.peer.localDescription!.sdp);
      if (!answer.ok) throw new NoWebRtc(`${answer.status}`);
      await this.peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
      this.shakyTimer = setTimeout(() => this.onLost("no other way was found"), RESTART_MS);
      if (this.peer.iceConnectionState === "connected") this.onConnection();
    } catch {
      this.onLost("the connection is gone");
    }
  }

  private onLost(reason: string, isFinal = false): void {
    if (this.isClosed) return;
    this.close();
    this.events.onClosed(reason, isFinal);
  }
}
