// A program with the `@openai/agents-realtime` package.
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";
import { BRIEF, Changes, Microphone, TALKATIVE, URL_HERE, run, sound } from "./program.mjs";

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

/** One session with every default of the library, and what it told. */
class Call extends Changes {
  said = "";
  audio = [];
  nTurns = 0;
  nInterruptions = 0;
  instructions = "";

  async open(model, { instructions = BRIEF, tools = [] } = {}) {
    const address = `${URL_HERE.replace("http", "ws")}/realtime?model=${model}`; // the test finds it by the model
    const transport = new OpenAIRealtimeWebSocket({ url: address });
    const agent = new RealtimeAgent({ name: "Guide", instructions, tools });
    this.session = new RealtimeSession(agent, { transport, model });
    this.session.on("error", ({ error }) => this.failed(new Error(JSON.stringify(error))));
    this.session.on("audio", ({ data }) => this.audio.push(Buffer.from(data)));
    this.session.on("audio_interrupted", () => (this.nInterruptions += 1));
    transport.on("audio_transcript_delta", ({ delta }) => (this.said += delta));
    transport.on("turn_done", () => (this.nTurns += 1));
    transport.on("session.updated", ({ session }) => (this.instructions = session.instructions));
    transport.on("connection_change", (status) => {
      if (status === "disconnected") this.failed(new Error(status));
    });
    transport.on("*", () => setImmediate(() => this.changed())); // after the listeners above
    await this.session.connect({ apiKey: "sk-local" });
    return this;
  }

  microphone() {
    return new Microphone((chunk) =>
      this.session.sendAudio(chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.length)),
    );
  }

  /** What the session's own history holds of one side. */
  history(role) {
    const items = this.session.history.filter((item) => item.role === role);
    return items.flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? "")).join(" ");
  }
}

async function connect() {
  const call = await new Call().open("connect");
  await call.until(() => call.instructions);
  call.session.close();
  return { instructions: call.instructions };
}

async function voiceTurn() {
  const call = await new Call().open("voice_turn");
  const mic = call.microphone();
  await mic.say("capital");
  await call.until(() => call.nTurns === 1 && call.history("user"));
  mic.off();
  call.session.close();
  return { user: call.history("user"), agent: call.history("assistant"), ...sound(call.audio) };
}

async function bargeIn() {
  const call = await new Call().open("barge_in", { instructions: TALKATIVE });
  const mic = call.microphone();
  await mic.say("elephants");
  await call.until(() => sound(call.audio).audio_ms > 700);
  await mic.say("time");
  await call.until(() => call.nInterruptions && call.nTurns >= 1);
  const nSaid = call.said.length;
  await call.until(() => call.said.length > nSaid);
  mic.off();
  call.session.close();
  return { next: call.said.slice(nSaid) };
}

async function textTurn() {
  const call = await new Call().open("text_turn");
  call.session.sendMessage("What is the capital of France?");
  await call.until(() => call.nTurns === 1);
  call.session.close();
  return { agent: call.said };
}

async function toolCall() {
  const call = await new Call().open("tool_call", { tools: [getWeather] });
  call.session.sendMessage("What is the weather in Paris?");
  await call.until(() => call.said && call.nTurns > asked.length);
  call.session.close();
  return { name: getWeather.name, arguments: asked[0], agent: call.said };
}

async function reconnect() {
  let lost;
  const before = await new Call().open("reconnect");
  try {
    before.session.sendMessage("What is the capital of Spain?");
    await before.until(() => false);
  } catch (error) {
    lost = error.message;
  }
  const call = await new Call().open("reconnect");
  call.session.sendMessage("What is the capital of France?");
  await call.until(() => call.nTurns === 1);
  call.session.close();
  return { lost, agent: call.said };
}

await run({
  connect,
  voice_turn: voiceTurn,
  barge_in: bargeIn,
  text_turn: textTurn,
  tool_call: toolCall,
  reconnect,
});
