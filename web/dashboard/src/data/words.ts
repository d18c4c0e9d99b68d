// What things are called on the screen, and what they mean, for someone who sees them for the first time.

export interface Word {
  name: string;
  what: string;
}

const STAGE: { [stage: string]: Word } = {
  endpoint: { name: "Noticing the end", what: "Deciding that the caller had finished speaking." },
  asr: { name: "Understanding", what: "Turning the end of the speech into words." },
  dispatch: { name: "Handing over", what: "Getting the words to the language model." },
  llm: { name: "Thinking", what: "The language model, up to its first word." },
  tts: { name: "Voice", what: "Making the first sound out of the first words, the wait for enough words included." },
  send: { name: "Sending", what: "From the first sound to its leaving for the caller." },
  waiting: { name: "Between stages", what: "Waited for, though no stage was at work." },
};

const VERDICT: { [verdict: string]: Word } = {
  met: { name: "In time", what: "The answer came within its budget." },
  declared: { name: "Late, and said so", what: "The answer was late or there was none, but the caller was told in time." },
  missed: { name: "Missed", what: "The answer was late and nothing was said meanwhile." },
  unmeasured: { name: "Not measured", what: "There was no end of speech to measure from, or the caller spoke on." },
};

const OUTCOME: { [outcome: string]: Word } = {
  answered: { name: "Answered", what: "The answer was said to its end." },
  interrupted: { name: "Interrupted", what: "The caller spoke before the answer was over." },
  refused: { name: "Refused", what: "The agent said that it cannot answer now." },
  failed: { name: "Failed", what: "Something broke, and an apology was said instead." },
  silent: { name: "Nothing to say", what: "A turn without speech, such as the call of a tool." },
};

const RUNG: { [rung: string]: Word } = {
  full: { name: "Nothing given up", what: "The answer was made as usual." },
  draft: { name: "Early draft", what: "The answer was begun at a short pause, before it was certain that the caller had finished." },
  short_clause: { name: "Shorter first words", what: "The voice began after fewer words." },
  speculation: { name: "Word guessing switched", what: "Speculative decoding was switched on or off for this reply." },
  hedge: { name: "Asked a second replica", what: "Two warm replicas were asked; the faster one answered." },
  small_opener: { name: "Smaller model first", what: "A smaller, faster model began the answer, and the usual one went on." },
  cached: { name: "Prepared answer", what: "An answer, or its beginning, that had been made before." },
  shed: { name: "Moved elsewhere", what: "Another replica, or another region, answered." },
  filler: { name: "Filled the silence", what: "Something true was said that is no answer; the answer followed." },
  refusal: { name: "Honest refusal", what: "The caller was told that there will be no answer." },
};

const REASON: { [reason: string]: string } = {
  forecast: "what was under way would have been too late",
  late: "a stage was taking longer than its share of the budget",
  failed: "a stage failed",
  overloaded: "a stage had too much to do",
  unavailable: "no replica was left",
  silence: "nothing had been said for too long",
  gave_up: "it was too late for an answer",
  soft_end: "the caller paused",
  load: "many answers were being made at once",
  wanted: "it is switched on for every turn",
};

const MARK: { [mark: string]: Word } = {
  speech_end: { name: "The caller stopped speaking", what: "The last sample of speech. Everything is measured from here." },
  endpoint: { name: "Decided that the caller had finished", what: "Until here, other work is hidden." },
  asr_final: { name: "Had all the words", what: "The final transcript." },
  llm_sent: { name: "Asked the language model", what: "With an early draft, before the caller was known to have finished." },
  llm_first_token: { name: "First word of the answer", what: "Written, not yet spoken." },
  tts_first_audio: { name: "First sound made", what: "Of the answer." },
  filler_sent: { name: "Said something to fill the silence", what: "No answer, and not counted as one." },
  first_sent: { name: "Answer on its way", what: "Its first sample left: here the wait ends." },
  first_heard: { name: "Answer heard", what: "By the caller's own word. Many callers cannot say." },
  flushed: { name: "Silent again", what: "The answer's end, or an interruption." },
};

const REPLICA: { [state: string]: Word } = {
  warm: { name: "Warm", what: "Answers at full speed." },
  cold: { name: "Cold", what: "Would be slow: its first answers are counted apart." },
  asleep: { name: "Asleep", what: "Put aside on purpose; it takes time to wake." },
  down: { name: "Down", what: "Does not answer." },
};

const BREAKER: { [state: string]: Word } = {
  closed: { name: "Closed", what: "Gets requests." },
  half_open: { name: "Trying again", what: "One request at a time, to see whether it has recovered." },
  open: { name: "Open", what: "Gets no requests: too many had failed." },
};

/** What an alarm asks for. Its name begins with that. */
export function alarmName(name: string): string {
  const [kind, ...rest] = name.split("_");
  const asks = { page: "Act now", ticket: "Look into it" }[kind ?? ""];
  return asks ? `${asks} (over ${rest.join(" ")})` : name.replaceAll("_", " ");
}

export const FILTER_NAMES: { [filter: string]: string } = {
  tenant: "Tenant",
  route: "Way in",
  region: "Region",
  profile: "Profile",
  release: "Release",
  verdict: "Verdict",
  outcome: "Outcome",
  rung: "Step taken",
  stage: "Blamed stage",
  replica: "Replica",
  cold: "Warmth",
};

function look(words: { [key: string]: Word }, key: string): Word {
  return words[key] ?? { name: key.replaceAll("_", " ") || "–", what: "" };
}

export const stageWord = (key: string) => look(STAGE, key);
export const verdictWord = (key: string) => look(VERDICT, key);
export const outcomeWord = (key: string) => look(OUTCOME, key);
export const rungWord = (key: string) => look(RUNG, key);
export const markWord = (key: string) => look(MARK, key);
export const replicaWord = (key: string) => look(REPLICA, key);
export const breakerWord = (key: string) => look(BREAKER, key);
export const reasonWords = (key: string) => REASON[key] ?? key.replaceAll("_", " ");

/** A filter's value as it is shown. */
export function valueName(filter: string, value: string): string {
  if (filter === "verdict") return verdictWord(value).name;
  if (filter === "outcome") return outcomeWord(value).name;
  if (filter === "rung") return rungWord(value).name;
  if (filter === "stage") return stageWord(value).name;
  if (filter === "cold") return value === "1" ? "Cold only" : "Warm only";
  return value;
}
