// A page with the `@openai/agents-realtime` package over WebRTC. The test calls the functions of `scenarios`.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

const BRIEF = "You are a friendly assistant on the telephone. Answer every question in one short sentence.";
const TALKATIVE = "You are a friendly assistant on the telephone. Answer every question with a long story.";
const LIMIT_MS = 60_000;

const asked = [];
const getWeather = tool({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async (fields) => {
    asked.push(fields);
    return "sunny, 21 degrees";
  },
});

/** One session with every default of the library: its own microphone, its own loudspeaker. */
class Call {
  said = "";
  nTurns = 0;
  nInterruptions = 0;
  instructions = "";
  failure = null;
  waiting = [];

  async open({ instructions = BRIEF, tools = [] } = {}) {
    const minted = await fetch("/v1/realtime/client_secrets", { method: "POST" });
    const { value: apiKey } = await minted.json();
    this.transport = new OpenAIRealtimeWebRTC({ baseUrl: `${location.origin}/v1/realtime/calls` });
    const agent = new RealtimeAgent({ name: "Guide", instructions, tools });
    this.session = new RealtimeSession(agent, { transport: this.transport, model: "gpt-realtime" });
    this.session.on("error", ({ error }) => this.failed(new Error(JSON.stringify(error))));
    this.transport.on("audio_transcript_delta", ({ delta }) => (this.said += delta));
    this.transport.on("turn_done", () => (this.nTurns += 1));
    this.transport.on("session.updated", ({ session }) => (this.instructions = session.instructions));
    this.transport.on("*", ({ type }) => {
      if (type === "output_audio_buffer.cleared") this.nInterruptions += 1; // the library itself tells none
      setTimeout(() => this.changed()); // after the listeners above
    });
    await this.session.connect({ apiKey });
    return this;
  }

  changed() {
    for (const wake of this.waiting.splice(0)) wake();
  }

  failed(error) {
    this.failure = error;
    this.changed();
  }

  async until(isTrue) {
    const late = setTimeout(() => this.failed(new Error(`waited too long for ${isTrue}`)), LIMIT_MS);
    while (!isTrue()) {
      if (this.failure) throw this.failure;
      await new Promise((wake) => this.waiting.push(wake));
    }
    clearTimeout(late);
  }

  /** What the session's own history holds of one side. */
  history(role) {
    const items = this.session.history.filter((item) => item.role === role);
    return items.flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? "")).join(" ");
  }

  close() {
    this.session.close();
  }
}

window.scenarios = {
  async connect() {
    const call = await new Call().open();
    await call.until(() => call.instructions);
    const { callId } = call.transport;
    call.close();
    return { instructions: call.instructions, callId };
  },

  async voiceTurn() {
    const call = await new Call().open();
    await call.until(() => call.nTurns === 1 && call.history("user"));
    await window.played();
    call.close();
    return { user: call.history("user"), agent: call.history("assistant") };
  },

  async bargeIn() {
    const call = await new Call().open({ instructions: TALKATIVE });
    await call.until(() => call.nInterruptions && call.nTurns >= 1);
    const nSaid = call.said.length;
    await call.until(() => call.said.length > nSaid);
    call.close();
    return { next: call.said.slice(nSaid) };
  },

  async textTurn() {
    const call = await new Call().open();
    call.session.sendMessage("What is the capital of France?");
    await call.until(() => call.nTurns === 1);
    await window.played();
    call.close();
    return { agent: call.said };
  },

  async toolCall() {
    const call = await new Call().open({ tools: [getWeather] });
    call.session.sendMessage("What is the weather in Paris?");
    await call.until(() => call.said && call.nTurns > asked.length);
    call.close();
    return { name: getWeather.name, arguments: asked[0], agent: call.said };
  },

  /** The user stops the answer with a button. */
  async interrupt() {
    const call = await new Call().open({ instructions: TALKATIVE });
    call.session.sendMessage("Tell me something about elephants.");
    await call.until(() => call.said.length > 20);
    await window.loud();
    call.session.interrupt();
    const at = performance.now();
    await call.until(() => call.nTurns === 1);
    return { at };
  },

  async reconnect() {
    const before = await new Call().open();
    before.session.sendMessage("What is the capital of Spain?");
    await before.until(() => before.said);
    before.close();
    const call = await new Call().open();
    call.session.sendMessage("What is the capital of France?");
    await call.until(() => call.nTurns === 1);
    call.close();
    return { agent: call.said };
  },
};
