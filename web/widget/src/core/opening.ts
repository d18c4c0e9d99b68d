// What is a session told when it begins?
import type { AudioInputPatch, Session, SessionPatch, TranscriptionSession } from "../wire";
import type { ToolDesk } from "./tools";

export type Mode = "hands-free" | "push-to-talk";

export interface Wishes {
  mode: Mode;
  instructions?: string;
  voice?: string;
  /** BCP 47; what the user speaks. */
  language?: string;
}

/** The patch of a new session. What its secret was made for stays, unless the page wants it otherwise. */
export function openingPatch(session: Session | TranscriptionSession, wishes: Wishes, desk: ToolDesk): SessionPatch {
  const given = session.audio.input;
  const input: AudioInputPatch = { format: { type: "audio/pcm", rate: 24000 } };
  if (!given.transcription) input.transcription = { model: "asr", ...(wishes.language && { language: wishes.language }) };
  if (wishes.mode === "push-to-talk" || !given.turn_detection) input.turn_detection = turnDetection(wishes.mode);
  const patch: SessionPatch = {
    type: "realtime",
    audio: { input, output: { format: { type: "audio/pcm", rate: 24000 } } },
  };
  if (wishes.voice) patch.audio!.output!.voice = wishes.voice;
  if (wishes.instructions) patch.instructions = wishes.instructions;
  if (!desk.isEmpty) patch.tools = desk.beside(session.type === "realtime" ? session.tools : []);
  return patch;
}

/** How turns end: by silence, or when the user lets go. */
export function turnDetection(mode: Mode): { type: "server_vad" } | null {
  return mode === "hands-free" ? { type: "server_vad" } : null;
}
