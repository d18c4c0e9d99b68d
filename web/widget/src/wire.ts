// What is said over the wire, made from the Python definitions: `make types` writes it again.

/** Calls of tools in `never`, and not in `always`, need no approval; all others do. */
export interface ApprovalFilter {
  always?: ToolFilter;
  never?: ToolFilter;
}

/** More of a call's arguments. */
export interface ArgumentsDelta {
  type: "response.function_call_arguments.delta";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  call_id: string;
  delta: string;
}

/** A call's arguments, whole. */
export interface ArgumentsDone {
  type: "response.function_call_arguments.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  call_id: string;
  name: string;
  arguments: string;
}

/** Both directions. */
export interface Audio {
  input: AudioInput;
  output: AudioOutput;
}

/** More of the user's audio, base64, at most 15 MiB. */
export interface AudioAppend {
  type: "input_audio_buffer.append";
  event_id?: string;
  audio: string;
}

/** Forget the audio that is not committed. */
export interface AudioClear {
  type: "input_audio_buffer.clear";
  event_id?: string;
}

/** The input buffer is empty. */
export interface AudioCleared {
  type: "input_audio_buffer.cleared";
  event_id: string;
}

/** The user has finished. At least 100 ms. */
export interface AudioCommit {
  type: "input_audio_buffer.commit";
  event_id?: string;
}

/** The input buffer became the item. */
export interface AudioCommitted {
  type: "input_audio_buffer.committed";
  event_id: string;
  item_id: string;
  previous_item_id: string | null;
}

/** Audio to be played next, base64. */
export interface AudioDelta {
  type: "response.output_audio.delta";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  delta: string;
}

/** No more audio comes. */
export interface AudioDone {
  type: "response.output_audio.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
}

/** When the first sample of that response could be heard at the client. `heard_ms` is on the clock of `voicestack.clock.pong`: the client has added the offset of the ping with the shortest round trip, of which `error_ms` is half. */
export interface AudioHeard {
  type: "voicestack.audio.heard";
  event_id?: string;
  response_id: string;
  heard_ms: number;
  error_ms: number;
}

/** What the client sends, and how it is heard. Turn detection null: the client commits by itself. */
export interface AudioInput {
  format: PcmFormat | G711Format;
  transcription: Transcription | null;
  noise_reduction: NoiseReduction | null;
  turn_detection: ServerVad | SemanticVad | null;
}

/** Keys merge; `turn_detection` and the like are replaced as a unit. */
export interface AudioInputPatch {
  format?: PcmFormat | G711Format;
  transcription?: Transcription | null;
  noise_reduction?: NoiseReduction | null;
  turn_detection?: ServerVadPatch | SemanticVadPatch | null;
}

/** What the client hears. `speed` 0.25..1.5. */
export interface AudioOutput {
  format: PcmFormat | G711Format;
  voice: string | NamedVoice;
  speed: number;
}

/** Keys merge. `speed` 0.25..1.5. */
export interface AudioOutputPatch {
  format?: PcmFormat | G711Format;
  voice?: string | NamedVoice;
  speed?: number;
}

/** The content part of a spoken message, as its own events show it. */
export interface AudioPart {
  type: "audio";
  transcript: string;
}

/** Both directions. */
export interface AudioPatch {
  input?: AudioInputPatch;
  output?: AudioOutputPatch;
}

/** An error inside another object. */
export interface BriefError {
  type: string;
  code: string;
  message: string;
}

/** By kind. */
export interface CachedTokens {
  text_tokens: number;
  audio_tokens: number;
  image_tokens: number;
}

/** What time is it there? Answered at once. `client_ms` comes back as it is. */
export interface ClockPing {
  type: "voicestack.clock.ping";
  event_id?: string;
  client_ms: number;
}

/** The answer to a ping; `server_ms` are milliseconds since the session began, monotonic. */
export interface ClockPong {
  type: "voicestack.clock.pong";
  event_id: string;
  client_ms: number;
  server_ms: number;
}

/** The server refused the call (JSON-RPC's code), or could not be talked to (HTTP's). */
export interface CodedError {
  type: "protocol_error" | "http_error";
  message: string;
  code: number;
}

/** The words of a message begin. */
export interface ContentPartAdded {
  type: "response.content_part.added";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  part: AudioPart | TextPart;
}

/** The words of a message have ended. */
export interface ContentPartDone {
  type: "response.content_part.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  part: AudioPart | TextPart;
}

/** A call goes on over a new connection: what was said in it, oldest first. Follows `session.created`. */
export interface ConversationResumed {
  type: "voicestack.conversation.resumed";
  event_id: string;
  items: SaidEarlier[];
}

/** Audio that was transcribed. */
export interface Duration {
  type: "duration";
  seconds: number;
}

/** What went wrong. `event_id` is the client's name for the event that it is about. */
export interface Error {
  type: string;
  code: string | null;
  message: string;
  param: string | null;
  event_id: string | null;
}

/** Something that the client sent was refused, or something failed. The session goes on. */
export interface ErrorEvent {
  type: "error";
  event_id: string;
  error: Error;
}

/** A call. `arguments` is the text of a JSON object. */
export interface FunctionCall {
  id: string;
  object: "realtime.item";
  type: "function_call";
  status: "in_progress" | "completed" | "incomplete";
  name: string;
  call_id: string;
  arguments: string;
}

/** What a call came to. */
export interface FunctionCallOutput {
  id: string;
  object: "realtime.item";
  type: "function_call_output";
  status: "in_progress" | "completed" | "incomplete";
  call_id: string;
  output: string;
}

/** Call this one. */
export interface FunctionChoice {
  type: "function";
  name: string;
}

/** A function of the client's. `parameters` is a JSON Schema. */
export interface FunctionTool {
  type: "function";
  name: string;
  description?: string;
  parameters?: unknown;
}

/** G.711 mono at 8 kHz, mu-law or A-law. */
export interface G711Format {
  type: "audio/pcmu" | "audio/pcma";
}

/** Speech. `transcript` is null while the words are not known, or not to be shown. `audio`, base64 in the session's input format, comes with a retrieved item, if the server keeps any. */
export interface InputAudio {
  type: "input_audio";
  transcript: string | null;
  audio?: string;
}

/** A picture that the user shows. What is in it is not sent back. */
export interface InputImage {
  type: "input_image";
  detail: "auto" | "low" | "high";
}

/** A session that only listens. */
export interface InputOnly {
  input: AudioInput;
}

/** Typed words. */
export interface InputText {
  type: "input_text";
  text: string;
}

/** By kind. */
export interface InputTokens {
  text_tokens: number;
  audio_tokens: number;
  image_tokens: number;
  cached_tokens: number;
  cached_tokens_details: CachedTokens;
}

/** An item is now part of the conversation. */
export interface ItemAdded {
  type: "conversation.item.added";
  event_id: string;
  previous_item_id: string | null;
  item: Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse;
}

/** Put an item into the conversation: at the end, first (`root`) or after another. */
export interface ItemCreate {
  type: "conversation.item.create";
  event_id?: string;
  previous_item_id?: string | null;
  item: NewMessage | NewCall | NewOutput | NewVerdict;
}

/** Take an item out. */
export interface ItemDelete {
  type: "conversation.item.delete";
  event_id?: string;
  item_id: string;
}

/** The item is gone. */
export interface ItemDeleted {
  type: "conversation.item.deleted";
  event_id: string;
  item_id: string;
}

/** The item is as it will be. */
export interface ItemDone {
  type: "conversation.item.done";
  event_id: string;
  previous_item_id: string | null;
  item: Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse;
}

/** An item of the conversation. */
export interface ItemReference {
  type: "item_reference";
  id: string;
}

/** Show an item as the server knows it. */
export interface ItemRetrieve {
  type: "conversation.item.retrieve";
  event_id?: string;
  item_id: string;
}

/** The item that was asked for. */
export interface ItemRetrieved {
  type: "conversation.item.retrieved";
  event_id: string;
  item: Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse;
}

/** Of this message only so much was played. */
export interface ItemTruncate {
  type: "conversation.item.truncate";
  event_id?: string;
  item_id: string;
  content_index: number;
  audio_end_ms: number;
}

/** The item was cut to what was heard. */
export interface ItemTruncated {
  type: "conversation.item.truncated";
  event_id: string;
  item_id: string;
  content_index: number;
  audio_end_ms: number;
}

/** A tool as its server describes it. `input_schema` is a JSON Schema. */
export interface ListedTool {
  name: string;
  description: string;
  input_schema: unknown;
  annotations?: unknown;
}

/** May this call be made? Answered with an `mcp_approval_response` item. */
export interface McpApprovalRequest {
  id: string;
  type: "mcp_approval_request";
  server_label: string;
  name: string;
  arguments: string;
}

/** The client's answer to an `mcp_approval_request`. */
export interface McpApprovalResponse {
  id: string;
  type: "mcp_approval_response";
  approval_request_id: string;
  approve: boolean;
  reason?: string;
}

/** More of a call's arguments. `obfuscation` is empty. */
export interface McpArgumentsDelta {
  type: "response.mcp_call_arguments.delta";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  delta: string;
  obfuscation: string;
}

/** A call's arguments, whole. */
export interface McpArgumentsDone {
  type: "response.mcp_call_arguments.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  arguments: string;
}

/** A call of a served tool. It has an output or an error when it is over. */
export interface McpCall {
  id: string;
  type: "mcp_call";
  server_label: string;
  name: string;
  arguments: string;
  approval_request_id: string | null;
  output: string | null;
  error: ToolExecutionError | CodedError | null;
}

/** The server has answered; `conversation.item.done` shows the output. */
export interface McpCallCompleted {
  type: "response.mcp_call.completed";
  event_id: string;
  output_index: number;
  item_id: string;
}

/** The call has failed, as `conversation.item.done` shows; without that, it was never made. */
export interface McpCallFailed {
  type: "response.mcp_call.failed";
  event_id: string;
  output_index: number;
  item_id: string;
}

/** The server is being called. Its response may be done by then. */
export interface McpCallInProgress {
  type: "response.mcp_call.in_progress";
  event_id: string;
  output_index: number;
  item_id: string;
}

/** Call this tool of the server, or any of them. */
export interface McpChoice {
  type: "mcp";
  server_label: string;
  name?: string;
}

/** The tools of a server. None while it is asked, and when it did not answer. */
export interface McpListTools {
  id: string;
  type: "mcp_list_tools";
  server_label: string;
  tools: ListedTool[];
}

/** The item has the server's tools. */
export interface McpListToolsCompleted {
  type: "mcp_list_tools.completed";
  event_id: string;
  item_id: string;
}

/** The server did not say which tools it has; an `error` event says why. */
export interface McpListToolsFailed {
  type: "mcp_list_tools.failed";
  event_id: string;
  item_id: string;
}

/** A server is asked for its tools. */
export interface McpListToolsInProgress {
  type: "mcp_list_tools.in_progress";
  event_id: string;
  item_id: string;
}

/** A server of tools, called from here. Keys are not shown; `require_approval` is `always` by default. */
export interface McpTool {
  type: "mcp";
  server_label: string;
  server_url: string;
  server_description?: string;
  allowed_tools?: string[] | ToolFilter;
  require_approval?: "always" | "never" | ApprovalFilter;
  defer_loading?: boolean;
  allowed_callers?: ("direct" | "programmatic")[];
}

/** Something that was said. */
export interface Message {
  id: string;
  object: "realtime.item";
  type: "message";
  status: "in_progress" | "completed" | "incomplete";
  role: "system" | "user" | "assistant";
  content: (InputText | InputAudio | InputImage | OutputText | OutputAudio)[];
}

/** A voice as an object. */
export interface NamedVoice {
  id: string;
}

/** Speech: base64 in the session's input format, or its words where they are known. */
export interface NewAudio {
  type: "input_audio";
  audio?: string;
  transcript?: string;
}

/** A call that was made earlier. */
export interface NewCall {
  type: "function_call";
  id?: string;
  call_id?: string;
  name: string;
  arguments: string;
}

/** A picture of the user's, where the server's language model takes them: PNG or JPEG, at most 5 MiB. */
export interface NewImage {
  type: "input_image";
  image_url: string;
  detail?: "auto" | "low" | "high";
}

/** A server of tools, called from here. `server_url` must be in one of the places that this server may call. It may be missing where the session has a server with that label. `authorization` is a bearer token; neither it nor `headers` are shown. */
export interface NewMcpTool {
  type: "mcp";
  server_label: string;
  server_url?: string;
  server_description?: string;
  authorization?: string;
  headers?: Record<string, string>;
  allowed_tools?: string[] | ToolFilter;
  require_approval?: "always" | "never" | ApprovalFilter;
  defer_loading?: boolean;
  allowed_callers?: ("direct" | "programmatic")[];
}

/** Something that was said. */
export interface NewMessage {
  type: "message";
  id?: string;
  role: "system" | "developer" | "user" | "assistant";
  content: (NewText | NewAudio | NewImage | OutputText)[];
}

/** What a call came to. */
export interface NewOutput {
  type: "function_call_output";
  id?: string;
  call_id: string;
  output: string;
}

/** Typed words. */
export interface NewText {
  type: "input_text";
  text: string;
}

/** What the client says to an `mcp_approval_request`, named by its id. */
export interface NewVerdict {
  type: "mcp_approval_response";
  id?: string;
  approval_request_id: string;
  approve: boolean;
  reason?: string;
}

/** Accepted and shown; this server does not reduce noise. */
export interface NoiseReduction {
  type: "near_field" | "far_field";
  strength?: number;
}

/** Spoken words of the agent's, as far as they were heard. `audio`, base64 in the session's output format, as `transcript`, if the server keeps any: retrieved only. */
export interface OutputAudio {
  type: "output_audio";
  transcript: string;
  audio?: string;
}

/** Be silent at once. Of what is being said only the heard part stays. A WebSocket's client is refused. */
export interface OutputAudioClear {
  type: "output_audio_buffer.clear";
  event_id?: string;
}

/** The reply is not played any further. Not over WebSocket. */
export interface OutputAudioCleared {
  type: "output_audio_buffer.cleared";
  event_id: string;
  response_id: string;
}

/** The reply begins to be played. Not over WebSocket. */
export interface OutputAudioStarted {
  type: "output_audio_buffer.started";
  event_id: string;
  response_id: string;
}

/** The reply has been played to its end. Not over WebSocket. */
export interface OutputAudioStopped {
  type: "output_audio_buffer.stopped";
  event_id: string;
  response_id: string;
}

/** A reply puts out something more. */
export interface OutputItemAdded {
  type: "response.output_item.added";
  event_id: string;
  response_id: string;
  output_index: number;
  item: Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse;
}

/** That is complete, or broken off. */
export interface OutputItemDone {
  type: "response.output_item.done";
  event_id: string;
  response_id: string;
  output_index: number;
  item: Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse;
}

/** Written words of the agent's. */
export interface OutputText {
  type: "output_text";
  text: string;
}

/** By kind; audio is one token for every 50 ms. */
export interface OutputTokens {
  text_tokens: number;
  audio_tokens: number;
}

/** Signed 16-bit little-endian mono. */
export interface PcmFormat {
  type: "audio/pcm";
  rate: 24000;
}

/** How much is left. */
export interface RateLimit {
  name: "requests" | "tokens";
  limit: number;
  remaining: number;
  reset_seconds: number;
}

/** What is left of the client's limits. */
export interface RateLimitsUpdated {
  type: "rate_limits.updated";
  event_id: string;
  rate_limits: RateLimit[];
}

/** Accepted and shown. */
export interface Reasoning {
  effort?: "minimal" | "low" | "medium" | "high" | "xhigh";
}

/** A reply. `conversation_id` is null for one beside the conversation, `usage` until it is done. */
export interface Response {
  object: "realtime.response";
  id: string;
  status: "in_progress" | "completed" | "cancelled" | "incomplete" | "failed";
  status_details: StatusDetails | null;
  output: (Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse)[];
  conversation_id: string | null;
  output_modalities: ("audio" | "text")[];
  max_output_tokens: number | "inf";
  audio: ResponseAudio;
  metadata: Record<string, string> | null;
  usage: Usage | null;
}

/** How it is spoken. */
export interface ResponseAudio {
  output: ResponseOutput;
}

/** Stop answering. */
export interface ResponseCancel {
  type: "response.cancel";
  event_id?: string;
  response_id?: string;
}

/** Answer now. */
export interface ResponseCreate {
  type: "response.create";
  event_id?: string;
  response?: ResponseWish | null;
}

/** A reply begins. */
export interface ResponseCreated {
  type: "response.created";
  event_id: string;
  response: Response;
}

/** A reply is over, however it ended. */
export interface ResponseDone {
  type: "response.done";
  event_id: string;
  response: Response;
}

/** How it is spoken. */
export interface ResponseOutput {
  format: PcmFormat | G711Format;
  voice: string;
}

/** What differs from the session for this reply. `conversation` none: beside the conversation. */
export interface ResponseWish {
  conversation?: "auto" | "none";
  input?: (NewMessage | NewCall | NewOutput | NewVerdict | ItemReference)[];
  instructions?: string | null;
  output_modalities?: ("audio" | "text")[];
  audio?: WishedAudio;
  tools?: (FunctionTool | NewMcpTool)[];
  tool_choice?: "auto" | "none" | "required" | FunctionChoice | McpChoice;
  parallel_tool_calls?: boolean;
  reasoning?: Reasoning;
  max_output_tokens?: number | "inf";
  metadata?: Record<string, string>;
  prompt?: null;
}

/** Accepted and shown; this server drops the oldest turns by its own rule. */
export interface RetentionRatio {
  type: "retention_ratio";
  retention_ratio: number;
  token_limits?: TokenLimits;
}

/** What was done about a budget that would have been missed; `at_ms` after the end of speech. `forecast_ms` is what the rung promised then, null where nobody had asked. */
export interface RungTaken {
  rung: string;
  reason: string;
  at_ms: number;
  remaining_ms: number;
  forecast_ms: number | null;
}

/** A message of the conversation, as it was heard. */
export interface SaidEarlier {
  id: string;
  role: "system" | "user" | "assistant";
  text: string;
}

/** A turn ends sooner or later, by how patient the agent is meant to be. */
export interface SemanticVad {
  type: "semantic_vad";
  eagerness: "low" | "medium" | "high" | "auto";
  create_response: boolean;
  interrupt_response: boolean;
}

/** What is missing gets the server's default. */
export interface SemanticVadPatch {
  type?: "semantic_vad";
  eagerness?: "low" | "medium" | "high" | "auto";
  create_response?: boolean;
  interrupt_response?: boolean;
}

/** A turn ends after so much silence. */
export interface ServerVad {
  type: "server_vad";
  threshold: number;
  prefix_padding_ms: number;
  silence_duration_ms: number;
  idle_timeout_ms: number | null;
  create_response: boolean;
  interrupt_response: boolean;
}

/** What is missing gets the server's default. */
export interface ServerVadPatch {
  type?: "server_vad";
  threshold?: number;
  prefix_padding_ms?: number;
  silence_duration_ms?: number;
  idle_timeout_ms?: number | null;
  create_response?: boolean;
  interrupt_response?: boolean;
}

/** A conversation, with every default filled. `expires_at` is Unix time in seconds. */
export interface Session {
  type: "realtime";
  object: "realtime.session";
  id: string;
  model: string;
  expires_at: number;
  output_modalities: ("audio" | "text")[];
  instructions: string;
  tools: (FunctionTool | McpTool)[];
  tool_choice: "auto" | "none" | "required" | FunctionChoice | McpChoice;
  parallel_tool_calls?: boolean;
  reasoning?: Reasoning;
  max_output_tokens: number | "inf";
  truncation: "auto" | "disabled" | RetentionRatio;
  tracing: "auto" | Tracing | null;
  prompt: null;
  include: string[] | null;
  audio: Audio;
}

/** The first event of every connection. */
export interface SessionCreated {
  type: "session.created";
  event_id: string;
  session: Session | TranscriptionSession;
}

/** What to change of the session. `max_output_tokens` 1..4096. */
export interface SessionPatch {
  type?: "realtime" | "transcription";
  model?: string;
  output_modalities?: ("audio" | "text")[];
  instructions?: string;
  audio?: AudioPatch;
  tools?: (FunctionTool | NewMcpTool)[];
  tool_choice?: "auto" | "none" | "required" | FunctionChoice | McpChoice;
  parallel_tool_calls?: boolean;
  reasoning?: Reasoning;
  max_output_tokens?: number | "inf";
  truncation?: "auto" | "disabled" | RetentionRatio;
  tracing?: "auto" | Tracing | null;
  prompt?: null;
  include?: "item.input_audio_transcription.logprobs"[] | null;
}

/** Change the session. */
export interface SessionUpdate {
  type: "session.update";
  event_id?: string;
  session: SessionPatch;
}

/** The whole session as it is now. */
export interface SessionUpdated {
  type: "session.updated";
  event_id: string;
  session: Session | TranscriptionSession;
}

/** One stage of a turn, ms after the end of speech; `hidden_ms` of it cost the user nothing. */
export interface Span {
  stage: string;
  start_ms: number;
  end_ms: number;
  hidden_ms: number;
}

/** The user began to speak; media time in ms, prefix padding included. */
export interface SpeechStarted {
  type: "input_audio_buffer.speech_started";
  event_id: string;
  audio_start_ms: number;
  item_id: string;
}

/** The user finished; media time in ms, the deciding silence included. */
export interface SpeechStopped {
  type: "input_audio_buffer.speech_stopped";
  event_id: string;
  audio_end_ms: number;
  item_id: string;
}

/** Who was asked; `first_ms` is until the first result, null where none came. */
export interface StageUsed {
  stage: string;
  replica: string;
  region: string;
  warm: boolean;
  first_ms: number | null;
  won: boolean;
}

/** Why a response did not come to its own end. */
export interface StatusDetails {
  type: "cancelled" | "incomplete" | "failed";
  reason?: "turn_detected" | "client_cancelled" | "max_output_tokens";
  error?: BriefError;
}

/** More written words. */
export interface TextDelta {
  type: "response.output_text.delta";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  delta: string;
}

/** All written words. */
export interface TextDone {
  type: "response.output_text.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  text: string;
}

/** The content part of a written message, as its own events show it. */
export interface TextPart {
  type: "text";
  text: string;
}

/** The user said nothing for `idle_timeout_ms`. */
export interface TimeoutTriggered {
  type: "input_audio_buffer.timeout_triggered";
  event_id: string;
  audio_start_ms: number;
  audio_end_ms: number;
  item_id: string;
}

/** How many tokens may follow the instructions. */
export interface TokenLimits {
  post_instructions?: number;
}

/** The tool failed, or the client refused the call. */
export interface ToolExecutionError {
  type: "tool_execution_error";
  message: string;
}

/** Some of a server's tools: with these names, or that do or do not only read. */
export interface ToolFilter {
  tool_names?: string[];
  read_only?: boolean;
}

/** Accepted and shown. */
export interface Tracing {
  workflow_name?: string;
  group_id?: string;
  metadata?: unknown;
}

/** The words that end in the audio just sent. */
export interface TranscriptDelta {
  type: "response.output_audio_transcript.delta";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  delta: string;
}

/** All spoken words. */
export interface TranscriptDone {
  type: "response.output_audio_transcript.done";
  event_id: string;
  response_id: string;
  item_id: string;
  output_index: number;
  content_index: number;
  transcript: string;
}

/** Tell the client what was understood. `language` (ISO 639-1 or BCP 47), `prompt` and `keywords` are hints for a recogniser that can use them (Whisper), from the next utterance on; others ignore them. `languages` and `delay` are only remembered. */
export interface Transcription {
  model: string;
  language?: string;
  prompt?: string;
  languages?: string[];
  keywords?: string[];
  delay?: "minimal" | "low" | "medium" | "high" | "xhigh";
}

/** All that the user said. */
export interface TranscriptionCompleted {
  type: "conversation.item.input_audio_transcription.completed";
  event_id: string;
  item_id: string;
  content_index: number;
  transcript: string;
  usage: Duration;
}

/** More of what the user said. */
export interface TranscriptionDelta {
  type: "conversation.item.input_audio_transcription.delta";
  event_id: string;
  item_id: string;
  content_index: number;
  delta: string;
}

/** The user was not understood, by a fault on this side. */
export interface TranscriptionFailed {
  type: "conversation.item.input_audio_transcription.failed";
  event_id: string;
  item_id: string;
  content_index: number;
  error: BriefError;
}

/** A session that only listens. */
export interface TranscriptionSession {
  type: "transcription";
  object: "realtime.transcription_session";
  id: string;
  expires_at: number;
  include: string[] | null;
  audio: InputOnly;
}

/** Where the time of a turn went, and what was done about it. `response_ms` is until the answer left, `heard_after_ms` until it was heard, by the client's word: null where it has not said so in time. `silence_ms` is until anything was heard, an answer or not; `failure` is the code of what broke the turn, empty for nothing. */
export interface TurnMeasured {
  type: "voicestack.turn.measured";
  event_id: string;
  turn: number;
  marks_ms: Record<string, number>;
  spans: Span[];
  response_ms: number | null;
  heard_after_ms: number | null;
  drafted: boolean;
  interrupted: boolean;
  outcome?: "answered" | "interrupted" | "refused" | "failed" | "silent";
  verdict?: "met" | "declared" | "missed" | "unmeasured";
  budget_ms?: number;
  silence_ms?: number | null;
  failure?: string;
  rungs?: RungTaken[];
  uses?: StageUsed[];
}

/** What a response cost. */
export interface Usage {
  total_tokens: number;
  input_tokens: number;
  output_tokens: number;
  input_token_details: InputTokens;
  output_token_details: OutputTokens;
}

/** What the utterance sounds like so far. May still change. */
export interface UserHearing {
  type: "voicestack.user.hearing";
  event_id: string;
  item_id: string;
  text: string;
}

/** How this reply is spoken. */
export interface WishedAudio {
  output?: WishedVoice;
}

/** How this reply is spoken; the format is the session's. */
export interface WishedVoice {
  format?: PcmFormat | G711Format;
  voice?: string | NamedVoice;
}

/** What a client may send. */
export type ClientEvent =
  | SessionUpdate
  | AudioAppend
  | AudioCommit
  | AudioClear
  | ItemCreate
  | ItemRetrieve
  | ItemDelete
  | ItemTruncate
  | ResponseCreate
  | ResponseCancel
  | OutputAudioClear
  | ClockPing
  | AudioHeard;

/** What a client may receive. */
export type ServerEvent =
  | SessionCreated
  | SessionUpdated
  | SpeechStarted
  | SpeechStopped
  | TimeoutTriggered
  | AudioCommitted
  | AudioCleared
  | ItemAdded
  | ItemDone
  | ItemRetrieved
  | ItemDeleted
  | ItemTruncated
  | TranscriptionDelta
  | TranscriptionCompleted
  | TranscriptionFailed
  | ErrorEvent
  | ResponseCreated
  | ResponseDone
  | OutputItemAdded
  | OutputItemDone
  | ContentPartAdded
  | ContentPartDone
  | TextDelta
  | TextDone
  | TranscriptDelta
  | TranscriptDone
  | AudioDelta
  | AudioDone
  | ArgumentsDelta
  | ArgumentsDone
  | RateLimitsUpdated
  | OutputAudioStarted
  | OutputAudioStopped
  | OutputAudioCleared
  | McpListToolsInProgress
  | McpListToolsCompleted
  | McpListToolsFailed
  | McpArgumentsDelta
  | McpArgumentsDone
  | McpCallInProgress
  | McpCallCompleted
  | McpCallFailed
  | ClockPong
  | TurnMeasured
  | UserHearing
  | ConversationResumed;
