// Which way is taken to the server?
import type { PageSound } from "../audio/sound";
import type { Secrets } from "../core/secret";
import { Trouble } from "../core/trouble";
import type { Link, LinkEvents } from "./link";
import { connectWebRtc, hangUp, NoWebRtc } from "./webrtc";

export type Way = "auto" | "webrtc" | "websocket";

const BLOCKED_MS = 5 * 60_000; // so long WebRTC is not tried again where it did not get through

/** Opens connections for one page. WebRTC first, unless it is known not to work from here. */
export class Dialer {
  private blockedUntilMs = 0;
  private ice: { servers: RTCIceServer[]; untilMs: number } | null = null;

  constructor(
    private readonly server: string,
    private readonly secrets: Secrets,
    public way: Way,
  ) {}

  /** Fetch what a connection needs while the visitor still looks for the button that allows the microphone. */
  prepare(): void {
    const ice = async () => this.wantsWebRtc && (await this.iceServers(await this.secrets.take()));
    ice().catch(() => {}); // said when it is needed
  }

  async connect(resume: string | null, sound: PageSound, events: LinkEvents): Promise<Link | "call-gone"> {
    const secret = await this.secrets.take();
    try {
      if (this.wantsWebRtc) {
        try {
          const iceServers = await this.iceServers(secret);
          return await connectWebRtc({ server: this.server, secret, iceServers, resume }, sound, events);
        } catch (error) {
          if (!(error instanceof NoWebRtc)) throw error;
          if (this.way === "webrtc") throw new Trouble("unreachable", `WebRTC: ${error.message}`);
          this.blockedUntilMs = Date.now() + BLOCKED_MS;
        }
      }
      if (resume) return "call-gone"; // its events go on, but nobody can take its voice over
      if (!sound.hasWorklets) throw new Trouble("insecure");
      const { connectWebSocket } = await import("./websocket");
      return await connectWebSocket(this.server, secret, sound, events);
    } catch (error) {
      this.secrets.drop(); // it may be the reason
      throw error;
    }
  }

  hangUp(callId: string): void {
    void this.secrets.take().then((secret) => hangUp(this.server, secret, callId), () => {});
  }

  private get wantsWebRtc(): boolean {
    return "RTCPeerConnection" in globalThis && (this.way === "webrtc" || (this.way === "auto" && Date.now() >= this.blockedUntilMs));
  }

  private async iceServers(secret: string): Promise<RTCIceServer[]> {
    if (this.ice && this.ice.untilMs > Date.now()) return this.ice.servers;
    try {
      const answer = await fetch(`${this.server}/v1/realtime/ice_servers`, {
        headers: { Authorization: `Bearer ${secret}` },
        signal: AbortSignal.timeout(3_000),
      });
      if (!answer.ok) return [];
      const { ice_servers, ttl_s } = (await answer.json()) as { ice_servers?: RTCIceServer[]; ttl_s?: number };
      this.ice = { servers: ice_servers ?? [], untilMs: Date.now() + (ttl_s ?? 60) * 500 };
      return this.ice.servers;
    } catch {
      return []; // without them it works where there is no NAT in the way
    }
  }
}
