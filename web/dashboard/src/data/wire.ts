// What the server answers. Times are milliseconds, instants Unix milliseconds; null is "not known".

export const VERDICTS = ["met", "declared", "missed", "unmeasured"] as const;
export const OUTCOMES = ["answered", "interrupted", "refused", "failed", "silent"] as const;
export const STAGES = ["endpoint", "asr", "dispatch", "llm", "tts", "send"] as const;
export const RUNGS = [
  ...["full", "draft", "short_clause", "speculation", "hedge", "small_opener", "cached", "shed", "filler", "refusal"],
] as const;
export type Verdict = (typeof VERDICTS)[number];
export type Outcome = (typeof OUTCOMES)[number];

export interface Span {
  stage: string;
  start_ms: number;
  end_ms: number;
  hidden_ms: number;
}

export interface RungTaken {
  rung: string;
  reason: string;
  at_ms: number;
  remaining_ms: number;
  forecast_ms: number | null;
}

export interface Use {
  stage: string;
  replica: string;
  region: string;
  warm: boolean;
  first_ms: number | null;
  won: boolean;
}

export interface TurnRow {
  id: string;
  session: string;
  turn: number;
  tenant: string;
  route: string;
  profile: string;
  region: string;
  release: string;
  began_unix_ms: number;
  budget_ms: number;
  response_ms: number | null;
  heard_after_ms: number | null;
  silence_ms: number | null;
  verdict: Verdict;
  outcome: Outcome;
  blamed: string;
  cold: boolean;
  cut_off: boolean;
  drafted: boolean;
  interrupted: boolean;
  spans: Span[];
  hidden_ms: number;
  work_ms: number;
  marks: { [mark: string]: number };
  rungs: RungTaken[];
  uses: Use[];
  n_drafts: number;
  drafted_tokens: number;
  wasted_tokens: number;
  read_tokens: number;
  written_tokens: number;
  failure: string;
  user_text: string;
  agent_text: string;
  recording: string | null;
}

export interface Percentiles {
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
}

export interface Me {
  tenant: string;
  is_operator: boolean;
  region: string;
  profile: string;
  release: string;
  keeps_transcripts: boolean;
  ring_turns: number;
  n_turns: number;
  oldest_unix_ms: number | null;
}

export interface Facets {
  tenants: string[];
  routes: string[];
  regions: string[];
  profiles: string[];
  releases: string[];
  replicas: string[];
  rungs: string[];
}

export interface Group {
  name: string;
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  met_ratio: number | null;
}

export interface StageFigures {
  stage: string;
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  budget_ms: number | null;
  exposed_p50: number | null;
  exposed_p95: number | null;
  hidden_p50: number | null;
  blamed: number;
}

export interface Step {
  at: number;
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  met: number;
  declared: number;
  missed: number;
  cold: number;
}

export interface Slo {
  objective: number;
  windows: { window_s: number; n: number; bad: number; burn: number | null }[];
  budget_left_ratio: number | null;
  alerts: { name: string; firing: boolean; burn: number | null; threshold: number }[];
}

export interface Interruptions {
  n_turns: number;
  interrupted: number;
  cut_off: number;
  cut_off_ratio: number | null;
  drafts: number;
  drafts_won: number;
  drafted_tokens: number;
  wasted_tokens: number;
  series: { at: number; n: number; interrupted: number; cut_off: number }[];
}

export type Counts = { [name: string]: number };
export const GROUPINGS = ["route", "region", "tenant", "profile", "release"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface Overview {
  from: number;
  to: number;
  n_turns: number;
  budget_ms: number | null;
  response: Percentiles;
  cold_response: Percentiles;
  heard: Percentiles;
  silence: Percentiles;
  cold_rate: number | null;
  verdicts: Record<Verdict, number>;
  outcomes: Counts;
  rungs: Counts;
  dead_air: number;
  hidden_ratio: number | null;
  by: Record<Grouping, Group[]>;
  stages: StageFigures[];
  slo: Slo;
  series: Step[];
  interruptions: Interruptions;
  /** What the answer could not reach back beyond, if the period is longer than that. */
  oldest_unix_ms?: number | null;
}

export interface TurnPage {
  turns: TurnRow[];
  next: string | null;
  n_total: number;
}

export interface Heat {
  at: number[];
  edges_ms: (number | null)[];
  counts: number[][];
}

export interface Replica {
  stage: string;
  name: string;
  region: string;
  state: "warm" | "cold" | "asleep" | "down";
  breaker: "closed" | "half_open" | "open" | null;
  in_flight: number;
  queue: number | null;
  kv_used_ratio: number | null;
  acceptance_ratio: number | null;
  first_p50_ms: number | null;
  first_p95_ms: number | null;
  requests: number;
  failures: number;
  about: { [figure: string]: number };
}

export interface Replicas {
  replicas: Replica[];
}

export interface Capacity {
  sessions: number;
  max_sessions: number | null;
  admitting: boolean;
  reason: string | null;
  predicted_p95_ms: number | null;
  budget_ms: number | null;
  headroom_sessions: number | null;
  refused: Counts;
  queues: { name: string; waiting: number; wait_ms: number | null }[];
}

export interface Summary {
  n: number;
  response: Percentiles;
  verdicts: Record<Verdict, number>;
  cold_rate: number | null;
  cut_off_ratio: number | null;
  rungs: Counts;
}

export interface Interval {
  value: number;
  low: number;
  high: number;
}

export interface Comparison {
  a: Summary;
  b: Summary;
  stages: { stage: string; a_p50: number | null; a_p95: number | null; b_p50: number | null; b_p95: number | null }[];
  ratio: { p50: Interval | null; p95: Interval | null };
  verdict: "better" | "same" | "worse" | "unknown";
}

export interface LiveSession {
  session: string;
  tenant: string;
  route: string;
  user: "quiet" | "speaking" | "paused";
  reply: null | "draft" | "thinking" | "audible";
  turn: number | null;
  since_ms: number;
  rung: string | null;
}

export interface LiveNow {
  at: number;
  sessions: LiveSession[];
}
