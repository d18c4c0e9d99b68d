// Who has the floor? A pure reading of the events of one connection.
import type { Received } from "./events";

export interface Floor {
  /** The user is being heard. */
  userSpeaks: boolean;
  /** The user has finished and something will be said. */
  isExpecting: boolean;
  /** The response that is being made, null for none. */
  response: string | null;
  /** The response that can be heard, null for silence. */
  audible: string | null;
}

export const QUIET: Floor = { userSpeaks: false, isExpecting: false, response: null, audible: null };

export type Turn = "listening" | "thinking" | "speaking";

/** The floor after an event. The same object when nothing changed. */
export function heardEvent(floor: Floor, event: Received): Floor {
  switch (event.type) {
    case "session.created":
      return QUIET;
    case "input_audio_buffer.speech_started":
      return { ...floor, userSpeaks: true, isExpecting: false };
    case "input_audio_buffer.speech_stopped":
      return { ...floor, userSpeaks: false, isExpecting: true };
    case "input_audio_buffer.committed":
      return floor.userSpeaks ? { ...floor, userSpeaks: false, isExpecting: true } : floor;
    case "conversation.item.input_audio_transcription.completed":
      return event.transcript.trim() ? floor : { ...floor, isExpecting: false };
    case "conversation.item.input_audio_transcription.failed":
      return { ...floor, isExpecting: false };
    case "response.created":
      if (event.response.conversation_id === null) return floor; // beside the conversation
      return { ...floor, response: event.response.id, isExpecting: false };
    case "response.done":
      return floor.response === event.response.id ? { ...floor, response: null } : floor;
    case "output_audio_buffer.started":
      return { ...floor, audible: event.response_id, isExpecting: false };
    case "output_audio_buffer.stopped":
    case "output_audio_buffer.cleared":
      return { ...floor, audible: null };
    case "error":
      return { ...floor, isExpecting: false };
    default:
      return floor;
  }
}

/** What to call it. */
export function turnOf(floor: Floor): Turn {
  if (floor.audible !== null && !floor.userSpeaks) return "speaking";
  if (floor.userSpeaks) return "listening";
  return floor.isExpecting || floor.response !== null ? "thinking" : "listening";
}
