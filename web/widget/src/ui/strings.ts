// What the widget says to its visitor.
import type { State } from "../core/talk";
import type { TroubleCode } from "../core/trouble";

export interface Strings {
  title: string;
  start: string;
  startAgain: string;
  startContinue: string;
  newConversation: string;
  hint: string;
  hintContinue: string;
  asking: string;
  states: Record<State, string>;
  muted: string;
  held: string;
  writing: string;
  pressToTalk: string;
  releaseToSend: string;
  tooShort: string;
  mute: string;
  unmute: string;
  end: string;
  settings: string;
  captions: string;
  empty: string;
  you: string;
  agent: string;
  interrupted: string;
  write: string;
  send: string;
  typeInstead: string;
  microphone: string;
  speaker: string;
  standard: string;
  mode: string;
  handsFree: string;
  pushToTalk: string;
  micLost: string;
  notice: string;
  trouble: Record<TroubleCode, readonly [what: string, todo: string]>;
  heardAfter: string;
  sentAfter: string;
  hidden: string;
  free: string;
  nothingMeasured: string;
  stages: { [stage: string]: string };
}

export const ENGLISH: Strings = {
  title: "Talk to us",
  start: "Start talking",
  startAgain: "Start again",
  startContinue: "Start where we left off",
  newConversation: "New conversation",
  hint: "Your browser will ask for the microphone. What you say goes to {host}, and only while the call lasts.",
  hintContinue: "This conversation is still here. Start to go on with it.",
  asking: "Please allow the microphone: your browser is asking, near the address bar.",
  states: {
    idle: "Ready when you are",
    connecting: "Connecting…",
    listening: "Listening",
    thinking: "Thinking…",
    speaking: "Speaking",
    reconnecting: "Reconnecting…",
    ended: "Call ended",
    error: "Not connected",
  },
  muted: "Muted",
  held: "Hold the button or the space bar to talk",
  writing: "Ready for your message",
  pressToTalk: "Hold to talk",
  releaseToSend: "Release to send",
  tooShort: "Hold the button, or the space bar, for as long as you speak.",
  mute: "Mute",
  unmute: "Unmute",
  end: "End",
  settings: "Settings",
  captions: "Captions",
  empty: "Say something. What you and the agent say appears here.",
  you: "You",
  agent: "Agent",
  interrupted: "interrupted",
  write: "Write a message",
  send: "Send",
  typeInstead: "Type instead",
  microphone: "Microphone",
  speaker: "Speaker",
  standard: "System default",
  mode: "How to talk",
  handsFree: "Hands-free",
  pushToTalk: "Push to talk",
  micLost: "The microphone was unplugged. Another one is used now.",
  notice: "The agent could not answer that. Please try again.",
  trouble: {
    insecure: [
      "This page may not use a microphone.",
      "Browsers allow it only on secure pages. Open this page with https://, or from this computer as localhost.",
    ],
    "mic-denied": [
      "The microphone is blocked for this page.",
      "Open the site settings with the icon beside the address, allow the microphone, then start again.",
    ],
    "mic-missing": ["No microphone was found.", "Plug one in or switch it on, then start again."],
    "mic-busy": ["The microphone is in use.", "Close the other program that uses it, then start again."],
    "mic-failed": ["The microphone did not start.", "Check it in your system's sound settings, then start again."],
    "no-secret": [
      "This page has no key for the server.",
      "The page needs an ephemeral secret (ek_…) from its own backend: see token-url and getToken.",
    ],
    "bad-secret": [
      "The key was refused by this page.",
      "Only an ephemeral secret, which begins with ek_, may be used in a page. Never put an API key here.",
    ],
    refused: ["The server refused the key.", "It may have expired. Load the page again, or ask for a new secret."],
    origin: ["The server does not accept this page.", "Its operator has to name this page's address in access.origins."],
    busy: ["All lines are busy.", "Please try again in a moment."],
    unreachable: ["The server cannot be reached.", "Check your connection, then start again."],
    lost: ["The connection was lost.", "Your conversation is kept. Start again to go on with it."],
    over: ["The call is over.", "The server ended it. Start again to go on."],
    failed: ["Something went wrong.", "Please start again."],
  },
  heardAfter: "Heard {ms} ms after you finished",
  sentAfter: "Answered {ms} ms after you finished",
  hidden: "{ms} ms hidden",
  free: "hidden",
  nothingMeasured: "The last turn's time appears here.",
  stages: {
    endpoint: "Making sure you finished",
    asr: "Understanding",
    dispatch: "Handing over",
    llm: "Thinking",
    tts: "Finding the voice",
    send: "Sending",
    ear: "To your ear",
  },
};

export function filled(text: string, values: { [name: string]: string | number }): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

const OTHERS: { [language: string]: () => Promise<{ WORDS: Strings }> } = {
  de: () => import("./words/de"),
  fr: () => import("./words/fr"),
};
const loaded: { [language: string]: Strings } = {};

/** The words of a language (BCP 47), English until they are here; `onLoad` is called when that is later. */
export function wordsOf(language: string, onLoad: () => void): Strings {
  const name = language.toLowerCase().split("-")[0] ?? "";
  const here = loaded[name];
  if (here) return here;
  OTHERS[name]?.().then(
    ({ WORDS }) => {
      loaded[name] = WORDS;
      onLoad();
    },
    () => {}, // then English it is
  );
  return ENGLISH;
}
