// A program with the `openai` package for Node. It speaks TLS only.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { BRIEF, Changes, Microphone, TALKATIVE, URL_HERE, run, sound } from "./program.mjs";

const WEATHER = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const LISTEN = {
  input: {
    transcription: { model: "whisper-1" },
    turn_detection: { type: "server_vad", silence_duration_ms: 300 },
  },
};

/** One connection, and what came over it. */
class Call extends Changes {
  said = "";
  user = "";
  audio = [];
  events = [];

  /** The test finds a connection by its model. */
  constructor(model, session, baseURL = URL_HERE) {
    super();
    const client = new OpenAI({ apiKey: "sk-local", baseURL });
    this.wire = new OpenAIRealtimeWS({ model }, client);
    this.wire.on("error", (error) => this.failed(error));
    this.wire.socket.on("close", () => this.failed(new Error("the connection was closed")));
    this.wire.on("response.output_audio_transcript.delta", (event) => (this.said += event.delta));
    this.wire.on("response.output_text.delta", (event) => (this.said += event.delta));
    this.wire.on("response.output_audio.delta", (event) => this.audio.push(Buffer.from(event.delta, "base64")));
    this.wire.on(
      "conversation.item.input_audio_transcription.completed",
      (event) => (this.user = event.transcript),
    );
    this.wire.on("event", (event) => {
      this.events.push(event);
      setImmediate(() => this.changed()); // after the listeners above
    });
    this.wire.on("session.created", () =>
      this.send("session.update", { session: { type: "realtime", instructions: BRIEF, ...session } }),
    );
  }

  send(type, fields = {}) {
    this.wire.send({ type, ...fields });
  }

  /** The nth event of a type, when it has come. */
  async event(type, n = 1) {
    let found;
    await this.until(() => (found = this.events.filter((event) => event.type === type)).length >= n);
    return found[n - 1];
  }

  microphone() {
    return new Microphone((chunk) => this.send("input_audio_buffer.append", { audio: chunk.toString("base64") }));
  }

  typeText(text) {
    const content = [{ type: "input_text", text }];
    this.send("conversation.item.create", { item: { type: "message", role: "user", content } });
    this.send("response.create");
  }
}

async function connect() {
  const call = new Call("connect", {});
  const { session } = await call.event("session.updated");
  call.wire.close();
  return { instructions: session.instructions };
}

async function voiceTurn() {
  const call = new Call("voice_turn", { audio: LISTEN });
  await call.event("session.updated");
  const mic = call.microphone();
  await mic.say("capital");
  await call.event("response.done");
  mic.off();
  call.wire.close();
  return { user: call.user, agent: call.said, ...sound(call.audio) };
}

async function bargeIn() {
  const call = new Call("barge_in", { instructions: TALKATIVE, audio: LISTEN });
  await call.event("session.updated");
  const mic = call.microphone();
  await mic.say("elephants");
  const first = await call.event("response.output_audio.delta");
  await call.until(() => sound(call.audio).audio_ms > 700);
  await mic.say("time");
  await call.event("response.done");
  const nSaid = call.said.length;
  call.send("conversation.item.truncate", { item_id: first.item_id, content_index: 0, audio_end_ms: 500 });
  await call.event("conversation.item.truncated");
  call.send("conversation.item.retrieve", { item_id: first.item_id });
  await call.event("conversation.item.retrieved");
  await call.until(() => call.said.length > nSaid);
  mic.off();
  call.wire.close();
  return { next: call.said.slice(nSaid) };
}

async function textTurn() {
  const call = new Call("text_turn", { output_modalities: ["text"] });
  await call.event("session.updated");
  call.typeText("What is the capital of France?");
  await call.event("response.done");
  call.wire.close();
  return { agent: call.said };
}

async function toolCall() {
  const call = new Call("tool_call", { tools: [WEATHER] });
  await call.event("session.updated");
  call.typeText("What is the weather in Paris?");
  await call.event("response.done");
  const [asked] = call.events.filter((event) => event.type === "response.function_call_arguments.done");
  const item = { type: "function_call_output", call_id: asked.call_id, output: "sunny, 21 degrees" };
  call.send("conversation.item.create", { item });
  call.send("response.create");
  await call.event("response.done", 2);
  call.wire.close();
  return { name: asked.name, arguments: JSON.parse(asked.arguments), agent: call.said };
}

async function reconnect() {
  let lost;
  const before = new Call("reconnect", { output_modalities: ["text"] });
  try {
    await before.event("session.updated");
    before.typeText("What is the capital of Spain?");
    await before.event("the network is lost");
  } catch (error) {
    lost = error.message;
  }
  const call = new Call("reconnect", { output_modalities: ["text"] });
  await call.event("session.updated");
  call.typeText("What is the capital of France?");
  await call.event("response.done");
  call.wire.close();
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
