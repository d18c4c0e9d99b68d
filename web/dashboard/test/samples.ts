// Turns and figures to test with.
import type { Overview, TurnRow } from "../src/data/wire";

export function turn(given: Partial<TurnRow> = {}): TurnRow {
  return {
    ...{ id: "s.1", session: "s", turn: 1, tenant: "default", route: "webrtc", profile: "gpu", region: "eu", release: "1.0" },
    ...{ began_unix_ms: 1_795_000_000_000, budget_ms: 800, response_ms: 700, heard_after_ms: null, silence_ms: 700 },
    ...{ verdict: "met", outcome: "answered", blamed: "endpoint", cold: false, cut_off: false, drafted: true, interrupted: false },
    spans: [
      { stage: "endpoint", start_ms: 0, end_ms: 500, hidden_ms: 0 },
      { stage: "asr", start_ms: 500, end_ms: 560, hidden_ms: 0 },
      { stage: "llm", start_ms: 100, end_ms: 250, hidden_ms: 150 },
      { stage: "tts", start_ms: 250, end_ms: 620, hidden_ms: 250 },
      { stage: "send", start_ms: 650, end_ms: 700, hidden_ms: 0 },
    ],
    ...{ hidden_ms: 400, work_ms: 580, marks: { speech_end: 0 }, rungs: [], uses: [], n_drafts: 1 },
    ...{ drafted_tokens: 10, wasted_tokens: 0, read_tokens: 100, written_tokens: 10, failure: "" },
    ...{ user_text: "", agent_text: "", recording: null },
    ...given,
  } as TurnRow;
}

const none = { n: 0, p50: null, p95: null, p99: null, max: null };

export function overview(given: Partial<Overview> = {}): Overview {
  return {
    ...{ from: 0, to: 1, n_turns: 10, budget_ms: 800, response: { n: 10, p50: 500, p95: 700, p99: 790, max: 800 } },
    ...{ cold_response: none, heard: none, silence: none, cold_rate: 0 },
    verdicts: { met: 10, declared: 0, missed: 0, unmeasured: 0 },
    ...{ outcomes: {}, rungs: {}, dead_air: 0, hidden_ratio: null },
    by: { route: [], region: [], tenant: [], profile: [], release: [] },
    stages: [],
    slo: { objective: 0.95, windows: [], budget_left_ratio: 1, alerts: [] },
    series: [],
    interruptions: { n_turns: 10, interrupted: 0, cut_off: 0, cut_off_ratio: 0, drafts: 0, drafts_won: 0, drafted_tokens: 0, wasted_tokens: 0, series: [] },
    ...given,
  };
}
